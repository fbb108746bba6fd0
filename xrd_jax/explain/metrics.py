"""Is an explanation true? Scores of maps, none of which depends on a map's scale, and the verdict they come to.

Scores of curves take arrays alone: a map [L] averaged over patterns, the channels [L] that are known to carry the
information where there is such knowledge, and the curves [S, L] of several seeds. What needs the network (deletion,
knock-out, retraining, decoys in measured patterns) is in `interventions`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

EDGE = 8  # channels at either end that padding reaches
# Thresholds of the verdict; `docs/truth.md` tells how far they separate maps that are near the truth from others.
ABOVE_CHANCE = 0.10  # least average precision above that of a random map
DECOY_MOST = 0.10  # largest share of a map on a peak that carries nothing
ALIKE_MOST = 0.80  # largest rank correlation with the map of untrained networks
GAIN = 0.15  # least average precision above the untrained networks' map
MARGIN = 0.05  # least average precision above plain intensity
DELETION_SLACK = 0.03  # largest deletion area below that of plain intensity, which deletes very well
STABLE = 0.70  # least mean rank correlation between seeds


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


def unsettled(curves: Float[np.ndarray, "S L"], level: float = 0.95) -> Bool[np.ndarray, " L"]:
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


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Numbers that a verdict rests on; NaN for what is not known.

    Attributes:
      auprc, auprc_untrained, auprc_intensity, chance: average precision of the map, of the untrained networks' map, of
        plain intensity, and the share of true channels.
      randomisation: rank correlation with the untrained networks' map.
      stability: between seeds.
      decoy: share of the map on a peak that carries nothing.
      deletion, deletion_intensity, deletion_random: area under the deletion curve when channels go in the order of the
        map, of plain intensity, or at random; larger is better.
    """

    auprc: float = math.nan
    auprc_untrained: float = math.nan
    auprc_intensity: float = math.nan
    chance: float = math.nan
    randomisation: float = math.nan
    stability: float = math.nan
    decoy: float = math.nan
    deletion: float = math.nan
    deletion_intensity: float = math.nan
    deletion_random: float = math.nan


class Verdict(NamedTuple):
    """What to think of a map.

    Attributes:
      word: 'supported', 'unstable', 'no better than intensity', 'fails randomisation' or 'contradicted'.
      reason: the numbers behind it, one line.
    """

    word: str
    reason: str


def verdict(evidence: Evidence) -> Verdict:
    """The gravest objection to a map or, where there is none, 'supported'.

    contradicted               its precision is less than ABOVE_CHANCE above chance, more than DECOY_MOST of it lies on
                               a decoy, or deleting channels in its order harms no more than at random
    fails randomisation        it ranks channels like untrained networks (above ALIKE_MOST) or, where the truth is
                               known, finds less than GAIN more of it than they do
    no better than intensity   its precision is less than MARGIN above that of plain intensity or, where no truth is
                               known, its deletion area more than DELETION_SLACK below
    unstable                   seeds agree less than STABLE

    What is NaN objects to nothing, but a map of which neither precision nor deletion is known is not supported.
    """
    e = evidence
    known = not math.isnan(e.auprc)
    objections = {
        "contradicted": [
            (e.auprc < e.chance + ABOVE_CHANCE, f"average precision {e.auprc:.2f}, chance {e.chance:.2f}"),
            (e.decoy > DECOY_MOST, f"{100 * e.decoy:.0f} % on a peak that carries nothing"),
            (e.deletion <= e.deletion_random, f"deletion {e.deletion:.2f}, at random {e.deletion_random:.2f}"),
        ],
        "fails randomisation": [
            (e.randomisation > ALIKE_MOST, f"ranks channels like untrained networks ({e.randomisation:.2f})"),
            (
                e.auprc < e.auprc_untrained + GAIN,
                f"average precision {e.auprc:.2f}, untrained {e.auprc_untrained:.2f}",
            ),
        ],
        "no better than intensity": [
            (
                e.auprc < e.auprc_intensity + MARGIN,
                f"average precision {e.auprc:.2f}, intensity {e.auprc_intensity:.2f}",
            ),
            (
                not known and e.deletion < e.deletion_intensity - DELETION_SLACK,
                f"deletion {e.deletion:.2f}, intensity {e.deletion_intensity:.2f}",
            ),
            (not known and math.isnan(e.deletion), "neither precision nor deletion was measured"),
        ],
        "unstable": [(e.stability < STABLE, f"seeds agree {e.stability:.2f}")],
    }
    for word, checks in objections.items():
        reasons = [reason for fails, reason in checks if fails]
        if reasons:
            return Verdict(word, "; ".join(reasons))
    return Verdict("supported", _in_favour(e))


def _in_favour(e: Evidence) -> str:
    told = {
        "average precision": e.auprc, "untrained": e.auprc_untrained, "intensity": e.auprc_intensity,
        "decoy": e.decoy, "deletion": e.deletion, "like untrained": e.randomisation, "seeds agree": e.stability,
    }  # fmt: skip
    return ", ".join(f"{name} {value:.2f}" for name, value in told.items() if not math.isnan(value))
