"""Is an explanation true? Scores of maps, none of which depends on a map's scale; `perturbation` asks the network.

They take a map [L] averaged over patterns, the channels [L] that are known to carry the information, mean maps [S, L].
"""

import itertools
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

EDGE_CHANNELS = 8  # at either end: padding reaches them
CONFIDENCE = 0.95


def unit(maps: Float[np.ndarray, "*batch L"]) -> Float[np.ndarray, "*batch L"]:
    """Return the shares of maps: absolute values that sum to 1; channels without a value count 0, so may whole maps."""
    magnitude = np.abs(np.nan_to_num(maps))
    total = magnitude.sum(axis=-1, keepdims=True)
    return magnitude / np.where(total > 0, total, 1.0)


def interval(values: Float[np.ndarray, "S *rest"]) -> Float[np.ndarray, "*rest"]:
    """Return half the 95 % confidence interval of the mean over seeds: t s / √S by Student's t; NaN for one seed."""
    count = len(values)
    if count < 2:
        return np.full(values.shape[1:], np.nan)
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2.0, count - 1)
    return np.asarray(quantile * values.std(axis=0, ddof=1) / math.sqrt(count))


def auprc(curve: Float[np.ndarray, " L"], truth: Bool[np.ndarray, " L"]) -> float:
    """Return the average precision of finding the channels `truth` in falling order of `curve`: Σ (R_i - R_{i-1}) P_i.

    Channels of equal value are taken together, so that a constant map scores the share of true channels.
    """
    if not truth.any():
        return math.nan
    order = np.argsort(-_magnitude(curve), kind="stable")
    values, hits = _magnitude(curve)[order], np.cumsum(truth[order])
    last = np.append(values[1:] != values[:-1], True)  # the end of every group of equal values
    recall, precision = hits[last] / truth.sum(), hits[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def mass_inside(curve: Float[np.ndarray, " L"], inside: Bool[np.ndarray, " L"]) -> float:
    """Return the share of the map's area within the channels `inside`; NaN for a map of zeros."""
    magnitude = _magnitude(curve)
    return float(magnitude[inside].sum() / magnitude.sum()) if magnitude.any() else math.nan


def overlap(curve: Float[np.ndarray, " L"], truth: Bool[np.ndarray, " L"]) -> float:
    """Return the share of the k true channels among the k highest; of channels of equal value the expected number."""
    magnitude, count = _magnitude(curve), int(truth.sum())
    if not count:
        return math.nan
    threshold = np.sort(magnitude)[-count]
    is_above, is_level = magnitude > threshold, magnitude == threshold
    hits = truth[is_above].sum() + truth[is_level].sum() * (count - is_above.sum()) / is_level.sum()
    return float(hits / count)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation, equal values sharing their rank; 0 where one side is constant."""
    a, b = (stats.rankdata(np.asarray(values, np.float64)) for values in (a, b))
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm else 0.0


def window_agreement(
    curve: Float[np.ndarray, " L"], windows: Mapping[str, Bool[np.ndarray, " L"]], shares: Mapping[str, float]
) -> float:
    """Return the rank correlation over windows of the map's mass with known shares, such as Shapley values."""
    names = [name for name in windows if name in shares]
    mass = np.array([mass_inside(curve, windows[name]) for name in names])
    return spearman(mass, np.array([shares[name] for name in names]))


def stability(curves: Float[np.ndarray, "S L"]) -> float:
    """Return the mean rank correlation of the curves of two seeds, over all pairs; NaN for a single seed."""
    correlations = [spearman(a, b) for a, b in itertools.combinations(_magnitude(curves), 2)]
    return float(np.mean(correlations)) if correlations else math.nan


def unstable_channels(curves: Float[np.ndarray, "S L"]) -> Bool[np.ndarray, " L"]:
    """Return channels that seeds do not agree on: their interval reaches below half the mean. All for one seed."""
    shares = unit(curves)
    mean = shares.mean(axis=0)
    return ~(mean - interval(shares) > 0.5 * mean)


def randomisation(trained: Float[np.ndarray, "S L"], untrained: Float[np.ndarray, "S L"]) -> float:
    """Return the rank correlation of the mean map with that of untrained networks; near 1 nothing learnt is shown.

    Source: J. Adebayo et al., "Sanity checks for saliency maps", arXiv:1810.03292.
    """
    return spearman(unit(trained).mean(axis=0), unit(untrained).mean(axis=0))


def edge_mass(curve: Float[np.ndarray, " L"]) -> float:
    """Return the share of the map's area in the `edge_channels`."""
    return mass_inside(curve, edge_channels(len(curve)))


def edge_channels(length: int) -> Bool[np.ndarray, " L"]:
    """Return the mask of the `EDGE_CHANNELS` channels at either end."""
    channel = np.arange(length)
    return (channel < EDGE_CHANNELS) | (channel >= length - EDGE_CHANNELS)


def decoy_mass(maps: Float[np.ndarray, "T L"], inside: Bool[np.ndarray, "T L"]) -> float:
    """Return the mean share of a pattern's map on a peak that carries nothing; `inside` follows the peak."""
    return float((unit(maps.astype(np.float64)) * inside).sum(axis=1).mean())


def _magnitude(curve: np.ndarray) -> np.ndarray:
    """Absolute values; channels without a value count 0."""
    return np.abs(np.nan_to_num(np.asarray(curve, np.float64)))
