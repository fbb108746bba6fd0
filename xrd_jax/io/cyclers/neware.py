"""Neware's own files (.nda, .ndax), unpacked by fastnda."""

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
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import Column
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.table import Table
from xrd_jax.io.parsing import archives
from xrd_jax.io.parsing.text import read_head, refusing
from xrd_jax.io.parsing.timestamps import Timestamps

# What an archive may unpack to: fastnda and the arrays take some thirty times that in memory.
_MIN_BYTES, _MAX_RATIO = 6 << 20, 8
_COLUMNS = {  # role: name in fastnda's table, factor to s, V, A or A h
    "time": ("total_time_s", 1.0),
    "voltage": ("voltage_V", 1.0),
    "current": ("current_mA", 1e-3),
    "step": ("step_count", 1.0),
    "capacity": ("capacity_mAh", 1e-3),
}


def is_ndax(head: bytes, path: Path) -> bool:
    """Return True for a zip archive that is named as Neware's, or whose first member is one of Neware's."""
    is_newares = path.suffix.lower() == ".ndax" or b"data.ndc" in head or b"Step.xml" in head
    return head.startswith(b"PK\x03\x04") and is_newares


def read(path: Path) -> CyclerLog:
    """Read a .nda file or a .ndax archive.

    The clock is that of the cycler's computer, in a zone that is not stated, or wrongly as UTC: the start has none.
    """
    is_archive = read_head(path).startswith(b"PK\x03\x04")
    if is_archive and "data.ndc" not in archives.check_zip(path, _MIN_BYTES, _MAX_RATIO):
        raise UserError(f"{path}: the archive lacks data.ndc, so it is no Neware log; export the test again")
    with _with_suffix(path, ".ndax" if is_archive else ".nda") as named_path:
        frame, notes = _unpack(named_path, path)
    numbers = {}
    for name in frame.columns:
        if frame[name].dtype.is_numeric():
            values = frame[name].to_numpy().astype(float)
            if np.isfinite(values).all():
                numbers[name] = values
    roles = {role: Column(0, name, scale, True) for role, (name, scale) in _COLUMNS.items() if name in numbers}
    if not {"time", "voltage", "current"} <= set(roles) or not frame.height:
        raise UserError(f"{path}: the file holds no rows of time, voltage and current; export the test again")
    unix_time = numbers.get("unix_time_s")
    clock = None if unix_time is None else Timestamps(unix_time, True, None)
    table = Table(numbers, roles, None, None, np.arange(1, frame.height + 1), clock=clock)
    return cycler_log(table, path, Stated(), notes)


@contextlib.contextmanager
def _with_suffix(path: Path, suffix: str) -> Iterator[Path]:
    """Give the file a name that ends as its content does, because fastnda goes by the name."""
    if path.suffix.lower() == suffix:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"log{suffix}"
        shutil.copyfile(path, copy)
        yield copy


def _unpack(named_path: Path, path: Path) -> tuple[Any, list[str]]:
    """Return fastnda's table and what it warned of."""
    standard = zlib.decompress, zlib.decompressobj
    try:
        fastnda = importlib.import_module("fastnda")
        if named_path.suffix.lower() == ".ndax":
            importlib.import_module("fastnda.ndax")
    except ImportError:
        raise UserError(f"{path}: needs fastnda: pip install 'xrd_jax[cycler]'; or export it as csv") from None
    finally:
        # fastnda puts another decompressor in the place of Python's, for the whole process.
        zlib.decompress, zlib.decompressobj = standard
    logger = logging.getLogger("fastnda")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    # Damage may raise anything; polars panics with what is no Exception.
    spared = UserError, MemoryError, KeyboardInterrupt, SystemExit
    fault = refusing(f"{path}: damaged, or of a version not known", "export it as csv", BaseException, spared)
    try:
        with fault, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = fastnda.read(named_path)
    finally:
        logger.setLevel(level)
    is_unverified = any("verified" in str(warning.message) for warning in caught)
    return frame, ["this version of Neware's format has not been checked against real files"] if is_unverified else []
