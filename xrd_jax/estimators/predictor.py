"""What a fitted estimator is: plain arrays, and the function from inputs to values or probabilities they stand for.

The functions take arrays of NumPy and of JAX alike, in the precision of their own arrays; each is a pytree of them.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

MARGIN = 0.1  # of the training range: how far beyond it a prediction may lie
FAR = 0.5  # of the training range: what lies further outside is an extrapolation that nobody should believe


Array = jax.Array | np.ndarray


class Linear(NamedTuple):
    """inputs · coefficients + intercept.

    Attributes:
      coefficients: [L, out].
      intercept: [out].
    """

    coefficients: Any
    intercept: Any

    def __call__(self, inputs: Float[Array, "B L"]) -> Float[Array, "B out"]:
        return inputs @ self.coefficients + self.intercept[None, :]


class GaussianProcess(NamedTuple):
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

    components: Any
    offset: Any
    scores: Any
    radial: Any
    linear: Any
    length: Any
    noise: Any
    weights: Any
    intercept: Any

    def __call__(self, inputs: Float[Array, "B L"]) -> Float[Array, "B out"]:
        scores = inputs @ self.components - self.offset[None, :]
        kernel = covariance(scores, self.scores, self.length, self.linear / self.radial)
        return self.radial * kernel @ self.weights + self.intercept[None, :]


def covariance(left: Float[Array, "B D"], right: Float[Array, "M D"], length: Any, linear: Any) -> Float[Array, "B M"]:
    """Return exp(−|z − z'|² / 2 length²) + linear · z·z'."""
    xp = left.__array_namespace__()
    products = left @ right.T
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2.0 * products
    return xp.exp(-0.5 * xp.maximum(squares, 0.0) / length**2) + linear * products


class Trees(NamedTuple):
    """The mean over trees of the values at the leaves that inputs come to.

    Attributes:
      feature: [trees, nodes] channel that a node asks about, −1 for a leaf.
      threshold: [trees, nodes]; inputs up to it go `left`, others `right`, both [trees, nodes] numbers of nodes.
      value: [trees, nodes, out].
      depth: questions from a root to the furthest leaf.
    """

    feature: Any
    threshold: Any
    left: Any
    right: Any
    value: Any
    depth: Any

    def __call__(self, inputs: Float[Array, "B L"]) -> Float[Array, "B out"]:
        tree = np.arange(len(self.feature), dtype=np.int32)[None, :]
        return self.value[tree, self._leaves(inputs, tree)].mean(axis=1)

    def _leaves(self, inputs: Float[Array, "B L"], tree: Int[Array, "1 trees"]) -> Int[Array, "B trees"]:
        xp = inputs.__array_namespace__()
        row = xp.arange(inputs.shape[0], dtype=np.int32)[:, None]
        rounded = inputs.astype(np.float32).astype(self.threshold.dtype)  # as scikit-learn does

        def ask(_: Any, node: Array) -> Array:
            feature = self.feature[tree, node]
            goes_left = rounded[row, xp.maximum(feature, 0)] <= self.threshold[tree, node]
            step = xp.where(goes_left, self.left[tree, node], self.right[tree, node])
            return xp.where(feature < 0, node, step)

        node = xp.zeros((inputs.shape[0], len(self.feature)), np.int32)
        if xp is not np:
            return jax.lax.fori_loop(0, self.depth, ask, node)
        for number in range(self.depth):
            node = ask(number, node)
        return node


Function = Linear | GaussianProcess | Trees  # inputs [B, L] to outputs [B, out]: one value, or one per class


@dataclasses.dataclass(frozen=True)
class Predictor:
    """What predicts one target from the inputs of the run.

    Attributes:
      function: inputs [B, L] to outputs [B, out].
      kind: 'regression' or 'classification'.
      low, high: the range of the training values; 0 and 1 for classes.
    """

    function: Function
    kind: str
    low: float
    high: float

    def predict(self, inputs: Float[Array, "B L"]) -> Float[Array, "B *K"]:
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


def bounded_line(estimator: str, target: str, count: int, patterns: int) -> str:
    """Return one line for the user about predictions that lay beyond the bounds, however far."""
    return (
        f"{estimator}: {count} of {patterns} predictions of {target} lay more than {MARGIN:.0%} of the training range "
        "outside it and were bounded there; these patterns are unlike those it was fitted on"
    )


def to_probabilities(outputs: Float[Array, "*B K"]) -> Float[Array, "*B K"]:
    """Return the positive part of outputs of one-hot regressions, divided by its sum.

    The outputs of a linear smoother add up to 1, so that there is a positive one, and the largest stays the largest.
    """
    xp = outputs.__array_namespace__()
    positive = xp.maximum(outputs, 0.0)
    total = positive.sum(axis=-1, keepdims=True)
    return xp.where(total > 0.0, positive / xp.where(total > 0.0, total, 1.0), 1.0 / outputs.shape[-1])


def bounds(low: float, high: float) -> tuple[float, float]:
    """Return the ends of a training range with `MARGIN` of it at either side."""
    return low - MARGIN * (high - low), high + MARGIN * (high - low)


def bounded(values: Float[Array, "*B"], low: float, high: float) -> Float[Array, "*B"]:
    """Return values within the training range and `MARGIN` of it."""
    return values.clip(*bounds(low, high))


def count_far(values: Float[Array, " B"], low: float, high: float) -> int:
    """Return how many values lie further than `FAR` of the training range outside it."""
    return int(((values < low - FAR * (high - low)) | (values > high + FAR * (high - low))).sum())
