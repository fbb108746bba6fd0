"""New patterns on a run's axis: as they are, resampled, or refused."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.interpolate import CubicSpline

from xrd_jax.errors import UserError
from xrd_jax.series import axis as series_axis

SAME = 0.1  # of a channel; what a run itself takes as its own axis
# Relative; Kα1 and the weighted mean of one anode differ by 0.0008, two anodes by far more.
WAVELENGTHS = 0.002


@dataclasses.dataclass(frozen=True)
class Fit:
    """How patterns come onto the axis that a run was trained on.

    Attributes:
      own: [C] their positions; trained: [N] those of the run.
      same: the two are one axis.
      said: sentences about what was done or assumed.
    """

    own: np.ndarray
    trained: np.ndarray
    same: bool
    said: tuple[str, ...] = ()

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Patterns [B, C] on the run's axis [B, N].

        Each new channel holds the mean, over its width, of the cubic spline through the pattern: fine channels are
        averaged, coarse ones joined smoothly. Intensities stay per channel as they were measured.
        """
        if self.same:
            return rows
        edges = np.clip(channel_edges(self.trained), self.own[0], self.own[-1])
        area = CubicSpline(self.own, np.asarray(rows, np.float64), axis=1).antiderivative()(edges)
        return (np.diff(area, axis=1) / np.diff(edges)).astype(np.float32)


def channel_edges(centres: np.ndarray) -> np.ndarray:
    """[N] channel positions -> [N + 1] limits, midway between them."""
    inner = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - inner[0]], inner, [2 * centres[-1] - inner[-1]]])


def fit(
    trained: np.ndarray, known: series_axis.Axis | None, own: np.ndarray, kind: str | None, wavelength: float | None,
    place: str,
) -> Fit:  # fmt: skip
    """Compares the axis of new patterns with that of a run.

    Args:
      trained: [N] the run's positions; known: their kind and wavelength, where the run has kept them.
      own: [C] positions of the new patterns; kind, wavelength: what their file states of them, or None.
      place: names the patterns in messages.

    Raises:
      UserError: another kind of axis, another wavelength of 2θ, or an axis that does not cover the trained one.
    """
    said = _refuse_other_kind(known, kind, wavelength, place)
    if own.size == trained.size and np.abs(own - trained).max() <= SAME * np.diff(trained).min():
        return Fit(own, trained, True, said)
    half = np.diff(trained)[[0, -1]] / 2
    if own[0] > trained[0] + half[0] or own[-1] < trained[-1] - half[1]:
        raise UserError(
            f"{place}: has {own.size} channels from {own[0]:g} to {own[-1]:g}, which do not cover {trained[0]:g} to "
            f"{trained[-1]:g}, where the run was trained; measure that range or train anew"
        )
    steps = np.median(np.diff(own)), np.median(np.diff(trained))
    line = (
        f"{place}: resampled from {own.size} channels of {steps[0]:.4g} ({own[0]:g} to {own[-1]:g}) to the "
        f"{trained.size} of {steps[1]:.4g} ({trained[0]:g} to {trained[-1]:g}) that the run was trained on."
    )
    return Fit(own, trained, False, (*said, line))


def _refuse_other_kind(
    known: series_axis.Axis | None, kind: str | None, wavelength: float | None, place: str
) -> tuple[str, ...]:
    if known is None:
        return (f"{place}: the run does not say what its axis is; the positions are taken to be of its kind.",)
    if kind is None:
        # What 'channel' counts is in no file.
        return () if known.kind == "channel" else (
            f"{place}: does not say what its positions are; taken as {known.label}, as in training.",
        )  # fmt: skip
    if kind != known.kind:
        raise UserError(f"{place}: its axis is {kind}, but the run was trained on {known.kind}; convert it first")
    if kind == "two_theta" and wavelength and known.wavelength:
        if abs(wavelength / known.wavelength - 1) > WAVELENGTHS:
            raise UserError(
                f"{place}: was measured at {wavelength:g} Å, but the run was trained at {known.wavelength:g} Å; "
                "convert 2θ to that wavelength first"
            )
    elif kind == "two_theta" and known.wavelength:
        return (f"{place}: does not state its wavelength; taken as {known.wavelength:g} Å, as in training.",)
    return ()
