"""New patterns on a run's axis: as they are, resampled, or refused."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Num
from scipy.interpolate import CubicSpline

from xrd_jax.errors import UserError
from xrd_jax.series.axis import Axis, channel_edges

AXIS_TOLERANCE = 0.1  # of a channel; what a run itself takes as its own axis
# Relative; Kα1 and the weighted mean of one anode differ by 0.0008, two anodes by far more.
WAVELENGTH_TOLERANCE = 0.002


@dataclasses.dataclass(frozen=True)
class AxisFit:
    """How patterns come onto the axis that a run was trained on.

    Attributes:
      measured: [C] their positions.
      trained: [N] positions of the run.
      is_same: the two are one axis.
      messages: sentences about what was done or assumed.
    """

    measured: np.ndarray
    trained: np.ndarray
    is_same: bool
    messages: tuple[str, ...] = ()

    def __call__(self, patterns: Num[np.ndarray, "B C"]) -> Num[np.ndarray, "B N"]:
        """Return patterns on the run's axis.

        Each new channel holds the mean, over its width, of the cubic spline through the pattern: fine channels are
        averaged, coarse ones joined smoothly. Intensities stay per channel as they were measured.
        """
        if self.is_same:
            return patterns
        edges = np.clip(channel_edges(self.trained), self.measured[0], self.measured[-1])
        area = CubicSpline(self.measured, np.asarray(patterns, np.float64), axis=1).antiderivative()(edges)
        return (np.diff(area, axis=1) / np.diff(edges)).astype(np.float32)


def fit_axis(
    trained: Float[np.ndarray, " N"], trained_axis: Axis | None,
    measured: Float[np.ndarray, " C"], kind: str | None, wavelength: float | None, source: str,
) -> AxisFit:  # fmt: skip
    """Compare the axis of new patterns with that of a run.

    Args:
      trained: the run's positions.
      trained_axis: their kind and wavelength, where the run has a reference.
      measured: positions of the new patterns.
      kind, wavelength: what their file states of them, or None.
      source: names the patterns in messages.

    Raises:
      UserError: another kind of axis, another wavelength of 2θ, or an axis that does not cover the trained one.
    """
    messages = _refuse_other_kind(trained_axis, kind, wavelength, source)
    steps = np.diff(measured), np.diff(trained)
    if measured.size == trained.size and np.abs(measured - trained).max() <= AXIS_TOLERANCE * steps[1].min():
        return AxisFit(measured, trained, True, messages)
    half = steps[1][[0, -1]] / 2
    if measured[0] > trained[0] + half[0] or measured[-1] < trained[-1] - half[1]:
        raise UserError(
            f"{source}: has {measured.size} channels from {measured[0]:g} to {measured[-1]:g}, which do not cover "
            f"{trained[0]:g} to {trained[-1]:g}, where the run was trained; measure that range or train anew"
        )
    message = (
        f"{source}: resampled from {measured.size} channels of {np.median(steps[0]):.4g} ({measured[0]:g} to "
        f"{measured[-1]:g}) to the {trained.size} of {np.median(steps[1]):.4g} ({trained[0]:g} to {trained[-1]:g}) "
        "that the run was trained on."
    )
    return AxisFit(measured, trained, False, (*messages, message))


def _refuse_other_kind(
    trained: Axis | None, kind: str | None, wavelength: float | None, source: str
) -> tuple[str, ...]:
    """Return what had to be assumed of the new axis, if anything."""
    if trained is None:
        return (f"{source}: the run does not say what its axis is; the positions are taken to be of its kind.",)
    if kind is None:
        # What 'channel' counts is in no file.
        return () if trained.kind == "channel" else (
            f"{source}: does not say what its positions are; taken as {trained.label}, as in training.",
        )  # fmt: skip
    if kind != trained.kind:
        raise UserError(f"{source}: its axis is {kind}, but the run was trained on {trained.kind}; convert it first")
    if kind == "two_theta" and wavelength and trained.wavelength:
        if abs(wavelength / trained.wavelength - 1) > WAVELENGTH_TOLERANCE:
            raise UserError(
                f"{source}: was measured at {wavelength:g} Å, but the run was trained at {trained.wavelength:g} Å; "
                "convert 2θ to that wavelength first"
            )
    elif kind == "two_theta" and trained.wavelength:
        return (f"{source}: does not state its wavelength; taken as {trained.wavelength:g} Å, as in training.",)
    return ()
