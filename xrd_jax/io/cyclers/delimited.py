"""Logs as delimited text: Arbin, Basytec, BDF, Maccor, Neware, Novonix, PEC and any other with named columns."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import assemble, columns, log, table
from xrd_jax.io.parsing import dates, text

_SEPARATORS = ("\t", ";", ",", "|")
# Lines and characters among which the names of the columns are looked for.
_HEADER_LINES, _HEADER_TEXT = 2000, 8 << 20
_MOST_COLUMNS = 2000


@dataclasses.dataclass(frozen=True)
class Header:
    """Where a table begins.

    Attributes:
      lead: the lines before the names.
      line: where the names stand, counted from 1.
      names: [C] the names of the columns, told apart.
      roles: the columns that have a role.
    """

    lead: list[str]
    line: int
    names: list[str]
    separator: str
    roles: dict[str, columns.Column]


def is_log(head: bytes, path: Path) -> bool:
    """True for text whose first lines, or whose first lines that are read, hold the names of a log's columns."""
    if not text.is_text(head):
        return False
    with contextlib.suppress(UserError), table.open_text(path) as file:
        return find_header(table.lines(file, path)) is not None
    return False


def read(path: Path, unsigned: bool = False) -> log.CyclerLog:
    """Reads a log by the names of its columns, whatever stands before them.

    The start comes from a column of dates, else from a line 'Started: …' or 'Start of Test: …' before the names.

    Raises:
      UserError: naming row or column, where the file is cut or damaged or a quantity is missing.
    """
    return _read(path, {}, {}, unsigned)


def read_columns(path: Path, named: Mapping[str, str], units: Mapping[str, str]) -> log.CyclerLog:
    """Reads a log with columns chosen by role; see `xrd_jax.io.cyclers.read_table`."""
    return _read(path, named, units, False)


def _read(path: Path, named: Mapping[str, str], units: Mapping[str, str], unsigned: bool) -> log.CyclerLog:
    with table.open_text(path) as file:
        numbered = table.lines(file, path)
        header = find_header(numbered, set(named.values()))
        if header is None:
            wanted = f"the columns {', '.join(named.values())}" if named else "columns of time, voltage and current"
            raise UserError(
                f"{path}: no line names {wanted}; check the file or name its columns: columns = {{ time = … }}"
            )
        roles = header.roles | columns.chosen(header.names, named, units, path)
        first = next(numbered, None)
        names = header.names
        kept: list[tuple[int, str]] = []
        if first is not None:
            with_units = unit_row(names, table.cells(first[1], header.separator))
            if with_units is None:
                kept = [first]
            else:
                named = {role: with_units[names.index(name)] for role, name in named.items()}
                names = with_units
                roles = columns.match(names) | columns.chosen(names, named, units, path)
        cut = table.rows(itertools.chain(kept, numbered), header.separator, len(names), path)
        parsed = table.read(cut, names, roles, path, comma=header.separator != ",")
    return assemble.cycler_log(parsed, path, start_in(header.lead), unsigned=unsigned, notes=table.ending(path))


def find_header(numbered: Iterator[tuple[int, str]], wanted: set[str] | None = None) -> Header | None:
    """The first line that names a time and a voltage, or every column in `wanted`; `numbered` stands behind it then."""
    lead: list[str] = []
    seen = 0
    for number, line in itertools.islice(numbered, _HEADER_LINES):
        seen += len(line)
        if seen > _HEADER_TEXT:
            return None
        best: Header | None = None
        for separator in _SEPARATORS:
            if not 0 < line.count(separator) < _MOST_COLUMNS:
                continue
            names = strip(table.cells(line, separator))
            roles = columns.match(names)
            if wanted <= set(names) if wanted else is_header(roles):
                found = Header(lead, number, names, separator, roles)
                best = found if best is None or len(names) > len(best.names) else best
        if best is not None:
            return best
        lead.append(line.rstrip("\n"))
    return None


def is_header(roles: Mapping[str, columns.Column]) -> bool:
    """True where a time, a voltage and something that tells the current are among the columns."""
    return (
        "voltage" in roles
        and bool({"time", "step_time", "date", "unix_time"} & set(roles))
        and bool({"current", "net", "increment", "capacity", "charge_capacity"} & set(roles))
        and len({column.index for column in roles.values()}) > 2
    )


def strip(cells: list[str]) -> list[str]:
    """Names without the blank ones at the end of the line, told apart."""
    while cells and not cells[-1].strip():
        cells.pop()
    return table.unique([cell.strip().lstrip("~") for cell in cells])


def unit_row(names: list[str], cells: list[str]) -> list[str] | None:
    """Names with their units where the line behind them holds nothing but units, else None."""
    cells = [cell.strip().strip("()[]") for cell in cells][: len(names)]
    roles = columns.match([f"{name} / {unit}" if unit else name for name, unit in zip(names, cells, strict=False)])
    if len(cells) < len(names) or any(re.search(r"\d", cell) for cell in cells):
        return None
    if not {"time", "voltage"} <= {role for role, column in roles.items() if column.stated}:
        return None
    return [f"{name} / {unit}" if unit else name for name, unit in zip(names, cells, strict=True)]


def start_in(lead: list[str]) -> datetime.datetime | None:
    """When the test began as the lines before the table state it, or None."""
    for line in lead:
        found = re.match(
            r"\W*(?:Started|Start of Test|Date of Test|Start Time)\W*?:[\s,;]*(\S.*)", line[:200], re.IGNORECASE
        )
        if found and (start := dates.stamp(found.group(1).strip(" ,;\t"))) is not None:
            return start
    return None
