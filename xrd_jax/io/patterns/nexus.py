"""NeXus and plain HDF5: NXdata found by @default, @signal and @axes; NXazint1d and NXmonopd; a dataset by its path.

A path within the file is written after two colons: `scan.nxs::/entry/data` names a group, `run.h5::/a/counts,/a/q`
names intensities and, after a comma, positions. A signal [T, N] gives T scans. Links into other files are not followed.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.patterns import axes, pattern, times

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MARK = "::"
_MOST_OBJECTS = 5000
_BEYOND = 100 * 2**20  # bytes that the scans may take beyond four times the file
_DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
)
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
    return head.startswith(SIGNATURE)


def split(path: Path) -> tuple[Path, str]:
    """The file, and what is written after `::`."""
    file, _, inner = str(path).partition(MARK)
    return Path(file), inner.replace("\\", "/")


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every scan of the signal that the file, or the path after `::`, names.

    Raises:
      UserError: no signal, several without a default, positions that do not fit, a filter that is not installed, or
        a stack too large to hold (`rows` reads such a stack piece by piece).
    """
    with _opened(path) as (file, signal):
        limit = 4 * split(path)[0].stat().st_size + _BEYOND
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
    with _opened(path) as (_, signal):
        axis, _, _ = _positions(signal, path)
        data = signal.data
        if data.ndim == 1:
            yield axis, np.asarray(data[()])[None]
            return
        for start in range(0, data.shape[0], size):
            yield axis, np.asarray(data[start : start + size])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Signal]]:
    """The open file and its signal; whatever HDF5 stumbles over becomes one line."""
    name, inner = split(path)
    try:
        with h5py.File(name, "r", locking=False) as file:
            yield file, _named(file, inner, path) if inner else _default(file, path)
    except UserError:
        raise
    except _DAMAGE as error:
        text = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged HDF5, or being written ({text}); copy or export it again") from None


def _get(group: h5py.Group, name: str, path: Path) -> Any:
    """A member of the same file, or None; links that lead out of the file are refused."""
    at: Any = group.file if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        if not isinstance(at, h5py.Group) or (link := at.get(part, getlink=True)) is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise UserError(
                f"{path}: {at.name.rstrip('/')}/{part} lies in another file ({link.filename[:60]}); name that file"
            )
        if isinstance(link, h5py.SoftLink) and link.path.count("/") > 50:
            return None
        at = at.get(part)
    if isinstance(at, h5py.Dataset) and (at.external or at.is_virtual):
        raise UserError(f"{path}: {at.name} keeps its values in other files; write them into one file")
    if isinstance(at, h5py.Dataset):
        _need_filters(at, path)
    return at


def _need_filters(data: h5py.Dataset, path: Path) -> None:
    """Registers the compression filters of the extra, where a dataset needs one that HDF5 lacks."""
    stored = data.id.get_create_plist()
    missing = [n for i in range(stored.get_nfilters()) if not h5py.h5z.filter_avail(n := stored.get_filter(i)[0])]
    if not missing:
        return
    try:
        import hdf5plugin  # noqa: F401 - importing it registers its filters
    except ImportError:
        raise UserError(
            f"{path}: {data.name} is compressed by filter {missing[0]}; reading it needs pip install 'xrd_jax[beamline]'"
        ) from None
    if not all(map(h5py.h5z.filter_avail, missing)):
        raise UserError(
            f"{path}: {data.name} is compressed by filter {missing[0]}, which is not known; write it with gzip"
        )


def _groups(file: h5py.File, path: Path) -> Iterator[h5py.Group]:
    """Groups of the file from the top down, each once, without following links out of it."""
    waiting, seen, looked = [file], set(), 0
    while waiting:
        group = waiting.pop(0)
        key = h5py.h5o.get_info(group.id).addr
        if key in seen:
            continue
        seen.add(key)
        yield group
        for name in group:
            looked += 1
            if looked > _MOST_OBJECTS:
                raise UserError(f"{path}: has over {_MOST_OBJECTS} members; name one as {path.name}::/path/to/data")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.HardLink) and isinstance(child := group.get(name), h5py.Group):
                waiting.append(child)


def _default(file: h5py.File, path: Path) -> Signal:
    """The signal along @default; else of the only NXdata, or the only NXmonopd or other group that has one."""
    at: h5py.Group = file
    for _ in range(8):
        if (name := _text(at.attrs.get("default"))) and isinstance(child := _get(at, name, path), h5py.Group):
            at = child
        else:
            break
    if at != file and (signal := _signal(at, path)):
        return signal
    found = [(group, signal) for group in _groups(file, path) if (signal := _signal(group, path))]
    if len(found) > 1:
        found = [pair for pair in found if _text(pair[0].attrs.get("NX_class")) == "NXdata"] or found
    distinct = {signal.data.id: (group, signal) for group, signal in found}
    if len(distinct) == 1:
        return next(iter(distinct.values()))[1]
    if distinct:
        names = ", ".join(sorted(group.name for group, _ in distinct.values())[:4])
        raise UserError(f"{path}: holds {len(distinct)} data groups ({names}); name one as {path.name}::/path")
    empty = next((g.name for g in _groups(file, path) if _text(g.attrs.get("NX_class")) == "NXdata" and not len(g)), "")
    if empty:
        raise UserError(f"{path}: its NXdata {empty} is empty, so the file holds no pattern; save the result again")
    raise UserError(f"{path}: no NXdata with a signal; name intensities and positions as {path.name}::/a/counts,/a/q")


def _named(file: h5py.File, inner: str, path: Path) -> Signal:
    """The signal at a path: of a group, or a dataset with positions beside it or named after a comma."""
    name, _, positions = (part.strip() for part in inner.partition(","))
    item = _get(file, "/" + name.strip("/"), path)
    if item is None or not isinstance(item, h5py.Group | h5py.Dataset):
        raise UserError(f"{path}: there is no {name} in the file; look at its tree, for instance with h5ls")
    if isinstance(item, h5py.Group):
        if signal := _signal(item, path):
            return signal
        raise UserError(f"{path}: the group names no signal; name a dataset as {split(path)[0].name}::/a/counts,/a/q")
    if positions:
        axis = _get(file, "/" + positions.strip("/"), path)
        if not isinstance(axis, h5py.Dataset):
            raise UserError(f"{path}: there is no dataset {positions} in the file; look at its tree with h5ls")
        return Signal(item, axis, None, None, _entry(item))
    beside = _signal(item.parent, path)
    if beside is not None and beside.axis is not None and beside.data == item:
        return beside
    raise UserError(f"{path}: which dataset holds the positions? name it after a comma: {path.name},/path/to/positions")


def _signal(group: h5py.Group, path: Path) -> Signal | None:
    """Signal, axes and errors of one group as NeXus marks them, in the newer way or the older."""
    attrs = group.attrs
    data = _get(group, _text(attrs["signal"]), path) if "signal" in attrs else None
    names = _texts(attrs.get("axes"))
    if data is None and "signal" not in attrs:
        marked = [name for name in list(group)[:200] if _attribute(group, name, "signal") == "1"]
        data = _get(group, marked[0], path) if marked else _powder(group, path)
        if marked and data is not None:
            names = _texts(data.attrs.get("axes")) or _old_axes(group)
    if not isinstance(data, h5py.Dataset) or data.ndim not in (1, 2) or data.dtype.kind not in "iuf":
        return None
    if not names and _text(group.attrs.get("NX_class")) in ("NXdata", "NXmonopd", "NXdetector"):
        names = [name for name in ("polar_angle", "two_theta", "radial_axis", "q") if name in group][:1]
    found = [_get(group, name, path) if name not in (".", "") else None for name in names]
    found = [item if isinstance(item, h5py.Dataset) else None for item in found]
    axis = found[-1] if found else None
    first = found[0] if data.ndim == 2 and len(found) == 2 else None
    stem = data.name.rpartition("/")[2]
    errors = next((e for n in _ERROR_NAMES if isinstance(e := _get(group, n.format(stem), path), h5py.Dataset)), None)
    return Signal(
        data, axis, errors if errors is not None and errors.shape == data.shape else None, first, _entry(data)
    )


def _powder(group: h5py.Group, path: Path) -> Any:
    """NXmonopd and NXazint1d by their fixed names, where nothing is marked."""
    has = set(list(group)[:200])
    if "polar_angle" in has and has & {"data", "counts"}:
        return _get(group, "data" if "data" in has else "counts", path)
    return _get(group, "I", path) if {"I", "radial_axis"} <= has else None


def _old_axes(group: h5py.Group) -> list[str]:
    numbered = {_attribute(group, name, "axis"): name for name in list(group)[:200]}
    return [numbered[n] for n in ("1", "2") if n in numbered]


def _attribute(group: h5py.Group, name: str, key: str) -> str:
    if not isinstance(group.get(name, getlink=True), h5py.HardLink | h5py.SoftLink):
        return ""
    item = group.get(name)
    return _text(item.attrs.get(key)) if item is not None else ""


def _entry(item: Any) -> h5py.Group:
    """The NXentry around an object, else the topmost group of its path."""
    names = [part for part in item.name.split("/") if part][:-1]
    return item.file["/" + names[0]] if names else item.file["/"]


def _positions(signal: Signal, path: Path) -> tuple[np.ndarray, str | None, tuple[str, ...]]:
    """Positions [N] in the unit of their kind, the kind, and notes."""
    if signal.axis is None:
        raise UserError(
            f"{path}: {signal.data.name} has no positions; name them after a comma: "
            f"{split(path)[0].name}::{signal.data.name},/path/to/positions"
        )
    size, axis = signal.data.shape[-1], signal.axis
    if axis.ndim != 1 or axis.dtype.kind not in "iuf" or axis.size not in (size, size + 1):
        raise UserError(
            f"{path}: {axis.name} {axis.shape} gives no positions for the {size} channels of {signal.data.name}"
        )
    values = np.asarray(axis[()], np.float64)
    name = axis.name.rpartition("/")[2]
    unit, long = _text(axis.attrs.get("units")), _text(axis.attrs.get("long_name"))
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
    axis, kind, notes = _positions(signal, path)
    name = f"{path}: {signal.data.name}"
    values = np.asarray(signal.data[()], np.float64)
    errors = None if signal.errors is None else np.asarray(signal.errors[()], np.float64)
    start, end = (_time(signal.entry, key, path) for key in ("start_time", "end_time"))
    metadata = _described(signal, path)
    facts: dict[str, Any] = {"kind": kind, "wavelength": _wavelength(signal.entry, path), "notes": notes}
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
    return {first.name.rpartition("/")[2]: f"{first[row]} {_text(first.attrs.get('units'))}".strip()}


def _described(signal: Signal, path: Path) -> dict[str, str]:
    found = {"signal": signal.data.name, "axis": signal.axis.name if signal.axis is not None else ""}
    found["axis unit"] = _text(signal.axis.attrs.get("units")) if signal.axis is not None else ""
    for key in ("title", "definition", "sample/name", "instrument/name", "instrument/source/k_alpha_one"):
        item = _get(signal.entry, key, path)
        if isinstance(item, h5py.Dataset) and item.size == 1:
            found[key] = _text(item[()])
    return {key: value for key, value in found.items() if value}


def _time(entry: h5py.Group, key: str, path: Path) -> datetime.datetime | None:
    item = _get(entry, key, path)
    return times.parse(_text(item[()])) if isinstance(item, h5py.Dataset) and item.size == 1 else None


def _wavelength(entry: h5py.Group, path: Path) -> float | None:
    """Å, from the places where NeXus keeps it; a value without a unit is not used."""
    places = [f"instrument/{name}" for name in _WAVELENGTHS] + [
        "sample/beam/incident_wavelength",
        "wavelength",
        "data/wavelength",
    ]
    for name in places:
        item = _get(entry, name, path)
        if isinstance(item, h5py.Dataset) and item.size == 1 and item.dtype.kind in "iuf":
            factor = _LENGTHS.get(_text(item.attrs.get("units")).lower())
            value = pattern.positive(float(np.asarray(item[()]).ravel()[0]))
            if factor is not None and value is not None:
                return value * factor
    return None


def _text(value: Any) -> str:
    """The text of an attribute or a scalar, whatever type it was written as; '' for None."""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, np.ndarray) or value is None or isinstance(value, Mapping):
        return ""
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def _texts(value: Any) -> list[str]:
    """A list of names; older files part them by colons or commas in one text."""
    if isinstance(value, np.ndarray) and value.size != 1:
        return [_text(item) for item in value.ravel()[:8]]
    text = _text(value).strip("[]")
    return [part.strip() for part in text.replace(",", ":").split(":")] if text else []
