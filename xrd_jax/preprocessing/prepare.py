"""Window → scale → resize → split: from a series to network inputs; every statistic comes from training patterns."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.interpolate import CubicSpline

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import filters, splits
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries


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
    if config.shuffle_labels:
        series = shuffled(series, train, split_seed)
    return Prepared(series, train, test, fit_statistics(series, train, config))


def shuffled(series: PatternSeries, train: np.ndarray, seed: int) -> PatternSeries:
    """The targets' values dealt out anew among the training patterns, those of a pattern together."""
    order = np.arange(len(series))
    order[train] = np.random.default_rng([seed, 0x5FF1E]).permutation(train)
    targets = {name: dataclasses.replace(own, values=own.values[order]) for name, own in series.targets.items()}
    return dataclasses.replace(series, targets=targets)


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
    """Sorted index arrays (train, test) that share no pattern; all but 'rows' cover the series."""
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
    elif config.split == "half_cycle":
        chosen = splits.all_but_half_cycle(series, config.half_cycle)
    elif config.split == "block":
        for session in range(len(series.session_names)):
            where = np.flatnonzero(series.session == session)
            blocks = [b for b in np.array_split(where, config.blocks) if b.size]
            order = np.random.default_rng([seed, session, 0xB10C]).permutation(len(blocks))
            for block in order[: round(len(blocks) * config.train_fraction)]:
                chosen[blocks[block]] = True
    train, test = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if config.split == "rows":
        train, test = splits.by_rows(config, total)
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
    """Learns `Statistics` from the training patterns alone, in double precision and bounded memory.

    One pass for the levels that scaling needs, one for the moments of what it makes of the patterns.
    """
    filters.check(config, series.axis.values.size)
    matrix, centres = resize_matrix(series.axis.values, config)
    if config.savgol:
        window, order = config.savgol, config.savgol_order
        matrix = filters.smoothing(series.axis.values, window, order, config.derivative) @ matrix
    low, high, total = _levels(series, train)
    statistics = Statistics(
        axis=jnp.asarray(series.axis.values, jnp.float32),
        matrix=jnp.asarray(matrix, jnp.float32),
        centres=jnp.asarray(centres, jnp.float32),
        low=jnp.float32(low),
        high=jnp.float32(high),
        total=jnp.float32(total),
        mean=jnp.zeros(centres.size, jnp.float32),
        deviation=jnp.float32(1.0),
    )
    if not config.centre:
        return statistics
    mean, deviation = _moments(series, train, statistics, config)
    return statistics._replace(mean=jnp.asarray(mean, jnp.float32), deviation=jnp.float32(deviation or 1.0))


def _levels(series: PatternSeries, train: np.ndarray) -> tuple[float, float, float]:
    """Lowest and highest intensity, and the mean over patterns of their sum."""
    low, high, sums = np.inf, -np.inf, np.empty(len(train))
    for begin, rows in lazy.blocks(series.intensity, rows=train):
        low, high = min(low, rows.min()), max(high, rows.max())
        sums[begin : begin + len(rows)] = rows.sum(axis=1, dtype=np.float64)
    return float(low), float(high), float(sums.mean())


def _moments(
    series: PatternSeries, train: np.ndarray, statistics: Statistics, config: PrepareConfig
) -> tuple[np.ndarray, float]:
    """Mean [L] of the transformed patterns and the one standard deviation about it.

    Moments of blocks are merged: for n and m patterns with means a, b the sum of squares about the common mean is
    that about the two plus (a - b)² n m / (n + m), which loses no digits however many there are.
    """
    count, mean, squares = 0, np.zeros(statistics.centres.size), 0.0
    size = min(lazy.BLOCK, len(train))
    for _, rows in lazy.blocks(series.intensity, size, train):
        short = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")
        values = np.asarray(_transformed(config, statistics, to_device(short)))[: len(rows)].astype(np.float64)
        own, total = values.mean(axis=0), count + len(rows)
        squares += float(((values - own) ** 2).sum() + ((own - mean) ** 2).sum() * count * len(rows) / total)
        mean += (own - mean) * len(rows) / total
        count = total
    return mean, float(np.sqrt(squares / (count * mean.size)))


def to_device(rows: np.ndarray) -> Array:
    """Patterns [B, N] on the device; short integers travel as they are and become float32 there, as others do here."""
    return jnp.asarray(rows if rows.dtype in (np.uint8, np.uint16, np.int16) else rows.astype(np.float32, copy=False))


def transform(statistics: Statistics, config: PrepareConfig, intensity: Float[Array, "B N"]) -> Float[Array, "B L"]:
    """Scales, resizes and centres patterns; pure, differentiable, jit-able with `config` static."""
    intensity = filters.without_baseline(intensity, config.baseline)
    if config.scale_at == "input":
        resized = _scale(statistics, config, intensity) @ statistics.matrix
    else:
        resized = _scale(statistics, config, intensity @ statistics.matrix)
    return (resized - statistics.mean[None, :]) / statistics.deviation


def _scale(statistics: Statistics, config: PrepareConfig, x: Float[Array, "B C"]) -> Float[Array, "B C"]:
    tiny = jnp.finfo(x.dtype).tiny
    if config.scale == "none":
        return x
    if config.scale == "snv":
        return filters.snv(x)
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
    """Prepared patterns of `prepared.series` at `indices`, on the device; beside them only `chunk` are in memory."""
    count = len(indices)
    size = max(min(chunk, count), 1)
    # Every block has the same shape: the last one begins earlier, and does some patterns twice.
    rest = indices[-size:] if count % size else indices[:0]
    filled = jnp.zeros((count, prepared.statistics.centres.size), jnp.float32)
    for begin, rows in lazy.blocks(
        prepared.series.intensity, size, np.concatenate([indices[: count - count % size], rest])
    ):
        filled = _filled(config, filled, min(begin, count - size), prepared.statistics, to_device(rows))
    return filled


@functools.partial(jax.jit, static_argnums=0)
def _transformed(config: PrepareConfig, statistics: Statistics, rows: Array) -> Array:
    return transform(statistics, config, rows.astype(jnp.float32))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _filled(config: PrepareConfig, filled: Array, begin: int, statistics: Statistics, rows: Array) -> Array:
    """`filled` [n, L] with the transformed `rows` from row `begin` on, in place."""
    return jax.lax.dynamic_update_slice(filled, transform(statistics, config, rows.astype(jnp.float32)), (begin, 0))


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
