"""How accurate are the cases, how long do they take, and where does VAW look?

    python -m experiments.benchmarks.accuracy --seeds=0,1,2
    python -m experiments.benchmarks.accuracy --seeds=0,1,2,3,4,5,6,7 --cells=1-random-spline,3-random-spline
    python -m experiments.benchmarks.accuracy --recipe=best --simulations=0,1,2 --runs=runs/accuracy-best

Every row, simulated cell (`--simulations` are seeds of its drifts and photons) and seed is one `launch.py` in a process
of its own, so that the wall time holds everything: imports, simulation, compilation, training, analysis and figures.
Finished runs are read again, not repeated. Prints two tables (accuracy and time; VAW by window) and writes them with
all values as JSON.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from xrd_jax.commands.tables import markdown

ROOT = Path(__file__).resolve().parents[2]
CELLS = ("1-random-spline", "2-random-spline", "3-random-spline", "3-random-bin", "3-cycle-bin")

_CELLS = flags.DEFINE_list("cells", list(CELLS), "case-split-resize[-preset of the cell], comma separated.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds, comma separated.")
_SIMULATIONS = flags.DEFINE_list("simulations", ["0"], "Seeds of the simulated cell, comma separated.")
_RECIPE = flags.DEFINE_string("recipe", "paper", "paper or best.")
_RUNS = flags.DEFINE_string("runs", "runs/accuracy", "Where the run directories go.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results; runs/accuracy/accuracy.json by default.")


def measure(cell: str, simulation: str, seed: str) -> dict[str, Any]:
    """Return metrics.json of one run, with 'total_s': its wall time from command to prompt."""
    case, split, resize, *preset = cell.split("-")
    workdir = Path(_RUNS.value) / cell / (f"seed{seed}" if simulation == "0" else f"cell{simulation}-seed{seed}")
    time_file = workdir / "total_s"
    if not time_file.exists():
        command = [f"--case={case}", f"--split={split}", f"--resize={resize}", f"--seed={seed}", f"--workdir={workdir}"]
        command += [f"--recipe={_RECIPE.value}", f"--set=cell.seed={simulation}"]
        command += [f"--cell={name}" for name in preset]
        started = time.perf_counter()
        subprocess.run([sys.executable, str(ROOT / "launch.py"), *command], check=True)
        time_file.write_text(f"{time.perf_counter() - started:.1f}")
    return json.loads((workdir / "metrics.json").read_text()) | {"total_s": float(time_file.read_text())}


def summary(cell: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over seeds of errors and time; mean and standard deviation of VAW by window and session."""
    result: dict[str, Any] = {"cell": cell, "seeds": [run["seeds"][0] for run in runs]}
    for name, target in runs[0]["targets"].items():
        kind = "mae" if target["kind"] == "regression" else "accuracy"
        values = [run["targets"][name][kind]["mean"] for run in runs]
        result[name] = {"median": statistics.median(values), "per_seed": values}
    totals = [run["total_s"] for run in runs]
    result["total_s"] = {"median": statistics.median(totals), "per_seed": totals}
    for key in ("knn", "likelihood"):
        result[key] = _median_baseline([run["baselines"][key] for run in runs])
    result["vaw"] = {
        session: {
            window: {
                key: _mean_and_std([run["vaw_windows"][session][window][key]["mean"] for run in runs]) for key in parts
            }
            for window, parts in windows.items()
        }
        for session, windows in runs[0]["vaw_windows"].items()
    }
    return result


def _median_baseline(scores: list[dict[str, Any]]) -> dict[str, float]:
    kinds = {name: "mae" if "mae" in score else "accuracy" for name, score in scores[0].items()}
    return {name: statistics.median([score[name][kind] for score in scores]) for name, kind in kinds.items()}


def _scores_text(scores: dict[str, float]) -> str:
    """Return 'mV / mode / rate', with a dash for what a case does not have."""
    rest = [f"{100 * scores[name]:.1f}" if name in scores else "–" for name in ("mode", "rate")]
    return " / ".join([f"{1e3 * scores['voltage']:.1f}", *rest])


def _mean_and_std(given: list[float | None]) -> dict[str, float]:
    """Return mean and standard deviation; NaN for a window that no value of VAW lies in."""
    values = [value for value in given if value is not None] or [math.nan]
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}


def _text(value: dict[str, float], seeds: int) -> str:
    if math.isnan(value["mean"]):
        return "–"
    return f"{value['mean']:.2f} ± {value['std']:.2f}" if seeds > 1 else f"{value['mean']:.2f}"


def accuracy_table(results: list[dict[str, Any]]) -> str:
    """Return medians of errors and wall time, with 3 nearest neighbours beside them, as Markdown."""
    rows = [["case", "split, resize", "runs", "voltage MAE (mV)", "mode (%)", "rate (%)", "wall time (s)",
             "3-NN: mV / mode / rate", "likelihood: the same"]]  # fmt: skip
    for result in results:
        case, split, *others = result["cell"].split("-")
        row = [case, ", ".join([split, *others]), str(len(result["seeds"])), f"{1e3 * result['voltage']['median']:.1f}"]
        row += [f"{100 * result[n]['median']:.1f}" if n in result else "–" for n in ("mode", "rate")]
        neighbours, likelihood = (_scores_text(result[key]) for key in ("knn", "likelihood"))
        rows.append([*row, f"{result['total_s']['median']:.0f}", neighbours, likelihood])
    return markdown(rows)


def vaw_table(results: list[dict[str, Any]]) -> str:
    """Return the mean height of VAW by window and session as Markdown."""
    windows = list(next(iter(results[0]["vaw"].values())))
    rows = [["case, split, resize", "rate", *windows]]
    for result in results:
        for session, values in result["vaw"].items():
            heights = [_text(values[window]["mean"], len(result["seeds"])) for window in windows]
            rows.append([result["cell"].replace("-", ", "), session, *heights])
    return markdown(rows)


def main(argv: Sequence[str]) -> None:
    del argv
    # Seed by seed, so that an interrupted benchmark has something of every cell.
    draws = [(simulation, seed) for simulation in _SIMULATIONS.value for seed in _SEEDS.value]
    runs = {(cell, *draw): measure(cell, *draw) for draw in draws for cell in _CELLS.value}
    results = [summary(cell, [runs[cell, *draw] for draw in draws]) for cell in _CELLS.value]
    json_file = Path(_JSON.value or Path(_RUNS.value) / "accuracy.json")
    json_file.write_text(json.dumps(results, indent=1) + "\n")
    print("\nMedians over simulated cells and seeds:\n")
    print(accuracy_table(results))
    print("\nMean height of VAW (0–1) in named windows, mean ± standard deviation over seeds:\n")
    print(vaw_table(results))


if __name__ == "__main__":
    app.run(main)
