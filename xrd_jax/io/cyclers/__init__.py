"""Cycler logs: one short tuple of readers, tried in order, by content and then by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import biologic, delimited, gamry, neware, plugins, spreadsheet, unsupported
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.plugins import Reader
from xrd_jax.io.parsing import text, toml_table

# Beyond these a number is damage, not a measurement: V, A, and s (300 years).
_LIMITS = {"voltage": 1e4, "current": 1e5, "time": 1e10}


def _starts(*words: bytes) -> functools.partial[bool]:
    return functools.partial(_begins, words)


def _begins(words: tuple[bytes, ...], head: bytes, path: Path) -> bool:
    return text.is_text(head) and head.lstrip(b"\xef\xbb\xbf").startswith(words)


def _holds(*words: bytes) -> functools.partial[bool]:
    return functools.partial(_has, words)


def _has(words: tuple[bytes, ...], head: bytes, path: Path) -> bool:
    return text.is_text(head) and all(word in head for word in words)


_maccor = functools.partial(delimited.read, unsigned=True)
# The makers' text exports are read alike, by the names of their columns; telling them apart is for the report.
READERS = (
    Reader("biologic-mpt", lambda head, _: biologic.is_mpt(head), biologic.read),
    Reader("biologic-mpr", lambda head, _: unsupported.is_mpr(head), unsupported.refuse_mpr),
    Reader("gamry-dta", lambda head, _: gamry.is_dta(head), gamry.read),
    Reader("neware-nda", lambda head, _: neware.is_nda(head), neware.read_nda),
    Reader("neware-ndax", neware.is_ndax, neware.read_ndax),
    Reader("arbin-res", lambda head, _: unsupported.is_res(head), unsupported.refuse_res),
    Reader("xlsx", spreadsheet.is_workbook, spreadsheet.read),
    Reader("xls", lambda head, _: unsupported.is_xls(head), unsupported.refuse_xls),
    Reader("basytec", _starts(b"~Resultfile from Basytec"), delimited.read),
    Reader("novonix", _holds(b"[Summary]", b"Novonix"), delimited.read),
    Reader("maccor", _starts(b"Today's Date", b"Today''s Date", b"Rec#", b"Rec\t", b"Rec,"), _maccor),
    Reader("pec", _holds(b"TestRegime Name:"), delimited.read),
    Reader("neware-csv", _holds(b"DataPoint", b"Step Type"), delimited.read),
    Reader("bdf-csv", _holds(b"Test Time / s", b"Voltage / V", b"Current / A"), delimited.read),
    Reader("arbin-csv", _holds(b"Test", b"Time", b"Cycle", b"Index", b"Charge", b"dV/dt"), delimited.read),
    Reader("csv", delimited.is_log, delimited.read),
)


def read_cycler(path: str | Path, format: str | None = None) -> CyclerLog:
    """Reads one cycler log, with the reader called `format` or else the first that recognises it.

    Readers of other packages (`plugins`) are asked before the ones here.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    readers = (*plugins.installed(), *READERS)
    names = [reader.name for reader in readers]
    if format is not None and format not in names:
        raise UserError(f"{path}: cycler format '{format}' is not known{toml_table.suggest(format, names)}")
    head = text.head(path)
    for reader in readers:
        if reader.name == format or (format is None and reader.recognises(head, path)):
            return _checked(reader.read, path, reader.name)
    raise UserError(f"{path}: not a cycler log in a format known here ({', '.join(names)}); export it in one of them")


def read_table(path: str | Path, columns: Mapping[str, str], units: Mapping[str, str] | None = None) -> CyclerLog:
    """Reads any text table or workbook whose columns the caller names, as far as their own names do not tell.

    Args:
      columns: quantity -> name in the file, for instance {'time': 't', 'voltage': 'E1', 'current': 'I1'}. Quantities
        are the roles of `columns.ROLES`: time, step_time, date, unix_time, voltage, current, net, charge_capacity,
        discharge_capacity, capacity, increment, state, step, half_cycle.
      units: quantity -> unit ('min', 'mV', 'mA', 'mA.h', …) where the name in the file does not give it.

    Raises:
      UserError: a quantity, column or unit is not known, or the file is at fault; the text names it.
    """
    path = Path(path)
    head = text.head(path)
    if spreadsheet.is_workbook(head, path):
        return _checked(lambda named: spreadsheet.read_columns(named, columns, units or {}), path, "xlsx")
    if not text.is_text(head):
        raise UserError(f"{path}: neither text nor a workbook, so it has no columns to name; export it as csv")
    return _checked(lambda named: delimited.read_columns(named, columns, units or {}), path, "csv")


def _checked(read: Callable[[Path], CyclerLog], path: Path, name_of_reader: str) -> CyclerLog:
    """The log, if it is one: whatever damage or an added reader did, no impossible number goes on."""
    try:
        made = read(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); try again") from None
    rows = np.shape(made.time)
    for name, limit in _LIMITS.items():
        values = np.asarray(getattr(made, name))
        if values.shape != rows or values.ndim != 1 or not values.size:
            raise UserError(f"{path}: {values.size} rows of {name} and {made.time.size} of time; export the log again")
        bad = ~(np.abs(values) <= limit)
        if bad.any():
            at = int(np.argmax(bad))
            raise UserError(f"{path}: {name} of row {at + 1} of the data is {values[at]:.3g}; mend or delete the row")
    if (np.diff(made.time) < 0).any() or not np.isfinite(made.capacity).all():
        raise UserError(f"{path}: time runs backwards or charge is no number; export the log again")
    return dataclasses.replace(made, format=name_of_reader)
