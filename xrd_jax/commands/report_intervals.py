"""What a report says of trust: intervals and whether they hold, and how far patterns are from the training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrd_jax.analysis import coverage, intervals, novelty
from xrd_jax.analysis.blocks import evenly_spaced
from xrd_jax.analysis.collect import Summary
from xrd_jax.analysis.metrics import ensemble_values
from xrd_jax.analysis.run import Run
from xrd_jax.figures import calibration as calibration_figures
from xrd_jax.figures import style
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec

MAX_PATTERNS = 500  # of a kind in the figure of distances and residuals


class Calibrated(NamedTuple):
    """What was learnt from calibration patterns, and how it holds on the test set."""

    calibration: intervals.Calibration
    test: intervals.Labelled
    evaluation: dict[str, Any]  # 'intervals' of metrics.json


def calibrate(run: Run, prepared: Prepared, summary: Summary) -> Calibrated | None:
    """Calibrate on the patterns held out for it, write calibration.npz, and judge by the test set; None without."""
    if not prepared.calibration.size:
        return None
    calibration, test = (
        intervals.Labelled.at(rows, groups, prepared.series, summary.outputs, summary.distributions)
        for rows, groups in zip((prepared.calibration, prepared.test), intervals.held_out_groups(prepared), strict=True)
    )
    result = intervals.calibrate(run.specs, calibration)
    intervals.save(run.path, result)
    return Calibrated(result, test, coverage.evaluate(result, run.specs, test))


def table_rows(specs: Sequence[TargetSpec], evaluation: dict[str, Any]) -> list[list[str]]:
    """Return cells, header first: for each target the coverage on the test set and the mean width or size."""
    levels = [f"{100 * level:g} %" for level in intervals.LEVELS]
    rows = [["coverage on the test set (mean width)", *levels]]
    for spec in specs:
        for label, key in ((spec.name, ""), (f"{spec.name}, the networks alone", "raw_")):
            entries = evaluation["targets"][spec.name]["levels"]
            rows.append([label, *(_cell(spec, entry, key) for entry in entries)])
    return rows


def _cell(spec: TargetSpec, entry: dict[str, Any], key: str) -> str:
    share = entry[f"{key}coverage"]
    if share is None:
        return "–"
    if spec.kind != "regression":
        return f"{100 * share:.1f} % ({entry[f'{key}size']:.2f} classes)"
    scale, unit = (1000.0, "mV") if spec.unit == "V" else (1.0, spec.unit)
    return f"{100 * share:.1f} % ({scale * entry[f'{key}width']:.3g} {unit}".rstrip() + ")"


def draw_intervals(specs: Sequence[TargetSpec], calibrated: Calibrated) -> Any:
    """Return the figure of coverage, PIT and widths on the test set."""
    test, drawn = calibrated.test, {}
    for spec in specs:
        if spec.kind != "regression":
            continue
        ends = calibrated.calibration.interval(spec, test.outputs, test.distributions)
        if ends is not None:
            value = ensemble_values(spec, test.outputs[spec.name], test.distributions.get(spec.name))
            drawn[spec.name] = calibration_figures.Intervals(value, *ends, test.truth[spec.name])
    return calibration_figures.intervals(calibrated.evaluation, specs, drawn, intervals.LEVEL)


def save_novelty(run: Run, prepared: Prepared) -> list[Path]:
    """Write what new patterns are compared with, now that the data are at hand, and its figure; return its files."""
    reference = novelty.save(run, prepared)
    return style.save(_draw_novelty(run, prepared, reference), run.path / "figures", "novelty")


def _draw_novelty(run: Run, prepared: Prepared, reference: novelty.Reference) -> Any:
    """Return the figure of distances and residuals of training, calibration and test patterns."""
    parts = {"training": prepared.train, "calibration": prepared.calibration, "test": prepared.test}
    kinds = {}
    for name, rows in parts.items():
        if rows.size:
            patterns = np.asarray(prepared.series.intensity[rows[evenly_spaced(rows.size, MAX_PATTERNS)]])
            kinds[name] = reference.distances(run, patterns), reference.residuals(patterns)
    return calibration_figures.novelty(kinds)
