"""Two- and three-column text patterns: .xy, .xye, .dat, .csv, .chi, .txt."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import source
from xrd_jax.io.patterns import pattern

COMMENTS = ("#", "'", "/*", "*/", "!", ";", "%", "//", '"')
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf)", re.IGNORECASE)
_QUOTED_PAIR = re.compile(r'(\w[\w ]*): "([^"]*)"')
_PAIR = re.compile(r"^[\s#'!;%/*]*([^=:]{1,60}?)\s*[=:]\s*(.+)$")


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads axis, intensity and, from a third column, its uncertainty.

    Comments start with # ' /* ! ; % // or a double quote; bare header lines and the four header lines of .chi are
    skipped. Columns are parted by blanks, tabs, commas or semicolons; decimal commas are understood. A falling axis is
    turned round. A second block that repeats the first exactly is dropped; any other second block is refused.

    Raises:
      UserError: naming the row, where rows are ragged, cut, not numeric, not finite, negative (unless
        `allow_negative`), or where the axis does not run one way.
    """
    text = source.decode(path.read_bytes())
    lines = text.split("\n")
    first, declared = _first_row(lines, path)
    separator = _separator(lines[first], path, first)
    values, rows = _parse(lines, first, separator, path)
    values, notes = _first_block(values, rows, path)
    if declared is not None and declared != len(values):
        raise UserError(
            f"{path}: the header announces {declared} rows but there are {len(values)}; copy the file again"
        )
    if len(values) < 2:
        raise UserError(f"{path}: only one row of numbers; a pattern needs at least two: export it again")
    if not text.endswith("\n") and source.ends_short([lines[n - 1] for n in rows], separator):
        raise UserError(f"{path}: row {rows[-1]} ends within a number; the file is cut: copy or export it again")
    _check(values, rows, path, allow_negative)
    if values[0, 0] > values[-1, 0]:
        values, notes = values[::-1], (*notes, "the axis falls along the file and was turned round")
    axis, intensity, *errors = np.ascontiguousarray(values.T)
    return (
        pattern.Pattern(axis, intensity, errors[0] if errors else None, metadata=_metadata(lines[:first]), notes=notes),
    )


def _is_row(line: str) -> bool:
    parts = re.split(r"[\s;]+", line.strip().rstrip(",;"))
    if len(parts) == 1:
        parts = parts[0].split(",")
    parts = [p.strip(",") for p in parts if p.strip(",")]
    return len(parts) >= 2 and all(_NUMBER.fullmatch(p) or all(map(_NUMBER.fullmatch, p.split(","))) for p in parts)


def _first_row(lines: list[str], path: Path) -> tuple[int, int | None]:
    """Index of the first row of numbers, and the number of rows that a .chi header announces."""
    head = [line.strip() for line in lines[:5]]
    if len(head) == 5 and head[3].isdecimal() and _is_row(head[4]) and not (_is_row(head[0]) and _is_row(head[1])):
        return 4, int(head[3])
    in_comment = False
    for i, line in enumerate(lines):
        stripped = line.strip()
        opens = stripped.startswith("/*")
        if in_comment or opens or not stripped or stripped.startswith(COMMENTS):
            in_comment = (in_comment or opens) and "*/" not in stripped
        elif _is_row(stripped):
            return i, None
        elif _NUMBER.fullmatch(re.split(r"[\s,;]", stripped)[0]):
            raise UserError(
                f"{path}: row {i + 1} ({stripped[:40]!r}) is neither numbers nor words; start it with # if it "
                "is a header, or export the file again"
            )
    if not any(line.strip() for line in lines):
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


def _parse(lines: list[str], first: int, separator: str | None, path: Path) -> tuple[np.ndarray, list[int]]:
    """Values [R, 2 or 3] and the 1-based line of each row."""
    body = "\n".join(lines[first:]).rstrip()
    if separator != "," and "," in body:
        body = _decimal_points(body, path)
    rows = body.split("\n")
    if separator is not None and lines[first].rstrip().endswith(separator):
        rows = [row.rstrip().removesuffix(separator) for row in rows]
    numbers = list(range(first + 1, first + 1 + len(rows)))
    try:
        values = np.loadtxt(rows, delimiter=separator, comments=None, ndmin=2)  # the fast way: one C call
    except ValueError:
        values = np.empty((0, 2))
    if len(values) != len(rows):
        # Blank lines, comments, a header written again above a second block, or a row at fault.
        header = {line.strip() for line in lines[:first]}
        kept = [(n, row) for n, row in zip(numbers, rows, strict=True) if not _is_remark(row.strip(), header)]
        numbers = [n for n, _ in kept]
        values = _parse_slowly(kept, separator, path)
    if values.shape[1] not in (2, 3):
        raise UserError(
            f"{path}: row {first + 1} has {_columns(values.shape[1])}; keep position, intensity and, if known, "
            "its uncertainty"
        )
    return values, numbers


def _decimal_points(body: str, path: Path) -> str:
    rows = [row for row in body.split("\n") if not row.lstrip().startswith(COMMENTS)]
    if any("." in row for row in rows):
        raise UserError(f"{path}: numbers have both decimal points and commas; use one decimal mark throughout")
    return body.replace(",", ".")


def _is_remark(row: str, header: set[str]) -> bool:
    return not row or row.startswith(COMMENTS) or row in header


def _parse_slowly(rows: list[tuple[int, str]], separator: str | None, path: Path) -> np.ndarray:
    """The same values, or a `UserError` that names the row at fault."""
    width, values = len(rows[0][1].split(separator)), []
    for number, row in rows:
        fields = row.split(separator)
        for field in fields:
            if "," in field or not _NUMBER.fullmatch(field.strip()):
                raise UserError(
                    f"{path}: row {number}: {field.strip()[:40]!r} is not a number; mend the row or export the "
                    "file again"
                )
        if len(fields) != width:
            raise UserError(
                f"{path}: row {number} has {_columns(len(fields))} where the first has {width}; the file is cut or "
                "damaged: copy or export it again"
            )
        values.append([float(field) for field in fields])
    return np.array(values)


def _columns(count: int) -> str:
    return "1 column" if count == 1 else f"{count} columns"


def _first_block(values: np.ndarray, rows: list[int], path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """The first block; a second one is dropped only when nothing is lost by it."""
    again = np.flatnonzero(values[1:, 0] == values[0, 0]) + 1
    if not again.size or again[0] < 2:
        return values, ()
    length = int(again[0])
    blocks = len(values) // length
    if len(values) == blocks * length and np.array_equal(values, np.tile(values[:length], (blocks, 1)), equal_nan=True):
        return values[:length], (f"the pattern is written {blocks} times over; the first was taken",)
    raise UserError(
        f"{path}: row {rows[length]} starts a second block that differs from the first; keep one scan per file"
    )


def _check(values: np.ndarray, rows: list[int], path: Path, allow_negative: bool) -> None:
    for column, name in enumerate(("position", "intensity", "uncertainty")[: values.shape[1]]):
        bad = ~np.isfinite(values[:, column])
        if bad.any():
            raise UserError(
                f"{path}: row {rows[int(np.argmax(bad))]}: the {name} is NaN or infinite; mend or remove the file"
            )
    steps = np.diff(values[:, 0])
    wrong = steps >= 0 if np.sum(steps < 0) > np.sum(steps > 0) else steps <= 0
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UserError(
            f"{path}: row {rows[i + 1]}: position {values[i + 1, 0]:g} follows {values[i, 0]:g}; positions must "
            "run one way: keep one scan per file, with enough decimals"
        )
    negative = values[:, 1] < 0
    if negative.any() and not allow_negative:
        i = int(np.argmax(negative))
        raise UserError(
            f"{path}: row {rows[i]}: negative intensity {values[i, 1]:g}; if a background was subtracted, set "
            "allow_negative = true under [patterns]"
        )
    if values.shape[1] == 3 and (values[:, 2] < 0).any():
        i = int(np.argmax(values[:, 2] < 0))
        raise UserError(
            f"{path}: row {rows[i]}: negative uncertainty {values[i, 2]:g}; the third column must hold standard "
            "uncertainties: remove it if it holds something else"
        )


def _metadata(header: list[str]) -> dict[str, str]:
    """'key: value' and 'key = value' of the header, and the header itself under 'header'."""
    found: dict[str, str] = {}
    for line in header:
        pairs = _QUOTED_PAIR.findall(line)
        if not pairs and (match := _PAIR.match(line)):
            pairs = [match.groups()]
        found |= {key.strip(): value.strip() for key, value in pairs if value.strip()}
    return found | {"header": "\n".join(line.strip() for line in header)} if header else found
