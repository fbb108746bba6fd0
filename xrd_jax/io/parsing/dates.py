"""Dates and durations as instruments and cyclers write them.

`parse_date` reads a cell of a column and leaves the order of day and month open where it is, for
`timestamps.resolve` to settle with the other rows. `parse_datetime` reads a line of a header, which stands alone.
"""

import datetime
import re
from typing import NamedTuple

import numpy as np

# 26:03:04.5 · 1.02:03:04 · 1d 02:03:04.5 · 1-02:03:04
_DURATION = re.compile(
    r"\s*(?:(\d{1,6})\s*(?:d|days?,?|[.\- ])\s*)?(\d{1,9}):(\d{1,2}):(\d{1,2}(?:[.,]\d*)?)(?:\s*([AaPp])\.?[Mm]\.?)?\s*"
)
_DATE = re.compile(
    r"\s*(\d{1,4})([-/.])(\d{1,2}|[A-Za-z]{3})\2(\d{1,4})"
    r"(?:[T,\s]+(\d{1,2})([:.])(\d{2})(?:\6(\d{2}(?:[.,]\d*)?))?(?:\s*([AaPp])\.?[Mm]\.?)?)?"
    r"\s*(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)
# Longer text is no date, and the regular expressions take their time over such.
_MAX_CELL, _MAX_HEADER_TEXT = 64, 80
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = datetime.datetime(1970, 1, 1)
# Day 0 of spreadsheet serials, and the range (1982 to 2119) in which a bare number is taken for one.
_SERIAL_EPOCH = datetime.date(1899, 12, 30)
_MIN_SERIAL, _MAX_SERIAL = 30000.0, 80000.0
_MATLAB_DAYS = 693960.0  # from day 0 of MATLAB's and Octave's datenum to that of spreadsheets
# Seconds since 1970 of the years 1980 to 2075, in which a bare number is taken for such.
_MIN_EPOCH, _MAX_EPOCH = 315_532_800.0, 3_313_526_400.0
_MAX_LABVIEW, _LABVIEW_SECONDS = 5e9, 2_082_844_800.0  # LabVIEW counts from 1904
# Of a date in a header: a time of day, a day of three numbers, a day with the name of its month.
_CLOCK = re.compile(r"(?<![\d:])(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([ap])\.?m\b\.?)?", re.IGNORECASE)
_DAY = re.compile(r"(?<![\d:])(\d{1,4})([-/.:])(\d{1,2})\2(\d{1,4})(?![\d:])")
_NAMED_DAY = re.compile(
    rf"(?<!\w)(?:(\d{{1,2}})[-. ]+)?({'|'.join(_MONTHS)})[a-z]*[-., ]+(?:(\d{{1,2}}),?[ ]+)?(?:.*?\s)?(\d{{4}})(?!\d)",
    re.IGNORECASE,
)
NO_ZONE = -(10**6)


class Date(NamedTuple):
    """A date as written: `first` and `second` are month and day where `fixed`, else in an order still unknown.

    Dots part day, month and year nearly everywhere: such dates are day first unless something tells otherwise.
    """

    year: int
    first: int
    second: int
    seconds: float
    fixed: bool
    offset: int = NO_ZONE
    separator: str = ""  # of an order still unknown: '-', '/' or '.'


# The same as a numpy record: a log may hold millions of dates.
RECORD = np.dtype(
    [
        ("year", "i2"),
        ("first", "i2"),
        ("second", "i2"),
        ("seconds", "f8"),
        ("fixed", "?"),
        ("offset", "i4"),
        ("separator", "U1"),
    ]
)


def parse_duration(text: str) -> float | None:
    """Return the seconds of 'h:mm:ss(.fff)', with or without days before or AM and PM behind, or None."""
    match = _DURATION.fullmatch(text) if len(text) <= _MAX_CELL else None
    if not match:
        return None
    days, hours, minutes, seconds, half = match.groups()
    if int(minutes) > 59 or float(seconds.replace(",", ".")) >= 60 or (half is not None and not 1 <= int(hours) <= 12):
        return None
    if half is not None:
        hours = int(hours) % 12 + (12 if half in "Pp" else 0)
    return int(days or 0) * 86400.0 + int(hours) * 3600.0 + int(minutes) * 60.0 + float(seconds.replace(",", "."))


def is_date(text: str) -> bool:
    """Return whether the text is a calendar date."""
    return len(text) <= _MAX_CELL and bool(_DATE.fullmatch(text))


def parse_date(text: str) -> Date | None:
    """Read one date with or without a time of day, or the number of one (`from_epoch`); None for anything else."""
    match = _DATE.fullmatch(text) if len(text) <= _MAX_CELL else None
    if not match:
        return _parse_number(text)
    first, separator, middle, last, hour, _, minute, second, half, zone = match.groups()
    hours, minutes, seconds = int(hour or 0), int(minute or 0), float((second or "0").replace(",", "."))
    offset, is_clock = _offset_of(zone), hours < 24 if half is None else 1 <= hours <= 12
    if offset is None or not is_clock or minutes > 59 or seconds >= 60:
        return None
    if half is not None:
        hours = hours % 12 + (12 if half in "Pp" else 0)
    seconds += hours * 3600.0 + minutes * 60.0
    if middle.isalpha():
        if middle.lower() not in _MONTHS:
            return None
        return Date(_full_year(last), _MONTHS.index(middle.lower()) + 1, int(first), seconds, True, offset)
    if len(first) == 4:
        return Date(int(first), int(middle), int(last), seconds, True, offset)
    return Date(_full_year(last), int(first), int(middle), seconds, False, offset, separator)


def _parse_number(text: str) -> Date | None:
    """Read a spreadsheet's serial number of a day, MATLAB's, or seconds of an epoch with its fractions."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    if (seconds := from_epoch(value)) is not None:
        moment = _EPOCH + datetime.timedelta(seconds=seconds // 86400 * 86400)
        return Date(moment.year, moment.month, moment.day, round(seconds % 86400, 6), True, 0)
    if _MIN_SERIAL <= value - _MATLAB_DAYS <= _MAX_SERIAL:
        value -= _MATLAB_DAYS
    if not _MIN_SERIAL <= value <= _MAX_SERIAL:
        return None
    day = _SERIAL_EPOCH + datetime.timedelta(days=int(value))
    # Serials are rounded to some 1e-11 of a day; a microsecond is what they hold.
    return Date(day.year, day.month, day.day, round((value - int(value)) * 86400, 6), True)


def from_epoch(value: float) -> float | None:
    """Return the seconds since 1970 (UTC) that a number means by its size, or None where it is no date.

    Seconds, ms, µs and ns since 1970 and seconds since 1904 are told apart, as all are of the years 1980 to 2075.
    """
    for scale in (1.0, 1e-3, 1e-6, 1e-9):
        if _MIN_EPOCH <= value * scale <= _MAX_EPOCH:
            return value * scale
    return value - _LABVIEW_SECONDS if _MAX_EPOCH < value <= _MAX_LABVIEW else None


def _full_year(digits: str) -> int:
    """Two digits are 1970 to 2069."""
    if len(digits) > 2:
        return int(digits)
    return int(digits) + (2000 if int(digits) < 70 else 1900)


def _offset_of(zone: str | None) -> int | None:
    """Seconds east of UTC, `NO_ZONE` where none is written, None where there is no such zone."""
    if zone is None:
        return NO_ZONE
    if zone in ("Z", "UTC"):
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    return (1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60) if hours <= 14 and minutes < 60 else None


def parse_datetime(text: str) -> datetime.datetime | None:
    """Read date and time of a header; None where there is none, or where day and month could change places.

    ISO 8601 keeps its zone; every other spelling is local time without a zone. No separator settles the order.
    """
    text = text.strip().strip("\"'")
    if len(text) > _MAX_HEADER_TEXT:
        return None
    is_iso = re.match(r"\d{4}-\d\d-\d\d[T ]\d", text)
    try:
        time = datetime.datetime.fromisoformat(text) if is_iso else _find_datetime(text)
    except ValueError:
        return None
    return time if time is not None and time.year >= 1900 else None  # programs write year 1 for 'not known'


def seconds_between(start: datetime.datetime | None, end: datetime.datetime | None) -> float | None:
    """Return the time from start to end in s, or None where either is unknown or they do not follow one another."""
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    seconds = (end - start).total_seconds()
    return seconds if seconds > 0 else None


def _find_datetime(text: str) -> datetime.datetime | None:
    clock = _CLOCK.search(text)
    if clock is None:
        return None
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    if clock[5]:
        hour = hour % 12 + (12 if clock[5].lower() == "p" else 0)
    microsecond = int((clock[4] or "0").ljust(9, "0")) // 1000
    days = _possible_days(text[: clock.start()] + " " + text[clock.end() :])
    if len(days) != 1:
        return None
    return datetime.datetime.combine(days.pop(), datetime.time(hour, minute, second, microsecond))


def _possible_days(text: str) -> set[datetime.date]:
    """Every date that the text can mean."""
    if named := _NAMED_DAY.search(text):
        day, month = named[1] or named[3], named[2].lower()
        return _valid_days([(named[4], str(_MONTHS.index(month) + 1), day)]) if day else set()
    if (match := _DAY.search(text)) is None:
        return set()
    a, b, c = match[1], match[3], match[4]
    if len(a) == 4:
        return _valid_days([(a, b, c)])
    if len(c) == 4:
        return _valid_days([(c, a, b), (c, b, a)])
    return _valid_days([(a, b, c), (c, a, b), (c, b, a)])


def _valid_days(candidates: list[tuple[str, str, str]]) -> set[datetime.date]:
    """The candidates (year, month, day) that are in the calendar."""
    days = set()
    for year, month, day in candidates:
        if len(year) in (2, 4):
            try:
                days.add(datetime.date(_full_year(year), int(month), int(day)))
            except ValueError:  # month 13, 30 February
                continue
    return days
