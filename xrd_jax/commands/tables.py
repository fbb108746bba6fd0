"""Tables for people: Markdown, Table I of the paper with this run in it, and predictions as columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.analysis.intervals import Calibration
from xrd_jax.analysis.metrics import ensemble_values, std_over_seeds
from xrd_jax.config.schema import Config
from xrd_jax.estimators.baselines import LABELS
from xrd_jax.preprocessing.targets import TargetSpec

ROWS_AT_ONCE = 4096  # of predictions.csv: enough to fill them column by column, few enough for the memory
NO_STATEMENT = "no statement"  # instead of an interval, where a pattern is unlike all training patterns
# Table I of Kano, Segi, Ozono (arXiv:2006.01451): case -> voltage MAE in V, accuracies.
PAPER_TABLE_1 = {
    1: {"voltage": 1.47e-2},
    2: {"voltage": 1.86e-2, "mode": 0.97},
    3: {"voltage": 1.89e-2, "mode": 0.98, "rate": 1.00},
}


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return cells as a Markdown table with aligned columns; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]) + "\n"


def table_rows(
    config: Config, specs: Sequence[TargetSpec], metrics: dict[str, Any], other_runs: list[dict[str, Any]]
) -> list[list[str]]:
    """Return Table I's rows: header, this run, the same on other splits, nearest neighbours on both, and the paper."""
    count, estimator = len(metrics["seeds"]), metrics.get("estimator")
    seeds = f"{count} seed{'s' if count > 1 else ''}"
    name = f"{metrics['name']}, {LABELS[estimator['estimator']] if estimator else seeds}"
    rows = [["", "split", "resize", *error_headings(specs)]]
    for label, run in [(name, metrics), *((f"the same, in {run['path']}", run) for run in other_runs)]:
        scores = [run["targets"][s.name]["mae" if s.kind == "regression" else "accuracy"] for s in specs]
        rows.append([label, run["split"], run["resize"], *map(error_cell, specs, scores)])
    for split, targets in metrics["baseline_3nn"].items():
        if split != metrics["split"] or "baselines" not in metrics:
            rows.append(["3 nearest neighbours", split, "bin", *_plain_cells(specs, targets)])
    for baseline, targets in metrics.get("baselines", {}).items():
        rows.append([LABELS.get(baseline, baseline), metrics["split"], "–", *_plain_cells(specs, targets)])
    paper = PAPER_TABLE_1.get(config.case, {})
    if not config.data and set(paper) >= {s.name for s in specs}:
        scores = [{"mean": paper[s.name], "std": 0.0} for s in specs]
        rows.append(["paper (its own measurement)", "random", "spline", *map(error_cell, specs, scores)])
    return rows


def _plain_cells(specs: Sequence[TargetSpec], targets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the cells of a method that has no spread over seeds."""
    kinds = {spec.name: "mae" if spec.kind == "regression" else "accuracy" for spec in specs}
    return [error_cell(spec, {"mean": targets[spec.name][kinds[spec.name]], "std": 0.0}) for spec in specs]


def verdicts(specs: Sequence[TargetSpec], metrics: dict[str, Any]) -> list[str]:
    """Return a line for every target that the network, or the estimator, predicts no better than a constant does."""
    constant, lines = metrics.get("baselines", {}).get("median", {}), []
    who = LABELS[metrics["estimator"]["estimator"]] if "estimator" in metrics else "the network"
    for spec in specs:
        kind, sign = ("mae", 1.0) if spec.kind == "regression" else ("accuracy", -1.0)
        ours, guess = metrics["targets"][spec.name][kind]["mean"], constant.get(spec.name, {}).get(kind)
        if guess is not None and sign * ours >= sign * guess:
            what = "the median of" if spec.kind == "regression" else "the commonest class of"
            lines.append(f"{spec.name} was not learnt: {who} is no better than {what} the training patterns")
    return lines


def error_headings(specs: Sequence[TargetSpec]) -> list[str]:
    """Return the headings of the targets' errors."""
    return [f"{s.name} MAE ({_unit(s)})" if s.kind == "regression" else f"{s.name} (%)" for s in specs]


def runs_on_other_splits(path: Path) -> list[dict[str, Any]]:
    """Return metrics.json (with the directory as "path") of finished runs beside `path` that differ in the split only.

    A random split tests interpolation between neighbours in time; the split by cycle says what is left of it on cycles
    that training never saw. So the one is not shown without the other, once both have been run.
    """
    (split, settings), runs = _split_and_settings(path), []
    for other in sorted(path.resolve().parent.iterdir()):
        other_split, other_settings = _split_and_settings(other)
        if other_settings == settings and other_split != split and (other / "metrics.json").is_file():
            runs.append(json.loads((other / "metrics.json").read_text()) | {"path": other.name})
    return runs


def prediction_headings(spec: TargetSpec) -> list[str]:
    """Return the headings of a target's predictions, as `prediction_columns` gives them."""
    probability = [] if spec.kind == "regression" else [f"{spec.name}_probability"]
    return [f"{spec.name}_predicted", f"{spec.name}_std", *probability]


def prediction_columns(
    spec: TargetSpec, values: Float[np.ndarray, "S T"] | Float[np.ndarray, "S T K"],
    distribution: Float[np.ndarray, "T bins"] | None = None, std_format: str = ".3g",
) -> list[list[str]]:  # fmt: skip
    """Return (value, standard deviation over seeds), or (class, deviation of its probability, probability).

    Args:
      distribution: of a target that is learnt as one, mean over seeds; the value is its median or mean.
    """
    mean, deviation = ensemble_values(spec, values, distribution), std_over_seeds(values)
    if spec.kind == "regression":
        return [[f"{v:.6g}" for v in mean], [f"{v:{std_format}}" for v in deviation]]
    best = np.nan_to_num(mean, nan=-1.0).argmax(axis=1)
    rows = np.arange(len(mean))
    names = [spec.classes[i] if np.isfinite(p) else "nan" for i, p in zip(best, mean[rows, best], strict=True)]
    return [names, [f"{v:{std_format}}" for v in deviation[rows, best]], [f"{v:.4f}" for v in mean[rows, best]]]


def interval_headings(spec: TargetSpec, calibration: Calibration | None) -> list[str]:
    """Return the headings of a target's intervals, as `interval_columns` gives them."""
    is_known = spec.kind == "regression" and calibration is not None
    return [f"{spec.name}_lower", f"{spec.name}_upper"] if is_known else []


def interval_columns(
    spec: TargetSpec, calibration: Calibration | None, outputs: Mapping[str, np.ndarray],
    distribution: Float[np.ndarray, "T bins"] | None, is_unusual: Bool[np.ndarray, " T"] | None = None,
) -> list[list[str]]:  # fmt: skip
    """Return the lower and upper ends of a regression target's intervals, empty where none can be promised.

    Args:
      outputs: of all targets, because a class may have intervals of its own.
      is_unusual: patterns unlike the training, of which nothing is stated.
    """
    if not interval_headings(spec, calibration) or calibration is None:
        return []
    ends = calibration.interval(spec, outputs, {} if distribution is None else {spec.name: distribution})
    if ends is None:
        return [[""] * outputs[spec.name].shape[1]] * 2
    doubt = np.zeros(len(ends[0]), bool) if is_unusual is None else is_unusual
    return [[NO_STATEMENT if no else f"{v:.6g}" for v, no in zip(end, doubt, strict=True)] for end in ends]


def measured_column(spec: TargetSpec, values: np.ndarray) -> list[str]:
    """Return measured values [T] of a target: numbers or the names of classes."""
    return [f"{v:.6g}" if spec.kind == "regression" else spec.classes[int(v)] for v in values]


def _split_and_settings(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the split of the run in `path`, and all else of its configuration; ('', {}) where there is no run."""
    try:
        config = json.loads((path / "config.json").read_text())["config"]
        split = config["prepare"].pop("split")
    except (OSError, json.JSONDecodeError, KeyError):
        return "", {}
    return split, {key: value for key, value in config.items() if key not in ("data", "data_root")}


def _unit(spec: TargetSpec) -> str:
    return "mV" if spec.unit == "V" else spec.unit or "–"


def error_cell(spec: TargetSpec, score: dict[str, float]) -> str:
    """Return the 'mean' ± 'std' of an error in the unit of `error_headings`."""
    factor = 100.0 if spec.kind == "classification" else 1e3 if spec.unit == "V" else 1.0
    mean, deviation = score["mean"] * factor, score["std"] * factor
    return f"{mean:.1f} ± {deviation:.1f}" if deviation else f"{mean:.1f}"
