"""Small csv tables with a row per pattern: start times, compositions, temperatures, classes."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.parsing.text import decode_text

KEYS = ("file", "number")  # columns that tell which pattern a row belongs to


def delimiter_of(header: str) -> str:
    """Return what parts the columns of a csv with this first row."""
    return next((mark for mark in ("\t", ";") if mark in header), ",")


def read_column(path: Path, column: str, keys: Sequence[str] = KEYS) -> tuple[str, dict[str, str]]:
    """Read one column of a csv whose first row names its columns.

    Returns:
      The one of `keys` that the table has, and the texts of `column` by that key.

    Raises:
      UserError: the file cannot be read or is empty, the column or every key is missing, a key stands there twice.
    """
    rows = _read_rows(path)
    if not rows:
        raise UserError(f"{path}: has no rows; write a header and a row per pattern")
    names = [name for name in rows[0] if name]
    key = next((key for key in keys if key in names), None)
    if key is None:
        wanted = " or ".join(f"'{key}'" for key in keys)
        raise UserError(f"{path}: needs a column {wanted} that says which pattern a row belongs to; add one")
    if column not in names:
        raise UserError(f"{path}: has no column '{column}'{suggest(column, names)}")
    texts: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        label = _without_zeros(row[key] or "") if key == "number" else (row[key] or "").strip()
        if label in texts:
            raise UserError(f"{path}: row {number}: {label} has a row already; keep one")
        texts[label] = (row[column] or "").strip()
    return key, texts


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        lines = decode_text(path.read_bytes()).split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the name and --data_root") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that you may read") from None
    try:
        return list(csv.DictReader(lines, delimiter=delimiter_of(lines[0]), skipinitialspace=True))
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as csv ({error}); check the name and the encoding") from None


def texts_per_pattern(
    path: Path, column: str, names: Sequence[str], numbers: Int[np.ndarray, " T"] | None
) -> list[str]:
    """Return the text of `column` for each pattern, '' where the table has no row for it.

    The rows are known by a column 'file' (the name of the pattern file) or 'number' (what the session's number finds).
    """
    key, texts = read_column(path, column)
    if key == "number" and numbers is None:
        raise UserError(f"{path}: names patterns by number; say how file names hold it with number = '_(\\d+)'")
    labels = names if key == "file" else [str(number) for number in np.asarray(numbers).tolist()]
    if not any(label in texts for label in labels):
        raise UserError(f"{path}: no row is for any of these patterns ('{labels[0]}' is one); mend column '{key}'")
    return [texts.get(label, "") for label in labels]


def _without_zeros(number: str) -> str:
    """Return '7' for '007', which is the same pattern."""
    return str(int(number)) if number.strip().isdecimal() and len(number) < 19 else number.strip()


def numbers_or_none(texts: Sequence[str]) -> Float[np.ndarray, " T"] | None:
    """Return the numbers, NaN for '' and 'nan'; None where some text is no number."""
    try:
        return np.array([float(text.replace(",", ".")) if text else np.nan for text in texts])
    except ValueError:
        return None
