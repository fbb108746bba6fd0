"""One pass of a run over a series of any length: all predictions, mean maps, and as many maps as can be looked at.

A million maps of 256 channels take a gigabyte for every seed, and nobody looks at them one by one. So means are over
all patterns, while maps are kept of evenly spaced ones where there are more than `MAX_MAPS`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.analysis import novelty
from xrd_jax.analysis.blocks import evenly_spaced
from xrd_jax.analysis.resample import AxisFit
from xrd_jax.analysis.run import Run
from xrd_jax.analysis.vaw import Vaw
from xrd_jax.io import new_data
from xrd_jax.series.axis import Axis
from xrd_jax.series.record import PatternSeries

MAX_MAPS = 20_000  # maps kept; evenly spaced ones where there are more patterns
MAX_SHOWN = 2000  # patterns kept for the figure, whose height has fewer pixels
PATTERNS_AT_ONCE = 1024  # patterns that are in memory together


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run says about a series.

    Attributes:
      outputs: target -> [S, T] or [S, T, K] for every pattern.
      distributions: target learnt as a distribution -> [T, K], mean over seeds.
      map_indices: [M] patterns whose maps are kept; all of them up to `MAX_MAPS`.
      vaw: the maps of these patterns.
      curves: [S, sessions, L] mean registered map of all patterns of a session; NaN where it has none.
      session_counts: [sessions] patterns of each session.
    """

    outputs: dict[str, np.ndarray]
    distributions: dict[str, np.ndarray]
    map_indices: np.ndarray
    vaw: Vaw
    curves: np.ndarray
    session_counts: np.ndarray

    def overall(self) -> Float[np.ndarray, "S L"]:
        """Return the mean registered map of all patterns."""
        present = self.session_counts > 0
        return np.average(self.curves[:, present], axis=1, weights=self.session_counts[present])


def summarise(run: Run, series: PatternSeries, max_maps: int = MAX_MAPS) -> Summary:
    """Pass over `series` once; memory beyond the predictions does not grow with its length."""
    map_indices = series.thinned(max_maps)
    counts = np.bincount(series.session, minlength=len(series.session_names))
    sums = np.zeros((run.config.seeds, counts.size, run.map_axis.size))
    maps = np.empty((run.config.seeds, map_indices.size, run.map_axis.size), np.float32)
    outputs, distributions = run.empty_outputs(len(series)), run.empty_distributions(len(series))
    for block in run.stream(series):
        begin, end = block.begin, block.begin + block.raw.shape[1]
        for name, values in block.outputs.items():
            outputs[name][:, begin:end] = values
        for name, values in block.distributions.items():
            distributions[name][begin:end] = values
        first, last = np.searchsorted(map_indices, (begin, end))
        maps[:, first:last] = block.raw[:, map_indices[first:last] - begin]
        registered = Vaw(run.map_axis, block.raw, run.model.receptive_offset).registered()
        session = series.session[begin:end]
        for number in np.unique(session):
            sums[:, number] += registered[:, session == number].sum(axis=1)
    curves = sums / np.where(counts > 0, counts, np.nan)[None, :, None]
    vaw = Vaw(run.map_axis, maps, run.model.receptive_offset)
    return Summary(outputs, distributions, map_indices, vaw, curves, counts)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run says about a batch.

    Attributes:
      outputs: target -> [S, T] or [S, T, K].
      distributions: target learnt as a distribution -> [T, K], mean over seeds.
      distance: [T] to the nearest training pattern; above 1 a pattern is unusual. NaN where the run has no reference.
      residual: [T] of what training patterns share; above 1 a pattern is unusual. NaN where it is not known.
      was_trained_on: [T] patterns that training or calibration saw; None where that is not known.
      map_indices: [M] patterns whose maps `maps` [M, L] are kept: registered VAW, mean over seeds.
      curves: [S, L] registered VAW of every seed, mean over all patterns.
      shown_indices: [D] patterns whose intensities `shown` [D, N] are kept for the figure, on the run's axis.
    """

    batch: new_data.Batch
    outputs: dict[str, np.ndarray]
    distributions: dict[str, np.ndarray]
    distance: np.ndarray
    residual: np.ndarray
    was_trained_on: np.ndarray | None
    map_indices: np.ndarray
    maps: np.ndarray
    curves: np.ndarray
    shown_indices: np.ndarray
    shown: np.ndarray

    @property
    def is_unusual(self) -> Bool[np.ndarray, " T"]:
        """Which patterns are unlike all training patterns."""
        return novelty.is_unusual(self.distance, self.residual)


def collect(run: Run, reference: novelty.Reference | None, batch: new_data.Batch, fit: AxisFit) -> Predictions:
    """Return predictions, maps and distances of a batch; beyond `MAX_MAPS` memory grows by the predictions alone."""
    total = len(batch)
    map_indices, shown_indices = evenly_spaced(total, MAX_MAPS), evenly_spaced(total, MAX_SHOWN)
    outputs, distributions = run.empty_outputs(total), run.empty_distributions(total)
    distance, residual = np.full(total, np.nan), np.full(total, np.nan)
    is_known = reference is not None and reference.trained_on is not None
    was_trained_on = np.zeros(total, bool) if is_known else None
    curves = np.zeros((run.config.seeds, run.map_axis.size))
    maps = np.empty((map_indices.size, run.map_axis.size), np.float32)
    shown = np.empty((shown_indices.size, fit.trained.size), np.float32)
    for begin in range(0, total, PATTERNS_AT_ONCE):
        patterns = fit(np.asarray(batch.intensity[begin : begin + PATTERNS_AT_ONCE]))
        end = begin + len(patterns)
        predicted = run.predict_with_maps(as_series(run, patterns))
        for name, values in predicted.outputs.items():
            outputs[name][:, begin:end] = values
        for name, values in predicted.distributions.items():
            distributions[name][begin:end] = values
        if reference is not None:
            distance[begin:end] = reference.distances(run, patterns)
            residual[begin:end] = reference.residuals(patterns)
            if was_trained_on is not None:
                was_trained_on[begin:end] = reference.was_trained_on(patterns)
        registered = predicted.vaw.registered()
        curves += registered.sum(axis=1)
        first, last = np.searchsorted(map_indices, (begin, end))
        maps[first:last] = registered[:, map_indices[first:last] - begin].mean(axis=0)
        first, last = np.searchsorted(shown_indices, (begin, end))
        shown[first:last] = patterns[shown_indices[first:last] - begin]
    novelties, kept = (distance, residual, was_trained_on), (map_indices, maps, curves / total, shown_indices, shown)
    return Predictions(batch, outputs, distributions, *novelties, *kept)


def as_series(run: Run, patterns: np.ndarray) -> PatternSeries:
    """Return patterns [B, N] on a run's axis as the record that a run takes."""
    zeros = np.zeros(len(patterns), int)
    axis = Axis(np.asarray(run.statistics.axis, np.float64), "channel")
    return PatternSeries(patterns, axis, np.arange(len(patterns)), {}, zeros, zeros)
