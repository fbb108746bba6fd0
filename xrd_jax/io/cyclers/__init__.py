"""Cycler logs: one short tuple of readers, tried in order, by content and then by name.

What is cut, damaged or lacks a quantity raises `UserError`; its one line names the file, the row or column, the remedy.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.cyclers import biologic, delimited, gamry, neware, neware_text, potentiostats, spreadsheet, unsupported
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.parsing import plugins, text
from xrd_jax.io.parsing.plugins import Reader

PLUGIN_GROUP = "xrd_jax.cyclers"
# Beyond these a number is damage, not a measurement: V, A, and s (300 years).
_MAX_ABS = {"voltage": 1e4, "current": 1e5, "time": 1e10}


def _starts_with(*words: bytes) -> Callable[[bytes, Path], bool]:
    return lambda head, path: text.is_text(head) and head.lstrip(b"\xef\xbb\xbf").startswith(words)


def _contains(*words: bytes) -> Callable[[bytes, Path], bool]:
    return lambda head, path: text.is_text(head) and all(word in head for word in words)


_read_maccor = functools.partial(delimited.read, unsigned=True)
# The makers' text exports are read alike, by the names of their columns; telling them apart is for the report.
READERS = (
    Reader("biologic-mpt", lambda head, _: biologic.is_mpt(head), biologic.read),
    unsupported.MPR,
    Reader("gamry-dta", lambda head, _: head.lstrip(b"\xef\xbb\xbf").startswith(b"EXPLAIN"), gamry.read),
    Reader("versastat-par", _starts_with(b"<Application>"), potentiostats.read_par),
    Reader("chi", _contains(b"Instrument Model:", b"Data Source:"), potentiostats.read_chi),
    Reader("neware-nda", lambda head, _: head.startswith(b"NEWARE"), neware.read),
    Reader("neware-ndax", neware.is_ndax, neware.read),
    unsupported.RES,
    Reader("xlsx", spreadsheet.is_workbook, spreadsheet.read),
    unsupported.XLS,
    Reader("basytec", _starts_with(b"~Resultfile from Basytec"), delimited.read),
    Reader("novonix", _contains(b"[Summary]", b"Novonix"), delimited.read),
    Reader("maccor", _starts_with(b"Today's Date", b"Today''s Date", b"Rec#", b"Rec\t", b"Rec,"), _read_maccor),
    Reader("pec", _contains(b"TestRegime Name:"), delimited.read),
    Reader("neware-levels", neware_text.is_in_levels, neware_text.read),
    Reader("neware-csv", _contains(b"DataPoint", b"Step Type"), delimited.read),
    Reader("bdf-csv", _contains(b"Test Time / s", b"Voltage / V", b"Current / A"), delimited.read),
    Reader("nova", _contains(b"WE(1).Potential (V)"), delimited.read),
    Reader("arbin-csv", _contains(b"Test", b"Time", b"Cycle", b"Index", b"Charge", b"dV/dt"), delimited.read),
    Reader("csv", delimited.is_log, delimited.read),
)


def all_readers() -> tuple[Reader, ...]:
    """Return the readers of other packages, then those above."""
    return (*plugins.load_readers(PLUGIN_GROUP, _require_log), *READERS)


def _require_log(result: object) -> CyclerLog:
    if not isinstance(result, CyclerLog):
        raise TypeError("gave no CyclerLog")
    return result


def reader_of(path: Path) -> Reader | None:
    """Return the first reader that recognises a file; None where none does."""
    head = text.read_head(path)
    return next((reader for reader in all_readers() if reader.recognises(head, path)), None)


def read_cycler(path: str | Path, format: str | None = None) -> CyclerLog:
    """Read one cycler log, with the reader called `format` or else the first that recognises it.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    readers = all_readers()
    names = [reader.name for reader in readers]
    if format is not None and format not in names:
        raise UserError(f"{path}: cycler format '{format}' is not known{suggest(format, names)}")
    head = text.read_head(path)
    for reader in readers:
        if reader.name == format or (format is None and reader.recognises(head, path)):
            return _read_checked(reader.read, path, reader.name)
    remedy = 'export it in one of them, or name its columns (or their places): columns = { time = "1", voltage = "2" }'
    raise UserError(f"{path}: not a cycler log in a format known here ({', '.join(names)}); {remedy}")


def read_table(path: str | Path, columns: Mapping[str, str], units: Mapping[str, str] | None = None) -> CyclerLog:
    """Read any text table or workbook whose columns the caller names, as far as their own names do not tell.

    Args:
      columns: quantity -> name in the file, for instance {'time': 't', 'voltage': 'E1', 'current': 'I1'}. Quantities
        are the roles of `columns.ROLES`: time, step_time, date, unix_time, voltage, current, net, charge_capacity,
        discharge_capacity, capacity, increment, state, step, half_cycle.
      units: quantity -> unit ('min', 'mV', 'mA', 'mA.h', …) where the name in the file does not give it.

    Raises:
      UserError: a quantity, column or unit is not known, or the file is at fault; the text names it.
    """
    path = Path(path)
    head = text.read_head(path)
    is_workbook = spreadsheet.is_workbook(head, path)
    if not is_workbook and not text.is_text(head):
        raise UserError(f"{path}: neither text nor a workbook, so it has no columns to name; export it as csv")
    read, format = (spreadsheet.read, "xlsx") if is_workbook else (delimited.read, "csv")
    return _read_checked(functools.partial(read, columns=columns, units=units), path, format)


def _read_checked(read: Callable[[Path], CyclerLog], path: Path, format: str) -> CyclerLog:
    """Return the log, if it is one: whatever damage or an added reader did, no impossible number goes on."""
    try:
        log = read(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); try again") from None
    has_current = not np.isnan(log.current).all()
    for name, limit in _MAX_ABS.items():
        values = np.asarray(getattr(log, name))
        if values.shape != np.shape(log.time) or values.ndim != 1 or not values.size:
            raise UserError(f"{path}: {values.size} rows of {name} and {log.time.size} of time; export the log again")
        is_impossible = ~(np.abs(values) <= limit) & (has_current or name != "current")
        if is_impossible.any():
            row = int(np.argmax(is_impossible))
            raise UserError(f"{path}: {name} of row {row + 1} of the data is {values[row]:.3g}; mend or delete the row")
    if (np.diff(log.time) < 0).any() or not (np.isfinite(log.capacity) | (not has_current)).all():
        raise UserError(f"{path}: time runs backwards or charge is no number; export the log again")
    return dataclasses.replace(log, format=format)
