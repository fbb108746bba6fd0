"""Figures of what an inspection found: a heat map beside the voltage, and how the two clocks lie to each other."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from xrd_jax.figures import panels, style, time_axis
from xrd_jax.figures.panels import TimeMap
from xrd_jax.io.inspect.alignment import Centroid, Offset
from xrd_jax.io.inspect.findings import Session
from xrd_jax.io.inspect.survey import SurveyedFile
from xrd_jax.series.axis import AXIS_LABELS
from xrd_jax.series.record import PatternSeries

VOLTAGE_LABEL = "Voltage (V)"


@dataclasses.dataclass(frozen=True)
class Picture:
    """Patterns to be drawn."""

    title: str
    patterns: TimeMap  # their times rise, in s; they are numbers of patterns where `timed` is False
    label: str  # of the axis
    timed: bool = True
    voltage: tuple[np.ndarray, np.ndarray] | None = None  # time [R] in s and V [R], drawn at the right
    note: str = ""  # a line under the title, such as that times are assumed


def survey_figures(sessions: Sequence[Session], stacks: Sequence[SurveyedFile]) -> Iterator[tuple[str, Figure]]:
    """Draw stacks and groups of several patterns, else the first pattern; yield (file name without suffix, figure)."""
    series = [session for session in sessions if len(session.group.scans) > 1]
    for number, session in enumerate(series or sessions[:1], 1):
        suffix = "" if number == 1 else f"_{number}"
        picture = _session_picture(session)
        yield f"patterns{suffix}", pattern_map(picture)
        if session.offset is not None and session.centroid is not None:
            yield f"alignment{suffix}", alignment(picture, session.centroid, session.offset)
    for number, file in enumerate(stacks, 1):
        yield f"stack_{number}", pattern_map(_stack_picture(file))


def _session_picture(session: Session) -> Picture:
    group, times, log = session.group, session.times, session.log
    voltage = (log.time, log.voltage) if log is not None and times.on_log_clock else None
    time, times_kind = times.time, times.kind
    if np.any(np.diff(time) <= 0):  # scans with one date: keep their order
        time, times_kind, voltage = np.arange(time.size, dtype=float), "none", None
    patterns = TimeMap(time, group.axis, group.intensity()[session.order])
    kind = group.scans[0].kind
    label = AXIS_LABELS[kind] if kind else "Position (the files do not say of what)"
    notes = {"filled": "times assumed: equal steps that fill the log", "none": "no times" if time.size > 1 else ""}
    title = group.folder.name or group.names[0]
    return Picture(title, patterns, label, times_kind != "none", voltage, notes.get(times_kind, ""))


def _stack_picture(file: SurveyedFile) -> Picture:
    stack = file.stack
    assert stack is not None
    label = AXIS_LABELS[stack.kind] if stack.kind else "Channel" if file.column_glob else "Position"
    rows = np.arange(len(stack.names), dtype=float)
    return Picture(file.path.name, TimeMap(rows, stack.axis, np.asarray(stack.intensity, float)), label, timed=False)


def series_alignment(name: str, session: PatternSeries, centroid: Centroid, offset: Offset) -> Figure:
    """Draw one session of a series with its own voltages, as `alignment` does."""
    patterns = TimeMap(session.time, session.axis.values, np.asarray(session.intensity))
    voltage = session.time, session.targets["voltage"].values
    return alignment(Picture(name, patterns, session.axis.label, voltage=voltage), centroid, offset)


@style.styled
def pattern_map(picture: Picture) -> Figure:
    """Draw patterns over time, first at the bottom, with the voltage at their right on the same time axis."""
    figure = Figure((style.WIDTH, 4.2), layout="constrained")
    widths = [1.0] if picture.voltage is None else [4.2, 1]
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    axes = [figure.add_subplot(grid[0, 0])]
    seconds, label = _time_unit(picture)
    mesh = panels.draw_patterns(axes[0], picture.patterns, seconds, "viridis", _intensity_scale)
    axes[0].set(xlabel=picture.label, ylabel=label)
    _title(figure, picture)
    if picture.voltage is not None:
        limits, (time, values) = axes[0].get_ylim(), picture.voltage
        axes.append(figure.add_subplot(grid[0, 1], sharey=axes[0]))
        panels.draw_curve_beside(axes[1], time / seconds, values, VOLTAGE_LABEL)
        axes[1].set_ylim(limits)
    panels.colour_bar(mesh, axes, "Intensity", "right", "both")
    return figure


@style.styled
def alignment(picture: Picture, centroid: Centroid, offset: Offset) -> Figure:
    """Draw voltage and centroid over one time axis (with and without the offset), and their agreement over offsets."""
    figure = Figure((style.WIDTH, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[2.2, 1])
    seconds, label = _time_unit(picture)
    assert picture.voltage is not None
    time, values = time_axis.break_at_gaps(*picture.voltage)
    upper.plot(time / seconds, values, color="black", linewidth=0.9)
    upper.set(xlabel=label, ylabel=VOLTAGE_LABEL)
    _draw_centroid(upper.twinx(), picture.patterns.time, centroid, offset, seconds)
    _title(figure, picture)
    lower.plot(offset.offsets / seconds, offset.curve, color="black", linewidth=0.9)
    lower.axvline(0.0, color=style.RED, linewidth=0.8, linestyle=(0, (4, 2)))
    if offset.is_suggested:
        lower.axvline(offset.seconds / seconds, color=style.BLUE, linewidth=0.8)
    lower.set(xlabel=label.replace("Time", "Offset"), ylabel=f"|r| with {offset.against}")
    lower.set_xlim(offset.offsets[0] / seconds, offset.offsets[-1] / seconds)
    lower.grid(color="0.92", linewidth=0.5)
    verdict = "suggested, not applied" if offset.is_suggested else "no offset stands out: none suggested"
    lower.set_title(verdict, loc="right", fontweight="normal", fontsize=7.5, color=style.BLUE)
    return figure


def _draw_centroid(axes: Axes, time: np.ndarray, centroid: Centroid, offset: Offset, seconds: float) -> None:
    position, (low, high) = centroid.position, centroid.window
    dots: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 2.2, "markeredgewidth": 0.4}
    axes.plot(time / seconds, position, color=style.RED, label="as the clocks are", **dots)
    if offset.is_suggested:
        dots |= {"label": f"with the offset, {offset.seconds:+.0f} s", "fillstyle": "none"}
        axes.plot((time + offset.seconds) / seconds, position, color=style.BLUE, **dots)
    axes.set_ylabel(f"Centroid in {low:.4g}–{high:.4g}", color=style.RED)
    axes.tick_params(axis="y", labelcolor=style.RED)
    axes.ticklabel_format(axis="y", useOffset=False)
    bottom, top = np.nanmin(position), np.nanmax(position)
    axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom))
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False, borderaxespad=0.2)


def _time_unit(picture: Picture) -> tuple[float, str]:
    return time_axis.time_unit(picture.patterns.time) if picture.timed else (1.0, "Pattern")


def _intensity_scale(image: np.ndarray) -> Normalize:
    """Return square-root colours for intensities; plain ones where there are negative values."""
    scale = panels.root_scale(image)
    return Normalize(scale.vmin, scale.vmax) if scale.vmin is not None and scale.vmin < 0 else scale


def _title(figure: Figure, picture: Picture) -> None:
    figure.suptitle(picture.title, x=0.01, ha="left", fontweight="bold", fontsize=9)
    if picture.note:
        figure.text(0.99, 0.985, picture.note, ha="right", va="top", fontsize=7.5, color=style.RED)
