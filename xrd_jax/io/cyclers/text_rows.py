"""Text files, in whatever code page, as numbered lines and rows of cells."""

import codecs
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import read_head

# A row of a thousand columns fits many times; a file without line ends is no table and must not fill the memory.
MAX_LINE_LENGTH = 1 << 20
_MIN_ROWS = 20  # fewer do not tell how many decimals the last column has
_CHINESE_VOLTAGE = "电压"  # by which a Chinese export in its own code page is known

Lines = Iterator[tuple[int, str]]  # number in the file, counted from 1, and text
Rows = Iterator[tuple[int, list[str]]]  # number in the file and cells


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


def notes_on_end(path: Path) -> tuple[str, ...]:
    """Return a note where the file's last line has no end, as after a copy that was cut short."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 4))
        tail = file.read().rstrip(b"\x00\x1a")
    is_whole = tail.endswith((b"\n", b"\r"))
    return () if is_whole else ("the file ends within a line, so its last row may be cut",)


def split_cells(line: str, separator: str) -> list[str]:
    """Return the cells of one line, quotes taken off."""
    line = line.rstrip("\r\n\x1a")
    if '"' not in line:
        return line.split(separator)
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def split_rows(lines: Lines, separator: str, width: int, path: Path) -> Rows:
    """Yield rows of `width` cells but blank ones; a row of another width or cut within its last number is refused."""
    decimals: set[int] = set()
    last_line, count = "", 0
    pending: tuple[int, list[str]] | None = None
    for number, line in lines:
        last_line = line
        row = split_cells(line, separator)
        while len(row) > width and not row[-1].strip():
            row.pop()
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != width:
            raise _damaged_row(path, number, len(row), width)
        if pending is not None:
            yield pending
            if len(decimals) < 2:
                decimals.add(_count_decimals(pending[1][-1]))
        pending, count = (number, row), count + 1
    if pending is None:
        return
    # A last number with fewer decimals than all before it, and no line end behind it, was cut.
    is_cut = not last_line.endswith("\n") and _count_decimals(pending[1][-1]) < min(decimals, default=0)
    if count >= _MIN_ROWS and len(decimals) == 1 and is_cut:
        raise _damaged_row(path, pending[0], width, width)
    yield pending


def _count_decimals(cell: str) -> int:
    return len(cell.strip().replace(",", ".").partition(".")[2])


def _damaged_row(path: Path, number: int, cells: int, width: int) -> UserError:
    return UserError(
        f"{path}: row {number} is cut or damaged ({cells} of {width} columns); delete the row if it is the last, or "
        "export the file again"
    )


def unique_names(names: Sequence[str]) -> list[str]:
    """Return stripped names, told apart by a count where the file repeats one."""
    counts: dict[str, int] = {}
    unique = []
    for name in (name.strip() for name in names):
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return unique
