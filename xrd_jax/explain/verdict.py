"""From the evidence about a map to one word: supported, unstable, contradicted, and why."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

# Thresholds of the verdict; `docs/truth.md` tells how far they separate maps that are near the truth from others.
ABOVE_CHANCE = 0.10  # least average precision above that of a random map
DECOY_MOST = 0.10  # largest share of a map on a peak that carries nothing
ALIKE_MOST = 0.80  # largest rank correlation with the map of untrained networks
GAIN = 0.15  # least average precision above the untrained networks' map
MARGIN = 0.05  # least average precision above plain intensity
DELETION_SLACK = 0.03  # largest deletion area below that of plain intensity, which deletes very well
STABLE = 0.70  # least mean rank correlation between seeds


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
