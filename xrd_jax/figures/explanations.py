"""The figures of an explained run: maps, mean curves against what is known, deletion, scores, named peaks.

They take arrays keyed by (method, target), so that whatever computes or reads a map can be drawn.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from xrd_jax.explain.importance import Row, percent
from xrd_jax.explain.peak_windows import ELSEWHERE
from xrd_jax.figures import panels as figures_panels
from xrd_jax.figures import style as figures_style
from xrd_jax.figures.style import BLUE, WASH, WIDTH
from xrd_jax.series import axis as series_axis
from xrd_jax.series import record
from xrd_jax.series.record import PatternSeries

Key = tuple[str, str]  # (method, target)
TRUTH = "#e69f00"
COLUMNS = 4  # of panels beside each other
CONTROLS = ("random", "intensity", "variance", "untrained", "shuffled")  # no network, or none that learnt: drawn grey
LOWER_IS_BETTER = ("decoy_mass", "auprc_untrained", "edge_sensitivity", "deletion_auc", "randomisation")
CAPITALS = {"vaw": "VAW", "auprc": "AUPRC", "auc": "AUC", "ig": "IG", "grad": "Grad", "cam": "CAM"}
PANEL_TITLE: dict[str, Any] = {"fontsize": 7, "fontweight": "normal"}  # four beside each other
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))


def title(name: str) -> str:
    """'vaw' -> 'VAW', 'norm_weighted_attention' -> 'Norm weighted attention'."""
    words = [CAPITALS.get(word, word) for word in name.replace("_", " ").split()]
    text = " ".join(words)
    return text[:1].upper() + text[1:]


def methods_of(keys: Mapping[Key, Any] | Sequence[Key], target: str | None = None) -> list[str]:
    """The methods in the order given, of one target or of all."""
    return list(dict.fromkeys(method for method, own in keys if target in (None, own)))


def targets_of(keys: Mapping[Key, Any]) -> list[str]:
    """The targets in the order given."""
    return list(dict.fromkeys(target for _, target in keys))


@figures_style.styled
def map_panels(
    series: PatternSeries, session: int, centres: np.ndarray, found: Mapping[Key, np.ndarray], target: str
) -> Figure:
    """A session's patterns and the maps of every method for one target, over time and axis, a panel each.

    Args:
      centres: [L] channels of the maps.
      found: (method, target) -> [T, L], any scale, NaN where a map has no value. A panel's rows have the same sum, and
        its colours run from nothing to the 99.5th percentile.
    """
    methods = methods_of(found, target)
    where = record.in_session(series, session)
    seconds, label = figures_panels.time_unit(series.time[where])
    lines = figures_panels.time_bins(series.time[where], 250)
    height = math.ceil((len(methods) + 1) / COLUMNS)
    figure = Figure((WIDTH, 0.55 + 1.55 * height), layout="constrained")
    panels = figure.subplots(height, COLUMNS, sharex=True, sharey=True, squeeze=False)
    image = lines.average(series.intensity[where])
    figures_panels.heat_map(
        panels[0, 0], lines, seconds, series.axis.values, image, figures_panels.root_scale(image), "viridis"
    )
    panels[0, 0].set_title("Patterns", loc="left", **PANEL_TITLE)
    for axes, method in zip(panels.ravel()[1:], methods, strict=False):
        grid = lines.average(_even(found[method, target][where]))
        high = np.nanpercentile(grid, 99.5) if np.isfinite(grid).any() else 1.0
        figures_panels.heat_map(axes, lines, seconds, centres, grid, Normalize(0.0, high if high > 0 else 1.0), "Greys")
        figures_panels.hatch(axes, centres, np.isnan(grid).all(axis=0))
        axes.set_facecolor(figures_panels.BLANK)
        axes.set_title(textwrap.shorten(title(method), 30, placeholder="…"), loc="left", **PANEL_TITLE)
    _outer(panels, len(methods) + 1, series_axis.channel_edges(series.axis.values)[[0, -1]])
    name = textwrap.shorten(series.session_names[session], 40, placeholder="…")
    figure.suptitle(f"{title(target)}, {name}", x=0.01, ha="left", fontweight="bold", fontsize=9)
    figure.supxlabel(series.axis.label, fontsize=8)
    figure.supylabel(label, fontsize=8)
    return figure


def _even(grid: np.ndarray) -> np.ndarray:
    """Rows of a map as shares of their sum; a row without any value stays as it is."""
    mass = np.abs(grid)
    total = np.nansum(mass, axis=1, keepdims=True)
    return mass / np.where(total > 0, total, 1.0)


def _outer(panels: np.ndarray, used: int, limits: np.ndarray) -> None:
    """Hides panels that are not used and gives those above them the tick labels of the axis."""
    columns = panels.shape[1]
    for number, axes in enumerate(panels.ravel()):
        axes.set_visible(number < used)
        axes.tick_params(labelbottom=number + columns >= used, labelleft=number % columns == 0)
        axes.locator_params(axis="x", nbins=4)
    panels[0, 0].set_xlim(*limits)


@figures_style.styled
def mean_curves(
    series: PatternSeries,
    centres: np.ndarray,
    curves: Mapping[Key, np.ndarray],
    truth: Mapping[str, np.ndarray],
    unstable: Mapping[Key, np.ndarray] | None = None,
) -> Figure:
    """Mean map of every method (rows) and target (columns), with the known information, above the mean pattern.

    Args:
      curves: (method, target) -> [S, L], or fewer groups of seeds, any scale. Each is brought to the same area; the
        band is the standard deviation over them, and each panel reaches from 0 to its highest mean.
      truth: target -> [L] known information; targets without are drawn without.
      unstable: (method, target) -> [L], True where seeds disagree: hatched, and the curve is left out.
    """
    methods, targets = methods_of(curves), targets_of(curves)
    count, seeds = len(methods), max((len(own) for own in curves.values()), default=0)
    figure = Figure((WIDTH, 0.9 + 0.5 * count + 0.8), layout="constrained")
    ratios = [1.0] * count + [1.6]
    panels = figure.subplots(count + 1, len(targets), sharex=True, squeeze=False, height_ratios=ratios)
    for column, target in enumerate(targets):
        for row, method in enumerate(methods):
            axes = panels[row, column]
            if (method, target) in curves:
                bad = (unstable or {}).get((method, target))
                _curve(axes, centres, curves[method, target], truth.get(target), bad, seeds)
            axes.set(yticks=[], ylim=(0.0, 1.12))
            if column == 0:
                text = textwrap.fill(title(method), 18)
                axes.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=7)
        panels[0, column].set_title(title(target), loc="left")
        _pattern(panels[count, column], series, column == 0)
    figure.supxlabel(series.axis.label, fontsize=8)
    handles: dict[str, Any] = {}
    for axes in panels[:-1].ravel():
        handles |= {text: handle for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=4, frameon=False)
    return figure


def _curve(
    axes: Axes, centres: np.ndarray, curves: np.ndarray, truth: np.ndarray | None, unstable: np.ndarray | None,
    seeds: int,
) -> None:  # fmt: skip
    areas = np.nansum(np.abs(curves), axis=1, keepdims=True)
    even = np.abs(curves) / np.where(areas > 0, areas, 1.0)
    mean, deviation = even.mean(axis=0), even.std(axis=0)
    kept = np.isfinite(mean) if unstable is None else np.isfinite(mean) & ~np.asarray(unstable, bool)
    high = float(np.max(mean[kept], initial=0.0)) or 1.0
    if truth is not None:
        known = np.nan_to_num(truth) / (np.nanmax(truth) or 1.0)
        axes.fill_between(centres, 0.0, known, color=TRUTH, alpha=0.45, linewidth=0, label="known information")
    mean, deviation = (np.where(kept, values / high, np.nan) for values in (mean, deviation))
    axes.plot(centres, mean, color=BLUE, linewidth=0.9, label="explanation")
    if len(curves) > 1:
        label = "std over seeds or halves of them" if len(curves) < seeds else "std over seeds"
        low, top = np.maximum(mean - deviation, 0.0), mean + deviation
        axes.fill_between(centres, low, top, color=BLUE, alpha=0.25, linewidth=0, label=label)
    if unstable is not None:
        _hatched(axes, centres, np.asarray(unstable, bool))


def _hatched(axes: Axes, centres: np.ndarray, missing: np.ndarray) -> None:
    """Marks runs of channels whose curve is not stable over seeds, each run as one patch."""
    edges = series_axis.channel_edges(centres)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(int)))
    for first, end in turns.reshape(-1, 2):
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": "0.7", "hatch": "/////", "linewidth": 0}
        axes.axvspan(edges[first], edges[end], **style, label="seeds disagree")


def _pattern(axes: Axes, series: PatternSeries, labelled: bool) -> None:
    patterns = series.intensity[series.thinned(2000)]
    axes.plot(series.axis.values, np.sqrt(np.maximum(patterns.mean(axis=0), 0.0)), color="black", linewidth=0.7)
    axes.set_yticks([])
    axes.set_xlim(*series_axis.channel_edges(series.axis.values)[[0, -1]])
    if labelled:
        axes.set_ylabel("√ mean\npattern", rotation=0, ha="right", va="center", fontsize=7)


@figures_style.styled
def deletion(
    fractions: np.ndarray,
    curves: Mapping[Key, np.ndarray],
    units: Mapping[str, str] | None = None,
    inserted: bool = False,
) -> Figure:
    """How the error grows while the channels that a map calls important are taken away, a panel per target.

    Args:
      fractions: [K] part of the channels that is gone, 0 to 1.
      curves: (method, target) -> [S, K] or [K] error or score; the mean over seeds is drawn. Methods whose name begins
        with one of `CONTROLS` are grey.
      units: target -> label of the ordinate.
      inserted: channels are given back instead of taken away.
    """
    targets, methods = targets_of(curves), methods_of(curves)
    rows = math.ceil(len(methods) / 4)
    figure = Figure((WIDTH, 2.7 + 0.17 * rows), layout="constrained")
    panels = figure.subplots(1, len(targets), squeeze=False)[0]
    drawn = {}
    for axes, target in zip(panels, targets, strict=True):
        for method in methods_of(curves, target):
            values = np.atleast_2d(curves[method, target]).mean(axis=0)
            (drawn[method],) = axes.plot(100.0 * fractions, values, **_line(method, methods))
        axes.set_title(title(target), loc="left")
        axes.set_ylabel((units or {}).get(target, "Error"))
        axes.grid(color="0.92", linewidth=0.5)
        axes.set_xlim(100.0 * fractions[0], 100.0 * fractions[-1])
    # Not the figure's own label, which a legend below would be written over.
    panels[len(panels) // 2].set_xlabel("Channels given back (%)" if inserted else "Channels removed (%)")
    names = [title(method) for method in drawn]
    figure.legend(list(drawn.values()), names, loc="outside lower center", ncols=4, frameon=False, fontsize=7)
    return figure


def _line(method: str, methods: Sequence[str]) -> dict[str, Any]:
    """Colour and dashes of a method, the same in every panel; controls share grey."""
    controls = [name for name in methods if name.startswith(CONTROLS)]
    others = [name for name in methods if name not in controls]
    if method in controls:
        return {"color": "0.6", "linewidth": 0.9, "linestyle": DASHES[controls.index(method) % 3]}
    number = others.index(method)
    colours = WASH[:6]
    return {"color": colours[number % 6], "linewidth": 1.2, "linestyle": DASHES[number // 6 % 3]}


@figures_style.styled
def score_matrix(
    scores: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    verdicts: Mapping[str, Mapping[str, str]] | None = None,
    lower: Sequence[str] = LOWER_IS_BETTER,
) -> Figure:
    """Every score of every method as a number, a block per target; the darker the better within a column.

    Args:
      scores: target -> method -> score -> value; None or absent where there is none (no truth, say).
      verdicts: target -> method -> words, written behind the row.
      lower: scores that are better when they are smaller.
    """
    counts = {target: len(own) for target, own in scores.items()}
    heights = [0.35 + 0.155 * count + 0.45 * (target == next(iter(scores))) for target, count in counts.items()]
    figure = Figure((WIDTH, 0.1 + sum(heights)), layout="constrained")
    parts = figure.subfigures(len(scores) or 1, 1, height_ratios=heights or [1.0], squeeze=False)[:, 0]
    for number, (part, target) in enumerate(zip(parts, scores, strict=False)):
        _block(part, target, scores[target], (verdicts or {}).get(target, {}), lower, number == 0)
    return figure


def _block(
    part: SubFigure,
    target: str,
    own: Mapping[str, Mapping[str, float | None]],
    verdicts: Mapping[str, str],
    lower: Sequence[str],
    first: bool,
) -> None:
    names = list(dict.fromkeys(name for row in own.values() for name in row))
    values = np.array([[_number(row.get(name)) for name in names] for row in own.values()]).reshape(len(own), -1)
    axes = part.subplots()
    shade = np.column_stack([_goodness(column, name in lower) for name, column in zip(names, values.T, strict=True)])
    axes.imshow(np.ma.masked_invalid(shade), cmap="Blues", vmin=0.0, vmax=1.35, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        if math.isfinite(values[row, column]):
            colour = "white" if shade[row, column] > 0.85 else "black"
            text = _short(float(values[row, column]))
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    heads = [title(name) + (" ↓" if name in lower else "") for name in names]
    turned: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor", "fontsize": 6.5}
    axes.set_xticks(range(len(names)), heads if first else [""] * len(names), **turned)
    axes.set_yticks(range(len(own)), [title(method) for method in own], fontsize=7)
    axes.tick_params(length=0, top=False, bottom=False, labeltop=first, labelbottom=False)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(own) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("0.96")
    if verdicts:
        right = axes.twinx()
        right.set_ylim(axes.get_ylim())
        right.set_yticks(range(len(own)), [verdicts.get(method, "") for method in own], fontsize=6.5)
        right.tick_params(length=0)
        right.spines[:].set_visible(False)
    part.suptitle(title(target), x=0.01, ha="left", fontweight="bold", fontsize=9)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _goodness(column: np.ndarray, lower: bool) -> np.ndarray:
    """[M] 0 for the worst, 1 for the best of a column; one half where all are equal."""
    known = column[np.isfinite(column)]
    if not known.size or np.ptp(known) == 0:
        return np.where(np.isfinite(column), 0.5, np.nan)
    place = (column - known.min()) / np.ptp(known)
    return 1.0 - place if lower else place


def _short(value: float) -> str:
    """0.8312 -> '.83', -0.2 -> '-.20', 83.1 -> '83'."""
    if abs(value) >= 10:
        return f"{value:.0f}"
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


@figures_style.styled
def importance(rows: Sequence[Row], least: float = 0.002) -> Figure:
    """Share of each named peak in what the network uses, with its 95 % interval over seeds, a panel per target.

    Args:
      rows: those of `peaks.importance`; peaks below `least` for every target are left out.
    """
    targets = list(dict.fromkeys(row.target for row in rows))
    shown = {row.label for row in rows if row.share >= least or row.label == ELSEWHERE}
    labels = [label for label in dict.fromkeys(row.label for row in rows) if label in shown]
    figure = Figure((WIDTH, 0.75 + 0.24 * len(labels)), layout="constrained")
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    place = {label: number for number, label in enumerate(labels)}
    highest = max((100 * (row.share + np.nan_to_num(row.half)) for row in rows), default=1.0)
    for axes, target in zip(panels, targets, strict=True):
        own = [row for row in rows if row.target == target and row.label in place]
        at = [place[row.label] for row in own]
        values = np.array([100.0 * row.share for row in own])
        halves = np.array([100.0 * row.half for row in own])
        colours = ["0.7" if row.label == ELSEWHERE else BLUE for row in own]
        bars = {"ecolor": "black", "error_kw": {"elinewidth": 0.8, "capsize": 2.0, "capthick": 0.8}}
        error = {"xerr": halves} | bars if np.isfinite(halves).any() else {}
        axes.barh(at, values, height=0.62, color=colours, **error)
        for row, y, value, half in zip(own, at, values, halves, strict=True):
            text = percent(row.share, row.half)
            axes.text(value + np.nan_to_num(half) + 0.02 * highest, y, text, va="center", fontsize=6.5)
        axes.set_xlim(0.0, 1.42 * highest)
        axes.set_title(title(target), loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), [textwrap.fill(label, 24) for label in labels])
    panels[0].invert_yaxis()
    figure.supxlabel("Share of the explanation (%)", fontsize=8)
    return figure
