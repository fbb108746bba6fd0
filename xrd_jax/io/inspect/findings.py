"""What a survey comes to: sentences for people, records for programs, and guesses that are marked as guesses."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import clock
from xrd_jax.io.inspect import alignment
from xrd_jax.io.inspect import survey as surveys
from xrd_jax.io.patterns import pattern
from xrd_jax.series import axis as series_axis


@dataclasses.dataclass(frozen=True)
class Clocks:
    """How the times of a group's patterns are known.

    Attributes:
      time: [T] mid-exposure in s; on the log's clock where `kind` is 'absolute' or 'filled', else since the first.
      kind: 'absolute' (dates on both sides), 'relative' (dates of the patterns alone), 'filled' (equal steps that fill
        the log: assumed), 'none' (numbered).
      step: for 'filled', s.
      zones: for dates: does (the pattern, the log) state a zone.
    """

    time: np.ndarray
    kind: str
    step: float = 0.0
    zones: tuple[bool, bool] = (False, False)


@dataclasses.dataclass(frozen=True)
class Session:
    """A group of patterns with the log that probably belongs to it.

    Attributes:
      order: [T] the group's scans in time order; `clocks.time` follows it.
      unmatched: names of patterns outside the log or in its gaps.
      offset: what cross-correlation suggests.
    """

    group: surveys.Group
    log: surveys.Found | None
    clocks: Clocks
    order: np.ndarray
    unmatched: tuple[str, ...]
    moving: alignment.Moving | None
    offset: alignment.Offset | None
    duplicates: tuple[tuple[str, str], ...]
    dead: np.ndarray
    saturated: np.ndarray


def examine(survey: surveys.Survey, group: surveys.Group) -> Session:
    """Looks at one group of patterns beside the log that is nearest to it."""
    log = nearest_log(survey, group)
    clocks, order = _clocks(group, log.log if log else None)
    intensity = group.intensity()[order]
    names = [group.names[i] for i in order.tolist()]
    unmatched: list[str] = []
    moved, offset = None, None
    if log is not None and log.log is not None and clocks.kind in ("absolute", "filled"):
        found = clock.match(log.log.time, clocks.time, 120.0).found
        unmatched = [name for name, inside in zip(names, found, strict=True) if not inside]
        if (pair := alignment.best(clocks.time, alignment.moving(group.axis, intensity), log.log)) is not None:
            moved, offset = pair
    dead, saturated = channels_at_fault(intensity)
    return Session(group, log, clocks, order, tuple(unmatched), moved, offset, tuple(_copies(names, intensity)),
                   dead, saturated)  # fmt: skip


def nearest_log(survey: surveys.Survey, group: surveys.Group) -> surveys.Found | None:
    """The longest log in the patterns' own folder; else the only one in the folder above; else none."""
    if len(group.scans) < 2:
        return None
    own = [one for one in survey.logs if one.path.parent == group.folder]
    beside = [one for one in survey.logs if one.path.parent == group.folder.parent or group.folder in one.path.parents]
    for found in (own, beside if len(beside) == 1 else []):
        if found:
            return max(found, key=lambda one: one.log.time.size if one.log else 0)
    return None


def _clocks(group: surveys.Group, log: logs.CyclerLog | None) -> tuple[Clocks, np.ndarray]:
    count = len(group.scans)
    dates = [middle(one) for one in group.scans]
    known = [date for date in dates if date is not None]
    if len(known) == count and len({date.tzinfo is None for date in known}) == 1 and count > 1:
        pattern_zone = known[0].tzinfo is not None
        log_zone = log is not None and log.start is not None and log.start.tzinfo is not None
        zones = pattern_zone, log_zone
        if log is not None and log.start is not None and pattern_zone == log_zone:
            seconds, kind = np.array([(date - log.start).total_seconds() for date in known]), "absolute"
        else:
            seconds, kind = np.array([(date - min(known)).total_seconds() for date in known]), "relative"
        order = np.argsort(seconds, kind="stable")
        return Clocks(seconds[order], kind, zones=zones), order
    numbers = np.arange(count)
    if group.number is not None:
        numbers = clock.frame_numbers(group.names, re.compile(group.number))
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order] - numbers.min()
    if log is not None and count > 1 and np.ptp(log.time) > 0:
        step = float(np.ptp(log.time)) / (numbers[-1] + 1)
        return Clocks(log.time[0] + (numbers + 0.5) * step, "filled", step), order
    return Clocks(numbers.astype(float), "none"), order


def middle(one: pattern.Pattern) -> datetime.datetime | None:
    """Mid-exposure as far as the file tells; its start where it states no exposure."""
    if one.start_time is not None and one.end_time is not None:
        if (one.start_time.tzinfo is None) == (one.end_time.tzinfo is None):
            return one.start_time + (one.end_time - one.start_time) / 2
        return one.start_time
    half = datetime.timedelta(seconds=(one.exposure or 0.0) / 2)
    if one.start_time is not None:
        return one.start_time + half
    return None if one.end_time is None else one.end_time - half


def channels_at_fault(intensity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Channels [k] that never change though their neighbours do, and those that stand at the largest value of all.

    A ceiling is a value that at least three channels reach in exactly the same height, above all others.
    """
    count, channels = intensity.shape
    if count < 3 or channels < 8:
        return np.zeros(0, int), np.zeros(0, int)
    still = np.ptp(intensity, axis=0) == 0
    dead = np.flatnonzero(still) if still.mean() < 0.5 else np.zeros(0, int)
    top = intensity.max()
    at_top = intensity == top
    reached = np.flatnonzero(at_top.any(axis=0))
    saturated = reached if at_top.sum() >= max(3, count // 20) and top > np.median(intensity) else np.zeros(0, int)
    return dead, saturated


def _copies(names: Sequence[str], intensity: np.ndarray) -> list[tuple[str, str]]:
    seen: dict[bytes, str] = {}
    found = []
    for name, row in zip(names, intensity, strict=True):
        digest = hashlib.sha256(np.ascontiguousarray(row).tobytes()).digest()
        if digest in seen:
            found.append((name, seen[digest]))
        seen.setdefault(digest, name)
    return found


def record(one: surveys.Found) -> dict[str, Any]:
    """A file that was read, for programs."""
    found: dict[str, Any] = {"file": str(one.path), "format": one.format}
    if one.log is not None:
        log = one.log
        return found | {
            "what": "cycler log", "scans": 1, "points": int(log.time.size), "axis": "time", "unit": "s",
            "wavelength": None, "start": _iso(log.start), "columns": list(log.columns), "notes": list(log.notes),
            "range": [float(log.time[0]), float(log.time[-1])],
            "voltage": [float(log.voltage.min()), float(log.voltage.max())],
        }  # fmt: skip
    if one.rows is not None:
        rows = one.rows
        return found | {
            "what": "stack", "scans": len(rows.names), "points": int(rows.axis.size), "axis": rows.kind,
            "unit": unit(rows.kind), "wavelength": rows.wavelength, "start": _iso(rows.moments[0].start),
            "columns": list(rows.columns), "notes": [], "range": [float(rows.axis[0]), float(rows.axis[-1])],
        }  # fmt: skip
    first = one.scans[0]
    notes = dict.fromkeys(note for scan in one.scans for note in scan.notes)
    return found | {
        "what": "pattern", "scans": len(one.scans), "points": int(first.axis.size), "axis": first.kind,
        "unit": unit(first.kind), "wavelength": first.wavelength, "start": _iso(first.start_time),
        "end": _iso(one.scans[-1].end_time), "exposure": first.exposure, "notes": list(notes),
        "range": [float(first.axis[0]), float(first.axis[-1])],
    }  # fmt: skip


def unit(kind: str | None) -> str | None:
    """The unit of an axis; None where its kind is not known."""
    return None if kind is None else series_axis.AXIS_UNITS[kind]


def _iso(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def relative(path: Path, base: Path) -> str:
    """A path as an experiment file writes it."""
    try:
        return path.resolve().relative_to(base.resolve()).as_posix()
    except ValueError:
        return path.resolve().as_posix()
