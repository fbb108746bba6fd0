"""Neware's own files (.nda, .ndax), unpacked by fastnda."""

from __future__ import annotations

import contextlib
import importlib
import logging
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import archive, columns, log, table
from xrd_jax.io.parsing import dates

# What an archive may unpack to: fastnda and the arrays take some thirty times that in memory.
_LEAST, _RATIO = 6 << 20, 8
_NAMES = {
    "time": ("total_time_s", 1.0),
    "voltage": ("voltage_V", 1.0),
    "current": ("current_mA", 1e-3),
    "step": ("step_count", 1.0),
    "capacity": ("capacity_mAh", 1e-3),
}


def is_nda(head: bytes) -> bool:
    return head.startswith(b"NEWARE")


def is_ndax(head: bytes, path: Path) -> bool:
    """True for a zip archive that is named as Neware's, or whose first member is one of Neware's."""
    inside = path.suffix.lower() == ".ndax" or b"data.ndc" in head or b"Step.xml" in head
    return head.startswith(b"PK\x03\x04") and inside


def read_nda(path: Path) -> log.CyclerLog:
    """Reads a .nda file; the clock is that of the cycler's computer, in a zone that the file does not state.

    Raises:
      UserError: the file is damaged, of a version not known, or the extra is missing.
    """
    return _read(path, ".nda")


def read_ndax(path: Path) -> log.CyclerLog:
    """Reads a .ndax archive. Its times are labelled UTC but are local, so the start has no zone.

    Raises:
      UserError: the archive is damaged or built to do harm, or the extra is missing.
    """
    if "data.ndc" not in archive.check(path, _LEAST, _RATIO):
        raise UserError(f"{path}: the archive lacks data.ndc, so it is no Neware log; export the test again")
    return _read(path, ".ndax")


def _read(path: Path, suffix: str) -> log.CyclerLog:
    with _named(path, suffix) as named:
        frame, notes = _frame(named, path)
    numbers = {}
    for name in frame.columns:
        if frame[name].dtype.is_numeric():
            values = frame[name].to_numpy().astype(float)
            if np.isfinite(values).all():
                numbers[name] = values
    roles = {role: columns.Column(0, name, scale, True) for role, (name, scale) in _NAMES.items() if name in numbers}
    if not {"time", "voltage", "current"} <= set(roles) or not frame.height:
        raise UserError(f"{path}: the file holds no rows of time, voltage and current; export the test again")
    return _log(path, numbers, roles, frame, notes)


def _log(
    path: Path, numbers: dict[str, np.ndarray], roles: dict[str, columns.Column], frame: Any, notes: list[str]
) -> log.CyclerLog:
    from xrd_jax.io.cyclers import assemble  # after the arrays exist: this module is also imported without fastnda

    unix = numbers.get("unix_time_s")
    start = None
    if unix is not None:
        clock = dates.Timestamps(unix, True, None)
        start = clock.start(float(unix[0] - numbers["total_time_s"][0]))
    parsed = table.Table(numbers, roles, None, None, np.arange(1, frame.height + 1), (), frozenset())
    made = assemble.cycler_log(parsed, path, start)
    return log.CyclerLog(
        made.time, made.voltage, made.current, made.capacity, None, made.columns, start, (*notes, *made.notes)
    )


@contextlib.contextmanager
def _named(path: Path, suffix: str) -> Iterator[Path]:
    """The file under a name that ends as its content does, because fastnda goes by the name."""
    if path.suffix.lower() == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"log{suffix}"
        shutil.copyfile(path, copy)
        yield copy


def _frame(named: Path, path: Path) -> tuple[Any, list[str]]:
    """fastnda's table and what it warned of."""
    plain = zlib.decompress, zlib.decompressobj
    try:
        fastnda = importlib.import_module("fastnda")
        if named.suffix.lower() == ".ndax":
            importlib.import_module("fastnda.ndax")
    except ImportError:
        raise UserError(f"{path}: needs fastnda: pip install 'xrd_jax[cycler]'; or export it as csv") from None
    finally:
        # fastnda puts another decompressor in the place of Python's, for the whole process.
        zlib.decompress, zlib.decompressobj = plain
    logger = logging.getLogger("fastnda")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = fastnda.read(named)
    except (UserError, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # damage may raise anything; polars panics with what is no Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise UserError(f"{path}: damaged, or of a version not known ({reason}); export it as csv") from None
    finally:
        logger.setLevel(level)
    unverified = any("verified" in str(warning.message) for warning in caught)
    return frame, ["this version of Neware's format has not been checked against real files"] if unverified else []
