"""Numbers in columns of text: where they begin, what parts them, and the rows themselves.

Most files are numbers from the first row to the last; those take one C call. Everything else is read row by row.
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError

COMMENTS = ("#", "'", "/*", "*/", "!", ";", "%", "//", '"')
_MAX_LISTED = 4 * 2**20  # texts up to this length are split into a list of rows, longer ones read row by row
_MAX_ROW = 10_000
_MAX_REMARKS, _MAX_REMARK = 20_000, 500
_MAX_HEADER_LINES = 1000
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_POINT_IN_ROW = re.compile(r"^(?!\s*[#'!;%/*\"])[^\n]*\.", re.MULTILINE)


class Start(NamedTuple):
    """The first row of numbers: the lines before it, its place in the text, its line from 1, and its text."""

    header: list[str]
    offset: int
    line: int
    row: str
    announced: int | None = None  # how many rows the header of a .chi file announces


class Table(NamedTuple):
    """Numbers [R, C], the line of each row from 1, rows before which something else stood, and what it was."""

    values: Float[np.ndarray, "R C"]
    lines: Sequence[int]
    breaks: Sequence[int] = ()
    remarks: dict[int, list[str]] = {}  # noqa: RUF012 - never changed


def find_start(text: str, path: Path) -> Start:
    """Find the first row of numbers; `UserError` where there is none, or half a row before it."""
    if text[:1] in "+-.0123456789" and "\n" in text[:200] and _is_row(text[: text.index("\n")]):
        lines = text[:_MAX_ROW].split("\n", 5)
        if len(lines) < 5 or _is_row(lines[1]):
            return Start([], 0, 1, lines[0])
    *chi_header, row = [line.strip() for line in text[: 5 * _MAX_ROW].split("\n", 5)[:5]]
    is_chi = len(chi_header) == 4 and re.fullmatch(r"\d{1,9}", chi_header[3]) and _is_row(row)
    if is_chi and not (_is_row(chi_header[0]) and _is_row(chi_header[1])):
        offset = sum(len(line) + 1 for line in text.split("\n", 4)[:4])
        return Start(chi_header, offset, 5, row, int(chi_header[3]))
    in_comment = False
    header: list[str] = []
    for number, (offset, line) in enumerate(_iterate_lines(text), 1):
        row = line[:_MAX_ROW].strip()
        if in_comment or not row or row.startswith(COMMENTS):
            in_comment = (in_comment or row.startswith("/*")) and "*/" not in line
        elif len(line) > _MAX_ROW:
            raise _too_long(line, number, path)
        elif _is_row(row):
            return Start(header, offset, number, row)
        elif _NUMBER.fullmatch(re.split(r"[\s,;]", row)[0]):
            fault = f"row {number} ({row[:40]!r}) is neither numbers nor words"
            raise UserError(f"{path}: {fault}; start it with # if it is a header, or export the file again")
        if len(header) < _MAX_HEADER_LINES:
            header.append(row)
    if not text.strip():
        raise UserError(f"{path}: the file is empty; copy or export it again")
    raise UserError(f"{path}: no row with two numbers; a pattern needs a position and an intensity per row")


def _iterate_lines(text: str) -> Iterator[tuple[int, str]]:
    """Offset and text of each line, without a list of all."""
    offset = 0
    while offset < len(text):
        end = text.find("\n", offset)
        end = len(text) if end < 0 else end
        yield offset, text[offset:end]
        offset = end + 1


def _is_row(line: str) -> bool:
    fields = re.split(r"[\s;]+", line.strip().rstrip(",;"))
    if len(fields) == 1:
        fields = fields[0].split(",")
    fields = [stripped for field in fields if (stripped := field.strip(","))]
    return len(fields) >= 2 and all(
        _NUMBER.fullmatch(field) or all(map(_NUMBER.fullmatch, field.split(","))) for field in fields
    )


def _too_long(line: str, number: int, path: Path) -> UserError:
    return UserError(f"{path}: row {number} is {len(line)} characters long; a pattern has two or three columns")


def find_separator(start: Start, path: Path) -> str | None:
    """Return what parts the columns: ';', ',' or None for blanks and tabs; `UserError` where commas do two things."""
    row = start.row.strip()
    if ";" in row:
        return ";"
    if re.search(r"\s", row) and not re.search(r",\s|\s,", row):
        return None
    if row.rstrip(",").count(",") > 2 and "." not in row:
        fault = "has over three columns, or uses commas both to part columns and as decimal marks"
        remedy = "part two or three columns by tabs or semicolons"
        raise UserError(f"{path}: row {start.line} ('{row[:40]}') {fault}; {remedy}")
    return ","


def parse_table(body: str, start: Start, separator: str | None, path: Path) -> Table:
    """Read the text from the first row on, in one C call where every line is a row of equal length."""
    # A separator at the end of each row makes no column.
    suffix = separator if separator is not None and start.row.rstrip().endswith(separator) else ""
    if separator != "," and "," in body:
        if "." in body and _POINT_IN_ROW.search(body):
            raise UserError(f"{path}: numbers have both decimal points and commas; use one decimal mark throughout")
        body = body.replace(",", ".")
    lines: list[str] | Iterator[str] = (
        body.split("\n") if len(body) <= _MAX_LISTED else (line for _, line in _iterate_lines(body))
    )
    if suffix:
        lines = [line.rstrip().removesuffix(suffix) for line in lines]
    count = body.count("\n") + 1
    try:
        values = np.loadtxt(lines, delimiter=separator, comments=None, ndmin=2)
    except ValueError:
        values = np.empty((0, 2))
    if len(values) == count:
        return Table(values, range(start.line, start.line + count))
    # Blank lines, comments, a header written again above a second block, or a row at fault.
    return _parse_rows(body, start, separator, suffix, path)


def is_remark(row: str, header: set[str]) -> bool:
    """Return whether a stripped row is blank, a comment, or a line of the header again."""
    return not row or row.startswith(COMMENTS) or row in header


def _parse_rows(body: str, start: Start, separator: str | None, suffix: str, path: Path) -> Table:
    """The same values row by row, or a `UserError` that names the row at fault."""
    header = {line.strip() for line in start.header}
    values, lines, breaks = array("d"), array("q"), array("q")
    remarks: dict[int, list[str]] = {}
    width = remark_count = 0
    for number, (_, line) in enumerate(_iterate_lines(body), start.line):
        row = line[:_MAX_ROW].strip()
        if is_remark(row, header):
            if not breaks or breaks[-1] != len(lines):
                breaks.append(len(lines))
            if row and remark_count < _MAX_REMARKS:
                remark_count += 1
                remarks.setdefault(len(lines), []).append(row[:_MAX_REMARK])
            continue
        if len(line) > _MAX_ROW:
            raise _too_long(line, number, path)
        fields = row.removesuffix(suffix).split(separator)
        for field in fields:
            if "," in field or not _NUMBER.fullmatch(field.strip()):
                fault = f"{field.strip()[:40]!r} is not a number"
                raise UserError(f"{path}: row {number}: {fault}; mend the row or export the file again")
        if width and len(fields) != width:
            count = f"{len(fields)} column{'s' * (len(fields) > 1)} where the first has {width}"
            raise UserError(f"{path}: row {number} has {count}; the file is cut or damaged: copy or export it again")
        width = len(fields)
        values.extend(map(float, fields))
        lines.append(number)
    return Table(np.frombuffer(values).reshape(-1, width), lines, breaks, remarks)
