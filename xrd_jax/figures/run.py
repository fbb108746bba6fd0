"""The figures of a run: patterns, predictions, attention maps. They are values; nothing global is touched."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from xrd_jax.analysis.metrics import std_over_seeds
from xrd_jax.analysis.vaw import Vaw
from xrd_jax.figures import panels, time_axis
from xrd_jax.figures.style import BLUE, RED, WIDTH, WINDOW_COLOURS, styled
from xrd_jax.preprocessing import histogram
from xrd_jax.series.axis import channel_edges
from xrd_jax.series.record import PatternSeries, session_indices

if TYPE_CHECKING:
    from xrd_jax.preprocessing.targets import TargetSpec

RING_STYLE: dict[str, Any] = {"color": RED, "linestyle": "", "marker": "o", "markersize": 2.2}
DENSITY = LinearSegmentedColormap.from_list("density", ["#ffffff00", RED])  # nothing where nothing is expected
RING_STYLE |= {"fillstyle": "none", "markeredgewidth": 0.5}


def vaw_image(vaw_map: Float[np.ndarray, "T L"], limit: int = 128) -> Float[np.ndarray, "R L"]:
    """Return a map as a small picture within 0–1, first pattern at the bottom (last row), NaN as 0."""
    bins = time_axis.time_bins(np.arange(len(vaw_map), dtype=float), limit)
    return np.clip(np.nan_to_num(bins.average(vaw_map)), 0.0, 1.0)[::-1]


@styled
def patterns_and_curves(series: PatternSeries) -> Figure:
    """Draw patterns over time with the charge–discharge curve at the right, a row per session (paper, Fig. 1)."""
    sessions = _sessions_present(series)
    curve = panels.curve_name(series)
    figure = Figure((WIDTH, 0.4 + 3.1 * len(sessions)), layout="constrained")
    grid = figure.add_gridspec(len(sessions), 2 if curve else 1, width_ratios=[4.2, 1] if curve else [1])
    for row, (session, name) in enumerate(sessions):
        axes = figure.add_subplot(grid[row, 0])
        indices = session_indices(series, session)
        seconds, time_label = time_axis.series_time_unit(series, indices)
        mesh = panels.draw_patterns(axes, _patterns(series, indices), seconds, "viridis")
        axes.set(xlabel=series.axis.label, ylabel=time_label)
        title = textwrap.shorten(name, 28, placeholder="…")
        axes.set_title(title, loc="left")
        panels.label_positions(axes, series.reflections, 4.6 if curve else 6.0, start=6.5 * len(title) + 6)
        row_axes = [axes]
        if curve:
            row_axes.append(figure.add_subplot(grid[row, 1], sharey=axes))
            _draw_target_beside(row_axes[1], series, indices, seconds, curve)
        panels.colour_bar(mesh, row_axes, _intensity_label(series), "right", "both")
    return figure


@styled
def predictions(
    series: PatternSeries, test: Int[np.ndarray, " N"], outputs: Mapping[str, np.ndarray], specs: Sequence[TargetSpec],
    distributions: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> Figure:  # fmt: skip
    """Draw measured and predicted targets of the test set, residuals, confusion matrices (paper, Fig. 3).

    Args:
      test: indices of the held-out patterns.
      outputs: target -> [S, T] values or [S, T, K] probabilities.
      distributions: target learnt as a distribution -> [T, K], mean over seeds, drawn as a density behind the values.
    """
    sessions = _sessions_present(series)
    regressions = [spec for spec in specs if spec.kind == "regression"]
    classifications = [spec for spec in specs if spec.kind != "regression"]
    heights = [2.75 * len(sessions) * len(regressions), 3.3 * math.ceil(len(classifications) / 2)]
    used = [height for height in heights if height] or [1.0]
    figure = Figure((WIDTH, sum(used)), layout="constrained")
    parts = figure.subfigures(len(used), 1, height_ratios=used, squeeze=False)[:, 0]
    if regressions:
        pairs = [(session, name, spec) for spec in regressions for session, name in sessions]
        rows = parts[0].subplots(2 * len(pairs), 1, height_ratios=[2.6, 1] * len(pairs), squeeze=False)[:, 0]
        for number, (session, name, spec) in enumerate(pairs):
            pair = (rows[2 * number], rows[2 * number + 1])
            indices = session_indices(series, session)
            _draw_regression(pair, series, indices, test, outputs[spec.name], spec)
            if spec.name in distributions:
                _draw_density(pair, series, indices[np.isin(indices, test)], distributions[spec.name], spec)
            pair[0].set_title(name if len(regressions) == 1 else f"{name}, {spec.name}", loc="left")
        parts[0].legend(*rows[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    if classifications:
        grid = parts[-1].add_gridspec(math.ceil(len(classifications) / 2), 4)
        for number, spec in enumerate(classifications):
            # Two beside each other; one without a neighbour stands in the middle.
            first = 1 if number == len(classifications) - 1 and number % 2 == 0 else 2 * (number % 2)
            axes = parts[-1].add_subplot(grid[number // 2, first : first + 2])
            measured = series.targets[spec.name].values[test]
            panels.confusion_matrix(axes, measured, outputs[spec.name][:, test], spec)
    return figure


def _draw_regression(
    pair: tuple[Axes, Axes], series: PatternSeries, indices: np.ndarray, test: np.ndarray, output: np.ndarray,
    spec: TargetSpec,
) -> None:  # fmt: skip
    """Draw a session's measured and predicted values over time (upper axes), and their difference (lower axes)."""
    upper, lower = pair
    seconds, time_label = time_axis.series_time_unit(series, indices)
    held_out = indices[np.isin(indices, test)]
    measured, time = series.targets[spec.name].values, series.time / seconds
    scale, unit = (1000.0, "mV") if spec.unit == "V" else (1.0, spec.unit)
    residual = (output[:, held_out] - measured[held_out]) * scale
    rings = RING_STYLE | {"rasterized": held_out.size > 1000}
    curve = time_axis.break_at_gaps(time[indices], measured[indices])
    line: dict[str, Any] = {} if series.timed else {"linestyle": "", "marker": ".", "markersize": 2.5}
    upper.plot(*curve, color="black", linewidth=0.8, zorder=3, label="measured", **line)
    upper.plot(time[held_out], output[:, held_out].mean(axis=0), label="predicted", **rings)
    lower.plot(time[held_out], residual.mean(axis=0), **rings)
    lower.axhline(0.0, color="black", linewidth=0.6)
    if len(output) > 1:
        # A bar for each pattern, as wide as a ring: a filled band would run across patterns that were trained on.
        band: dict[str, Any] = {"color": RED, "alpha": 0.25, "linewidth": 1.6, "rasterized": True}
        for axes, values in ((upper, output[:, held_out]), (lower, residual)):
            mean, deviation = values.mean(axis=0), std_over_seeds(values)
            axes.vlines(time[held_out], mean - deviation, mean + deviation, label="std over seeds", **band)
    errors = np.abs(residual).mean(axis=1) if held_out.size else np.zeros(0)
    upper.set_title(panels.score_text(errors, "MAE", unit), loc="right", fontweight="normal", fontsize=8)
    edges = time_axis.time_bins(series.time[indices]).edges / seconds
    for axes in pair:
        axes.set_xlim(edges[0], edges[-1])
        axes.grid(color="0.92", linewidth=0.5)
    upper.set_ylabel(panels.caption(spec.name, spec.unit))
    upper.tick_params(labelbottom=False)
    lower.set(xlabel=time_label, ylabel=f"Residual\n({unit})" if unit else "Residual")


def _draw_density(
    pair: tuple[Axes, Axes], series: PatternSeries, held_out: np.ndarray, distribution: Float[np.ndarray, "T K"],
    spec: TargetSpec,
) -> None:  # fmt: skip
    """Draw the predicted distributions behind the values, and the middle 90 % of each about the measured value."""
    upper, lower = pair
    if held_out.size == 0:
        return
    seconds, _ = time_axis.series_time_unit(series, held_out)
    time, limits = series.time / seconds, (upper.get_xlim(), upper.get_ylim())
    bins = time_axis.time_bins(series.time[held_out])
    edges = np.linspace(spec.low, spec.high, spec.size + 1)
    density = np.ma.masked_invalid(np.sqrt(bins.average(distribution[held_out])).T)
    upper.pcolormesh(bins.edges / seconds, edges, density, cmap=DENSITY, vmin=0.0, rasterized=True, zorder=0)
    upper.set(xlim=limits[0], ylim=limits[1])
    scale, measured = 1000.0 if spec.unit == "V" else 1.0, series.targets[spec.name].values[held_out]
    low, high = (
        np.asarray(histogram.quantile(jnp.asarray(distribution[held_out]), spec.low, spec.high, level))
        for level in (0.05, 0.95)
    )
    band: dict[str, Any] = {"color": RED, "alpha": 0.1, "linewidth": 1.2, "rasterized": True}
    upper.fill_between([], [], [], color=RED, alpha=0.35, linewidth=0, label="its distribution (bars: middle 90 %)")
    lower.vlines(time[held_out], (low - measured) * scale, (high - measured) * scale, **band)


@styled
def vaw_maps(series: PatternSeries, vaw: Vaw, session: int) -> Figure:
    """Draw a session's patterns, its VAW averaged over seeds, and its curve over time (paper, Figs. 4 and 5)."""
    indices, curve = session_indices(series, session), panels.curve_name(series)
    seconds, time_label = time_axis.series_time_unit(series, indices)
    figure = Figure((WIDTH, 4.7), layout="constrained")
    ratios = [2.6, 2.6, 1.0] if curve else [1.0, 1.0]
    row = list(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios))
    weights = sum(seed_map[indices] for seed_map in _registered_maps(vaw)) / len(vaw.raw)
    maps = panels.TimeMap(series.time[indices], vaw.axis, weights)
    labels = (_intensity_label(series), panels.vaw_label(len(vaw.raw)), series.axis.label)
    panels.draw_patterns_and_vaw(row[:2], _patterns(series, indices), maps, seconds, labels)
    for axes in row[:2]:
        panels.label_positions(axes, series.reflections, 2.55 if curve else 3.1, start=14.0)
    row[0].set_ylabel(time_label)
    if curve:
        _draw_target_beside(row[2], series, indices, seconds, curve)
    for axes, letter in zip(row, "abc", strict=False):
        axes.set_title(letter, loc="left")
    figure.suptitle(series.session_names[session], x=0.01, ha="left", fontweight="bold", fontsize=9)
    return figure


@styled
def mean_vaw(series: PatternSeries, vaw: Vaw, shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the mean VAW of all patterns over their mean pattern, with the share of each named window.

    Args:
      shares: window -> {'share': part of the mean map's area, …}; windows not among them are shaded without a number.
    """
    figure = Figure((WIDTH, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    curves = np.stack([seed_map.mean(axis=0) for seed_map in _registered_maps(vaw)])
    mean, deviation = curves.mean(axis=0), std_over_seeds(curves)
    # Seed by seed: the standardised maps of many seeds together may not fit into memory.
    unregistered = np.mean([seed_vaw.standardised()[0].mean(axis=0) for seed_vaw in _by_seed(vaw)], axis=0)
    upper.plot(vaw.axis, mean, color=BLUE, linewidth=1.3, label="VAW")
    if len(curves) > 1:
        band: dict[str, Any] = {"color": BLUE, "alpha": 0.25, "linewidth": 0}
        upper.fill_between(vaw.axis, mean - deviation, mean + deviation, label=f"std over {len(curves)} seeds", **band)
    upper.plot(vaw.axis, unregistered, color="0.55", linewidth=0.8, linestyle=(0, (4, 2)), label="unregistered")
    lower.plot(series.axis.values, np.asarray(series.intensity).mean(axis=0), color="black", linewidth=0.8)
    lower.set_yscale("function", functions=(panels.signed_root, np.square))
    lower.set_yticks(panels.root_ticks(*lower.get_ylim()))
    lower.set(xlabel=series.axis.label, ylabel=f"Mean {_intensity_label(series).lower()}")
    lower.set_xlim(*channel_edges(series.axis.values)[[0, -1]])
    upper.set(ylabel="Mean VAW", ylim=(0.0, None))
    upper.legend(loc="best", edgecolor="none", framealpha=0.85)
    labels = {}
    for number, (name, (low, high)) in enumerate(series.windows.items()):
        for axes in (upper, lower):
            axes.axvspan(low, high, color=WINDOW_COLOURS[number % len(WINDOW_COLOURS)], alpha=0.18, linewidth=0)
        share = shares.get(name, {}).get("share", math.nan)
        labels[textwrap.fill(name, 10) + (f"\n{100 * share:.0f} %" if math.isfinite(share) else "")] = (low + high) / 2
    panels.label_positions(upper, labels, 6.4, upright=False)
    panels.label_positions(lower, series.reflections, 6.4)
    return figure


def _sessions_present(series: PatternSeries) -> list[tuple[int, str]]:
    return [(i, name) for i, name in enumerate(series.session_names) if (series.session == i).any()]


def _patterns(series: PatternSeries, indices: np.ndarray) -> panels.TimeMap:
    return panels.TimeMap(series.time[indices], series.axis.values, series.intensity[indices])


def _intensity_label(series: PatternSeries) -> str:
    return "Counts" if series.is_counts else "Intensity"


def _draw_target_beside(axes: Axes, series: PatternSeries, indices: np.ndarray, seconds: float, name: str) -> None:
    target, line = series.targets[name], "-" if series.timed else ""
    style = ("." if indices.size < 10 or not line else "", line)
    caption = panels.caption(name, target.unit)
    panels.draw_curve_beside(axes, series.time[indices] / seconds, target.values[indices], caption, style)


def _by_seed(vaw: Vaw) -> list[Vaw]:
    return [dataclasses.replace(vaw, raw=raw[None]) for raw in vaw.raw]


def _registered_maps(vaw: Vaw) -> Iterator[np.ndarray]:
    """Yield [T, L] maps, one seed at a time."""
    return (seed_vaw.registered()[0] for seed_vaw in _by_seed(vaw))
