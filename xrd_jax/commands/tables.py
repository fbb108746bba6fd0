"""Tables for people: Table I as Markdown, predictions as columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xrd_jax.config.schema import Config
from xrd_jax.preprocessing.targets import TargetSpec

# Table I of Kano, Segi, Ozono (arXiv:2006.01451): voltage MAE in V, accuracies.
PAPER = {
    1: {"voltage": 1.47e-2},
    2: {"voltage": 1.86e-2, "mode": 0.97},
    3: {"voltage": 1.89e-2, "mode": 0.98, "rate": 1.00},
}


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
