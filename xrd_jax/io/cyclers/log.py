"""What a battery cycler recorded, and the half cycles that the sign of its current tells apart."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import numpy as np

from xrd_jax.errors import UserError

MODES = ("charge 1st half", "charge 2nd half", "discharge 1st half", "discharge 2nd half")


@dataclasses.dataclass(frozen=True)
class CyclerLog:
    """One log, a value per recorded row.

    Attributes:
      time: [R] s on the log's own clock, never falling.
      voltage: [R] terminal voltage in V.
      current: [R] A, positive as the cycler counts it (derived from the charge where the log has no current).
      capacity: [R] charge passed since the start, in Ah.
      half_cycle: [R] half cycle as the cycler numbers it, or None; `half_cycles` does not rely on it.
      columns: every numeric column [R] by its name in the file.
      start: when `time` was 0, with a zone only if the file states one, or None.
      notes: plain sentences about what the reader had to do.
      format: name of the reader.
    """

    time: np.ndarray
    voltage: np.ndarray
    current: np.ndarray
    capacity: np.ndarray
    half_cycle: np.ndarray | None
    columns: Mapping[str, np.ndarray]
    start: datetime.datetime | None = None
    notes: tuple[str, ...] = ()
    format: str = ""


@dataclasses.dataclass(frozen=True)
class HalfCycles:
    """Charges and discharges in time order; rests inside one belong to it, rests between two belong to neither.

    Attributes:
      begin, end: [H] s on the log's clock. The last half cycle ends where the log does, so the halves of one that
        was cut short are halves of the part that was observed.
      charge: [H] True for a charge.
    """

    begin: np.ndarray
    end: np.ndarray
    charge: np.ndarray

    def index(self, time: np.ndarray) -> np.ndarray:
        """[T] half cycle at each time, -1 at rest and outside the log."""
        found = np.searchsorted(self.begin, time, side="right") - 1
        return np.where((found >= 0) & (time <= self.end[found]), found, -1)

    def mode(self, time: np.ndarray) -> np.ndarray:
        """[T] index into `MODES`: direction and first or second half in time; -1 at rest and outside the log."""
        found = self.index(time)
        later = time >= (self.begin[found] + self.end[found]) / 2
        return np.where(found < 0, -1, 2 * ~self.charge[found] + later).astype(np.int32)

    def cycle(self, time: np.ndarray) -> np.ndarray:
        """[T] cycle from 0: half cycles in pairs from the first, rests counted with the half cycle before them."""
        begun = np.searchsorted(self.begin, time, side="right") - 1
        return (np.maximum(begun, 0) // 2).astype(np.int32)


def half_cycles(
    time: np.ndarray,
    current: np.ndarray,
    longest_gap: float = np.inf,
    rest: float = 1e-3,
    negligible: float = 1e-3,
) -> HalfCycles:
    """Half cycles from the sign of the current.

    Runs of one sign are joined across rests, so pulses with rests between them (GITT) are one half cycle. Runs of a
    single row, and runs that pass less than `negligible` of the charge of the largest, are stubs and are ignored.

    Args:
      time: [R] s, never falling.
      current: [R] A, positive on charge; row r is taken as the current since row r - 1.
      longest_gap: the step from one half cycle to the next is counted with the next unless longer than this, in s.
      rest: currents below this share of the largest are a rest.

    Raises:
      UserError: no current ever flows.
    """
    largest = np.max(np.abs(current), initial=0.0)
    sign = np.where(np.abs(current) > rest * largest, np.sign(current), 0).astype(int)
    rows = np.flatnonzero(sign)
    if not rows.size:
        raise UserError("the log has no current, so it has no half cycles; leave out targets made from them")
    charge_passed = np.abs(current) * np.minimum(np.diff(time, prepend=time[0]), longest_gap)
    # Without the first row of a run: the step that leads to it may be a gap in the log.
    passed = [float(charge_passed[run[1:]].sum()) for run in _runs(rows, sign)]
    real = [
        run for run, q in zip(_runs(rows, sign), passed, strict=True) if run.size > 1 and q > negligible * max(passed)
    ]
    if not real:
        raise UserError("the log has no half cycle of more than one row; export the whole log")
    runs = _runs(np.concatenate(real), sign)
    begin, end = np.array([time[run[0]] for run in runs]), np.array([time[run[-1]] for run in runs])
    for k in range(1, len(runs)):
        between = sign[runs[k - 1][-1] + 1 : runs[k][0]]
        if not np.any(between == 0) and begin[k] - end[k - 1] <= longest_gap:
            begin[k] = end[k - 1]
    return HalfCycles(begin, end, np.array([sign[run[0]] > 0 for run in runs]))


def _runs(rows: np.ndarray, sign: np.ndarray) -> list[np.ndarray]:
    """`rows` cut wherever the sign changes."""
    return np.split(rows, np.flatnonzero(np.diff(sign[rows])) + 1)
