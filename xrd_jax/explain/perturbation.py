"""Explanations put to the test on the network: channels erased, windows knocked out, decoys added, networks retrained.

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
from tqdm import tqdm

from xrd_jax.analysis import blocks as analysis_blocks
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain import gradients as compiled
from xrd_jax.explain import paths
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import to_device
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import sharding

FRACTIONS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class DeletionCurve(NamedTuple):
    """Errors of a network that loses, or gets back, more and more channels.

    Attributes:
      fractions: [F] channels erased (deletion) or known (insertion).
      error: [S, F].
      auc: [S] area under the curve of the harm done (deletion) or undone (insertion), in parts of the harm of losing
        all channels: 1 when the first channels matter alone, about 0.5 when all matter alike; larger is better for
        both. NaN where losing all channels does no harm.
    """

    fractions: np.ndarray
    error: np.ndarray
    auc: np.ndarray


def deletion(
    run: Run, series: PatternSeries, target: str, curve: np.ndarray, fractions: Sequence[float] = FRACTIONS,
    insertion: bool = False, chunk: int | None = None,
) -> DeletionCurve:  # fmt: skip
    """`deletions` of one curve."""
    return deletions(run, series, {("", target): curve}, fractions, insertion, chunk)["", target]


def deletions(
    run: Run, series: PatternSeries, curves: Mapping[tuple[str, str], np.ndarray],
    fractions: Sequence[float] = FRACTIONS, insertion: bool = False, chunk: int | None = None, progress: str = "",
) -> dict[tuple[str, str], DeletionCurve]:  # fmt: skip
    """Errors when channels take their mean value in falling order of a curve.

    Args:
      curves: (method, target) -> [L] or, per seed, [S, L]; what is the same for several targets is done once.
      insertion: begin with all channels at their mean and give them back in that order.
      fractions: increasing, from 0 to 1.
      progress: what a progress bar says; none if empty.

    Raises:
      UserError: the patterns have no values of a target.
    """
    orders: dict[bytes, tuple[np.ndarray, list[tuple[str, str]]]] = {}
    for key, curve in curves.items():
        order = np.argsort(-np.abs(np.atleast_2d(np.nan_to_num(curve))), axis=1, kind="stable")
        orders.setdefault(order.tobytes(), (order, []))[1].append(key)
    targets = tuple(dict.fromkeys(target for _, target in curves))
    found: dict[tuple[str, str], DeletionCurve] = {}
    steps = tqdm(orders.values(), desc=progress, unit=" maps", disable=not progress, leave=False, dynamic_ncols=True)
    for order, keys in steps:
        ranks = np.broadcast_to(np.argsort(order, axis=1), (run.config.seeds, order.shape[1]))
        counts = np.round(np.asarray(fractions) * ranks.shape[1])
        masks = (ranks[:, None, :] < counts[None, :, None]) ^ insertion
        error = errors(run, series, _of_seed(masks), targets, chunk)
        found |= {key: _erased(error[key[1]], np.asarray(fractions), insertion) for key in keys}
    return {key: found[key] for key in curves}


def _of_seed(masks: Bool[np.ndarray, "S F L"]) -> Callable[[int, np.ndarray], np.ndarray]:
    """The same masks for every pattern."""
    return lambda seed, _: masks[seed][:, None, :]


def _erased(error: Float[np.ndarray, "S F"], fractions: np.ndarray, insertion: bool) -> DeletionCurve:
    harm = error[:, -1:] - error[:, :1]
    share = (error - error[:, :1]) / np.where(harm == 0, np.nan, harm)
    bad = (harm[:, 0] <= 0) ^ insertion
    return DeletionCurve(fractions, error, np.where(bad, np.nan, np.trapezoid(share, fractions, axis=1)))


def knock_out(
    run: Run, series: PatternSeries, windows: Mapping[str, np.ndarray], chunk: int | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Increase of the network's error when a window's channels take their mean value.

    Args:
      windows: name -> bool [L], or [T, L] for windows that move.

    Returns:
      window -> target -> [S].
    """
    length = run.axis.size
    masks = [np.zeros((1, length), bool), *(np.reshape(mask, (-1, length)) for mask in windows.values())]
    targets = tuple(spec.name for spec in run.specs if spec.name in series.targets)

    def at(_: int, rows: np.ndarray) -> np.ndarray:
        return np.stack([np.broadcast_to(m if len(m) == 1 else m[rows], (rows.size, length)) for m in masks])

    found = errors(run, series, at, targets, chunk)
    return {
        window: {target: error[:, place + 1] - error[:, 0] for target, error in found.items()}
        for place, window in enumerate(windows)
    }


def errors(
    run: Run, series: PatternSeries, masks: Callable[[int, np.ndarray], np.ndarray], targets: Sequence[str],
    chunk: int | None = None,
) -> dict[str, Float[np.ndarray, "S F"]]:  # fmt: skip
    """Errors of every seed with F different sets of channels at their mean value.

    Args:
      masks: (seed's place, indices [b] of patterns) -> bool [F, b or 1, L], True where erased.

    Raises:
      UserError: the patterns have no values of a target.
    """
    for name in targets:
        if name not in series.targets:
            raise UserError(f"the patterns have no measured '{name}', without which there is no error; leave it out")
    run._check_axis(series)
    most = analysis_blocks.CHUNK.get(jax.default_backend(), analysis_blocks.CHUNK["gpu"]) * jax.local_device_count()
    size = min(chunk or most, max(len(series), 1))
    mesh = sharding.rows(size)
    specs = tuple(spec for spec in run.specs if spec.name in targets)
    static = compiled.Static(run.model, run.config.model, specs, mesh)
    mean = paths.known(run, series, ()).mean
    fixed = [sharding.device_put(run._of_seed(seed), mesh, P()) for seed in range(run.config.seeds)]
    sums: dict[str, Any] = {}
    for begin, rows in lazy.blocks(series.intensity, size):
        here = begin + np.arange(len(rows))
        place = np.minimum(begin + np.arange(size), here[-1])
        x = compiled.inputs(run.config.prepare, False, run.statistics, to_device(_edge(rows, size)))[0]
        for seed, variables in enumerate(fixed):
            own = masks(seed, place)
            mask = np.broadcast_to(own, (len(own), size, x.shape[1])).swapaxes(0, 1)
            found = _outputs(
                static, (variables, mean), *sharding.device_put((np.asarray(x), mask), mesh, P(sharding.BATCH))
            )
            for spec in specs:
                values = np.asarray(found[spec.name])[: len(rows)]
                wrong = _wrong(spec, values, series.targets[spec.name].values[here]).sum(axis=0)
                total = sums.setdefault(spec.name, np.zeros((run.config.seeds, wrong.size)))
                total[seed] += wrong / len(series)
    return sums


def _edge(rows: np.ndarray, size: int) -> np.ndarray:
    return np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")


def _wrong(spec: TargetSpec, predicted: Float[np.ndarray, "B F"], truth: Float[np.ndarray, " B"]) -> np.ndarray:
    if spec.kind == "regression":
        return np.abs(predicted.astype(np.float64) * spec.deviation + spec.mean - truth[:, None])
    return (predicted != truth[:, None]).astype(np.float64)


@functools.partial(jax.jit, static_argnums=0)
def _outputs(
    static: compiled.Static, fixed: tuple[Any, Array], x: Float[Array, "B L"], masks: Bool[Array, "B F L"]
) -> dict[str, Array]:
    """Standardised outputs, or predicted classes, [B, F] of one seed, for every mask."""

    def local(fixed, x, masks):
        variables, mean = fixed

        def one(mask: Array) -> dict[str, Array]:
            outputs, _ = static.model.apply(variables, jnp.where(mask, mean[None, :], x))
            return {
                spec.name: outputs[spec.name][:, 0]
                if spec.kind == "regression"
                else outputs[spec.name].argmax(axis=1).astype(jnp.float32)
                for spec in static.specs
            }

        found = jax.lax.map(one, jnp.moveaxis(masks, 1, 0))
        return jax.tree.map(lambda leaf: leaf.T, found)

    return compiled.over_rows(static.mesh, local, fixed, x, masks)
