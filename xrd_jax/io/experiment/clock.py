"""Which moment of the cycler's log belongs to which pattern."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import side_table


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


def read_start_times(
    path: Path,
    names: Sequence[str],
    log_start: datetime.datetime | None,
    zone: datetime.tzinfo | None = None,
    lonely: bool = False,
) -> np.ndarray:
    """[T] start of each exposure in s on the log's clock, from a csv with columns file and start_time.

    `start_time` is seconds on the log's clock, or ISO dates; dates need a log that says when it started, and either
    both or neither with a time zone.

    Args:
      zone: of dates that state none.
      lonely: there is no log; dates count from the first of them.

    Raises:
      UserError: a column, a file or a time is missing or cannot be understood, or only one clock has a zone.
    """
    stated: dict[str, str] = {}
    for number, row in enumerate(side_table.read(path, ("file", "start_time"), ""), 2):
        name = row["file"].strip()
        if name in stated:
            raise UserError(f"{path}: row {number}: {name} has a row already; keep one")
        stated[name] = row["start_time"].strip()
    missing = [name for name in names if name not in stated]
    if missing:
        raise UserError(f"{path}: no row for {missing[0]}{_more(len(missing) - 1)}; add one per pattern")
    moments = [_moment(stated[name], f"{path}: {name}") for name in names]
    dates = [moment for moment in moments if isinstance(moment, datetime.datetime)]
    if lonely and dates and len({date.tzinfo is None for date in dates}) == 1:
        log_start, zone = min(dates), None
    return np.array(
        [
            moment if isinstance(moment, float) else since(log_start, moment, zone, f"{path}: {name}: start_time")
            for moment, name in zip(moments, names, strict=True)
        ]
    )


def _moment(value: str, place: str) -> float | datetime.datetime:
    try:
        seconds = float(value)
    except ValueError:
        pass
    else:
        if np.isfinite(seconds):
            return seconds
    try:
        return datetime.datetime.fromisoformat(value)
    except ValueError:
        raise UserError(
            f"{place}: start_time '{value[:40]}' is neither seconds nor a date; write 2024-02-28T10:27:22"
        ) from None


def since(
    log_start: datetime.datetime | None, moment: datetime.datetime, zone: datetime.tzinfo | None, place: str
) -> float:
    """Seconds from the start of the log to `moment`, which is read in `zone` where it states none.

    Raises:
      UserError: the log does not say when it started, or only one of the two has a time zone.
    """
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    if log_start is None:
        raise UserError(f"{place} is a date, but the log does not say when it started; give [cycler] start")
    if (moment.tzinfo is None) != (log_start.tzinfo is None):
        which, key = ("the log", "[cycler] zone") if log_start.tzinfo is None else ("the pattern", "[time] zone")
        raise UserError(
            f'{place}: {which} has no time zone and the other clock has one; give {key} = "+00:00" or the like '
            "([cycler] start sets the log's)"
        )
    return (moment - log_start).total_seconds()


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
