"""The figures of a run: patterns, predictions, attention maps. They are made as values; nothing global is touched."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xrd_jax.analysis.vaw import Vaw
from xrd_jax.figures import panels as figures_panels
from xrd_jax.figures.style import BLUE, RED, STYLE, WASH, WIDTH, styled
from xrd_jax.series import axis as series_axis
from xrd_jax.series import record
from xrd_jax.series.record import PatternSeries

if TYPE_CHECKING:
    from xrd_jax.preprocessing.targets import TargetSpec

RINGS: dict[str, Any] = {
    "color": RED,
    "linestyle": "",
    "marker": "o",
    "markersize": 2.2,
    "fillstyle": "none",
    "markeredgewidth": 0.5,
}


def to_rgb(figure: Figure) -> np.ndarray:
    """The figure as uint8 [H, W, 3] at screen resolution."""
    canvas = FigureCanvasAgg(figure)
    with matplotlib.style.context(["default", STYLE]):
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def vaw_image(vaw_map: np.ndarray, limit: int = 128) -> np.ndarray:
    """A map [T, L] as a small picture [rows, L] within 0–1, first pattern at the bottom (last row), NaN as 0."""
    grid = figures_panels.time_bins(np.arange(len(vaw_map), dtype=float), limit)
    return np.clip(np.nan_to_num(grid.average(vaw_map)), 0.0, 1.0)[::-1]


@styled
def patterns_and_curves(series: PatternSeries) -> Figure:
    """Patterns over time with the charge–discharge curve at the right, a row for each session (paper, Fig. 1)."""
    present = [(i, name) for i, name in enumerate(series.session_names) if (series.session == i).any()]
    beside = figures_panels.curve_name(series)
    figure = Figure((WIDTH, 0.4 + 3.1 * len(present)), layout="constrained")
    grid = figure.add_gridspec(len(present), 2 if beside else 1, width_ratios=[4.2, 1] if beside else [1])
    for row, (session, name) in enumerate(present):
        axes = figure.add_subplot(grid[row, 0])
        where = record.in_session(series, session)
        seconds, axes_label = figures_panels.clock(series, where)
        lines = figures_panels.time_bins(series.time[where])
        image = lines.average(series.intensity[where])
        mesh = figures_panels.heat_map(
            axes, lines, seconds, series.axis.values, image, figures_panels.root_scale(image), "viridis"
        )
        axes.set(xlabel=series.axis.label, ylabel=axes_label)
        title = textwrap.shorten(name, 28, placeholder="…")
        axes.set_title(title, loc="left")
        figures_panels.mark(axes, series.reflections, 4.6 if beside else 6.0, start=6.5 * len(title) + 6)
        panels = [axes]
        if beside:
            panels.append(figure.add_subplot(grid[row, 1], sharey=axes))
            figures_panels.beside(panels[1], series, where, seconds, beside)
        figures_panels.bar(mesh, panels, "Counts" if series.is_counts else "Intensity", "right", "both")
    return figure


@styled
def predictions(
    series: PatternSeries, test: np.ndarray, outputs: Mapping[str, np.ndarray], specs: Sequence[TargetSpec]
) -> Figure:
    """Measured and predicted targets of the verification patterns, residuals, confusion matrices (paper, Fig. 3).

    Args:
      test: indices of the verification patterns.
      outputs: target -> [S, T] values or [S, T, K] probabilities.
    """
    present = [(i, name) for i, name in enumerate(series.session_names) if (series.session == i).any()]
    values = [spec for spec in specs if spec.kind == "regression"]
    classes = [spec for spec in specs if spec.kind != "regression"]
    heights = [2.75 * len(present) * len(values), 3.3 * math.ceil(len(classes) / 2)]
    used = [h for h in heights if h] or [1.0]
    figure = Figure((WIDTH, sum(used)), layout="constrained")
    parts = figure.subfigures(len(used), 1, height_ratios=used, squeeze=False)[:, 0]
    if values:
        panels = [(session, name, spec) for spec in values for session, name in present]
        rows = parts[0].subplots(2 * len(panels), 1, height_ratios=[2.6, 1] * len(panels), squeeze=False)[:, 0]
        for number, (session, name, spec) in enumerate(panels):
            title = name if len(values) == 1 else f"{name}, {spec.name}"
            pair = (rows[2 * number], rows[2 * number + 1])
            _regression(pair, series, session, title, test, outputs[spec.name], spec)
        parts[0].legend(*rows[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    if classes:
        grid = parts[-1].add_gridspec(math.ceil(len(classes) / 2), 4)
        for number, spec in enumerate(classes):
            # Two beside each other; one without a neighbour stands in the middle.
            first = 1 if number == len(classes) - 1 and number % 2 == 0 else 2 * (number % 2)
            axes = parts[-1].add_subplot(grid[number // 2, first : first + 2])
            figures_panels.confusion(axes, series.targets[spec.name].values[test], outputs[spec.name][:, test], spec)
    return figure


def _regression(
    pair: tuple[Axes, Axes],
    series: PatternSeries,
    session: int,
    title: str,
    test: np.ndarray,
    output: np.ndarray,
    spec: TargetSpec,
) -> None:
    upper, lower = pair
    where = record.in_session(series, session)
    seconds, label = figures_panels.clock(series, where)
    chosen = where[np.isin(where, test)]
    measured, time = series.targets[spec.name].values, series.time / seconds
    scale, unit = (1000.0, "mV") if spec.unit == "V" else (1.0, spec.unit)
    residual = (output[:, chosen] - measured[chosen]) * scale
    rings = RINGS | {"rasterized": chosen.size > 1000}
    upper.plot(
        *figures_panels.broken(time[where], measured[where]), color="black", linewidth=0.8, zorder=3, label="measured"
    )
    upper.plot(time[chosen], output[:, chosen].mean(axis=0), label="predicted", **rings)
    lower.plot(time[chosen], residual.mean(axis=0), **rings)
    lower.axhline(0.0, color="black", linewidth=0.6)
    if len(output) > 1:
        # A bar for each pattern, as wide as a ring: a filled band would run across patterns that were trained on.
        band: dict[str, Any] = {"color": RED, "alpha": 0.25, "linewidth": 1.6, "rasterized": True}
        for axes, values in ((upper, output[:, chosen]), (lower, residual)):
            centre, deviation = values.mean(axis=0), values.std(axis=0)
            axes.vlines(time[chosen], centre - deviation, centre + deviation, label="std over seeds", **band)
    upper.set_title(title, loc="left")
    errors = np.abs(residual).mean(axis=1) if chosen.size else np.zeros(0)
    upper.set_title(figures_panels.score(errors, "MAE", unit), loc="right", fontweight="normal", fontsize=8)
    edges = figures_panels.time_bins(series.time[where]).edges / seconds
    for axes in pair:
        axes.set_xlim(edges[0], edges[-1])
        axes.grid(color="0.92", linewidth=0.5)
    upper.set_ylabel(figures_panels.caption(spec.name, spec.unit))
    upper.tick_params(labelbottom=False)
    lower.set(xlabel=label, ylabel=f"Residual\n({unit})" if unit else "Residual")


@styled
def vaw_maps(series: PatternSeries, vaw: Vaw, session: int) -> Figure:
    """A session's patterns, its VAW averaged over seeds, and its curve, over one time axis (paper, Figs. 4 and 5)."""
    where, beside = record.in_session(series, session), figures_panels.curve_name(series)
    seconds, label = figures_panels.clock(series, where)
    figure = Figure((WIDTH, 4.7), layout="constrained")
    ratios = [2.6, 2.6, 1.0] if beside else [1.0, 1.0]
    panels = list(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios))
    lines = figures_panels.time_bins(series.time[where])
    image = lines.average(series.intensity[where])
    weight = lines.average(sum(one[where] for one in _registered(vaw)) / len(vaw.raw))
    counts = figures_panels.heat_map(
        panels[0], lines, seconds, series.axis.values, image, figures_panels.root_scale(image), "Greys"
    )
    attention = figures_panels.heat_map(panels[1], lines, seconds, vaw.axis, weight, Normalize(0.0, 1.0), "Greys")
    figures_panels.hatch(panels[1], vaw.axis, np.isnan(weight).all(axis=0))
    seeds = f"VAW, mean of {len(vaw.raw)} seeds" if len(vaw.raw) > 1 else "VAW"
    for axes, mesh, text, extend in (
        (panels[0], counts, "Counts" if series.is_counts else "Intensity", "both"),
        (panels[1], attention, seeds, "neither"),
    ):
        axes.set_facecolor(figures_panels.BLANK)
        axes.set_xlim(*series_axis.channel_edges(series.axis.values)[[0, -1]])
        axes.set_xlabel(series.axis.label)
        figures_panels.bar(mesh, [axes], text, "bottom", extend)
        figures_panels.mark(axes, series.reflections, 2.55 if beside else 3.1, start=14)
    panels[0].set_ylabel(label)
    if beside:
        figures_panels.beside(panels[2], series, where, seconds, beside)
    for axes, letter in zip(panels, "abc", strict=False):
        axes.set_title(letter, loc="left")
    figure.suptitle(series.session_names[session], x=0.01, ha="left", fontweight="bold", fontsize=9)
    return figure


@styled
def mean_vaw(series: PatternSeries, vaw: Vaw, shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Mean VAW of all patterns over their mean pattern, with the share of each named window.

    Args:
      shares: window -> {'share': part of the mean map's area, …}; windows not among them are shaded without a number.
    """
    figure = Figure((WIDTH, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    curves = np.stack([one.mean(axis=0) for one in _registered(vaw)])
    mean, deviation = curves.mean(axis=0), curves.std(axis=0)
    # Seed by seed: the standardised maps of many seeds together may not fit into memory.
    unmoved = np.mean([one.standardised()[0].mean(axis=0) for one in _by_seed(vaw)], axis=0)
    upper.plot(vaw.axis, mean, color=BLUE, linewidth=1.3, label="VAW")
    if len(curves) > 1:
        label = f"std over {len(curves)} seeds"
        upper.fill_between(
            vaw.axis, mean - deviation, mean + deviation, color=BLUE, alpha=0.25, linewidth=0, label=label
        )
    upper.plot(vaw.axis, unmoved, color="0.55", linewidth=0.8, linestyle=(0, (4, 2)), label="unregistered")
    lower.plot(series.axis.values, np.asarray(series.intensity).mean(axis=0), color="black", linewidth=0.8)
    lower.set_yscale("function", functions=(_root, np.square))
    lower.set_yticks(figures_panels.root_ticks(*lower.get_ylim()))
    lower.set(xlabel=series.axis.label, ylabel="Mean counts" if series.is_counts else "Mean intensity")
    lower.set_xlim(*series_axis.channel_edges(series.axis.values)[[0, -1]])
    upper.set(ylabel="Mean VAW", ylim=(0.0, None))
    upper.legend(loc="best", edgecolor="none", framealpha=0.85)
    texts = {}
    for number, (name, (low, high)) in enumerate(series.windows.items()):
        for axes in (upper, lower):
            axes.axvspan(low, high, color=WASH[number % len(WASH)], alpha=0.18, linewidth=0)
        share = shares.get(name, {}).get("share", math.nan)
        texts[textwrap.fill(name, 10) + (f"\n{100 * share:.0f} %" if math.isfinite(share) else "")] = (low + high) / 2
    figures_panels.mark(upper, texts, 6.4, upright=False)
    figures_panels.mark(lower, series.reflections, 6.4)
    return figure


def _root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


def _by_seed(vaw: Vaw) -> list[Vaw]:
    return [dataclasses.replace(vaw, raw=raw[None]) for raw in vaw.raw]


def _registered(vaw: Vaw) -> Iterator[np.ndarray]:
    """[T, L] maps, one seed at a time."""
    return (one.registered()[0] for one in _by_seed(vaw))
