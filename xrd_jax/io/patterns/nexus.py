"""NeXus and plain HDF5: NXdata found by @default, @signal and @axes; NXazint1d and NXmonopd; a dataset by its path.

A path within the file is written after two colons: `scan.nxs::/entry/data` names a group, `run.h5::/a/counts,/a/q`
names intensities and, after a comma, positions. A signal [T, N] gives T scans. Links into other files are not followed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.parsing.dates import parse_datetime, seconds_between
from xrd_jax.io.patterns.nexus_signal import Signal, find_signal, read_positions, unit_of
from xrd_jax.io.patterns.pattern import Scan, UnfinishedScan, make_pattern, parse_positive, strip_texts
from xrd_jax.series.axis import ANGSTROM_PER_UNIT

_ROWS_AT_ONCE = 64
_MAX_EXTRA_BYTES = 100 * 2**20  # that the scans may take beyond four times the file
_WAVELENGTHS = (
    "instrument/monochromator/wavelength", "instrument/beam/incident_wavelength", "instrument/crystal/wavelength",
    "instrument/source/wavelength", "sample/beam/incident_wavelength", "wavelength", "data/wavelength",
)  # fmt: skip
_DESCRIPTION = ("title", "definition", "sample/name", "instrument/name", "instrument/source/k_alpha_one")


def read(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read every scan of the signal that the file, or the path after `::`, names; `rows` reads longer stacks."""
    with hdf5.open_file(path) as file:
        signal = find_signal(file, path)
        limit = 4 * hdf5.split_inner_path(path)[0].stat().st_size + _MAX_EXTRA_BYTES
        needed = signal.data.size * 8 * (2 if signal.errors is not None else 1)
        if needed > limit:
            fault = f"{signal.data.name} {signal.data.shape} would take {needed >> 20} MiB"
            raise UserError(f"{path}: {fault}; read such a stack in pieces (xrd_jax.io.patterns.nexus.rows)")
        yield from _read_scans(path, signal, allow_negative)


def rows(path: str | Path, size: int = 256) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield positions [N] and intensities [up to `size`, N] of a stack of any length, in the file's units and types."""
    path = Path(path)
    with hdf5.open_file(path) as file:
        signal = find_signal(file, path)
        axis, _, _ = read_positions(signal, path)
        data = signal.data
        if data.ndim == 1:
            yield axis, np.asarray(data[()])[None]
            return
        for start in range(0, data.shape[0], size):
            yield axis, np.asarray(data[start : start + size])


def _read_scans(path: Path, signal: Signal, allow_negative: bool) -> Iterator[Scan]:
    axis, kind, notes = read_positions(signal, path)
    source = f"{path}: {signal.data.name}"
    start, end = (parse_datetime(hdf5.read_text(signal.entry, key, path)) for key in ("start_time", "end_time"))
    metadata = {"signal": signal.data.name}
    if signal.axis is not None:
        metadata |= {"axis": signal.axis.name, "axis unit": unit_of(signal.axis)}
    metadata = strip_texts(metadata | {key: hdf5.read_text(signal.entry, key, path) for key in _DESCRIPTION})
    facts: dict[str, Any] = {"kind": kind, "wavelength": read_wavelength(signal.entry, path), "notes": notes}
    if signal.data.ndim == 1:
        facts |= {"start_time": start, "end_time": end, "exposure": seconds_between(start, end), "metadata": metadata}
        intensity = np.asarray(signal.data[()], np.float64)
        errors = None if signal.errors is None else np.asarray(signal.errors[()], np.float64)
        yield make_pattern(source, axis, intensity, allow_negative, errors, **facts)
        return
    # The times of an entry are those of the whole stack; what names each row goes into the metadata.
    metadata |= {key: str(time) for key, time in (("start_time", start), ("end_time", end)) if time is not None}
    row_axis = signal.row_axis if signal.row_axis is not None and signal.row_axis.ndim == 1 else None
    for i, row, row_errors in _read_rows(signal):
        if np.isnan(row).all():
            yield UnfinishedScan(f"row {i + 1} was not written yet")
            continue
        facts["metadata"] = metadata
        if row_axis is not None and i < row_axis.size:
            value = f"{row_axis[i]} {unit_of(row_axis)}"
            facts["metadata"] = metadata | {row_axis.name.rpartition("/")[2]: value.strip()}
        yield make_pattern(f"{source} row {i + 1}", axis, row, allow_negative, row_errors, **facts)


def _read_rows(signal: Signal) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """Number, intensities [N] and errors [N] of each row, a few read at a time."""
    for start in range(0, signal.data.shape[0], _ROWS_AT_ONCE):
        block = np.asarray(signal.data[start : start + _ROWS_AT_ONCE], np.float64)
        errors = None
        if signal.errors is not None:
            errors = np.asarray(signal.errors[start : start + _ROWS_AT_ONCE], np.float64)
        for i, row in enumerate(block):
            yield start + i, row, None if errors is None else errors[i]


def read_wavelength(entry: h5py.Group, path: Path) -> float | None:
    """Return Å, from the places where NeXus keeps it; a value without a unit is not used."""
    for name in _WAVELENGTHS:
        data = hdf5.get_dataset(entry, name, path)
        if data is not None and data.size == 1 and data.dtype.kind in "iuf":
            factor = ANGSTROM_PER_UNIT.get(unit_of(data).lower())
            value = parse_positive(float(np.asarray(data[()]).ravel()[0]))
            if factor is not None and value is not None:
                return value * factor
    return None
