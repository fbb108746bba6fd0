"""What a page shows of patterns, as arrays and words; it knows of no HTML and no plotting library."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int, Integer

from xrd_jax.series import lazy
from xrd_jax.series.axis import Axis

MAX_PATTERNS = 8000  # shown; evenly spaced ones where there are more: a screen has fewer lines
MAX_VALUES = MAX_PATTERNS * 256  # intensities shown, so that a page stays below 12 MB
GAP_SHARE = 0.75  # of the usual step in time: a row of the heat map that is farther from any pattern stays blank


@dataclasses.dataclass(frozen=True)
class TargetPanel:
    """One target of every pattern T."""

    name: str
    unit: str
    classes: tuple[str, ...]  # empty for a regression target
    predicted: Float[np.ndarray, " T"]  # value in `unit`, or index of the class
    measured: Float[np.ndarray, " T"]  # NaN where it is not known
    low: Float[np.ndarray, " T"] | None = None  # ends of the band; NaN where nothing is stated
    high: Float[np.ndarray, " T"] | None = None
    band: str = ""  # what the band is, in words
    probabilities: Float[np.ndarray, "T K"] | None = None  # of the classes, or of the bins of a distribution
    span: tuple[float, float] | None = None  # outer edges of these bins


@dataclasses.dataclass(frozen=True)
class View:
    """Patterns that are looked at together, one below the other in time."""

    name: str
    rows: Int[np.ndarray, " n"]  # numbers of the patterns, in time order
    position: Float[np.ndarray, " n"]  # on the vertical axis, not falling
    label: str  # of that axis
    grid: Int[np.ndarray, " R"]  # evenly spaced rows of the heat map -> place in `rows`; -1 where nothing was measured


@dataclasses.dataclass(frozen=True)
class Content:
    """The patterns T that a page shows, on C channels, and what a run says of them."""

    axis: Axis
    intensity: Float[np.ndarray, "T C"]
    intensity_label: str
    names: Sequence[str]
    roles: Integer[np.ndarray, " T"]
    role_names: tuple[str, ...]  # such as 'trained on' and 'held out'
    views: tuple[View, ...]
    targets: tuple[TargetPanel, ...]
    layers: Mapping[str, np.ndarray]  # name -> map [T, C] from 0 to 1, NaN where it has no value
    reflections: Mapping[str, float]  # 'NMC 003' -> position on the axis
    sampling: str  # a sentence: how this was made of what was measured
    measures: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)  # name -> a number [T] of each pattern


def view(name: str, rows: Int[np.ndarray, " n"], position: Float[np.ndarray, " n"], label: str) -> View:
    """Return a view with its evenly spaced rows; pauses in the measurement stay blank."""
    position = np.asarray(position, np.float64)
    steps = np.diff(position)
    steps = steps[steps > 0]
    usual = float(max(np.median(steps), np.quantile(steps, 0.9, method="lower"))) if steps.size else 1.0
    span = float(position[-1] - position[0])
    finest = float(np.median(steps)) if steps.size else 1.0
    count = int(np.clip(round(span / finest) + 1, min(position.size, MAX_PATTERNS), MAX_PATTERNS)) if span else 1
    centres = np.linspace(position[0], position[-1], count)
    after = np.clip(np.searchsorted(position, centres), 1, max(position.size - 1, 1)) if position.size > 1 else 0
    nearest = np.broadcast_to(np.asarray(after), centres.shape).copy()
    if position.size > 1:
        nearest -= centres - position[nearest - 1] < position[nearest] - centres
    is_blank = np.abs(position[nearest] - centres) > GAP_SHARE * max(usual, span / count)
    return View(name, rows, position, label, np.where(is_blank, -1, nearest).astype(np.int32))


def session_views(
    session: Int[np.ndarray, " T"], names: Sequence[str], time: Float[np.ndarray, " T"], timed: bool
) -> tuple[View, ...]:
    """Return a view per session, in hours or minutes, the longest first, and one of all patterns by number.

    Args:
      time: s, or numbers of patterns where `timed` is False.
    """
    order = np.lexsort((time, session))
    views = []
    for number, name in enumerate(names):
        rows = order[session[order] == number]
        if not timed or rows.size < 2 or np.ptp(time[rows]) <= 0:
            continue
        seconds, label = (3600.0, "Time (h)") if np.ptp(time[rows]) >= 900 else (60.0, "Time (min)")
        views.append(view(str(name), rows, time[rows] / seconds, label))
    views.sort(key=lambda item: -item.rows.size)
    everything = view("all, by number", order, np.arange(order.size, dtype=float), "Pattern number")
    return (everything,) if not views else (*views, everything)


def channel_groups(count: int, patterns: int) -> Int[np.ndarray, " C"]:
    """Return where the groups of channels begin that are averaged so that `MAX_VALUES` are not exceeded."""
    size = -(-count * patterns // MAX_VALUES)
    return np.arange(0, count, max(size, 1))


def averaged(
    intensity: np.ndarray | lazy.LazyRows, rows: Int[np.ndarray, " T"], starts: Int[np.ndarray, " C"]
) -> Float[np.ndarray, "T C"]:
    """Return the patterns at `rows` with groups of channels averaged, read block by block."""
    shown = np.empty((rows.size, starts.size), np.float32)
    sizes = np.diff(np.append(starts, intensity.shape[1]))
    for begin, block in lazy.read_blocks(intensity, 1024, rows):
        shown[begin : begin + len(block)] = np.add.reduceat(block, starts, axis=1, dtype=np.float64) / sizes
    return shown


def averaged_axis(axis: Axis, starts: Int[np.ndarray, " C"]) -> Axis:
    """Return the mean positions of groups of channels."""
    sizes = np.diff(np.append(starts, axis.values.size))
    return dataclasses.replace(axis, values=np.add.reduceat(axis.values, starts) / sizes)


def on_axis(
    maps: Float[np.ndarray, "T M"], centres: Float[np.ndarray, " M"], positions: Float[np.ndarray, " C"]
) -> Float[np.ndarray, "T C"]:
    """Return maps on other channels: each takes its nearest value, NaN beyond half a step outside."""
    middles = (centres[1:] + centres[:-1]) / 2
    taken = np.asarray(maps, np.float32)[:, np.searchsorted(middles, positions)]
    step = float(np.diff(centres).max()) if centres.size > 1 else np.inf
    taken[:, (positions < centres[0] - step) | (positions > centres[-1] + step)] = np.nan
    return taken


def sampling_sentence(total: tuple[int, int], shown: tuple[int, int]) -> str:
    """Say how what is shown [patterns, channels] was made of all that there are."""
    patterns = (
        f"all {total[0]} patterns" if total[0] == shown[0] else f"{shown[0]} of {total[0]} patterns, evenly spaced"
    )
    if total[1] == shown[1]:
        return f"Shown are {patterns} in all {total[1]} channels."
    return f"Shown are {patterns}; {total[1]} channels are averaged to {shown[1]}."
