"""Conformal radii: how far sets around a prediction must reach to hold the truth.

Every target has nested sets C(r), and the score of a pattern is the smallest radius r whose set holds its truth. With n
calibration patterns the radius for level 1 − α is the ⌈(n + 1)(1 − α)⌉-th smallest of their scores: of patterns that
are exchangeable with them, 1 − α or more have their truth inside.

- a distribution: C(r) = [Q(½ − r/2), Q(½ + r/2)], the central share r of it; beyond a share of 0.99, where its tails
  are guesses, the interval grows by (r − 0.99) training deviations at either end, so that any coverage can be reached.
- a value: C(r) = prediction ± r · scale, where scale is 1, or the spread over seeds where that makes it narrower.
- classes: C(r) = all with probability ≥ 1 − r, and the most probable one.

References:
  Vovk, Gammerman, Shafer. Algorithmic learning in a random world (2005).
  Chernozhukov, Wüthrich, Zhu. PNAS 118 (2021) e2107794118: distributional conformal prediction.
  Sadinle, Lei, Wasserman. JASA 114 (2019) 223: least ambiguous sets.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.targets import TargetSpec

MAX_CENTRAL_SHARE = 0.99  # of a distribution; what lies outside is not known well enough to be cut into quantiles
SPREAD_LEVEL = 0.9  # at which widths with and without the spread over seeds are compared


def quantile(scores: Float[np.ndarray, " n"], level: float) -> float:
    """Return the ⌈(n + 1) level⌉-th smallest score; infinite where there is none."""
    rank = max(math.ceil((scores.size + 1) * level - 1e-9), 1)  # 0.9 is a little more than nine tenths
    return float(np.sort(scores)[rank - 1]) if rank <= scores.size else math.inf


def score(
    spec: TargetSpec, predicted: np.ndarray, distribution: np.ndarray | None, truth: np.ndarray, floor: float
) -> Float[np.ndarray, " T"]:
    """Return the smallest radius of the sets that hold the truth; infinite where nothing is predicted.

    Args:
      predicted: [S, T] values or [S, T, K] probabilities; distribution: [T, bins] where the target is learnt as one.
      floor: added to the spread over seeds to make the scale of a value, in its unit; 0: no scale.
    """
    if spec.kind != "regression":
        mean = predicted.mean(axis=0, dtype=np.float64)
        of_truth = mean[np.arange(len(truth)), truth.astype(int)]
        # The most probable class is in every set.
        values = np.where(mean.argmax(axis=1) == truth, 0.0, 1.0 - of_truth)
    elif distribution is not None:
        share = 2.0 * np.abs(histogram.cumulative_at(distribution, spec.low, spec.high, truth) - 0.5)
        widest = np.full(len(truth), MAX_CENTRAL_SHARE)
        lower, upper = bounds(spec, predicted, distribution, widest, floor)
        outside = np.maximum(np.maximum(lower - truth, truth - upper), 0.0) / spec.deviation
        values = np.where(share <= MAX_CENTRAL_SHARE, share, MAX_CENTRAL_SHARE + outside)
    else:
        values = np.abs(truth - predicted.mean(axis=0, dtype=np.float64)) / _scale(predicted, floor)
    return np.where(np.isnan(values), np.inf, values)


def bounds(
    spec: TargetSpec, predicted: Float[np.ndarray, "S T"], distribution: Float[np.ndarray, "T K"] | None,
    radius: Float[np.ndarray, " T"], floor: float,
) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]:  # fmt: skip
    """Return the ends of the intervals of a radius for each pattern."""
    if distribution is None:
        centre, reach = predicted.mean(axis=0, dtype=np.float64), radius * _scale(predicted, floor)
        return centre - reach, centre + reach
    share, extra = np.minimum(radius, MAX_CENTRAL_SHARE), np.maximum(radius - MAX_CENTRAL_SHARE, 0.0) * spec.deviation
    is_number = np.isfinite(distribution).all(axis=1)
    probabilities = jnp.asarray(distribution, jnp.float32)
    ends = [
        np.asarray(histogram.quantile(probabilities, spec.low, spec.high, jnp.asarray(level, jnp.float32)), np.float64)
        for level in (0.5 - 0.5 * share, 0.5 + 0.5 * share)
    ]
    lower, upper = (np.where(is_number, end, np.nan) for end in ends)
    return lower - extra, upper + extra


def label_sets(predicted: Float[np.ndarray, "S T K"], radius: float) -> Bool[np.ndarray, "T K"]:
    """Return the classes whose probability is 1 − radius or more, and the most probable one."""
    mean = predicted.mean(axis=0, dtype=np.float64)
    return (mean >= 1.0 - radius - 1e-12) | (np.arange(mean.shape[1])[None, :] == mean.argmax(axis=1)[:, None])


def _scale(predicted: np.ndarray, floor: float) -> Float[np.ndarray, " T"]:
    return predicted.std(axis=0, ddof=1, dtype=np.float64) + floor if floor else np.ones(predicted.shape[1])


def floor_of_scale(predicted: Float[np.ndarray, "S T"], truth: Float[np.ndarray, " T"]) -> float:
    """Return the median spread over seeds, or 0 where intervals that follow the spread are wider in the mean."""
    error = np.abs(truth - predicted.mean(axis=0, dtype=np.float64))
    floor = float(np.nanmedian(predicted.std(axis=0, ddof=1)))
    scale = _scale(predicted, floor)
    if not floor or not np.isfinite(error).any():
        return 0.0
    widths = [np.nanquantile(error / by, SPREAD_LEVEL) * np.nanmean(by) for by in (scale, np.ones_like(scale))]
    return floor if widths[0] < widths[1] else 0.0
