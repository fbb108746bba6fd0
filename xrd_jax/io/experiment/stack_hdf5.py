"""An HDF5 stack [T, N]: held in memory while it is small, else left on disk and read row by row when needed."""

from pathlib import Path

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment.stack import Stack
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.patterns.nexus import read_wavelength
from xrd_jax.io.patterns.nexus_signal import Signal, entry_of, read_positions
from xrd_jax.series import lazy
from xrd_jax.series.hdf5 import MAX_COMPRESSION

# Kinds of numbers, as NumPy names them: of patterns, and of what lies beside them (true and false too).
INTENSITY_KINDS, COLUMN_KINDS = "iuf", "iufb"


def read_stack(path: Path, dataset: str) -> Stack:
    """Read the patterns and the columns beside them; patterns beyond `MAX_BYTES_IN_MEMORY` stay on disk."""
    with hdf5.open_file(path) as file:
        data = _intensities(file, dataset, path)
        if data.ndim != 2 or data.dtype.kind not in INTENSITY_KINDS:
            found = f"'{data.name}' is {data.dtype} {data.shape}"
            raise UserError(f"{path}: {found}; a stack has numbers [pattern, channel]")
        if data.id.get_storage_size() * MAX_COMPRESSION < data.size * data.dtype.itemsize:
            values = f"announces {data.shape} values but stores next to none"
            raise UserError(f"{path}: '{data.name}' {values}; copy it again")
        axis, kind, axis_name = _axis(data, path)
        columns = _columns(data, path, axis_name)
        wavelength = read_wavelength(data.parent, path) or read_wavelength(entry_of(data), path)
        dataset, intensity = data.name, None
        if data.nbytes <= lazy.MAX_BYTES_IN_MEMORY:
            intensity = data[()].astype(np.float64) if data.dtype.kind == "f" else data[()]
    if intensity is None:
        intensity = lazy.LazyRows.open(path, dataset)
    if axis[0] > axis[-1]:
        axis, intensity = axis[::-1], lazy.columns(intensity, np.arange(axis.size)[::-1])
    names = [f"row {i}" for i in range(len(intensity))]
    return Stack(names, axis, intensity, kind, wavelength, columns=columns)


def _intensities(file: h5py.File, dataset: str, path: Path) -> h5py.Dataset:
    """Return the data set named, or the one that the chain of @default and @signal leads to."""
    if dataset:
        item = hdf5.get_dataset(file, "/" + dataset.strip("/"), path)
        if item is None:
            raise UserError(f"{path}: has no data set '{dataset}'; look its path up and mend dataset = \"…\"")
        return item
    for group in hdf5.default_groups(file, path):
        signal = hdf5.get_dataset(group, hdf5.to_text(group.attrs.get("signal")), path)
        if signal is not None:
            return signal
    raise UserError(f'{path}: does not say which data set to plot; name it with dataset = "/path/to/intensities"')


def _axis(data: h5py.Dataset, path: Path) -> tuple[np.ndarray, str | None, str]:
    """Return positions [N] with their kind and name; numbers of channels where the file gives none.

    Positions come in the unit of `AXIS_UNITS` where name and unit tell their kind, else as they are.
    """
    names = hdf5.to_names(data.parent.attrs.get("axes"))
    item = hdf5.get_dataset(data.parent, names[1], path) if len(names) == 2 and names[1] != "." else None
    if item is None or item.shape != (data.shape[1],):
        return np.arange(1.0, data.shape[1] + 1), None, ""
    values, kind, _ = read_positions(Signal(data, item, None, None, entry_of(data)), path)
    return values, kind, names[1]


def _columns(data: h5py.Dataset, path: Path, axis_name: str) -> dict[str, np.ndarray]:
    """Read what has one value per pattern, beside the patterns and in the group 'targets' beside theirs."""
    columns: dict[str, np.ndarray] = {}
    for group in (data.parent, hdf5.get_member(data.parent.parent, "targets", path)):
        for name in group if isinstance(group, h5py.Group) else ():
            item = hdf5.get_dataset(group, name, path)
            if item is not None and item.shape == (data.shape[0],) and name != axis_name:
                is_number = item.dtype.kind in COLUMN_KINDS
                columns[name] = item[()].astype(np.float64) if is_number else item.asstr()[()].astype(str)
    return columns
