"""The figure of a prediction: patterns, attention, predicted targets and distances over one time axis."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xrd_jax.analysis import novelty
from xrd_jax.analysis.run import Run
from xrd_jax.figures import panels as figures_panels
from xrd_jax.figures import style
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series import axis as series_axis

if TYPE_CHECKING:
    from xrd_jax.analysis.collect import Predictions

MOST_TARGETS = 3


@style.styled
def predictions(run: Run, known: novelty.Reference | None, outcome: Predictions) -> Figure:
    """Patterns (a), mean VAW (b), predictions of up to three targets and the distance, times upwards."""
    batch, specs = outcome.batch, run.specs[:MOST_TARGETS]
    time, seconds, label = _clock(outcome)
    figure = Figure((style.WIDTH, 4.7), layout="constrained")
    ratios = [2.2, 2.2, *[1.0] * (len(specs) + (known is not None))]
    panels = list(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios))
    trained = np.asarray(run.statistics.axis, np.float64)
    lines = figures_panels.time_bins(time[outcome.drawn])
    image = lines.average(outcome.picture)
    counts = figures_panels.heat_map(
        panels[0], lines, seconds, trained, image, figures_panels.root_scale(image), "Greys"
    )
    lines = figures_panels.time_bins(time[outcome.kept])
    weight = lines.average(outcome.maps)
    attention = figures_panels.heat_map(panels[1], lines, seconds, run.axis, weight, Normalize(0.0, 1.0), "Greys")
    figures_panels.hatch(panels[1], run.axis, np.isnan(weight).all(axis=0))
    of_seeds = f"VAW, mean of {run.config.seeds} seeds" if run.config.seeds > 1 else "VAW"
    for axes, mesh, text, extend in (
        (panels[0], counts, "Intensity", "both"), (panels[1], attention, of_seeds, "neither"),
    ):  # fmt: skip
        axes.set_facecolor(figures_panels.BLANK)
        axes.set_xlim(*series_axis.channel_edges(trained)[[0, -1]])
        axes.set_xlabel(series_axis.AXIS_LABELS[known.axis.kind] if known else "Position")
        axes.locator_params(axis="x", nbins=5)
        figures_panels.bar(mesh, [axes], text, "bottom", extend)
    panels[0].set_ylabel(label)
    if batch.time is None:
        panels[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes, spec in zip(panels[2:], specs, strict=False):
        _target(axes, spec, outcome.outputs[spec.name], time / seconds, outcome.distance > 1)
    if known is not None:
        _distance(panels[-1], outcome.distance, time / seconds)
    for axes, letter in zip(panels, "abcdef", strict=False):
        axes.set_title(letter, loc="left")
    grey = "; grey: unlike all training patterns" if (outcome.distance > 1).any() else ""
    title = f"{textwrap.shorten(batch.title, 60, placeholder='…')} as seen by {run.path.resolve().name}{grey}"
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=9)
    return figure


def _clock(outcome: Predictions) -> tuple[np.ndarray, float, str]:
    """Times to draw at, the seconds of their unit, and its label; numbers of patterns where no times are known."""
    batch = outcome.batch
    if batch.time is None:
        return np.arange(len(batch), dtype=float), 1.0, "Pattern"
    seconds, label = figures_panels.time_unit(batch.time)
    return np.asarray(batch.time, float), seconds, label


def _target(axes: Axes, spec: TargetSpec, values: np.ndarray, time: np.ndarray, far: np.ndarray) -> None:
    """Mean over seeds with its spread, or the most probable class; unusual patterns in grey."""
    mean = values.mean(axis=0)
    dots: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "rasterized": time.size > 1000}
    if spec.kind == "regression":
        if len(values) > 1:
            deviation = values.std(axis=0, ddof=1)
            axes.hlines(time, mean - deviation, mean + deviation, color=style.RED, alpha=0.25, linewidth=1.2,
                        rasterized=time.size > 1000)  # fmt: skip
        axes.set_xlabel(figures_panels.caption(spec.name, spec.unit))
        axes.locator_params(axis="x", nbins=3)
        shown = mean
    else:
        shown = mean.argmax(axis=-1).astype(float)
        names = [textwrap.fill(name, 10, break_long_words=False) for name in spec.classes]
        axes.set_xticks(range(spec.size), names, rotation=90, fontsize=6.5, linespacing=0.9)
        axes.set_xlim(-0.6, spec.size - 0.4)
        axes.set_xlabel(figures_panels.caption(spec.name, ""))
    axes.plot(shown[~far], time[~far], color=style.RED, **dots)
    axes.plot(shown[far], time[far], color="0.6", **dots)
    axes.grid(axis="x", color="0.9", linewidth=0.5)
    axes.tick_params(labelleft=False)


def _distance(axes: Axes, distance: np.ndarray, time: np.ndarray) -> None:
    """How far the nearest training pattern is; shaded where predictions are not to be trusted."""
    # A pattern of the training itself is no distance away.
    finite = np.where(np.isfinite(distance), np.maximum(distance, 0.1), np.nan)
    dots: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "rasterized": time.size > 1000}
    far = distance > 1
    axes.plot(finite[~far], time[~far], color=style.BLUE, **dots)
    axes.plot(finite[far], time[far], color="0.6", **dots)
    low = np.nanmin(finite, initial=0.5)
    high = np.nanmax(finite, initial=2.0)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.2, high * 1.2)
    ticks = [tick for tick in (0.1, 0.5, 1, 2, 5, 10, 50, 100, 1000) if low / 1.2 <= tick <= high * 1.2]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvspan(1.0, high * 1.2, color="0.92", linewidth=0, zorder=0)
    axes.set_xlabel("Distance to\ntraining")
    axes.tick_params(labelleft=False)
