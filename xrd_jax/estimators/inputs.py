"""What estimators are fitted on: a bounded number of patterns, scaled in several ways, and folds of whole groups."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import GroupKFold

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.splits import contiguous_groups
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.record import PatternSeries

MAX_PATTERNS = 4000  # evenly spaced patterns that stand for all, of the training and of the test
FOLDS = 5
# Matrices here are small: threads would cost more than they bring, and very much more where others want the cores too.
BLAS_THREADS = 1
Fold = tuple[np.ndarray, np.ndarray]  # rows to fit, rows held out


class Outputs(NamedTuple):
    """A target at the patterns that an estimator is fitted on.

    Attributes:
      values: [n, 1] in the target's unit, or [n, K] one-hot.
      low, high: the range of the values; 0 and 1 for classes.
      naive: mean absolute error of the median, or the share of patterns that are not of the commonest class.
    """

    name: str
    kind: str
    values: np.ndarray
    low: float
    high: float
    naive: float


class Problem(NamedTuple):
    """What estimators are chosen on: patterns `indices` of a prepared series, their targets, and folds of them."""

    prepared: Prepared
    config: PrepareConfig
    indices: np.ndarray
    targets: tuple[Outputs, ...]
    folds: list[Fold]

    def inputs(self, scale: str, indices: Int[np.ndarray, " m"] | None = None) -> Float[np.ndarray, "m L"]:
        """Return the patterns, or others of the series, as `scaled_inputs` does."""
        return scaled_inputs(self.prepared, self.config, scale, self.indices if indices is None else indices)


def make_problem(
    prepared: Prepared, config: PrepareConfig, specs: Sequence[TargetSpec], indices: Int[np.ndarray, " n"]
) -> Problem:
    """Return what estimators are chosen on: at most `MAX_PATTERNS` of the training patterns `indices`."""
    indices = thinned(indices)
    targets = tuple(outputs_at(prepared.series, spec, indices) for spec in specs)
    return Problem(prepared, config, indices, targets, grouped_folds(prepared.series, indices))


def thinned(indices: Int[np.ndarray, " n"], most: int = MAX_PATTERNS) -> Int[np.ndarray, " m"]:
    """Return every k-th of `indices`, with the least k that leaves at most `most`."""
    return indices[:: max(1, -(-indices.size // most))]


def scalings(prepared: Prepared, config: PrepareConfig) -> tuple[str, ...]:
    """Return the values of `prepare.scale` that are tried, the configuration's own first.

    Division by the total, and the root of counts, mean something only where no intensity is negative.
    """
    is_intensity = float(prepared.statistics.low) >= 0.0 and config.baseline == "none" and not config.derivative
    return tuple(dict.fromkeys((config.scale, "pattern", *(("sqrt", "total") if is_intensity else ()))))


def scaled_inputs(
    prepared: Prepared, config: PrepareConfig, scale: str, indices: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n L"]:
    """Return patterns as a configuration with another `prepare.scale` prepares them, not centred.

    The levels are those of the training patterns; what is fitted here centres its inputs itself.
    """
    config = dataclasses.replace(config, scale=scale, centre=False)  # type: ignore[arg-type]
    statistics = prepared.statistics
    uncentred = statistics._replace(mean=jnp.zeros_like(statistics.mean), deviation=jnp.ones_like(statistics.deviation))
    prepared = dataclasses.replace(prepared, statistics=uncentred)
    return np.asarray(prepare_inputs(prepared, config, indices), np.float64)


def outputs_at(series: PatternSeries, spec: TargetSpec, indices: Int[np.ndarray, " n"]) -> Outputs:
    """Return a target's values at `indices`, encoded for a regression."""
    values = series.targets[spec.name].values[indices]
    if spec.kind == "classification":
        one_hot = (values[:, None] == np.arange(spec.size)[None, :]).astype(np.float64)
        return Outputs(spec.name, spec.kind, one_hot, 0.0, 1.0, max(1.0 - float(one_hot.mean(axis=0).max()), 1e-9))
    low, high = float(values.min()), float(values.max())
    naive = max(float(np.abs(values - np.median(values)).mean()), np.finfo(float).tiny)
    return Outputs(spec.name, spec.kind, values[:, None].astype(np.float64), low, high, naive)


def grouped_folds(series: PatternSeries, indices: Int[np.ndarray, " n"]) -> list[Fold]:
    """Return (rows to fit, rows held out) of `indices`: whole half cycles or stretches of time are held out."""
    # Of a series of these patterns alone, so that even the order of the groups owes nothing to labels of others.
    groups = contiguous_groups(series.subset(indices), np.arange(indices.size))
    folds = GroupKFold(min(FOLDS, np.unique(groups).size)).split(groups, groups=groups)
    return [(np.asarray(train), np.asarray(held_out)) for train, held_out in folds]
