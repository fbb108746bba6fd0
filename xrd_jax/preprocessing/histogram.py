"""A regression target as a distribution: bins over the training range, smoothed labels, quantiles.

Source: Imani & White, "Improving regression performance with distributional losses", ICML 2018 (histogram loss).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

MARGIN_BINS = 2  # bins beyond either end of the training values, so that smoothed labels are not cut there
MIN_DISTINCT_VALUES = 10  # fewer values are classes in disguise; a distribution between them means nothing


def bin_range(values: Float[np.ndarray, " n"], bins: int) -> tuple[float, float]:
    """Return the outer edges of `bins` equal bins that hold all values, with `MARGIN_BINS` to spare at either end."""
    low, high = float(values.min()), float(values.max())
    margin = MARGIN_BINS * (high - low) / (bins - 2 * MARGIN_BINS)
    return low - margin, high + margin


def smoothed_labels(values: Float[Array, " B"], edges: Float[Array, " edges"], deviation: float) -> Float[Array, "B K"]:
    """Return the integral of N(value, deviation²) over each bin, normalised to sum 1.

    Args:
      edges, deviation: in the unit of `values`.
    """
    cumulative = jax.scipy.special.ndtr((edges[None, :] - values[:, None]) / deviation)
    mass = jnp.diff(cumulative, axis=1)
    return mass / mass.sum(axis=1, keepdims=True)


def quantile(
    probabilities: Float[Array, "*B K"], low: float, high: float, level: float | Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """Return the value below which the share `level` of a distribution lies, linear within its bin.

    Args:
      probabilities: [..., K] shares of K equal bins between `low` and `high`.
      level: one for all, or one for each distribution.
    """
    level = jnp.broadcast_to(jnp.asarray(level, probabilities.dtype), probabilities.shape[:-1])[..., None]
    after = jnp.cumsum(probabilities, axis=-1)
    after = after / after[..., -1:]  # rounding must not leave the last bin short of 1
    index = jnp.minimum((after < level).sum(axis=-1, keepdims=True), probabilities.shape[-1] - 1)
    share = jnp.take_along_axis(probabilities, index, axis=-1)
    before = jnp.take_along_axis(after, index, axis=-1) - share
    fraction = jnp.clip((level - before) / jnp.maximum(share, jnp.finfo(share.dtype).tiny), 0.0, 1.0)
    width = (high - low) / probabilities.shape[-1]
    return (low + width * (index.astype(share.dtype) + fraction))[..., 0]


def mean(probabilities: Float[Array, "*B K"], low: float, high: float) -> Float[Array, "*B"]:
    """Return the mean of distributions over K equal bins between `low` and `high`."""
    edges = np.linspace(low, high, probabilities.shape[-1] + 1)
    centres = jnp.asarray(0.5 * (edges[1:] + edges[:-1]), probabilities.dtype)
    return probabilities @ centres


def cumulative_at(
    probabilities: Float[np.ndarray, "T K"], low: float, high: float, values: Float[np.ndarray, " T"]
) -> Float[np.ndarray, " T"]:
    """Return F_t(value_t), the share of each distribution below its value: the probability integral transform."""
    count = probabilities.shape[1]
    position = np.clip((values - low) / (high - low) * count, 0.0, count)
    index = np.minimum(position.astype(int), count - 1)
    cumulative = np.concatenate(
        [np.zeros((len(values), 1)), np.cumsum(probabilities, axis=1, dtype=np.float64)], axis=1
    )
    rows = np.arange(len(values))
    return (cumulative[rows, index] + (position - index) * probabilities[rows, index]) / cumulative[:, -1]


def crps(
    probabilities: Float[np.ndarray, "T K"], low: float, high: float, values: Float[np.ndarray, " T"]
) -> Float[np.ndarray, " T"]:
    """Return the continuous ranked probability score ∫ (F(y) − 1[y ≥ value])² dy, in the unit of the values.

    The distribution function is linear within bins; beyond the bins the distance to them counts in full.
    """
    count = probabilities.shape[1]
    edges, width = np.linspace(low, high, count + 1), (high - low) / count
    after = np.cumsum(probabilities, axis=1, dtype=np.float64)
    before = after - probabilities
    inside = np.clip(values, low, high)
    at_value = cumulative_at(probabilities, low, high, inside)

    def integral(first: np.ndarray, last: np.ndarray, length: np.ndarray) -> np.ndarray:
        """∫ F² over a stretch on which F runs from `first` to `last`."""
        return length * (first**2 + first * last + last**2) / 3.0

    index = np.minimum(((inside - low) / width).astype(int), count - 1)
    rows = np.arange(len(values))
    below = np.cumsum(integral(before, after, np.full_like(after, width)), axis=1)
    above = np.cumsum(integral(1 - after, 1 - before, np.full_like(after, width))[:, ::-1], axis=1)[:, ::-1]
    part = inside - edges[index]
    total_below = np.where(index > 0, below[rows, index - 1], 0.0) + integral(before[rows, index], at_value, part)
    rest = np.where(index < count - 1, above[rows, np.minimum(index + 1, count - 1)], 0.0)
    total_above = rest + integral(1 - after[rows, index], 1 - at_value, width - part)
    return total_below + total_above + np.abs(values - inside)
