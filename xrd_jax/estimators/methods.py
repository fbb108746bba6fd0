"""The estimators side by side: which settings each has, what all of them predict, and how one is fitted."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.estimators import gaussian_process, linear, trees
from xrd_jax.estimators.decomposition import Decomposition, decompose, small_basis
from xrd_jax.estimators.predictor import Function, Linear


class Training(NamedTuple):
    """Training inputs, uncentred, and their principal components."""

    inputs: np.ndarray
    decomposition: Decomposition


def training_on(inputs: Float[np.ndarray, "n L"]) -> Training:
    """Return inputs with their principal components."""
    return Training(inputs, decompose(inputs, small_basis(inputs)))


class Method(NamedTuple):
    """One estimator.

    Attributes:
      settings: training patterns, outputs [n, out] of every target -> the settings to choose from, for every target.
      path: training patterns, outputs [n, out], inputs [B, L], settings -> predictions [P, B, out] with each setting.
      fit: training patterns, outputs [n, out], setting -> the function that is kept.
    """

    settings: Callable[[Training, Sequence[np.ndarray]], Sequence[Sequence[Any]]]
    path: Callable[[Training, np.ndarray, np.ndarray, Sequence[Any]], Float[np.ndarray, "P B out"]]
    fit: Callable[[Training, np.ndarray, Any], Function]


def plain(setting: Any) -> Any:
    """Return a setting as JSON takes it."""
    return setting._asdict() if hasattr(setting, "_asdict") else setting


def _ridge_path(
    training: Training, outputs: np.ndarray, inputs: np.ndarray, shares: Sequence[float]
) -> Float[np.ndarray, "P B out"]:
    decomposition = training.decomposition
    penalties = linear.ridge_penalties(decomposition, shares)
    coefficients = linear.ridge_coefficients(decomposition, outputs, penalties)
    return decomposition.project(inputs) @ coefficients + outputs.mean(axis=0)


def _ridge_fit(training: Training, outputs: np.ndarray, share: float) -> Linear:
    decomposition = training.decomposition
    penalties = linear.ridge_penalties(decomposition, (share,))
    coefficients = linear.ridge_coefficients(decomposition, outputs, penalties)[0]
    return linear.on_inputs(decomposition, coefficients, outputs)


def _pls_path(
    training: Training, outputs: np.ndarray, inputs: np.ndarray, components: Sequence[int]
) -> Float[np.ndarray, "P B out"]:
    decomposition = training.decomposition
    path = linear.pls_coefficients(decomposition, outputs, max(components))
    # Where fewer components explain everything, more of them are the same.
    rows = np.minimum(np.asarray(components), len(path)) - 1
    return decomposition.project(inputs) @ path[rows] + outputs.mean(axis=0)


def _pls_fit(training: Training, outputs: np.ndarray, components: int) -> Linear:
    path = linear.pls_coefficients(training.decomposition, outputs, components)
    return linear.on_inputs(training.decomposition, path[-1], outputs)


def _gp_path(
    training: Training, outputs: np.ndarray, inputs: np.ndarray, kernels: Sequence[gaussian_process.Kernel]
) -> Float[np.ndarray, "P B out"]:
    patterns = gaussian_process.FOLD_PATTERNS
    return np.stack([gaussian_process.fit(training.decomposition, outputs, k, patterns)(inputs) for k in kernels])


def _trees_path(
    training: Training, outputs: np.ndarray, inputs: np.ndarray, settings: Sequence[int]
) -> Float[np.ndarray, "P B out"]:
    rows = slice(None, None, -(-len(outputs) // trees.FOLD_PATTERNS))
    return np.stack([trees.fit(training.inputs[rows], outputs[rows], count)(inputs) for count in settings])


# The simplest first: it is taken where several are as good.
METHODS = {
    "ridge": Method(lambda _, targets: [linear.RIDGE_SHARES for _ in targets], _ridge_path, _ridge_fit),
    "pls": Method(lambda _, targets: [range(1, linear.MAX_COMPONENTS + 1) for _ in targets], _pls_path, _pls_fit),
    "gp": Method(
        lambda training, targets: gaussian_process.most_likely_kernels(training.decomposition, targets),
        _gp_path,
        lambda training, outputs, kernel: gaussian_process.fit(training.decomposition, outputs, kernel),
    ),
    "trees": Method(
        lambda _, targets: [(trees.FOLD_TREES,) for _ in targets],
        _trees_path,
        lambda training, outputs, _: trees.fit(training.inputs, outputs),
    ),
}
