"""Numbers, tables and figures of a finished run; reads the run, never trains."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.analysis.collect import MAX_MAPS, Summary, summarise
from xrd_jax.analysis.metrics import baselines, scores, shares_over_seeds, window_summary
from xrd_jax.analysis.run import Run
from xrd_jax.commands.tables import markdown, other_splits, table_rows
from xrd_jax.config.schema import Config
from xrd_jax.figures import run as figures_run
from xrd_jax.figures import style
from xrd_jax.files import write_bytes, write_json, write_npz, write_parts
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.series.record import PatternSeries

ROWS = 4096  # of predictions.csv that are made at once


@dataclasses.dataclass(frozen=True)
class Report:
    """What a run comes to.

    Attributes:
      metrics: the content of metrics.json.
      rows: the cells of table.md, header first, this run second.
      figures: the figure files.
    """

    metrics: dict[str, Any]
    rows: list[list[str]]
    figures: list[Path]


def report(run: Run, full: PatternSeries, prepared: Prepared, wall: dict[str, float], rate: float) -> Report:
    """Writes metrics.json, table.md, predictions.csv, vaw.npz and the figures into the run directory.

    Args:
      full: the series before the window, for the overview figure.
      wall: seconds spent before the analysis, by part.
      rate: training patterns per second, all seeds together; NaN where nothing was trained, and then the times that
        metrics.json holds already are kept.
    """
    begun = time.perf_counter()
    config, series, test = run.config, prepared.series, prepared.test
    seen = summarise(run, series)
    outputs = seen.outputs
    truth = {spec.name: series.targets[spec.name].values[test] for spec in run.specs}
    targets = {spec.name: scores(spec, outputs[spec.name][:, test], truth[spec.name]) for spec in run.specs}
    metrics: dict[str, Any] = {
        "case": config.case,
        "name": experiment_name(config, series),
        "split": config.prepare.split,
        "resize": config.prepare.resize,
        "seeds": config.seed_list(),
        "n_train": int(prepared.train.size),
        "n_test": int(test.size),
        "targets": targets,
        "baseline_3nn": baselines(series, run.specs, config),
        "vaw_windows": window_summary(series, run.axis, seen.curves),
    }
    _write_predictions(run, series, test, outputs)
    _write_vaw(run, series, seen)
    drawn = _draw(run, full, prepared, seen)
    rows = table_rows(config, run.specs, metrics, other_splits(run.path))
    write_bytes(run.path / "table.md", markdown(rows).encode())
    timing = {"wall_s": wall | {"analysis": time.perf_counter() - begun}, "train_patterns_per_s": rate}
    metrics |= (_earlier_timing(run.path) or timing) if math.isnan(rate) else timing
    write_json(run.path / "metrics.json", metrics)
    return Report(metrics, rows, drawn)


def experiment_name(config: Config, series: PatternSeries) -> str:
    """What a run is called in tables: the paper's case on a simulated cell, else as its data are called."""
    title = series.provenance.get("title") or Path(config.data).stem
    return str(title) or f"case {config.case}"


def _earlier_timing(path: Path) -> dict[str, Any]:
    try:
        earlier = json.loads((path / "metrics.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return {key: earlier[key] for key in ("wall_s", "train_patterns_per_s") if key in earlier}


def _write_predictions(run: Run, series: PatternSeries, test: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
    """predictions.csv: a row per verification pattern; the mean over seeds and its sample standard deviation."""
    header = ["session", "cycle", "time_s" if series.timed else "number"]
    for spec in run.specs:
        beside = "std" if spec.kind == "regression" else "probability"
        header += [spec.name, f"{spec.name}_predicted", f"{spec.name}_{beside}"]
    parts = (_prediction_rows(run, series, test[i : i + ROWS], outputs) for i in range(0, test.size, ROWS))
    write_parts(run.path / "predictions.csv", itertools.chain([_csv([header])], parts))


def _prediction_rows(run: Run, series: PatternSeries, test: np.ndarray, outputs: dict[str, np.ndarray]) -> bytes:
    columns = [[series.session_names[i] for i in series.session[test]], series.cycle[test], series.time[test].round(3)]
    for spec in run.specs:
        truth, predicted = series.targets[spec.name].values[test], outputs[spec.name][:, test]
        if spec.kind == "regression":
            deviation = predicted.std(axis=0, ddof=1) if len(predicted) > 1 else np.zeros(test.size)
            columns += [[f"{v:.6g}" for v in array] for array in (truth, predicted.mean(axis=0), deviation)]
        else:
            mean = predicted.mean(axis=0)
            columns += [[spec.classes[i] for i in truth], [spec.classes[i] for i in mean.argmax(axis=1)]]
            columns.append([f"{v:.4f}" for v in mean.max(axis=1)])
    return _csv(zip(*columns, strict=True))


def _csv(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _write_vaw(run: Run, series: PatternSeries, seen: Summary) -> None:
    """vaw.npz: maps of the kept patterns (mean over seeds, raw and registered), mean curves per session and seed.

    `pattern` says which patterns of the series the maps belong to; the curves are means over all of them.
    """
    vaw, registered = seen.vaw, np.zeros(seen.vaw.raw.shape[1:])
    for raw in vaw.raw:  # seed by seed: in double precision all of them are too much
        registered += dataclasses.replace(vaw, raw=raw[None]).registered()[0] / len(vaw.raw)
    write_npz(
        run.path / "vaw.npz",
        axis=vaw.axis,
        pattern=seen.kept,
        time=series.time[seen.kept],
        session=series.session[seen.kept],
        session_names=np.asarray(series.session_names),
        seeds=np.asarray(run.config.seed_list()),
        lag=np.float64(vaw.receptive_offset),
        raw=vaw.raw.mean(axis=0).astype(np.float32),
        registered=registered.astype(np.float32),
        curves=seen.curves.astype(np.float32),
        targets=np.asarray([spec.name for spec in run.specs]),
    )


def _draw(run: Run, full: PatternSeries, prepared: Prepared, seen: Summary) -> list[Path]:
    """The figures; of long series they show what the kept maps show, evenly spaced patterns."""
    directory, shown = run.path / "figures", prepared.series.subset(seen.kept)
    files = style.save(
        figures_run.patterns_and_curves(full.subset(full.thinned(MAX_MAPS))), directory, "fig1_patterns", write_bytes
    )
    test = np.flatnonzero(np.isin(seen.kept, prepared.test))
    outputs = {name: values[:, seen.kept] for name, values in seen.outputs.items()}
    drawn = figures_run.predictions(shown, test, outputs, run.specs)
    files += style.save(drawn, directory, "fig3_predictions", write_bytes)
    number = 4
    for session, name in enumerate(shown.session_names):
        if (shown.session == session).any():
            drawn = figures_run.vaw_maps(shown, seen.vaw, session)
            files += style.save(drawn, directory, f"fig{number}_vaw_{_plain(name)}", write_bytes)
            number += 1
    shares = {
        window: {key: value["mean"] for key, value in parts.items()}
        for window, parts in shares_over_seeds(shown, run.axis, seen.overall()).items()
    }
    files += style.save(figures_run.mean_vaw(shown, seen.vaw, shares), directory, "mean_vaw", write_bytes)
    return files


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
