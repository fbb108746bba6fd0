"""What a battery cycler recorded, and the half cycles that the sign of its current tells apart."""

import dataclasses
import datetime
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

from xrd_jax.errors import UserError

REST_SHARE = 1e-3  # of the largest current: less is a rest
MIN_CHARGE_SHARE = 1e-3  # of the charge of the largest half cycle: what passes less is a stub


@dataclasses.dataclass(frozen=True)
class RowClock:
    """The two clocks of a log [R] whose rows state dates without a zone; `row_clock.in_zone` reads them anew in one."""

    dates: np.ndarray  # s since 1970 as the clock on the wall shows them
    elapsed: np.ndarray | None  # s of test time, which stands still in a pause; None where there are only dates
    zero: float = 0.0  # time of the first row in s, for a log of dates alone
    notes: tuple[str, ...] = ()  # those of the log that are about the dates


@dataclasses.dataclass(frozen=True)
class CyclerLog:
    """One log, a value [R] per recorded row."""

    time: np.ndarray  # s on the log's own clock, never falling
    voltage: np.ndarray  # of the terminals, in V
    # A, positive as the cycler counts it: derived from the charge where the log has no current; all NaN without either.
    current: np.ndarray
    capacity: np.ndarray  # charge passed since the start, in Ah; NaN as the current is
    half_cycle: np.ndarray | None  # as the cycler numbers it, or None; `half_cycles` does not rely on it
    columns: Mapping[str, np.ndarray]  # every numeric column by its name in the file
    start: datetime.datetime | None = None  # when `time` was 0, with a zone only if the file states one
    notes: tuple[str, ...] = ()  # plain sentences about what the reader had to do
    format: str = ""  # name of the reader
    clock: RowClock | None = None


@dataclasses.dataclass(frozen=True)
class HalfCycles:
    """Charges and discharges in time order; rests inside one belong to it, rests between two belong to neither.

    The last half cycle ends where the log does: the halves of one that was cut short are those of the observed part.
    """

    begin: Float[np.ndarray, "H"]  # s on the log's clock
    end: Float[np.ndarray, "H"]
    is_charge: Bool[np.ndarray, "H"]

    def index(self, time: Float[np.ndarray, "T"]) -> Int[np.ndarray, "T"]:
        """Return the half cycle at each time, -1 at rest and outside the log."""
        index = np.searchsorted(self.begin, time, side="right") - 1
        return np.where((index >= 0) & (time <= self.end[index]), index, -1)

    def mode(self, time: Float[np.ndarray, "T"]) -> Int[np.ndarray, "T"]:
        """Return the class of `HALF_CYCLE_MODES`: direction and half in time; -1 at rest and outside the log."""
        index = self.index(time)
        is_second_half = time >= (self.begin[index] + self.end[index]) / 2
        return np.where(index < 0, -1, 2 * ~self.is_charge[index] + is_second_half).astype(np.int32)

    def cycle(self, time: Float[np.ndarray, "T"]) -> Int[np.ndarray, "T"]:
        """Return the cycle from 0: half cycles in pairs from the first, rests counted with the one before them."""
        begun = np.searchsorted(self.begin, time, side="right") - 1
        return (np.maximum(begun, 0) // 2).astype(np.int32)


def half_cycles(
    time: Float[np.ndarray, "R"], current: Float[np.ndarray, "R"], longest_gap: float = np.inf
) -> HalfCycles:
    """Return half cycles from the sign of the current.

    Runs of one sign are joined across rests, so pulses with rests between them (GITT) are one half cycle. Runs of a
    single row, and runs that pass less than `MIN_CHARGE_SHARE` of the charge of the largest, are stubs and are ignored.

    Args:
      time: [R] s, never falling.
      current: [R] A, positive on charge; row r is taken as the current since row r - 1.
      longest_gap: the step from one half cycle to the next is counted with the next unless longer than this, in s.

    Raises:
      UserError: no current ever flows.
    """
    largest = np.max(np.abs(current), initial=0.0)
    sign = np.where(np.abs(current) > REST_SHARE * largest, np.sign(current), 0).astype(int)
    rows = np.flatnonzero(sign)
    if not rows.size:
        raise UserError("the log has no current, so it has no half cycles; leave out targets made from them")
    charge_per_row = np.abs(current) * np.minimum(np.diff(time, prepend=time[0]), longest_gap)
    runs = _runs(rows, sign)
    # Without the first row of a run: the step that leads to it may be a gap in the log.
    charge = [float(charge_per_row[run[1:]].sum()) for run in runs]
    min_charge = MIN_CHARGE_SHARE * max(charge)
    runs = [run for run, passed in zip(runs, charge, strict=True) if run.size > 1 and passed > min_charge]
    if not runs:
        raise UserError("the log has no half cycle of more than one row; export the whole log")
    runs = _runs(np.concatenate(runs), sign)
    begin, end = np.array([time[run[0]] for run in runs]), np.array([time[run[-1]] for run in runs])
    for k in range(1, len(runs)):
        between = sign[runs[k - 1][-1] + 1 : runs[k][0]]
        if not np.any(between == 0) and begin[k] - end[k - 1] <= longest_gap:
            begin[k] = end[k - 1]
    return HalfCycles(begin, end, np.array([sign[run[0]] > 0 for run in runs]))


def _runs(rows: np.ndarray, sign: np.ndarray) -> list[np.ndarray]:
    """Return `rows` cut wherever the sign changes."""
    return np.split(rows, np.flatnonzero(np.diff(sign[rows])) + 1)
