"""A measured cell: the network beside partial least squares and nearest neighbours, on splits from easy to honest.

    python -m experiments.benchmarks.operando --data_root=DIR --json=docs/benchmarks/operando.json

502 laboratory patterns over two and a half half cycles (`experiments/operando_xrd_mo.toml`). Voltage is learnt together
with charging state, as case 2 does, and capacity by itself. Splits: random halves, alternating blocks of time, and each
half cycle left out in turn. The settings are those of the experiment file, chosen on the random split of voltage.
Partial least squares takes the network's own inputs, and its components from five contiguous folds of the training
patterns. Two rules that see no pattern: a straight line in time between the training patterns before and after, and the
training patterns' median.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments import case2
from experiments.benchmarks.least_squares import choose_components
from xrd_jax import datasets
from xrd_jax.analysis.neighbours import nearest_indices
from xrd_jax.analysis.run import Run
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import Prepared, prepare, prepare_inputs
from xrd_jax.runtime import compilation
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import fit

EXPERIMENT = Path(__file__).resolve().parents[1] / "operando_xrd_mo.toml"
SPLITS = {
    "random halves": ["prepare.split=random"],
    "blocks of time": ["prepare.split=block"],
    "first charge left out": ["prepare.split=half_cycle", "prepare.half_cycle=0"],
    "discharge left out": ["prepare.split=half_cycle", "prepare.half_cycle=1"],
    "last charge left out": ["prepare.split=half_cycle", "prepare.half_cycle=2"],
}
TARGETS = {"voltage": "voltage,mode", "capacity": "capacity"}
UNITS = {"voltage": (1e3, "mV"), "capacity": (1e3, "µAh")}

_ROOT = flags.DEFINE_string("data_root", "", "The folder that holds operando-xrd-mo; else $XRD_JAX_DATA.")
_ONLY = flags.DEFINE_list("only", [], "Only these splits, by name.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Networks per row of the table.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")


def load() -> tuple[PatternSeries, Config]:
    """Return the patterns, and the configuration that the experiment file makes of case 2."""
    base = dataclasses.replace(case2.config(), data=str(EXPERIMENT), data_root=_ROOT.value, seeds=_SEEDS.value)
    base = override(base, ["prepare.window_target=", "train.redraw_shift=0", "train.augment=none"])
    series, _, settings = datasets.load_for(base)
    return series, override(datasets.apply_settings(base, settings), ["train.checkpoint_every=100000"])


def network(config: Config, prepared: Prepared) -> dict[str, np.ndarray]:
    """Return target -> [S, T] predictions or [S, T, K] probabilities of the test set, seed after seed."""
    test, predictions = prepared.series.subset(prepared.test), []
    for seed in config.seed_list():
        seed_config = dataclasses.replace(config, seed=seed, seeds=1)
        with tempfile.TemporaryDirectory() as folder:
            fitted = fit(seed_config, prepared, Path(folder), progress=False)
            predictions.append(Run.from_training(Path(folder), seed_config, fitted, prepared).predict(test))
    return {name: np.concatenate([outputs[name] for outputs in predictions]) for name in predictions[0]}


def mean_absolute(residuals: np.ndarray) -> float:
    return float(np.abs(residuals).mean())


def least_squares(train: np.ndarray, test: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Return predictions of the test set by partial least squares, and its components.

    Args:
      train, test: inputs [T, L]; values: of `train`.
    """
    from sklearn.cross_decomposition import PLSRegression

    rows = np.arange(len(train))
    folds = [(np.setdiff1d(rows, fold), fold) for fold in np.array_split(rows, 5)]
    components, _ = choose_components(train, values, folds, 20, mean_absolute)
    return PLSRegression(components, scale=False).fit(train, values).predict(test).ravel(), components


def between_in_time(prepared: Prepared, values: np.ndarray) -> np.ndarray:
    """Return values [T] of the test set on straight lines in time between training patterns of one session."""
    time, train, test = prepared.series.time, prepared.train, prepared.test
    return np.interp(time[test], time[train], values[train])


def compare(series: PatternSeries, config: Config, target: str) -> dict[str, Any]:
    """Return mean absolute errors of every method, and accuracies of the charging state where it is learnt."""
    prepared = prepare(series, config.prepare, config.split_seed)
    train, test = (
        np.asarray(prepare_inputs(prepared, config.prepare, rows), np.float64)
        for rows in (prepared.train, prepared.test)
    )
    values = prepared.series.targets[target].values
    train_values, test_values = values[prepared.train], values[prepared.test]
    predicted = network(config, prepared)
    linear, components = least_squares(train, test, train_values)
    neighbours = nearest_indices(train, test)
    row: dict[str, Any] = {
        "n_train": prepared.train.size,
        "n_test": prepared.test.size,
        "network": np.abs(predicted[target] - test_values).mean(axis=1).tolist(),
        "ensemble": mean_absolute(predicted[target].mean(axis=0) - test_values),
        "pls": mean_absolute(linear - test_values),
        "pls_components": components,
        "neighbours": mean_absolute(train_values[neighbours].mean(axis=1) - test_values),
        "line_in_time": mean_absolute(between_in_time(prepared, values) - test_values),
        "constant": mean_absolute(np.median(train_values) - test_values),
    }
    if "mode" in predicted:
        mode = prepared.series.targets["mode"].values
        classes = range(predicted["mode"].shape[-1])
        votes = np.stack([(mode[prepared.train][neighbours] == k).sum(axis=1) for k in classes], axis=1)
        row["mode"] = (predicted["mode"].argmax(axis=-1) == mode[prepared.test]).mean(axis=1).tolist()
        row["mode_neighbours"] = float((votes.argmax(axis=1) == mode[prepared.test]).mean())
    return row


def line(target: str, split: str, row: dict[str, Any]) -> str:
    """Return a row of the printed table, which appears row by row."""
    scale, unit = UNITS[target]
    errors = scale * np.array(row["network"])
    text = f"{errors.mean():.0f} ± {errors.std(ddof=1):.0f}" if errors.size > 1 else f"{errors.mean():.0f}"
    state = f"{100 * np.mean(row['mode']):.0f} / {100 * row['mode_neighbours']:.0f}" if "mode" in row else "–"
    cells = [f"{target} ({unit})", split, f"{row['n_train']} / {row['n_test']}", text]
    cells += [f"{scale * row[k]:.0f}" for k in ("ensemble", "pls", "neighbours", "line_in_time", "constant")]
    return "| " + " | ".join([*cells, state]) + " |"


def main(argv: Sequence[str]) -> None:
    del argv
    compilation.enable_compilation_cache()  # seeds of one split share their programs
    series, config = load()
    results: dict[str, dict[str, Any]] = {target: {} for target in TARGETS}
    heads = ["target", "split", "trained / tested", "network", "mean of networks", "PLS", "3-NN", "line in time"]
    heads.append("constant")
    print("| " + " | ".join([*heads, "state: network / 3-NN (%)"]) + " |\n|" + "---|" * 10, flush=True)
    for target, names in TARGETS.items():
        for split in _ONLY.value or SPLITS:
            settings = SPLITS[split]
            chosen = override(config, [f"targets={names}", *settings])
            try:
                row = compare(series, chosen, target)
            except UserError as error:
                print(f"| {target} | {split} | {error} |" + " |" * 7, flush=True)
                continue
            results[target][split] = row
            print(line(target, split, row), flush=True)
            if _JSON.value:  # row by row: the whole table takes a while
                Path(_JSON.value).parent.mkdir(parents=True, exist_ok=True)
                Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
