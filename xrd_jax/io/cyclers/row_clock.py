"""The clock of a log whose rows state dates: in a pause the test's own time stands still, and the dates go on."""

import dataclasses
import datetime

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.log import CyclerLog, RowClock
from xrd_jax.io.parsing import timestamps
from xrd_jax.io.parsing.timestamps import EPOCH, Timestamps

_MIN_PAUSE = 5.0  # s by which dates and test time part in one step before this is a pause, or a clock that was set
_HOUR = 3600.0
_MIN_PART, _MAX_PARTS = 20, 200  # rows whose median tells a drift, and how often
_MIN_ROWS = 4  # fewer could stand in any ratio by chance
_MAX_RATIO_ERROR = 0.02
_MIN_STEP, _MIN_SHARE = 20.0, 0.9  # s: steps whose length whole seconds tell to 5 %, and how many of them must agree
# What a test time in one unit is to another: ms, min, h, d to s, and between them.
_RATIOS = np.array([ratio**sign for ratio in (1e3, 1e6, 60.0, 3600.0, 86400.0, 24.0, 1440.0) for sign in (1, -1)])
_GRAINS = (86400.0, 3600.0, 60.0)  # s: what dates are cut to in some exports


def unit_ratio(elapsed: Float[np.ndarray, "R"], dates: Float[np.ndarray, "R"]) -> float:
    """Return the ratio of two units in which dates [R] run to the test time [R], 1 where none does.

    From the first row to the last, or, as in a log that was paused too, in nearly every step.
    """
    lapse, passed = elapsed - elapsed[0], dates - dates[0]
    if elapsed.size < _MIN_ROWS or lapse[-1] <= 0 or passed[-1] <= _MIN_PAUSE:
        return 1.0
    ratio = _nearest_ratio(passed[-1] / lapse[-1])
    wrong = float(np.abs(passed - ratio * lapse).max())
    if wrong <= max(_MAX_RATIO_ERROR * passed[-1], grain_of(dates, elapsed)):
        return ratio
    is_long = (np.diff(dates) >= _MIN_STEP) & (np.diff(elapsed) > 0)
    ratios = np.diff(dates)[is_long] / np.diff(elapsed)[is_long]
    if ratios.size < _MIN_ROWS:
        return 1.0
    ratio = _nearest_ratio(float(np.median(ratios)))
    return ratio if np.mean(np.abs(ratios / ratio - 1) <= 1 / _MIN_STEP) >= _MIN_SHARE else 1.0


def _nearest_ratio(ratio: float) -> float:
    return float(_RATIOS[np.argmin(np.abs(np.log(_RATIOS / ratio)))])


def grain_of(dates: Float[np.ndarray, "R"], elapsed: Float[np.ndarray, "R"]) -> float:
    """Return the s to which dates are rounded or cut: 1, or more where they stand still while the test goes on."""
    steps = np.diff(dates)
    if ((steps == 0) & (np.diff(elapsed) > 1.0)).any() and (steps > 0).any():
        return float(max(1.0, steps[steps > 0].min()))
    return next((grain for grain in _GRAINS if not (dates % grain).any() and (elapsed % grain).any()), 1.0)


def with_dates(elapsed: np.ndarray | None, clock: Timestamps) -> tuple[np.ndarray, datetime.datetime | None, list[str]]:
    """Return time [R] in s by the dates of the rows, when it was 0, and what there is to be said.

    Test time is finer than most dates, so it counts between the rows where the two part.
    """
    if elapsed is None:
        return _dates_alone(clock)
    dates, grain = clock.seconds, grain_of(clock.seconds, elapsed)
    lag = dates - elapsed
    jump = np.diff(lag, prepend=lag[0])
    jump[np.abs(jump) <= max(_MIN_PAUSE, 1.5 * grain)] = 0.0
    is_set = (jump < 0) | _is_summer_time(dates, jump, clock)
    notes = _notes_on_set_clock(dates, np.where(is_set, jump, 0.0))
    lag = lag - np.cumsum(np.where(is_set, jump, 0.0))
    if grain > _GRAINS[-1] and np.ptp(lag) > grain / 4:
        return elapsed, None, [f"its dates are rounded to {grain:.0f} s, so the start is left open; give "
                               "[session.cycler] start"]  # fmt: skip
    pauses = np.where(is_set, 0.0, jump)
    shift = np.cumsum(pauses)
    if grain > 1.0:  # a date that is cut is too early, by least where it is latest
        runs = np.flatnonzero(np.r_[True, pauses[1:] != 0])
        latest = np.maximum.reduceat(lag, runs)
        shift = np.repeat(latest - latest[0], np.diff(np.r_[runs, lag.size]))
    rest = lag - shift
    if np.ptp(rest) > max(_MIN_PAUSE, 2 * grain):
        notes.append(f"dates and test time part little by little, by {np.ptp(rest):.0f} s; the dates were followed")
        drift = _smooth(rest)
        if np.abs(rest - drift).max() > max(_MIN_PAUSE, 2 * grain):
            start = clock.to_datetime(float(lag[0]))
            return np.maximum.accumulate(dates - float(dates[0]) + float(elapsed[0])), start, notes
        shift = shift + drift - drift[0]
    if count := np.count_nonzero(pauses):
        times = "once" if count == 1 else f"{count} times"
        notes.append(f"the test was paused {times}, for {shift[-1]:.0f} s in all, in which its dates went on and "
                     "its test time stood still; the dates were followed")  # fmt: skip
    if grain > 1.0:
        notes.append(f"its dates are cut to {grain:.0f} s; the start is as near as the rows tell")
    first = lag[0] if grain <= 1.0 else (lag - shift).max()
    return np.maximum.accumulate(elapsed + shift), clock.to_datetime(float(first)), notes


def _smooth(lag: np.ndarray) -> np.ndarray:
    """Return a lag [R] as straight lines between the medians of parts: dates hold whole seconds, and it less."""
    parts = np.array_split(np.arange(lag.size), int(np.clip(lag.size // _MIN_PART, 1, _MAX_PARTS)))
    return np.interp(np.arange(lag.size), [part.mean() for part in parts], [np.median(lag[part]) for part in parts])


def _dates_alone(clock: Timestamps) -> tuple[np.ndarray, datetime.datetime | None, list[str]]:
    """Put the hour back that local dates lose at the end of summer time."""
    steps = np.diff(clock.seconds, prepend=clock.seconds[0])
    is_set = (steps < 0) & (steps > -_HOUR) & _is_summer_time(clock.seconds, np.full(steps.size, -_HOUR), clock)
    time = clock.seconds - clock.seconds[0] + np.cumsum(np.where(is_set, _HOUR, 0.0))
    notes = _notes_on_set_clock(clock.seconds, np.where(is_set, -_HOUR, 0.0))
    return time, clock.to_datetime(float(clock.seconds[0])), notes


def _is_summer_time(dates: np.ndarray, jump: np.ndarray, clock: Timestamps) -> np.ndarray:
    """[R] True where local dates jump by an hour in the night to a Sunday, as clocks do for summer time."""
    if clock.offset is not None:
        return np.zeros(dates.size, bool)
    is_sunday = (dates // 86400 + 4) % 7 == 0  # day 0 of 1970 was a Thursday
    return (np.abs(np.abs(jump) - _HOUR) <= _MIN_PAUSE) & is_sunday & (dates % 86400 < 4.5 * _HOUR)


def _notes_on_set_clock(dates: np.ndarray, jump: np.ndarray) -> list[str]:
    return [
        f"its dates jump by {jump[row]:.0f} s at {EPOCH + datetime.timedelta(seconds=round(float(dates[row])))}, as "
        "with summer time or a clock that is set; as the test goes on, this was taken out: give zone = … to be sure"
        for row in np.flatnonzero(jump)[:3].tolist()
    ]


def in_zone(log: CyclerLog, zone: datetime.tzinfo | None, place: str) -> CyclerLog:
    """Return a log that states no zone with its dates as those of `zone`; others as they are.

    Args:
      place: opens a complaint.

    Raises:
      UserError: the zone does not have such a time, or has it twice and nothing tells which is meant.
    """
    if zone is None or log.start is None or log.start.tzinfo is not None:
        return log
    rows = log.clock or RowClock(np.array([(log.start - EPOCH).total_seconds()]), None)
    try:
        utc, is_twice = timestamps.local_to_utc(rows.dates, zone)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
    if log.clock is None:
        return dataclasses.replace(log, start=Timestamps(utc, True, 0).to_datetime(float(utc[0])))
    time, start, notes = with_dates(rows.elapsed, Timestamps(utc, True, 0))
    if count := np.count_nonzero(is_twice):
        notes.append(f"{count} rows lie in the hour that occurs twice in {zone}; their order tells which is meant")
    if start is not None and rows.elapsed is None:
        time, start = time + rows.zero, start - datetime.timedelta(seconds=rows.zero)
    others = [note for note in log.notes if note not in rows.notes]
    return dataclasses.replace(log, time=time, start=start, notes=(*others, *notes))
