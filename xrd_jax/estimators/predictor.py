"""What a fitted estimator is: plain arrays, and the function from inputs to values or probabilities they stand for."""

import dataclasses
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

MARGIN = 0.1  # of the training range: how far beyond it a prediction may lie
FAR = 0.5  # of the training range: what lies further outside is an extrapolation that nobody should believe


class Function(Protocol):
    """Inputs [B, L] to outputs [B, out]: one value, or one per class."""

    def __call__(self, inputs: Float[np.ndarray, "B L"]) -> Float[np.ndarray, "B out"]: ...


@dataclasses.dataclass(frozen=True)
class Linear:
    """inputs · coefficients + intercept.

    Attributes:
      coefficients: [L, out].
      intercept: [out].
    """

    coefficients: np.ndarray
    intercept: np.ndarray

    def __call__(self, inputs: Float[np.ndarray, "B L"]) -> Float[np.ndarray, "B out"]:
        return inputs @ self.coefficients + self.intercept


@dataclasses.dataclass(frozen=True)
class GaussianProcess:
    """The mean of a Gaussian process on principal components z = inputs · components − offset.

    k(z, z') = radial · exp(−|z − z'|² / 2 length²) + linear · z·z';  outputs = intercept + k(z, scores) · weights.

    Attributes:
      components: [L, D], offset: [D] of the principal components, scaled so that |z|² is 1 on average.
      scores: [M, D] of the training patterns.
      radial, linear, length: variances of the two parts of the kernel, and the length of the first.
      noise: variance of the outputs about the function; what `weights` have seen of it already.
      weights: [M, out] of (k(scores, scores) + noise · 1)⁻¹ (outputs − intercept).
      intercept: [out] training means.
    """

    components: np.ndarray
    offset: np.ndarray
    scores: np.ndarray
    radial: float
    linear: float
    length: float
    noise: float
    weights: np.ndarray
    intercept: np.ndarray

    def __call__(self, inputs: Float[np.ndarray, "B L"]) -> Float[np.ndarray, "B out"]:
        scores = inputs @ self.components - self.offset
        kernel = covariance(scores, self.scores, self.length, self.linear / self.radial)
        return self.radial * kernel @ self.weights + self.intercept


def covariance(
    left: Float[np.ndarray, "B D"], right: Float[np.ndarray, "M D"], length: float, linear: float
) -> Float[np.ndarray, "B M"]:
    """Return exp(−|z − z'|² / 2 length²) + linear · z·z'."""
    products = left @ right.T
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2.0 * products
    return np.exp(-0.5 * np.maximum(squares, 0.0) / length**2) + linear * products


@dataclasses.dataclass(frozen=True)
class Trees:
    """The mean over trees of the values at the leaves that inputs come to.

    Attributes:
      feature: [trees, nodes] channel that a node asks about, −1 for a leaf.
      threshold: [trees, nodes]; inputs up to it go `left`, others `right`, both [trees, nodes] numbers of nodes.
      value: [trees, nodes, out].
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray

    def __call__(self, inputs: Float[np.ndarray, "B L"]) -> Float[np.ndarray, "B out"]:
        rounded = inputs.astype(np.float32)  # as scikit-learn does
        outputs = np.zeros((len(inputs), self.value.shape[-1]))
        for tree in range(len(self.feature)):
            outputs += self.value[tree][self._leaves(tree, rounded)]
        return outputs / len(self.feature)

    def _leaves(self, tree: int, inputs: Float[np.ndarray, "B L"]) -> Int[np.ndarray, " B"]:
        node, rows = np.zeros(len(inputs), np.int64), np.arange(len(inputs))
        while True:
            feature = self.feature[tree][node]
            if (feature < 0).all():
                return node
            goes_left = inputs[rows, feature] <= self.threshold[tree][node]
            step = np.where(goes_left, self.left[tree][node], self.right[tree][node])
            node = np.where(feature < 0, node, step)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What predicts one target from the inputs of the run.

    Attributes:
      function: inputs [B, L] to outputs [B, out].
      kind: 'regression' or 'classification'.
      low, high: the range of the training values; 0 and 1 for classes.
    """

    function: Linear | GaussianProcess | Trees
    kind: str
    low: float
    high: float

    def predict(self, inputs: Float[np.ndarray, "B L"]) -> Float[np.ndarray, "B *K"]:
        """Return values [B] within the training range and `MARGIN` of it, or probabilities [B, K]."""
        outputs = self.function(inputs)
        if self.kind == "classification":
            return to_probabilities(outputs)
        return bounded(outputs[:, 0], self.low, self.high)

    def count_extrapolated(self, inputs: Float[np.ndarray, "B L"]) -> int:
        """Return how many values would lie further than `FAR` of the training range outside it."""
        if self.kind == "classification":
            return 0
        return count_far(self.function(inputs)[:, 0], self.low, self.high)


def extrapolation_line(estimator: str, target: str, count: int, patterns: int) -> str:
    """Return one line for the user about predictions that had to be bounded."""
    return (
        f"{estimator}: {count} of {patterns} predictions of {target} lay more than {FAR:.0%} of the training range "
        f"outside it and were bounded to {MARGIN:.0%} beyond it; these patterns are unlike those it was fitted on"
    )


def to_probabilities(outputs: Float[np.ndarray, "*B K"]) -> Float[np.ndarray, "*B K"]:
    """Return the positive part of outputs of one-hot regressions, divided by its sum.

    The outputs of a linear smoother add up to 1, so that there is a positive one, and the largest stays the largest.
    """
    positive = np.maximum(outputs, 0.0)
    total = positive.sum(axis=-1, keepdims=True)
    return np.where(total > 0.0, positive / np.where(total > 0.0, total, 1.0), 1.0 / outputs.shape[-1])


def bounded(values: Float[np.ndarray, "*B"], low: float, high: float) -> Float[np.ndarray, "*B"]:
    """Return values within the training range and `MARGIN` of it."""
    return np.clip(values, low - MARGIN * (high - low), high + MARGIN * (high - low))


def count_far(values: Float[np.ndarray, " B"], low: float, high: float) -> int:
    """Return how many values lie further than `FAR` of the training range outside it."""
    return int(((values < low - FAR * (high - low)) | (values > high + FAR * (high - low))).sum())
