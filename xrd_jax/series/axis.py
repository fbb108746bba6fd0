"""The abscissa of patterns and the properties that belong to them; kinds of axes, units, Bragg positions."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from xrd_jax.errors import UserError

AXIS_UNITS = {
    "two_theta": "deg", "q": "1/angstrom", "d": "angstrom", "energy": "eV", "wavenumber": "1/cm", "wavelength": "nm",
    "ppm": "ppm", "velocity": "mm/s", "channel": "",
}  # fmt: skip
AXIS_LABELS = {
    "two_theta": "2θ (°)", "q": "q (Å⁻¹)", "d": "d (Å)", "energy": "Energy (eV)", "wavenumber": "Wavenumber (cm⁻¹)",
    "wavelength": "Wavelength (nm)", "ppm": "Chemical shift (ppm)", "velocity": "Velocity (mm/s)", "channel": "Channel",
}  # fmt: skip
DIFFRACTION_KINDS = ("two_theta", "q", "d")  # kinds of axes on which a lattice has reflections
# Å per unit of length, by the spellings (in lower case) that pattern files use.
ANGSTROM_PER_UNIT = {
    "å": 1.0, "a": 1.0, "ang": 1.0, "ang.": 1.0, "angstrom": 1.0, "angstroms": 1.0, "nm": 10.0, "m": 1e10, "pm": 0.01,
}  # fmt: skip
# Classes of the target 'mode': halves in time of each half cycle; index // 2 is 0 in charge, 1 in discharge.
HALF_CYCLE_MODES = ("charge 1st half", "charge 2nd half", "discharge 1st half", "discharge 2nd half")


@dataclasses.dataclass(frozen=True)
class Axis:
    """The abscissa shared by every pattern."""

    values: np.ndarray  # [N] strictly increasing positions in `unit`
    kind: str = "two_theta"  # one of `AXIS_UNITS`
    wavelength: float | None = None  # of the radiation in Å; None where there is none or it is not known
    # Ranges whose channels were left out; those that are there nevertheless hold straight lines across them.
    masked: tuple[tuple[float, float], ...] = ()

    def __post_init__(self):
        values = np.asarray(self.values, np.float64)
        object.__setattr__(self, "values", values)
        if self.kind not in AXIS_UNITS:
            raise UserError(f"axis kind '{self.kind}' is not known; use one of {', '.join(AXIS_UNITS)}")
        is_rising = values.ndim == 1 and values.size >= 2 and np.isfinite(values).all() and (np.diff(values) > 0).all()
        if not is_rising:
            raise UserError("the axis must be one-dimensional and strictly increasing, with at least two channels")
        if self.wavelength is not None and not 0 < self.wavelength < np.inf:
            raise UserError(f"the wavelength is {self.wavelength} Å; give a positive number")

    @property
    def unit(self) -> str:
        return AXIS_UNITS[self.kind]

    @property
    def label(self) -> str:
        return AXIS_LABELS[self.kind]


@dataclasses.dataclass(frozen=True)
class Target:
    """One property to be learnt, a value per pattern."""

    values: np.ndarray  # [T] float64 (regression) or int32 class index (classification)
    kind: str = "regression"  # or 'classification'
    unit: str = ""  # of a regression target, '' for classes
    classes: tuple[str, ...] = ()  # their names, index = class; empty for regression

    def __post_init__(self):
        if self.kind not in ("regression", "classification"):
            raise UserError(f"target kind '{self.kind}' is not known; use 'regression' or 'classification'")
        values, classes = np.asarray(self.values), tuple(self.classes)
        if values.dtype.kind not in "biuf":
            raise UserError(f"values of a target are numbers, not {values.dtype}; give classes by their index")
        is_bad = ~np.isfinite(values)
        if self.kind == "classification":
            is_bad |= (values < 0) | (values >= len(classes)) | (values != np.round(values))
        if is_bad.any():
            index, allowed = int(np.argmax(is_bad)), "a finite number"
            if self.kind == "classification":
                allowed = f"the index of a class, 0 to {len(classes) - 1}"
            raise UserError(f"pattern {index} has the value {values[index]}, not {allowed}; leave the pattern out")
        dtype = np.float64 if self.kind == "regression" else np.int32
        object.__setattr__(self, "values", values.astype(dtype))
        object.__setattr__(self, "classes", classes)


def bragg_positions(d: np.ndarray | float, axis: Axis) -> np.ndarray:
    """Return the positions of spacings d (Å): 2θ = 2 arcsin(λ/2d) in degrees (NaN: λ > 2d), q = 2π/d in 1/Å, or d.

    Raises:
      UserError: an axis that is not one of diffraction, or a 2θ axis without wavelength.
    """
    d = np.asarray(d, np.float64)
    if axis.kind == "d":
        return d
    if axis.kind == "q":
        return np.asarray(2.0 * np.pi / d)
    if axis.kind != "two_theta":
        raise UserError(f"reflections have no place on an axis of kind '{axis.kind}'; leave --cif out")
    if axis.wavelength is None:
        raise UserError("the data have no wavelength, so reflections have no place on 2θ; give wavelength = … in Å")
    sine = axis.wavelength / (2.0 * d)
    return np.asarray(2.0 * np.degrees(np.arcsin(np.where(sine <= 1.0, sine, np.nan))))


class Bridges(NamedTuple):
    """Straight lines across M masked channels: (1 - share) x[left] + share x[right]."""

    channel: Int[np.ndarray, " M"]
    left: Int[np.ndarray, " M"]
    right: Int[np.ndarray, " M"]
    share: Float[np.ndarray, " M"]


def inside(positions: Float[np.ndarray, " N"], ranges: Sequence[tuple[float, float]]) -> Bool[np.ndarray, " N"]:
    """Return which positions lie in any of the ranges, ends included."""
    masks = [(positions >= low) & (positions <= high) for low, high in ranges]
    return np.any(masks, axis=0) if masks else np.zeros(positions.shape, bool)


def bridges(positions: Float[np.ndarray, " N"], is_masked: Bool[np.ndarray, " N"]) -> Bridges:
    """Return the lines between the nearest channels that are not masked; at an end the last of them goes on level."""
    channel, shown = np.flatnonzero(is_masked), np.flatnonzero(~is_masked)
    right = np.clip(np.searchsorted(shown, channel), 1, shown.size - 1)
    left, right = shown[right - 1], shown[right]
    share = (positions[channel] - positions[left]) / (positions[right] - positions[left])
    return Bridges(channel, left, right, np.clip(share, 0.0, 1.0))


def channel_edges(centres: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N+1"]:
    """Return the limits of channels, midway between their centres."""
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])
