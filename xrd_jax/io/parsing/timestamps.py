"""A column of dates on one clock, and the two ways to read 01/06/2026."""

import dataclasses
import datetime
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from xrd_jax.io.parsing.dates import NO_ZONE, RECORD, parse_date, separator_of

EPOCH = datetime.datetime(1970, 1, 1)
_MAX_SECONDS = 4e9  # since 1970: the year 2096
_MAX_DRIFT = 3600.0  # s by which dates may leave the log's own times


@dataclasses.dataclass(frozen=True)
class Timestamps:
    """Seconds since 1970 on the file's own clock, and what is known about that clock."""

    seconds: Float[np.ndarray, " R"]  # in UTC where every row states a zone, else as if the file's clock stood at UTC
    is_order_known: bool  # False where day and month could be swapped, so that only differences count
    offset: int | None  # seconds east of UTC that the first row states
    example: str = ""  # the first date where its order is not known

    def to_datetime(self, seconds: float) -> datetime.datetime | None:
        """Return a time on this clock as a date, or None where the order of day and month is unknown."""
        if not self.is_order_known or not 0 <= seconds < _MAX_SECONDS:
            return None
        moment = EPOCH + datetime.timedelta(seconds=round(seconds, 6))
        if self.offset is None:
            return moment
        zone = datetime.timezone(datetime.timedelta(seconds=self.offset))
        return moment.replace(tzinfo=datetime.UTC).astimezone(zone)


def resolve(
    dates: Shaped[np.ndarray, " R"], elapsed: Float[np.ndarray, " R"] | None = None, order: str | None = None
) -> Timestamps | None:
    """Put the dates of a column on one clock.

    A number over 12 settles whether day or month comes first. So does a log of several days, since its dates must
    advance as the elapsed time does. None where the dates fit no calendar, or only some state a zone.

    Args:
      dates: [R] of `RECORD`.
      elapsed: [R] s on the log's own clock, where it has one.
      order: 'month' or 'day' (first), for programs that always write one.
    """
    is_fixed, has_zone = dates["fixed"], dates["offset"] != NO_ZONE
    if is_fixed.any() != is_fixed.all() or has_zone.any() != has_zone.all():
        return None
    offset = int(dates["offset"][0]) if has_zone.all() else None
    month_first = _seconds_since_epoch(dates, swap=False)
    if is_fixed.all():
        return None if month_first is None else Timestamps(month_first, True, offset)
    day_first = _seconds_since_epoch(dates, swap=True)
    example = f"{dates['first'][0]}/{dates['second'][0]}/{dates['year'][0]}"
    if month_first is not None and day_first is not None and order is None:
        seconds, is_known = _choose_order(month_first, day_first, elapsed)
        return Timestamps(seconds, is_known, offset, example)
    choices = (day_first, month_first) if order == "day" else (month_first, day_first)
    possible = [seconds for seconds in choices if seconds is not None]
    return Timestamps(possible[0], True, offset, example) if possible else None


def _choose_order(
    month_first: np.ndarray, day_first: np.ndarray, elapsed: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """The order in which the dates never fall and advance as the log does, and whether only one does."""
    steps = np.diff(month_first), np.diff(day_first)
    if np.array_equal(steps[0], steps[1]):  # all on one day: differences are right in either order
        return month_first, bool((month_first == day_first).all())
    falls = [bool((step < 0).any()) for step in steps]
    if falls[0] != falls[1]:
        return (day_first if falls[0] else month_first), True
    if elapsed is None:
        # Only the start is in doubt where the shorter of the two logs is the log.
        return (month_first if np.ptp(month_first) <= np.ptp(day_first) else day_first), False
    lapse = elapsed - elapsed[0]
    drifts = [float(np.abs(clock - clock[0] - lapse).max()) for clock in (month_first, day_first)]
    if min(drifts) < _MAX_DRIFT < max(drifts):
        return (month_first if drifts[0] < drifts[1] else day_first), True
    return month_first, False


def _seconds_since_epoch(dates: np.ndarray, swap: bool) -> np.ndarray | None:
    """[R] seconds, or None where some row has no such day."""
    year = dates["year"].astype(np.int64)
    month, day = (dates[name].astype(np.int64) for name in (("second", "first") if swap else ("first", "second")))
    if ((year < 1970) | (year > 2100) | (month < 1) | (month > 12) | (day < 1)).any():
        return None
    begin = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    length = ((begin + 1).astype("datetime64[D]") - begin.astype("datetime64[D]")).astype(np.int64)
    if (day > length).any():
        return None
    seconds_of_day = dates["seconds"] - np.where(dates["offset"] == NO_ZONE, 0, dates["offset"])
    return (begin.astype("datetime64[D]").astype(np.int64) + day - 1) * 86400.0 + seconds_of_day


def read_header_date(text: str, others: Sequence[str] = (), order: str | None = None) -> datetime.datetime | None:
    """Read the date and time of a log's header, or None where day and month could be swapped.

    Args:
      others: dates of the same header; one with a number over 12 settles the order for all with its separator.
      order: as in `resolve`.
    """
    dates = [(date, written) for written in (text, *others) if (date := parse_date(written)) is not None]
    if not dates or dates[0][1] != text:
        return None
    wanted, separator = dates[0][0], separator_of(text)
    alike = [
        date
        for date, written in dates
        if date.fixed == wanted.fixed
        and separator_of(written) == separator
        and (date.offset == NO_ZONE) == (wanted.offset == NO_ZONE)
    ]
    clock = resolve(np.array(alike, dtype=RECORD), order=order)
    return None if clock is None else clock.to_datetime(float(clock.seconds[0]))
