"""Window → scale → resize → split: from a series to network inputs; every statistic comes from training patterns."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline

from xrd_jax.config import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.series import PatternSeries


class Statistics(NamedTuple):
    """What preparation learns; a pytree of arrays that is saved with a run.

    Attributes:
      axis: [N] positions of the measured channels.
      matrix: [N, L] linear resizing.
      centres: [L] axis positions of the resized channels.
      low, high: extremes of the training patterns ('dataset' scaling).
      total: mean intensity sum of the training patterns ('total' and 'sqrt' scaling).
      mean: [L] training mean of the resized channels; zeros without centring.
      deviation: the one global standard deviation; 1 without centring.
    """

    axis: Array
    matrix: Array
    centres: Array
    low: Array
    high: Array
    total: Array
    mean: Array
    deviation: Array


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A windowed series with its split and the statistics of its training part.

    Attributes:
      series: patterns inside the window, in time order.
      train, test: index arrays into `series`.
    """

    series: PatternSeries
    train: np.ndarray
    test: np.ndarray
    statistics: Statistics


def prepare(series: PatternSeries, config: PrepareConfig, split_seed: int = 0) -> Prepared:
    """Applies the window, splits, and learns the statistics from the training patterns.

    Raises:
      UserError: an empty window, or fewer patterns than the split needs.
    """
    series = window(series, config)
    train, test = split(series, config, split_seed)
    return Prepared(series, train, test, fit_statistics(series, train, config))


def window(series: PatternSeries, config: PrepareConfig) -> PatternSeries:
    """Only the patterns whose `window_target` lies within [window_low, window_high]."""
    if not config.window_target:
        return series
    if config.window_target not in series.targets:
        raise UserError(f"prepare.window_target='{config.window_target}': the data have {', '.join(series.targets)}")
    values = series.targets[config.window_target].values
    keep = (values >= config.window_low) & (values <= config.window_high)
    if not keep.any():
        raise UserError(
            f"no pattern has {config.window_target} within {config.window_low}–{config.window_high}; the data span "
            f"{values.min():.4g}–{values.max():.4g}: change prepare.window_low and prepare.window_high"
        )
    return series.subset(keep)


def split(series: PatternSeries, config: PrepareConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted index arrays (train, test) that share no pattern and cover the series."""
    total = len(series)
    if not 0.0 < config.train_fraction < 1.0:
        raise UserError(f"prepare.train_fraction={config.train_fraction}: must lie between 0 and 1")
    chosen = np.zeros(total, bool)
    if config.split == "random":
        order = np.random.default_rng([seed, 0x5B117]).permutation(total)
        chosen[order[: round(total * config.train_fraction)]] = True
    elif config.split == "cycle":
        for session, name in enumerate(series.session_names):
            cycles = np.unique(series.cycle[series.session == session])
            if cycles.size == 1:
                raise UserError(
                    f"split=cycle holds out the last cycle of each session, but '{name}' has one; use block"
                )
            if cycles.size:
                chosen |= (series.session == session) & (series.cycle < cycles[-1])
    else:
        for session in range(len(series.session_names)):
            where = np.flatnonzero(series.session == session)
            blocks = [b for b in np.array_split(where, config.blocks) if b.size]
            order = np.random.default_rng([seed, session, 0xB10C]).permutation(len(blocks))
            for block in order[: round(len(blocks) * config.train_fraction)]:
                chosen[blocks[block]] = True
    train, test = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if min(train.size, test.size) < 8:
        raise UserError(
            f"split={config.split} leaves {train.size} patterns to train on and {test.size} to verify; each needs at "
            "least 8: widen the window, add data or change prepare.split"
        )
    return train, test


def resize_matrix(axis: np.ndarray, config: PrepareConfig) -> tuple[np.ndarray, np.ndarray]:
    """The linear map [N, L] from measured to resized channels, and their L positions.

    'spline' samples the not-a-knot cubic spline through all N channels at L evenly spaced positions, ends included;
    'bin' sums channels into L bins of equal width, sharing a channel between bins by its overlap; 'none' is the
    identity.
    """
    count = axis.size if config.resize == "none" else config.channels
    if config.resize == "none":
        return np.eye(count), axis
    if not 2 <= count <= axis.size:
        raise UserError(f"prepare.channels={count}: must lie between 2 and the {axis.size} channels of the data")
    if config.resize == "spline":
        centres = np.linspace(axis[0], axis[-1], count)
        return CubicSpline(axis, np.eye(axis.size))(centres).T, centres
    inner = (axis[1:] + axis[:-1]) / 2
    edges = np.concatenate([[2 * axis[0] - inner[0]], inner, [2 * axis[-1] - inner[-1]]])
    bins = np.linspace(edges[0], edges[-1], count + 1)
    overlap = np.minimum(edges[1:, None], bins[None, 1:]) - np.maximum(edges[:-1, None], bins[None, :-1])
    return np.clip(overlap, 0.0, None) / np.diff(edges)[:, None], (bins[1:] + bins[:-1]) / 2


def fit_statistics(series: PatternSeries, train: np.ndarray, config: PrepareConfig) -> Statistics:
    """Learns `Statistics` from the training patterns alone."""
    matrix, centres = resize_matrix(series.axis.values, config)
    patterns = series.intensity[train]
    statistics = Statistics(
        axis=jnp.asarray(series.axis.values, jnp.float32),
        matrix=jnp.asarray(matrix, jnp.float32),
        centres=jnp.asarray(centres, jnp.float32),
        low=jnp.float32(patterns.min()),
        high=jnp.float32(patterns.max()),
        total=jnp.float32(patterns.sum(axis=1, dtype=np.float64).mean()),
        mean=jnp.zeros(centres.size, jnp.float32),
        deviation=jnp.float32(1.0),
    )
    if not config.centre:
        return statistics
    inputs = np.concatenate([np.asarray(transform(statistics, config, jnp.asarray(p, jnp.float32)), np.float64)
                             for p in np.array_split(patterns, max(1, len(patterns) // 1024))])  # fmt: skip
    mean = inputs.mean(axis=0)
    deviation = float((inputs - mean).std()) or 1.0
    return statistics._replace(mean=jnp.asarray(mean, jnp.float32), deviation=jnp.float32(deviation))


def transform(statistics: Statistics, config: PrepareConfig, intensity: Float[Array, "B N"]) -> Float[Array, "B L"]:
    """Scales, resizes and centres patterns; pure, differentiable, jit-able with `config` static."""
    if config.scale_at == "input":
        resized = _scale(statistics, config, intensity) @ statistics.matrix
    else:
        resized = _scale(statistics, config, intensity @ statistics.matrix)
    return (resized - statistics.mean[None, :]) / statistics.deviation


def _scale(statistics: Statistics, config: PrepareConfig, x: Float[Array, "B C"]) -> Float[Array, "B C"]:
    tiny = jnp.finfo(x.dtype).tiny
    if config.scale == "pattern":
        low, high = x.min(axis=-1, keepdims=True), x.max(axis=-1, keepdims=True)
        return (x - low) / jnp.maximum(high - low, tiny)
    if config.scale == "dataset":
        return (x - statistics.low) / jnp.maximum(statistics.high - statistics.low, tiny)
    level = x * (statistics.total / jnp.maximum(x.sum(axis=-1, keepdims=True), tiny))
    if config.scale == "total":
        return level / statistics.total
    return 2.0 * jnp.sqrt(jnp.maximum(level, 0.0) + 0.375)


def inputs(prepared: Prepared, config: PrepareConfig, indices: np.ndarray, chunk: int = 1024) -> Float[Array, "B L"]:
    """Prepared patterns of `prepared.series` at `indices`, computed in chunks."""
    apply = jax.jit(lambda x: transform(prepared.statistics, config, x))
    parts = [apply(jnp.asarray(prepared.series.intensity[i], jnp.float32)) for i in _chunks(indices, chunk)]
    return jnp.concatenate(parts)


def _chunks(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return [indices[i : i + size] for i in range(0, len(indices), size)]


@dataclasses.dataclass(frozen=True)
class TargetSpec:
    """How one target is learnt.

    Attributes:
      size: outputs of its head: 1, or the number of classes.
      mean, deviation: training statistics of a regression target, in `unit`; 0 and 1 for classes.
    """

    name: str
    kind: str
    unit: str
    size: int
    classes: tuple[str, ...]
    mean: float
    deviation: float


def target_specs(prepared: Prepared, names: tuple[str, ...]) -> tuple[TargetSpec, ...]:
    """Specifications of the targets `names`.

    Raises:
      UserError: a target that the data lack, or one that is constant over the training patterns.
    """
    specs = []
    for name in names:
        if name not in prepared.series.targets:
            known = ", ".join(prepared.series.targets) or "none"
            raise UserError(
                f"the data have no target '{name}' (they have: {known}); choose another case or add the target"
            )
        target = prepared.series.targets[name]
        values = target.values[prepared.train]
        if np.unique(values).size < 2:
            raise UserError(
                f"target '{name}' has a single value or class in the training patterns; nothing can be learnt"
            )
        if target.kind == "regression":
            moments = float(values.mean()), float(values.std())
            specs.append(TargetSpec(name, target.kind, target.unit, 1, (), *moments))
        else:
            size = max(len(target.classes), int(target.values.max()) + 1)
            classes = target.classes or tuple(str(i) for i in range(size))
            specs.append(TargetSpec(name, target.kind, "", size, classes, 0.0, 1.0))
    return tuple(specs)
