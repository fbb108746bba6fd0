"""A column of dates on one clock, the two ways to read 01/06/2026, and local time as UTC."""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import NO_ZONE, RECORD, parse_date

EPOCH = datetime.datetime(1970, 1, 1)
_MAX_SECONDS = 4e9  # since 1970: the year 2096
_MAX_DRIFT = 3600.0  # s by which dates may leave the log's own times
_HOUR = 3600.0  # s by which clocks change to and from summer time
_QUARTER = 900.0  # s: every zone changes its clock at a full quarter of an hour


@dataclasses.dataclass(frozen=True)
class Timestamps:
    """Seconds since 1970 on the file's own clock, and what is known about that clock."""

    seconds: Float[np.ndarray, " R"]  # in UTC where every row states a zone, else as if the file's clock stood at UTC
    is_order_known: bool  # False where day and month could be swapped, so that only differences count
    offset: int | None  # seconds east of UTC that the first row states
    example: str = ""  # the first date where only a program's habit tells its order, or nothing does
    order: str = ""  # 'month' or 'day' (first), where the dates had to be told apart

    def to_datetime(self, seconds: float) -> datetime.datetime | None:
        """Return a time on this clock as a date, or None where the order of day and month is unknown."""
        if not self.is_order_known or not 0 <= seconds < _MAX_SECONDS:
            return None
        moment = EPOCH + datetime.timedelta(seconds=round(seconds, 6))
        if self.offset is None:
            return moment
        zone = datetime.timezone(datetime.timedelta(seconds=self.offset))
        return moment.replace(tzinfo=datetime.UTC).astimezone(zone)


def are_plausible(seconds: Float[np.ndarray, " R"]) -> bool:
    """Return whether all are moments of the years 1970 to 2096; what damage makes of a number is not."""
    return bool(((seconds >= 0) & (seconds < _MAX_SECONDS)).all())


def resolve(
    dates: Shaped[np.ndarray, " R"], elapsed: Float[np.ndarray, " R"] | None = None, order: str | None = None
) -> Timestamps | None:
    """Put the dates of a column on one clock.

    A number over 12 settles whether day or month comes first. So does a log of several days, since its dates must
    advance as the elapsed time does. None where the dates fit no calendar, or only some state a zone.

    Args:
      dates: [R] of `RECORD`.
      elapsed: [R] s on the log's own clock, where it has one.
      order: 'month' or 'day' (first), the habit of a program: it decides where the dates themselves do not.
    """
    is_fixed, separator, has_zone = dates["fixed"], str(dates["separator"][0]), dates["offset"] != NO_ZONE
    if any(mark.any() != mark.all() for mark in (is_fixed, has_zone)) or (dates["separator"] != separator).any():
        return None
    offset = int(dates["offset"][0]) if has_zone.all() else None
    month_first = _seconds_since_epoch(dates, swap=False)
    if is_fixed.all():
        return None if month_first is None else Timestamps(month_first, True, offset)
    day_first = _seconds_since_epoch(dates, swap=True)
    if month_first is None or day_first is None:
        seconds = day_first if month_first is None else month_first
        only = "day" if month_first is None else "month"
        return None if seconds is None else Timestamps(seconds, True, offset, "", only)
    seconds, is_known = _choose_order(month_first, day_first, elapsed)
    likely = "month" if seconds is month_first else "day"
    if is_known:
        return Timestamps(seconds, True, offset, "", likely)
    example = f"{dates['first'][0]}/{dates['second'][0]}/{dates['year'][0]}"
    if order is None and separator == ".":
        order, example = "day", ""
    if order is None:
        return Timestamps(seconds, False, offset, example, likely)
    return Timestamps(day_first if order == "day" else month_first, True, offset, example, order)


def _choose_order(
    month_first: np.ndarray, day_first: np.ndarray, elapsed: np.ndarray | None
) -> tuple[np.ndarray, bool]:
    """The order in which the dates never fall and advance as the log does, and whether only one does."""
    steps = np.diff(month_first), np.diff(day_first)
    if np.array_equal(steps[0], steps[1]):  # all on one day: differences are right in either order
        return month_first, bool((month_first == day_first).all())
    falls = [bool((step < -_HOUR).any()) for step in steps]  # an hour is what the end of summer time makes
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


def settled_order(texts: Iterable[str], separator: str) -> str | None:
    """Return 'month' or 'day' where a number over 12 in dates that are parted alike says which comes first."""
    dates = [date for text in texts if (date := parse_date(text)) is not None and date.separator == separator]
    orders = {"day" if date.first > 12 else "month" for date in dates
              if max(date.first, date.second) > 12 >= min(date.first, date.second)}  # fmt: skip
    return orders.pop() if separator and len(orders) == 1 else None


def read_header_date(text: str, others: Sequence[str] = (), order: str | None = None) -> datetime.datetime | None:
    """Read the date and time of a log's header, or None where day and month could be swapped.

    Args:
      others: dates of the same file; a number over 12 settles the order for all that are parted alike.
      order: as in `resolve`.
    """
    if (wanted := parse_date(text)) is None:
        return None
    clock = resolve(np.array([wanted], dtype=RECORD), order=settled_order(others, wanted.separator) or order)
    return None if clock is None else clock.to_datetime(float(clock.seconds[0]))


def local_to_utc(
    local: Float[np.ndarray, " R"], zone: datetime.tzinfo
) -> tuple[Float[np.ndarray, " R"], Bool[np.ndarray, " R"]]:
    """Return UTC for the local times of a zone, and which of them lie in the hour that the end of summer time repeats.

    Of that hour the rows before the clock goes back are summer time. Where none goes back, the steps between rows tell
    where the hour is missing, if one does.

    Args:
      local: [R] s since 1970 as the clock on the wall shows them, in the order in which they were written.

    Raises:
      UserError: a time that the zone does not have, or has twice and nothing tells which.
    """
    quarter, index = np.unique(np.floor(local / _QUARTER), return_inverse=True)
    offset = np.array([[_offset(EPOCH + datetime.timedelta(seconds=_QUARTER * float(value)), zone, fold)
                        for fold in (0, 1)] for value in quarter])[index]  # fmt: skip
    if (is_missing := offset[:, 0] < offset[:, 1]).any():
        moment = EPOCH + datetime.timedelta(seconds=round(float(local[np.argmax(is_missing)]), 3))
        fixed = _fixed_zone(offset[np.argmax(is_missing), 0])
        missing = f"{moment.isoformat(' ', 'seconds')} does not exist in {zone}, as clocks go forward"
        raise UserError(f'{missing}; for a clock that does not, give zone = "{fixed}"')
    is_twice = offset[:, 0] > offset[:, 1]
    is_late = np.zeros(local.size, bool)
    edges = np.flatnonzero(np.diff(is_twice, prepend=False, append=False))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        is_late[_change(local, begin, end, zone) : end] = True
    return local - np.where(is_late, offset[:, 1], offset[:, 0]), is_twice


def _change(local: np.ndarray, begin: int, end: int, zone: datetime.tzinfo) -> int:
    """Return the first row of `begin` to `end`, which lie in the repeated hour, that lies in its second passage."""
    steps = np.diff(local)
    falls = begin + np.flatnonzero(steps[begin : end - 1] < 0) + 1
    others = steps[np.r_[0 : max(begin - 1, 0), end : steps.size]]
    if falls.size == 1 and not (others < 0).any():
        return int(falls[0])
    usual = float(np.median(others)) if others.size else 0.0
    if not falls.size and usual > 0 and not (others < 0).any():
        places = np.arange(max(begin, 1), min(end, steps.size) + 1)  # the hour may be missing in the step before one
        fits = places[np.abs(steps[places - 1] + _HOUR - usual) <= usual / 4]
        is_usual = np.abs(steps - usual) <= usual / 4
        follows, goes_on = begin > 0 and is_usual[begin - 1 : end - 1].all(), end < local.size and is_usual[end - 1]
        if fits.size == 1:
            return int(fits[0])
        if follows != goes_on:
            return end if follows else begin
    moment = EPOCH + datetime.timedelta(seconds=round(float(local[begin]), 3))
    raise UserError(f"{moment.isoformat(' ', 'seconds')} occurs twice in {zone}, as clocks go back then, and nothing "
                    "tells which is meant; write that date with its offset, such as +01:00, or exclude it")  # fmt: skip


def _offset(moment: datetime.datetime, zone: datetime.tzinfo, fold: int) -> float:
    """Seconds east of UTC."""
    return (moment.replace(tzinfo=zone, fold=fold).utcoffset() or datetime.timedelta()).total_seconds()


def _fixed_zone(offset: float) -> str:
    minutes = abs(int(offset)) // 60
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
