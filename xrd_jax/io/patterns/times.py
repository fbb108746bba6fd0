"""Dates as instruments write them: read where only one reading is possible, else left alone."""

from __future__ import annotations

import datetime
import re

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CLOCK = re.compile(r"(?<![\d:])(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([ap])\.?m\b\.?)?", re.IGNORECASE)
_DAY = re.compile(r"(?<![\d:])(\d{1,4})([-/.:])(\d{1,2})\2(\d{1,4})(?![\d:])")
_NAMED = re.compile(
    rf"(?<!\w)(?:(\d{{1,2}})[-. ]+)?({'|'.join(_MONTHS)})[a-z]*[-., ]+(?:(\d{{1,2}}),?[ ]+)?(?:.*?\s)?(\d{{4}})(?!\d)",
    re.IGNORECASE,
)


def parse(text: str) -> datetime.datetime | None:
    """Date and time; None where there is none, or where day and month could change places.

    ISO 8601 keeps its zone; every other spelling is local time without a zone. Two-digit years are 1970 to 2069.
    """
    text = text.strip().strip("\"'")
    if len(text) > 80:
        return None
    try:
        return (
            _sensible(datetime.datetime.fromisoformat(text))
            if re.match(r"\d{4}-\d\d-\d\d[T ]\d", text)
            else _other(text)
        )
    except ValueError:
        return None


def seconds(start: datetime.datetime | None, end: datetime.datetime | None) -> float | None:
    """Time from start to end in s, or None where either is unknown or they do not follow one another."""
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    span = (end - start).total_seconds()
    return span if span > 0 else None


def _sensible(time: datetime.datetime) -> datetime.datetime | None:
    return time if time.year >= 1900 else None  # programs write year 1 for 'not known'


def _other(text: str) -> datetime.datetime | None:
    clock = _CLOCK.search(text)
    if clock is None:
        return None
    hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
    if clock[5]:
        hour = hour % 12 + (12 if clock[5].lower() == "p" else 0)
    fraction = int((clock[4] or "0").ljust(9, "0")) // 1000
    rest = text[: clock.start()] + " " + text[clock.end() :]
    days = _days(rest)
    if len(days) != 1:
        return None
    return _sensible(datetime.datetime.combine(days.pop(), datetime.time(hour, minute, second, fraction)))


def _days(text: str) -> set[datetime.date]:
    """Every date that the text can mean."""
    if named := _NAMED.search(text):
        day, month = named[1] or named[3], named[2].lower()
        return _dates([(named[4], str(_MONTHS.index(month) + 1), day)]) if day else set()
    if (match := _DAY.search(text)) is None:
        return set()
    a, b, c = match[1], match[3], match[4]
    if len(a) == 4:
        return _dates([(a, b, c)])
    if len(c) == 4:
        return _dates([(c, a, b), (c, b, a)])
    return _dates([(a, b, c), (c, a, b), (c, b, a)])


def _dates(candidates: list[tuple[str, str, str]]) -> set[datetime.date]:
    found = set()
    for year, month, day in candidates:
        full = int(year) + (0 if len(year) == 4 else 2000 if int(year) < 70 else 1900)
        if len(year) in (2, 4) and 1 <= int(month) <= 12 and 1 <= int(day) <= 31:
            try:
                found.add(datetime.date(full, int(month), int(day)))
            except ValueError:  # 30 February
                continue
    return found
