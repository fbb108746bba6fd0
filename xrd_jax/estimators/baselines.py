"""What every network is put beside: the median, neighbours, linear models, a Gaussian process, the likelihood."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from threadpoolctl import threadpool_limits

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.estimators import likelihood
from xrd_jax.estimators.cross_validation import Candidate, candidates, fit
from xrd_jax.estimators.inputs import BLAS_THREADS, Problem, make_problem, scalings, thinned
from xrd_jax.estimators.methods import plain, training_on
from xrd_jax.estimators.nearest import nearest_training_patterns
from xrd_jax.estimators.predictor import extrapolation_line
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec

CHOSEN = ("pls", "ridge", "gp")  # baselines whose settings and scaling cross-validation chooses
NAMES = ("median", "time", "knn", *CHOSEN, "likelihood")
LABELS = {
    "median": "median or commonest class",
    "time": "straight line in time (sees no pattern)",
    "knn": "3 nearest neighbours",
    "pls": "partial least squares",
    "ridge": "ridge regression",
    "gp": "Gaussian process",
    "trees": "extremely randomised trees",
    "likelihood": "likelihood of the training patterns",
    "posterior": "exact posterior (knows the simulated cell)",
}
FEW_PATTERNS = 500  # up to here linear models and Gaussian processes were level with networks or ahead on measured data
Scores = dict[str, dict[str, dict[str, Any]]]


def evaluate(
    prepared: Prepared, config: PrepareConfig, specs: Sequence[TargetSpec], names: Sequence[str] = NAMES
) -> Scores:
    """Return the errors of baselines on the test patterns; everything is chosen on the training patterns.

    They are fitted on the calibration patterns too, of which they have no need. Of more than `inputs.MAX_PATTERNS`
    training or test patterns evenly spaced ones stand for all; neighbours are sought among all. The likelihood is left
    out where the data are not counts, the line in time where times are not known or a session has no training pattern.

    Args:
      config: how the run prepares its inputs.

    Returns:
      baseline -> target -> {'mae', 'rmse'} in its unit, or {'accuracy'}. Where cross-validation chose them also
      'scaling', 'setting' and 'inside_training', the cross-validated error as a share of that of the median or the
      commonest class; 'extrapolated' where so many values would lie far outside the training range, and were bounded.
    """
    with threadpool_limits(BLAS_THREADS, "blas"):
        return _evaluate(prepared, config, specs, names)


def extrapolation_lines(scores: Scores, patterns: int) -> list[str]:
    """Return one line for each baseline and target whose predictions of some of the test `patterns` were bounded."""
    return [
        extrapolation_line(name, target, errors["extrapolated"], patterns)
        for name, targets in scores.items()
        for target, errors in targets.items()
        if errors.get("extrapolated")
    ]


def advice(scores: Scores, specs: Sequence[TargetSpec], patterns: int) -> list[str]:
    """Return what a careful analyst would report where training `patterns` are few; no line where they are many.

    The model is chosen by its errors inside the training patterns, never by those on the test set.
    """
    if patterns > FEW_PATTERNS:
        return []
    shares = {
        name: float(np.mean([scores[name][spec.name]["inside_training"] for spec in specs]))
        for name in CHOSEN
        if name in scores
    }
    if not shares:
        return []
    best = min(shares, key=lambda name: shares[name])
    return [
        f"{patterns} training patterns are few for a network: report {LABELS[best]} beside it, whose error on groups "
        f"left out inside them is {100 * shares[best]:.0f} % of that of a constant (the least of "
        f"{', '.join(LABELS[name] for name in shares)})"
    ]


def _evaluate(prepared: Prepared, config: PrepareConfig, specs: Sequence[TargetSpec], names: Sequence[str]) -> Scores:
    train, test = np.sort(np.concatenate([prepared.train, prepared.calibration])), thinned(prepared.test)
    predicted: dict[str, dict[str, np.ndarray]] = {}
    remarks: Scores = {}
    if "median" in names:
        predicted["median"] = _constants(prepared, specs, train, test)
    if "time" in names and (lines := _lines_in_time(prepared, specs, train, test)):
        predicted["time"] = lines
    if "knn" in names:
        predicted["knn"] = _votes(prepared, specs, nearest_training_patterns(prepared, config, train, test))
    if chosen := [name for name in names if name in CHOSEN]:
        outputs, remarks = _chosen(make_problem(prepared, config, specs, train), chosen, test)
        predicted |= outputs
    if "likelihood" in names and prepared.series.is_counts:
        predicted["likelihood"] = likelihood.predict(prepared, config, specs, train, test)
    return {
        name: {
            spec.name: _errors(spec, outputs[spec.name], prepared.series.targets[spec.name].values[test])
            | remarks.get(name, {}).get(spec.name, {})
            for spec in specs
        }
        for name, outputs in predicted.items()
    }


def _errors(spec: TargetSpec, predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    if spec.kind == "classification":
        return {"accuracy": float((predicted.argmax(axis=-1) == truth).mean())}
    error = predicted - truth
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}


def _constants(
    prepared: Prepared, specs: Sequence[TargetSpec], train: Int[np.ndarray, " n"], test: Int[np.ndarray, " B"]
) -> dict[str, np.ndarray]:
    """Return the training patterns' median, or their share of every class, for every test pattern."""
    predicted = {}
    for spec in specs:
        values = prepared.series.targets[spec.name].values[train]
        is_class = spec.kind == "classification"
        constant = np.bincount(values, minlength=spec.size) / values.size if is_class else np.median(values)
        predicted[spec.name] = np.broadcast_to(constant, (test.size, *np.shape(constant)))
    return predicted


def _lines_in_time(
    prepared: Prepared, specs: Sequence[TargetSpec], train: Int[np.ndarray, " n"], test: Int[np.ndarray, " B"]
) -> dict[str, np.ndarray]:
    """Return what lies on a line between the training patterns of a session before and after; none where it cannot.

    A class counts as much as its training pattern is near. Beyond the first and last one their values go on.
    """
    series, predicted = prepared.series, {}
    if not series.timed or not np.isin(series.session[test], series.session[train]).all():
        return {}
    for spec in specs:
        values, is_class = series.targets[spec.name].values, spec.kind == "classification"
        columns = [values == number for number in range(spec.size)] if is_class else [values]
        lines = np.empty((test.size, len(columns)))
        for session in np.unique(series.session[test]):
            known, asked = train[series.session[train] == session], series.session[test] == session
            for number, column in enumerate(columns):
                time, at = series.time[known], series.time[test[asked]]
                lines[asked, number] = np.interp(at, time, column[known].astype(float))
        predicted[spec.name] = lines if is_class else lines[:, 0]
    return predicted


def _votes(
    prepared: Prepared, specs: Sequence[TargetSpec], neighbours: Int[np.ndarray, "B 3"]
) -> dict[str, np.ndarray]:
    """Return the mean of the neighbours' values, or their votes for every class."""
    predicted = {}
    for spec in specs:
        values = prepared.series.targets[spec.name].values[neighbours]
        is_class = spec.kind == "classification"
        votes = (values[:, :, None] == np.arange(spec.size)[None, None, :]).mean(axis=1) if is_class else None
        predicted[spec.name] = values.mean(axis=1) if votes is None else votes
    return predicted


def _chosen(
    problem: Problem, names: Sequence[str], test: Int[np.ndarray, " B"]
) -> tuple[dict[str, dict[str, np.ndarray]], Scores]:
    """Return what the chosen estimators predict, each target by itself, and what was chosen."""
    validated = candidates(problem, names, scalings(problem.prepared, problem.config))
    predicted: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    remarks: Scores = {name: {} for name in names}
    for scale in dict.fromkeys(candidate.scaling for candidate in validated):
        pairs = [
            (candidate, number)
            for number, target in enumerate(problem.targets)
            for candidate in (_best(validated, name, target.name) for name in names)
            if candidate.scaling == scale
        ]
        if not pairs:
            continue
        training, inputs = training_on(problem.inputs(scale)), problem.inputs(scale, test)
        for candidate, number in pairs:
            target = problem.targets[number]
            setting = candidate.targets[target.name].setting
            predictor = fit(training, target, candidate.estimator, setting)
            predicted[candidate.estimator][target.name] = np.asarray(predictor.predict(inputs))
            far = predictor.count_extrapolated(inputs)
            share = candidate.targets[target.name].error
            remark = {"scaling": scale, "setting": plain(setting), "inside_training": share}
            remark |= {"extrapolated": far} if far else {}
            remarks[candidate.estimator][target.name] = remark
    return predicted, remarks


def _best(validated: Sequence[Candidate], estimator: str, target: str) -> Candidate:
    of_estimator = [candidate for candidate in validated if candidate.estimator == estimator]
    return min(of_estimator, key=lambda candidate: candidate.targets[target].error)
