"""Figures of what an inspection found: a heat map beside the voltage, and how the two clocks lie to each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xrd_jax.figures import panels as figures_panels
from xrd_jax.figures import style


@dataclasses.dataclass(frozen=True)
class Curve:
    """What the cell, or whatever was recorded beside the patterns, did: values [R] at times [R] in s."""

    time: np.ndarray
    values: np.ndarray
    label: str = "Voltage (V)"


@dataclasses.dataclass(frozen=True)
class Picture:
    """Patterns to be drawn.

    Attributes:
      time: [T] rising, in s; numbers of patterns where `timed` is False.
      axis: [N]; intensity: [T, N].
      label: of the axis.
      curve: drawn at the right, over the same times.
      note: a line under the title, such as that times are assumed.
    """

    title: str
    time: np.ndarray
    axis: np.ndarray
    intensity: np.ndarray
    label: str
    timed: bool = True
    curve: Curve | None = None
    note: str = ""


@style.styled
def heat_map(picture: Picture) -> Figure:
    """Patterns over time, first at the bottom, with the curve at their right on the same time axis."""
    figure = Figure((style.WIDTH, 4.2), layout="constrained")
    beside = picture.curve is not None
    grid = figure.add_gridspec(1, 2 if beside else 1, width_ratios=[4.2, 1] if beside else [1])
    axes = figure.add_subplot(grid[0, 0])
    seconds, label = _unit(picture)
    lines = figures_panels.time_bins(picture.time)
    image = lines.average(picture.intensity)
    mesh = figures_panels.heat_map(axes, lines, seconds, picture.axis, image, _scale(image), "viridis")
    axes.set(xlabel=picture.label, ylabel=label)
    _title(figure, picture)
    panels = [axes]
    if picture.curve is not None:
        panels.append(figure.add_subplot(grid[0, 1], sharey=axes))
        _beside(panels[1], picture.curve, seconds, axes.get_ylim())
    figures_panels.bar(mesh, panels, "Intensity", "right", "both")
    return figure


@style.styled
def alignment(
    picture: Picture,
    position: np.ndarray,
    window: tuple[float, float],
    lags: np.ndarray,
    correlation: np.ndarray,
    offset: float,
    against: str,
    told: bool,
) -> Figure:
    """Voltage and moving coordinate over one time axis, and how their agreement depends on an offset.

    Args:
      position: [T] the coordinate, as the clocks are; drawn again, lightly, with the offset.
      lags, correlation: [K] s and |r|.
      offset: s, the best; `told`: it is a suggestion.
    """
    assert picture.curve is not None
    figure = Figure((style.WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[2.2, 1])
    seconds, label = _unit(picture)
    curve = picture.curve
    time, values = figures_panels.broken(curve.time, curve.values)
    upper.plot(time / seconds, values, color="black", linewidth=0.9)
    upper.set(xlabel=label, ylabel=curve.label)
    right = upper.twinx()
    shown = {"linestyle": "", "marker": "o", "markersize": 2.2, "markeredgewidth": 0.4}
    right.plot(picture.time / seconds, position, color=style.RED, label="as the clocks are", **shown)
    moved: dict[str, Any] = {**shown, "fillstyle": "none", "color": style.BLUE}
    if told:
        right.plot((picture.time + offset) / seconds, position, label=f"with the offset, {offset:+.0f} s", **moved)
    right.set_ylabel(f"Centroid in {window[0]:.4g}–{window[1]:.4g}", color=style.RED)
    right.tick_params(axis="y", labelcolor=style.RED)
    right.ticklabel_format(axis="y", useOffset=False)
    low, high = sorted((np.nanmin(position), np.nanmax(position)))
    right.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    right.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, borderaxespad=0.2)
    _title(figure, picture)
    lower.plot(lags / seconds, correlation, color="black", linewidth=0.9)
    lower.axvline(0.0, color=style.RED, linewidth=0.8, linestyle=(0, (4, 2)))
    if told:
        lower.axvline(offset / seconds, color=style.BLUE, linewidth=0.8)
    lower.set(xlabel=label.replace("Time", "Offset"), ylabel=f"|r| with {against}")
    lower.set_xlim(lags[0] / seconds, lags[-1] / seconds)
    lower.grid(color="0.92", linewidth=0.5)
    verdict = "suggested, not applied" if told else "no offset stands out: none suggested"
    lower.set_title(verdict, loc="right", fontweight="normal", fontsize=7.5, color=style.BLUE)
    return figure


def _unit(picture: Picture) -> tuple[float, str]:
    return figures_panels.time_unit(picture.time) if picture.timed else (1.0, "Pattern")


def _scale(image: np.ndarray):
    """Square-root colours for intensities; plain ones where there are negative values."""
    scale = figures_panels.root_scale(image)
    if scale.vmin is not None and scale.vmin < 0:
        from matplotlib.colors import Normalize

        return Normalize(scale.vmin, scale.vmax)
    return scale


def _title(figure: Figure, picture: Picture) -> None:
    figure.suptitle(picture.title, x=0.01, ha="left", fontweight="bold", fontsize=9)
    if picture.note:
        figure.text(0.99, 0.985, picture.note, ha="right", va="top", fontsize=7.5, color=style.RED)


def _beside(axes: Axes, curve: Curve, seconds: float, limits: tuple[float, float]) -> None:
    time, values = figures_panels.broken(curve.time, curve.values)
    axes.plot(values, time / seconds, color="black", linewidth=0.9)
    axes.set_ylim(limits)
    axes.set_xlabel(curve.label)
    axes.tick_params(labelleft=False)
    axes.locator_params(axis="x", nbins=3)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.margins(x=0.08)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
