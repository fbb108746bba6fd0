"""The time axis of figures: its unit, its gaps, and rows of a map that leave gaps blank."""

import dataclasses
import itertools
import math

import numpy as np
from jaxtyping import Float, Int, Num

from xrd_jax.series.record import PatternSeries

GAP_FACTOR = 2.5  # a step this many times the usual one is a gap: nothing was measured, so nothing is drawn
USUAL_SHARE = 0.9  # of the steps are usual ones: pauses that return again and again belong to the rhythm of measuring
MAX_ROWS = 400  # about the pixels of a printed panel; more would only be dropped by the renderer


def median_step(time: Num[np.ndarray, " T"]) -> float:
    """Return the median step between successive times, ignoring repeated ones; 1 where there is none."""
    steps = np.diff(time)
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else 1.0


def gap_starts(time: Num[np.ndarray, " T"]) -> Int[np.ndarray, " G"]:
    """Return the indices of the patterns that come first after a gap."""
    steps = np.diff(time)
    usual = max(median_step(time), float(np.quantile(steps, USUAL_SHARE, method="lower"))) if steps.size else 1.0
    return np.flatnonzero(steps > GAP_FACTOR * usual) + 1


def break_at_gaps(time: Num[np.ndarray, " T"], values: Num[np.ndarray, " T"]) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve (time, values) with NaN put into its gaps, so that a line drawn through it stops there."""
    starts = gap_starts(time)
    return np.insert(time, starts, np.nan), np.insert(values.astype(float), starts, np.nan)


@dataclasses.dataclass(frozen=True)
class TimeBins:
    """Patterns in time order gathered into rows of a map."""

    edges: np.ndarray  # [R + 1] times at which rows begin and end
    starts: np.ndarray  # first pattern of every row that is not blank
    blank: np.ndarray  # positions among the starts before which a blank row stands
    total: int  # number of patterns

    def average(self, values: Num[np.ndarray, "T C"]) -> Float[np.ndarray, "R C"]:
        """Return the mean of each row's patterns, NaN in gaps."""
        counts = np.diff(np.append(self.starts, self.total))
        means = np.add.reduceat(values, self.starts, axis=0, dtype=np.float64) / counts[:, None]
        return np.insert(means, self.blank, np.nan, axis=0)


def time_bins(time: Num[np.ndarray, " T"], limit: int = MAX_ROWS) -> TimeBins:
    """Gather increasing times into about `limit` rows at most, none of which reaches across a gap."""
    half_step, size = median_step(time) / 2, math.ceil(time.size / limit)
    bounds = [0, *gap_starts(time).tolist(), time.size]
    starts = [np.arange(begin, end, size) for begin, end in itertools.pairwise(bounds)]
    edges: list[float] = []
    for firsts, end in zip(starts, bounds[1:], strict=True):
        inner = (time[firsts[1:] - 1] + time[firsts[1:]]) / 2
        edges += [time[firsts[0]] - half_step, *inner, time[end - 1] + half_step]
    blank = np.cumsum([firsts.size for firsts in starts])[:-1]
    return TimeBins(np.array(edges), np.concatenate(starts), blank, time.size)


def time_unit(time: np.ndarray) -> tuple[float, str]:
    """Return (seconds, label) of the unit that suits a span: hours, or minutes for short series."""
    return (3600.0, "Time (h)") if np.ptp(time) >= 900 else (60.0, "Time (min)")


def series_time_unit(series: PatternSeries, indices: np.ndarray) -> tuple[float, str]:
    """Return (seconds, label) of the unit for the patterns `indices`, which may have no times but numbers."""
    return time_unit(series.time[indices]) if series.timed else (1.0, "Pattern number")
