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

from xrd_jax.analysis.collect import MOST_MAPS, Survey, survey
from xrd_jax.analysis.neighbours import nearest_neighbours
from xrd_jax.analysis.run import Run
from xrd_jax.analysis.vaw import window_shares
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.figures import run as figures_run
from xrd_jax.preprocessing.prepare import Prepared, TargetSpec
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.workdir import write_bytes, write_json, write_npz, write_parts

ROWS = 4096  # of predictions.csv that are made at once

# Table I of Kano, Segi, Ozono (arXiv:2006.01451): voltage MAE in V, accuracies.
PAPER = {
    1: {"voltage": 1.47e-2},
    2: {"voltage": 1.86e-2, "mode": 0.97},
    3: {"voltage": 1.89e-2, "mode": 0.98, "rate": 1.00},
}


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


def scores(spec: TargetSpec, predicted: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Errors of one target over seeds.

    Args:
      predicted: [S, T] values or [S, T, K] probabilities.
      truth: [T].
    """
    if spec.kind == "classification":
        return {"kind": spec.kind, "accuracy": spread((predicted.argmax(axis=-1) == truth[None, :]).mean(axis=1))}
    error = predicted - truth[None, :]
    mae, rmse = spread(np.abs(error).mean(axis=1)), spread(np.sqrt((error**2).mean(axis=1)))
    return {"kind": spec.kind, "unit": spec.unit, "mae": mae, "rmse": rmse}


def spread(per_seed: np.ndarray) -> dict[str, Any]:
    """Mean and sample standard deviation (0 for one seed) with the values themselves."""
    deviation = float(per_seed.std(ddof=1)) if per_seed.size > 1 else 0.0
    return {"mean": float(per_seed.mean()), "std": deviation, "per_seed": [float(v) for v in per_seed]}


def baselines(series: PatternSeries, specs: tuple[TargetSpec, ...], config: Config) -> dict[str, Any]:
    """The nearest-neighbour look-up on the run's own split and on the split by cycle, where that is possible."""
    results: dict[str, Any] = {}
    for name in dict.fromkeys((config.prepare.split, "cycle")):
        try:
            chosen = dataclasses.replace(config.prepare, split=name)
            results[name] = nearest_neighbours(series, specs, chosen, config.split_seed)
        except UserError:  # one cycle only: there is no split by cycle to show
            continue
    return results


def window_summary(series: PatternSeries, axis: np.ndarray, curves: np.ndarray) -> dict[str, Any]:
    """VAW of the named windows: session -> window -> 'mean', 'max', 'share', each spread over seeds.

    Args:
      axis: [L] positions of the input channels.
      curves: [S, sessions, L] mean registered maps; a session without patterns is NaN and left out.
    """
    names = zip(series.session_names, curves.swapaxes(0, 1), strict=True)
    return {name: _shares(series, axis, own) for name, own in names if not np.isnan(own).all()}


def _shares(series: PatternSeries, axis: np.ndarray, curves: np.ndarray) -> dict[str, dict[str, Any]]:
    """The windows of mean maps [S, L]: window -> 'mean', 'max', 'share', each spread over seeds."""
    per_seed = [window_shares(axis, curve, dict(series.windows)) for curve in curves]
    return {
        window: {key: spread(np.asarray([s[window][key] for s in per_seed])) for key in ("mean", "max", "share")}
        for window in series.windows
    }


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
    seen = survey(run, series)
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


def other_splits(path: Path) -> list[dict[str, Any]]:
    """metrics.json (with the directory as "path") of finished runs beside `path` that differ in the split only.

    A random split tests interpolation between neighbours in time; the split by cycle says what is left of it on cycles
    that training never saw. So the one is not shown without the other, once both have been run.
    """
    (split, own), found = _split_and_rest(path), []
    for other in sorted(path.resolve().parent.iterdir()):
        other_split, rest = _split_and_rest(other)
        if rest == own and other_split != split and (other / "metrics.json").is_file():
            found.append(json.loads((other / "metrics.json").read_text()) | {"path": other.name})
    return found


def _split_and_rest(path: Path) -> tuple[str, dict[str, Any]]:
    """The split of the run in `path`, and all else of its configuration; ('', {}) where there is no run."""
    try:
        config = json.loads((path / "config.json").read_text())["config"]
        split = config["prepare"].pop("split")
    except (OSError, json.JSONDecodeError, KeyError):
        return "", {}
    return split, {key: value for key, value in config.items() if key not in ("data", "data_root")}


def _earlier_timing(path: Path) -> dict[str, Any]:
    try:
        earlier = json.loads((path / "metrics.json").read_text())
    except (OSError, json.JSONDecodeError):
        return {}
    return {key: earlier[key] for key in ("wall_s", "train_patterns_per_s") if key in earlier}


def table_rows(
    config: Config, specs: tuple[TargetSpec, ...], metrics: dict[str, Any], beside: list[dict[str, Any]]
) -> list[list[str]]:
    """Table I's row: header, this run, the same on other splits, the look-up on both splits, and the paper."""
    head = [f"{s.name} MAE ({_unit(s)})" if s.kind == "regression" else f"{s.name} (%)" for s in specs]
    rows = [["", "split", "resize", *head]]
    count = len(metrics["seeds"])
    name = f"{metrics['name']}, {count} seed{'s' if count > 1 else ''}"
    cells = [_cell(s, metrics["targets"][s.name]["mae" if s.kind == "regression" else "accuracy"]) for s in specs]
    rows.append([name, metrics["split"], metrics["resize"], *cells])
    for run in beside:
        values = [run["targets"][s.name]["mae" if s.kind == "regression" else "accuracy"] for s in specs]
        cells = [_cell(s, value) for s, value in zip(specs, values, strict=True)]
        rows.append([f"the same, in {run['path']}", run["split"], run["resize"], *cells])
    for split, values in metrics["baseline_3nn"].items():
        cells = [_cell(s, {"mean": next(iter(values[s.name].values())), "std": 0.0}) for s in specs]
        rows.append(["3 nearest neighbours", split, "bin", *cells])
    paper = PAPER.get(config.case, {})
    if not config.data and set(paper) >= {s.name for s in specs}:
        cells = [_cell(s, {"mean": paper[s.name], "std": 0.0}) for s in specs]
        rows.append(["paper (its own measurement)", "random", "spline", *cells])
    return rows


def markdown(rows: list[list[str]]) -> str:
    """Cells as a Markdown table with aligned columns; the first row is the header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]) + "\n"


def _unit(spec: TargetSpec) -> str:
    return "mV" if spec.unit == "V" else spec.unit or "–"


def _cell(spec: TargetSpec, value: dict[str, float]) -> str:
    factor = 100.0 if spec.kind == "classification" else 1e3 if spec.unit == "V" else 1.0
    mean, deviation = value["mean"] * factor, value["std"] * factor
    return f"{mean:.1f} ± {deviation:.1f}" if deviation else f"{mean:.1f}"


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


def _write_vaw(run: Run, series: PatternSeries, seen: Survey) -> None:
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
        lag=np.float64(vaw.lag),
        raw=vaw.raw.mean(axis=0).astype(np.float32),
        registered=registered.astype(np.float32),
        curves=seen.curves.astype(np.float32),
        targets=np.asarray([spec.name for spec in run.specs]),
    )


def _draw(run: Run, full: PatternSeries, prepared: Prepared, seen: Survey) -> list[Path]:
    """The figures; of long series they show what the kept maps show, evenly spaced patterns."""
    directory, shown = run.path / "figures", prepared.series.subset(seen.kept)
    files = figures_run.save(
        figures_run.patterns_and_curves(full.subset(full.thinned(MOST_MAPS))), directory, "fig1_patterns", write_bytes
    )
    test = np.flatnonzero(np.isin(seen.kept, prepared.test))
    outputs = {name: values[:, seen.kept] for name, values in seen.outputs.items()}
    drawn = figures_run.predictions(shown, test, outputs, run.specs)
    files += figures_run.save(drawn, directory, "fig3_predictions", write_bytes)
    number = 4
    for session, name in enumerate(shown.session_names):
        if (shown.session == session).any():
            drawn = figures_run.vaw_maps(shown, seen.vaw, session)
            files += figures_run.save(drawn, directory, f"fig{number}_vaw_{_plain(name)}", write_bytes)
            number += 1
    shares = {
        window: {key: value["mean"] for key, value in parts.items()}
        for window, parts in _shares(shown, run.axis, seen.overall()).items()
    }
    files += figures_run.save(figures_run.mean_vaw(shown, seen.vaw, shares), directory, "mean_vaw", write_bytes)
    return files


def _plain(name: str) -> str:
    return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
