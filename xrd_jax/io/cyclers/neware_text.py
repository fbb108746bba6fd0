"""Neware's csv in three levels: rows of cycles, of their steps, and of the records of each step."""

import itertools
from collections.abc import Iterator
from pathlib import Path

from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import (
    Lines,
    TableLines,
    numbered_lines,
    open_text,
    split_cells,
    split_rows,
    unique_names,
)
from xrd_jax.io.parsing.text import is_text

_SEPARATORS = (",", "\t", ";")


def is_in_levels(head: bytes, path: Path) -> bool:
    """Return True where the first three lines name columns, the second after one empty cell, the third after two."""
    return is_text(head) and _separator(head.decode(errors="replace").splitlines()[:3]) is not None


def _separator(lines: list[str]) -> str | None:
    for separator in _SEPARATORS if len(lines) == 3 else ():
        cells = [[cell.strip() for cell in split_cells(line, separator)] for line in lines]
        empty = [next((i for i, cell in enumerate(row) if cell), -1) for row in cells]
        if empty == [0, 1, 2] and any(word in lines[2] for word in ("Voltage", "电压")):
            return separator
    return None


def read(path: Path) -> CyclerLog:
    """Read the records; each takes the count and the name of its step."""
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        header = [line for _, line in itertools.islice(lines, 3)]
        separator = _separator(header) or ","
        steps = [cell.strip() for cell in split_cells(header[1], separator)]
        name_at = next((i for i, name in enumerate(steps) if name in ("Step Name", "Step Type")), 1)
        record = [cell.strip() for cell in split_cells(header[2], separator)][2:]
        while not record[-1]:
            record.pop()
        names = unique_names([*record, "Step Count", "Step Name"])
        notes: list[str] = []
        below = TableLines(_records(lines, separator, (len(record), name_at)), separator, len(names))
        parsed = table.from_rows(split_rows(below, path, notes), names, match_roles(names), path, separator != ",")
    return cycler_log(parsed, path, Stated(), notes)


def _records(lines: Lines, separator: str, places: tuple[int, int]) -> Iterator[tuple[int, str]]:
    """Yield the lines of records with the count and the name of their step at the end.

    Args:
      places: how many columns a record has, and where the row of a step has its name.
    """
    width, name_at = places
    count, name = 0, ""
    for number, line in lines:
        cells = split_cells(line, separator)
        if not any(cell.strip() for cell in cells[:2]):
            end = "\n" if line.endswith("\n") else ""
            tail = [] if len(cells) < width + 2 else [str(count), name]
            yield number, separator.join([*cells[2 : 2 + width], *tail]) + end
        elif not cells[0].strip():
            count, name = count + 1, cells[name_at] if name_at < len(cells) else ""
