"""Which estimator a careful analyst would take for these patterns, and on which scaling: cross-validation says."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.estimators.cross_validation import Candidate, candidates, fit
from xrd_jax.estimators.inputs import BLAS_THREADS, make_problem, scalings
from xrd_jax.estimators.methods import METHODS, plain, training_on
from xrd_jax.estimators.predictor import Predictor
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, fit_statistics
from xrd_jax.runtime.console import SILENT, Console

# Standard errors of a difference below which two estimators are as good. A whole one is too generous with five folds:
# it takes the simpler where another is better by a tenth.
TIE = 0.25


@dataclasses.dataclass(frozen=True)
class Choice:
    """An estimator fitted on all training patterns, and why it was this one.

    Attributes:
      estimator: of `METHODS`.
      scaling, statistics: `prepare.scale` that was chosen, and what preparation learnt with it: whoever predicts
        prepares inputs with these.
      predictors: target -> what predicts it.
      settings: target -> the setting of its estimator.
      errors: estimator -> scaling -> mean over targets of the errors in cross-validation, as shares of the error of the
        median or of the commonest class.
      reason: one line for the user.
    """

    estimator: str
    scaling: str
    statistics: Statistics
    predictors: Mapping[str, Predictor]
    settings: Mapping[str, Any]
    errors: Mapping[str, Mapping[str, float]]
    reason: str


def choose(
    prepared: Prepared,
    config: PrepareConfig,
    specs: Sequence[TargetSpec],
    names: Sequence[str] = tuple(METHODS),
    console: Console = SILENT,
) -> Choice:
    """Choose an estimator and a scaling inside the training patterns, and fit it on them.

    Groups of neighbouring patterns are left out in turn. Of more than `inputs.MAX_PATTERNS` training patterns evenly
    spaced ones stand for all. The calibration patterns are not used.

    Args:
      config: how the run prepares its inputs; its `scale` is one of the scalings tried.
      names: estimators to choose from; with one name only its scaling and settings are chosen.
    """
    problem = make_problem(prepared, config, specs, prepared.train)
    with threadpool_limits(BLAS_THREADS, "blas"):
        validated: list[Candidate] = []
        for scale in console.bar(scalings(prepared, config), "choosing an estimator", " scalings"):
            validated += candidates(problem, names, (scale,))
        best = simplest_of_the_best(validated)
        config = dataclasses.replace(config, scale=best.scaling)  # type: ignore[arg-type]
        statistics = fit_statistics(prepared.series, prepared.train, config)
        prepared = dataclasses.replace(prepared, statistics=statistics)
        training = training_on(np.asarray(prepare_inputs(prepared, config, problem.indices), np.float64))
        chosen = {name: validation.setting for name, validation in best.targets.items()}
        predictors = {t.name: fit(training, t, best.estimator, chosen[t.name]) for t in problem.targets}
    errors: dict[str, dict[str, float]] = {name: {} for name in names}
    for candidate in validated:
        errors[candidate.estimator][candidate.scaling] = candidate.error
    settings, reason = {name: plain(setting) for name, setting in chosen.items()}, _reason(best, validated)
    choice = Choice(best.estimator, best.scaling, statistics, predictors, settings, errors, reason)
    console.echo(choice.reason)
    return choice


def simplest_of_the_best(validated: Sequence[Candidate]) -> Candidate:
    """Return the candidate of least error, or the best of a simpler estimator that cannot be told from it.

    Of two estimators neither is better where the mean difference of their errors over folds is below its standard
    error times `TIE`.
    """
    best = min(validated, key=lambda candidate: candidate.error)
    for name in METHODS:  # the simplest first
        of_estimator = [candidate for candidate in validated if candidate.estimator == name]
        if name == best.estimator:
            break
        if not of_estimator:
            continue
        simpler = min(of_estimator, key=lambda candidate: candidate.error)
        difference = simpler.errors - best.errors
        if simpler.error - best.error <= TIE * difference.std(ddof=1) / np.sqrt(difference.size):
            return simpler
    return best


def _reason(best: Candidate, validated: Sequence[Candidate]) -> str:
    """Return one line that says what was chosen and by how much."""
    parts = []
    for name in dict.fromkeys(candidate.estimator for candidate in validated):
        error = min(candidate.error for candidate in validated if candidate.estimator == name)
        parts.append(f"{name} {error:.3f}")
    return (
        f"chosen by cross-validation inside the training patterns: {best.estimator} on '{best.scaling}' inputs "
        f"(error as a share of the median's or the commonest class's: {', '.join(parts)})"
    )
