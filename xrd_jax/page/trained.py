"""What a page shows of a training, or of patterns that a run was asked about later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from xrd_jax.analysis.collect import Predictions, Summary
from xrd_jax.analysis.intervals import LEVEL, Calibration
from xrd_jax.analysis.metrics import ensemble_values
from xrd_jax.analysis.run import Run
from xrd_jax.analysis.vaw import Vaw
from xrd_jax.page import content
from xrd_jax.page.content import Content, TargetPanel
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.axis import Axis
from xrd_jax.series.record import PatternSeries

VAW = "VAW (mean over seeds)"


class Outputs(NamedTuple):
    """What the networks say of the patterns T that are shown."""

    values: Mapping[str, np.ndarray]  # target -> [S, T] or [S, T, K]
    distributions: Mapping[str, np.ndarray]  # target -> [T, K]
    calibration: Calibration | None
    is_unusual: np.ndarray | None = None  # [T] patterns of which nothing is stated


def target_panel(spec: TargetSpec, outputs: Outputs, measured: np.ndarray | None) -> TargetPanel:
    """Return a target's predictions with the band that can be given."""
    values, distribution = outputs.values[spec.name], outputs.distributions.get(spec.name)
    mean = ensemble_values(spec, values, distribution)
    unknown = np.full(values.shape[1], np.nan)
    known = unknown if measured is None else np.asarray(measured, np.float64)
    if spec.kind != "regression":
        best = np.nan_to_num(mean, nan=-1.0).argmax(axis=1).astype(float)
        return TargetPanel(spec.name, "", spec.classes, best, known, probabilities=mean)
    low, high, band = _band(spec, outputs, distribution)
    if low is not None and high is not None and outputs.is_unusual is not None:
        low, high = (np.where(outputs.is_unusual, np.nan, end) for end in (low, high))
    span = (spec.low, spec.high) if spec.is_distribution else None
    bins = distribution if spec.is_distribution else None
    return TargetPanel(spec.name, spec.unit, (), mean, known, low, high, band, bins, span)


def _band(
    spec: TargetSpec, outputs: Outputs, distribution: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Return the calibrated interval, or the middle of the network's own distribution, and what it is."""
    if outputs.calibration is not None:
        ends = outputs.calibration.interval(spec, outputs.values, outputs.distributions)
        if ends is not None:
            return *ends, f"{100 * LEVEL:g} % interval (calibrated)"
    if distribution is None or not spec.is_distribution:
        return None, None, ""
    tail = (1 - LEVEL) / 2
    low, high = (
        np.asarray(histogram.quantile(jnp.asarray(distribution), spec.low, spec.high, level))
        for level in (tail, 1 - tail)
    )
    return low, high, f"middle {100 * LEVEL:g} % of the networks' distribution (not calibrated)"


def of_training(run: Run, prepared: Prepared, summary: Summary, calibration: Calibration | None) -> Content:
    """Return the content of a training's page."""
    series = prepared.series
    rows = series.thinned(content.MAX_PATTERNS)
    starts = content.channel_groups(series.axis.values.size, rows.size)
    axis = content.averaged_axis(series.axis, starts)
    outputs = Outputs(
        {name: values[:, rows] for name, values in summary.outputs.items()},
        {name: values[rows] for name, values in summary.distributions.items()},
        calibration,
    )
    roles = np.zeros(len(series), np.uint8)
    roles[prepared.train], roles[prepared.calibration], roles[prepared.test] = 1, 2, 3
    time, session, names = series.time[rows], series.session[rows], pattern_names(series, rows)
    layers = {}
    if run.map_axis.size:
        layers[VAW] = content.on_axis(_vaw(summary, rows), run.map_axis, axis.values)
    return Content(
        axis, content.averaged(series.intensity, rows, starts), "Counts" if series.is_counts else "Intensity",
        names, roles[rows],
        ("not used", "trained on", "calibrated on", "held out"),
        content.session_views(session, series.session_names, time, series.timed),
        tuple(target_panel(spec, outputs, series.targets[spec.name].values[rows]) for spec in run.specs),
        layers, series.reflections,
        content.sampling_sentence(series.intensity.shape, (rows.size, starts.size)),
    )  # fmt: skip


def pattern_names(series: PatternSeries, rows: np.ndarray) -> list[str]:
    """Return the files that patterns were read from, where that is known, else session, cycle and time."""
    files = series.provenance.get("files", ())
    if len(files) == len(series):  # a window leaves patterns out, but not their names
        return [str(files[row]) for row in rows]
    labels = zip(series.session[rows], series.cycle[rows], series.time[rows], strict=True)
    return [
        f"{series.session_names[s]}, cycle {c}, " + (f"{t:.0f} s" if series.timed else f"number {t:g}")
        for s, c, t in labels
    ]


def _vaw(summary: Summary, rows: np.ndarray) -> np.ndarray:
    """Return the registered maps, mean over seeds, of the patterns nearest to `rows` that have one."""
    kept = summary.map_indices
    nearest = np.clip(np.searchsorted(kept, rows), 0, kept.size - 1)
    vaw, total = summary.vaw, np.zeros((rows.size, summary.vaw.axis.size), np.float32)
    for raw in vaw.raw:  # seed by seed: in double precision all of them are too much
        total += Vaw(vaw.axis, raw[None, nearest], vaw.receptive_offset).registered()[0]
    return total / len(vaw.raw)


def of_predictions(
    run: Run, trained: Axis | None, calibration: Calibration | None, predicted: Predictions,
    measured: Mapping[str, np.ndarray | None],
) -> Content:  # fmt: skip
    """Return the content of a page about a batch of new patterns, on the axis that the run was trained with.

    Args:
      trained: that axis, where the run knows more of it than its positions.
      measured: target -> values of all patterns, where the data have them.
    """
    rows = predicted.shown_indices
    trained = Axis(np.asarray(run.statistics.axis, np.float64), "channel") if trained is None else trained
    starts = content.channel_groups(trained.values.size, rows.size)
    axis, unusual = content.averaged_axis(trained, starts), predicted.is_unusual[rows]
    outputs = Outputs(
        {name: values[:, rows] for name, values in predicted.outputs.items()},
        {name: values[rows] for name, values in predicted.distributions.items()},
        calibration, unusual,
    )  # fmt: skip
    layers = {}
    if predicted.maps.shape[1]:
        kept = predicted.map_indices
        nearest = np.clip(np.searchsorted(kept, rows), 0, kept.size - 1)
        layers[VAW] = content.on_axis(predicted.maps[nearest], run.map_axis, axis.values)
    time = predicted.batch.time
    seconds = np.arange(rows.size, dtype=float) if time is None else time[rows]
    names: Sequence[str] = [str(predicted.batch.names[i]) for i in rows]
    return Content(
        axis, content.averaged(predicted.shown, np.arange(rows.size), starts), "Intensity", names,
        unusual.astype(np.uint8), ("", "unlike all training patterns"),
        content.session_views(np.zeros(rows.size, int), [predicted.batch.title], seconds, time is not None),
        tuple(target_panel(s, outputs, _rows(measured.get(s.name), rows)) for s in run.specs),
        layers, {},
        content.sampling_sentence((len(predicted.batch), trained.values.size), (rows.size, starts.size)),
        {"Distance to training": predicted.distance[rows], "Residual": predicted.residual[rows]},
    )  # fmt: skip


def _rows(values: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if values is None else values[rows]
