"""PatternSeries: the one record that simulator and readers make and everything after them takes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError

AXIS_UNITS = {
    "two_theta": "deg",
    "q": "1/angstrom",
    "d": "angstrom",
    "energy": "eV",
    "wavenumber": "1/cm",
    "wavelength": "nm",
    "ppm": "ppm",
    "velocity": "mm/s",
    "channel": "",
}
AXIS_LABELS = {
    "two_theta": "2θ (°)",
    "q": "q (Å⁻¹)",
    "d": "d (Å)",
    "energy": "Energy (eV)",
    "wavenumber": "Wavenumber (cm⁻¹)",
    "wavelength": "Wavelength (nm)",
    "ppm": "Chemical shift (ppm)",
    "velocity": "Velocity (mm/s)",
    "channel": "Channel",
}


@dataclasses.dataclass(frozen=True)
class Axis:
    """The abscissa shared by every pattern.

    Attributes:
      values: [N] strictly increasing positions in `unit`.
      kind: one of `AXIS_UNITS`.
      wavelength: radiation wavelength in Å, or None where there is none or it is not known.
    """

    values: np.ndarray
    kind: str = "two_theta"
    wavelength: float | None = None

    def __post_init__(self):
        values = np.asarray(self.values, np.float64)
        object.__setattr__(self, "values", values)
        if self.kind not in AXIS_UNITS:
            raise UserError(f"axis kind '{self.kind}' is not known; use one of {', '.join(AXIS_UNITS)}")
        if values.ndim != 1 or values.size < 2 or not np.all(np.diff(values) > 0):
            raise UserError("the axis must be one-dimensional and strictly increasing, with at least two channels")

    @property
    def unit(self) -> str:
        return AXIS_UNITS[self.kind]

    @property
    def label(self) -> str:
        return AXIS_LABELS[self.kind]


@dataclasses.dataclass(frozen=True)
class Target:
    """One property to be learnt, a value per pattern.

    Attributes:
      values: [T] float64 (regression) or int32 class index (classification).
      kind: 'regression' or 'classification'.
      unit: unit of a regression target, '' for classes.
      classes: class names, index = class; empty for regression.
    """

    values: np.ndarray
    kind: str = "regression"
    unit: str = ""
    classes: tuple[str, ...] = ()

    def __post_init__(self):
        if self.kind not in ("regression", "classification"):
            raise UserError(f"target kind '{self.kind}' is not known; use 'regression' or 'classification'")
        dtype = np.float64 if self.kind == "regression" else np.int32
        object.__setattr__(self, "values", np.asarray(self.values, dtype))
        object.__setattr__(self, "classes", tuple(self.classes))


@dataclasses.dataclass(frozen=True)
class PatternSeries:
    """Patterns in time order with all that is known about them.

    Attributes:
      intensity: [T, N] counts (integers) or intensities (floats), finite.
      axis: the N channel positions.
      time: [T] mid-exposure time in s since the start of the pattern's session.
      targets: name -> Target with values [T].
      cycle: [T] cycle number within the session, from 0.
      session: [T] index into `session_names` (one cell, one rate, one folder).
      session_names: names of the sessions, such as ('1C', '0.2C').
      counts: True where `intensity` are photon counts with Poisson noise.
      windows: name -> (low, high) on the axis: regions whose share of a map is reported.
      reflections: label -> position on the axis: phase ticks in figures.
      provenance: JSON-able description of where the series came from.
    """

    intensity: np.ndarray
    axis: Axis
    time: np.ndarray
    targets: Mapping[str, Target]
    cycle: np.ndarray
    session: np.ndarray
    session_names: tuple[str, ...] = ("session",)
    counts: bool = False
    windows: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    reflections: Mapping[str, float] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        intensity = np.asarray(self.intensity)
        if intensity.ndim != 2 or intensity.shape[1] != self.axis.values.size:
            raise UserError(f"intensity {intensity.shape} does not fit an axis of {self.axis.values.size} channels")
        object.__setattr__(self, "intensity", intensity)
        object.__setattr__(self, "time", np.asarray(self.time, np.float64))
        object.__setattr__(self, "cycle", np.asarray(self.cycle, np.int32))
        object.__setattr__(self, "session", np.asarray(self.session, np.int32))
        lengths = {"time": self.time, "cycle": self.cycle, "session": self.session}
        lengths |= {f"target '{k}'": t.values for k, t in self.targets.items()}
        for name, values in lengths.items():
            if values.shape != (intensity.shape[0],):
                raise UserError(f"{name} has shape {values.shape}, but there are {intensity.shape[0]} patterns")
        if intensity.dtype.kind == "f" and not np.isfinite(intensity).all():
            bad = int(np.argmin(np.isfinite(intensity).all(axis=1)))
            raise UserError(f"pattern {bad} holds NaN or infinite intensities; mask or repair it first")

    def __len__(self) -> int:
        return self.intensity.shape[0]

    def subset(self, keep: np.ndarray) -> PatternSeries:
        """The patterns that `keep` picks: a boolean mask [T] or an index array."""
        targets = {k: dataclasses.replace(t, values=t.values[keep]) for k, t in self.targets.items()}
        return dataclasses.replace(
            self,
            intensity=self.intensity[keep],
            time=self.time[keep],
            targets=targets,
            cycle=self.cycle[keep],
            session=self.session[keep],
        )

    def fingerprint(self) -> str:
        """SHA-256 over intensities, axis, times and targets (hex, 64 characters)."""
        digest = hashlib.sha256()
        arrays = [self.intensity, self.axis.values, self.time, self.cycle, self.session]
        arrays += [self.targets[k].values for k in sorted(self.targets)]
        for array in arrays:
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes HDF5 in the NeXus NXdata layout (`/entry/data`), atomically."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        with h5py.File(partial, "w") as file:
            file.attrs["default"] = "entry"
            entry = file.create_group("entry")
            entry.attrs.update(NX_class="NXentry", default="data")
            data = entry.create_group("data")
            data.attrs.update(NX_class="NXdata", signal="intensity", axes=["time", self.axis.kind])
            chunk = (min(64, max(len(self), 1)), self.intensity.shape[1])
            data.create_dataset("intensity", data=self.intensity, chunks=chunk, compression="gzip", shuffle=True)
            data["intensity"].attrs["units"] = "counts" if self.counts else "arbitrary"
            data.create_dataset(self.axis.kind, data=self.axis.values).attrs["units"] = self.axis.unit
            data.create_dataset("time", data=self.time).attrs["units"] = "s"
            if self.axis.wavelength is not None:
                data.create_dataset("wavelength", data=self.axis.wavelength).attrs["units"] = "angstrom"
            labels = entry.create_group("labels")
            labels.attrs["NX_class"] = "NXcollection"
            labels.create_dataset("cycle", data=self.cycle)
            labels.create_dataset("session", data=self.session)
            labels.attrs["session_names"] = list(self.session_names)
            targets = entry.create_group("targets")
            targets.attrs["NX_class"] = "NXcollection"
            for name, target in self.targets.items():
                item = targets.create_dataset(name, data=target.values)
                item.attrs.update(kind=target.kind, units=target.unit, classes=json.dumps(target.classes))
            notes = {"windows": dict(self.windows), "reflections": dict(self.reflections)}
            entry["provenance"] = json.dumps(notes | {"provenance": dict(self.provenance)})
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PatternSeries:
        """Reads what `save` wrote.

        Raises:
          UserError: the file is not HDF5 or was not written by `save`.
        """
        try:
            with h5py.File(path, "r") as file:
                entry, data = file["entry"], file["entry/data"]
                kind = str(data.attrs["axes"][1])
                wavelength = float(data["wavelength"][()]) if "wavelength" in data else None
                notes = json.loads(entry["provenance"].asstr()[()])
                targets = {
                    name: Target(
                        item[()],
                        str(item.attrs["kind"]),
                        str(item.attrs["units"]),
                        tuple(json.loads(item.attrs["classes"])),
                    )
                    for name, item in entry["targets"].items()
                }
                return cls(
                    intensity=data["intensity"][()],
                    axis=Axis(data[kind][()], kind, wavelength),
                    time=data["time"][()],
                    targets=targets,
                    cycle=entry["labels/cycle"][()],
                    session=entry["labels/session"][()],
                    session_names=tuple(str(s) for s in entry["labels"].attrs["session_names"]),
                    counts=str(data["intensity"].attrs["units"]) == "counts",
                    windows={k: tuple(v) for k, v in notes["windows"].items()},
                    reflections=notes["reflections"],
                    provenance=notes["provenance"],
                )
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except (OSError, KeyError, IndexError, ValueError) as error:
            raise UserError(f"{path}: not a pattern series saved by xrd_jax ({error})") from None
