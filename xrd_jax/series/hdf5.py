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
from xrd_jax.series.lazy import MAX_BYTES_IN_MEMORY, LazyRows

INTENSITY = "entry/data/intensity"


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
    try:
        size = os.path.getsize(path)
        with h5py.File(path, "r") as file:
            entry, data = file["entry"], file["entry/data"]
            kind = str(data.attrs["axes"][1])
            notes = json.loads(entry["provenance"].asstr()[()])
            intensity = data["intensity"]
            masked = tuple((low, high) for low, high in notes.get("masked", ()))
            wavelength = float(data["wavelength"][()]) if "wavelength" in data and kind != "wavelength" else None
            return {
                "intensity": intensity[()] if intensity.nbytes <= limit_bytes else LazyRows.open(path, INTENSITY),
                "axis": Axis(_read_label(data[kind], size), kind, wavelength, masked),
                "time": _read_label(data["time"], size),
                "targets": {name: _read_target(item, size) for name, item in entry["targets"].items()},
                "cycle": _read_label(entry["labels/cycle"], size),
                "session": _read_label(entry["labels/session"], size),
                "session_names": tuple(str(name) for name in entry["labels"].attrs["session_names"]),
                "is_counts": str(intensity.attrs["units"]) == "counts",
                "windows": {name: tuple(limits) for name, limits in notes["windows"].items()},
                "reflections": notes["reflections"],
                "provenance": notes["provenance"],
                "timed": str(data["time"].attrs["units"]) == "s",
            }
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a pattern series saved by xrd_jax ({error})") from None


def _read_target(dataset: h5py.Dataset, file_bytes: int) -> Target:
    classes = tuple(json.loads(dataset.attrs["classes"]))
    return Target(_read_label(dataset, file_bytes), str(dataset.attrs["kind"]), str(dataset.attrs["units"]), classes)


def _read_label(dataset: h5py.Dataset, file_bytes: int) -> np.ndarray:
    """Return a label as an array; `write` compresses none, so that one larger than the file is forged."""
    if dataset.nbytes > file_bytes:
        raise ValueError(f"{dataset.name} claims {dataset.nbytes} bytes in a file of {file_bytes}")
    return dataset[()]
