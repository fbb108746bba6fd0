"""The axis of a session, the one axis of all sessions, and what is masked on it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment.schema import ExperimentFile, MaskTable
from xrd_jax.io.experiment.stack import Stack, same_axis
from xrd_jax.io.patterns.pattern import KALPHA_MEAN
from xrd_jax.series import lazy
from xrd_jax.series.axis import Axis, bridges, inside

WAVELENGTH_TOLERANCE = 0.01  # Kα1 and the mean of both Kα lines differ by less; more is another source


def session_axis(experiment: ExperimentFile, stack: Stack, messages: list[str]) -> Axis:
    """Return the axis of a session, by the experiment file or else by what the pattern files state.

    Raises UserError where neither says what it is, they contradict each other, or a wavelength is missing.
    """
    table, place, name = experiment.axis, experiment.place("axis"), stack.names[0]
    kind = table.kind or stack.kind
    if kind is None:
        raise UserError(f'{place} kind is missing and {name} does not say it; add one such as "two_theta"')
    if stack.kind not in (None, kind):
        raise UserError(f"{place} kind = '{kind}', but {name} states {stack.kind}; mend it or leave it out")
    values = stack.axis * (table.scale if stack.kind is None else 1.0)
    if table.first is not None and table.last is not None:
        values = np.linspace(table.first * table.scale, table.last * table.scale, values.size)
    wavelength = table.wavelength or stack.wavelength
    if wavelength is None and kind == "two_theta":  # q and d mean the same at any
        raise UserError(f"{place} wavelength is missing; give it in Å, such as wavelength = 1.5406: none is assumed")
    if kind == "two_theta" and not -180 <= values[0] < values[-1] <= 180:
        raise UserError(f"{name}: positions {values[0]:g} to {values[-1]:g} are no 2θ in degrees; mend [axis]")
    messages += _wavelength_warnings(table.wavelength, stack)
    return Axis(values, kind, wavelength)


def _wavelength_warnings(given: float | None, stack: Stack) -> list[str]:
    if given is None:
        return []
    warnings, opening = [], f"Check the wavelength: {given:g} Å is given, but"
    anode = stack.metadata.get("Anode", "")
    usual = KALPHA_MEAN.get(anode)
    if usual is not None and abs(given / usual - 1) >= WAVELENGTH_TOLERANCE:
        warnings.append(f"{opening} the patterns name a {anode} anode (Kα {usual:g} Å).")
    if stack.wavelength is not None and abs(given / stack.wavelength - 1) > WAVELENGTH_TOLERANCE:
        warnings.append(f"{opening} the files state {stack.wavelength:g} Å.")
    return warnings


def common_axis(experiment: ExperimentFile, axes: Sequence[Axis]) -> Axis:
    """Return the axis of the first session. Raises UserError where another session differs from it."""
    first = axes[0]
    for session, axis in zip(experiment.sessions, axes, strict=True):
        place = f"{experiment.place(session.label)} '{session.name}'"
        if axis.kind != first.kind or not same_axis(axis.values, first.values):
            extents = [f"{a.values.size} channels of {a.kind} from {a.values[0]:g} to {a.values[-1]:g}"
                       for a in (axis, first)]  # fmt: skip
            raise UserError(f"{place} has {extents[0]}, the first session {extents[1]}; export all on one axis")
        if axis.wavelength != first.wavelength and first.kind == "two_theta":
            raise UserError(f"{place} was measured at another wavelength, {axis.wavelength} Å instead of "
                            f"{first.wavelength} Å; export all sessions as q")  # fmt: skip
    return first


def refuse_windows_off_axis(experiment: ExperimentFile, axis: Axis) -> None:
    """Raise UserError for an entry of [windows] that holds no part of the axis."""
    first, last = axis.values[[0, -1]]
    for name, (low, high) in experiment.windows.items():
        if high < first or low > last:
            window = f"{experiment.place('windows')} {name} = [{low:g}, {high:g}]"
            raise UserError(f"{window} lies off the axis, which runs from {first:g} to {last:g}; mend it")


def apply_keep(
    keep: tuple[float, float] | None, axis: Axis, intensity: np.ndarray | lazy.LazyRows
) -> tuple[Axis, np.ndarray | lazy.LazyRows]:
    """Return the axis and the intensities [T, N] within the range that is analysed."""
    if keep is None:
        return axis, intensity
    channels = np.flatnonzero(inside(axis.values, [keep]))
    if channels.size < 2:
        raise UserError(f"[axis] keep = [{keep[0]:g}, {keep[1]:g}] leaves {channels.size} channels of "
                        f"{axis.values[0]:g} to {axis.values[-1]:g}; mend it")  # fmt: skip
    return dataclasses.replace(axis, values=axis.values[channels]), lazy.columns(intensity, channels)


def apply_mask(
    mask: MaskTable, axis: Axis, intensity: np.ndarray | lazy.LazyRows
) -> tuple[Axis, np.ndarray | lazy.LazyRows]:
    """Return axis and intensities [T, N] without the masked channels, or with straight lines across them."""
    positions = axis.values
    for low, high in mask.channels:
        if not inside(positions, [(low, high)]).any():
            raise UserError(f"[mask] channels [{low:g}, {high:g}] hides no channel of {positions[0]:g} to "
                            f"{positions[-1]:g}; mend it")  # fmt: skip
    if not mask.channels:
        return axis, intensity
    hidden = inside(positions, mask.channels)
    shown = np.flatnonzero(~hidden)
    axis = dataclasses.replace(axis, masked=mask.channels)
    if shown.size < 2:
        raise UserError("[mask] channels hides all but one channel; mend it")
    if not mask.fill:
        return dataclasses.replace(axis, values=positions[shown]), lazy.columns(intensity, shown)
    if isinstance(intensity, lazy.LazyRows):
        raise UserError("[mask] fill = true changes patterns, and these are so many that they stay on disk; remove it")
    filled = intensity.astype(np.float64)
    channel, left, right, share = bridges(positions, hidden)
    filled[:, channel] = (1 - share) * intensity[:, left] + share * intensity[:, right]
    return axis, np.round(filled).astype(intensity.dtype) if intensity.dtype.kind == "i" else filled
