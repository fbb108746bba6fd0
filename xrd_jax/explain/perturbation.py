"""Explanations put to the test on the network: channels deleted or given back, and windows knocked out.

Errors are the mean absolute error of a regression target, in its unit, and the share of wrong classes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float

from xrd_jax.analysis.blocks import PatternBlock, over_patterns
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain import paths
from xrd_jax.explain.methods import MapKey
from xrd_jax.explain.outputs import StaticArgs, network_inputs, shard_over_patterns
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import sharding

FRACTIONS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class DeletionCurve(NamedTuple):
    """Errors of a network that loses, or gets back, more and more channels.

    `auc` is the area under the curve of the error added (deletion) or undone (insertion), in parts of that of losing
    all channels: 1 when the first channels matter alone, about 0.5 when all matter alike; larger is better for both.
    NaN where losing all channels adds no error.
    """

    fractions: np.ndarray  # [F] of the channels, deleted or given back
    error: np.ndarray  # [S, F]
    auc: np.ndarray  # [S]


def deletion_curves(
    run: Run, series: PatternSeries, curves: Mapping[MapKey, np.ndarray], fractions: Sequence[float] = FRACTIONS,
    insertion: bool = False, chunk: int | None = None, console: Console | None = None, description: str = "",
) -> dict[MapKey, DeletionCurve]:  # fmt: skip
    """Return errors when channels take their mean value in falling order of a curve.

    Args:
      curves: (method, target) -> [L] or, per seed, [S, L]; what is the same for several targets is done once.
      fractions: increasing, from 0 to 1.
      insertion: begin with all channels at their mean and give them back in that order.
      description: what the progress bar says.

    Raises:
      UserError: the patterns have no values of a target.
    """
    orders: dict[bytes, tuple[np.ndarray, list[MapKey]]] = {}
    for key, curve in curves.items():
        order = np.argsort(-np.abs(np.atleast_2d(np.nan_to_num(curve))), axis=1, kind="stable")
        orders.setdefault(order.tobytes(), (order, []))[1].append(key)
    targets = tuple(dict.fromkeys(target for _, target in curves))
    results: dict[MapKey, DeletionCurve] = {}
    for order, keys in (console or Console()).bar(orders.values(), description, " maps"):
        ranks = np.broadcast_to(np.argsort(order, axis=1), (run.config.seeds, order.shape[1]))
        counts = np.round(np.asarray(fractions) * ranks.shape[1])
        masks = (ranks[:, None, :] < counts[None, :, None]) ^ insertion

        def same_masks(seed: int, _: np.ndarray, masks: np.ndarray = masks) -> np.ndarray:
            return masks[seed][:, None, :]

        errors = masked_errors(run, series, same_masks, targets, chunk)
        results |= {key: _deletion_curve(errors[key[1]], np.asarray(fractions), insertion) for key in keys}
    return {key: results[key] for key in curves}


def _deletion_curve(error: Float[np.ndarray, "S F"], fractions: np.ndarray, insertion: bool) -> DeletionCurve:
    increase = error[:, -1:] - error[:, :1]
    share = (error - error[:, :1]) / np.where(increase == 0, np.nan, increase)
    is_harmless = (increase[:, 0] <= 0) ^ insertion
    return DeletionCurve(fractions, error, np.where(is_harmless, np.nan, np.trapezoid(share, fractions, axis=1)))


def knock_out(run: Run, series: PatternSeries, windows: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Return the increase of the network's error when a window's channels take their mean value.

    Args:
      windows: name -> bool [L], or [T, L] for windows that move.

    Returns:
      window -> target -> [S].
    """
    length = run.axis.size
    window_masks = [np.zeros((1, length), bool), *(np.reshape(mask, (-1, length)) for mask in windows.values())]
    targets = tuple(spec.name for spec in run.specs if spec.name in series.targets)

    def masks(_: int, indices: np.ndarray) -> np.ndarray:
        shape = (indices.size, length)
        return np.stack([np.broadcast_to(m if len(m) == 1 else m[indices], shape) for m in window_masks])

    errors = masked_errors(run, series, masks, targets)
    return {
        window: {target: error[:, number] - error[:, 0] for target, error in errors.items()}
        for number, window in enumerate(windows, start=1)
    }


def masked_errors(
    run: Run, series: PatternSeries, masks: Callable[[int, np.ndarray], np.ndarray], targets: Sequence[str],
    chunk: int | None = None,
) -> dict[str, Float[np.ndarray, "S F"]]:  # fmt: skip
    """Return errors of every seed with F different sets of channels at their mean value.

    Args:
      masks: (index of the seed, indices [B] of patterns) -> bool [F, B or 1, L], True where deleted.

    Raises:
      UserError: the patterns have no values of a target.
    """
    for name in targets:
        if name not in series.targets:
            raise UserError(f"the patterns have no measured '{name}', without which there is no error; leave it out")
    run.check_axis(series)
    specs = tuple(spec for spec in run.specs if spec.name in targets)

    def function(block: PatternBlock, constants: Any) -> dict[str, np.ndarray]:
        networks, statistics, mean = constants
        static = StaticArgs(run.model, run.config.model, specs, block.mesh)
        x = network_inputs(run.config.prepare, False, statistics, block.intensity)[0]
        indices = np.minimum(block.begin + np.arange(len(x)), block.begin + block.count - 1)
        outputs = []
        for seed, variables in enumerate(networks):
            deleted = masks(seed, indices)
            mask = np.broadcast_to(deleted, (len(deleted), *x.shape)).swapaxes(0, 1)
            on_devices = sharding.device_put(mask, block.mesh, P(sharding.BATCH))
            outputs.append(_masked_outputs(static, (variables, mean), x, on_devices))
        return {spec.name: np.stack([np.asarray(values[spec.name]) for values in outputs]) for spec in specs}

    networks = [run.of_seed(seed) for seed in range(run.config.seeds)]
    constants = networks, run.statistics, paths.reference_stats(run, series, ()).mean
    sums: dict[str, Any] = {spec.name: 0.0 for spec in specs}
    for rows, outputs in over_patterns(series.intensity, function, constants, chunk, pattern_axis=1):
        for spec in specs:
            truth = series.targets[spec.name].values[rows]
            errors = np.stack([_pattern_errors(spec, values, truth).sum(axis=0) for values in outputs[spec.name]])
            sums[spec.name] = sums[spec.name] + errors / len(series)
    return sums


def _pattern_errors(spec: TargetSpec, outputs: Float[np.ndarray, "B F"], truth: np.ndarray) -> np.ndarray:
    """[B, F] errors in float64 on the host, where `TargetSpec.to_physical` would round to float32 on the device."""
    if spec.kind == "regression":
        return np.abs(outputs.astype(np.float64) * spec.deviation + spec.mean - truth[:, None])
    return (outputs != truth[:, None]).astype(np.float64)


@functools.partial(jax.jit, static_argnums=0)
def _masked_outputs(
    static: StaticArgs, constants: tuple[Any, Array], x: Float[Array, "B L"], masks: Bool[Array, "B F L"]
) -> dict[str, Float[Array, "B F"]]:
    """Standardised outputs, or predicted classes, of one seed, for every mask."""

    def local(constants, x, masks):
        variables, mean = constants

        def masked(mask: Array) -> dict[str, Array]:
            outputs, _ = static.model.apply(variables, jnp.where(mask, mean[None, :], x))
            return {
                spec.name: spec.standardised(outputs[spec.name])
                if spec.kind == "regression"
                else outputs[spec.name].argmax(axis=1).astype(jnp.float32)
                for spec in static.specs
            }

        return jax.tree.map(lambda leaf: leaf.T, jax.lax.map(masked, jnp.moveaxis(masks, 1, 0)))

    return shard_over_patterns(static.mesh, local, constants, x, masks)
