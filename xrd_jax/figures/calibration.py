"""Figures of how far predictions can be trusted: do intervals hold, and which patterns are unlike the training."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from xrd_jax.figures import panels, style
from xrd_jax.preprocessing.targets import TargetSpec

RAW_COLOUR = "0.55"
MAX_DOTS = 2000  # dots drawn of a kind: more only cover each other
NEAREST = 0.1  # of the threshold; a training pattern is no distance from itself, and a logarithm needs some
FARTHEST = 1000.0


class Intervals(NamedTuple):
    """Intervals of the test set."""

    value: np.ndarray  # [T] predicted, in the target's unit
    lower: np.ndarray  # [T]
    upper: np.ndarray  # [T]
    truth: np.ndarray  # [T]


@style.styled
def intervals(
    evaluation: Mapping[str, Any], specs: Sequence[TargetSpec], drawn: Mapping[str, Intervals], level: float
) -> Figure:
    """Draw a row per target: nominal and actual coverage, PIT, and width of its intervals, or size of its label sets.

    Args:
      evaluation: as `coverage.evaluate` returns it.
      drawn: regression target -> its intervals at `level`; without one the last panel says why.
    """
    figure = Figure((style.WIDTH, 0.35 + 2.15 * len(specs)), layout="constrained")
    rows = figure.subplots(len(specs), 3, squeeze=False)
    for row, spec in zip(rows, specs, strict=True):
        result = evaluation["targets"][spec.name]
        _draw_coverage(row[0], result["levels"])
        row[0].set_title(panels.caption(spec.name, ""), loc="left")
        if spec.kind != "regression":
            _draw_set_sizes(row[1], result["levels"], spec.size)
            row[2].set_axis_off()
            continue
        _draw_pit(row[1], result["pit"], result["raw_pit"])
        if spec.name in drawn:
            _draw_widths(row[2], spec, drawn[spec.name], level)
        else:
            row[2].set_axis_off()
            row[2].text(0.5, 0.5, "no interval can\nbe promised", ha="center", va="center", transform=row[2].transAxes)
    handles, labels = rows[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False)
    return figure


def _draw_coverage(axes: Axes, levels: Sequence[Mapping[str, Any]]) -> None:
    """Draw the share of test patterns inside over the share that was asked for."""
    nominal = [entry["nominal"] for entry in levels]
    actual = {
        key: [np.nan if entry[key] is None else entry[key] for entry in levels] for key in ("coverage", "raw_coverage")
    }
    lowest = np.nanmin([nominal[0], *actual["coverage"], *actual["raw_coverage"]])
    ends = [max(lowest - 0.06, -0.03), 1.03]
    axes.plot(ends, ends, color="black", linewidth=0.6, label="as promised")
    raw_style: dict[str, Any] = {"color": RAW_COLOUR, "marker": "s", "fillstyle": "none"}
    axes.plot(nominal, actual["raw_coverage"], markersize=4, linewidth=0.8, label="the networks alone", **raw_style)
    axes.plot(nominal, actual["coverage"], color=style.RED, marker="o", markersize=4, linewidth=0.8, label="calibrated")
    axes.set(ylabel="Coverage on the test set (%)", ylim=ends)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0, symbol=""))
    _label_levels(axes, nominal)


def _draw_pit(axes: Axes, pit: Sequence[int] | None, raw: Sequence[int] | None) -> None:
    """Draw how many measured values lie at which share of their distribution, in units of the even share."""
    counts = {"raw": raw, "calibrated": pit}
    highest = 1.0
    for name, values in counts.items():
        if values is None:
            continue
        density = np.asarray(values) * len(values) / max(sum(values), 1)
        highest = max(highest, density.max())
        options = {"color": style.RED, "alpha": 0.35, "fill": True} if name == "calibrated" else {"color": RAW_COLOUR}
        axes.stairs(density, np.linspace(0.0, 1.0, len(values) + 1), **options)
    axes.axhline(1.0, color="black", linewidth=0.6)
    axes.set(
        xlabel="Share below the measured value", ylabel="Density (PIT)", xlim=(0.0, 1.0), ylim=(0.0, 1.12 * highest)
    )


def _draw_widths(axes: Axes, spec: TargetSpec, drawn: Intervals, level: float) -> None:
    """Draw the width of each interval over the predicted value; those that miss the measured one in black."""
    scale, unit = (1000.0, "mV") if spec.unit == "V" else (1.0, spec.unit)
    width = scale * (drawn.upper - drawn.lower)
    holds = (drawn.lower <= drawn.truth) & (drawn.truth <= drawn.upper)
    shown = _evenly_spaced(width.size)
    for chosen, colour, label in ((holds, style.RED, "holds"), (~holds, "black", "misses")):
        rows = shown[chosen[shown]]
        axes.plot(drawn.value[rows], width[rows], color=colour, label=label, **_dots(rows.size))
    axes.set(xlabel=panels.caption(spec.name, spec.unit), ylabel=panels.caption(f"{100 * level:g} % interval", unit))
    axes.set_ylim(0.0, 1.12 * float(np.max(width[np.isfinite(width)], initial=1e-12)))
    axes.legend(loc="best", fontsize=6.5, frameon=True, edgecolor="none", framealpha=0.85, handletextpad=0.1)


def _draw_set_sizes(axes: Axes, levels: Sequence[Mapping[str, Any]], classes: int) -> None:
    """Draw how many classes a set holds in the mean."""
    nominal = [entry["nominal"] for entry in levels]
    styles: dict[str, dict[str, Any]] = {
        "raw_size": {"color": RAW_COLOUR, "marker": "s", "fillstyle": "none"},
        "size": {"color": style.RED, "marker": "o"},
    }
    for key, options in styles.items():
        sizes = [np.nan if entry[key] is None else entry[key] for entry in levels]
        axes.plot(nominal, sizes, markersize=4, linewidth=0.8, **options)
    axes.set(ylabel="Classes in a set", ylim=(0.9, classes + 0.1))
    _label_levels(axes, nominal)


def _label_levels(axes: Axes, nominal: Sequence[float]) -> None:
    axes.set(xlabel="Nominal (%)", xlim=(nominal[0] - 0.05, 1.0))
    axes.set_xticks(nominal, [f"{100 * level:g}" for level in nominal])


@style.styled
def novelty(kinds: Mapping[str, tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]]]) -> Figure:
    """Draw the residual of patterns over their distance to the training, in units of the thresholds.

    Args:
      kinds: what the patterns are, such as 'training', 'held out' and 'new' -> their distances and residuals.
    """
    figure = Figure((0.72 * style.WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    colours = ("0.7", style.BLUE, style.RED, *style.WINDOW_COLOURS)
    limits = [[NEAREST / 1.2, 3.0], [0.3, 3.0]]
    for (name, measured), colour in zip(kinds.items(), colours, strict=False):
        rows = _evenly_spaced(measured[0].size)
        bounded = [np.clip(np.nan_to_num(values[rows], nan=NEAREST), NEAREST, FARTHEST) for values in measured]
        for limit, values in zip(limits, bounded, strict=True):
            limit[0], limit[1] = min(limit[0], values.min() / 1.2), max(limit[1], values.max() * 1.3)
        axes.plot(*bounded, color=colour, label=f"{name} ({measured[0].size})", **_dots(rows.size))
    axes.set(xscale="log", yscale="log", xlim=limits[0], ylim=limits[1])
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 100, 1000]
    for axis, (low, high) in zip((axes.xaxis, axes.yaxis), limits, strict=True):
        shown = [tick for tick in ticks if low <= tick <= high]
        axis.set_ticks(shown, [f"{'≤ ' * (tick == NEAREST)}{tick:g}" for tick in shown])
    axes.minorticks_off()
    for span in (axes.axvspan, axes.axhspan):
        span(1.0, 1.3 * FARTHEST, color="0.94", linewidth=0, zorder=0)
    for line in (axes.axvline, axes.axhline):
        line(1.0, color="black", linewidth=0.6)
    axes.set(xlabel="Distance to the nearest training pattern", ylabel="Residual of what training patterns share")
    figure.suptitle("In units of what 1 % of held-out patterns exceed; shaded: unlike all training patterns", x=0.01,
                    ha="left", fontsize=7.5)  # fmt: skip
    figure.legend(loc="outside right center", frameon=False, markerscale=2, handletextpad=0.1)
    return figure


def _evenly_spaced(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, MAX_DOTS)).round().astype(int))


def _dots(count: int) -> dict[str, Any]:
    return {"linestyle": "", "marker": ".", "markersize": 2.5, "rasterized": count > 1000}
