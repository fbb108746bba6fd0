"""Which moment of the cycler's log belongs to which pattern."""

import dataclasses
import datetime
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.timestamps import EPOCH, local_to_utc


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


def to_utc(
    dates: Sequence[datetime.datetime | None], zone: datetime.tzinfo | None, place: str, messages: list[str]
) -> list[datetime.datetime | None]:
    """Return dates in UTC, those without a zone of their own read in `zone`; without any zone they stay as they are.

    Python subtracts dates of one zone as the clock on the wall shows them, so that summer time would count as an hour.

    Args:
      dates: in the order in which they were taken, by which the hour is told that the end of summer time repeats.
      messages: a sentence on that hour is added to it.
    """
    if early := next((date for date in dates if date is not None and not 1900 < date.year < 9999), None):
        raise UserError(f"{place}: a date is in the year {early.year}; mend it")
    utc = [date if date is None or date.tzinfo is None else date.astimezone(datetime.UTC) for date in dates]
    without_zone = {i: date for i, date in enumerate(utc) if date is not None and date.tzinfo is None}
    if zone is None or not without_zone:
        return utc
    local = np.array([(date - EPOCH).total_seconds() for date in without_zone.values()])
    try:
        seconds, is_twice = local_to_utc(local, zone)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    for i, value in zip(without_zone, seconds.tolist(), strict=True):
        utc[i] = EPOCH.replace(tzinfo=datetime.UTC) + datetime.timedelta(seconds=round(value, 6))
    if count := np.count_nonzero(is_twice):
        messages.append(f"{count} dates lie in the hour that occurs twice in {zone}; their order told which is meant.")
    return utc


def seconds_since(log_start: datetime.datetime | None, date: datetime.datetime, place: str) -> float:
    """Return the seconds from the start of the log to `date`, both as `to_utc` returns them."""
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
