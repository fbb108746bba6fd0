"""One pass of a run over a series of any length: all predictions, mean maps, and as many maps as one can look at.

A million maps of 256 channels take a gigabyte for every seed, and nobody looks at them one by one. So means are over
all patterns, while maps are kept of evenly spaced ones where there are more than `MOST_MAPS`.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.analysis.vaw import Vaw
from xrd_jax.series.record import PatternSeries

MOST_MAPS = 20_000


@dataclasses.dataclass(frozen=True)
class Survey:
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


def survey(run: Run, series: PatternSeries, most: int = MOST_MAPS) -> Survey:
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
        registered, session = Vaw(run.axis, block.raw, run.model.lag).registered(), series.session[begin:end]
        for number in np.unique(session):
            sums[:, number] += registered[:, session == number].sum(axis=1)
    curves = sums / np.where(counts > 0, counts, np.nan)[None, :, None]
    return Survey(outputs, kept, Vaw(run.axis, maps, run.model.lag), curves, counts)
