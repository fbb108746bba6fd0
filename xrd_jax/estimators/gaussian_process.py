"""Gaussian processes on principal components: a smooth part, a linear part and noise."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.estimators.decomposition import Decomposition
from xrd_jax.estimators.predictor import GaussianProcess, covariance

COMPONENTS = (6, 12, 24)  # numbers of principal components that are tried
LENGTHS = tuple(float(length) for length in np.geomspace(0.15, 6.0, 8))  # in root mean squares of the scores' length
LINEAR_SHARES = (0.0, 0.1, 1.0, 10.0)  # variance of the linear part where the smooth part has 1
NOISE_SHARES = 10.0 ** np.arange(-4.0, 1.1, 0.25)  # and of the noise
EVIDENCE_PATTERNS = 256  # evenly spaced ones, by which kernels are compared
FOLD_PATTERNS = 400  # training patterns within a cross-validation
MAX_PATTERNS = 1000  # training patterns of the process that is kept


class Kernel(NamedTuple):
    """A choice of `components`, and variances relative to the smooth part's, which is `length` wide."""

    components: int
    length: float
    linear: float
    noise: float


def most_likely_kernels(
    decomposition: Decomposition, outputs: Sequence[Float[np.ndarray, "n _"]]
) -> list[tuple[Kernel, ...]]:
    """Return for each of `outputs` the kernel of largest evidence at every number of components.

    With K = V diag(e) Vᵀ the evidence of every noise δ is known from one decomposition, for all outputs:
    log p = −½ n out log Σ (Vᵀy)² / (e + δ) − ½ out Σ log(e + δ), the overall variance at its best value.

    References:
      Rasmussen, Williams. Gaussian Processes for Machine Learning (2006), section 5.4.
    """
    rows = slice(None, None, -(-len(decomposition.scores) // EVIDENCE_PATTERNS))
    centred = [(values - values.mean(axis=0))[rows] for values in outputs]
    kernels: list[list[Kernel]] = [[] for _ in outputs]
    for count in dict.fromkeys(min(number, decomposition.squares.size) for number in COMPONENTS):
        scores = decomposition.scores[rows, :count] / _unit(decomposition, count)
        best = [(-np.inf, Kernel(count, 1.0, 0.0, 1.0))] * len(outputs)
        for length in LENGTHS:
            smooth = covariance(scores, scores, length, 0.0)
            for linear in LINEAR_SHARES:
                eigenvalues, vectors = np.linalg.eigh(smooth + linear * scores @ scores.T)
                spectrum = np.maximum(eigenvalues, 0.0)[:, None] + NOISE_SHARES[None, :]
                for number, values in enumerate(centred):
                    fit = (((vectors.T @ values) ** 2).sum(axis=1)[:, None] / spectrum).sum(axis=0)
                    fit = np.maximum(fit, np.finfo(float).tiny)
                    evidence = -0.5 * values.shape[1] * (len(values) * np.log(fit) + np.log(spectrum).sum(axis=0))
                    noise = int(evidence.argmax())
                    kernel = Kernel(count, length, linear, float(NOISE_SHARES[noise]))
                    best[number] = max(best[number], (float(evidence[noise]), kernel))
        for number, (_, kernel) in enumerate(best):
            kernels[number].append(kernel)
    return [tuple(chosen) for chosen in kernels]


def fit(
    decomposition: Decomposition, outputs: Float[np.ndarray, "n out"], kernel: Kernel, patterns: int = MAX_PATTERNS
) -> GaussianProcess:
    """Return the process given evenly spaced training patterns, at most `patterns` of them."""
    rows, count = slice(None, None, -(-len(outputs) // patterns)), min(kernel.components, decomposition.squares.size)
    unit = _unit(decomposition, count)
    scores, intercept = decomposition.scores[rows, :count] / unit, outputs.mean(axis=0)
    centred = outputs[rows] - intercept
    matrix = covariance(scores, scores, kernel.length, kernel.linear) + kernel.noise * np.eye(len(scores))
    weights = np.linalg.solve(matrix, centred)
    variance = max(float((centred * weights).sum()) / centred.size, np.finfo(float).tiny)
    return GaussianProcess(
        components=decomposition.components[:, :count] / unit,
        offset=decomposition.offset[:count] / unit,
        scores=scores,
        radial=variance,
        linear=variance * kernel.linear,
        length=kernel.length,
        noise=variance * kernel.noise,
        weights=weights / variance,
        intercept=intercept,
    )


def _unit(decomposition: Decomposition, count: int) -> float:
    """Return the root mean square length of the first `count` scores."""
    return float(np.sqrt(decomposition.squares[:count].sum() / len(decomposition.scores)))
