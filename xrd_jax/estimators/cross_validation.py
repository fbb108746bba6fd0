"""Settings and scaling of every estimator, chosen inside the training patterns by leaving out whole groups."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.estimators.decomposition import decompose, small_basis
from xrd_jax.estimators.inputs import Fold, Outputs, Problem
from xrd_jax.estimators.methods import METHODS, Training
from xrd_jax.estimators.predictor import Predictor, bounded


@dataclasses.dataclass(frozen=True)
class Validation:
    """What cross-validation says of one estimator, scaling and target.

    Attributes:
      setting: the best of the estimator's settings.
      errors: [F] mean errors of the held-out patterns of each fold, as shares of the error of the median or of the
        commonest class.
      error: the same over all held-out patterns together.
    """

    setting: Any
    errors: np.ndarray
    error: float


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An estimator on inputs of one scaling: target -> what cross-validation says.

    Attributes:
      error: mean over targets of their errors.
      errors: [F] mean over targets of the errors of each fold.
    """

    estimator: str
    scaling: str
    targets: dict[str, Validation]

    @property
    def error(self) -> float:
        return float(np.mean([validation.error for validation in self.targets.values()]))

    @property
    def errors(self) -> Float[np.ndarray, " F"]:
        return np.mean([validation.errors for validation in self.targets.values()], axis=0)


def validate(
    inputs: Float[np.ndarray, "n L"], targets: Sequence[Outputs], folds: Sequence[Fold], names: Sequence[str]
) -> dict[str, dict[str, Validation]]:
    """Return estimator -> target -> its best setting and errors on inputs of one scaling.

    Args:
      folds: (rows to fit, rows held out) of `inputs`.
      names: of `METHODS`.
    """
    basis = small_basis(inputs)
    whole = Training(inputs, decompose(inputs, basis))
    settings = {name: METHODS[name].settings(whole, [target.values for target in targets]) for name in names}
    errors: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in targets] for name in names}
    for train, held_out in folds:
        training = Training(inputs[train], decompose(inputs[train], basis))
        for name in names:
            for target, choices, fold_errors in zip(targets, settings[name], errors[name], strict=True):
                predicted = METHODS[name].path(training, target.values[train], inputs[held_out], choices)
                fold_errors.append(_errors(target, predicted, target.values[held_out]))
    sizes = np.array([held_out.size for _, held_out in folds])
    return {
        name: {
            target.name: _best(choices, np.stack(fold_errors), sizes)
            for target, choices, fold_errors in zip(targets, settings[name], errors[name], strict=True)
        }
        for name in names
    }


def _errors(
    target: Outputs, predicted: Float[np.ndarray, "P B out"], truth: Float[np.ndarray, "B out"]
) -> Float[np.ndarray, " P"]:
    """Return the mean errors of every setting as shares of the naive error."""
    if target.kind == "classification":
        is_wrong = predicted.argmax(axis=-1) != truth.argmax(axis=-1)[None, :]
        return is_wrong.mean(axis=1) / target.naive
    values = bounded(predicted[..., 0], target.low, target.high)
    return np.abs(values - truth[None, :, 0]).mean(axis=1) / target.naive


def _best(settings: Sequence[Any], errors: Float[np.ndarray, "F P"], sizes: Int[np.ndarray, " F"]) -> Validation:
    together = sizes @ errors / sizes.sum()
    best = int(together.argmin())
    return Validation(settings[best], errors[:, best], float(together[best]))


def candidates(problem: Problem, names: Sequence[str], scales: Sequence[str]) -> list[Candidate]:
    """Return every estimator on every scaling, cross-validated inside the training patterns."""
    return [
        Candidate(name, scale, validations)
        for scale in scales
        for name, validations in validate(problem.inputs(scale), problem.targets, problem.folds, names).items()
    ]


def fit(training: Training, target: Outputs, estimator: str, setting: Any) -> Predictor:
    """Return the estimator with one setting, fitted on all training patterns."""
    function = METHODS[estimator].fit(training, target.values, setting)
    return Predictor(function, target.kind, target.low, target.high)
