"""One map put beside everything that is known of it: its scores and the verdict they come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.explain import metrics, perturbation
from xrd_jax.explain import verdict as explain_verdict
from xrd_jax.explain.accumulate import Explained
from xrd_jax.explain.attribution import CONTROLS
from xrd_jax.information.ground_truth import Truth

Key = tuple[str, str]  # (method, target)
SCORES = (
    "auprc_fisher", "auprc_decoy", "auprc_seed_std", "auprc_untrained", "mass_in_truth", "overlap", "decoy_mass",
    "spearman_shapley", "spearman_knockout", "stability", "deletion_auc", "insertion_auc", "randomisation",
    "edge_mass",
)  # fmt: skip
LOWER = ("decoy_mass", "auprc_untrained", "randomisation", "edge_mass")  # better when smaller


class Perturbed(NamedTuple):
    """What the networks did when channels were taken from them.

    Attributes:
      erased, restored: (method, target) -> errors while channels go, or come back, in the order of the map.
      knocked: window -> target -> [S] harm of losing that window alone.
    """

    erased: Mapping[Key, perturbation.DeletionCurve]
    restored: Mapping[Key, perturbation.DeletionCurve]
    knocked: Mapping[str, Mapping[str, Float[np.ndarray, " S"]]]


def score(
    key: Key, explained: Explained, bare: Explained, lured: Explained, inside: Bool[np.ndarray, "T L"], harm: Perturbed,
    truth: Truth | None,
) -> tuple[dict[str, Any], str]:  # fmt: skip
    """The `SCORES` of one map, None where there is none, with its verdict; and the reason in one line.

    Args:
      bare: maps of untrained networks; lured: maps of patterns with a decoy, which is `inside` those channels.
    """
    method, target = key
    curve = explained.curves[key].mean(axis=0)
    area = {name: _mean(harm.erased[name, target].auc) for name in (method, "intensity", "random")}
    own: dict[str, float] = {
        "stability": metrics.stability(explained.curves[key]),
        "deletion_auc": area[method],
        "insertion_auc": _mean(harm.restored[key].auc),
        "spearman_knockout": _as_knocked_out(key, explained, harm),
        "decoy_mass": metrics.decoy_mass(lured.maps[key], inside[lured.frames[method]]),
        "edge_mass": metrics.edge_mass(curve),
    }
    if key in bare.curves:
        own["randomisation"] = metrics.randomisation(explained.curves[key], bare.curves[key])
    intensity = chance = math.nan
    if truth is not None and target in truth.carriers:
        true = truth.carriers[target]
        own |= _beside_truth(key, explained, bare, lured, truth)
        intensity, chance = metrics.auprc(explained.curves["intensity", target].mean(axis=0), true), true.mean()
    verdict = explain_verdict.verdict(explain_verdict.Evidence(
        auprc=own.get("auprc_fisher", math.nan), auprc_untrained=own.get("auprc_untrained", math.nan),
        auprc_intensity=intensity, chance=float(chance), randomisation=own.get("randomisation", math.nan),
        stability=own["stability"], decoy=own["decoy_mass"], deletion=area[method],
        deletion_intensity=area["intensity"], deletion_random=area["random"],
    ))  # fmt: skip
    if method in CONTROLS:
        verdict = explain_verdict.Verdict("control", "knows no network")
    row: dict[str, Any] = {name: _or_none(own.get(name, math.nan)) for name in SCORES}
    return row | {"verdict": verdict.word}, verdict.reason


def _beside_truth(key: Key, explained: Explained, bare: Explained, lured: Explained, truth: Truth) -> dict[str, float]:
    curve, true = explained.curves[key].mean(axis=0), truth.carriers[key[1]]
    own = {
        "auprc_fisher": metrics.auprc(curve, true),
        "auprc_decoy": metrics.auprc(lured.curves[key].mean(axis=0), true),
        "auprc_seed_std": float(np.std([metrics.auprc(seed, true) for seed in lured.curves[key]])),
        "mass_in_truth": metrics.mass_inside(curve, true),
        "overlap": metrics.overlap(curve, true),
    }
    if key in bare.curves:
        own["auprc_untrained"] = metrics.auprc(bare.curves[key].mean(axis=0), true)
    if key[1] in truth.shapley:
        own["spearman_shapley"] = metrics.agreement(curve, truth.windows, truth.shapley[key[1]])
    return own


def _as_knocked_out(key: Key, explained: Explained, harm: Perturbed) -> float:
    """Rank correlation over windows between the map's share and the harm that the networks take without the window."""
    shares = explained.shares[key]
    names = [name for name in harm.knocked if name in shares and key[1] in harm.knocked[name]]
    if len(names) < 3:
        return math.nan
    taken = [_mean(harm.knocked[name][key[1]]) for name in names]
    return metrics.spearman(np.array([shares[name].mean() for name in names]), np.array(taken))


def _mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if all is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _or_none(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
