"""Is VAW faithful? Where, for which target, and what should be used instead?

    python -m experiments.truth --cells=3-bin-paper,3-bin-faithful --seeds=16
    python -m experiments.truth --cells=1-spline-paper,1-bin-paper,2-spline-paper,2-bin-paper,3-spline-paper,3-bin-paper

Every cell is a case, a resizing and an attention, trained on the simulated cell with a decoy: a peak that wanders at
random and carries nothing. Its networks are trained by one `launch.py` and explained by another with `--mode=explain`;
finished parts are read again, not repeated. Prints the accuracies and, for every cell, target and map, its scores
against the known information beside its controls, and writes them as JSON and markdown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

ROOT = Path(__file__).resolve().parents[1]
SCORES = {
    "auprc_decoy": "AUPRC", "auprc_seed_std": "± seeds", "auprc_untrained": "untrained",
    "mass_in_truth": "mass in truth",
    "decoy_mass": "on decoy", "spearman_shapley": "ρ Shapley", "stability": "stability", "deletion_auc": "deletion",
}  # fmt: skip

_CELLS = flags.DEFINE_list("cells", ["3-bin-paper", "3-bin-faithful"], "case-resize-attention, comma separated.")
_SEEDS = flags.DEFINE_integer("seeds", 16, "Networks per cell.")
_RUNS = flags.DEFINE_string("runs", "runs/truth", "Where the run directories go.")
_METHODS = flags.DEFINE_string("methods", "", "Explanations, comma separated; all of them if empty.")


def run(cell: str) -> Path:
    """The run directory of a cell, trained and explained."""
    case, resize, attention = cell.split("-")
    workdir = Path(_RUNS.value) / cell
    own = [f"--case={case}", f"--resize={resize}", f"--attention={attention}", f"--seeds={_SEEDS.value}"]
    if not (workdir / "metrics.json").exists():
        command = [sys.executable, str(ROOT / "launch.py"), *own, "--set", "cell.decoy=true", f"--workdir={workdir}"]
        subprocess.run(command, check=True)
    if not (workdir / "explain.json").exists():
        chosen = [f"--methods={_METHODS.value}"] if _METHODS.value else []
        command = [sys.executable, str(ROOT / "launch.py"), "--mode=explain", f"--workdir={workdir}", *chosen]
        subprocess.run(command, check=True)
    return workdir


def accuracy(cell: str, metrics: dict[str, Any]) -> str:
    """A row of the table of accuracies: mean and standard deviation over seeds."""
    cells = [cell]
    for name in ("voltage", "mode", "rate"):
        found = metrics["targets"].get(name)
        if found is None:
            cells.append("–")
            continue
        scale, kind = (1e3, "mae") if found["kind"] == "regression" else (1e2, "accuracy")
        cells.append(f"{scale * found[kind]['mean']:.1f} ± {scale * found[kind]['std']:.1f}")
    return "| " + " | ".join(cells) + " |"


def table(explained: dict[str, Any]) -> str:
    """A row per target and map."""
    lines = ["| target | map | " + " | ".join(SCORES.values()) + " | verdict |", "|" + "---|" * (len(SCORES) + 3)]
    for target, found in explained["targets"].items():
        for method, scores in found["methods"].items():
            shown = ["–" if scores.get(name) is None else f"{scores[name]:.2f}" for name in SCORES]
            lines.append(f"| {target} | {method} | " + " | ".join(shown) + f" | {scores['verdict']} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    del argv
    rows, parts, record = [], [], {}
    for cell in _CELLS.value:
        workdir = run(cell)
        metrics = json.loads((workdir / "metrics.json").read_text())
        explained = json.loads((workdir / "explain.json").read_text())
        rows.append(accuracy(cell, metrics))
        parts.append(f"**{cell}**, {explained['seeds']} seeds, {explained['patterns']} patterns\n\n{table(explained)}")
        record[cell] = {"targets": metrics["targets"], "explained": explained}
    head = ["| cell | voltage MAE (mV) | mode (%) | rate (%) |", "|---|---|---|---|"]
    text = "\n\n".join(["\n".join([*head, *rows]), *parts])
    print(text)
    (Path(_RUNS.value) / "truth.md").write_text(text + "\n")
    (Path(_RUNS.value) / "truth.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
