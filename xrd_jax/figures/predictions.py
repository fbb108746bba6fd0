"""The figure of a prediction: patterns, attention, predicted targets and distances over one time axis."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xrd_jax.analysis import novelty
from xrd_jax.analysis.run import Run
from xrd_jax.figures import panels, style, time_axis
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.axis import AXIS_LABELS

if TYPE_CHECKING:
    from xrd_jax.analysis.collect import Predictions

MAX_TARGETS = 3  # more panels would be too narrow to read


@style.styled
def predictions(run: Run, reference: novelty.Reference | None, predicted: Predictions) -> Figure:
    """Draw patterns, mean VAW where there is attention, predictions of up to three targets, and the distance."""
    batch, specs = predicted.batch, run.specs[:MAX_TARGETS]
    time, seconds, time_label = _time_axis(predicted)
    figure = Figure((style.WIDTH, 4.7), layout="constrained")
    images = 1 + bool(run.map_axis.size)
    ratios = [*[2.2] * images, *[1.0] * (len(specs) + (reference is not None))]
    row = list(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios))
    patterns = panels.TimeMap(
        time[predicted.shown_indices], np.asarray(run.statistics.axis, np.float64), predicted.shown
    )
    maps = panels.TimeMap(time[predicted.map_indices], run.map_axis, predicted.maps)
    axis_label = AXIS_LABELS[reference.axis.kind] if reference else "Position"
    labels = ("Intensity", panels.vaw_label(run.config.seeds), axis_label)
    panels.draw_patterns_and_vaw(row[:images], patterns, maps, seconds, labels)
    for axes in row[:images]:
        axes.locator_params(axis="x", nbins=5)
    row[0].set_ylabel(time_label)
    if batch.time is None:
        row[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    is_unusual = predicted.is_unusual
    for axes, spec in zip(row[images:], specs, strict=False):
        _draw_target(axes, spec, predicted.outputs[spec.name], time / seconds, is_unusual)
    if reference is not None:
        _draw_distance(row[-1], predicted.distance, time / seconds, is_unusual)
    for axes, letter in zip(row, "abcdef", strict=False):
        axes.set_title(letter, loc="left")
    grey = "; grey: unlike all training patterns" if is_unusual.any() else ""
    title = f"{textwrap.shorten(batch.title, 60, placeholder='…')} as seen by {run.path.resolve().name}{grey}"
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=9)
    return figure


def _time_axis(predicted: Predictions) -> tuple[np.ndarray, float, str]:
    """Return times, the seconds of their unit, and its label; numbers of patterns where no times are known."""
    batch = predicted.batch
    if batch.time is None:
        return np.arange(len(batch), dtype=float), 1.0, "Pattern"
    seconds, label = time_axis.time_unit(batch.time)
    return np.asarray(batch.time, float), seconds, label


def _draw_target(axes: Axes, spec: TargetSpec, values: np.ndarray, time: np.ndarray, is_unusual: np.ndarray) -> None:
    """Draw the mean over seeds with its deviation, or the most probable class; unusual patterns in grey."""
    mean = values.mean(axis=0)
    if spec.kind == "regression":
        if len(values) > 1:
            deviation = values.std(axis=0, ddof=1)
            axes.hlines(time, mean - deviation, mean + deviation, color=style.RED, alpha=0.25, linewidth=1.2,
                        rasterized=time.size > 1000)  # fmt: skip
        axes.set_xlabel(panels.caption(spec.name, spec.unit))
        axes.locator_params(axis="x", nbins=3)
        shown = mean
    else:
        shown = mean.argmax(axis=-1).astype(float)
        names = [textwrap.fill(name, 10, break_long_words=False) for name in spec.classes]
        axes.set_xticks(range(spec.size), names, rotation=90, fontsize=6.5, linespacing=0.9)
        axes.set_xlim(-0.6, spec.size - 0.4)
        axes.set_xlabel(panels.caption(spec.name, ""))
    _draw_dots(axes, shown, time, is_unusual, style.RED)
    axes.grid(axis="x", color="0.9", linewidth=0.5)


def _draw_distance(axes: Axes, distance: np.ndarray, time: np.ndarray, is_unusual: np.ndarray) -> None:
    """Draw how far the nearest training pattern is; shaded where predictions are not to be trusted."""
    # A pattern of the training itself is no distance away.
    finite = np.where(np.isfinite(distance), np.maximum(distance, 0.1), np.nan)
    _draw_dots(axes, finite, time, is_unusual, style.BLUE)
    low, high = np.nanmin(finite, initial=0.5) / 1.2, np.nanmax(finite, initial=2.0) * 1.2
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in (0.1, 0.5, 1, 2, 5, 10, 50, 100, 1000) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvspan(1.0, high, color="0.92", linewidth=0, zorder=0)
    axes.set_xlabel("Distance to\ntraining")


def _draw_dots(axes: Axes, values: np.ndarray, time: np.ndarray, is_unusual: np.ndarray, colour: str) -> None:
    dots: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "rasterized": time.size > 1000}
    axes.plot(values[~is_unusual], time[~is_unusual], color=colour, **dots)
    axes.plot(values[is_unusual], time[is_unusual], color="0.6", **dots)
    axes.tick_params(labelleft=False)
