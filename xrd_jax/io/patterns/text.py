"""Columns of text: .xy, .xye, .dat, .csv, .chi, .txt, one scan or many, with whatever header a program writes.

Most files are numbers from the first row to the last; those take one C call. Everything else is read row by row.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.patterns import heading, pattern

COMMENTS = ("#", "'", "/*", "*/", "!", ";", "%", "//", '"')
LARGEST = 32 * 2**20
_LISTED = 4 * 2**20  # texts up to this length are split into a list of rows, longer ones read row by row
_LONGEST_ROW = 10_000
_MOST_REMARKS = 20_000
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_POINT_IN_ROW = re.compile(r"^(?!\s*[#'!;%/*\"])[^\n]*\.", re.MULTILINE)


class Table(NamedTuple):
    """Numbers [R, C], the line of each row (from 1), and the rows before which something else stood."""

    values: np.ndarray
    rows: Sequence[int]
    breaks: Sequence[int] = ()
    remarks: dict[int, list[str]] = {}  # noqa: RUF012 - never changed


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads positions, intensities and, where there are any, their uncertainties.

    Comments start with # ' /* ! ; % // or a double quote; bare header lines and the four header lines of .chi are
    skipped. Columns are parted by blanks, tabs, commas or semicolons; decimal commas are understood. Two or three
    columns are positions, intensities and uncertainties; of more, headings must say which. A falling axis is turned
    round. Blocks parted by blank lines or comments are scans; a block that only repeats the first is dropped.

    Raises:
      UserError: naming the row, where rows are ragged, cut, not numeric, not finite, negative (unless
        `allow_negative`), or where the axis does not run one way.
    """
    text = parsing_text.decode(pattern.whole_file(path, LARGEST))
    header, at, first, declared = _first_row(text, path)
    body = text[at:].rstrip()
    line = body[: body.find("\n")] if "\n" in body else body
    separator = _separator(line, path, first)
    table = _parse(body, first, separator, line.rstrip().endswith(separator or " "), {h.strip() for h in header}, path)
    if declared is not None and declared != len(table.values):
        raise UserError(
            f"{path}: the header announces {declared} rows but there are {len(table.values)}; copy the file again"
        )
    if len(table.values) < 2:
        raise UserError(f"{path}: only one row of numbers; a pattern needs at least two: export it again")
    if not text.endswith("\n"):
        tail = [row for row in body[-8192:].split("\n")[1:] if not _is_remark(row.strip(), set())]
        if parsing_text.ends_short(tail, separator):
            raise UserError(
                f"{path}: row {table.rows[-1]} ends within a number; the file is cut: copy or export it again"
            )
    scans = _scans(table, header, declared is not None, pattern.doubt_of_end(text), path, allow_negative)
    return pattern.collect(scans, path)


def _scans(
    table: Table, header: list[str], chi: bool, doubt: tuple[str, ...], path: Path, allow_negative: bool
) -> Iterator[pattern.Pattern]:
    count = table.values.shape[1]
    names = heading.labels(header, count) if header and not chi else []
    chosen = heading.columns(names, count)
    if chosen is None:
        raise UserError(
            f"{path}: row {table.rows[0]} has {_columns(count)}; keep position, intensity and, if known, its "
            "uncertainty, or name the columns in the line above"
        )
    blocks, notes = _blocks(table, path)
    for part in blocks:
        own = table.remarks.get(part.start, []) if part.start else []
        found = heading.metadata([*header, *own]) if header or own else {}
        title = header[1] if chi else ""
        kind, factor = heading.kind(names, found, title) if found else (None, 1.0)
        wavelength, doubts = heading.wavelength(found) if found else (None, ())
        start, end, exposure = heading.clock(found) if found else (None, None, None)
        columns = [0, chosen.intensity] + ([] if chosen.errors is None else [chosen.errors])
        values, turned = _checked(table, part, columns, path, allow_negative)
        if factor != 1:
            values[0] *= factor
        errors = values[2] if len(values) == 3 else None
        said = (*notes, *turned, *chosen.notes, *doubts, *doubt)
        yield pattern.Pattern(values[0], values[1], errors, kind, wavelength, start, end, exposure, found, said)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Offset and text of each line, without a list of all."""
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield at, text[at:end]
        at = end + 1


def _is_row(line: str) -> bool:
    parts = re.split(r"[\s;]+", line.strip().rstrip(",;"))
    if len(parts) == 1:
        parts = parts[0].split(",")
    parts = [p.strip(",") for p in parts if p.strip(",")]
    return len(parts) >= 2 and all(_NUMBER.fullmatch(p) or all(map(_NUMBER.fullmatch, p.split(","))) for p in parts)


def _first_row(text: str, path: Path) -> tuple[list[str], int, int, int | None]:
    """Header lines, offset and index of the first row of numbers, and how many rows a .chi header announces."""
    if text[:1] in "+-.0123456789" and "\n" in text[:200] and _is_row(text[: text.index("\n")]):
        first_four = text[:_LONGEST_ROW].split("\n", 5)
        if len(first_four) < 5 or _is_row(first_four[1]):
            return [], 0, 0, None
    start = [line.strip() for line in text[: 5 * _LONGEST_ROW].split("\n", 5)[:5]]
    announced = len(start) == 5 and re.fullmatch(r"\d{1,9}", start[3]) and _is_row(start[4])
    if announced and not (_is_row(start[0]) and _is_row(start[1])):
        return start[:4], sum(len(line) + 1 for line in text.split("\n", 4)[:4]), 4, int(start[3])
    in_comment = False
    header: list[str] = []
    for i, (at, line) in enumerate(_lines(text)):
        stripped = line[:_LONGEST_ROW].strip()
        opens = stripped.startswith("/*")
        if in_comment or opens or not stripped or stripped.startswith(COMMENTS):
            in_comment = (in_comment or opens) and "*/" not in line
        elif len(line) > _LONGEST_ROW:
            raise UserError(f"{path}: row {i + 1} is {len(line)} characters long; a pattern has two or three columns")
        elif _is_row(stripped):
            return header, at, i, None
        elif _NUMBER.fullmatch(re.split(r"[\s,;]", stripped)[0]):
            raise UserError(
                f"{path}: row {i + 1} ({stripped[:40]!r}) is neither numbers nor words; start it with # if it "
                "is a header, or export the file again"
            )
        if len(header) < 1000:
            header.append(stripped)
    if not text.strip():
        raise UserError(f"{path}: the file is empty; copy or export it again")
    raise UserError(f"{path}: no row with two numbers; a pattern needs a position and an intensity per row")


def _separator(line: str, path: Path, index: int) -> str | None:
    """What parts the columns of the first row: ';', ',' or None for blanks and tabs."""
    line = line.strip()
    if ";" in line:
        return ";"
    if re.search(r"\s", line) and not re.search(r",\s|\s,", line):
        return None
    if line.rstrip(",").count(",") > 2 and "." not in line:
        raise UserError(
            f"{path}: row {index + 1} ('{line[:40]}') has over three columns, or uses commas both to part columns "
            "and as decimal marks; part two or three columns by tabs or semicolons"
        )
    return ","


def _parse(body: str, first: int, separator: str | None, trailing: bool, header: set[str], path: Path) -> Table:
    """The numbers, in one C call where every line is a row of equal length."""
    if separator != "," and "," in body:
        if "." in body and _POINT_IN_ROW.search(body):
            raise UserError(f"{path}: numbers have both decimal points and commas; use one decimal mark throughout")
        body = body.replace(",", ".")
    mark = separator if trailing and separator is not None else ""
    short = len(body) <= _LISTED
    lines: list[str] | Iterator[str] = body.split("\n") if short else (line for _, line in _lines(body))
    if mark:
        lines = [line.rstrip().removesuffix(mark) for line in lines]
    count = body.count("\n") + 1
    try:
        values = np.loadtxt(lines, delimiter=separator, comments=None, ndmin=2)
    except ValueError:
        values = np.empty((0, 2))
    if len(values) == count:
        return Table(values, range(first + 1, first + 1 + count))
    # Blank lines, comments, a header written again above a second block, or a row at fault.
    return _parse_slowly(body, first, separator, mark, header, path)


def _is_remark(row: str, header: set[str]) -> bool:
    return not row or row.startswith(COMMENTS) or row in header


def _parse_slowly(body: str, first: int, separator: str | None, mark: str, header: set[str], path: Path) -> Table:
    """The same values row by row, or a `UserError` that names the row at fault."""
    values, rows, breaks = array("d"), array("q"), array("q")
    remarks: dict[int, list[str]] = {}
    width = kept = 0
    for number, (_, line) in enumerate(_lines(body), first + 1):
        row = line[:_LONGEST_ROW].strip()
        if _is_remark(row, header):
            if not breaks or breaks[-1] != len(rows):
                breaks.append(len(rows))
            if row and kept < _MOST_REMARKS:
                kept += 1
                remarks.setdefault(len(rows), []).append(row[:500])
            continue
        if len(line) > _LONGEST_ROW:
            raise UserError(f"{path}: row {number} is {len(line)} characters long; a pattern has two or three columns")
        fields = row.removesuffix(mark).split(separator)
        for field in fields:
            if "," in field or not _NUMBER.fullmatch(field.strip()):
                raise UserError(
                    f"{path}: row {number}: {field.strip()[:40]!r} is not a number; mend the row or export the "
                    "file again"
                )
        if width and len(fields) != width:
            raise UserError(
                f"{path}: row {number} has {_columns(len(fields))} where the first has {width}; the file is cut or "
                "damaged: copy or export it again"
            )
        width = len(fields)
        values.extend(map(float, fields))
        rows.append(number)
    return Table(np.frombuffer(values).reshape(-1, width), rows, breaks, remarks)


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _blocks(table: Table, path: Path) -> tuple[list[slice], tuple[str, ...]]:
    """Rows of each scan; a block that only repeats the first is dropped, since nothing is lost by it."""
    values, whole = table.values, [slice(0, len(table.values))]
    steps = np.diff(values[:, 0])
    if (steps > 0).all() or (steps < 0).all():
        return whole, ()
    again = np.flatnonzero(values[1:, 0] == values[0, 0]) + 1
    length = int(again[0]) if again.size and again[0] > 1 else 0
    blocks = len(values) // length if length else 0
    if (
        length * blocks == len(values)
        and all(
            np.array_equal(values[:length], values[i * length : (i + 1) * length], equal_nan=True)
            for i in range(1, blocks)
        )
        and blocks
    ):
        return [slice(0, length)], (f"the pattern is written {blocks} times over; the first was taken",)
    restarts = np.flatnonzero(steps * np.sign(steps[0]) <= 0) + 1
    if len(table.breaks) and np.isin(restarts, np.asarray(table.breaks)).all():
        edges = [0, *restarts.tolist(), len(values)]
        return [slice(a, b) for a, b in itertools.pairwise(edges)], ()
    if length:
        raise UserError(
            f"{path}: row {table.rows[length]} starts a second block that differs from the first; part scans by a "
            "blank line or a comment, or keep one scan per file"
        )
    return whole, ()


def _checked(
    table: Table, part: slice, columns: list[int], path: Path, allow_negative: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The chosen columns [2 or 3, N] of one scan, its axis rising, and notes."""
    values, rows = np.ascontiguousarray(table.values[part][:, columns].T), table.rows[part]
    if values.shape[1] < 2:
        raise UserError(f"{path}: row {rows[0]} stands alone; a pattern needs at least two rows: mend the file")
    if not np.isfinite(values).all():
        column, i = (int(n) for n in np.argwhere(~np.isfinite(values))[0])
        name = ("position", "intensity", "uncertainty")[column]
        raise UserError(f"{path}: row {rows[i]}: the {name} is NaN or infinite; mend or remove the file")
    steps = np.diff(values[0])
    falls = np.count_nonzero(steps < 0) > np.count_nonzero(steps > 0)
    wrong = steps >= 0 if falls else steps <= 0
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UserError(
            f"{path}: row {rows[i + 1]}: position {values[0, i + 1]:g} follows {values[0, i]:g}; positions must "
            "run one way: keep one scan per file, with enough decimals"
        )
    if values[1].min() < 0 and not allow_negative:
        i = int(np.argmax(values[1] < 0))
        raise UserError(
            f"{path}: row {rows[i]}: negative intensity {values[1, i]:g}; if a background was subtracted, set "
            "allow_negative = true under [patterns]"
        )
    if len(values) == 3 and values[2].min() < 0:
        i = int(np.argmax(values[2] < 0))
        raise UserError(
            f"{path}: row {rows[i]}: negative uncertainty {values[2, i]:g}; the third column must hold standard "
            "uncertainties: remove it if it holds something else"
        )
    if falls:
        return np.ascontiguousarray(values[:, ::-1]), ("the axis falls along the file and was turned round",)
    return values, ()
