"""Small csv tables with a row per pattern: start times, compositions, temperatures, classes."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.parsing import toml_table

KEYS = ("file", "number")


def read(path: Path, needed: Sequence[str], example: str) -> list[dict[str, str]]:
    """The rows of a csv whose first row names its columns; parted by commas, semicolons or tabs.

    Raises:
      UserError: the file cannot be read, or a row lacks one of the `needed` columns.
    """
    try:
        text = parsing_text.decode(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the name and --data_root") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that you may read") from None
    lines = text.split("\n")
    delimiter = next((mark for mark in ("\t", ";") if mark in lines[0]), ",")
    try:
        rows = list(csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as csv ({error}); check the name and the encoding") from None
    for number, row in enumerate(rows, 2):
        if any(row.get(name) is None for name in needed):
            wanted = " and ".join(f"'{name}'" for name in needed)
            raise UserError(f"{path}: row {number}: columns {wanted} are needed{example}; name them in the first row")
    return rows


def per_pattern(path: Path, column: str, names: Sequence[str], numbers: np.ndarray | None) -> list[str]:
    """The text of `column` for each pattern, '' where the table has no row for it.

    The rows are known by a column 'file' (the name of the pattern file) or 'number' (what [patterns] number finds).

    Raises:
      UserError: no such column, neither key, a key twice, or not a single row for these patterns.
    """
    rows = read(path, (), "")
    if not rows:
        raise UserError(f"{path}: has no rows; write a header and a row per pattern")
    known = [name for name in rows[0] if name]
    key = next((name for name in KEYS if name in known), None)
    if key is None:
        raise UserError(f"{path}: needs a column 'file' or 'number' that says which pattern a row belongs to; add one")
    if column not in known:
        raise UserError(f"{path}: has no column '{column}'{toml_table.suggest(column, known)}")
    if key == "number" and numbers is None:
        raise UserError(f"{path}: names patterns by number; say how file names hold it with number = '_(\\d+)'")
    stated: dict[str, str] = {}
    for at, row in enumerate(rows, 2):
        label = _plain(row[key] or "") if key == "number" else (row[key] or "").strip()
        if label in stated:
            raise UserError(f"{path}: row {at}: {label} has a row already; keep one")
        stated[label] = (row[column] or "").strip()
    wanted = names if key == "file" else [str(number) for number in np.asarray(numbers).tolist()]
    if not any(name in stated for name in wanted):
        raise UserError(f"{path}: no row is for any of these patterns ('{wanted[0]}' is one); mend column '{key}'")
    return [stated.get(name, "") for name in wanted]


def _plain(number: str) -> str:
    """'007' and '7' are the same pattern."""
    return str(int(number)) if number.strip().isdecimal() and len(number) < 19 else number.strip()


def numbers_or_none(texts: Sequence[str]) -> np.ndarray | None:
    """[T] float64 with NaN for '' and 'nan'; None where some text is no number."""
    try:
        return np.array([float(text.replace(",", ".")) if text else np.nan for text in texts])
    except ValueError:
        return None
