"""Pieces of figures: time rows that leave gaps blank, heat maps, curves beside them, labels that keep apart."""

from __future__ import annotations

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.ticker import MaxNLocator

from xrd_jax.series.axis import channel_edges
from xrd_jax.series.record import PatternSeries

if TYPE_CHECKING:
    from xrd_jax.preprocessing.targets import TargetSpec

GAP = 2.5  # a step this many times the usual one is a gap: nothing was measured, so nothing is drawn
ROWS, COLUMNS = 400, 700  # about the pixels of a printed panel; more would only be dropped by the renderer
BLANK = "#e9eff7"  # behind grey maps, where white would be read as the lowest value
LABEL_SIZE = 7.0
LINE_POINTS = 1.28 * LABEL_SIZE
LEADER: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.35"}
LEADER |= {"relpos": (0.5, 0), "patchA": None, "shrinkA": 1, "shrinkB": 0}


def usual_step(time: np.ndarray) -> float:
    """Median step between successive times, ignoring repeated ones; 1 where there is none."""
    steps = np.diff(time)
    steps = steps[steps > 0]
    return float(np.median(steps)) if steps.size else 1.0


def gaps(time: np.ndarray) -> np.ndarray:
    """Indices of the patterns that come first after a gap."""
    return np.flatnonzero(np.diff(time) > GAP * usual_step(time)) + 1


def broken(time: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve (time, values) with NaN put into its gaps, so that a line drawn through it stops there."""
    at = gaps(time)
    return np.insert(time, at, np.nan), np.insert(values.astype(float), at, np.nan)


@dataclasses.dataclass(frozen=True)
class TimeBins:
    """Patterns in time order gathered into rows of a map.

    Attributes:
      edges: [R + 1] times at which rows begin and end.
      starts: first pattern of every row that is not blank.
      blank: positions among the starts before which a blank row stands.
      total: number of patterns.
    """

    edges: np.ndarray
    starts: np.ndarray
    blank: np.ndarray
    total: int

    def average(self, values: np.ndarray) -> np.ndarray:
        """[T, C] -> [R, C]: the mean of each row's patterns, NaN in gaps."""
        counts = np.diff(np.append(self.starts, self.total))
        means = np.add.reduceat(values, self.starts, axis=0, dtype=np.float64) / counts[:, None]
        return np.insert(means, self.blank, np.nan, axis=0)


def time_bins(time: np.ndarray, limit: int = ROWS) -> TimeBins:
    """Gathers increasing times [T] into about `limit` rows at most, none of which reaches across a gap."""
    half, size = usual_step(time) / 2, math.ceil(time.size / limit)
    bounds = [0, *gaps(time).tolist(), time.size]
    edges: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    blank: list[int] = []
    for begin, end in itertools.pairwise(bounds):
        first = np.arange(begin, end, size)
        inner = (time[first[1:] - 1] + time[first[1:]]) / 2
        edges.append(np.concatenate([[time[begin] - half], inner, [time[end - 1] + half]]))
        blank.append(sum(one.size for one in starts))
        starts.append(first)
    return TimeBins(np.concatenate(edges), np.concatenate(starts), np.array(blank[1:], int), time.size)


def heat_map(
    axes: Axes, grid: TimeBins, seconds: float, centres: np.ndarray, image: np.ndarray, norm: Normalize, cmap: str
) -> QuadMesh:
    """Draws [R, N] values over time (in units of `seconds`, upwards) and axis; returns the mesh for a colour bar."""
    edges, size = channel_edges(centres), math.ceil(centres.size / COLUMNS)
    if size > 1:
        first = np.arange(0, centres.size, size)
        image = np.add.reduceat(image, first, axis=1) / np.diff(np.append(first, centres.size))
        edges = np.append(edges[first], edges[-1])
    values = np.ma.masked_invalid(image)
    mesh = axes.pcolormesh(edges, grid.edges / seconds, values, norm=norm, cmap=cmap, rasterized=True)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(grid.edges[0] / seconds, grid.edges[-1] / seconds))
    return mesh


def root_scale(image: np.ndarray) -> PowerNorm:
    """Square-root colours, as Poisson noise asks for, between robust limits so that weak peaks show."""
    low, high = np.nanpercentile(image, [1.0, 99.7])
    return PowerNorm(0.5, low, high if high > low else low + 1.0)


def bar(mesh: ScalarMappable, axes: list[Axes], label: str, side: str, extend: str = "neither") -> Colorbar:
    """A thin colour bar at a side of `axes`."""
    thin: dict[str, Any] = {"fraction": 0.05, "aspect": 28, "pad": 0.015}
    drawn = axes[0].figure.colorbar(mesh, ax=axes, location=side, extend=extend, label=label, **thin)
    drawn.outline.set_linewidth(0.5)
    low, high = mesh.get_clim()
    drawn.set_ticks(root_ticks(low, high) if isinstance(mesh.norm, PowerNorm) else np.linspace(low, high, 6).tolist())
    drawn.minorticks_off()
    return drawn


def root_ticks(low: float, high: float) -> list[float]:
    """Ticks at 1, 2 and 5 of every decade for a square-root scale, thinned to stand apart; even over short spans."""
    decades = range(-9, math.ceil(math.log10(max(high, 1e-9))) + 1)
    found = [digit * 10.0**power for power in decades for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    if len(found) < 3 or low < 0:
        return [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    kept = [found[-1]]
    for tick in found[-2::-1]:
        if kept[-1] ** 0.5 - tick**0.5 > 0.1 * (high**0.5 - low**0.5):
            kept.append(tick)
    return kept[::-1]


def place_labels(wanted: np.ndarray, sizes: np.ndarray, low: float, high: float) -> np.ndarray:
    """Increasing centres, nearest to `wanted` by least squares, of items `sizes` wide that do not overlap."""
    steps = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])
    blocks: list[list[float]] = []
    for value in wanted - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    flat = np.concatenate([np.full(int(count), total / count) for total, count in blocks])
    first, last = low + sizes[0] / 2, high - sizes[-1] / 2 - steps[-1]
    return np.clip(flat, first, max(last, first)) + steps


def mark(axes: Axes, marks: Mapping[str, float], inches: float, start: float = 0.0, upright: bool = True) -> None:
    """Writes labels above the axes, each tied to its position by a thin line; crowds that do not fit are thinned.

    Args:
      marks: label -> position on the axis.
      inches: width of the axes; `start`: points kept free at the left.
      upright: labels read upwards; otherwise they are level.
    """
    low, high = axes.get_xlim()
    room = 72.0 * inches
    inside = sorted((at, label) for label, at in marks.items() if low <= at <= high)
    widths = {label: LINE_POINTS if upright else _width(label) for _, label in inside}
    while sum(widths[label] for _, label in inside) > room - start:
        steps = np.diff([low, *(at for at, _ in inside), high])
        inside.pop(int(np.argmin(steps[1:] + steps[:-1])))
    if not inside:
        return
    sizes = np.array([widths[label] for _, label in inside]) / room
    parts = np.array([(at - low) / (high - low) for at, _ in inside])
    for (at, label), place in zip(inside, place_labels(parts, sizes, start / room, 1.0), strict=True):
        axes.annotate(
            label,
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(place, 11.0),
            textcoords=("axes fraction", "offset points"),
            ha="center",
            va="bottom",
            rotation=90 if upright else 0,
            fontsize=LABEL_SIZE,
            arrowprops=LEADER,
        )


def _width(label: str) -> float:
    """Points that a label takes when it is written level, with some air."""
    return 0.62 * LABEL_SIZE * max(map(len, label.split("\n"))) + 5.0


def time_unit(time: np.ndarray) -> tuple[float, str]:
    """(seconds, label) of the unit that suits a span: hours, or minutes for short series."""
    return (3600.0, "Time (h)") if np.ptp(time) >= 900 else (60.0, "Time (min)")


def clock(series: PatternSeries, where: np.ndarray) -> tuple[float, str]:
    """(seconds, label) of the unit that suits the patterns `where`, which may have no times but numbers."""
    return time_unit(series.time[where]) if series.timed else (1.0, "Pattern number")


def curve_name(series: PatternSeries) -> str | None:
    """The target to draw beside maps: the voltage, else the first regression target, else None."""
    names = [name for name, target in series.targets.items() if target.kind == "regression"]
    return "voltage" if "voltage" in names else next(iter(names), None)


def caption(name: str, unit: str) -> str:
    """'voltage', 'V' -> 'Voltage (V)'."""
    name = name[:1].upper() + name[1:].replace("_", " ")
    return f"{name} ({unit})" if unit else name


def beside(axes: Axes, series: PatternSeries, where: np.ndarray, seconds: float, name: str) -> None:
    """Draws target `name` to the right over the time axis that `axes` shares with a map."""
    time, values = broken(series.time[where] / seconds, series.targets[name].values[where])
    axes.plot(values, time, color="black", linewidth=0.9, marker="." if where.size < 5 else "")
    axes.set_xlabel(caption(name, series.targets[name].unit))
    axes.tick_params(labelleft=False)
    axes.locator_params(axis="x", nbins=3)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="0.9", linewidth=0.5)


def score(per_seed: np.ndarray, name: str, unit: str) -> str:
    """'MAE 10.2 ± 0.3 mV (3 seeds)'."""
    if not per_seed.size:
        return "no verification patterns"
    mean = abs(float(per_seed.mean()))
    digits = max(0, 2 - math.floor(math.log10(mean))) if mean > 0 else 1
    text = f"{name} {per_seed.mean():.{digits}f}"
    if per_seed.size > 1:
        return f"{text} ± {per_seed.std():.{digits}f} {unit} ({per_seed.size} seeds)".replace("  ", " ")
    return f"{text} {unit}".rstrip()


def confusion(axes: Axes, measured: np.ndarray, probabilities: np.ndarray, spec: TargetSpec) -> None:
    """Draws what classes [N] became by probabilities [S, N, K]: shares of each row, counts of all seeds together."""
    guessed = probabilities.argmax(axis=-1)
    counts = np.zeros((spec.size, spec.size), int)
    np.add.at(counts, (np.broadcast_to(measured, guessed.shape), guessed), 1)
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(parts, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    if spec.size <= 10:
        for row, column in np.ndindex(counts.shape):
            shown = f"{100 * parts[row, column]:.1f} %" + (f"\n{counts[row, column]}" if spec.size <= 6 else "")
            colour = "white" if parts[row, column] > 0.55 else "black"
            axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=7 if spec.size <= 6 else 5)
    names = [textwrap.fill(name, 9, break_long_words=False) for name in spec.classes]
    turn: dict[str, Any] = {"rotation": 90} if spec.size > 6 else {}
    axes.set_xticks(range(spec.size), names, **turn)
    axes.set_yticks(range(spec.size), names)
    axes.tick_params(length=0)
    axes.set(xlabel="Predicted", ylabel="Measured")
    axes.set_title(caption(spec.name, ""), loc="left")
    text = score(100.0 * (guessed == measured).mean(axis=1) if measured.size else np.zeros(0), "accuracy", "%")
    axes.set_title(text, loc="right", fontweight="normal", fontsize=8)


def hatch(axes: Axes, centres: np.ndarray, missing: np.ndarray) -> None:
    """Marks channels without a value."""
    edges = channel_edges(centres)
    for channel in np.flatnonzero(missing):
        axes.axvspan(edges[channel], edges[channel + 1], facecolor="0.9", edgecolor="0.6", hatch="//////", linewidth=0)
