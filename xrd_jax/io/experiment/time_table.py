"""A table of times: when each pattern began, and when it ended or how long it took."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import side_table
from xrd_jax.io.experiment.stack import Timestamp
from xrd_jax.io.parsing import dates, timestamps

# Names of columns, without punctuation, the clearest first.
_STARTS = ("starttime", "start", "begin", "startdate", "datetime", "timestamp", "time", "date")
_ENDS = ("endtime", "end", "stoptime", "stop", "enddate")
_EXPOSURES = ("exposure", "exposuretime", "exposures")
_MIN_EPOCH = 3e8  # s: more than the log's own clock ever counts, so seconds since 1970


def read_time_table(path: Path, names: Sequence[str], numbers: Int[np.ndarray, " T"] | None) -> list[Timestamp]:
    """Read when each of `names` was taken, from a csv with a row per pattern.

    A column 'file' or 'number' says which pattern a row belongs to, 'start_time' and 'end_time' hold seconds on the
    log's clock or dates, 'exposure' seconds.

    Args:
      numbers: in the names of files, where the session says how to find them.
    """
    table = side_table.read_table(path)
    start, end, exposure = (table.find(aliases) for aliases in (_STARTS, _ENDS, _EXPOSURES))
    if start is None and end is None:
        raise UserError(f"{path}: has no column 'start_time'; add one with seconds on the log's clock or dates")
    rows = table.rows_of(names, numbers)
    if missing := [name for name, row in zip(names, rows, strict=True) if row is None]:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise UserError(f"{path}: no row for {shown}; add one per pattern")
    cells = {column: [table.columns[column][row] for row in rows if row is not None]
             for column in (start, end, exposure) if column is not None}  # fmt: skip
    begins, ends = (_moments(cells[column], names, f"{path}: {column}") if column else [None] * len(names)
                    for column in (start, end))  # fmt: skip
    lengths = [float(cell) for cell in _finite(cells[exposure], path)] if exposure else [None] * len(names)
    return [_stamp(*values) for values in zip(begins, ends, lengths, strict=True)]


def _stamp(
    begin: float | datetime.datetime | None, end: float | datetime.datetime | None, length: float | None
) -> Timestamp:
    if isinstance(begin, float) and isinstance(end, float):
        length = end - begin
    if begin is None and isinstance(end, float) and length is not None:
        begin = end - length
    if isinstance(begin, float):
        return Timestamp(None, None, begin, length)
    return Timestamp(begin, end if isinstance(end, datetime.datetime) else None, None, length)


def _finite(cells: Sequence[str], path: Path) -> Sequence[str]:
    if not side_table.are_numbers(cells):
        raise UserError(f"{path}: column 'exposure' holds what is no number of seconds; mend it")
    return cells


def _moments(cells: Sequence[str], names: Sequence[str], place: str) -> list[float | datetime.datetime]:
    """Return seconds on the log's clock, or dates with day and month as the whole column tells their order."""
    seconds = {i: float(cell) for i, cell in enumerate(cells) if side_table.are_numbers([cell])}
    moments: dict[int, float | datetime.datetime] = {i: value for i, value in seconds.items() if value < _MIN_EPOCH}
    others = [i for i in range(len(cells)) if i not in moments]
    written = _dates([cells[i] for i in others], [f"{place} of {names[i]}" for i in others])
    moments |= dict(zip(others, written, strict=True))
    return [moments[i] for i in range(len(cells))]


def _dates(cells: Sequence[str], places: Sequence[str]) -> list[datetime.datetime]:
    try:
        return [datetime.datetime.fromisoformat(cell) for cell in cells]
    except ValueError:
        parsed = [dates.parse_date(cell) for cell in cells]
    remedy = "write 2024-02-28T10:27:22"
    for cell, date, place in zip(cells, parsed, places, strict=True):
        if date is None:
            raise UserError(f"{place}, '{cell[:40]}', is neither seconds nor a date; {remedy}")
    clock = timestamps.resolve(np.array(parsed, dtype=dates.RECORD))
    moments = [] if clock is None else [clock.to_datetime(float(second)) for second in clock.seconds]
    known = [moment for moment in moments if moment is not None]
    if len(known) < len(cells):
        raise UserError(f"{places[0]}, '{cells[0][:40]}', can be read day first or month first; {remedy}")
    return known
