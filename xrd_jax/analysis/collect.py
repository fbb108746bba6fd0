"""One pass of a run over a series of any length: all predictions, mean maps, and as many maps as one can look at.

A million maps of 256 channels take a gigabyte for every seed, and nobody looks at them one by one. So means are over
all patterns, while maps are kept of evenly spaced ones where there are more than `MOST_MAPS`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from xrd_jax.analysis import novelty, resample, vaw
from xrd_jax.analysis.run import Run
from xrd_jax.analysis.vaw import Vaw
from xrd_jax.io import new_data
from xrd_jax.series import axis as series_axis
from xrd_jax.series import record
from xrd_jax.series.record import PatternSeries

MAX_MAPS = 20_000  # maps kept; evenly spaced ones where there are more patterns


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run says about a series.

    Attributes:
      outputs: target -> [S, T] or [S, T, K] for every pattern.
      kept: [M] indices of the patterns whose maps are kept; all of them up to `MOST_MAPS`.
      vaw: the maps of the `kept` patterns.
      curves: [S, sessions, L] mean registered map of all patterns of a session; NaN where it has none.
      counts: [sessions] patterns of each session.
    """

    outputs: dict[str, np.ndarray]
    kept: np.ndarray
    vaw: Vaw
    curves: np.ndarray
    counts: np.ndarray

    def overall(self) -> np.ndarray:
        """[S, L] mean registered map of all patterns."""
        present = self.counts > 0
        return np.average(self.curves[:, present], axis=1, weights=self.counts[present])


def summarise(run: Run, series: PatternSeries, most: int = MAX_MAPS) -> Summary:
    """Looks at `series` once; memory beyond the predictions does not grow with its length."""
    kept = series.thinned(most)
    counts = np.bincount(series.session, minlength=len(series.session_names))
    seeds, length = run.config.seeds, run.axis.size
    sums = np.zeros((seeds, counts.size, length))
    maps = np.empty((seeds, kept.size, length), np.float32)
    outputs = {s.name: np.empty((seeds, len(series), *((s.size,) if s.classes else ())), np.float32) for s in run.specs}
    for block in run.stream(series):
        begin, end = block.begin, block.begin + block.raw.shape[1]
        for name, values in block.outputs.items():
            outputs[name][:, begin:end] = values
        first, last = np.searchsorted(kept, (begin, end))
        maps[:, first:last] = block.raw[:, kept[first:last] - begin]
        registered, session = (
            Vaw(run.axis, block.raw, run.model.receptive_offset).registered(),
            series.session[begin:end],
        )
        for number in np.unique(session):
            sums[:, number] += registered[:, session == number].sum(axis=1)
    curves = sums / np.where(counts > 0, counts, np.nan)[None, :, None]
    return Summary(outputs, kept, Vaw(run.axis, maps, run.model.receptive_offset), curves, counts)


PATTERNS_AT_ONCE = 1024  # patterns that are in memory together
MAX_DRAWN = 2000  # patterns kept for the figure


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a run says about a batch.

    Attributes:
      outputs: target -> [S, T] or [S, T, K].
      distance: [T] to the nearest training pattern; above 1 a pattern is unusual. NaN where the run kept no reference.
      kept: [M] patterns whose maps `maps` [M, L] are kept: registered VAW, mean over seeds.
      curves: [S, L] registered VAW of every seed, mean over all patterns.
      drawn: [D] patterns whose intensities `picture` [D, N] are kept, on the run's axis.
    """

    batch: new_data.Batch
    outputs: dict[str, np.ndarray]
    distance: np.ndarray
    kept: np.ndarray
    maps: np.ndarray
    curves: np.ndarray
    drawn: np.ndarray
    picture: np.ndarray


def collect(run: Run, known: novelty.Reference | None, batch: new_data.Batch, fit: resample.Fit) -> Predictions:
    """Predictions, maps and distances of a batch; memory grows by the predictions alone once maps are thinned."""
    total, seeds = len(batch), run.config.seeds
    kept, drawn = _thinned(total, MAX_MAPS), _thinned(total, MAX_DRAWN)
    outputs = {s.name: np.empty((seeds, total, *((s.size,) if s.classes else ())), np.float32) for s in run.specs}
    distance = np.full(total, np.nan)
    maps, curves = np.empty((kept.size, run.axis.size), np.float32), np.zeros((seeds, run.axis.size))
    picture = np.empty((drawn.size, fit.trained.size), np.float32)
    for begin in range(0, total, PATTERNS_AT_ONCE):
        rows = fit(np.asarray(batch.intensity[begin : begin + PATTERNS_AT_ONCE]))
        here = slice(begin, begin + len(rows))
        found, weights = run.predict_with_maps(as_series(run, rows))
        for name, values in found.items():
            outputs[name][:, here] = values
        if known is not None:
            distance[here] = known.distances(run, rows)
        registered = vaw.Vaw(run.axis, weights.raw, run.model.receptive_offset).registered()
        curves += registered.sum(axis=1)
        first, last = np.searchsorted(kept, (here.start, here.stop))
        maps[first:last] = registered[:, kept[first:last] - begin].mean(axis=0)
        first, last = np.searchsorted(drawn, (here.start, here.stop))
        picture[first:last] = rows[drawn[first:last] - begin]
    return Predictions(batch, outputs, distance, kept, maps, curves / total, drawn, picture)


def as_series(run: Run, rows: np.ndarray) -> record.PatternSeries:
    """Patterns [B, N] on a run's axis as the record that a run takes."""
    numbers = np.zeros(len(rows), int)
    axis = series_axis.Axis(np.asarray(run.statistics.axis, np.float64), "channel")
    return record.PatternSeries(rows, axis, np.arange(len(rows)), {}, numbers, numbers)


def _thinned(total: int, most: int) -> np.ndarray:
    return np.linspace(0, total - 1, min(total, most)).round().astype(int)
