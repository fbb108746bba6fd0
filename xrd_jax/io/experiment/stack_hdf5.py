"""An HDF5 stack [T, N]: held in memory while it is small, else left on disk and read row by row when needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.experiment import stack
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.patterns import nexus
from xrd_jax.series import lazy

# What may stand for patterns and for what lies beside them, as NumPy names kinds of numbers.
_NUMBERS, _COLUMNS = "iuf", "iufb"


def load(plan: plans.PatternPlan, path: Path, limit_bytes: int) -> tuple[stack.Stack, dict[str, np.ndarray]]:
    """The patterns, and the columns [T] beside them; patterns of more than `limit_bytes` stay on disk.

    Raises:
      UserError: the file is damaged, or has no data set of numbers [pattern, channel] where it should be.
    """
    with hdf5.opened(path) as file:
        data = _signal(file, plan.dataset, path)
        _check(data, path)
        axis, kind, name = _axis(data, path)
        columns = _columns(data, path, name)
        wavelength = nexus.wavelength(data.parent, path) or nexus.wavelength(nexus.entry_of(data), path)
        dataset, intensity = data.name, None
        if data.nbytes <= limit_bytes:
            intensity = data[()].astype(np.float64) if data.dtype.kind == "f" else data[()]
    if intensity is None:
        intensity = lazy.LazyRows.open(path, dataset)
    if axis[0] > axis[-1]:
        axis, intensity = axis[::-1], lazy.columns(intensity, np.arange(axis.size)[::-1])
    names = [f"row {i}" for i in range(len(intensity))]
    return stack.Stack(names, axis, intensity, kind, wavelength), columns


def _signal(file: h5py.File, wanted: str, path: Path) -> h5py.Dataset:
    """The data set at `wanted`, or the one that the chain of @default and @signal leads to."""
    if wanted:
        item = hdf5.get(file, "/" + wanted.strip("/"), path)
        if not isinstance(item, h5py.Dataset):
            raise UserError(f"{path}: has no data set '{wanted}'; look its path up and mend dataset = \"…\"")
        return item
    node: Any = file
    for _ in range(8):
        signal = hdf5.get(node, name, path) if (name := hdf5.word(node.attrs.get("signal"))) else None
        if isinstance(signal, h5py.Dataset):
            return signal
        node = hdf5.get(node, name, path) if (name := hdf5.word(node.attrs.get("default"))) else None
        if not isinstance(node, h5py.Group):
            break
    raise UserError(f'{path}: does not say which data set to plot; name it with dataset = "/path/to/intensities"')


def _check(data: h5py.Dataset, path: Path) -> None:
    if data.ndim != 2 or data.dtype.kind not in _NUMBERS:
        raise UserError(f"{path}: '{data.name}' is {data.dtype} {data.shape}; a stack has numbers [pattern, channel]")
    if data.id.get_storage_size() * 2000 < data.size * data.dtype.itemsize:
        raise UserError(f"{path}: '{data.name}' announces {data.shape} values but stores next to none; copy it again")


def _axis(data: h5py.Dataset, path: Path) -> tuple[np.ndarray, str | None, str]:
    """Positions [N] with their kind and name; numbers of channels where the file gives none.

    Positions come in the unit of `series.AXIS_UNITS` where name and unit tell their kind, else as they are.
    """
    names = hdf5.words(data.parent.attrs.get("axes"))
    item = hdf5.get(data.parent, names[1], path) if len(names) == 2 and names[1] not in (".", "") else None
    if not isinstance(item, h5py.Dataset) or item.shape != (data.shape[1],):
        return np.arange(1.0, data.shape[1] + 1), None, ""
    values, kind, _ = nexus.positions(nexus.Signal(data, item, None, None, nexus.entry_of(data)), path)
    return values, kind, names[1]


def _columns(data: h5py.Dataset, path: Path, axis: str) -> dict[str, np.ndarray]:
    """Everything of one value per pattern beside the patterns and in the group 'targets' beside theirs."""
    found: dict[str, np.ndarray] = {}
    for home in (data.parent, hdf5.get(data.parent.parent, "targets", path)):
        for name in home if isinstance(home, h5py.Group) else ():
            item = hdf5.get(home, name, path)
            if isinstance(item, h5py.Dataset) and item.shape == (data.shape[0],) and name != axis:
                found[name] = _plain(item)
    return found


def _plain(item: h5py.Dataset) -> np.ndarray:
    return item[()].astype(np.float64) if item.dtype.kind in _COLUMNS else item.asstr()[()].astype(str)
