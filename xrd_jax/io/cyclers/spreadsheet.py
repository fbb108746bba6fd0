"""Logs in .xlsx workbooks: Arbin, Neware and any other whose sheet names the columns of a log."""

import contextlib
import datetime
import itertools
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import choose_columns
from xrd_jax.io.cyclers.header import Header, column_names, read_preamble
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import Rows
from xrd_jax.io.parsing import archives
from xrd_jax.io.parsing.plugins import import_extra
from xrd_jax.io.parsing.text import refusing

_MAX_HEADER_ROWS = 100
_MAX_ROWS, _MAX_COLUMNS = 1 << 20, 1000  # what the format allows, and more columns than any log has
_MIN_BYTES, _MAX_RATIO = 64 << 20, 30  # what a workbook may unpack to: it is read as a stream


def is_workbook(head: bytes, path: Path) -> bool:
    """Return True for a zip archive that is named, or begins, as a workbook does."""
    return head.startswith(b"PK\x03\x04") and (path.suffix.lower() in (".xlsx", ".xlsm") or b"[Content_Types]" in head)


def read(path: Path, columns: Mapping[str, str] | None = None, units: Mapping[str, str] | None = None) -> CyclerLog:
    """Read the sheet whose columns are a log's; sheets that continue one another ('Channel_1_1', …) are joined.

    For `columns` and `units` see `xrd_jax.io.cyclers.read_table`.
    """
    columns, units = columns or {}, units or {}
    with _open_workbook(path) as book:
        every_header = {sheet.title: _find_header(sheet, path, columns.values()) for sheet in book.worksheets}
        headers = {title: header for title, header in every_header.items() if header is not None}
        _require_one_log(headers, list(every_header), path)
        first = next(iter(headers.values()))
        roles = choose_columns(first.names, columns, units, path)
        rows = itertools.chain.from_iterable(
            _rows_below(book[title], header.line, len(first.names), path) for title, header in headers.items()
        )
        parsed = table.from_rows(rows, first.names, roles, path, decimal_comma=False)
    return cycler_log(parsed, path, read_preamble(first.preamble), [])


@contextlib.contextmanager
def _open_workbook(path: Path) -> Iterator[Any]:
    """Open a workbook that is read row by row; whatever its reader raises becomes one line."""
    openpyxl = import_extra("openpyxl", f"{path}: needs openpyxl: pip install 'xrd_jax[cycler]'; or export it as csv")
    archives.check_zip(path, _MIN_BYTES, _MAX_RATIO)
    remedy = "export it again, or as csv"  # a damaged workbook may raise anything
    fault = refusing(f"{path}: the workbook is damaged", remedy, spared=(UserError, MemoryError))
    with fault, warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # about styles and extensions that hold no data
        with contextlib.closing(openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)) as book:
            yield book


def _rows(sheet: Any, path: Path) -> Rows:
    """Yield numbered rows as text, no more than a sheet can hold whatever it claims."""
    if not hasattr(sheet, "reset_dimensions"):
        return  # a chart
    sheet.reset_dimensions()
    for number, row in enumerate(sheet.iter_rows(values_only=True), 1):
        if number > _MAX_ROWS or len(row) > _MAX_COLUMNS:
            location = f"sheet '{sheet.title[:40]}' reaches row {number}, column {len(row)}"
            raise UserError(f"{path}: {location}, which no log does; export it as csv")
        yield number, [_text(cell) for cell in row]


def _find_header(sheet: Any, path: Path, wanted: Collection[str]) -> Header | None:
    preamble: list[str] = []
    for number, row in itertools.islice(_rows(sheet, path), _MAX_HEADER_ROWS):
        if (names := column_names(row, wanted)) is not None:
            return Header(preamble, number, names)
        preamble.append(", ".join(row))
    return None


def _require_one_log(headers: Mapping[str, Header], sheets: list[str], path: Path) -> None:
    if not headers:
        fault = "no sheet holds a log with columns of time, voltage and current"
        raise UserError(f"{path}: {fault} (its sheets: {', '.join(sheets)[:200]}); export the records of one test")
    stems = {re.sub(r"[\s_-]*\d+$", "", title) for title in headers}
    if len(stems) > 1 or len({tuple(header.names) for header in headers.values()}) > 1:
        raise UserError(f"{path}: several sheets hold a log ({', '.join(headers)[:200]}); keep one")


def _rows_below(sheet: Any, header_row: int, width: int, path: Path) -> Rows:
    for number, row in _rows(sheet, path):
        if number <= header_row or not any(cell.strip() for cell in row):
            continue
        if len(row) > width and any(cell.strip() for cell in row[width:]):
            raise UserError(f"{path}: row {number} has cells beyond the {width} named columns; delete them")
        yield number, (row + [""] * width)[:width]


def _text(cell: object) -> str:
    """Return a cell as the text that a csv export would hold, in full precision."""
    if cell is None:
        return ""
    if isinstance(cell, datetime.datetime) and cell.year < 1950:  # a duration of days in a format of hours
        cell = cell - datetime.datetime(1899, 12, 30)
    if isinstance(cell, datetime.time):
        cell = datetime.datetime.combine(datetime.date.min, cell) - datetime.datetime.min
    if isinstance(cell, datetime.timedelta):
        seconds, micro = divmod(cell // datetime.timedelta(microseconds=1), 10**6)
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}.{micro:06}"
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    return repr(cell) if isinstance(cell, float) else str(cell)
