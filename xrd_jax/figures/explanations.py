"""The figures of an explained run: maps over time, mean curves beside what is known, errors under deletion."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xrd_jax.analysis.metrics import std_over_seeds
from xrd_jax.explain.methods import CONTROLS, MapKey
from xrd_jax.explain.metrics import unit
from xrd_jax.figures.panels import BLANK_COLOUR, hatch_missing, heat_map, root_scale
from xrd_jax.figures.style import BLUE, WIDTH, WINDOW_COLOURS, styled
from xrd_jax.figures.time_axis import series_time_unit, time_bins
from xrd_jax.series.axis import channel_edges
from xrd_jax.series.record import PatternSeries, session_indices

TRUTH_COLOUR = "#e69f00"
PANEL_COLUMNS = 4  # panels beside each other
MAX_ROWS = 250  # of a panel: a fraction of a page high
MAX_MEAN_PATTERNS = 2000  # patterns that a mean pattern is drawn from
CAPITALS = {"vaw": "VAW", "auprc": "AUPRC", "auc": "AUC", "ig": "IG", "grad": "Grad", "cam": "CAM"}
PANEL_TITLE: dict[str, Any] = {"fontsize": 7, "fontweight": "normal"}  # four beside each other
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))
UNSTABLE: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.7", "hatch": "/////", "linewidth": 0}


def title(name: str) -> str:
    """Return 'VAW' for 'vaw', 'Norm weighted attention' for 'norm_weighted_attention'."""
    text = " ".join(CAPITALS.get(word, word) for word in name.replace("_", " ").split())
    return text[:1].upper() + text[1:]


def methods_of(keys: Iterable[MapKey], target: str | None = None) -> list[str]:
    """Return the methods in the order given, of one target or of all."""
    return list(dict.fromkeys(method for method, of_target in keys if target in (None, of_target)))


def targets_of(keys: Iterable[MapKey]) -> list[str]:
    """Return the targets in the order given."""
    return list(dict.fromkeys(target for _, target in keys))


@styled
def map_panels(
    series: PatternSeries, session: int, centres: Float[np.ndarray, " L"], maps: Mapping[MapKey, np.ndarray],
    target: str,
) -> Figure:  # fmt: skip
    """Draw a session's patterns and the maps of every method for one target, over time and axis, a panel each.

    Args:
      centres: channels of the maps.
      maps: (method, target) -> [T, L], any scale, NaN where a map has no value. A panel's rows have the same sum, and
        its colours run from nothing to the 99.5th percentile.
    """
    methods = methods_of(maps, target)
    indices = session_indices(series, session)
    seconds, time_label = series_time_unit(series, indices)
    bins = time_bins(series.time[indices], MAX_ROWS)
    rows = math.ceil((len(methods) + 1) / PANEL_COLUMNS)
    figure = Figure((WIDTH, 0.55 + 1.55 * rows), layout="constrained")
    panels = figure.subplots(rows, PANEL_COLUMNS, sharex=True, sharey=True, squeeze=False)
    image = bins.average(series.intensity[indices])
    heat_map(panels[0, 0], bins, seconds, series.axis.values, image, root_scale(image), "viridis")
    panels[0, 0].set_title("Patterns", loc="left", **PANEL_TITLE)
    for axes, method in zip(panels.ravel()[1:], methods, strict=False):
        shares = bins.average(_shares(maps[method, target][indices]))
        high = np.nanpercentile(shares, 99.5) if np.isfinite(shares).any() else 1.0
        heat_map(axes, bins, seconds, centres, shares, Normalize(0.0, high if high > 0 else 1.0), "Greys")
        hatch_missing(axes, centres, np.isnan(shares).all(axis=0))
        axes.set_facecolor(BLANK_COLOUR)
        axes.set_title(textwrap.shorten(title(method), 30, placeholder="…"), loc="left", **PANEL_TITLE)
    _hide_unused(panels, len(methods) + 1)
    panels[0, 0].set_xlim(*channel_edges(series.axis.values)[[0, -1]])
    name = textwrap.shorten(series.session_names[session], 40, placeholder="…")
    figure.suptitle(f"{title(target)}, {name}", x=0.01, ha="left", fontweight="bold", fontsize=9)
    figure.supxlabel(series.axis.label, fontsize=8)
    figure.supylabel(time_label, fontsize=8)
    return figure


def _shares(maps: np.ndarray) -> np.ndarray:
    """Shares of each map; channels without a value stay so."""
    return np.where(np.isnan(maps), np.nan, unit(maps))


def _hide_unused(panels: np.ndarray, used: int) -> None:
    """Hide panels that are not used and give those above them the tick labels of the axis."""
    columns = panels.shape[1]
    for number, axes in enumerate(panels.ravel()):
        axes.set_visible(number < used)
        axes.tick_params(labelbottom=number + columns >= used, labelleft=number % columns == 0)
        axes.locator_params(axis="x", nbins=4)


@styled
def mean_curves(
    series: PatternSeries, centres: Float[np.ndarray, " L"], curves: Mapping[MapKey, np.ndarray],
    truth: Mapping[str, np.ndarray], unstable: Mapping[MapKey, np.ndarray],
) -> Figure:  # fmt: skip
    """Draw the mean map of every method (rows) and target (columns) over what is known, above the mean pattern.

    Args:
      curves: (method, target) -> [S, L], or fewer groups of seeds, any scale. Each is brought to the same area; the
        band is the standard deviation over them, and each panel reaches from 0 to its highest mean.
      truth: target -> [L] known information; targets without are drawn without.
      unstable: (method, target) -> [L], True where seeds disagree: hatched, and the curve is left out.
    """
    methods, targets = methods_of(curves), targets_of(curves)
    mean_pattern = np.sqrt(np.maximum(series.intensity[series.thinned(MAX_MEAN_PATTERNS)].mean(axis=0), 0.0))
    seeds = max((len(groups) for groups in curves.values()), default=0)
    figure = Figure((WIDTH, 0.9 + 0.5 * len(methods) + 0.8), layout="constrained")
    ratios = [1.0] * len(methods) + [1.6]
    panels = figure.subplots(len(methods) + 1, len(targets), sharex=True, squeeze=False, height_ratios=ratios)
    for column, target in enumerate(targets):
        for axes, method in zip(panels[:-1, column], methods, strict=True):
            key = (method, target)
            if key in curves:
                _draw_curve(axes, centres, curves[key], truth.get(target), unstable.get(key), seeds)
            axes.set(yticks=[], ylim=(0.0, 1.12))
            if column == 0:
                _label_row(axes, textwrap.fill(title(method), 18))
        panels[0, column].set_title(title(target), loc="left")
        panels[-1, column].plot(series.axis.values, mean_pattern, color="black", linewidth=0.7)
        panels[-1, column].set(yticks=[], xlim=channel_edges(series.axis.values)[[0, -1]])
    _label_row(panels[-1, 0], "√ mean\npattern")
    figure.supxlabel(series.axis.label, fontsize=8)
    handles: dict[str, Any] = {}
    for axes in panels[:-1].ravel():
        handles |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=4, frameon=False)
    return figure


def _label_row(axes: Axes, text: str) -> None:
    axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7)


def _draw_curve(
    axes: Axes, centres: np.ndarray, curves: np.ndarray, truth: np.ndarray | None,
    unstable: Bool[np.ndarray, " L"] | None, seeds: int,
) -> None:  # fmt: skip
    shares = _shares(curves)
    mean, deviation = shares.mean(axis=0), std_over_seeds(shares)
    is_drawn = np.isfinite(mean) if unstable is None else np.isfinite(mean) & ~unstable
    high = float(np.max(mean[is_drawn], initial=0.0)) or 1.0
    if truth is not None:
        information = np.nan_to_num(truth) / (np.nanmax(truth) or 1.0)
        label = "known information"
        axes.fill_between(centres, 0.0, information, color=TRUTH_COLOUR, alpha=0.45, linewidth=0, label=label)
    mean, deviation = (np.where(is_drawn, values / high, np.nan) for values in (mean, deviation))
    axes.plot(centres, mean, color=BLUE, linewidth=0.9, label="explanation")
    if len(curves) > 1:
        label = "std over seeds or halves of them" if len(curves) < seeds else "std over seeds"
        low, top = np.maximum(mean - deviation, 0.0), mean + deviation
        axes.fill_between(centres, low, top, color=BLUE, alpha=0.25, linewidth=0, label=label)
    if unstable is not None:
        edges = channel_edges(centres)
        turns = np.flatnonzero(np.diff(unstable.astype(int), prepend=0, append=0))
        for first, end in turns.reshape(-1, 2):  # a patch for each run of channels
            axes.axvspan(edges[first], edges[end], **UNSTABLE, label="seeds disagree")


@styled
def deletion(
    fractions: Float[np.ndarray, " F"], curves: Mapping[MapKey, np.ndarray], units: Mapping[str, str],
    insertion: bool = False,
) -> Figure:  # fmt: skip
    """Draw how the error grows while the channels that a map ranks first are taken away, a panel per target.

    Args:
      fractions: part of the channels that is gone, 0 to 1; or, with `insertion`, given back.
      curves: (method, target) -> [S, F] error; the mean over seeds is drawn, controls in grey.
      units: target -> label of the ordinate.
    """
    targets, methods = targets_of(curves), methods_of(curves)
    figure = Figure((WIDTH, 2.7 + 0.17 * math.ceil(len(methods) / 4)), layout="constrained")  # rows of the legend
    panels, lines = figure.subplots(1, len(targets), squeeze=False)[0], {}
    for axes, target in zip(panels, targets, strict=True):
        for method in methods_of(curves, target):
            mean = curves[method, target].mean(axis=0)
            (lines[title(method)],) = axes.plot(100.0 * fractions, mean, **_line_style(method, methods))
        axes.set_title(title(target), loc="left")
        axes.grid(color="0.92", linewidth=0.5)
        axes.set(ylabel=units.get(target, "Error"), xlim=100.0 * fractions[[0, -1]])
    # Not the figure's own label, which a legend below would be written over.
    panels[len(panels) // 2].set_xlabel("Channels given back (%)" if insertion else "Channels removed (%)")
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    return figure


def _line_style(method: str, methods: Sequence[str]) -> dict[str, Any]:
    """Colour and dashes of a method, the same in every panel; controls share grey."""
    number = [name for name in methods if (name in CONTROLS) == (method in CONTROLS)].index(method)
    if method in CONTROLS:
        return {"color": "0.6", "linewidth": 0.9, "linestyle": DASHES[number % 3]}
    return {"color": WINDOW_COLOURS[number % 6], "linewidth": 1.2, "linestyle": DASHES[number // 6 % 3]}
