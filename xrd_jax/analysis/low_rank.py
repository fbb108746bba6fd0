"""What training patterns have in common as a few principal components, and what of a new pattern they leave over.

Patterns are binned and variance-stabilised, x = 2 √(counts + 3/8) of equal sums, whatever the network's own preparation
is: a spline that samples channels loses most photons of a narrow peak. With mean m, components P and the standard
deviation s of each bin's residual,

    r = (x − m) − P Pᵀ(x − m),  Q = max over windows of w bins of Σ (r / s)²,  T² = Σ (scores / their deviation)².

Q over all bins at once is the chemometrician's; one narrow foreign peak drowns in the noise of the other bins there,
while in a window of its own breadth it does not.

References:
  Jackson, Mudholkar. Technometrics 21 (1979) 341: control procedures for residuals of principal components.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Num

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing.resize import resize_matrix

MAX_BINS = 256  # narrow laboratory peaks then cover two or three of them
WINDOW_BINS = 3  # breadth of a peak; measured beside 1, 2, 5, 9, 17 and all
COMPONENT_COUNTS = (0, 1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32)  # among which cross-validation chooses
FOLDS = 5
MAX_LEVERAGE = 0.99  # a bin that the components all but reproduce by themselves says nothing of their number
RELATIVE_ROUNDING = 1e-6  # of the inputs: patterns that repeat each other exactly have no deviations of their own
MIN_DEVIATION = 0.1  # of the median over bins: bins that are always empty would make anything infinitely unlikely


@dataclasses.dataclass(frozen=True)
class LowRank:
    """Principal components of binned training patterns."""

    matrix: np.ndarray  # [N, L] from measured channels to bins
    total: float  # mean sum of the training patterns, to which all are scaled; 0: some are negative, taken as they are
    mean: np.ndarray  # [L] of the training patterns
    components: np.ndarray  # [L, D], orthonormal
    score_deviations: np.ndarray  # [D] standard deviation of the training patterns along each component
    deviations: np.ndarray  # [L] that of the residuals of patterns that the components were not computed from

    def measure(self, patterns: Num[np.ndarray, "B N"]) -> tuple[Float[np.ndarray, " B"], Float[np.ndarray, " B"]]:
        """Return (Q of the window with the largest, T²); infinite for patterns that are no numbers."""
        centred = _binned(patterns, self.matrix, self.total) - self.mean
        scores = centred @ self.components
        residuals = (centred - scores @ self.components.T) / self.deviations
        squares, distances = windowed(residuals**2).max(axis=1), ((scores / self.score_deviations) ** 2).sum(axis=1)
        return np.where(np.isfinite(squares), squares, np.inf), np.where(np.isfinite(distances), distances, np.inf)


def windowed(values: Float[np.ndarray, "B L"], width: int = WINDOW_BINS) -> Float[np.ndarray, "B windows"]:
    """Return sums over all windows of `width` neighbouring bins, or over all bins where there are fewer."""
    windows = np.lib.stride_tricks.sliding_window_view(values, min(width, values.shape[1]), axis=1)
    return windows.sum(axis=-1)


def bin_matrix(axis: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N L"]:
    """Return the linear map from measured channels to at most `MAX_BINS` bins."""
    return resize_matrix(axis, PrepareConfig(resize="bin", channels=min(MAX_BINS, axis.size)))[0]


def fit(axis: Float[np.ndarray, " N"], patterns: Num[np.ndarray, "M N"], groups: Int[np.ndarray, " M"]) -> LowRank:
    """Return the principal components of training patterns, as many as predict patterns of other groups best.

    Args:
      groups: of patterns that are alike because they are neighbours in time; a group is left out as a whole.
    """
    matrix = bin_matrix(axis)
    total = float(patterns.sum(axis=1, dtype=np.float64).mean()) if patterns.min() >= 0 else 0.0
    inputs = _binned(patterns, matrix, total)
    count, deviations = _cross_validate(inputs, groups)
    mean = inputs.mean(axis=0)
    components = _components(inputs - mean)[:, :count]
    scores = (inputs - mean) @ components
    spread = np.maximum(scores.std(axis=0), RELATIVE_ROUNDING * _scale(inputs))
    return LowRank(matrix, total, mean, components, spread, deviations)


def _cross_validate(inputs: np.ndarray, groups: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the number of components, and the standard deviation [L] of the residuals of left-out groups.

    A residual shrinks with every component, because a bin helps to reproduce itself. So bin j is predicted from the
    others: its residual is divided by 1 − h_j, h = diag(P Pᵀ).
    """
    names = np.unique(groups)
    if names.size < 2:  # nothing to leave out but single patterns
        groups, names = np.arange(len(inputs)), np.arange(len(inputs))
    folds = np.array_split(np.random.default_rng(0).permutation(names), min(FOLDS, names.size))
    smallest = min(int((~np.isin(groups, fold)).sum()) for fold in folds)
    limit = min(smallest - 1, inputs.shape[1] // 2)
    counts = [count for count in COMPONENT_COUNTS if count <= max(limit, 0)]
    errors, squares = np.zeros(len(counts)), np.zeros((len(counts), inputs.shape[1]))
    for fold in folds:
        is_left_out = np.isin(groups, fold)
        mean = inputs[~is_left_out].mean(axis=0)
        components, centred = _components(inputs[~is_left_out] - mean), inputs[is_left_out] - mean
        for number, count in enumerate(counts):
            chosen = components[:, :count]
            squared = ((centred - (centred @ chosen) @ chosen.T) ** 2).sum(axis=0)
            leverage = np.minimum((chosen**2).sum(axis=1), MAX_LEVERAGE)
            errors[number] += (squared / (1.0 - leverage) ** 2).sum()
            squares[number] += squared
    best = int(errors.argmin())
    deviations = np.sqrt(squares[best] / len(inputs))
    floor = max(MIN_DEVIATION * float(np.median(deviations)), RELATIVE_ROUNDING * _scale(inputs))
    return counts[best], np.maximum(deviations, floor)


def _components(centred: Float[np.ndarray, "M L"]) -> Float[np.ndarray, "L D"]:
    """Return the principal components, the strongest first."""
    return np.linalg.eigh(centred.T @ centred)[1][:, ::-1]


def _scale(inputs: np.ndarray) -> float:
    return float(np.abs(inputs).mean()) or 1.0


def _binned(patterns: np.ndarray, matrix: np.ndarray, total: float) -> Float[np.ndarray, "B L"]:
    binned = patterns.astype(np.float64) @ matrix
    if not total:
        return binned
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty pattern is no number, and infinitely unlikely
        level = binned * (total / binned.sum(axis=1, keepdims=True))
    return 2.0 * np.sqrt(np.maximum(level, 0.0) + 0.375)
