"""Do the intervals of a run hold? Nominal and actual coverage, width, CRPS and PIT on the test set, before and after.

'Raw' is what the networks say by themselves: a distribution, or for a value the normal distribution whose deviation is
the spread over seeds, or the probabilities of classes. What is promised holds for patterns that are exchangeable with
the calibration patterns; a permutation test of whole groups says whether the test patterns are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from xrd_jax.analysis import conformal
from xrd_jax.analysis.intervals import LEVELS, Calibration, Labelled
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.targets import TargetSpec

PIT_BINS = 10
CENTRAL_SHARES = (np.arange(25) + 0.5) / 25  # whose ends are the 50 quantiles that a calibrated CRPS is made of
PERMUTATIONS = 1999
DOUBT = 0.05  # p-value below which calibration and test patterns are called not exchangeable
Ends = tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]


def evaluate(calibration: Calibration, specs: Sequence[TargetSpec], test: Labelled) -> dict[str, Any]:
    """Return what metrics.json says of intervals.

    Returns:
      'calibration' and 'test': numbers of patterns and groups. 'targets': name -> 'levels', a list of 'nominal',
      'coverage' and 'width' (of label sets 'size'), None where nothing is promised, with the same 'raw_…'; for
      regressions 'crps', 'pit' (counts of ten bins), also raw; 'exchangeability'. 'notes': sentences for people.
    """
    targets: dict[str, Any] = {}
    for spec in specs:
        result = (_regression if spec.kind == "regression" else _classification)(calibration, spec, test)
        own, theirs = calibration.scores[spec.name], scores_of(calibration, spec, test)
        targets[spec.name] = {
            "kind": spec.kind, "unit": spec.unit, **result,
            "exchangeability": exchangeability(own, calibration.groups, theirs, test.groups),
        }  # fmt: skip
    return {
        "calibration": {"patterns": int(calibration.groups.size), "groups": calibration.group_count},
        "test": {"patterns": int(test.groups.size), "groups": int(np.unique(test.groups).size)},
        "targets": targets,
        "notes": list(_notes(calibration, targets)),
    }


def scores_of(calibration: Calibration, spec: TargetSpec, test: Labelled) -> Float[np.ndarray, " T"]:
    """Return the conformal scores of other patterns, on the scale of the calibration's."""
    predicted, distribution = test.outputs[spec.name], test.distributions.get(spec.name)
    return conformal.score(spec, predicted, distribution, test.truth[spec.name], calibration.floors[spec.name])


def _regression(calibration: Calibration, spec: TargetSpec, test: Labelled) -> dict[str, Any]:
    truth = test.truth[spec.name]
    levels = []
    for level in LEVELS:
        ends = calibration.interval(spec, test.outputs, test.distributions, level)
        raw = _raw_ends(spec, test, level)
        levels.append(
            {"nominal": level}
            | dict(zip(("coverage", "width"), _held(ends, truth), strict=True))
            | dict(zip(("raw_coverage", "raw_width"), _held(raw, truth), strict=True))
        )
    raw_crps, raw_pit = _raw_crps_and_pit(spec, test)
    crps, pit = _calibrated_crps_and_pit(calibration, spec, test)
    return {"levels": levels, "crps": crps, "raw_crps": raw_crps, "pit": pit, "raw_pit": raw_pit}


def _held(ends: Ends | None, truth: Float[np.ndarray, " T"]) -> tuple[float | None, float | None]:
    """Return the share of intervals that hold the truth, and their mean width."""
    if ends is None:
        return None, None
    lower, upper = ends
    return float(np.mean((truth >= lower) & (truth <= upper))), float(np.nanmean(upper - lower))


def _raw_ends(spec: TargetSpec, test: Labelled, level: float) -> Ends | None:
    """Return the central share of the distribution, or of the normal one over seeds; None for the value of one seed."""
    predicted, distribution = test.outputs[spec.name], test.distributions.get(spec.name)
    if distribution is not None:
        return conformal.bounds(spec, predicted, distribution, np.full(len(distribution), level), 0.0)
    if len(predicted) < 2:
        return None
    centre, reach = predicted.mean(axis=0), float(ndtri(0.5 + 0.5 * level)) * predicted.std(axis=0, ddof=1)
    return centre - reach, centre + reach


def _raw_crps_and_pit(spec: TargetSpec, test: Labelled) -> tuple[float | None, list[int] | None]:
    predicted, distribution = test.outputs[spec.name], test.distributions.get(spec.name)
    truth = test.truth[spec.name]
    if distribution is not None:
        shares = histogram.cumulative_at(distribution, spec.low, spec.high, truth)
        return float(np.nanmean(histogram.crps(distribution, spec.low, spec.high, truth))), _counts(shares)
    if len(predicted) < 2:
        return None, None
    deviation = np.maximum(predicted.std(axis=0, ddof=1, dtype=np.float64), 1e-9 * spec.deviation)
    standard = (truth - predicted.mean(axis=0, dtype=np.float64)) / deviation
    density = np.exp(-0.5 * standard**2) / np.sqrt(2 * np.pi)
    crps = deviation * (standard * (2 * ndtr(standard) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return float(np.nanmean(crps)), _counts(ndtr(standard))


def _calibrated_crps_and_pit(
    calibration: Calibration, spec: TargetSpec, test: Labelled
) -> tuple[float | None, list[int] | None]:
    """Return CRPS = 2 ∫ pinball(τ) dτ and PIT of the distribution whose central shares are the calibrated intervals."""
    own = np.sort(calibration.scores[spec.name])
    own = own[np.isfinite(own)]
    if not own.size:
        return None, None
    truth, predicted = test.truth[spec.name], test.outputs[spec.name]
    distribution, floor = test.distributions.get(spec.name), calibration.floors[spec.name]

    def ends(radius: float) -> Ends:
        return conformal.bounds(spec, predicted, distribution, np.full(len(truth), radius), floor)

    loss = np.zeros(len(truth))
    for share in CENTRAL_SHARES:
        lower, upper = ends(float(np.quantile(own, share, method="higher")))
        for quantile, level in ((lower, 0.5 - 0.5 * share), (upper, 0.5 + 0.5 * share)):
            loss += np.where(truth >= quantile, level, level - 1.0) * (truth - quantile) / CENTRAL_SHARES.size
    inside = np.searchsorted(own, scores_of(calibration, spec, test), side="right") / own.size
    side = np.where(truth < ends(0.0)[0], -0.5, 0.5)
    return float(np.nanmean(loss)), _counts(0.5 + side * inside)


def _counts(shares: Float[np.ndarray, " T"]) -> list[int]:
    return [int(count) for count in np.histogram(shares, PIT_BINS, (0.0, 1.0))[0]]


def _classification(calibration: Calibration, spec: TargetSpec, test: Labelled) -> dict[str, Any]:
    """Return coverage and mean size of label sets; raw: the most probable classes that have the level together."""
    truth, rows = test.truth[spec.name].astype(int), np.arange(test.groups.size)
    mean = test.outputs[spec.name].mean(axis=0, dtype=np.float64)
    order = np.argsort(-mean, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(mean, order, 1), axis=1) - np.take_along_axis(mean, order, 1)
    before = np.take_along_axis(before, np.argsort(order, axis=1), 1)  # probability of all that are more probable
    levels = []
    for level in LEVELS:
        sets, raw = calibration.label_sets(spec, test.outputs, level), before < level
        levels.append({
            "nominal": level,
            "coverage": None if sets is None else float(sets[rows, truth].mean()),
            "size": None if sets is None else float(sets.sum(axis=1).mean()),
            "raw_coverage": float(raw[rows, truth].mean()),
            "raw_size": float(raw.sum(axis=1).mean()),
        })  # fmt: skip
    return {"levels": levels}


def exchangeability(
    calibration: Float[np.ndarray, " n"], calibration_groups: Int[np.ndarray, " n"],
    test: Float[np.ndarray, " m"], test_groups: Int[np.ndarray, " m"],
) -> dict[str, Any]:  # fmt: skip
    """Test by permutation of whole groups whether scores of calibration and of test patterns have the same mean.

    Returns:
      'p', 'calibration_groups', 'test_groups', and the mean of the group means of either ('calibration_score',
      'test_score'). With few groups p cannot be small: it is at least 1 in the number of ways to deal them.
    """
    first, second = _group_means(calibration, calibration_groups), _group_means(test, test_groups)
    result = {
        "calibration_groups": first.size, "test_groups": second.size,
        "calibration_score": float(first.mean()), "test_score": float(second.mean()),
    }  # fmt: skip
    means, rng = np.concatenate([first, second]), np.random.default_rng(0)
    dealt = rng.permuted(np.tile(means, (PERMUTATIONS, 1)), axis=1)
    differences = np.abs(dealt[:, : first.size].mean(axis=1) - dealt[:, first.size :].mean(axis=1))
    observed = abs(first.mean() - second.mean())
    is_as_large = differences >= observed - 1e-12 * max(float(np.abs(means).max()), 1e-300)
    return {"p": float((1 + is_as_large.sum()) / (1 + PERMUTATIONS)), **result}


def _group_means(scores: np.ndarray, groups: np.ndarray) -> Float[np.ndarray, " G"]:
    """Return the mean score of each group; a prediction that is no number counts as the largest score there is."""
    finite = scores[np.isfinite(scores)]
    bounded = np.where(np.isfinite(scores), scores, finite.max() if finite.size else 1.0)
    index = np.unique(groups, return_inverse=True)[1]
    return np.bincount(index, bounded) / np.bincount(index)


def _notes(calibration: Calibration, targets: Mapping[str, Any]) -> Iterator[str]:
    """Yield what people should know before they believe an interval."""
    refusals = {level: reason for level in LEVELS if (reason := calibration.refusal(level))}
    if refusals:
        levels = ", ".join(f"{100 * level:g}" for level in refusals)
        yield f"no interval can be promised at {levels} %: {refusals[max(refusals)]}"
    for name, result in targets.items():
        test = result["exchangeability"]
        if test["p"] < DOUBT:
            larger = "larger" if test["test_score"] > test["calibration_score"] else "smaller"
            groups = f"{test['calibration_groups']} against {test['test_groups']} groups"
            yield (
                f"{name}: calibration and test patterns are not exchangeable (p = {test['p']:.2g}, {groups}): "
                f"intervals may not hold, errors of the test patterns are {larger}"
            )
