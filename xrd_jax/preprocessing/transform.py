"""Scaling, resizing and centring of patterns, and the statistics that they need."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import filters
from xrd_jax.preprocessing.resize import resize_matrix
from xrd_jax.series import lazy
from xrd_jax.series.axis import bridges, inside
from xrd_jax.series.record import PatternSeries

DARK = 1e-6  # share of the mean sum of the training patterns below which flux is not cancelled
MAX_SNV = 1e15  # intensity whose square float32 still holds, summed over all channels


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
      filled: [M, 4] the `bridges` across masked channels: channel, left, right and share of each; none without.
    """

    axis: Array
    matrix: Array
    centres: Array
    low: Array
    high: Array
    total: Array
    mean: Array
    deviation: Array
    filled: Array = np.zeros((0, 4), np.float32)  # type: ignore[assignment]  # of JAX it would start a device


def fit_statistics(series: PatternSeries, train: np.ndarray, config: PrepareConfig) -> Statistics:
    """Learn `Statistics` from the training patterns alone, in double precision and bounded memory.

    One pass for the levels that scaling needs, one for the moments of what it makes of the patterns.
    """
    filters.check_filters(config, series.axis.values.size)
    matrix, centres = resize_matrix(series.axis.values, config, series.is_counts, series.axis.masked)
    if config.savgol:
        window, order = config.savgol, config.savgol_order
        matrix = filters.savgol_matrix(series.axis.values, window, order, config.derivative) @ matrix
    low, high, total = _levels(series, train)
    if config.scale == "snv" and max(-low, high) > MAX_SNV:
        raise UserError(f"prepare.scale=snv: squares of intensities as large as {high:.1e} overflow; divide them first")
    fields = {"axis": series.axis.values, "matrix": matrix, "centres": centres, "low": low, "high": high}
    is_filled = inside(series.axis.values, series.axis.masked)
    fields["filled"] = np.stack(bridges(series.axis.values, is_filled), axis=1)
    fields |= {"total": total, "mean": np.zeros(centres.size), "deviation": 1.0}
    statistics = Statistics(**{name: jnp.asarray(values, jnp.float32) for name, values in fields.items()})
    if not config.centre:
        return statistics
    mean, deviation = _moments(series, train, statistics, config)
    return statistics._replace(mean=jnp.asarray(mean, jnp.float32), deviation=jnp.float32(deviation or 1.0))


def _levels(series: PatternSeries, train: np.ndarray) -> tuple[float, float, float]:
    """Return the lowest and highest intensity, and the mean over patterns of their sum."""
    low, high, sums = np.inf, -np.inf, np.empty(len(train))
    for begin, rows in lazy.read_blocks(series.intensity, rows=train):
        low, high = min(low, rows.min()), max(high, rows.max())
        sums[begin : begin + len(rows)] = rows.sum(axis=1, dtype=np.float64)
    return float(low), float(high), float(sums.mean())


def _moments(
    series: PatternSeries, train: np.ndarray, statistics: Statistics, config: PrepareConfig
) -> tuple[np.ndarray, float]:
    """Return the mean [L] of the transformed patterns and the one standard deviation about it.

    Moments of blocks are merged: for n and m patterns with means a, b the sum of squares about the common mean is
    that about the two plus (a - b)² n m / (n + m), which loses no digits however many there are.
    """
    count, mean, squares = 0, np.zeros(statistics.centres.size), 0.0
    size = min(lazy.PATTERNS_PER_BLOCK, len(train))
    for _, rows in lazy.read_blocks(series.intensity, size, train):
        padded = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")
        values = np.asarray(_compiled_transform(config, statistics, to_device(padded)))
        values = values[: len(rows)].astype(np.float64)
        block_mean, total = values.mean(axis=0), count + len(rows)
        between = ((block_mean - mean) ** 2).sum() * count * len(rows) / total
        squares += float(((values - block_mean) ** 2).sum() + between)
        mean += (block_mean - mean) * len(rows) / total
        count = total
    return mean, float(np.sqrt(squares / (count * mean.size)))


def to_device(rows: np.ndarray) -> Array:
    """Put patterns [B, N] on the device: short integers as they are, to become float32 there, others as float32."""
    return jnp.asarray(rows if rows.dtype in (np.uint8, np.uint16, np.int16) else rows.astype(np.float32, copy=False))


def transform(statistics: Statistics, config: PrepareConfig, intensity: Float[Array, "B N"]) -> Float[Array, "B L"]:
    """Scale, resize and centre patterns; pure, differentiable, jit-able with `config` static."""
    intensity = filters.subtract_baseline(fill(statistics, intensity), config.baseline)
    if config.scale_at == "input":
        resized = _scale(statistics, config, intensity) @ statistics.matrix
    else:
        resized = _scale(statistics, config, intensity @ statistics.matrix)
    return (resized - statistics.mean[None, :]) / statistics.deviation


def fill(statistics: Statistics, intensity: Float[Array, "B N"]) -> Float[Array, "B N"]:
    """Draw straight lines across masked channels, whatever is measured there; where they were drawn, nothing changes.

    So a pattern gives the same whether an experiment file masked it or it comes as it was measured.
    """
    if not statistics.filled.shape[0]:
        return intensity
    channel, left, right = (statistics.filled[:, column].astype(jnp.int32) for column in range(3))
    share = statistics.filled[None, :, 3]
    return intensity.at[:, channel].set((1 - share) * intensity[:, left] + share * intensity[:, right])


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
    level = x * (statistics.total / jnp.maximum(x.sum(axis=-1, keepdims=True), darkest_sum(statistics)))
    if config.scale == "total":
        return level / jnp.where(statistics.total == 0, 1, statistics.total)
    return 2.0 * jnp.sqrt(jnp.maximum(level, 0.0) + 0.375)


def darkest_sum(statistics: Statistics) -> Float[Array, ""]:
    """Return the least sum that a pattern is divided by: that of a closed shutter stays dark instead of NaN."""
    return jnp.maximum(DARK * statistics.total, float(jnp.finfo(jnp.float32).tiny))


@functools.partial(jax.jit, static_argnums=0)
def _compiled_transform(config: PrepareConfig, statistics: Statistics, rows: Array) -> Array:
    return transform(statistics, config, rows.astype(jnp.float32))
