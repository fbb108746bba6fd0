"""Many pattern files become one array on one axis, or a line that says which file does not fit."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.patterns import pattern
from xrd_jax.io.reading import many_files
from xrd_jax.series import axis as series_axis
from xrd_jax.series import lazy
from xrd_jax.series.axis import DIFFRACTION

ReadAll = Callable[[Sequence[Path], bool], Sequence[many_files.Result]]


@dataclasses.dataclass(frozen=True)
class Timestamp:
    """What a file says about when a pattern was taken; what it does not say is None.

    Attributes:
      start, end: dates, with a zone only if the file states one.
      seconds: start on the log's own clock, for stacks that count from there.
      exposure: s.
    """

    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    seconds: float | None = None
    exposure: float | None = None


@dataclasses.dataclass(frozen=True)
class Stack:
    """The patterns of one session as they were found, in the order of their names or rows.

    Attributes:
      names: [T] file names, or 'file#3' for the third scan of one.
      axis: [N] positions; in the unit of `series.AXIS_UNITS` where `kind` is not None.
      intensity: [T, N], in memory or, of a large stack, on disk.
      kind, wavelength: as the files state them.
      moments: [T].
      columns: what a stack file holds beside the spectra, [T] numbers or texts.
      notes: sentences about the reading, and for how many patterns each is true.
      metadata: of the first pattern.
    """

    names: list[str]
    axis: np.ndarray
    intensity: np.ndarray | lazy.LazyRows
    kind: str | None = None
    wavelength: float | None = None
    moments: Sequence[Timestamp] = ()
    columns: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def subset(self, keep: np.ndarray) -> Stack:
        """The patterns at the indices `keep`, in that order."""
        where = keep.tolist()
        return dataclasses.replace(
            self,
            names=[self.names[i] for i in where],
            intensity=lazy.subset(self.intensity, keep),
            moments=[self.moments[i] for i in where],
            columns={name: values[keep] for name, values in self.columns.items()},
        )


def load(files: Sequence[Path], allow_negative: bool, read_all: ReadAll) -> Stack:
    """Every scan of every file, on the axis that they share.

    Raises:
      UserError: a file cannot be read, differs from the first in axis or repeats another.
    """
    scans: list[tuple[Path, str, pattern.Pattern]] = []
    for file, result in zip(files, read_all(files, allow_negative), strict=True):
        if isinstance(result, UserError):
            raise result
        many = len(result) > 1
        scans += [(file, f"{file.name}#{k}" if many else file.name, one) for k, one in enumerate(result, 1)]
    first_file, _, first = scans[0]
    intensity = np.empty((len(scans), first.axis.size))
    seen: dict[bytes, str] = {}
    notes: dict[str, int] = {}
    for row, (file, name, one) in enumerate(scans):
        _refuse_other_axis(first, first_file, one, file)
        digest = hashlib.sha256(one.intensity.tobytes()).digest()
        if digest in seen:
            raise UserError(f"{file}: holds the same intensities as {seen[digest]}; remove the copy")
        seen[digest] = name
        intensity[row] = one.intensity
        for note in one.notes:
            notes[note] = notes.get(note, 0) + 1
    patterns = [one for _, _, one in scans]
    return Stack(
        names=[name for _, name, _ in scans],
        axis=first.axis,
        intensity=intensity,
        kind=_shared("kind", scans),
        wavelength=_shared("wavelength", scans),
        moments=[Timestamp(one.start_time, one.end_time, None, one.exposure) for one in patterns],
        notes=notes,
        metadata=first.metadata,
    )


def _shared(name: str, scans: Sequence[tuple[Path, str, pattern.Pattern]]):
    """What all scans state alike; a difference is refused."""
    stated = getattr(scans[0][2], name)
    for file, _, one in scans:
        value = getattr(one, name)
        if value != stated and not (
            isinstance(value, float) and isinstance(stated, float) and np.isclose(value, stated)
        ):
            raise UserError(
                f"{file}: states {name.replace('_', ' ')} {value} where {scans[0][0].name} states {stated}; keep one "
                "kind of pattern in a session"
            )
    return stated


def _refuse_other_axis(first: pattern.Pattern, first_file: Path, one: pattern.Pattern, file: Path) -> None:
    if one.axis is first.axis:
        return
    if one.axis.size != first.axis.size:
        raise UserError(
            f"{file}: has {one.axis.size} channels where {first_file.name} has {first.axis.size}; export all "
            "patterns on one axis, and a cut file again"
        )
    # Programs round positions differently from file to file; a hundredth of a channel is below any resolution.
    off = np.abs(one.axis - first.axis) > 0.01 * np.median(np.diff(first.axis))
    if off.any():
        i = int(np.argmax(off))
        raise UserError(
            f"{file}: channel {i + 1} is at {one.axis[i]:g} where {first_file.name} has {first.axis[i]:g}; export "
            "all patterns on one axis"
        )


def axis(plan: plans.Plan, rows: Stack, report: list[str]) -> series_axis.Axis:
    """The axis of a session, by the experiment file or else by what the pattern files state.

    Raises:
      UserError: neither says what the axis is, they contradict each other, or a wavelength is missing.
    """
    stated, place = plan.axis, f"{plan.path}: [axis]"
    kind = stated.kind or rows.kind
    if kind is None:
        raise UserError(f'{place} kind is missing and {rows.names[0]} does not say it; add one such as "two_theta"')
    if rows.kind not in (None, kind):
        raise UserError(f"{place} kind = '{kind}', but {rows.names[0]} states {rows.kind}; mend it or leave it out")
    values = rows.axis * (stated.scale if rows.kind is None else 1.0)
    if stated.ends is not None:
        values = np.linspace(*stated.ends, values.size)
    wavelength = stated.wavelength or rows.wavelength
    if wavelength is None and kind in DIFFRACTION:
        raise UserError(f"{place} wavelength is missing; give it in Å, such as wavelength = 1.5406: none is assumed")
    if kind == "two_theta" and not -180 <= values[0] < values[-1] <= 180:
        raise UserError(f"{rows.names[0]}: positions {values[0]:g} to {values[-1]:g} are no 2θ in degrees; mend [axis]")
    report += _doubts_about_wavelength(stated.wavelength, rows)
    return series_axis.Axis(values, kind, wavelength)


def whole(rows: Stack) -> np.ndarray | lazy.LazyRows:
    """[T, N] photon counts: int64, or as they are on disk.

    Raises:
      UserError: an intensity is no whole number.
    """
    for begin, block in lazy.blocks(rows.intensity) if rows.intensity.dtype.kind == "f" else ():
        broken = block != np.round(block)
        if broken.any():
            row, channel = (int(i) for i in np.argwhere(broken)[0])
            raise UserError(
                f"{rows.names[begin + row]}: channel {channel + 1} holds {block[row, channel]:g}, which is no photon "
                "count; set counts = false for these patterns"
            )
    return rows.intensity if isinstance(rows.intensity, lazy.LazyRows) else rows.intensity.astype(np.int64)


def joined(parts: Sequence[np.ndarray | lazy.LazyRows], names: Sequence[str]) -> np.ndarray | lazy.LazyRows:
    """The patterns of all sessions.

    Raises:
      UserError: one of several sessions is too large for the memory.
    """
    large = [name for name, one in zip(names, parts, strict=True) if isinstance(one, lazy.LazyRows)]
    if large and len(parts) > 1:
        raise UserError(
            f"[[session]] '{large[0]}' is a stack that stays on disk, and such a session stands alone; join the "
            "sessions in one file, or make an experiment file for each"
        )
    return parts[0] if large else np.concatenate(parts)


def masked(
    plan: plans.AxisPlan, axis: series_axis.Axis, intensity: np.ndarray | lazy.LazyRows
) -> tuple[series_axis.Axis, np.ndarray | lazy.LazyRows]:
    """Axis and intensities [T, N] without the masked channels, or with straight lines across them.

    Raises:
      UserError: a mask lies off the axis, or too little is left.
    """
    hidden = np.zeros(axis.values.size, bool)
    for low, high in plan.masks:
        inside = (axis.values >= low) & (axis.values <= high)
        if not inside.any():
            raise UserError(f"[mask] channels [{low:g}, {high:g}] hides no channel of {axis.values[0]:g} to "
                            f"{axis.values[-1]:g}; mend it")  # fmt: skip
        hidden |= inside
    if not hidden.any():
        return axis, intensity
    seen = np.flatnonzero(~hidden)
    if seen.size < 2:
        raise UserError("[mask] channels hides all but one channel; mend it")
    if not plan.fill:
        return dataclasses.replace(axis, values=axis.values[seen]), lazy.columns(intensity, seen)
    if isinstance(intensity, lazy.LazyRows):
        raise UserError(
            "[mask] fill = true changes patterns, and these are so many that they stay on disk; leave it out"
        )
    filled = intensity.astype(np.float64)
    right = np.clip(np.searchsorted(seen, np.arange(axis.values.size)), 1, seen.size - 1)
    left, right = seen[right - 1], seen[right]
    share = (axis.values - axis.values[left]) / (axis.values[right] - axis.values[left])
    share = np.clip(share, 0.0, 1.0)[hidden]
    filled[:, hidden] = (1 - share) * intensity[:, left[hidden]] + share * intensity[:, right[hidden]]
    return axis, np.round(filled).astype(intensity.dtype) if intensity.dtype.kind == "i" else filled


def _doubts_about_wavelength(given: float | None, rows: Stack) -> list[str]:
    anode = rows.metadata.get("Anode", "")
    usual = pattern.KALPHA_MEAN.get(anode)
    found = [] if usual is None or given is None or abs(given / usual - 1) < 0.01 else [
        f"Check the wavelength: {given:g} Å is given, but the patterns name a {anode} anode (Kα {usual:g} Å)."
    ]  # fmt: skip
    if given is not None and rows.wavelength is not None and abs(given / rows.wavelength - 1) > 0.01:
        found.append(f"Check the wavelength: {given:g} Å is given, but the files state {rows.wavelength:g} Å.")
    return found
