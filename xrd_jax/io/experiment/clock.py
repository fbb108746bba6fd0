"""Which moment of the cycler's log belongs to which pattern."""

import contextlib
import dataclasses
import datetime
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import side_table


@dataclasses.dataclass(frozen=True)
class LogMatch:
    """Where each of T times falls between the rows of a log."""

    row: Int[np.ndarray, " T"]  # the last one not after the time; meaningless where not `is_matched`
    weight: Float[np.ndarray, " T"]  # share of the way from that row to the next, in [0, 1]
    is_matched: Bool[np.ndarray, " T"]  # False outside the log and inside its gaps

    def interpolate(self, values: Shaped[np.ndarray, " R"]) -> Float[np.ndarray, " T"]:
        """Return a column of the log interpolated linearly, always between the two neighbours."""
        left, right = values[self.row], values[self.row + 1]
        return np.clip(left + self.weight * (right - left), np.minimum(left, right), np.maximum(left, right))

    def nearest(self, values: Shaped[np.ndarray, " R"]) -> Shaped[np.ndarray, " T"]:
        """Return a column of the log at the nearer neighbour, for columns that jump."""
        return values[self.row + (self.weight > 0.5)]


def match_to_log(log_time: Float[np.ndarray, " R"], time: Float[np.ndarray, " T"], tolerance: float) -> LogMatch:
    """Find the two rows around each time; a time between rows more than `tolerance` apart has no match.

    Args:
      log_time: s, never falling; two rows at least.
      time: s on the same clock.
      tolerance: longest step between two rows across which the log may be interpolated, in s.
    """
    if log_time.size < 2:
        raise UserError("the cycler log has one row only; export the whole log")
    row = np.clip(np.searchsorted(log_time, time, side="right") - 1, 0, log_time.size - 2)
    left, right = log_time[row], log_time[row + 1]
    step = right - left
    weight = (np.clip(time, left, right) - left) / np.where(step > 0, step, 1.0)
    is_inside = (time >= log_time[0]) & (time <= log_time[-1])
    return LogMatch(row, weight, is_inside & ((step <= tolerance) | (time == left) | (time == right)))


def frame_numbers(names: Sequence[str], number: re.Pattern[str]) -> Int[np.ndarray, " T"]:
    """Return the number that `number` finds in each file name; a name without one, or a number twice, is refused."""
    name_by_number: dict[int, str] = {}
    for name in names:
        match = number.search(name)
        digits = (match.group(1 if number.groups else 0) or "") if match else ""
        if not digits.isdecimal() or len(digits) > 18:
            raise UserError(f"{name}: number = '{number.pattern}' finds no number in this name; mend the pattern")
        if (value := int(digits)) in name_by_number:
            raise UserError(f"{name}: has number {value} like {name_by_number[value]}; remove one, or mend number = …")
        name_by_number[value] = name
    return np.array(list(name_by_number), np.int64)


def missing_numbers(numbers: Int[np.ndarray, " T"]) -> list[str]:
    """Return what lies between the numbers, such as ['5', '9-12']."""
    ordered = np.sort(numbers)
    gaps = np.flatnonzero(np.diff(ordered) > 1)
    spans = [(int(ordered[i]) + 1, int(ordered[i + 1]) - 1) for i in gaps]
    return [str(low) if low == high else f"{low}-{high}" for low, high in spans]


def read_start_times(
    path: Path, names: Sequence[str], log_start: datetime.datetime | None, zone: datetime.tzinfo | None = None,
    has_log: bool = True,
) -> Float[np.ndarray, " T"]:  # fmt: skip
    """Read the start of each exposure, in s on the log's clock, from a csv with columns file and start_time.

    `start_time` is seconds on the log's clock, or ISO dates; dates need a log that says when it started, and either
    both or neither with a time zone. Without a log, dates count from the first of them.

    Args:
      zone: of dates that state none.
    """
    _, texts = side_table.read_column(path, "start_time", ("file",))
    if missing := [name for name in names if name not in texts]:
        raise UserError(f"{path}: no row for {abbreviate(missing)}; add one per pattern")
    starts = [_parse_start(texts[name], f"{path}: {name}") for name in names]
    dates = [start for start in starts if isinstance(start, datetime.datetime)]
    if not has_log and dates and len({date.tzinfo is None for date in dates}) == 1:
        log_start, zone = min(dates), None
    seconds = [
        start if isinstance(start, float) else seconds_since(log_start, start, zone, f"{path}: {name}: start_time")
        for start, name in zip(starts, names, strict=True)
    ]
    return np.array(seconds)


def _parse_start(value: str, place: str) -> float | datetime.datetime:
    with contextlib.suppress(ValueError):
        if np.isfinite(seconds := float(value)):
            return seconds
    try:
        return datetime.datetime.fromisoformat(value)
    except ValueError:
        wrong = f"{place}: start_time '{value[:40]}' is neither seconds nor a date"
        raise UserError(f"{wrong}; write 2024-02-28T10:27:22") from None


def seconds_since(
    log_start: datetime.datetime | None, date: datetime.datetime, zone: datetime.tzinfo | None, place: str
) -> float:
    """Return the seconds from the start of the log to `date`, which is read in `zone` where it states none."""
    if date.tzinfo is None and zone is not None:
        date = date.replace(tzinfo=zone)
    if log_start is None:
        raise UserError(f"{place} is a date, but the log does not say when it started; give [session.cycler] start")
    if (date.tzinfo is None) != (log_start.tzinfo is None):
        clock, table = ("the log", "cycler") if log_start.tzinfo is None else ("the pattern", "time")
        raise UserError(f"{place}: {clock} has no time zone and the other clock has one; give [session.{table}] zone = "
                        '"+00:00" or the like')  # fmt: skip
    return (date - log_start).total_seconds()


def abbreviate(items: Sequence[object]) -> str:
    """Return the first three, and how many more."""
    shown = ", ".join(str(item) for item in items[:3])
    return shown + (f" and {len(items) - 3} more" if len(items) > 3 else "")
