"""Text files, in whatever code page, as numbered lines and rows of cells."""

import codecs
import collections
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import read_head

# A row of a thousand columns fits many times; a file without line ends is no table and must not fill the memory.
MAX_LINE_LENGTH = 1 << 20
_MIN_ROWS, _MAX_COMPARED = 20, 200  # fewer do not tell how many decimals the last column has; more tell no more
_DIGITS = re.compile(r"\d+(?:[eE][+-]?\d+)?")
_CHINESE_VOLTAGE = "电压"  # by which a Chinese export in its own code page is known

Lines = Iterator[tuple[int, str]]  # number in the file, counted from 1, and text
Rows = Iterator[tuple[int, list[str]]]  # number in the file and cells


class TableLines(NamedTuple):
    """The lines below the names of the columns."""

    lines: Lines
    separator: str
    width: int  # how many columns have a name


def open_text(path: Path) -> IO[str]:
    """Open text with '\\n' line ends: UTF-16 by its mark, else UTF-8, else the code page that takes any byte."""
    head = read_head(path)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return path.open(encoding="utf-16", errors="replace")
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            if _CHINESE_VOLTAGE in head.decode("gb18030", errors="replace"):
                return path.open(encoding="gb18030", errors="replace")
            return path.open(encoding="latin-1")
    return path.open(encoding="utf-8-sig")


def numbered_lines(file: IO[str], path: Path) -> Lines:
    """Yield lines with their numbers; refuse one that is longer than any table's."""
    for number in itertools.count(1):
        line = file.readline(MAX_LINE_LENGTH)
        if not line:
            return
        if len(line) >= MAX_LINE_LENGTH:
            length = f"longer than {MAX_LINE_LENGTH} characters"
            raise UserError(f"{path}: line {number} is {length}; this is no table of rows")
        yield number, line


def split_cells(line: str, separator: str) -> list[str]:
    """Return the cells of one line, quotes taken off."""
    line = line.rstrip("\r\n\x1a")
    if '"' not in line:
        return line.split(separator)
    try:
        cells = next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)
    # Some programs put quotes around a row instead of around its cells.
    return split_cells(cells[0], separator) if len(cells) == 1 and separator in cells[0] else cells


def split_rows(table_lines: TableLines, path: Path, notes: list[str]) -> Rows:
    """Yield rows of `width` cells but blank ones; a row of another width is refused.

    A last row that has no line end, as while it is being written, is left out where it is not whole, with a note.
    """
    last_cells: collections.deque[str] = collections.deque(maxlen=_MAX_COMPARED)
    width, separator = table_lines.width, table_lines.separator
    for number, line in table_lines.lines:
        row = split_cells(line, separator)
        while len(row) > width and not row[-1].strip():
            row.pop()
        if not any(cell.strip("\x00 \t") for cell in row):
            continue
        is_unfinished = not line.endswith("\n")
        if is_unfinished and last_cells and (len(row) < width or (len(row) == width and _is_cut(row[-1], last_cells))):
            notes.append(f"row {number}, the last, is half written and was left out")
            return
        if len(row) != width:
            raise UserError(
                f"{path}: row {number} is cut or damaged ({len(row)} of {width} columns); delete the row if it is the "
                "last, or export the file again"
            )
        if is_unfinished:
            notes.append("the file ends within a line, so its last row may be cut")
        last_cells.append(row[-1])
        yield number, row


def _is_cut(cell: str, others: Sequence[str]) -> bool:
    """Return whether a cell without a line end lacks what all before it share: decimals, or a part of a date."""
    shapes = {_shape(other) for other in others}
    if not cell.strip():
        return any(shapes)
    if len(shapes) != 1 or len(others) < _MIN_ROWS:
        return False
    [shape] = shapes
    decimals = {len(other.strip().replace(",", ".").partition(".")[2]) for other in others}
    is_shorter = len(decimals) == 1 and len(cell.strip().replace(",", ".").partition(".")[2]) < min(decimals)
    return is_shorter or (_shape(cell) != shape and shape.startswith(_shape(cell)))


def _shape(cell: str) -> str:
    """Return a cell without its sign and with every number as 0, such as 0-0-0 0:0."""
    return _DIGITS.sub("0", cell.strip().lstrip("+-"))


def unique_names(names: Sequence[str]) -> list[str]:
    """Return stripped names, told apart by a count where the file repeats one."""
    counts: dict[str, int] = {}
    unique = []
    for name in (name.strip() for name in names):
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return unique
