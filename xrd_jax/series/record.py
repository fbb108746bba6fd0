"""PatternSeries: the one record that simulator and readers make and everything after them takes."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.series import hdf5, lazy
from xrd_jax.series.axis import Axis, Target


@dataclasses.dataclass(frozen=True)
class PatternSeries:
    """Patterns in time order with all that is known about them.

    Attributes:
      intensity: [T, N] counts (integers) or intensities (floats), finite; an array, or rows of a file that are read
        when they are indexed.
      axis: the N channel positions.
      time: [T] mid-exposure time in s since the start of the pattern's session; numbers of patterns without `timed`.
      targets: name -> Target with values [T].
      cycle: [T] cycle number within the session, from 0.
      session: [T] index into `session_names` (one cell, one rate, one folder).
      session_names: names of the sessions, such as ('1C', '0.2C').
      is_counts: True where `intensity` are photon counts with Poisson noise.
      windows: name -> (low, high) on the axis: regions whose share of a map is reported.
      reflections: label -> position on the axis: phase ticks in figures.
      provenance: JSON-able description of where the series came from.
      timed: False where nothing is known of when patterns were taken.
    """

    intensity: np.ndarray | lazy.LazyRows
    axis: Axis
    time: np.ndarray
    targets: Mapping[str, Target]
    cycle: np.ndarray
    session: np.ndarray
    session_names: tuple[str, ...] = ("session",)
    is_counts: bool = False
    windows: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    reflections: Mapping[str, float] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timed: bool = True

    def __post_init__(self):
        intensity = self.intensity
        if not isinstance(intensity, lazy.LazyRows):
            intensity = np.asarray(intensity)
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
        if isinstance(intensity, np.ndarray):  # what stays on disk is looked at when it is read
            lazy.refuse_not_finite(intensity, np.arange(len(intensity)))

    def __len__(self) -> int:
        return self.intensity.shape[0]

    def subset(self, keep: np.ndarray) -> PatternSeries:
        """The patterns that `keep` picks, a boolean mask [T] or an index array; what is on disk stays there."""
        targets = {k: dataclasses.replace(t, values=t.values[keep]) for k, t in self.targets.items()}
        return dataclasses.replace(
            self,
            intensity=lazy.subset(self.intensity, keep),
            time=self.time[keep],
            targets=targets,
            cycle=self.cycle[keep],
            session=self.session[keep],
        )

    def thinned(self, most: int) -> np.ndarray:
        """Indices of at most `most` patterns, evenly spaced in each session; all of them where there are no more."""
        share = -(-len(self) // max(most, 1))
        chosen = [np.flatnonzero(self.session == i)[::share] for i in range(len(self.session_names))]
        return np.sort(np.concatenate(chosen))

    def fingerprint(self) -> str:
        """SHA-256 over intensities, axis, times and targets (hex, 64 characters)."""
        digest = hashlib.sha256()
        digest.update(str((self.intensity.dtype.str, self.intensity.shape)).encode())
        for _, block in lazy.blocks(self.intensity):
            digest.update(np.ascontiguousarray(block).data)
        arrays = [self.axis.values, self.time, self.cycle, self.session]
        arrays += [self.targets[k].values for k in sorted(self.targets)]
        for array in arrays:
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes HDF5 in the NeXus NXdata layout (`/entry/data`), atomically, in bounded memory.

        Raises:
          UserError: the file cannot be written.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        patterns = (block for _, block in lazy.blocks(fields.pop("intensity")))
        hdf5.write(path, fields, patterns, self.intensity.dtype)

    @classmethod
    def load(cls, path: str | os.PathLike[str], limit_bytes: int = lazy.LIMIT_BYTES) -> PatternSeries:
        """Reads what `save` wrote; patterns of more than `limit_bytes` stay on disk and are read when needed.

        Raises:
          UserError: the file is not HDF5 or was not written by `save`.
        """
        return cls(**hdf5.read(path, limit_bytes))


def in_session(series: PatternSeries, session: int) -> np.ndarray:
    """Indices of a session's patterns in time order."""
    where = np.flatnonzero(series.session == session)
    return where[np.argsort(series.time[where], kind="stable")]
