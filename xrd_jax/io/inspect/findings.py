"""What a survey comes to: each group of patterns with its times, its log, its faults; guesses are marked as guesses."""

import dataclasses
import datetime
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.experiment import clock
from xrd_jax.io.experiment.schema import DEFAULT_TOLERANCE
from xrd_jax.io.inspect import alignment
from xrd_jax.io.inspect.nearest_logs import joined, nearest_logs
from xrd_jax.io.inspect.survey import PatternGroup, Survey, SurveyedFile
from xrd_jax.io.patterns.pattern import Pattern


@dataclasses.dataclass(frozen=True)
class PatternTimes:
    """How the times of a group's patterns are known.

    The kind is 'absolute' (dates on both sides), 'relative' (dates of the patterns alone), 'filled' (equal steps that
    fill the log: assumed) or 'none' (numbered).
    """

    time: Float[np.ndarray, "T"]  # mid-exposure in s; on the log's clock if 'absolute' or 'filled', else from the first
    kind: str
    step: float = 0.0  # for 'filled', s
    patterns_state_zone: bool = False  # for dates, whether a time zone is written
    log_states_zone: bool = False

    @property
    def on_log_clock(self) -> bool:
        return self.kind in ("absolute", "filled")


@dataclasses.dataclass(frozen=True)
class Session:
    """A group of patterns with the logs that probably belong to it."""

    group: PatternGroup
    log_files: tuple[SurveyedFile, ...]  # in time order
    log: CyclerLog | None  # all of them as one
    times: PatternTimes
    order: Int[np.ndarray, "T"]  # the group's scans in time order, which `times.time` follows
    unmatched: tuple[str, ...]  # names of patterns outside the log or in its gaps
    centroid: alignment.Centroid | None  # what cross-correlation suggests, with its offset
    offset: alignment.Offset | None
    duplicates: tuple[tuple[str, str], ...]  # (copy, original)
    dead_channels: Int[np.ndarray, "D"]  # indices
    saturated_channels: Int[np.ndarray, "K"]


def examine(survey: Survey, group: PatternGroup) -> Session:
    """Compare one group of patterns with the logs that are nearest to it."""
    log_files = nearest_logs(survey, group)
    log = joined(log_files)
    times, order = _pattern_times(group, log)
    intensity = group.intensity()[order]
    names = [group.names[i] for i in order.tolist()]
    unmatched: list[str] = []
    centroid, offset = None, None
    if log is not None and times.on_log_clock:
        is_matched = clock.match_to_log(log.time, times.time, DEFAULT_TOLERANCE).is_matched
        unmatched = [names[i] for i in np.flatnonzero(~is_matched)]
        centroids = alignment.moving_centroids(group.axis, intensity)
        best = alignment.best_match(times.time, centroids, log, clocks_agree=times.kind == "absolute")
        centroid, offset = best or (None, None)
    originals: dict[bytes, str] = {}
    first_alike = [originals.setdefault(hashlib.sha256(row.tobytes()).digest(), name)
                   for name, row in zip(names, intensity, strict=True)]  # fmt: skip
    duplicates = tuple((name, first) for name, first in zip(names, first_alike, strict=True) if name != first)
    faulty = faulty_channels(intensity)
    return Session(group, log_files, log, times, order, tuple(unmatched), centroid, offset, duplicates, *faulty)


def _pattern_times(group: PatternGroup, log: CyclerLog | None) -> tuple[PatternTimes, np.ndarray]:
    """Return the times of a group's scans, and the order [T] that makes them rise."""
    count = len(group.scans)
    dates = [date for scan in group.scans if (date := middle_of_exposure(scan)) is not None]
    if len(dates) == count and len({date.tzinfo is None for date in dates}) == 1 and count > 1:
        return _dated_times(dates, log)
    numbers = np.arange(count)
    if group.number is not None:
        numbers = clock.frame_numbers(group.names, re.compile(group.number))
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order] - numbers.min()
    if log is not None and count > 1 and np.ptp(log.time) > 0:
        step = float(np.ptp(log.time)) / (numbers[-1] + 1)
        return PatternTimes(log.time[0] + (numbers + 0.5) * step, "filled", step), order
    return PatternTimes(numbers.astype(float), "none"), order


def _dated_times(dates: Sequence[datetime.datetime], log: CyclerLog | None) -> tuple[PatternTimes, np.ndarray]:
    start = None if log is None else log.start
    pattern_zone = dates[0].tzinfo is not None
    log_zone = start is not None and start.tzinfo is not None
    is_absolute = start is not None and pattern_zone == log_zone
    zero = start if start is not None and is_absolute else min(dates)
    seconds = np.array([(date - zero).total_seconds() for date in dates])
    order = np.argsort(seconds, kind="stable")
    kind = "absolute" if is_absolute else "relative"
    return PatternTimes(seconds[order], kind, 0.0, pattern_zone, log_zone), order


def middle_of_exposure(scan: Pattern) -> datetime.datetime | None:
    """Return mid-exposure as far as the file tells; its start where it states no exposure."""
    start, end = scan.start_time, scan.end_time
    if start is not None and end is not None:
        return start + (end - start) / 2 if (start.tzinfo is None) == (end.tzinfo is None) else start
    half = datetime.timedelta(seconds=(scan.exposure or 0.0) / 2)
    if start is not None:
        return start + half
    return None if end is None else end - half


def faulty_channels(intensity: np.ndarray) -> tuple[Int[np.ndarray, "D"], Int[np.ndarray, "K"]]:
    """Return channels that never change though their neighbours do, and those that stand at the largest value of all.

    A ceiling is a value of `intensity` [T, N] that is reached at least three times, above all others.
    """
    count, channels = intensity.shape
    if count < 3 or channels < 8:
        return np.zeros(0, int), np.zeros(0, int)
    is_constant = np.ptp(intensity, axis=0) == 0
    dead = np.flatnonzero(is_constant) if is_constant.mean() < 0.5 else np.zeros(0, int)
    top = intensity.max()
    is_top = intensity == top
    has_ceiling = is_top.sum() >= max(3, count // 20) and top > np.median(intensity)
    return dead, np.flatnonzero(is_top.any(axis=0)) if has_ceiling else np.zeros(0, int)


def relative_path(path: Path, base: Path) -> str:
    """Return a path as an experiment file writes it."""
    path, base = path.resolve(), base.resolve()
    return (path.relative_to(base) if path.is_relative_to(base) else path).as_posix()
