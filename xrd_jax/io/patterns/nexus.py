"""NeXus and plain HDF5: NXdata found by @default, @signal and @axes; NXazint1d and NXmonopd; a dataset by its path.

A path within the file is written after two colons: `scan.nxs::/entry/data` names a group, `run.h5::/a/counts,/a/q`
names intensities and, after a comma, positions. A signal [T, N] gives T scans. Links into other files are not followed.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.patterns import axes, pattern, times

_BEYOND = 100 * 2**20  # bytes that the scans may take beyond four times the file
_ERROR_NAMES = ("{}_errors", "errors", "{}_error", "sigma", "{}_sigma")
_WAVELENGTHS = ("monochromator/wavelength", "beam/incident_wavelength", "crystal/wavelength", "source/wavelength")
_LENGTHS = {"angstrom": 1.0, "angstroms": 1.0, "å": 1.0, "a": 1.0, "nm": 10.0, "m": 1e10, "pm": 0.01}


class Signal(NamedTuple):
    """Where the numbers of a file are: intensities [N] or [T, N], their positions, errors, and what names them."""

    data: h5py.Dataset
    axis: h5py.Dataset | None
    errors: h5py.Dataset | None
    first: h5py.Dataset | None
    entry: h5py.Group


def recognises(head: bytes) -> bool:
    """True for the HDF5 signature at the start."""
    return head.startswith(hdf5.SIGNATURE)


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every scan of the signal that the file, or the path after `::`, names.

    Raises:
      UserError: no signal, several without a default, positions that do not fit, a filter that is not installed, or
        a stack too large to hold (`rows` reads such a stack piece by piece).
    """
    with hdf5.opened(path) as file:
        signal = _chosen(file, path)
        limit = 4 * hdf5.split(path)[0].stat().st_size + _BEYOND
        needed = signal.data.size * 8 * (2 if signal.errors is not None else 1)
        if needed > limit:
            raise UserError(
                f"{path}: {signal.data.name} {signal.data.shape} would take {needed >> 20} MiB; read such a stack in "
                "pieces (xrd_jax.io.patterns.nexus.rows)"
            )
        found = list(_scans(path, file, signal, allow_negative))
    return pattern.collect(found, path)


def rows(path: str | Path, size: int = 256) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions [N] and intensities [up to `size`, N] of a stack, piece by piece, in the file's own units and types.

    Raises:
      UserError: as `read`, but a stack of any length is read.
    """
    path = Path(path)
    with hdf5.opened(path) as file:
        signal = _chosen(file, path)
        axis, _, _ = positions(signal, path)
        data = signal.data
        if data.ndim == 1:
            yield axis, np.asarray(data[()])[None]
            return
        for start in range(0, data.shape[0], size):
            yield axis, np.asarray(data[start : start + size])


def _chosen(file: h5py.File, path: Path) -> Signal:
    inner = hdf5.split(path)[1]
    return _named(file, inner, path) if inner else _default(file, path)


def _default(file: h5py.File, path: Path) -> Signal:
    """The signal along @default; else of the only NXdata, or the only NXmonopd or other group that has one."""
    at: h5py.Group = file
    for _ in range(8):
        if (name := hdf5.word(at.attrs.get("default"))) and isinstance(child := hdf5.get(at, name, path), h5py.Group):
            at = child
        else:
            break
    if at != file and (signal := _signal(at, path)):
        return signal
    found = [(group, signal) for group in hdf5.groups(file, path) if (signal := _signal(group, path))]
    if len(found) > 1:
        found = [pair for pair in found if hdf5.word(pair[0].attrs.get("NX_class")) == "NXdata"] or found
    distinct = {signal.data.id: (group, signal) for group, signal in found}
    if len(distinct) == 1:
        return next(iter(distinct.values()))[1]
    if distinct:
        names = ", ".join(sorted(group.name for group, _ in distinct.values())[:4])
        raise UserError(f"{path}: holds {len(distinct)} data groups ({names}); name one as {path.name}::/path")
    empty = next(
        (g.name for g in hdf5.groups(file, path) if hdf5.word(g.attrs.get("NX_class")) == "NXdata" and not len(g)), ""
    )
    if empty:
        raise UserError(f"{path}: its NXdata {empty} is empty, so the file holds no pattern; save the result again")
    raise UserError(f"{path}: no NXdata with a signal; name intensities and positions as {path.name}::/a/counts,/a/q")


def _named(file: h5py.File, inner: str, path: Path) -> Signal:
    """The signal at a path: of a group, or a dataset with positions beside it or named after a comma."""
    name, _, positions = (part.strip() for part in inner.partition(","))
    item = hdf5.get(file, "/" + name.strip("/"), path)
    if item is None or not isinstance(item, h5py.Group | h5py.Dataset):
        raise UserError(f"{path}: there is no {name} in the file; look at its tree, for instance with h5ls")
    if isinstance(item, h5py.Group):
        if signal := _signal(item, path):
            return signal
        raise UserError(
            f"{path}: the group names no signal; name a dataset as {hdf5.split(path)[0].name}::/a/counts,/a/q"
        )
    if positions:
        axis = hdf5.get(file, "/" + positions.strip("/"), path)
        if not isinstance(axis, h5py.Dataset):
            raise UserError(f"{path}: there is no dataset {positions} in the file; look at its tree with h5ls")
        return Signal(item, axis, None, None, entry_of(item))
    beside = _signal(item.parent, path)
    if beside is not None and beside.axis is not None and beside.data == item:
        return beside
    raise UserError(f"{path}: which dataset holds the positions? name it after a comma: {path.name},/path/to/positions")


def _signal(group: h5py.Group, path: Path) -> Signal | None:
    """Signal, axes and errors of one group as NeXus marks them, in the newer way or the older."""
    attrs = group.attrs
    data = hdf5.get(group, hdf5.word(attrs["signal"]), path) if "signal" in attrs else None
    names = hdf5.words(attrs.get("axes"))
    if data is None and "signal" not in attrs:
        marked = [name for name in list(group)[:200] if _attribute(group, name, "signal") == "1"]
        data = hdf5.get(group, marked[0], path) if marked else _powder(group, path)
        if marked and data is not None:
            names = hdf5.words(data.attrs.get("axes")) or _old_axes(group)
    if not isinstance(data, h5py.Dataset) or data.ndim not in (1, 2) or data.dtype.kind not in "iuf":
        return None
    if not names and hdf5.word(group.attrs.get("NX_class")) in ("NXdata", "NXmonopd", "NXdetector"):
        names = [name for name in ("polar_angle", "two_theta", "radial_axis", "q") if name in group][:1]
    found = [hdf5.get(group, name, path) if name not in (".", "") else None for name in names]
    found = [item if isinstance(item, h5py.Dataset) else None for item in found]
    axis = found[-1] if found else None
    first = found[0] if data.ndim == 2 and len(found) == 2 else None
    stem = data.name.rpartition("/")[2]
    errors = next(
        (e for n in _ERROR_NAMES if isinstance(e := hdf5.get(group, n.format(stem), path), h5py.Dataset)), None
    )
    return Signal(
        data, axis, errors if errors is not None and errors.shape == data.shape else None, first, entry_of(data)
    )


def _powder(group: h5py.Group, path: Path) -> Any:
    """NXmonopd and NXazint1d by their fixed names, where nothing is marked."""
    has = set(list(group)[:200])
    if "polar_angle" in has and has & {"data", "counts"}:
        return hdf5.get(group, "data" if "data" in has else "counts", path)
    return hdf5.get(group, "I", path) if {"I", "radial_axis"} <= has else None


def _old_axes(group: h5py.Group) -> list[str]:
    numbered = {_attribute(group, name, "axis"): name for name in list(group)[:200]}
    return [numbered[n] for n in ("1", "2") if n in numbered]


def _attribute(group: h5py.Group, name: str, key: str) -> str:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink | h5py.SoftLink):
        return ""
    item = group.get(name)
    return hdf5.word(item.attrs.get(key)) if item is not None else ""


def entry_of(item: Any) -> h5py.Group:
    """The NXentry around an object, else the topmost group of its path."""
    names = [part for part in item.name.split("/") if part][:-1]
    return item.file["/" + names[0]] if names else item.file["/"]


def positions(signal: Signal, path: Path) -> tuple[np.ndarray, str | None, tuple[str, ...]]:
    """Positions [N] in the unit of their kind, the kind, and notes."""
    if signal.axis is None:
        raise UserError(
            f"{path}: {signal.data.name} has no positions; name them after a comma: "
            f"{hdf5.split(path)[0].name}::{signal.data.name},/path/to/positions"
        )
    size, axis = signal.data.shape[-1], signal.axis
    if axis.ndim != 1 or axis.dtype.kind not in "iuf" or axis.size not in (size, size + 1):
        raise UserError(
            f"{path}: {axis.name} {axis.shape} gives no positions for the {size} channels of {signal.data.name}"
        )
    values = np.asarray(axis[()], np.float64)
    name = axis.name.rpartition("/")[2]
    unit, long = hdf5.word(axis.attrs.get("units")), hdf5.word(axis.attrs.get("long_name"))
    name = {"polar_angle": "two theta", "twotheta": "two theta"}.get(name.lower(), name)
    kind, factor = next(
        (k for label in (f"{name} ({unit})", f"{long} ({unit})") if (k := axes.kind_of(label))[0]), (None, 1.0)
    )
    if kind == "two_theta" and unit.lower() not in (
        "deg",
        "degree",
        "degrees",
        "°",
        "rad",
        "radian",
        "radians",
        "2th_deg",
    ):
        kind, factor = None, 1.0
    notes: tuple[str, ...] = ()
    if values.size == size + 1:
        values, notes = (values[1:] + values[:-1]) / 2, ("the file gives bin edges, whose middles were taken",)
    return values * factor, kind, notes


def _scans(path: Path, file: h5py.File, signal: Signal, allow_negative: bool) -> Iterator[pattern.Pattern]:
    axis, kind, notes = positions(signal, path)
    name = f"{path}: {signal.data.name}"
    values = np.asarray(signal.data[()], np.float64)
    errors = None if signal.errors is None else np.asarray(signal.errors[()], np.float64)
    start, end = (_time(signal.entry, key, path) for key in ("start_time", "end_time"))
    metadata = _described(signal, path)
    facts: dict[str, Any] = {"kind": kind, "wavelength": wavelength(signal.entry, path), "notes": notes}
    if values.ndim == 1:
        facts |= {"start_time": start, "end_time": end, "exposure": times.seconds(start, end), "metadata": metadata}
        yield pattern.finish(name, axis, values, allow_negative, errors, **facts)
        return
    # The times of an entry are those of the whole stack; what each row has of its own goes into the metadata.
    metadata |= {key: str(time) for key, time in (("start_time", start), ("end_time", end)) if time is not None}
    for i, row in enumerate(values):
        own = _own(signal, i)
        one = None if errors is None else errors[i]
        yield pattern.finish(f"{name} row {i + 1}", axis, row, allow_negative, one, metadata=metadata | own, **facts)


def _own(signal: Signal, row: int) -> dict[str, str]:
    first = signal.first
    if first is None or first.ndim != 1 or row >= first.size:
        return {}
    return {first.name.rpartition("/")[2]: f"{first[row]} {hdf5.word(first.attrs.get('units'))}".strip()}


def _described(signal: Signal, path: Path) -> dict[str, str]:
    found = {"signal": signal.data.name, "axis": signal.axis.name if signal.axis is not None else ""}
    found["axis unit"] = hdf5.word(signal.axis.attrs.get("units")) if signal.axis is not None else ""
    for key in ("title", "definition", "sample/name", "instrument/name", "instrument/source/k_alpha_one"):
        item = hdf5.get(signal.entry, key, path)
        if isinstance(item, h5py.Dataset) and item.size == 1:
            found[key] = hdf5.scalar(item)
    return {key: value for key, value in found.items() if value}


def _time(entry: h5py.Group, key: str, path: Path) -> datetime.datetime | None:
    item = hdf5.get(entry, key, path)
    return times.parse(hdf5.scalar(item)) if isinstance(item, h5py.Dataset) and item.size == 1 else None


def wavelength(entry: h5py.Group, path: Path) -> float | None:
    """Å, from the places where NeXus keeps it; a value without a unit is not used."""
    places = [f"instrument/{name}" for name in _WAVELENGTHS] + [
        "sample/beam/incident_wavelength",
        "wavelength",
        "data/wavelength",
    ]
    for name in places:
        item = hdf5.get(entry, name, path)
        if isinstance(item, h5py.Dataset) and item.size == 1 and item.dtype.kind in "iuf":
            factor = _LENGTHS.get(hdf5.word(item.attrs.get("units")).lower())
            value = pattern.positive(float(np.asarray(item[()]).ravel()[0]))
            if factor is not None and value is not None:
                return value * factor
    return None
