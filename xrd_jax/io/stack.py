"""Many pattern files become one array on one axis, or a line that says which file does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax import series
from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io import plan as plans
from xrd_jax.io.patterns import pattern


def load(plan: plans.Plan, files: Sequence[Path], report: list[str]) -> tuple[series.Axis, np.ndarray]:
    """The common axis and the intensities [T, N], int64 where they are photon counts; adds sentences to `report`.

    Raises:
      UserError: a file cannot be read, differs from the first in axis, repeats another, or holds no photon counts.
    """
    first = patterns.read_pattern(files[0], plan.patterns.allow_negative)
    intensity = np.empty((len(files), first.axis.size))
    seen: dict[bytes, Path] = {}
    notes: dict[str, int] = {}
    for row, file in enumerate(files):
        one = patterns.read_pattern(file, plan.patterns.allow_negative)
        _refuse_other_axis(first, files[0], one, file)
        digest = hashlib.sha256(one.intensity.tobytes()).digest()
        if digest in seen:
            raise UserError(f"{file}: holds the same intensities as {seen[digest].name}; remove the copy")
        seen[digest] = file
        intensity[row] = one.intensity
        for note in one.notes:
            notes[note] = notes.get(note, 0) + 1
    axis = series.Axis(first.axis * plan.axis.scale, plan.axis.kind, plan.axis.wavelength)
    if plan.axis.kind == "two_theta" and not -180 <= axis.values[0] < axis.values[-1] <= 180:
        raise UserError(
            f"{files[0]}: positions {axis.values[0]:g} to {axis.values[-1]:g} are no 2θ in degrees; mend [axis]"
        )
    report.append(f"{len(files)} patterns of {axis.values.size} channels were read from {plan.patterns.files}.")
    report += [f"In {count} of {len(files)} files {note}." for note, count in notes.items()]
    report += _doubts_about_wavelength(plan, first)
    return axis, _whole(files, intensity) if plan.patterns.counts else intensity


def _refuse_other_axis(first: pattern.Pattern, first_file: Path, one: pattern.Pattern, file: Path) -> None:
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


def _whole(files: Sequence[Path], intensity: np.ndarray) -> np.ndarray:
    broken = intensity != np.round(intensity)
    if broken.any():
        row, channel = (int(i) for i in np.argwhere(broken)[0])
        raise UserError(
            f"{files[row]}: channel {channel + 1} holds {intensity[row, channel]:g}, which is no photon count; set "
            "counts = false under [patterns]"
        )
    return intensity.astype(np.int64)


def _doubts_about_wavelength(plan: plans.Plan, first: pattern.Pattern) -> list[str]:
    anode, given = first.metadata.get("Anode", ""), plan.axis.wavelength
    usual = pattern.KALPHA_MEAN.get(anode)
    if usual is None or given is None or abs(given / usual - 1) < 0.01:
        return []
    return [f"Check the wavelength: {given:g} Å is given, but the patterns name a {anode} anode (Kα {usual:g} Å)."]
