"""New patterns on a run's axis: as they are, resampled, or refused."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.interpolate import CubicSpline

from xrd_jax.errors import UserError
from xrd_jax.io.experiment.schema import TO_AXIS_UNIT
from xrd_jax.series.axis import Axis, Bridges, bridges, inside

MIN_CHANNELS = 4  # of a cubic spline
AXIS_TOLERANCE = 0.1  # of a channel; what a run itself takes as its own axis
PICK_TOLERANCE = 0.02  # of a channel, among more channels: what text files round, and less than chance would give
# Relative; Kα1 and the weighted mean of one anode differ by 0.0008, two anodes by far more.
WAVELENGTH_TOLERANCE = 0.002


@dataclasses.dataclass(frozen=True)
class AxisFit:
    """How patterns come onto the axis that a run was trained on.

    Attributes:
      measured: [C] their positions.
      trained: [N] positions of the run.
      is_same: the two are one axis, and nothing is to be done.
      messages: sentences about what was done or assumed.
      scale: factor from `measured` to the unit of `trained`.
      picked: channels of the patterns that are the run's own, those apart that it masks; None: they are resampled.
      usable: channels of the patterns that the run does not mask.
      lines: across the channels that the run masks, where it has them.
    """

    measured: np.ndarray
    trained: np.ndarray
    is_same: bool
    messages: tuple[str, ...] = ()
    scale: float = 1.0
    picked: np.ndarray | None = None
    usable: np.ndarray | None = None
    lines: Bridges | None = None

    def __call__(self, patterns: Num[np.ndarray, "B C"]) -> Num[np.ndarray, "B N"]:
        """Return patterns on the run's axis.

        Its own channels are picked where the patterns have them. Otherwise each channel holds the mean, over its width,
        of the cubic spline through the pattern: fine channels are averaged, coarse ones joined smoothly. Intensities
        stay per channel as they were measured. What the run masks plays no part.
        """
        if self.is_same:
            return patterns
        shown = self._resampled(patterns) if self.picked is None else patterns[:, self.picked]
        if self.lines is None:
            return shown
        channel, left, right, share = self.lines
        values = np.empty((len(patterns), self.trained.size))
        values[:, np.delete(np.arange(self.trained.size), channel)] = shown
        values[:, channel] = (1 - share) * values[:, left] + share * values[:, right]
        return values

    def _resampled(self, patterns: np.ndarray) -> np.ndarray:
        trained = self.trained if self.lines is None else np.delete(self.trained, self.lines.channel)
        measured, values = self.measured * self.scale, np.asarray(patterns, np.float64)
        if self.usable is not None:
            measured, values = measured[self.usable], values[:, self.usable]
        half = _half_widths(trained)
        limits = np.clip(np.stack([trained - half, trained + half]), measured[0], measured[-1])
        area = CubicSpline(measured, values, axis=1).antiderivative()
        return ((area(limits[1]) - area(limits[0])) / (limits[1] - limits[0])).astype(np.float32)


def fit_axis(
    trained: Float[np.ndarray, " N"], trained_axis: Axis | None,
    measured: Float[np.ndarray, " C"], kind: str | None, wavelength: float | None, source: str,
) -> AxisFit:  # fmt: skip
    """Compare the axis of new patterns with that of a run.

    Args:
      trained: the run's positions.
      trained_axis: the same as it was measured, with kind, wavelength and mask, where the run has a reference.
      measured: positions of the new patterns.
      kind, wavelength: what their file states of them, or None.
      source: names the patterns in messages.

    Raises:
      UserError: another kind of axis, another wavelength of 2θ, or an axis that does not cover the trained one.
    """
    messages = _refuse_other_kind(trained_axis, kind, wavelength, source)
    ranges = () if trained_axis is None else trained_axis.masked
    trained = trained if trained_axis is None else trained_axis.values  # not rounded to float32
    is_filled = inside(trained, ranges)
    shown = trained[~is_filled]
    lines = bridges(trained, is_filled) if is_filled.any() else None
    picked, scale = _own_channels(measured, shown), 1.0
    if picked is None and kind is None and trained_axis is not None:
        for unit, factor in TO_AXIS_UNIT[trained_axis.kind].items():
            if factor != 1.0 and (found := _own_channels(measured * factor, shown)) is not None:
                picked, scale = found, factor
                messages += (f"{source}: its positions are those of the run in {unit or 'its unit'}; taken as such.",)
    if picked is not None:
        is_same = lines is None and picked.size == measured.size
        if measured.size > trained.size:
            messages += (f"{source}: the run's {trained.size} channels were picked from its {measured.size}.",)
        return AxisFit(measured, trained, is_same, messages, scale, picked, None, lines)
    usable = np.flatnonzero(~inside(measured, ranges))
    _refuse_uncovered(shown, measured[usable], source)
    extents = [f"{axis.size} channels of {np.median(np.diff(axis)):.4g} ({axis[0]:g} to {axis[-1]:g})"
               for axis in (measured, trained)]  # fmt: skip
    to = extents[1].replace(" channels", "")
    message = f"{source}: resampled from {extents[0]} to the {to} that the run was trained on."
    return AxisFit(measured, trained, False, (*messages, message), scale, None, usable, lines)


def _half_widths(positions: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Return half the width of channels, which reach to both sides as far as to the nearer neighbour's limit."""
    steps = np.diff(positions)
    return np.minimum(np.append(steps[0], steps), np.append(steps, steps[-1])) / 2


def _own_channels(measured: np.ndarray, trained: np.ndarray) -> Int[np.ndarray, " N"] | None:
    """Return which of the measured channels are the trained ones; None where any is missing."""
    right = np.clip(np.searchsorted(measured, trained), 1, measured.size - 1)
    nearest = right - (trained - measured[right - 1] < measured[right] - trained)
    tolerance = AXIS_TOLERANCE if measured.size == trained.size else PICK_TOLERANCE
    is_same = np.abs(measured[nearest] - trained) <= 2 * tolerance * _half_widths(trained)
    return nearest if is_same.all() else None


def _refuse_uncovered(trained: np.ndarray, measured: np.ndarray, source: str) -> None:
    """Raise UserError where trained channels lie beyond the measured ones, or in a hole between them."""
    half = _half_widths(trained)
    extent = f"{source}: has {measured.size} channels"
    if measured.size < MIN_CHANNELS:
        raise UserError(f"{extent} where the run was trained; it takes {MIN_CHANNELS} to resample: measure more")
    first, last = measured[[0, -1]]
    if first >= trained[0] + half[0] or last <= trained[-1] - half[-1]:
        raise UserError(
            f"{extent} from {first:g} to {last:g}, which do not cover {trained[0]:g} to {trained[-1]:g}, where the "
            "run was trained; measure that range or train anew"
        )
    right = np.clip(np.searchsorted(measured, trained), 1, measured.size - 1)
    steps = np.diff(measured)
    # A hole is wider than the steps on both of its sides, and what lies deep in it was not measured.
    beside = np.maximum(np.append(steps[0], steps[:-1]), np.append(steps[1:], steps[-1]))[right - 1]
    is_lost = np.minimum(trained - measured[right - 1], measured[right] - trained) > beside
    if is_lost.any():
        low, high = measured[right - 1][is_lost][0], measured[right][is_lost][0]
        raise UserError(
            f"{source}: has no channels between {low:g} and {high:g}, where the run was trained; measure that range "
            "or train anew"
        )


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
