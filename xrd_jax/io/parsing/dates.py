"""Durations and dates as cyclers write them, and the two ways to read 01/06/2026."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# 26:03:04.5 · 1.02:03:04 · 1d 02:03:04.5 · 1-02:03:04
_DURATION = re.compile(r"\s*(?:(\d{1,6})\s*(?:d|days?,?|[.\- ])\s*)?(\d{1,9}):(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)\s*")
_DATE = re.compile(
    r"\s*(\d{1,4})([-/.])(\d{1,2}|[A-Za-z]{3})\2(\d{1,4})"
    r"(?:[T,\s]+(\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d*)?))?(?:\s*([AaPp])\.?[Mm]\.?)?)?"
    r"\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)
# Longer text is no date, and the patterns take their time over such.
_LONGEST = 64
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Day 0 of spreadsheet serials, and the range (1982 to 2119) in which a bare number is taken for one.
_SERIAL_EPOCH = datetime.date(1899, 12, 30)
_SERIALS = (30000.0, 80000.0)
EPOCH = datetime.datetime(1970, 1, 1)
NO_ZONE = -(10**6)


def duration(text: str) -> float | None:
    """Seconds of 'h:mm:ss(.fff)', with or without days before, or None."""
    found = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    if not found:
        return None
    days, hours, minutes, seconds = found.groups()
    if int(minutes) > 59 or float(seconds.replace(",", ".")) >= 60:
        return None
    return int(days or 0) * 86400.0 + int(hours) * 3600.0 + int(minutes) * 60.0 + float(seconds.replace(",", "."))


def is_date(text: str) -> bool:
    """True for text that holds a calendar date."""
    return len(text) <= _LONGEST and bool(_DATE.fullmatch(text))


class Date(NamedTuple):
    """A date as written: `first` and `second` are month and day where `fixed`, else in an order still unknown."""

    year: int
    first: int
    second: int
    seconds: float
    fixed: bool
    offset: int = NO_ZONE


# The same as a numpy record: a log may hold millions of dates.
RECORD = np.dtype(
    [("year", "i2"), ("first", "i2"), ("second", "i2"), ("seconds", "f8"), ("fixed", "?"), ("offset", "i4")]
)


def parse(text: str) -> Date | None:
    """One date with or without a time of day, or a spreadsheet's serial number, or None."""
    found = _DATE.fullmatch(text) if len(text) <= _LONGEST else None
    if not found:
        return _serial(text)
    first, separator, middle, last, hour, minute, second, half, zone = found.groups()
    of_day = _of_day(int(hour or 0), int(minute or 0), float((second or "0").replace(",", ".")), half)
    if of_day is None:
        return None
    offset = _offset(zone)
    if offset is None:
        return None
    if middle.isalpha():
        if middle.lower() not in _MONTHS:
            return None
        return Date(_year(last), _MONTHS.index(middle.lower()) + 1, int(first), of_day, True, offset)
    if len(first) == 4:
        return Date(int(first), int(middle), int(last), of_day, True, offset)
    if separator == ".":  # day.month.year wherever dots are written
        return Date(_year(last), int(middle), int(first), of_day, True, offset)
    return Date(_year(last), int(first), int(middle), of_day, False, offset)


def _serial(text: str) -> Date | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    if not _SERIALS[0] <= value <= _SERIALS[1]:
        return None
    day = _SERIAL_EPOCH + datetime.timedelta(days=int(value))
    # Serials are rounded to some 1e-11 of a day; a microsecond is what they hold.
    return Date(day.year, day.month, day.day, round((value - int(value)) * 86400, 6), True)


def _of_day(hour: int, minute: int, second: float, half: str | None) -> float | None:
    if half is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half in "Pp" else 0)
    return hour * 3600.0 + minute * 60.0 + second if hour < 24 and minute < 60 and second < 60 else None


def _year(digits: str) -> int:
    if len(digits) > 2:
        return int(digits)
    return int(digits) + (2000 if int(digits) < 70 else 1900)


def _offset(zone: str | None) -> int | None:
    """Seconds east of UTC, `NO_ZONE` where none is written, None where there is no such zone."""
    if zone is None:
        return NO_ZONE
    if zone in ("Z", "UTC"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60) if hours <= 14 and minutes < 60 else None


@dataclasses.dataclass(frozen=True)
class Timestamps:
    """[R] seconds since 1970 on the file's own clock, and what is known about that clock.

    Attributes:
      seconds: [R] in UTC where every row states a zone, else as if the file's clock stood at UTC.
      sure: False where day and month could be swapped, so that only differences count.
      offset: seconds east of UTC that the first row states, or None.
      example: the first date where its order is not sure.
    """

    seconds: np.ndarray
    sure: bool
    offset: int | None
    example: str = ""

    def start(self, at: float) -> datetime.datetime | None:
        """The moment `at` (seconds on this clock) as a date, or None where the order of day and month is unknown."""
        if not self.sure or not 0 <= at < 4e9:
            return None
        moment = EPOCH + datetime.timedelta(seconds=round(at, 6))
        if self.offset is None:
            return moment
        zone = datetime.timezone(datetime.timedelta(seconds=self.offset))
        return moment.replace(tzinfo=datetime.UTC).astimezone(zone)


def resolve(dates: np.ndarray, elapsed: np.ndarray | None = None, order: str | None = None) -> Timestamps | None:
    """Puts the dates of a column, [R] of `RECORD`, on one clock, or None where they fit no calendar.

    A number over 12 settles whether day or month comes first; so does a log of several days, since its dates must
    advance as `elapsed` [R] (s) does. `order` ('month' or 'day' first) is for programs that always write one.
    """
    fixed, offsets = dates["fixed"], dates["offset"]
    stated = offsets != NO_ZONE
    if fixed.any() != fixed.all() or stated.any() != stated.all():
        return None
    offset = int(offsets[0]) if stated.all() else None
    if fixed.all():
        seconds = _on_calendar(dates, False)
        return None if seconds is None else Timestamps(seconds, True, offset)
    month, day = _on_calendar(dates, False), _on_calendar(dates, True)
    if order is not None:
        wanted, other = (month, day) if order == "month" else (day, month)
        month, day = (wanted, None) if wanted is not None else (None, other)
    if month is not None and day is not None:
        month, day, sure = _by_lapse(month, day, elapsed)
    else:
        sure = True
    seconds = month if month is not None else day
    example = f"{dates['first'][0]}/{dates['second'][0]}/{dates['year'][0]}"
    return None if seconds is None else Timestamps(seconds, sure, offset, example)


def _by_lapse(
    month: np.ndarray, day: np.ndarray, elapsed: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Keeps the order in which the dates never fall and advance as the log does, if only one does."""
    steps = np.diff(month), np.diff(day)
    if np.array_equal(steps[0], steps[1]):  # all on one day: differences are right in either order
        return month, None, (month == day).all()
    falls = [bool((step < 0).any()) for step in steps]
    if falls[0] != falls[1]:
        return (None, day, True) if falls[0] else (month, None, True)
    if elapsed is None:
        # Only the start is in doubt where the shorter of the two logs is the log.
        return (month, None, False) if np.ptp(month) <= np.ptp(day) else (None, day, False)
    off = [float(np.abs(clock - clock[0] - (elapsed - elapsed[0])).max()) for clock in (month, day)]
    if min(off) < 3600 < max(off):
        return (month, None, True) if off[0] < off[1] else (None, day, True)
    return month, None, False


def _on_calendar(dates: np.ndarray, swap: bool) -> np.ndarray | None:
    """[R] seconds since 1970, or None where some row has no such day."""
    year = dates["year"].astype(np.int64)
    month, day = (dates[name].astype(np.int64) for name in (("second", "first") if swap else ("first", "second")))
    if ((year < 1970) | (year > 2100) | (month < 1) | (month > 12) | (day < 1)).any():
        return None
    begin = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    length = ((begin + 1).astype("datetime64[D]") - begin.astype("datetime64[D]")).astype(np.int64)
    if (day > length).any():
        return None
    of_day = dates["seconds"] - np.where(dates["offset"] == NO_ZONE, 0, dates["offset"])
    return (begin.astype("datetime64[D]").astype(np.int64) + day - 1) * 86400.0 + of_day


def stamp(text: str, others: Sequence[str] = (), order: str | None = None) -> datetime.datetime | None:
    """One date and time as a header states it, or None where day and month could be swapped.

    `others` are dates of the same header: one with a number over 12 settles the order for all with its separator.
    """
    dates = [(found, written) for written in (text, *others) if (found := parse(written)) is not None]
    if not dates or dates[0][1] != text:
        return None
    one = dates[0][0]
    same = [found for found, written in dates if found.fixed == one.fixed and _separator(written) == _separator(text)]
    stamped = [found for found in same if (found.offset == NO_ZONE) == (one.offset == NO_ZONE)]
    clock = resolve(np.array(stamped, dtype=RECORD), order=order)
    return None if clock is None else clock.start(float(clock.seconds[0]))


def _separator(text: str) -> str:
    found = _DATE.fullmatch(text)
    return found.group(2) if found else ""
