"""One map put beside everything that is known of it: its scores and the verdict they come to."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.analysis.metrics import std_over_seeds
from xrd_jax.explain import metrics
from xrd_jax.explain.accumulate import Explained
from xrd_jax.explain.methods import CONTROLS, MapKey
from xrd_jax.explain.perturbation import DeletionCurve
from xrd_jax.explain.verdict import Evidence, Verdict, judge
from xrd_jax.information.ground_truth import GroundTruth

SCORES = (
    "auprc_fisher", "auprc_decoy", "auprc_seed_std", "auprc_untrained", "mass_in_truth", "overlap", "decoy_mass",
    "spearman_shapley", "spearman_knockout", "stability", "deletion_auc", "insertion_auc", "randomisation",
    "edge_mass",
)  # fmt: skip
NO_MAP = "no map"  # the verdict where every channel is zero, or one is no number
BETTER_WHEN_LOWER = ("decoy_mass", "auprc_untrained", "randomisation", "edge_mass")


class Perturbed(NamedTuple):
    """What the networks did when channels were taken from them."""

    deleted: Mapping[MapKey, DeletionCurve]  # channels go in the order of the map
    inserted: Mapping[MapKey, DeletionCurve]  # channels come back in that order
    knocked_out: Mapping[str, Mapping[str, Float[np.ndarray, " S"]]]  # window -> target -> error added without it


def score(
    key: MapKey, explained: Explained, untrained: Explained, with_decoy: Explained, decoy: Bool[np.ndarray, "T L"],
    perturbed: Perturbed, truth: GroundTruth | None,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """Return the `SCORES` of one map, None where there is none, with its verdict; and the reason in one line.

    Args:
      explained, untrained, with_decoy: maps of the networks, of untrained ones, and of patterns with a decoy.
      decoy: the channels of that decoy.
    """
    method, target = key
    curves = explained.curves[key]
    if not is_shown(curves):
        return dict.fromkeys(SCORES) | {"verdict": NO_MAP}, "zero in every channel, or no number"
    area = {name: _finite_mean(perturbed.deleted[name, target].auc) for name in (method, "intensity", "random")}
    scores = dict.fromkeys(SCORES, math.nan) | {
        "stability": metrics.stability(curves),
        "deletion_auc": area[method],
        "insertion_auc": _finite_mean(perturbed.inserted[key].auc),
        "spearman_knockout": _knock_out_agreement(key, explained, perturbed),
        "decoy_mass": metrics.decoy_mass(with_decoy.maps[key], decoy[with_decoy.indices[method]]),
        "edge_mass": metrics.edge_mass(curves.mean(axis=0)),
    }
    if key in untrained.curves:
        scores["randomisation"] = metrics.randomisation(curves, untrained.curves[key])
    intensity = chance = math.nan
    if truth is not None and target in truth.carriers:
        carriers = truth.carriers[target]
        scores |= _truth_scores(key, explained, untrained, with_decoy, truth)
        intensity = metrics.auprc(explained.curves["intensity", target].mean(axis=0), carriers)
        chance = float(carriers.mean())
    verdict = judge(Evidence(
        auprc=scores["auprc_fisher"], auprc_untrained=scores["auprc_untrained"], auprc_intensity=intensity,
        chance=chance, randomisation=scores["randomisation"], stability=scores["stability"],
        decoy=scores["decoy_mass"], deletion=area[method], deletion_intensity=area["intensity"],
        deletion_random=area["random"],
    ))  # fmt: skip
    if method in CONTROLS:
        verdict = Verdict("control", "knows no network")
    row = {name: round(float(value), 4) if math.isfinite(value) else None for name, value in scores.items()}
    return row | {"verdict": verdict.word}, verdict.reason


def is_shown(curves: Float[np.ndarray, "S L"]) -> bool:
    """Return whether there is anything in the mean maps of seeds, and nothing but numbers."""
    return bool(np.isfinite(curves).all() and curves.any())


def _truth_scores(
    key: MapKey, explained: Explained, untrained: Explained, with_decoy: Explained, truth: GroundTruth
) -> dict[str, float]:
    curve, carriers = explained.curves[key].mean(axis=0), truth.carriers[key[1]]
    scores = {
        "auprc_fisher": metrics.auprc(curve, carriers),
        "auprc_decoy": metrics.auprc(with_decoy.curves[key].mean(axis=0), carriers),
        "auprc_seed_std": float(
            std_over_seeds(np.array([metrics.auprc(seed, carriers) for seed in with_decoy.curves[key]]))
        ),
        "mass_in_truth": metrics.mass_inside(curve, carriers),
        "overlap": metrics.overlap(curve, carriers),
    }
    if key in untrained.curves:
        scores["auprc_untrained"] = metrics.auprc(untrained.curves[key].mean(axis=0), carriers)
    if key[1] in truth.shapley:
        scores["spearman_shapley"] = metrics.window_agreement(curve, truth.windows, truth.shapley[key[1]])
    return scores


def _knock_out_agreement(key: MapKey, explained: Explained, perturbed: Perturbed) -> float:
    """Rank correlation over windows between the map's share and the increase of error without the window."""
    shares = explained.shares[key]
    names = [name for name, increases in perturbed.knocked_out.items() if name in shares and key[1] in increases]
    if len(names) < 3:
        return math.nan
    mean_increases = [_finite_mean(perturbed.knocked_out[name][key[1]]) for name in names]
    return metrics.spearman(np.array([shares[name].mean() for name in names]), np.array(mean_increases))


def _finite_mean(values: np.ndarray) -> float:
    """Mean of what is finite; NaN if nothing is."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
