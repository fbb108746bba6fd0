"""Many pattern files become one array on one axis, or a line that says which file does not fit."""

import collections
import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.errors import UserError
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading.many_files import ReadResult
from xrd_jax.series import lazy

ReadAll = Callable[[Sequence[Path], bool], Sequence[ReadResult]]
# Programs round positions differently from file to file; this much of a channel is below any resolution.
AXIS_TOLERANCE = 0.01


@dataclasses.dataclass(frozen=True)
class Timestamp:
    """What a file says about when a pattern was taken; what it does not say is None."""

    start: datetime.datetime | None = None  # with a zone only if the file states one
    end: datetime.datetime | None = None
    seconds: float | None = None  # start on the log's own clock, for stacks that count from there
    exposure: float | None = None  # s


@dataclasses.dataclass(frozen=True)
class Stack:
    """The patterns [T] of one session as the files hold them, in the order of their names or rows."""

    names: list[str]  # of files, or 'file#3' for the third scan of one
    axis: Float[np.ndarray, " N"]  # in the unit of `AXIS_UNITS` where `kind` is known
    intensity: np.ndarray | lazy.LazyRows  # [T, N], in memory or, of a large stack, on disk
    kind: str | None = None  # as the files state it
    wavelength: float | None = None
    timestamps: Sequence[Timestamp] = ()
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # [T] numbers or texts of a stack file
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)  # sentence -> patterns of which it is true
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of the first pattern

    def subset(self, keep: Int[np.ndarray, " K"]) -> "Stack":
        """Return the patterns at the indices `keep`, in that order."""
        indices = keep.tolist()
        return dataclasses.replace(
            self,
            names=[self.names[i] for i in indices],
            intensity=lazy.subset(self.intensity, keep),
            timestamps=[self.timestamps[i] for i in indices],
            columns={name: values[keep] for name, values in self.columns.items()},
        )


def scan_names(file: Path, count: int) -> list[str]:
    """Return what tells the scans of a file from all others: its name, or 'file#3' for the third of several."""
    return [f"{file.name}#{number}" for number in range(1, count + 1)] if count > 1 else [file.name]


def same_axis(first: Float[np.ndarray, "M"], second: Float[np.ndarray, "N"]) -> bool:
    """Return True where two axes have equal positions, up to `AXIS_TOLERANCE` of a channel."""
    return first is second or (first.shape == second.shape and not _differs(first, second).any())


def _differs(axis: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(axis - other) > AXIS_TOLERANCE * np.median(np.diff(other))


def read_files(files: Sequence[Path], allow_negative: bool, read_all: ReadAll) -> Stack:
    """Read every scan of every file; one that differs from the first in axis, or repeats another, is refused."""
    scans: list[tuple[Path, Pattern]] = []
    names: list[str] = []
    for file, result in zip(files, read_all(files, allow_negative), strict=True):
        if isinstance(result, UserError):
            raise result
        scans += [(file, pattern) for pattern in result]
        names += scan_names(file, len(result))
    first_file, first = scans[0]
    intensity = np.empty((len(scans), first.axis.size))
    name_by_digest: dict[bytes, str] = {}
    for row, (file, pattern) in enumerate(scans):
        _refuse_other_axis(file, pattern.axis, first_file, first.axis)
        digest = hashlib.sha256(pattern.intensity.tobytes()).digest()
        if digest in name_by_digest:
            raise UserError(f"{file}: holds the same intensities as {name_by_digest[digest]}; remove the copy")
        name_by_digest[digest] = names[row]
        intensity[row] = pattern.intensity
    timestamps = [Timestamp(scan.start_time, scan.end_time, None, scan.exposure) for _, scan in scans]
    notes = collections.Counter(note for _, pattern in scans for note in pattern.notes)
    kind, wavelength = _shared("kind", scans), _shared("wavelength", scans)
    return Stack(names, first.axis, intensity, kind, wavelength, timestamps, {}, notes, first.metadata)


def _shared(name: str, scans: Sequence[tuple[Path, Pattern]]) -> Any:
    """Return what all scans state alike; a difference is refused."""
    first_file, first = scans[0][0], getattr(scans[0][1], name)
    for file, pattern in scans:
        value = getattr(pattern, name)
        is_close = isinstance(value, float) and isinstance(first, float) and np.isclose(value, first)
        if value != first and not is_close:
            raise UserError(f"{file}: states {name} {value} where {first_file.name} states {first}; keep one kind of "
                            "pattern in a session")  # fmt: skip
    return first


def _refuse_other_axis(file: Path, axis: np.ndarray, first_file: Path, first: np.ndarray) -> None:
    if same_axis(axis, first):
        return
    if axis.size != first.size:
        raise UserError(f"{file}: has {axis.size} channels where {first_file.name} has {first.size}; export all "
                        "patterns on one axis, and a cut file again")  # fmt: skip
    i = int(np.argmax(_differs(axis, first)))
    raise UserError(f"{file}: channel {i + 1} is at {axis[i]:g} where {first_file.name} has {first[i]:g}; export all "
                    "patterns on one axis")  # fmt: skip


def photon_counts(stack: Stack) -> np.ndarray | lazy.LazyRows:
    """Return the intensities [T, N] as photon counts: int64, or as they are on disk; fractions are refused."""
    for begin, block in lazy.read_blocks(stack.intensity) if stack.intensity.dtype.kind == "f" else ():
        is_broken = (block != np.round(block)) | (block < 0)
        if is_broken.any():
            row, channel = (int(i) for i in np.argwhere(is_broken)[0])
            raise UserError(f"{stack.names[begin + row]}: channel {channel + 1} holds {block[row, channel]:g}, which "
                            "is no photon count; set counts = false for these patterns")  # fmt: skip
    return stack.intensity if isinstance(stack.intensity, lazy.LazyRows) else stack.intensity.astype(np.int64)


def concatenate(
    parts: Sequence[np.ndarray | lazy.LazyRows], session_names: Sequence[str]
) -> np.ndarray | lazy.LazyRows:
    """Return the patterns of all sessions; one of several that is too large for the memory is refused."""
    large = [name for name, part in zip(session_names, parts, strict=True) if isinstance(part, lazy.LazyRows)]
    if large and len(parts) > 1:
        raise UserError(f"[[session]] '{large[0]}' is a stack that stays on disk, and such a session stands alone; "
                        "join the sessions in one file, or make an experiment file for each")  # fmt: skip
    return parts[0] if large else np.concatenate(parts)
