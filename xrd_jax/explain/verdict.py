"""From the evidence about a map to one word: supported, unstable, contradicted, and why."""

import dataclasses
import math
from typing import NamedTuple

# Thresholds of the verdict; `docs/truth.md` tells how far they separate maps that are near the truth from others.
MIN_ABOVE_CHANCE = 0.10  # contradicted: average precision above that of a random map,
MAX_DECOY = 0.10  # and share of a map on a peak that carries nothing
MAX_RANDOMISATION = 0.80  # fails randomisation: rank correlation with the map of untrained networks,
MIN_GAIN = 0.15  # and average precision above that map
MIN_MARGIN = 0.05  # no better than intensity: average precision above it or, where no truth is known,
DELETION_SLACK = 0.03  # deletion area below that of intensity, which deletes very well
MIN_STABILITY = 0.70  # unstable: mean rank correlation between seeds


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Numbers that a verdict rests on; NaN for what is not known."""

    auprc: float = math.nan  # average precision of the map,
    auprc_untrained: float = math.nan  # of the untrained networks' map,
    auprc_intensity: float = math.nan  # of plain intensity,
    chance: float = math.nan  # and of a random map: the share of true channels
    randomisation: float = math.nan  # rank correlation with the untrained networks' map
    stability: float = math.nan  # mean rank correlation between seeds
    decoy: float = math.nan  # share of the map on a peak that carries nothing
    deletion: float = math.nan  # area under the deletion curve when channels go in the order of the map,
    deletion_intensity: float = math.nan  # of plain intensity,
    deletion_random: float = math.nan  # or at random; larger is better


class Verdict(NamedTuple):
    """What to think of a map."""

    word: str  # 'supported', 'unstable', 'no better than intensity', 'fails randomisation' or 'contradicted'
    reason: str  # the numbers behind it, one line


def judge(evidence: Evidence) -> Verdict:
    """Return the gravest objection to a map or, where there is none, 'supported'.

    What is NaN objects to nothing, but a map of which neither precision nor deletion is known is not supported.
    """
    for word, checks in _objections(evidence).items():
        reasons = [reason for fails, reason in checks if fails]
        if reasons:
            return Verdict(word, "; ".join(reasons))
    numbers = {
        "average precision": evidence.auprc, "untrained": evidence.auprc_untrained,
        "intensity": evidence.auprc_intensity, "decoy": evidence.decoy, "deletion": evidence.deletion,
        "like untrained": evidence.randomisation, "seeds agree": evidence.stability,
    }  # fmt: skip
    in_favour = (f"{name} {value:.2f}" for name, value in numbers.items() if not math.isnan(value))
    return Verdict("supported", ", ".join(in_favour))


def _objections(e: Evidence) -> dict[str, list[tuple[bool, str]]]:
    """Every check, (whether it fails, the numbers), under the word for its failure; the gravest first."""
    precision = f"average precision {e.auprc:.2f}"
    has_truth = not math.isnan(e.auprc)
    return {
        "contradicted": [
            (e.auprc < e.chance + MIN_ABOVE_CHANCE, f"{precision}, chance {e.chance:.2f}"),
            (e.decoy > MAX_DECOY, f"{100 * e.decoy:.0f} % on a peak that carries nothing"),
            (e.deletion <= e.deletion_random, f"deletion {e.deletion:.2f}, at random {e.deletion_random:.2f}"),
        ],
        "fails randomisation": [
            (e.randomisation > MAX_RANDOMISATION, f"ranks channels like untrained networks ({e.randomisation:.2f})"),
            (e.auprc < e.auprc_untrained + MIN_GAIN, f"{precision}, untrained {e.auprc_untrained:.2f}"),
        ],
        "no better than intensity": [
            (e.auprc < e.auprc_intensity + MIN_MARGIN, f"{precision}, intensity {e.auprc_intensity:.2f}"),
            (
                not has_truth and e.deletion < e.deletion_intensity - DELETION_SLACK,
                f"deletion {e.deletion:.2f}, intensity {e.deletion_intensity:.2f}",
            ),
            (not has_truth and math.isnan(e.deletion), "neither precision nor deletion was measured"),
        ],
        "unstable": [(e.stability < MIN_STABILITY, f"seeds agree {e.stability:.2f}")],
    }
