"""Numbers, tables and figures of a finished run; reads the run, never trains."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.analysis.collect import MAX_MAPS, Summary, summarise
from xrd_jax.analysis.metrics import baselines, scores, shares_over_seeds, window_summary
from xrd_jax.analysis.run import Run
from xrd_jax.commands import report_intervals, tables
from xrd_jax.commands.report_baselines import all_baselines
from xrd_jax.config.schema import Config
from xrd_jax.estimators.baselines import advice, extrapolation_lines
from xrd_jax.estimators.program import bounded_lines
from xrd_jax.estimators.saved import describe_choice
from xrd_jax.figures import run as run_figures
from xrd_jax.figures import style
from xrd_jax.files import write_bytes, write_csv, write_json, write_npz
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.record import PatternSeries


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run comes to.

    Attributes:
      metrics: the content of metrics.json.
      rows: the cells of table.md, header first, this run second.
      figures: the figure files.
      remarks: sentences for the user.
      prepared, summary: what was reported of, and all that the run says of it; None in processes that write nothing.
    """

    metrics: dict[str, Any]
    rows: list[list[str]]
    figures: list[Path]
    remarks: list[str]
    prepared: Prepared | None = None
    summary: Summary | None = None


def report(run: Run, full: PatternSeries, prepared: Prepared, wall: dict[str, float], rate: float) -> Report:
    """Write metrics.json, table.md, predictions.csv, vaw.npz and the figures into the run directory.

    Args:
      full: the series before the window, for the overview figure.
      wall: seconds spent before the analysis, by part.
      rate: training patterns per second, all seeds together; NaN where nothing was trained, and then the times that
        metrics.json holds already are kept.
    """
    started = time.perf_counter()
    summary = summarise(run, prepared.series)
    compared, baseline_remarks = all_baselines(prepared, run.config.prepare, run.specs)
    metrics = _metrics(run, prepared, summary) | {"baselines": compared}
    calibrated = report_intervals.calibrate(run, prepared, summary)
    if calibrated is not None:
        metrics["intervals"] = calibrated.evaluation
    write_csv(run.path / "predictions.csv", _prediction_rows(run, prepared, summary, calibrated))
    if run.map_axis.size:
        _write_vaw(run, prepared.series, summary)
    figures = [
        file
        for name, figure in _figures(run, full, prepared, summary, calibrated)
        for file in style.save(figure, run.path / "figures", name)
    ]
    rows = tables.table_rows(run.config, run.specs, metrics, tables.runs_on_other_splits(run.path))
    table = tables.markdown(rows)
    if calibrated is not None:
        table += "\n" + tables.markdown(report_intervals.table_rows(run.specs, calibrated.evaluation))
    remarks = [
        *tables.verdicts(run.specs, metrics),
        *_advice(run, prepared, metrics, summary),
        *extrapolation_lines(metrics["baselines"], prepared.test.size),
        *baseline_remarks,
    ]
    write_bytes(run.path / "table.md", (table + "".join(f"\n{line}\n" for line in remarks)).encode())
    timing = {"wall_s": wall | {"analysis": time.perf_counter() - started}, "train_patterns_per_s": rate}
    metrics |= (_earlier_timing(run.path) or timing) if math.isnan(rate) else timing
    write_json(run.path / "metrics.json", metrics)
    return Report(metrics, rows, figures, remarks, prepared, summary)


def _metrics(run: Run, prepared: Prepared, summary: Summary) -> dict[str, Any]:
    config, series, test = run.config, prepared.series, prepared.test
    choice = run.choice
    estimator = {} if choice is None else {"estimator": {"asked": config.train.estimator} | describe_choice(choice)}
    return estimator | {
        "case": config.case,
        "name": experiment_name(config, series),
        "split": config.prepare.split,
        "resize": config.prepare.resize,
        "seeds": config.seed_list(),
        "n_train": int(prepared.train.size),
        "n_test": int(test.size),
        "axis": {"kind": series.axis.kind, "wavelength": series.axis.wavelength},
        "targets": {spec.name: _test_scores(spec, prepared, summary) for spec in run.specs},
        "baseline_3nn": baselines(series, run.specs, config),
        "vaw_windows": window_summary(series, run.axis, summary.curves) if run.map_axis.size else {},
    }


def _advice(run: Run, prepared: Prepared, metrics: dict[str, Any], summary: Summary) -> list[str]:
    """Return what a careful analyst would report beside a network, or how often an estimator extrapolates."""
    if run.choice is None:
        return advice(metrics["baselines"], run.specs, prepared.train.size)
    outputs = {name: values[0, prepared.test] for name, values in summary.outputs.items()}
    return bounded_lines(run.choice, outputs)


def _test_scores(spec: TargetSpec, prepared: Prepared, summary: Summary) -> dict[str, Any]:
    test, truth = prepared.test, prepared.series.targets[spec.name].values
    distribution = summary.distributions[spec.name][test] if spec.is_distribution else None
    return scores(spec, summary.outputs[spec.name][:, test], truth[test], distribution)


def experiment_name(config: Config, series: PatternSeries) -> str:
    """Return what a run is called in tables: the paper's case on a simulated cell, else as its data are called."""
    title = series.provenance.get("title") or Path(config.data).stem
    return str(title) or f"case {config.case}"


def _earlier_timing(path: Path) -> dict[str, Any]:
    try:
        earlier = json.loads((path / "metrics.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return {key: earlier[key] for key in ("wall_s", "train_patterns_per_s") if key in earlier}


def _prediction_rows(
    run: Run, prepared: Prepared, summary: Summary, calibrated: report_intervals.Calibrated | None
) -> Iterator[tuple[Any, ...]]:
    """Yield the header and a row per pattern of the test set: the mean over seeds, and its deviation or probability.

    Where the run is calibrated, the ends of its intervals follow.
    """
    calibration = None if calibrated is None else calibrated.calibration
    series, test = prepared.series, prepared.test
    header = ["session", "cycle", "time_s" if series.timed else "number"]
    for spec in run.specs:
        last = "std" if spec.kind == "regression" else "probability"
        header += [spec.name, f"{spec.name}_predicted", f"{spec.name}_{last}"]
        header += tables.interval_headings(spec, calibration)
    yield tuple(header)
    for begin in range(0, test.size, tables.ROWS_AT_ONCE):
        rows = test[begin : begin + tables.ROWS_AT_ONCE]
        sessions = [series.session_names[i] for i in series.session[rows]]
        columns: list[Any] = [sessions, series.cycle[rows], series.time[rows].round(3)]
        for spec in run.specs:
            distribution = summary.distributions[spec.name][rows] if spec.is_distribution else None
            predicted = tables.prediction_columns(spec, summary.outputs[spec.name][:, rows], distribution, ".6g")
            measured = tables.measured_column(spec, series.targets[spec.name].values[rows])
            columns += [measured, predicted[0], predicted[-1]]
            if calibration is not None:
                outputs = {name: values[:, rows] for name, values in summary.outputs.items()}
                columns += tables.interval_columns(spec, calibration, outputs, distribution)
        yield from zip(*columns, strict=True)


def _write_vaw(run: Run, series: PatternSeries, summary: Summary) -> None:
    """Write vaw.npz: maps (mean over seeds, raw and registered), mean curves per session and seed.

    `pattern` says which patterns of the series the maps belong to; the curves are means over all of them.
    """
    vaw, registered = summary.vaw, np.zeros(summary.vaw.raw.shape[1:])
    for raw in vaw.raw:  # seed by seed: in double precision all of them are too much
        registered += dataclasses.replace(vaw, raw=raw[None]).registered()[0] / len(vaw.raw)
    write_npz(
        run.path / "vaw.npz",
        axis=vaw.axis,
        pattern=summary.map_indices,
        time=series.time[summary.map_indices],
        session=series.session[summary.map_indices],
        session_names=np.asarray(series.session_names),
        seeds=np.asarray(run.config.seed_list()),
        lag=np.float64(vaw.receptive_offset),
        raw=vaw.raw.mean(axis=0).astype(np.float32),
        registered=registered.astype(np.float32),
        curves=summary.curves.astype(np.float32),
        targets=np.asarray([spec.name for spec in run.specs]),
    )


def _figures(
    run: Run, full: PatternSeries, prepared: Prepared, summary: Summary,
    calibrated: report_intervals.Calibrated | None,
) -> Iterator[tuple[str, Any]]:  # fmt: skip
    """Yield names and figures; of long series they show what the maps show, evenly spaced patterns."""
    shown = prepared.series.subset(summary.map_indices)
    yield "fig1_patterns", run_figures.patterns_and_curves(full.subset(full.thinned(MAX_MAPS)))
    test = np.flatnonzero(np.isin(summary.map_indices, prepared.test))
    outputs = {name: values[:, summary.map_indices] for name, values in summary.outputs.items()}
    distributions = {name: values[summary.map_indices] for name, values in summary.distributions.items()}
    yield "fig3_predictions", run_figures.predictions(shown, test, outputs, run.specs, distributions)
    if run.map_axis.size:
        yield from _vaw_figures(run, shown, summary)
    if calibrated is not None:
        yield "intervals", report_intervals.draw_intervals(run.specs, calibrated)


def _vaw_figures(run: Run, shown: PatternSeries, summary: Summary) -> Iterator[tuple[str, Any]]:
    sessions = [(i, name) for i, name in enumerate(shown.session_names) if (shown.session == i).any()]
    for number, (session, name) in enumerate(sessions, 4):  # the paper's figures of maps begin with 4
        yield f"fig{number}_vaw_{_file_name(name)}", run_figures.vaw_maps(shown, summary.vaw, session)
    shares = {
        window: {key: value["mean"] for key, value in scores.items()}
        for window, scores in shares_over_seeds(shown, run.axis, summary.overall()).items()
    }
    yield "mean_vaw", run_figures.mean_vaw(shown, summary.vaw, shares)


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
