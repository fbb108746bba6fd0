"""Logs as delimited text: Arbin, Basytec, BDF, Maccor, Neware, Novonix, PEC and any other with named columns."""

import contextlib
import itertools
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import choose_columns
from xrd_jax.io.cyclers.header import Header, column_names, names_with_units, read_preamble
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import Lines, TableLines, numbered_lines, open_text, split_cells, split_rows
from xrd_jax.io.parsing.dates import is_date, parse_duration
from xrd_jax.io.parsing.text import is_text

_NUMBER = re.compile(r"[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?")
_SEPARATORS = ("\t", ";", ",", "|")
# Lines and characters among which the names of the columns are looked for, and the most columns that a log has.
_MAX_HEADER_LINES, _MAX_HEADER_LENGTH, _MAX_COLUMNS = 2000, 8 << 20, 2000


def is_log(head: bytes, path: Path) -> bool:
    """Return True for text that names the columns of a log within its first lines."""
    if not is_text(head):
        return False
    with contextlib.suppress(UserError), open_text(path) as file:
        return _find_header(numbered_lines(file, path), ()) is not None
    return False


def read(
    path: Path, columns: Mapping[str, str] | None = None, units: Mapping[str, str] | None = None, unsigned: bool = False
) -> CyclerLog:
    """Read a log by the names of its columns, whatever stands before them.

    Columns that are all named by numbers are those at these places, counted from 1, of a table without names.

    The start comes from a column of dates, else from a line 'Started: …' or 'Start of Test: …' before the names.
    For `columns` and `units` see `xrd_jax.io.cyclers.read_table`; `unsigned` currents may have no sign.
    """
    columns, units = columns or {}, units or {}
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        if columns and all(name.isdecimal() for name in columns.values()):
            header, first_row = _first_row(lines, [int(name) for name in columns.values()])
            lines = itertools.chain(first_row, lines)
        else:
            header = _find_header(lines, columns.values())
        if header is None:
            wanted = f"the columns {', '.join(columns.values())}" if columns else "columns of time, voltage and current"
            remedy = "check the file or name its columns: columns = { time = … }"
            raise UserError(f"{path}: no line names {wanted}; {remedy}")
        names, separator = header.names, header.separator
        roles = choose_columns(names, columns, units, path)
        first = next(lines, None)
        if first is not None:
            with_units = names_with_units(names, split_cells(first[1], separator))
            if with_units is None:
                lines = itertools.chain([first], lines)
            else:
                columns = {role: with_units[names.index(name)] for role, name in columns.items()}
                names = with_units
                roles = choose_columns(names, columns, units, path)
        notes: list[str] = []
        rows = split_rows(TableLines(lines, separator, len(names)), path, notes)
        parsed = table.from_rows(rows, names, roles, path, decimal_comma=separator != ",")
    return cycler_log(parsed, path, read_preamble(header.preamble, unsigned), notes)


def _first_row(lines: Lines, places: Collection[int]) -> tuple[Header | None, list[tuple[int, str]]]:
    """Return columns named '1', '2', … and the first line that has values at all `places`, for tables without names."""
    for number, line in itertools.islice(lines, _MAX_HEADER_LINES):
        for separator in _SEPARATORS:
            cells = split_cells(line, separator)
            if max(places) <= len(cells) <= _MAX_COLUMNS and all(_is_value(cells[place - 1]) for place in places):
                return Header([], number, [str(k + 1) for k in range(len(cells))], separator), [(number, line)]
    return None, []


def _is_value(cell: str) -> bool:
    return parse_duration(cell) is not None or is_date(cell) or bool(_NUMBER.fullmatch(cell.strip()[:40]))


def _find_header(lines: Lines, wanted: Collection[str]) -> Header | None:
    """Return the first line that names a log's columns, or all that are `wanted`; `lines` stand behind it then."""
    preamble: list[str] = []
    length = 0
    for number, line in itertools.islice(lines, _MAX_HEADER_LINES):
        length += len(line)
        if length > _MAX_HEADER_LENGTH:
            return None
        best: Header | None = None
        for separator in _SEPARATORS:
            if not 0 < line.count(separator) < _MAX_COLUMNS:
                continue
            names = column_names(split_cells(line, separator), wanted)
            if names is not None and (best is None or len(names) > len(best.names)):
                best = Header(preamble, number, names, separator)
        if best is not None:
            return best
        preamble.append(line.rstrip("\n"))
    return None
