"""Where the numbers of a NeXus or HDF5 file are: the signal that it marks, or that a path within it names."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.patterns import axes

_ERROR_NAMES = ("{}_errors", "errors", "{}_error", "sigma", "{}_sigma")
_AXIS_NAMES = ("polar_angle", "two_theta", "radial_axis", "q")
_DEGREES_OR_RADIANS = ("deg", "degree", "degrees", "°", "rad", "radian", "radians", "2th_deg")
_MAX_NAMES = 200  # of members of one group


class Signal(NamedTuple):
    """Intensities [N] or [T, N], their positions and errors, what names the T rows, and the group that has them."""

    data: h5py.Dataset
    axis: h5py.Dataset | None
    errors: h5py.Dataset | None
    row_axis: h5py.Dataset | None
    entry: h5py.Group


def find_signal(file: h5py.File, path: Path) -> Signal:
    """Return the signal that the path after `::` names, else the only one or the default of those that are marked."""
    inner = hdf5.split_inner_path(path)[1]
    return _named_signal(file, inner, path) if inner else _default_signal(file, path)


def _default_signal(file: h5py.File, path: Path) -> Signal:
    """The signal along @default; else of the only NXdata, or the only NXmonopd or other group that has one."""
    *_, group = hdf5.default_groups(file, path)
    if group != file and (signal := _signal_of(group, path)):
        return signal
    groups = [(group, signal) for group in hdf5.walk_groups(file, path) if (signal := _signal_of(group, path))]
    if len(groups) > 1:
        groups = [pair for pair in groups if _is_class(pair[0], "NXdata")] or groups
    distinct = {signal.data.id: (group, signal) for group, signal in groups}
    if len(distinct) == 1:
        return next(iter(distinct.values()))[1]
    if distinct:
        names = ", ".join(sorted(group.name for group, _ in distinct.values())[:4])
        raise UserError(f"{path}: holds {len(distinct)} data groups ({names}); name one as {path.name}::/path")
    for group in hdf5.walk_groups(file, path):
        if _is_class(group, "NXdata") and not len(group):
            fault = f"its NXdata {group.name} is empty, so the file holds no pattern"
            raise UserError(f"{path}: {fault}; save the result again")
    raise UserError(f"{path}: no NXdata with a signal; name intensities and positions as {path.name}::/a/counts,/a/q")


def _is_class(group: h5py.Group, *names: str) -> bool:
    return hdf5.to_text(group.attrs.get("NX_class")) in names


def _named_signal(file: h5py.File, inner: str, path: Path) -> Signal:
    """The signal at a path: of a group, or a dataset with positions beside it or named after a comma."""
    name, _, axis_name = (part.strip() for part in inner.partition(","))
    member = hdf5.get_member(file, "/" + name.strip("/"), path)
    file_name = hdf5.split_inner_path(path)[0].name
    if isinstance(member, h5py.Group):
        if signal := _signal_of(member, path):
            return signal
        raise UserError(f"{path}: the group names no signal; name a dataset as {file_name}::/a/counts,/a/q")
    if not isinstance(member, h5py.Dataset):
        raise UserError(f"{path}: there is no {name} in the file; look at its tree, for instance with h5ls")
    if axis_name:
        axis = hdf5.get_dataset(file, "/" + axis_name.strip("/"), path)
        if axis is None:
            raise UserError(f"{path}: there is no dataset {axis_name} in the file; look at its tree with h5ls")
        return Signal(member, axis, None, None, entry_of(member))
    marked = _signal_of(member.parent, path)
    if marked is not None and marked.axis is not None and marked.data == member:
        return marked
    raise UserError(f"{path}: which dataset holds the positions? name it after a comma: {path.name},/path/to/positions")


def _signal_of(group: h5py.Group, path: Path) -> Signal | None:
    """Signal, axes and errors of one group as NeXus marks them, in the newer way or the older."""
    data, axis_names = _marked_data(group, path)
    if not isinstance(data, h5py.Dataset) or data.ndim not in (1, 2) or data.dtype.kind not in "iuf":
        return None
    if not axis_names and _is_class(group, "NXdata", "NXmonopd", "NXdetector"):
        axis_names = [name for name in _AXIS_NAMES if name in group][:1]
    datasets = [hdf5.get_dataset(group, name, path) if name != "." else None for name in axis_names]
    row_axis = datasets[0] if data.ndim == 2 and len(datasets) == 2 else None
    stem = data.name.rpartition("/")[2]
    stated = (hdf5.get_dataset(group, name.format(stem), path) for name in _ERROR_NAMES)
    errors = next((errors for errors in stated if errors is not None), None)
    if errors is not None and errors.shape != data.shape:
        errors = None
    return Signal(data, datasets[-1] if datasets else None, errors, row_axis, entry_of(data))


def _marked_data(group: h5py.Group, path: Path) -> tuple[Any, list[str]]:
    """What a group calls its signal, and the names of its axes."""
    attributes = group.attrs
    axis_names = hdf5.to_names(attributes.get("axes"))
    if "signal" in attributes:
        return hdf5.get_member(group, hdf5.to_text(attributes["signal"]), path), axis_names
    marked = [name for name in list(group)[:_MAX_NAMES] if _attribute(group, name, "signal") == "1"]
    if not marked:
        return _powder_data(group, path), axis_names
    data = hdf5.get_member(group, marked[0], path)
    if data is None:
        return data, axis_names
    numbered = {_attribute(group, name, "axis"): name for name in list(group)[:_MAX_NAMES]}
    return data, hdf5.to_names(data.attrs.get("axes")) or [numbered[n] for n in ("1", "2") if n in numbered]


def _powder_data(group: h5py.Group, path: Path) -> Any:
    """NXmonopd and NXazint1d by their fixed names, where nothing is marked."""
    names = set(list(group)[:_MAX_NAMES])
    if "polar_angle" in names and names & {"data", "counts"}:
        return hdf5.get_member(group, "data" if "data" in names else "counts", path)
    return hdf5.get_member(group, "I", path) if {"I", "radial_axis"} <= names else None


def _attribute(group: h5py.Group, name: str, key: str) -> str:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink | h5py.SoftLink):
        return ""
    member = group.get(name)
    return hdf5.to_text(member.attrs.get(key)) if member is not None else ""


def entry_of(member: Any) -> h5py.Group:
    """Return the NXentry around an object, else the topmost group of its path."""
    names = [part for part in member.name.split("/") if part][:-1]
    return member.file["/" + names[0]] if names else member.file["/"]


def read_positions(signal: Signal, path: Path) -> tuple[np.ndarray, str | None, tuple[str, ...]]:
    """Return positions [N] in the unit of their kind, the kind, and notes."""
    name, axis, size = signal.data.name, signal.axis, signal.data.shape[-1]
    if axis is None:
        example = f"{hdf5.split_inner_path(path)[0].name}::{name},/path/to/positions"
        raise UserError(f"{path}: {name} has no positions; name them after a comma: {example}")
    if axis.ndim != 1 or axis.dtype.kind not in "iuf" or axis.size not in (size, size + 1):
        raise UserError(f"{path}: {axis.name} {axis.shape} gives no positions for the {size} channels of {name}")
    kind, factor = _kind_of(axis)
    values = np.asarray(axis[()], np.float64)
    if values.size == size + 1:
        middles = (values[1:] + values[:-1]) / 2
        return middles * factor, kind, ("the file gives bin edges, whose middles were taken",)
    return values * factor, kind, ()


def unit_of(data: h5py.Dataset) -> str:
    """Return what the attribute `units` says, or `unit` as pyFAI writes it."""
    return hdf5.to_text(data.attrs.get("units")) or hdf5.to_text(data.attrs.get("unit"))


def _kind_of(axis: h5py.Dataset) -> tuple[str | None, float]:
    """Kind of an axis by its name or its long name, with its unit; and the factor to the unit of the kind."""
    unit, long_name = unit_of(axis), hdf5.to_text(axis.attrs.get("long_name"))
    name = axis.name.rpartition("/")[2]
    name = "two theta" if name.lower() in ("polar_angle", "twotheta") else name
    for label in (name, hdf5.to_text(axis.attrs.get("name")), long_name):
        kind, factor = axes.kind_of(f"{label} ({unit})" if unit else label)
        # A long name such as '2theta (deg)' states the unit where the attribute is missing.
        stated = unit or (re.findall(r"[(\[]([^)\]]*)[)\]]|$", long_name)[0])
        if kind == "two_theta" and stated.lower() not in _DEGREES_OR_RADIANS:
            return None, 1.0
        if kind is not None:
            return kind, factor
    return None, 1.0
