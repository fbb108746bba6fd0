"""The reference of a run: training patterns that new ones are compared with, to see whether they are like none of them.

Two measures, each in units of the threshold that one held-out pattern in a hundred exceeds:

- the distance to the nearest training pattern, after preparation: sqrt of the sum over the L channels of squared
  differences. It needs no model of what patterns look like, and sees what makes a pattern another one as a whole.
- the residual against principal components of the training patterns (`low_rank`), the largest sum of squares in a
  window of three bins. It sees what is added at one place, such as the peak of a foreign phase.

Measured on the simulated cell (`python -m experiments.benchmarks.novelty`), patterns out of 100 that exceed the
threshold of the distance / of the residual / of either: a zero offset of 0.02° 99 / 53 / 99, a third of the photons
100 / 100 / 100, voltages below the trained window 86 / 34 / 90, another cathode 26 / 58 / 65. A foreign peak as narrow
as the others, where no peak is: of 1 % of the strongest peak's height 1 / 25 / 26, of 2 % 1 / 100 / 100; on a weak peak
2 % 1 / 46 / 47 and 5 % 4 / 100 / 100; on the strongest, whose photons hide it, 2 % 1 / 3 / 4 and 5 % 5 / 90 / 91.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Num, UInt64

from xrd_jax import datasets, files
from xrd_jax.analysis import blocks, low_rank
from xrd_jax.analysis.neighbours import nearest_distances
from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import Prepared, prepare
from xrd_jax.preprocessing.splits import contiguous_groups
from xrd_jax.preprocessing.transform import Statistics, transform
from xrd_jax.runtime.console import Console
from xrd_jax.series import lazy
from xrd_jax.series.axis import Axis, inside
from xrd_jax.training.workdir import directory_identity, read_config

FILE = "reference.npz"
MAX_PATTERNS = 2000  # training patterns kept, and held-out patterns that a threshold comes from
MAX_EXAMPLES = 16  # test patterns kept as they were measured
FALSE_ALARM_RATE = 0.01  # share of held-out patterns beyond each threshold
BLOCK = 64  # patterns prepared at once
# Of the principal components; the matrix of bins follows from the axis.
MODEL_FIELDS = ("total", "mean", "components", "score_deviations", "deviations")


@dataclasses.dataclass(frozen=True)
class Reference:
    """Training patterns to compare with.

    Attributes:
      patterns: [M, L] prepared training patterns, evenly spaced where there were more than `MAX_PATTERNS`.
      threshold: distance to the nearest of them that 1 % of the test patterns exceed.
      axis: of the training patterns as they were measured.
      examples: [E, N] test patterns as they were measured.
      model: principal components of the training patterns; None in a reference that is older than they are.
      limits: residual and score distance that 1 % of the calibration patterns exceed, or of the test patterns where
        there are none.
      trained_on: [K] sorted `pattern_hashes` of the patterns that training and calibration saw; None in a reference
        that is older than they are.
    """

    patterns: np.ndarray
    threshold: float
    axis: Axis
    examples: np.ndarray
    model: low_rank.LowRank | None = None
    limits: tuple[float, float] = (np.nan, np.nan)
    trained_on: np.ndarray | None = None

    def distances(self, run: Run, patterns: Num[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
        """Return the distance of patterns to the nearest training pattern, in units of the threshold.

        Above 1 a pattern is unusual; a pattern that preparation cannot make numbers of, such as an empty one under
        scaling by its sum, is infinitely far.
        """
        return nearest_distances(_network_inputs(run, patterns), self.patterns) / self.threshold

    def residuals(self, patterns: Num[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
        """Return what training patterns do not explain of patterns, in units of its limit; above 1: unusual.

        NaN where the reference is older than this measure; infinite as for distances.
        """
        return self._measured(patterns, 0)

    def score_distances(self, patterns: Num[np.ndarray, "B N"]) -> Float[np.ndarray, " B"]:
        """Return how far from their middle patterns lie within what training patterns explain (T²), as `residuals`."""
        return self._measured(patterns, 1)

    def was_trained_on(self, patterns: Num[np.ndarray, "B N"]) -> Bool[np.ndarray, " B"] | None:
        """Return which patterns training or calibration saw, by their intensities; None where it is not known."""
        return None if self.trained_on is None else np.isin(pattern_hashes(patterns, self.axis), self.trained_on)

    def _measured(self, patterns: np.ndarray, number: int) -> np.ndarray:
        if self.model is None:
            return np.full(len(patterns), np.nan)
        parts = [patterns[begin : begin + MAX_PATTERNS] for begin in range(0, len(patterns), MAX_PATTERNS)]
        return np.concatenate([self.model.measure(part)[number] for part in parts]) / self.limits[number]


def pattern_hashes(patterns: Num[np.ndarray, "B N"], axis: Axis) -> UInt64[np.ndarray, " B"]:
    """Return a number for each pattern that tells it from others, by all channels that are not masked."""
    is_shown = ~inside(axis.values, axis.masked)
    words = (np.ascontiguousarray(patterns[:, is_shown], np.float32) + np.float32(0.0)).view(np.uint32)
    weights = np.random.default_rng(0).integers(1, 2**63, words.shape[1], np.uint64)
    return words.astype(np.uint64) @ weights


def is_unusual(distance: Float[np.ndarray, " B"], residual: Float[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    """Return which patterns are unlike the training ones, so that nothing should be said of them.

    Args:
      distance, residual: in units of their thresholds; NaN where not known.
    """
    return (distance > 1) | (residual > 1)


def save(run: Run, prepared: Prepared) -> Reference:
    """Make the reference of a run from its own data and write it into the run directory."""
    reference = make(run, prepared)
    _write(run, reference)
    return reference


def make(run: Run, prepared: Prepared) -> Reference:
    """Make the reference of a run from its own data."""
    intensity = prepared.series.intensity
    patterns = _network_inputs(run, intensity[_thinned(prepared.train, MAX_PATTERNS)])
    distances = nearest_distances(_network_inputs(run, intensity[_thinned(prepared.test, MAX_PATTERNS)]), patterns)
    scale = float(np.sqrt(np.mean(patterns.astype(np.float64) ** 2) * patterns.shape[1])) or 1.0
    # Patterns that repeat each other exactly would leave a threshold of 0.
    threshold = max(_limit(distances), 1e-6 * scale)
    examples = np.asarray(intensity[_thinned(prepared.test, MAX_EXAMPLES)], np.float32)
    axis = prepared.series.axis
    model, limits = _fit_low_rank(prepared)
    seen = np.concatenate([prepared.train, prepared.calibration])
    hashes = [pattern_hashes(block, axis) for _, block in lazy.read_blocks(intensity, rows=seen)]
    trained_on = np.unique(np.concatenate(hashes))
    return Reference(patterns, threshold, axis, examples, model, limits, trained_on)


def _write(run: Run, reference: Reference) -> None:
    axis, model = reference.axis, reference.model
    files.write_npz(
        run.path / FILE,
        patterns=reference.patterns,
        threshold=reference.threshold,
        axis=axis.values,
        masked=np.asarray(axis.masked, np.float64).reshape(-1, 2),
        kind=axis.kind,
        wavelength=np.nan if axis.wavelength is None else axis.wavelength,
        examples=reference.examples,
        identity=directory_identity(run.path),
        limits=np.asarray(reference.limits),
        trained_on=reference.trained_on,
        **{f"model_{name}": getattr(model, name) for name in MODEL_FIELDS},
    )


def _fit_low_rank(prepared: Prepared) -> tuple[low_rank.LowRank, tuple[float, float]]:
    """Return principal components of the training patterns, and the limits of what they leave over and of T²."""
    series, held_out = prepared.series, prepared.calibration if prepared.calibration.size else prepared.test
    train = _thinned(prepared.train, MAX_PATTERNS)
    model = low_rank.fit(series.axis.values, series.intensity[train], contiguous_groups(series, train))
    measured = model.measure(series.intensity[_thinned(held_out, MAX_PATTERNS)])
    # What is left of patterns that repeat each other exactly is rounding.
    residual, score = (max(_limit(values), 1e-6) for values in measured)
    return model, (residual, score)


def _limit(values: np.ndarray) -> float:
    """Return what 1 % of the finite values exceed; 0 where there are none."""
    values = values[np.isfinite(values)]
    return float(np.quantile(values, 1 - FALSE_ALARM_RATE)) if values.size else 0.0


def load(run: Run, console: Console) -> Reference | None:
    """Return the reference of a run, from its directory or made anew from its data; None, reported, without either."""
    if (reference := read_reference(run)) is not None:
        if reference.model is None:
            console.echo(f"{run.path / FILE} is of an earlier version: residuals are not known, distances are.")
        return reference
    try:
        series = datasets.load_for(run.config, True, console.progress)[0]
        record = read_config(run.path)[0]
        prepared = prepare(series, run.config.prepare, run.config.split_seed)
        if prepared.series.fingerprint() != record["data"]["fingerprint"]:
            raise UserError("the data it was trained on are no longer the same")
    except UserError as error:
        console.echo(f"No distance to the training patterns can be given: {str(error).rstrip('.')}.")
        return None
    reference = make(run, prepared)
    with contextlib.suppress(UserError):  # a run that may only be read gives the same without
        _write(run, reference)
    return reference


def read_reference(run: Run) -> Reference | None:
    """Return the reference in the run directory; None where it is missing, damaged or of another training."""
    try:
        file = files.read_npz(run.path / FILE)
        if str(file["identity"]) != directory_identity(run.path):
            return None
        wavelength = float(file["wavelength"])
        masked = tuple((low, high) for low, high in file["masked"].tolist()) if "masked" in file else ()
        axis = Axis(file["axis"], str(file["kind"]), None if np.isnan(wavelength) else wavelength, masked)
        reference = Reference(file["patterns"], float(file["threshold"]), axis, file["examples"])
        if "trained_on" in file:
            reference = dataclasses.replace(reference, trained_on=file["trained_on"])
        if "limits" not in file:
            return reference
        fields: dict[str, Any] = {name: file[f"model_{name}"] for name in MODEL_FIELDS}
        matrix = low_rank.bin_matrix(axis.values)
        model = low_rank.LowRank(matrix, **(fields | {"total": float(fields["total"])}))
        residual, score = map(float, file["limits"])
        return dataclasses.replace(reference, model=model, limits=(residual, score))
    except (OSError, KeyError, ValueError):
        return None


def identity(run: Run) -> str:
    """Return SHA-256 over parameters and preparation: what tells one training from another (hex, 64 characters)."""
    digest = hashlib.sha256(repr([dataclasses.astuple(spec) for spec in run.specs]).encode())
    for leaf in jax.tree.leaves((run.variables, run.statistics)):
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _thinned(indices: np.ndarray, max_count: int) -> np.ndarray:
    return indices[blocks.evenly_spaced(indices.size, max_count)]


def _network_inputs(run: Run, patterns: Num[np.ndarray, "B N"]) -> Float[np.ndarray, "B L"]:
    """Return network inputs; one pattern or blocks of `BLOCK`, so that two programs serve all."""

    def function(block: blocks.PatternBlock, statistics: Any) -> Any:
        return _transformed(statistics, run.config.prepare, block.intensity)

    size = 1 if len(patterns) == 1 else BLOCK
    parts = blocks.over_patterns(patterns, function, run.statistics, size, shared=False)
    return np.concatenate([inputs for _, inputs in parts])


@functools.partial(jax.jit, static_argnums=1)
def _transformed(statistics: Statistics, config: PrepareConfig, patterns: Array) -> Float[Array, "B L"]:
    return transform(statistics, config, patterns.astype(np.float32))
