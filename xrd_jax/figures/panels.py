"""Pieces that figures share: heat maps, curves beside them, colour bars, labels that keep apart."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.ticker import MaxNLocator

from xrd_jax.figures.time_axis import TimeBins, break_at_gaps, time_bins
from xrd_jax.series.axis import channel_edges
from xrd_jax.series.record import PatternSeries

if TYPE_CHECKING:
    from xrd_jax.preprocessing.targets import TargetSpec

MAX_COLUMNS = 700  # about the pixels of a printed panel; more would only be dropped by the renderer
BLANK_COLOUR = "#e9eff7"  # behind grey maps, where white would be read as the lowest value
LABEL_SIZE = 7.0  # points
LINE_POINTS = 1.28 * LABEL_SIZE
LEADER: dict[str, Any] = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.35"}
LEADER |= {"relpos": (0.5, 0), "patchA": None, "shrinkA": 1, "shrinkB": 0}


@dataclasses.dataclass(frozen=True)
class TimeMap:
    """Values [T, N] at times [T] and axis positions [N]."""

    time: np.ndarray
    centres: np.ndarray
    values: np.ndarray


def root_scale(image: Num[np.ndarray, "R N"]) -> Normalize:
    """Return square-root colours, as Poisson noise asks for, between robust limits so that weak peaks show."""
    low, high = np.nanpercentile(image, [1.0, 99.7])
    return PowerNorm(0.5, low, high if high > low else low + 1.0)


def draw_patterns(
    axes: Axes, patterns: TimeMap, seconds: float, cmap: str, scale: Callable[[np.ndarray], Normalize] = root_scale
) -> QuadMesh:
    """Draw patterns as `heat_map` does, in colours that `scale` makes of the rows that are drawn."""
    bins = time_bins(patterns.time)
    image = bins.average(patterns.values)
    return heat_map(axes, bins, seconds, patterns.centres, image, scale(image), cmap)


def draw_patterns_and_vaw(
    pair: Sequence[Axes], patterns: TimeMap, vaw: TimeMap, seconds: float, labels: tuple[str, str, str]
) -> None:
    """Draw patterns and VAW with their colour bars; `labels`: of the two colour bars, and of the axis.

    Of a run without VAW `pair` has the axes of the patterns alone.
    """
    drawn = [(pair[0], draw_patterns(pair[0], patterns, seconds, "Greys"), labels[0], "both")]
    if len(pair) > 1:
        bins = time_bins(vaw.time)
        weights = bins.average(vaw.values)
        attention = heat_map(pair[1], bins, seconds, vaw.centres, weights, Normalize(0.0, 1.0), "Greys")
        hatch_missing(pair[1], vaw.centres, np.isnan(weights).all(axis=0))
        drawn.append((pair[1], attention, labels[1], "neither"))
    for axes, mesh, label, extend in drawn:
        axes.set_facecolor(BLANK_COLOUR)
        axes.set_xlim(*channel_edges(patterns.centres)[[0, -1]])
        axes.set_xlabel(labels[2])
        colour_bar(mesh, [axes], label, "bottom", extend)


def vaw_label(seeds: int) -> str:
    return f"VAW, mean of {seeds} seeds" if seeds > 1 else "VAW"


def heat_map(
    axes: Axes, bins: TimeBins, seconds: float, centres: Float[np.ndarray, " N"], image: Float[np.ndarray, "R N"],
    norm: Normalize, cmap: str,
) -> QuadMesh:  # fmt: skip
    """Draw rows of values over time (in units of `seconds`, upwards) and axis; return the mesh for a colour bar."""
    edges, size = channel_edges(centres), math.ceil(centres.size / MAX_COLUMNS)
    if size > 1:
        firsts = np.arange(0, centres.size, size)
        image = np.add.reduceat(image, firsts, axis=1) / np.diff(np.append(firsts, centres.size))
        edges = np.append(edges[firsts], edges[-1])
    values = np.ma.masked_invalid(image)
    mesh = axes.pcolormesh(edges, bins.edges / seconds, values, norm=norm, cmap=cmap, rasterized=True)
    axes.set(xlim=(edges[0], edges[-1]), ylim=(bins.edges[0] / seconds, bins.edges[-1] / seconds))
    return mesh


def colour_bar(mesh: ScalarMappable, axes: list[Axes], label: str, side: str, extend: str = "neither") -> Colorbar:
    """Draw a thin colour bar at a side of `axes`."""
    thin: dict[str, Any] = {"fraction": 0.05, "aspect": 28, "pad": 0.015}
    colorbar = axes[0].figure.colorbar(mesh, ax=axes, location=side, extend=extend, label=label, **thin)
    colorbar.outline.set_linewidth(0.5)
    low, high = mesh.get_clim()
    ticks = root_ticks(low, high) if isinstance(mesh.norm, PowerNorm) else np.linspace(low, high, 6).tolist()
    colorbar.set_ticks(ticks)
    colorbar.minorticks_off()
    return colorbar


def root_ticks(low: float, high: float) -> list[float]:
    """Return ticks at 1, 2 and 5 of every decade for a square-root scale, thinned; even ones over short spans."""
    decades = range(-9, math.ceil(math.log10(max(high, 1e-9))) + 1)
    candidates = [digit * 10.0**power for power in decades for digit in (1, 2, 5) if low <= digit * 10.0**power <= high]
    if len(candidates) < 3 or low < 0:
        return [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]
    ticks = [candidates[-1]]
    for tick in candidates[-2::-1]:
        if ticks[-1] ** 0.5 - tick**0.5 > 0.1 * (high**0.5 - low**0.5):
            ticks.append(tick)
    return ticks[::-1]


def place_labels(
    wanted: Float[np.ndarray, " N"], sizes: Float[np.ndarray, " N"], low: float, high: float
) -> Float[np.ndarray, " N"]:
    """Return the centres, nearest to `wanted` by least squares, of items `sizes` wide that do not overlap."""
    steps = np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])
    blocks: list[list[float]] = []
    for value in wanted - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    starts = np.concatenate([np.full(int(count), total / count) for total, count in blocks])
    first, last = low + sizes[0] / 2, high - sizes[-1] / 2 - steps[-1]
    return np.clip(starts, first, max(last, first)) + steps


def label_positions(
    axes: Axes, marks: Mapping[str, float], inches: float, start: float = 0.0, upright: bool = True
) -> None:
    """Write labels above the axes, each tied to its position by a thin line; crowds that do not fit are thinned.

    Args:
      marks: label -> position on the axis.
      inches: width of the axes.
      start: points kept free at the left.
      upright: labels read upwards; otherwise they are level.
    """
    low, high = axes.get_xlim()
    width = 72.0 * inches  # points
    inside = sorted((position, label) for label, position in marks.items() if low <= position <= high)
    widths = {label: LINE_POINTS if upright else _level_width(label) for _, label in inside}
    while sum(widths[label] for _, label in inside) > width - start:
        steps = np.diff([low, *(position for position, _ in inside), high])
        inside.pop(int(np.argmin(steps[1:] + steps[:-1])))
    if not inside:
        return
    sizes = np.array([widths[label] for _, label in inside]) / width
    fractions = np.array([(position - low) / (high - low) for position, _ in inside])
    centres = place_labels(fractions, sizes, start / width, 1.0)
    for (position, label), centre in zip(inside, centres, strict=True):
        axes.annotate(
            label, (position, 1.0), xycoords=("data", "axes fraction"), xytext=(centre, 11.0),
            textcoords=("axes fraction", "offset points"), ha="center", va="bottom", rotation=90 if upright else 0,
            fontsize=LABEL_SIZE, arrowprops=LEADER,
        )  # fmt: skip


def _level_width(label: str) -> float:
    """Points that a label takes when it is written level, with some air."""
    return 0.62 * LABEL_SIZE * max(map(len, label.split("\n"))) + 5.0


def curve_name(series: PatternSeries) -> str | None:
    """Return the target to draw beside maps: the voltage, else the first regression target, else None."""
    names = [name for name, target in series.targets.items() if target.kind == "regression"]
    return "voltage" if "voltage" in names else next(iter(names), None)


def caption(name: str, unit: str) -> str:
    """Return a target's name as an axis label: 'voltage', 'V' -> 'Voltage (V)'."""
    name = name[:1].upper() + name[1:].replace("_", " ")
    return f"{name} ({unit})" if unit else name


def draw_curve_beside(
    axes: Axes, time: Num[np.ndarray, " T"], values: Num[np.ndarray, " T"], label: str,
    style: tuple[str, str] = ("", "-"),
) -> None:  # fmt: skip
    """Draw values, to the right, over the time axis that `axes` shares with a map, in a style of (marker, line)."""
    time, values = break_at_gaps(time, values)
    axes.plot(values, time, color="black", linewidth=0.9, marker=style[0], linestyle=style[1], markersize=3)
    axes.set_xlabel(label)
    axes.tick_params(labelleft=False)
    axes.locator_params(axis="x", nbins=3)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="0.9", linewidth=0.5)


def score_text(per_seed: Float[np.ndarray, " S"], name: str, unit: str) -> str:
    """Return a score over seeds as text, such as 'MAE 10.2 ± 0.3 mV (3 seeds)'."""
    if not per_seed.size:
        return "no held-out patterns"
    digits = max(0, 2 - math.floor(math.log10(mean))) if (mean := abs(float(per_seed.mean()))) > 0 else 1
    text = f"{name} {per_seed.mean():.{digits}f}"
    if per_seed.size > 1:
        return f"{text} ± {per_seed.std(ddof=1):.{digits}f} {unit} ({per_seed.size} seeds)".replace("  ", " ")
    return f"{text} {unit}".rstrip()


def confusion_matrix(
    axes: Axes, measured: Int[np.ndarray, " T"], probabilities: Float[np.ndarray, "S T K"], spec: TargetSpec
) -> None:
    """Draw what the measured classes became: shares of each row, counts of all seeds together."""
    predicted = probabilities.argmax(axis=-1)
    counts = np.zeros((spec.size, spec.size), int)
    np.add.at(counts, (np.broadcast_to(measured, predicted.shape), predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    if spec.size <= 10:
        for row, column in np.ndindex(counts.shape):
            text = f"{100 * shares[row, column]:.1f} %" + (f"\n{counts[row, column]}" if spec.size <= 6 else "")
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=7 if spec.size <= 6 else 5)
    names = [textwrap.fill(name, 9, break_long_words=False) for name in spec.classes]
    rotation: dict[str, Any] = {"rotation": 90} if spec.size > 6 else {}
    axes.set_xticks(range(spec.size), names, **rotation)
    axes.set_yticks(range(spec.size), names)
    axes.tick_params(length=0)
    axes.set(xlabel="Predicted", ylabel="Measured")
    axes.set_title(caption(spec.name, ""), loc="left")
    text = score_text(100.0 * (predicted == measured).mean(axis=1) if measured.size else np.zeros(0), "accuracy", "%")
    axes.set_title(text, loc="right", fontweight="normal", fontsize=8)


def hatch_missing(axes: Axes, centres: Float[np.ndarray, " L"], missing: Bool[np.ndarray, " L"]) -> None:
    """Hatch the channels without a value."""
    edges = channel_edges(centres)
    for channel in np.flatnonzero(missing):
        axes.axvspan(edges[channel], edges[channel + 1], facecolor="0.9", edgecolor="0.6", hatch="//////", linewidth=0)


def signed_root(values: np.ndarray) -> np.ndarray:
    """Return sign(values) · √|values|, the forward function of a square-root scale; np.square is its inverse."""
    return np.sign(values) * np.sqrt(np.abs(values))
