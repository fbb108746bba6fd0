"""Which moment of the cycler's log belongs to which pattern."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Match:
    """Where each of T times falls between the rows of a log.

    Attributes:
      row: [T] the last row not after the time; meaningless where not `found`.
      weight: [T] share of the way from that row to the next, in [0, 1].
      found: [T] False outside the log and inside its gaps.
    """

    row: np.ndarray
    weight: np.ndarray
    found: np.ndarray

    def interpolate(self, values: np.ndarray) -> np.ndarray:
        """[T] values [R] of the log interpolated linearly, always between the two neighbours."""
        left, right = values[self.row], values[self.row + 1]
        return np.clip(left + self.weight * (right - left), np.minimum(left, right), np.maximum(left, right))

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """[T] values [R] of the log at the nearer neighbour, for columns that jump."""
        return values[self.row + (self.weight > 0.5)]


def match(log_time: np.ndarray, time: np.ndarray, tolerance: float) -> Match:
    """Finds the two rows around each time; a time between rows more than `tolerance` apart has no match.

    Args:
      log_time: [R] s, never falling.
      time: [T] s on the same clock.
      tolerance: longest step between two rows across which the log may be interpolated, in s.

    Raises:
      UserError: the log has fewer than two rows.
    """
    if log_time.size < 2:
        raise UserError("the cycler log has one row only; export the whole log")
    row = np.clip(np.searchsorted(log_time, time, side="right") - 1, 0, log_time.size - 2)
    left, right = log_time[row], log_time[row + 1]
    step = right - left
    weight = np.clip((time - left) / np.where(step > 0, step, 1.0), 0.0, 1.0)
    inside = (time >= log_time[0]) & (time <= log_time[-1])
    return Match(row, weight, inside & ((step <= tolerance) | (time == left) | (time == right)))


def natural_key(name: str) -> list[tuple[int, str]]:
    """Sort key that puts 'a_2' before 'a_10'."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def frame_numbers(names: Sequence[str], number: re.Pattern[str]) -> np.ndarray:
    """[T] the number that `number` finds in each file name.

    Raises:
      UserError: a name has no number, or two names have the same.
    """
    seen: dict[int, str] = {}
    for name in names:
        found = number.search(name)
        digits = (found.group(1 if number.groups else 0) or "") if found else ""
        if not digits.isdecimal() or len(digits) > 18:
            raise UserError(
                f"{name}: [patterns] number = '{number.pattern}' finds no number in this name; mend the pattern"
            )
        if (value := int(digits)) in seen:
            raise UserError(f"{name}: has number {value} like {seen[value]}; remove one, or mend [patterns] number")
        seen[value] = name
    return np.array(list(seen), np.int64)


def missing_numbers(numbers: np.ndarray) -> list[str]:
    """What lies between the numbers, such as ['5', '9-12']."""
    ordered = np.sort(numbers)
    gaps = np.flatnonzero(np.diff(ordered) > 1)
    spans = [(int(ordered[i]) + 1, int(ordered[i + 1]) - 1) for i in gaps]
    return [str(low) if low == high else f"{low}-{high}" for low, high in spans]


def read_start_times(path: Path, names: Sequence[str], log_start: datetime.datetime | None) -> np.ndarray:
    """[T] start of each exposure in s on the log's clock, from a csv with columns file and start_time.

    `start_time` is seconds on the log's clock, or ISO dates; dates need a log that says when it started, and either
    both or neither with a time zone.

    Raises:
      UserError: a column, a file or a time is missing or cannot be understood, or only one clock has a zone.
    """
    stated = _table(path)
    missing = [name for name in names if name not in stated]
    if missing:
        raise UserError(f"{path}: no row for {missing[0]}{_more(len(missing) - 1)}; add one per pattern")
    return np.array([_seconds(stated[name], log_start, f"{path}: {name}") for name in names])


def _table(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            delimiter = next((mark for mark in ("\t", ";") if mark in head), ",")
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=delimiter))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as csv in UTF-8 ({error}); check the name and the encoding") from None
    stated: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        name, start = row.get("file"), row.get("start_time")
        if name is None or start is None:
            raise UserError(
                f"{path}: row {number}: columns 'file' and 'start_time' are needed; name them in the first row"
            )
        if name.strip() in stated:
            raise UserError(f"{path}: row {number}: {name.strip()} has a row already; keep one")
        stated[name.strip()] = start.strip()
    return stated


def _seconds(value: str, log_start: datetime.datetime | None, place: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        if np.isfinite(seconds):
            return seconds
    try:
        moment = datetime.datetime.fromisoformat(value)
    except ValueError:
        raise UserError(
            f"{place}: start_time '{value[:40]}' is neither seconds nor a date; write 2024-02-28T10:27:22"
        ) from None
    if log_start is None:
        raise UserError(f"{place}: start_time is a date, but the log does not say when it started; give [cycler] start")
    if (moment.tzinfo is None) != (log_start.tzinfo is None):
        which = "the log" if log_start.tzinfo is None else "start_time"
        raise UserError(
            f"{place}: {which} has no time zone and the other clock has one; add +00:00 or the like to both "
            "([cycler] start sets the log's)"
        )
    return (moment - log_start).total_seconds()


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
