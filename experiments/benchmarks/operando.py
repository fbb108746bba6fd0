"""A measured cell: the network beside partial least squares and a look-up, on splits from easy to honest.

    python -m experiments.benchmarks.operando --data_root=DIR --json=docs/benchmarks/operando.json

502 laboratory patterns over two and a half half cycles (`experiments/operando_xrd_mo.toml`). Voltage is learnt together
with charging state, as case 2 does, and capacity by itself. Splits: random halves, alternating blocks of time, and each
half cycle left out in turn. The settings are those of the experiment file, chosen on the random split of voltage; none
is chosen here. Partial least squares takes the network's own inputs, and its number of components from five contiguous
folds of the training patterns; the look-up averages the three nearest of them. Two rules that see no pattern stand
beside: a straight line in time between the training patterns before and after, and the training patterns' median.
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
from xrd_jax import datasets
from xrd_jax.analysis.run import Run
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import Prepared, inputs, prepare
from xrd_jax.runtime import compilation
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import fit as training

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
    """The patterns, and the configuration that the experiment file makes of case 2."""
    base = dataclasses.replace(case2.config(), data=str(EXPERIMENT), data_root=_ROOT.value, seeds=_SEEDS.value)
    base = override(base, ["prepare.window_target=", "train.redraw_shift=0", "train.augment=none"])
    series, _, settings = datasets.load_for(base)
    return series, override(datasets.apply_settings(base, settings), ["train.checkpoint_every=100000"])


def network(config: Config, prepared: Prepared) -> dict[str, np.ndarray]:
    """target -> [S, n] predictions or [S, n, K] probabilities of the verification patterns, seed after seed."""
    verified, said = prepared.series.subset(prepared.test), []
    for seed in config.seed_list():
        own = dataclasses.replace(config, seed=seed, seeds=1)
        with tempfile.TemporaryDirectory() as folder:
            fitted = training.fit(own, prepared, Path(folder), progress=False)
            run = Run(Path(folder), own, fitted.specs, prepared.statistics, fitted.model, fitted.variables)
            said.append(run.predict(verified))
    return {name: np.concatenate([one[name] for one in said]) for name in said[0]}


def least_squares(given: tuple[np.ndarray, np.ndarray], truth: np.ndarray) -> tuple[np.ndarray, int]:
    """Predictions of the verification patterns by partial least squares, and its components."""
    from sklearn.cross_decomposition import PLSRegression

    train, test = given
    rows, scores = np.arange(len(train)), {}
    for components in range(1, 21):
        errors = []
        for fold in np.array_split(rows, 5):
            others = np.setdiff1d(rows, fold)
            model = PLSRegression(components, scale=False).fit(train[others], truth[others])
            errors.append(np.abs(model.predict(train[fold]).ravel() - truth[fold]))
        scores[components] = float(np.concatenate(errors).mean())
    best = min(scores, key=scores.__getitem__)
    return PLSRegression(best, scale=False).fit(train, truth).predict(test).ravel(), best


def nearest(given: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """[n, 3] indices of the training patterns nearest to every verification pattern."""
    train, test = given
    return np.argsort(((test[:, None, :] - train[None, :, :]) ** 2).sum(axis=-1), axis=1)[:, :3]


def between(prepared: Prepared, values: np.ndarray) -> np.ndarray:
    """[n] values of the verification patterns on straight lines in time between training patterns of one session."""
    time, train, test = prepared.series.time, prepared.train, prepared.test
    return np.interp(time[test], time[train], values[train])


def compare(series: PatternSeries, config: Config, target: str) -> dict[str, Any]:
    """Mean absolute errors of every method on one target and split, and accuracies of the state where it is learnt."""
    prepared = prepare(series, config.prepare, config.split_seed)
    given = [np.asarray(inputs(prepared, config.prepare, rows), np.float64) for rows in (prepared.train, prepared.test)]
    values = prepared.series.targets[target].values
    truth, asked = values[prepared.train], values[prepared.test]
    said = network(config, prepared)
    linear, components = least_squares((given[0], given[1]), truth)
    near = nearest((given[0], given[1]))
    row: dict[str, Any] = {
        "n_train": prepared.train.size,
        "n_test": prepared.test.size,
        "network": np.abs(said[target] - asked).mean(axis=1).tolist(),
        "ensemble": float(np.abs(said[target].mean(axis=0) - asked).mean()),
        "pls": float(np.abs(linear - asked).mean()),
        "pls_components": components,
        "neighbours": float(np.abs(truth[near].mean(axis=1) - asked).mean()),
        "line_in_time": float(np.abs(between(prepared, values) - asked).mean()),
        "constant": float(np.abs(np.median(truth) - asked).mean()),
    }
    if "mode" in said:
        mode = prepared.series.targets["mode"].values
        votes = np.stack([(mode[prepared.train][near] == k).sum(axis=1) for k in range(said["mode"].shape[-1])], axis=1)
        row["mode"] = (said["mode"].argmax(axis=-1) == mode[prepared.test]).mean(axis=1).tolist()
        row["mode_neighbours"] = float((votes.argmax(axis=1) == mode[prepared.test]).mean())
    return row


def line(target: str, split: str, row: dict[str, Any]) -> str:
    scale, unit = UNITS[target]
    each = scale * np.array(row["network"])
    spread = f"{each.mean():.0f} ± {each.std(ddof=1):.0f}" if each.size > 1 else f"{each.mean():.0f}"
    state = f"{100 * np.mean(row['mode']):.0f} / {100 * row['mode_neighbours']:.0f}" if "mode" in row else "–"
    cells = [f"{target} ({unit})", split, f"{row['n_train']} / {row['n_test']}", spread]
    cells += [f"{scale * row[k]:.0f}" for k in ("ensemble", "pls", "neighbours", "line_in_time", "constant")]
    return "| " + " | ".join([*cells, state]) + " |"


def main(argv: Sequence[str]) -> None:
    del argv
    compilation.enable_compilation_cache()  # seeds of one split share their programs
    series, config = load()
    results: dict[str, dict[str, Any]] = {target: {} for target in TARGETS}
    heads = ["target", "split", "trained / verified", "network", "mean of networks", "PLS", "3-NN", "line in time"]
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
