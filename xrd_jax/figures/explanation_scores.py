"""The figures of what explanations are worth, and of the named peaks that they point at."""

import math
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from xrd_jax.explain.importance import ImportanceRow, percent
from xrd_jax.explain.peak_windows import ELSEWHERE
from xrd_jax.figures.explanations import title
from xrd_jax.figures.style import BLUE, WIDTH, styled

MIN_SHARE = 0.002  # peaks that have less for every target are left out
MethodScores = Mapping[str, Mapping[str, float | None]]  # method -> score -> value


@styled
def score_matrix(
    scores: Mapping[str, MethodScores], verdicts: Mapping[str, Mapping[str, str]], better_when_lower: Collection[str]
) -> Figure:
    """Draw every score of every method as a number, a block per target; the darker the better within a column.

    Args:
      scores: target -> method -> score -> value; None or absent where there is none (no truth, say).
      verdicts: target -> method -> verdict, written behind the row; targets without are drawn without.
    """
    targets = list(scores)
    heights = [0.35 + 0.155 * len(scores[target]) + 0.45 * (target == targets[0]) for target in targets]
    figure = Figure((WIDTH, 0.1 + sum(heights)), layout="constrained")
    parts = figure.subfigures(len(targets) or 1, 1, height_ratios=heights or [1.0], squeeze=False)[:, 0]
    for part, target in zip(parts, targets, strict=False):
        _draw_block(part, scores[target], verdicts.get(target, {}), better_when_lower, target == targets[0])
        part.suptitle(title(target), x=0.01, ha="left", fontweight="bold", fontsize=9)
    return figure


def _draw_block(
    part: SubFigure, scores: MethodScores, verdicts: Mapping[str, str], better_when_lower: Collection[str],
    is_first: bool,
) -> None:  # fmt: skip
    names = list(dict.fromkeys(name for row in scores.values() for name in row))
    # None becomes NaN.
    values = np.array([[row.get(name) for name in names] for row in scores.values()], float).reshape(len(scores), -1)
    axes = part.subplots()
    columns = zip(names, values.T, strict=True)
    shade = np.column_stack([_goodness(column, name in better_when_lower) for name, column in columns])
    axes.imshow(np.ma.masked_invalid(shade), cmap="Blues", vmin=0.0, vmax=1.35, aspect="auto")
    for row, column in np.ndindex(*values.shape):
        if math.isfinite(values[row, column]):
            colour = "white" if shade[row, column] > 0.85 else "black"
            text = _short(float(values[row, column]))
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    heads = [title(name) + (" ↓" if name in better_when_lower else "") for name in names]
    turned: dict[str, Any] = {"rotation": 35, "ha": "left", "rotation_mode": "anchor", "fontsize": 6.5}
    axes.set_xticks(range(len(names)), heads if is_first else [""] * len(names), **turned)
    axes.set_yticks(range(len(scores)), [title(method) for method in scores], fontsize=7)
    axes.tick_params(length=0, top=False, bottom=False, labeltop=is_first, labelbottom=False)
    _draw_cell_borders(axes, *values.shape)
    if verdicts:
        right = axes.twinx()
        right.set_ylim(axes.get_ylim())
        right.set_yticks(range(len(scores)), [verdicts.get(method, "") for method in scores], fontsize=6.5)
        right.tick_params(length=0)
        right.spines[:].set_visible(False)


def _draw_cell_borders(axes: Axes, rows: int, columns: int) -> None:
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    axes.set_facecolor("0.96")


def _goodness(column: np.ndarray, is_better_when_lower: bool) -> np.ndarray:
    """[M] 0 for the worst, 1 for the best of a column; one half where all are equal."""
    finite = column[np.isfinite(column)]
    if not finite.size or np.ptp(finite) == 0:
        return np.where(np.isfinite(column), 0.5, np.nan)
    relative = (column - finite.min()) / np.ptp(finite)
    return 1.0 - relative if is_better_when_lower else relative


def _short(value: float) -> str:
    """0.8312 -> '.83', -0.2 -> '-.20', 83.1 -> '83'."""
    if abs(value) >= 10:
        return f"{value:.0f}"
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text


@styled
def importance(rows: Sequence[ImportanceRow]) -> Figure:
    """Draw the share of each named peak in an explanation with its 95 % interval over seeds, a panel per target."""
    targets = list(dict.fromkeys(row.target for row in rows))
    shown = {row.label for row in rows if row.share >= MIN_SHARE or row.label == ELSEWHERE}
    labels = [label for label in dict.fromkeys(row.label for row in rows) if label in shown]
    figure = Figure((WIDTH, 0.75 + 0.24 * len(labels)), layout="constrained")
    panels = figure.subplots(1, len(targets), sharey=True, squeeze=False)[0]
    highest = max((100 * (row.share + np.nan_to_num(row.half_interval)) for row in rows), default=1.0)
    for axes, target in zip(panels, targets, strict=True):
        _draw_bars(axes, [row for row in rows if row.target == target and row.label in shown], labels, highest)
        axes.set_title(title(target), loc="left")
    panels[0].set_yticks(range(len(labels)), [textwrap.fill(label, 24) for label in labels])
    panels[0].invert_yaxis()
    figure.supxlabel("Share of the explanation (%)", fontsize=8)
    return figure


def _draw_bars(axes: Axes, rows: Sequence[ImportanceRow], labels: Sequence[str], highest: float) -> None:
    positions = [labels.index(row.label) for row in rows]
    percents, halves = 100.0 * np.array([(row.share, row.half_interval) for row in rows]).reshape(-1, 2).T
    colours = ["0.7" if row.label == ELSEWHERE else BLUE for row in rows]
    caps: dict[str, Any] = {"ecolor": "black", "error_kw": {"elinewidth": 0.8, "capsize": 2.0, "capthick": 0.8}}
    error = {"xerr": halves} | caps if np.isfinite(halves).any() else {}
    axes.barh(positions, percents, height=0.62, color=colours, **error)
    for row, y, value, half in zip(rows, positions, percents, halves, strict=True):
        text = percent(row.share, row.half_interval)
        axes.text(value + np.nan_to_num(half) + 0.02 * highest, y, text, va="center", fontsize=6.5)
    axes.set_xlim(0.0, 1.42 * highest)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
