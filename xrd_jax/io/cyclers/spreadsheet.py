"""Logs in .xlsx workbooks: Arbin, Neware and any other whose sheet names the columns of a log."""

from __future__ import annotations

import contextlib
import datetime
import importlib
import itertools
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import archive, assemble, columns, delimited, log, table

_HEADER_ROWS = 100
# What the format allows at most, and more columns than any log has.
_ROWS, _COLUMNS = 1 << 20, 1000
# What a workbook may unpack to: it is read as a stream.
_LEAST, _RATIO = 64 << 20, 30


def is_workbook(head: bytes, path: Path) -> bool:
    """True for a zip archive that is named, or begins, as a workbook does."""
    return head.startswith(b"PK\x03\x04") and (path.suffix.lower() in (".xlsx", ".xlsm") or b"[Content_Types]" in head)


def read(path: Path) -> log.CyclerLog:
    """Reads the sheet whose columns are a log's; sheets that continue one another ('Channel_1_1', …) are joined.

    Raises:
      UserError: no sheet or several sheets hold a log, the workbook is damaged, or the extra is missing.
    """
    return read_columns(path, {}, {})


def read_columns(path: Path, named: Mapping[str, str], units: Mapping[str, str]) -> log.CyclerLog:
    """Reads a log with columns chosen by role; see `xrd_jax.io.cyclers.read_table`."""
    with _opened(path) as book:
        wanted = set(named.values())
        found = [(sheet.title, header) for sheet in book.worksheets if (header := _header(sheet, path, wanted))]
        first = _one_log(found, [sheet.title for sheet in book.worksheets], path)
        names = first.names
        roles = columns.match(names) | columns.chosen(names, named, units, path)
        rows = itertools.chain.from_iterable(
            _data(book[title], header.line, len(names), path) for title, header in found
        )
        parsed = table.read(rows, names, roles, path, comma=False)
    return assemble.cycler_log(parsed, path, delimited.start_in(first.lead))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The workbook, read row by row; whatever its reader raises becomes one line."""
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError:
        raise UserError(f"{path}: needs openpyxl: pip install 'xrd_jax[cycler]'; or export it as csv") from None
    archive.check(path, _LEAST, _RATIO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions that hold no data
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                yield book
            finally:
                book.close()
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a damaged workbook may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise UserError(f"{path}: the workbook is damaged ({reason}); export it again, or as csv") from None


def _cells(sheet: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered rows as text, with an end in sight whatever the sheet claims."""
    if not hasattr(sheet, "reset_dimensions"):
        return  # a chart
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if number > _ROWS or len(row) > _COLUMNS:
            place = f"sheet '{sheet.title[:40]}' reaches row {number}, column {len(row)}"
            raise UserError(f"{path}: {place}, which no log does; export it as csv")
        yield number, [_text(cell) for cell in row]


def _header(sheet: Any, path: Path, wanted: set[str]) -> delimited.Header | None:
    lead: list[str] = []
    for number, row in itertools.islice(_cells(sheet, path), _HEADER_ROWS):
        names = delimited.strip(row)
        roles = columns.match(names)
        if wanted <= set(names) if wanted else delimited.is_header(roles):
            return delimited.Header(lead, number, names, "", roles)
        lead.append(", ".join(row))
    return None


def _one_log(found: list[tuple[str, delimited.Header]], sheets: list[str], path: Path) -> delimited.Header:
    if not found:
        raise UserError(
            f"{path}: no sheet holds a log with columns of time, voltage and current (its sheets: "
            f"{', '.join(sheets)[:200]}); export the records of one test"
        )
    stems = {re.sub(r"[\s_-]*\d+$", "", title) for title, _ in found}
    if len(stems) > 1 or len({tuple(header.names) for _, header in found}) > 1:
        raise UserError(f"{path}: several sheets hold a log ({', '.join(title for title, _ in found)[:200]}); keep one")
    return found[0][1]


def _data(sheet: Any, header: int, width: int, path: Path) -> table.Rows:
    for number, row in _cells(sheet, path):
        if number <= header or not any(cell.strip() for cell in row):
            continue
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise UserError(f"{path}: row {number} has cells beyond the {width} named columns; delete them")
        yield number, (row + [""] * width)[:width]


def _text(cell: object) -> str:
    """A cell as the text that a csv export would hold, in full precision."""
    if cell is None:
        return ""
    if isinstance(cell, datetime.datetime) and cell.year < 1950:  # a duration of days in a format of hours
        cell = cell - datetime.datetime(1899, 12, 30)
    if isinstance(cell, datetime.time):
        cell = datetime.timedelta(
            hours=cell.hour, minutes=cell.minute, seconds=cell.second, microseconds=cell.microsecond
        )
    if isinstance(cell, datetime.timedelta):
        seconds, micro = divmod(cell // datetime.timedelta(microseconds=1), 10**6)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micro:06}"
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    return repr(cell) if isinstance(cell, float) else str(cell)
