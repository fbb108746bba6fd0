"""PatternSeries: the one record that simulator and readers make and everything after them takes."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from xrd_jax.errors import UserError
from xrd_jax.series import hdf5, lazy, xarray_dataset
from xrd_jax.series.axis import Axis, Target


@dataclasses.dataclass(frozen=True)
class PatternSeries:
    """Patterns in time order with all that is known about them."""

    intensity: np.ndarray | lazy.LazyRows  # [T, N] counts (integers) or intensities (floats), finite
    axis: Axis  # the N channel positions
    time: (
        np.ndarray
    )  # [T] mid-exposure, s since the start of the pattern's session; without `timed` numbers of patterns
    targets: Mapping[str, Target]  # name -> values [T]
    cycle: np.ndarray  # [T] cycle number within the session, from 0
    session: np.ndarray  # [T] index into `session_names` (one cell, one rate, one folder)
    session_names: tuple[str, ...] = ("session",)  # such as ('1C', '0.2C')
    is_counts: bool = False  # True where `intensity` are photon counts with Poisson noise
    # Name -> (low, high) on the axis, regions whose share of a map is reported; label -> position, ticks in figures.
    windows: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    reflections: Mapping[str, float] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # where the series came from; JSON-able
    timed: bool = True  # False where nothing is known of when patterns were taken

    def __post_init__(self):
        intensity = self.intensity if isinstance(self.intensity, lazy.LazyRows) else np.asarray(self.intensity)
        if intensity.ndim != 2 or intensity.shape[1] != self.axis.values.size:
            raise UserError(f"intensity {intensity.shape} does not fit an axis of {self.axis.values.size} channels")
        labels = {"time": np.asarray(self.time, np.float64)}
        for name, count in (("cycle", 2**31), ("session", len(self.session_names))):
            labels[name] = _whole_numbers(np.asarray(getattr(self, name)), name, count)
        if not np.isfinite(labels["time"]).all():
            raise UserError(f"pattern {np.argmin(np.isfinite(labels['time']))} has no time; leave the pattern out")
        for name, values in {"intensity": intensity, **labels}.items():
            object.__setattr__(self, name, values)
        labels |= {f"target '{name}'": target.values for name, target in self.targets.items()}
        for name, values in labels.items():
            if values.shape != (intensity.shape[0],):
                raise UserError(f"{name} has shape {values.shape}, but there are {intensity.shape[0]} patterns")
        if isinstance(intensity, np.ndarray):  # what stays on disk is checked when it is read
            lazy.require_finite(intensity, np.arange(len(intensity)))

    def __len__(self) -> int:
        return self.intensity.shape[0]

    def subset(self, keep: np.ndarray | slice) -> "PatternSeries":
        """Return the patterns that `keep` picks, a mask [T], indices or a slice; what is on disk stays there."""
        labels = {name: getattr(self, name)[keep] for name in ("time", "cycle", "session")}
        labels |= {"targets": {k: dataclasses.replace(t, values=t.values[keep]) for k, t in self.targets.items()}}
        return dataclasses.replace(self, intensity=lazy.subset(self.intensity, keep), **labels)

    def thinned(self, count: int) -> Int[np.ndarray, " patterns"]:
        """Return sorted indices of about `count` patterns: every k-th of each session, k = ⌈patterns / count⌉.

        The first pattern of every session is among them, so that there may be one more per session than `count`.
        """
        step = -(-len(self) // max(count, 1))
        parts = [np.flatnonzero(self.session == number)[::step] for number in range(len(self.session_names))]
        return np.sort(np.concatenate(parts))

    def fingerprint(self) -> str:
        """Return the SHA-256 over intensities, axis, times and targets (hex, 64 characters)."""
        digest = hashlib.sha256(str((self.intensity.dtype.str, self.intensity.shape)).encode())
        for _, block in lazy.read_blocks(self.intensity):
            digest.update(np.ascontiguousarray(block).data)
        labels = (self.targets[name].values for name in sorted(self.targets))
        for array in (self.axis.values, self.time, self.cycle, self.session, *labels):
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write HDF5 in the NeXus NXdata layout (`/entry/data`), atomically, in bounded memory.

        Raises:
          UserError: the file cannot be written.
        """
        fields = self._fields()
        patterns = (block for _, block in lazy.read_blocks(fields.pop("intensity")))
        hdf5.write(path, fields, patterns, self.intensity.dtype)

    @classmethod
    def load(cls, path: str | os.PathLike[str], limit_bytes: int = lazy.MAX_BYTES_IN_MEMORY) -> "PatternSeries":
        """Read what `save` wrote; patterns of more than `limit_bytes` stay on disk and are read when needed.

        Raises:
          UserError: the file is not HDF5 or was not written by `save`.
        """
        fields = hdf5.read(path, limit_bytes)
        try:
            return cls(**fields)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def to_xarray(self) -> Any:
        """Return an `xarray.Dataset` with units and wavelength, as `xarray_dataset` lays it out; it is in memory.

        Raises:
          UserError: the extra 'xarray' is not installed.
        """
        return xarray_dataset.to_dataset(self._fields())

    @classmethod
    def from_xarray(cls, data: Any) -> "PatternSeries":
        """Return the series of what `to_xarray` made, or of another Dataset or DataArray of patterns.

        Raises:
          UserError: what is missing, or has another unit.
        """
        return cls(**xarray_dataset.from_dataset(data))

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def _whole_numbers(values: np.ndarray, name: str, count: int) -> np.ndarray:
    if values.dtype.kind not in "iu":
        raise UserError(f"{name} must be whole numbers, not {values.dtype}")
    if values.size and not 0 <= values.min() <= values.max() < count:
        raise UserError(f"{name} has values from {values.min()} to {values.max()}; they count from 0 to {count - 1}")
    return values.astype(np.int32)


def session_indices(series: PatternSeries, session: int) -> Int[np.ndarray, " patterns"]:
    """Return the indices of a session's patterns in time order."""
    indices = np.flatnonzero(series.session == session)
    return indices[np.argsort(series.time[indices], kind="stable")]
