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
from xrd_jax.io.patterns.pattern import CUT

COMMENTS = ("#", "'", "/*", "*/", "!", ";", "%", "//", '"')
_WORD_MARKS = "[(<{*_&$@=-~|"  # with which a line of words may begin
_SEARCHED = 20_000  # characters in which a decimal point is looked for
_MAX_LISTED = 4 * 2**20  # texts up to this length are split into a list of rows, longer ones read row by row
_MAX_ROW = 10_000
_MAX_REMARKS, _MAX_REMARK = 20_000, 500
_MAX_HEADER_LINES = 1000
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_COMMA_IN_ROW = re.compile(r"^(?!\s*[#'!;%/*\"])\s*[+-]?\d[^\n]*,", re.MULTILINE)
_POINT_IN_ROW = re.compile(r"^(?!\s*[#'!;%/*\"])\s*[+-]?[\d.][^\n]*\.", re.MULTILINE)


class Start(NamedTuple):
    """The first row of numbers: the lines before it, its place in the text, its line from 1, and its text."""

    header: list[str]
    offset: int
    line: int
    row: str
    announced: int | None = None  # how many rows the header announces
    title: str = ""  # of the axis, in a .chi file


class Table(NamedTuple):
    """Numbers [R, C], the line of each row from 1, rows before which something else stood, and what it was."""

    values: Float[np.ndarray, "R C"]
    lines: Sequence[int]
    breaks: Sequence[int] = ()
    remarks: dict[int, list[str]] = {}  # noqa: RUF012 - never changed
    words: dict[int, tuple[int, str]] = {}  # noqa: RUF012 - rows before which bare words stand: their line and text
    notes: tuple[str, ...] = ()


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
        return Start(chi_header, offset, 5, row, int(chi_header[3]), chi_header[1])
    in_comment, doubtful = False, None
    header: list[str] = []
    for number, (offset, line) in enumerate(_iterate_lines(text), 1):
        row = line[:_MAX_ROW].strip()
        if in_comment or not row or row.startswith(COMMENTS):
            in_comment = (in_comment or row.startswith("/*")) and "*/" not in line
        elif len(line) > _MAX_ROW:
            raise _too_long(line, number, path)
        elif _is_row(row):
            announced = None
            if doubtful is not None and doubtful[0] == number - 1:  # right above the numbers: half a row, or a count
                if not re.fullmatch(r"\d{2,9}", doubtful[1]):
                    fault = f"row {doubtful[0]} ({doubtful[1][:40]!r}) is neither numbers nor words"
                    raise UserError(f"{path}: {fault}; start it with # if it is a header, or export the file again")
                announced = int(doubtful[1])
            return Start(header, offset, number, row, announced)
        elif _NUMBER.fullmatch(re.split(r"[\s,;]", row)[0]):
            doubtful = number, row
        if len(header) < _MAX_HEADER_LINES:
            header.append(line[:_MAX_ROW].rstrip())  # a separator in front is an empty heading
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


def find_separator(start: Start, body: str, path: Path) -> str | None:
    """Return what parts the columns: ';', ',' or None for blanks and tabs; `UserError` where commas do two things."""
    row = start.row.strip()
    if ";" in row:
        return ";"
    if re.search(r"\s", row) and not re.search(r",\s|\s,", row):
        return None
    commas = row.rstrip(",").count(",")
    has_points = _POINT_IN_ROW.search(body, 0, _SEARCHED) is not None  # then no comma is a decimal mark
    if commas > 2 and not has_points and not any(line.count(",") == row.count(",") for line in start.header):
        fault = "has over three columns, or uses commas both to part columns and as decimal marks"
        remedy = "part the columns by tabs or semicolons, or name each in the line above"
        raise UserError(f"{path}: row {start.line} ('{row[:40]}') {fault}; {remedy}")
    return ","


def parse_table(body: str, start: Start, separator: str | None, path: Path, is_ended: bool) -> Table:
    """Read the text from the first row on, in one C call where every line is a row of equal length.

    A last row at fault is left out, with a note, where the text is not ended by a line end.
    """
    # A separator at the end of each row makes no column.
    suffix = separator if separator is not None and start.row.rstrip().endswith(separator) else ""
    has_decimal_commas = separator != "," and "," in body and _COMMA_IN_ROW.search(body) is not None
    if has_decimal_commas and "." in body and _POINT_IN_ROW.search(body):
        raise UserError(f"{path}: numbers have both decimal points and commas; use one decimal mark throughout")
    text = body.replace(",", ".") if has_decimal_commas else body
    lines: list[str] | Iterator[str] = (
        text.split("\n") if len(text) <= _MAX_LISTED else (line for _, line in _iterate_lines(text))
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
    # Blank lines, comments, a header written again above a second block, words, or a row at fault.
    return _RowParser(start, separator, suffix, has_decimal_commas, path).parse(body, is_ended)


def is_remark(row: str, header: set[str]) -> bool:
    """Return whether a stripped row is blank, a comment, or a line of the header again."""
    return not row or row.startswith(COMMENTS) or row in header


class _RowParser:
    """The same values row by row, or a `UserError` that names the row at fault."""

    def __init__(self, start: Start, separator: str | None, suffix: str, has_decimal_commas: bool, path: Path):
        self._separator, self._suffix, self._has_decimal_commas = separator, suffix, has_decimal_commas
        self._line, self._path = start.line, path
        self._header = {line.strip() for line in start.header}
        self._values, self._lines, self._breaks = array("d"), array("q"), array("q")
        self._remarks: dict[int, list[str]] = {}
        self._words: dict[int, tuple[int, str]] = {}  # rows before which bare words stand: their line and text
        self._width = self._remark_count = 0

    def parse(self, body: str, is_ended: bool) -> Table:
        notes: tuple[str, ...] = ()
        last = self._line + body.count("\n")
        for number, (_, line) in enumerate(_iterate_lines(body), self._line):
            row = line[:_MAX_ROW].strip()
            if is_remark(row, self._header):
                self._add_remark(row)
                continue
            if len(line) > _MAX_ROW:
                raise _too_long(line, number, self._path)
            fields = self._fields(row)
            if (row[0].isalpha() or row[0] in _WORD_MARKS) and not any(map(_NUMBER.fullmatch, fields)):
                self._words.setdefault(len(self._lines), (number, row))
                self._add_remark(row)
                continue
            if fault := self._find_fault(fields, number):
                if self._words and len(fields) != self._width and len(self._lines) in self._words:
                    word_line, words = self._words[len(self._lines)]
                    notes = (f"from row {word_line} ({words[:40]}) on there is another table, which was left out",)
                    break
                if number == last and not is_ended and len(self._lines) > 1:
                    notes = (f"the last row is half written and was left out: the file {CUT}",)
                    break
                raise UserError(f"{self._path}: row {number}{fault}")
            self._width = len(fields)
            self._values.extend(map(float, fields))
            self._lines.append(number)
        values = np.frombuffer(self._values).reshape(-1, self._width or 1)
        return Table(values, self._lines, self._breaks, self._remarks, self._words, notes)

    def _add_remark(self, row: str) -> None:
        if not self._breaks or self._breaks[-1] != len(self._lines):
            self._breaks.append(len(self._lines))
        if row and self._remark_count < _MAX_REMARKS:
            self._remark_count += 1
            self._remarks.setdefault(len(self._lines), []).append(row[:_MAX_REMARK])

    def _fields(self, row: str) -> list[str]:
        row = row.replace(",", ".") if self._has_decimal_commas else row
        return [field.strip() for field in row.removesuffix(self._suffix).split(self._separator)]

    def _find_fault(self, fields: list[str], number: int) -> str:
        for field in fields:
            if "," in field or not _NUMBER.fullmatch(field):
                return f": {field[:40]!r} is not a number; mend the row or export the file again"
        if self._width and len(fields) != self._width:
            count = f"{len(fields)} column{'s' * (len(fields) > 1)} where the first has {self._width}"
            return f" has {count}; the file is cut or damaged: copy or export it again"
        return ""
