"""Small csv tables with a row per pattern: start times, compositions, temperatures, classes."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.parsing.text import decode_text, opening, refusing

KEYS = ("file", "number")  # columns that tell which pattern a row belongs to


def delimiter_of(header: str) -> str:
    """Return what parts the columns of a csv with this first row."""
    return next((mark for mark in ("\t", ";") if mark in header), ",")


def read_column(path: Path, column: str, keys: Sequence[str] = KEYS) -> tuple[str, dict[str, str]]:
    """Return the one of `keys` that a csv has among its columns, and the texts of another `column` by that key."""
    with opening(path):
        lines = decode_text(path.read_bytes()).split("\n")
    with refusing(f"{path}: cannot be read as csv", "check the name and the encoding", csv.Error):
        rows = list(csv.DictReader(lines, delimiter=delimiter_of(lines[0]), skipinitialspace=True))
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
        label = (row[key] or "").strip()
        if key == "number" and label.isdecimal() and len(label) < 19:
            label = str(int(label))  # '007' is the pattern '7'
        if label in texts:
            raise UserError(f"{path}: row {number}: {label} has a row already; keep one")
        texts[label] = (row[column] or "").strip()
    return key, texts


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


def to_array(texts: Sequence[str], decimal_comma: bool = True) -> Shaped[np.ndarray, " T"]:
    """Return the numbers, NaN for '' and 'nan'; the texts where some is no number."""
    try:
        cells = [text.replace(",", ".") for text in texts] if decimal_comma else texts
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(texts)
