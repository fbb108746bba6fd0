"""Small csv tables with a row per pattern: start times, compositions, temperatures, classes."""

import csv
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int, Shaped

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.parsing.text import decode_text, opening, refusing

# Columns that tell which pattern a row belongs to, and what else they are called.
KEYS = {"file": ("file", "filename"), "number": ("number", "scannumber", "scan", "scanno", "framenumber", "frame")}


def delimiter_of(header: str) -> str:
    """Return what parts the columns of a csv with this first row."""
    return next((mark for mark in ("\t", ";") if mark in header), ",")


@dataclasses.dataclass(frozen=True)
class SideTable:
    """The texts of a csv by column, and which of its columns says what pattern a row is for."""

    path: Path
    key: str  # 'file' or 'number'
    row_of: Mapping[str, int]  # name of a file, or number -> row
    columns: Mapping[str, list[str]]

    def find(self, aliases: Sequence[str]) -> str | None:
        """Return the first column that is called so, but for capitals and punctuation; None without one."""
        plain = {_plain(name): name for name in reversed(list(self.columns))}
        return next((plain[alias] for alias in aliases if alias in plain), None)

    def rows_of(self, names: Sequence[str], numbers: Int[np.ndarray, " T"] | None) -> list[int | None]:
        """Return the row for each pattern, None where the table has none."""
        if self.key == "number" and numbers is None:
            hint = "say how file names hold it with number = '_(\\d+)'"
            raise UserError(f"{self.path}: names patterns by number; {hint}")
        labels = names if self.key == "file" else [str(number) for number in np.asarray(numbers).tolist()]
        return [self.row_of.get(label) for label in labels]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def read_table(path: Path) -> SideTable:
    """Read a csv with a header and a row per pattern.

    Raises:
      UserError: it cannot be read, or no column says what pattern a row is for, or two rows are for one.
    """
    with opening(path):
        lines = decode_text(path.read_bytes()).split("\n")
    with refusing(f"{path}: cannot be read as csv", "check the name and the encoding", csv.Error):
        rows = list(csv.DictReader(lines, delimiter=delimiter_of(lines[0]), skipinitialspace=True))
    if not rows:
        raise UserError(f"{path}: has no rows; write a header and a row per pattern")
    columns = {name: [(row[name] or "").strip() for row in rows] for name in rows[0] if name}
    plain = {_plain(name): name for name in reversed(list(columns))}
    places = [(key, plain[alias]) for key, aliases in KEYS.items() for alias in aliases if alias in plain]
    if not places:
        raise UserError(f"{path}: needs a column 'file' or 'number' that says which pattern a row belongs to; add one")
    key, name = places[0]
    row_of: dict[str, int] = {}
    for row, label in enumerate(columns[name]):
        if key == "number" and label.isdecimal() and len(label) < 19:
            label = str(int(label))  # '007' is the pattern '7'
        if label in row_of:
            raise UserError(f"{path}: row {row + 2}: {label} has a row already; keep one")
        row_of[label] = row
    return SideTable(path, key, row_of, columns)


def texts_per_pattern(
    path: Path, column: str, names: Sequence[str], numbers: Int[np.ndarray, " T"] | None
) -> list[str]:
    """Return the text of `column` for each pattern, '' where the table has no row for it.

    The rows are known by a column 'file' (the name of the pattern file) or 'number' (what the session's number finds).
    """
    table = read_table(path)
    if column not in table.columns:
        raise UserError(f"{path}: has no column '{column}'{suggest(column, list(table.columns))}")
    rows = table.rows_of(names, numbers)
    if all(row is None for row in rows):
        one = names[0] if table.key == "file" or numbers is None else numbers[0]
        raise UserError(f"{path}: no row is for any of these patterns ('{one}' is one); mend column '{table.key}'")
    return ["" if row is None else table.columns[column][row] for row in rows]


def are_numbers(texts: Sequence[str]) -> bool:
    """Return whether every text is a finite number."""
    try:
        return bool(np.isfinite([float(text) for text in texts]).all())
    except ValueError:
        return False


def to_array(texts: Sequence[str], decimal_comma: bool = True) -> Shaped[np.ndarray, " T"]:
    """Return the numbers, NaN for '' and 'nan'; the texts where some is no number."""
    try:
        cells = [text.replace(",", ".") for text in texts] if decimal_comma else texts
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        return np.array(texts)
