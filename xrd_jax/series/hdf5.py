"""A pattern series as HDF5 in the NeXus NXdata layout, written block by block and read without its patterns."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.hdf5_members import check_text_length, find_member, open_contained
from xrd_jax.series.lazy import MAX_BYTES_IN_MEMORY, LazyRows

INTENSITY = "entry/data/intensity"
MAX_COMPRESSION = 2000  # values need more than this share of their size; HDF5's compressors reach about 1000
# What h5py, NumPy and the JSON of the labels raise for damage.
DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)


def write(path: str | os.PathLike[str], fields: Mapping[str, Any], patterns: Iterable[np.ndarray], dtype: Any) -> None:
    """Write a series whose patterns come in blocks [b, N], in order; the file appears when it is complete.

    Up to `MAX_BYTES_IN_MEMORY` of patterns are compressed; more are written as they are.

    Args:
      fields: the fields of a `PatternSeries` except `intensity`.

    Raises:
      UserError: the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(partial, "w") as file:
            _write_labels(file, fields)
            _write_patterns(file, (len(fields["time"]), fields["axis"].values.size), np.dtype(dtype), patterns)
            file[INTENSITY].attrs["units"] = "counts" if fields["is_counts"] else "arbitrary"
        os.replace(partial, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"{path}: cannot be written ({reason}); free some space or choose another path") from None
    finally:
        partial.unlink(missing_ok=True)


def _write_patterns(file: h5py.File, shape: tuple[int, int], dtype: np.dtype, patterns: Iterable[np.ndarray]) -> None:
    options: dict[str, Any] = {}
    if shape[0] * shape[1] * dtype.itemsize <= MAX_BYTES_IN_MEMORY:
        options = {"chunks": (min(64, max(shape[0], 1)), shape[1]), "compression": "gzip", "shuffle": True}
    dataset, begin = file.create_dataset(INTENSITY, shape, dtype, **options), 0
    for block in patterns:
        dataset[begin : begin + len(block)] = block
        begin += len(block)
    if begin != shape[0]:
        raise ValueError(f"{begin} patterns came for {shape[0]} times")


def _write_labels(file: h5py.File, fields: Mapping[str, Any]) -> None:
    axis = fields["axis"]
    file.attrs["default"] = "entry"
    entry = file.create_group("entry")
    entry.attrs.update(NX_class="NXentry", default="data")
    data = entry.create_group("data")
    data.attrs.update(NX_class="NXdata", signal="intensity", axes=["time", axis.kind])
    data.create_dataset(axis.kind, data=axis.values).attrs["units"] = axis.unit
    data.create_dataset("time", data=fields["time"]).attrs["units"] = "s" if fields.get("timed", True) else ""
    if axis.wavelength is not None and axis.kind != "wavelength":  # the axis has that name already
        data.create_dataset("wavelength", data=axis.wavelength).attrs["units"] = "angstrom"
    labels, targets = entry.create_group("labels"), entry.create_group("targets")
    labels.attrs["NX_class"] = targets.attrs["NX_class"] = "NXcollection"
    labels["cycle"], labels["session"] = fields["cycle"], fields["session"]
    labels.attrs["session_names"] = list(fields["session_names"])
    for name, target in fields["targets"].items():
        dataset = targets.create_dataset(name, data=target.values)
        dataset.attrs.update(kind=target.kind, units=target.unit, classes=json.dumps(target.classes))
    notes = {"windows": dict(fields["windows"]), "reflections": dict(fields["reflections"]), "masked": axis.masked}
    entry["provenance"] = json.dumps(notes | {"provenance": dict(fields["provenance"])})


def read(path: str | os.PathLike[str], limit_bytes: int = MAX_BYTES_IN_MEMORY) -> dict[str, Any]:
    """Read what `write` wrote, as the fields of a `PatternSeries`; patterns of more than `limit_bytes` stay on disk.

    Raises:
      UserError: the file is not HDF5 or was not written by `write`.
    """
    path = Path(path)
    try:
        with open_contained(path) as file:
            return _read_fields(_Members(file, path), path, limit_bytes)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from None
    except DAMAGE as error:
        raise UserError(f"{path}: not a pattern series saved by xrd_jax ({error})") from None


def _read_fields(members: "_Members", path: Path, limit_bytes: int) -> dict[str, Any]:
    data = members.get("entry/data", h5py.Group)
    kind = str(data.attrs["axes"][1])
    notes = json.loads(members.text("entry/provenance"))
    intensity = members.get(INTENSITY, h5py.Dataset)
    if intensity.dtype.kind not in "iuf" or intensity.ndim != 2:
        raise ValueError(f"patterns are numbers [pattern, channel], not {intensity.dtype} {intensity.shape}")
    if intensity.id.get_storage_size() * MAX_COMPRESSION < intensity.nbytes:
        raise ValueError(f"it announces {intensity.shape} values but stores next to none")
    wavelength = None
    if kind != "wavelength" and "wavelength" in data:
        wavelength = float(members.numbers("entry/data/wavelength").reshape(()))
    return {
        "intensity": intensity[()] if intensity.nbytes <= limit_bytes else LazyRows.open(path, INTENSITY),
        "axis": Axis(members.numbers(f"entry/data/{kind}"), kind, wavelength, _ranges(notes.get("masked", ()))),
        "time": members.numbers("entry/data/time"),
        "targets": {name: members.target(name) for name in members.get("entry/targets", h5py.Group)},
        "cycle": members.numbers("entry/labels/cycle"),
        "session": members.numbers("entry/labels/session"),
        "session_names": tuple(map(str, members.get("entry/labels", h5py.Group).attrs["session_names"])),
        "is_counts": str(intensity.attrs["units"]) == "counts",
        "windows": dict(zip(notes["windows"], _ranges(notes["windows"].values()), strict=True)),
        "reflections": {name: float(position) for name, position in notes["reflections"].items()},
        "provenance": dict(notes["provenance"]),
        "timed": str(members.get("entry/data/time", h5py.Dataset).attrs["units"]) == "s",
    }


def _ranges(pairs: Iterable[Any]) -> tuple[tuple[float, float], ...]:
    return tuple((float(low), float(high)) for low, high in pairs)


class _Members:
    """What a file holds by its names, none of it outside the file or larger than the file can hold."""

    def __init__(self, file: h5py.File, path: Path):
        self._file, self._path, self._bytes = file, path, path.stat().st_size

    def get(self, name: str, kind: type) -> Any:
        member = find_member(self._file, name, self._path)
        if not isinstance(member, kind):
            raise KeyError(f"{name} is missing")
        return member

    def numbers(self, name: str) -> np.ndarray:
        """Return a label; `write` compresses none, so that one larger than the file is forged."""
        dataset = self.get(name, h5py.Dataset)
        if dataset.dtype.kind not in "biuf":
            raise ValueError(f"{name} holds {dataset.dtype}, not numbers")
        if dataset.nbytes > self._bytes:
            raise ValueError(f"{name} claims {dataset.nbytes} bytes in a file of {self._bytes}")
        return np.asarray(dataset[()])

    def text(self, name: str) -> str:
        dataset = self.get(name, h5py.Dataset)
        if dataset.shape != ():
            raise ValueError(f"{name} is no text")
        check_text_length(dataset)
        return dataset.asstr()[()]

    def target(self, name: str) -> Target:
        dataset = self.get(f"entry/targets/{name}", h5py.Dataset)
        values, attributes = self.numbers(f"entry/targets/{name}"), dataset.attrs
        classes = tuple(map(str, json.loads(attributes["classes"])))
        try:
            return Target(values, str(attributes["kind"]), str(attributes["units"]), classes)
        except UserError as error:
            raise UserError(f"target '{name}': {error}") from None
