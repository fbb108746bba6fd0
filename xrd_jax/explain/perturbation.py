"""Explanations put to the test on the network: channels erased, windows knocked out, decoys added, networks retrained.

Errors are the mean absolute error of a regression target, in its unit, and the share of wrong classes.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float
from tqdm import tqdm

from xrd_jax.analysis import run as runs
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.explain import gradients as compiled
from xrd_jax.explain import paths
from xrd_jax.preprocessing.prepare import Prepared, Statistics, TargetSpec, inputs, to_device
from xrd_jax.series import lazy
from xrd_jax.series.record import Axis, PatternSeries
from xrd_jax.training import sharding
from xrd_jax.training.fit import fit

FRACTIONS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
QUIET = 0.2  # share of the axis that a decoy wanders over by default


class Erased(NamedTuple):
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
) -> Erased:  # fmt: skip
    """`deletions` of one curve."""
    return deletions(run, series, {("", target): curve}, fractions, insertion, chunk)["", target]


def deletions(
    run: Run, series: PatternSeries, curves: Mapping[tuple[str, str], np.ndarray],
    fractions: Sequence[float] = FRACTIONS, insertion: bool = False, chunk: int | None = None, progress: str = "",
) -> dict[tuple[str, str], Erased]:  # fmt: skip
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
    found: dict[tuple[str, str], Erased] = {}
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


def _erased(error: Float[np.ndarray, "S F"], fractions: np.ndarray, insertion: bool) -> Erased:
    harm = error[:, -1:] - error[:, :1]
    share = (error - error[:, :1]) / np.where(harm == 0, np.nan, harm)
    bad = (harm[:, 0] <= 0) ^ insertion
    return Erased(fractions, error, np.where(bad, np.nan, np.trapezoid(share, fractions, axis=1)))


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
    most = runs.CHUNK.get(jax.default_backend(), runs.CHUNK["gpu"]) * jax.local_device_count()
    size = min(chunk or most, max(len(series), 1))
    mesh = sharding.rows(size)
    specs = tuple(spec for spec in run.specs if spec.name in targets)
    static = compiled.Static(run.model, run.config.model, specs, mesh)
    mean = paths.known(run, series, ()).mean
    fixed = [sharding.put(run._of_seed(seed), mesh, P()) for seed in range(run.config.seeds)]
    sums: dict[str, Any] = {}
    for begin, rows in lazy.blocks(series.intensity, size):
        here = begin + np.arange(len(rows))
        place = np.minimum(begin + np.arange(size), here[-1])
        x = compiled.inputs(run.config.prepare, False, run.statistics, to_device(_edge(rows, size)))[0]
        for seed, variables in enumerate(fixed):
            own = masks(seed, place)
            mask = np.broadcast_to(own, (len(own), size, x.shape[1])).swapaxes(0, 1)
            found = _outputs(static, (variables, mean), *sharding.put((np.asarray(x), mask), mesh, P(sharding.BATCH)))
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


class Decoy(NamedTuple):
    """A series with a peak that carries nothing.

    Attributes:
      centres: [T] where it stands.
      width: its full width at half maximum, on the axis.
    """

    series: PatternSeries
    centres: np.ndarray
    width: float

    def inside(self, axis: np.ndarray) -> Bool[np.ndarray, "T L"]:
        """The channels of `axis` [L] within one full width of the peak, at least the nearest."""
        reach = max(self.width, 0.5 * float(np.diff(axis).max()))
        return np.abs(axis[None, :] - self.centres[:, None]) <= reach


def inject(
    series: PatternSeries, region: tuple[float, float] | None = None, height: float | None = None,
    width: float | None = None, memory: float = 0.1, seed: int = 0,
) -> Decoy:  # fmt: skip
    """Adds to every pattern a Gaussian peak that wanders within `region` and knows nothing of any target.

    Its place is a stationary random walk, uniform over the region; where data are counts it brings Poisson noise.
    Patterns must fit in memory.

    Args:
      region: (low, high) on the axis; by default where the patterns change least (`quiet`).
      height: in intensities; by default a third of the highest mean peak above the median.
      width: full width at half maximum; by default a hundredth of the axis.
      memory: patterns over which it forgets its place, as a share of a session.
    """
    axis, patterns = series.axis.values, np.asarray(series.intensity[np.arange(len(series))])
    low, high = region or quiet(axis, patterns)
    mean = patterns.mean(axis=0)
    height = height if height is not None else float(mean.max() - np.median(mean)) / 3
    width = width or float(axis[-1] - axis[0]) / 100
    rng = np.random.default_rng([seed, 0xDEC0])
    walk = np.empty(len(series))
    for session in np.unique(series.session):
        where = np.flatnonzero(series.session == session)
        walk[where] = _walk(rng, where.size, memory * where.size)
    centres = low + (high - low) * walk
    peak = height * np.exp2(-((2 * (axis[None, :] - centres[:, None]) / width) ** 2))
    added = patterns + (rng.poisson(peak) if series.counts else peak)
    kind = np.result_type(patterns.dtype, np.float32)
    if series.counts:
        kind = patterns.dtype if added.max() <= np.iinfo(np.uint16).max else np.dtype(np.int64)
    return Decoy(dataclasses.replace(series, intensity=added.astype(kind)), centres, width)


def _walk(rng: np.random.Generator, count: int, memory: float) -> np.ndarray:
    """[count] places in 0…1: a Gaussian process of correlation exp(-|Δ| / memory), through its own distribution."""
    from scipy.special import ndtr

    keep = np.exp(-1.0 / max(memory, 1e-9))
    noise, place = rng.standard_normal(count), np.empty(count)
    place[0] = noise[0]
    for at in range(1, count):
        place[at] = keep * place[at - 1] + np.sqrt(1 - keep**2) * noise[at]
    return ndtr(place)


def quiet(axis: np.ndarray, patterns: np.ndarray, share: float = QUIET) -> tuple[float, float]:
    """The stretch of the axis, `share` of it long, where patterns [T, N] vary least in units of √intensity."""
    change = patterns.var(axis=0, dtype=np.float64) / np.maximum(np.abs(patterns.mean(axis=0, dtype=np.float64)), 1.0)
    size = max(2, round(share * axis.size))
    sums = np.convolve(change, np.ones(size), mode="valid")
    first = int(sums.argmin())
    return float(axis[first]), float(axis[first + size - 1])


def retrain(
    prepared: Prepared, config: Config, curve: np.ndarray, fraction: float, keep: bool = False
) -> dict[str, Float[np.ndarray, " S"]]:
    """Errors, on the verification patterns, of networks that were trained without some channels.

    The highest `fraction` of the channels of `curve` [L] take their training mean, in training and verification
    patterns (or, with `keep`, all others do), and `config.seeds` networks learn anew. A true map does more harm than
    a random one. Photons are not redrawn, because what is erased comes after the scaling.

    Source: S. Hooker et al., "A benchmark for interpretability methods in deep neural networks", arXiv:1806.10758.

    Args:
      prepared, config: as the networks were trained.

    Returns:
      target -> [S].
    """
    patterns = np.array(inputs(prepared, config.prepare, np.arange(len(prepared.series))))
    order = np.argsort(-np.abs(np.nan_to_num(curve)), kind="stable")
    count = round(fraction * order.size)
    gone = order[count:] if keep else order[:count]
    patterns[:, gone] = patterns[prepared.train].mean(axis=0)[gone]
    plain = dataclasses.replace(
        config,
        prepare=PrepareConfig(scale="none", resize="none", centre=False),
        train=dataclasses.replace(config.train, augment="none", checkpoint_every=config.train.epochs),
    )
    centres = np.asarray(prepared.statistics.centres, np.float64)
    axis = Axis(centres, prepared.series.axis.kind, prepared.series.axis.wavelength)
    series = dataclasses.replace(prepared.series, intensity=patterns, axis=axis, counts=False)
    own = Prepared(series, prepared.train, prepared.test, _identity(centres))
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(plain, own, Path(folder) / "checkpoints", progress=False)
        run = Run(Path(folder), plain, fitted.specs, own.statistics, fitted.model, fitted.variables)
        none = np.zeros((1, 1, centres.size), bool)
        found = errors(run, series.subset(own.test), lambda *_: none, config.targets)
    return {name: error[:, 0] for name, error in found.items()}


def _identity(centres: np.ndarray) -> Statistics:
    """Statistics that leave patterns as they are."""
    one, place = jnp.float32(1.0), jnp.asarray(centres, jnp.float32)
    return Statistics(place, jnp.eye(centres.size), place, 0 * one, one, one, jnp.zeros(centres.size), one)
