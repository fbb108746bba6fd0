"""Fat from near-infrared spectra: the network beside partial least squares and a look-up, all on the same rows.

    python -m experiments.benchmarks.tecator --data_root=DIR                  the comparison on rows 172 to 214
    python -m experiments.benchmarks.tecator --data_root=DIR --choose         how its settings were chosen

Settings are chosen by four-fold cross-validation inside the 172 training rows (interleaved folds, one seed each); the
43 test rows are seen by the final comparison only. Partial least squares chooses its components and its own
preprocessing inside the same folds.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments import case1
from xrd_jax import datasets
from xrd_jax.analysis.run import Run
from xrd_jax.config.overrides import override
from xrd_jax.config.row_ranges import spans
from xrd_jax.config.schema import Config
from xrd_jax.preprocessing.prepare import inputs, prepare
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import fit as training

EXPERIMENT = Path(__file__).resolve().parents[1] / "nir_tecator.toml"
FOLDS = 4
SETTINGS: dict[str, list[str]] = {
    "as in the file": [],
    "no derivative": ["prepare.savgol=0", "prepare.derivative=0"],
    "first derivative": ["prepare.derivative=1"],
    "no SNV": ["prepare.scale=none"],
    "window 7": ["prepare.savgol=7"],
    "window 15": ["prepare.savgol=15"],
    "rate 1e-2": ["train.learning_rate=1e-2"],
    "rate 1e-3": ["train.learning_rate=1e-3"],
    "squared loss": ["train.regression_loss=squared"],
    "batches of 16": ["train.batch_size=16"],
    "twice as long": ["train.epochs=300"],
    "ten layers": ["model.depth=10", "model.query_layer=6", "model.key_layer=10", "model.norm_layer=7"],
    "no batch norm": ["model.norm_layer=0"],
    "dropout 0.1": ["model.dropout=0.1"],
    "mean pooling": ["model.pooling=mean"],
    "scaled attention": ["model.scaled=true"],
}

_ROOT = flags.DEFINE_string("data_root", "", "The folder that holds nir-tecator; else $XRD_JAX_DATA.")
_SEEDS = flags.DEFINE_integer("seeds", 5, "Networks in the comparison.")
_CHOOSE = flags.DEFINE_bool("choose", False, "Cross-validate settings instead of comparing.")
_ONLY = flags.DEFINE_list("only", [], "With --choose: only these settings.")
_BASE = flags.DEFINE_multi_string("base", [], "key=value applied before the setting. Repeatable.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")


def load() -> tuple[PatternSeries, Config]:
    """The spectra, and the configuration that the experiment file makes of case 1."""
    base = dataclasses.replace(case1.config(), data=str(EXPERIMENT), data_root=_ROOT.value)
    plain = ["prepare.window_target=", "train.redraw_shift=0", "train.augment=none"]
    base = override(base, [*plain, "train.checkpoint_every=100000"])
    series, _, settings = datasets.load_for(base)
    return series, override(datasets.apply_settings(base, settings), _BASE.value)


def folds(config: Config) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, verify) rows inside the training rows."""
    rows = np.arange(172)
    return [(rows[rows % FOLDS != k], rows[rows % FOLDS == k]) for k in range(FOLDS)]


def network(series: PatternSeries, config: Config) -> np.ndarray:
    """[S, n] predictions of the verification rows, trained without reports or figures."""
    prepared = prepare(series, config.prepare, config.split_seed)
    with tempfile.TemporaryDirectory() as folder:
        fitted = training.fit(config, prepared, Path(folder), progress=False)
        run = Run(Path(folder), config, fitted.specs, prepared.statistics, fitted.model, fitted.variables)
        return run.predict(series.subset(prepared.test))["fat"]


def cross_validated(series: PatternSeries, config: Config) -> float:
    """RMSE over all training rows, each predicted by the network that did not see it."""
    truth, errors = series.targets["fat"].values, []
    for train, verify in folds(config):
        asked = [f"prepare.train_rows={spans(train)}", f"prepare.test_rows={spans(verify)}"]
        errors.append(network(series, override(dataclasses.replace(config, seeds=1), asked))[0] - truth[verify])
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def _snv(spectra: np.ndarray) -> np.ndarray:
    return (spectra - spectra.mean(axis=1, keepdims=True)) / spectra.std(axis=1, keepdims=True)


def least_squares(series: PatternSeries, config: Config) -> dict[str, dict[str, Any]]:
    """Partial least squares on the spectra as they are, and on what the network is given.

    Components are chosen by the same folds, then fitted to all training rows.
    """
    from sklearn.cross_decomposition import PLSRegression

    prepared = prepare(series, config.prepare)
    whole = np.asarray(inputs(prepared, config.prepare, np.arange(len(series))), np.float64)
    kinds = {"as measured": series.intensity, "SNV": _snv(np.asarray(series.intensity)), "the network's inputs": whole}
    truth, results = series.targets["fat"].values, {}
    for name, spectra in kinds.items():
        scores = {}
        for components in range(1, 26):
            errors = []
            for train, verify in folds(config):
                model = PLSRegression(components, scale=False).fit(spectra[train], truth[train])
                errors.append(model.predict(spectra[verify]).ravel() - truth[verify])
            scores[components] = float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
        best = min(scores, key=scores.__getitem__)
        model = PLSRegression(best, scale=False).fit(spectra[prepared.train], truth[prepared.train])
        error = model.predict(spectra[prepared.test]).ravel() - truth[prepared.test]
        results[name] = {"components": best, "cross_validated": scores[best], "rmse": float(np.sqrt(np.mean(error**2)))}
    return results


def neighbours(series: PatternSeries, config: Config) -> float:
    """RMSE of the mean of the three nearest training spectra, on the network's inputs."""
    prepared = prepare(series, config.prepare)
    near = [np.asarray(inputs(prepared, config.prepare, rows), np.float64) for rows in (prepared.train, prepared.test)]
    distance = ((near[1][:, None, :] - near[0][None, :, :]) ** 2).sum(axis=-1)
    truth = series.targets["fat"].values
    guess = truth[prepared.train][np.argsort(distance, axis=1)[:, :3]].mean(axis=1)
    return float(np.sqrt(np.mean((guess - truth[prepared.test]) ** 2)))


def choose(series: PatternSeries, config: Config) -> dict[str, Any]:
    results = {}
    for name in _ONLY.value or SETTINGS:
        begun = time.perf_counter()
        results[name] = cross_validated(series, override(config, SETTINGS[name]))
        print(f"{name:20s} {results[name]:.2f}   ({time.perf_counter() - begun:.0f} s)", flush=True)
    return results


def compare(series: PatternSeries, config: Config) -> dict[str, Any]:
    config = dataclasses.replace(config, seeds=_SEEDS.value)
    predicted = network(series, config)
    truth = series.targets["fat"].values[172:215]
    each = np.sqrt(((predicted - truth) ** 2).mean(axis=1))
    together = float(np.sqrt(((predicted.mean(axis=0) - truth) ** 2).mean()))
    results: dict[str, Any] = {"network": each.tolist(), "ensemble": together}
    print("| RMSE of fat (%), rows 172–214 | |\n|---|---|")
    for name, score in (found := least_squares(series, config)).items():
        print(f"| PLS, {name}, {score['components']} components | {score['rmse']:.2f} |")
    results["pls"] = found
    results["neighbours"] = neighbours(series, config)
    print(f"| 3 nearest neighbours, the network's inputs | {results['neighbours']:.2f} |")
    print(f"| network, {len(each)} seeds | {each.mean():.2f} ± {each.std(ddof=1) if each.size > 1 else 0:.2f} |")
    print(f"| mean of the {len(each)} networks | {together:.2f} |")
    return results


def main(argv: Sequence[str]) -> None:
    del argv
    series, config = load()
    results = choose(series, config) if _CHOOSE.value else compare(series, config)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
