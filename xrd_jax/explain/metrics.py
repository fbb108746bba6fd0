"""Is an explanation true? Scores of maps, none of which depends on a map's scale, and the verdict they come to.

Scores of curves take arrays alone: a map [L] averaged over patterns, the channels [L] that are known to carry the
information where there is such knowledge, and the curves [S, L] of several seeds. What needs the network (deletion,
knock-out, retraining, decoys in measured patterns) is in `interventions`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

EDGE = 8  # channels at either end that padding reaches


def auprc(curve: Float[np.ndarray, " L"], truth: Bool[np.ndarray, " L"]) -> float:
    """Average precision of finding the channels `truth` in falling order of `curve`: Σ (R_i - R_{i-1}) P_i.

    Channels of equal value are taken together, so that a constant map scores the share of true channels.
    """
    truth = np.asarray(truth, bool)
    if not truth.any():
        return math.nan
    order = np.argsort(-_size(curve), kind="stable")
    values, hits = _size(curve)[order], np.cumsum(truth[order])
    last = np.append(values[1:] != values[:-1], True)  # the end of every group of equal values
    recall, precision = hits[last] / truth.sum(), hits[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def mass_inside(curve: Float[np.ndarray, " L"], inside: Bool[np.ndarray, " L"]) -> float:
    """Share of the map's area within the channels `inside`; NaN for a map of zeros."""
    size = _size(curve)
    return float(size[np.asarray(inside, bool)].sum() / size.sum()) if size.any() else math.nan


def overlap(curve: Float[np.ndarray, " L"], truth: Bool[np.ndarray, " L"]) -> float:
    """Share of the k true channels among the k highest; of channels of equal value the expected number."""
    truth, size = np.asarray(truth, bool), _size(curve)
    count = int(truth.sum())
    if not count:
        return math.nan
    threshold = np.sort(size)[-count]
    above, level = size > threshold, size == threshold
    found = truth[above].sum() + truth[level].sum() * (count - above.sum()) / level.sum()
    return float(found / count)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation, equal values sharing their rank; 0 where one side is constant."""
    ranks = [stats.rankdata(np.asarray(one, np.float64)) for one in (a, b)]
    centred = [rank - rank.mean() for rank in ranks]
    norm = math.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    return float((centred[0] * centred[1]).sum() / norm) if norm else 0.0


def agreement(
    curve: Float[np.ndarray, " L"], windows: Mapping[str, Bool[np.ndarray, " L"]], shares: Mapping[str, float]
) -> float:
    """Rank correlation over windows between the map's mass and known shares, such as Shapley values of an oracle."""
    names = [name for name in windows if name in shares]
    mass = np.array([mass_inside(curve, windows[name]) for name in names])
    return spearman(mass, np.array([shares[name] for name in names]))


def stability(curves: Float[np.ndarray, "S L"]) -> float:
    """Mean rank correlation of the curves of two seeds, over all pairs; NaN for a single seed."""
    pairs = itertools.combinations(_size(curves), 2)
    found = [spearman(a, b) for a, b in pairs]
    return float(np.mean(found)) if found else math.nan


def interval(
    curves: Float[np.ndarray, "S L"], level: float = 0.95
) -> tuple[Float[np.ndarray, " L"], Float[np.ndarray, " L"]]:
    """Where the mean of many seeds lies per channel: mean ± t s / √S of curves that sum to 1; NaN for one seed."""
    own = unit(curves)
    count, mean = len(own), own.mean(axis=0)
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stats.t.ppf(0.5 + level / 2, count - 1) * own.std(axis=0, ddof=1) / math.sqrt(count)
    return mean - half, mean + half


def unstable_channels(curves: Float[np.ndarray, "S L"], level: float = 0.95) -> Bool[np.ndarray, " L"]:
    """Channels that seeds do not agree on: their interval reaches below half the mean. All of them for one seed."""
    low, high = interval(curves, level)
    return ~(low > 0.5 * (low + high) / 2)


def randomisation(trained: Float[np.ndarray, "S L"], untrained: Float[np.ndarray, "S L"]) -> float:
    """Rank correlation of the mean map with that of untrained networks.

    Near 1, the map shows the architecture and the patterns, not what was learnt.

    Source: J. Adebayo et al., "Sanity checks for saliency maps", arXiv:1810.03292.
    """
    return spearman(unit(trained).mean(axis=0), unit(untrained).mean(axis=0))


def edge_mass(curve: Float[np.ndarray, " L"], width: int = EDGE) -> float:
    """Share of the map's area in the `width` channels at either end."""
    return mass_inside(curve, ends(len(curve), width))


def ends(length: int, width: int = EDGE) -> Bool[np.ndarray, " L"]:
    """The `width` channels at either end."""
    at = np.arange(length)
    return (at < width) | (at >= length - width)


def decoy_mass(maps: Float[np.ndarray, "T L"], inside: Bool[np.ndarray, "T L"]) -> float:
    """Mean over patterns of the share of a map on a peak that carries nothing; `inside` follows the peak."""
    own = unit(maps)
    return float((own * np.asarray(inside, bool)).sum(axis=1).mean())


def _size(curve: np.ndarray) -> np.ndarray:
    """Absolute values; channels without a value count 0."""
    return np.abs(np.nan_to_num(np.asarray(curve, np.float64)))


def unit(curves: np.ndarray) -> np.ndarray:
    """Absolute values [..., L] that sum to 1, where there are any."""
    size = _size(curves)
    total = size.sum(axis=-1, keepdims=True)
    return size / np.where(total > 0, total, 1.0)
