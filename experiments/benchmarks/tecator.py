"""Fat from near-infrared spectra: the network beside partial least squares and nearest neighbours, on the same rows.

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
from experiments.benchmarks.least_squares import choose_components
from xrd_jax import datasets
from xrd_jax.analysis.neighbours import nearest_indices
from xrd_jax.analysis.run import Run
from xrd_jax.commands.tables import markdown
from xrd_jax.config.overrides import override
from xrd_jax.config.row_ranges import format_row_ranges
from xrd_jax.config.schema import Config
from xrd_jax.preprocessing.prepare import prepare, prepare_inputs
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import fit

EXPERIMENT = Path(__file__).resolve().parents[1] / "nir_tecator.toml"
FOLDS = 4
TRAINING_ROWS, TEST_ROWS = 172, slice(172, 215)
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
    """Return the spectra, and the configuration that the experiment file makes of case 1."""
    base = dataclasses.replace(case1.config(), data=str(EXPERIMENT), data_root=_ROOT.value)
    plain = ["prepare.window_target=", "train.redraw_shift=0", "train.augment=none"]
    base = override(base, [*plain, "train.checkpoint_every=100000"])
    series, _, settings = datasets.load_for(base)
    return series, override(datasets.apply_settings(base, settings), _BASE.value)


def folds() -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows to fit, rows held out) inside the training rows."""
    rows = np.arange(TRAINING_ROWS)
    return [(rows[rows % FOLDS != k], rows[rows % FOLDS == k]) for k in range(FOLDS)]


def root_mean_square(residuals: np.ndarray) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def network(series: PatternSeries, config: Config) -> np.ndarray:
    """Return predictions [S, T] of the test rows, trained without reports or figures."""
    prepared = prepare(series, config.prepare, config.split_seed)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(config, prepared, Path(folder), progress=False)
        return Run.from_training(Path(folder), config, fitted, prepared).predict(series.subset(prepared.test))["fat"]


def cross_validated(series: PatternSeries, config: Config) -> float:
    """Return the RMSE over all training rows, each predicted by the network that did not see it."""
    fat, residuals = series.targets["fat"].values, []
    for train, held_out in folds():
        rows = [f"prepare.train_rows={format_row_ranges(train)}", f"prepare.test_rows={format_row_ranges(held_out)}"]
        residuals.append(network(series, override(dataclasses.replace(config, seeds=1), rows))[0] - fat[held_out])
    return root_mean_square(np.concatenate(residuals))


def _snv(spectra: np.ndarray) -> np.ndarray:
    return (spectra - spectra.mean(axis=1, keepdims=True)) / spectra.std(axis=1, keepdims=True)


def least_squares(series: PatternSeries, config: Config) -> dict[str, dict[str, Any]]:
    """Return scores of partial least squares on the spectra as they are, and on what the network is given.

    Components are chosen by the same folds, then fitted to all training rows.
    """
    from sklearn.cross_decomposition import PLSRegression

    prepared = prepare(series, config.prepare)
    inputs = np.asarray(prepare_inputs(prepared, config.prepare, np.arange(len(series))), np.float64)
    measured = np.asarray(series.intensity)
    kinds = {"as measured": measured, "SNV": _snv(measured), "the network's inputs": inputs}
    fat, results = series.targets["fat"].values, {}
    for name, spectra in kinds.items():
        components, error = choose_components(spectra, fat, folds(), 25, root_mean_square)
        model = PLSRegression(components, scale=False).fit(spectra[prepared.train], fat[prepared.train])
        rmse = root_mean_square(model.predict(spectra[prepared.test]).ravel() - fat[prepared.test])
        results[name] = {"components": components, "cross_validated": error, "rmse": rmse}
    return results


def neighbours(series: PatternSeries, config: Config) -> float:
    """Return the RMSE of the mean of the three nearest training spectra, on the network's inputs."""
    prepared = prepare(series, config.prepare)
    train, test = (
        np.asarray(prepare_inputs(prepared, config.prepare, rows), np.float64)
        for rows in (prepared.train, prepared.test)
    )
    fat = series.targets["fat"].values
    return root_mean_square(fat[prepared.train][nearest_indices(train, test)].mean(axis=1) - fat[prepared.test])


def choose(series: PatternSeries, config: Config) -> dict[str, Any]:
    """Print and return the cross-validated RMSE of every setting."""
    results = {}
    for name in _ONLY.value or SETTINGS:
        started = time.perf_counter()
        results[name] = cross_validated(series, override(config, SETTINGS[name]))
        print(f"{name:20s} {results[name]:.2f}   ({time.perf_counter() - started:.0f} s)", flush=True)
    return results


def compare(series: PatternSeries, config: Config) -> dict[str, Any]:
    """Print and return the RMSE of every method on the test rows."""
    predicted = network(series, dataclasses.replace(config, seeds=_SEEDS.value))
    fat = series.targets["fat"].values[TEST_ROWS]
    per_seed = np.sqrt(((predicted - fat) ** 2).mean(axis=1))
    results: dict[str, Any] = {
        "network": per_seed.tolist(),
        "ensemble": root_mean_square(predicted.mean(axis=0) - fat),
        "pls": least_squares(series, config),
        "neighbours": neighbours(series, config),
    }
    deviation = per_seed.std(ddof=1) if per_seed.size > 1 else 0
    rows = [["RMSE of fat (%), rows 172–214", ""]]
    for name, score in results["pls"].items():
        rows.append([f"PLS, {name}, {score['components']} components", f"{score['rmse']:.2f}"])
    rows.append(["3 nearest neighbours, the network's inputs", f"{results['neighbours']:.2f}"])
    rows.append([f"network, {per_seed.size} seeds", f"{per_seed.mean():.2f} ± {deviation:.2f}"])
    rows.append([f"mean of the {per_seed.size} networks", f"{results['ensemble']:.2f}"])
    print(markdown(rows))
    return results


def main(argv: Sequence[str]) -> None:
    del argv
    series, config = load()
    results = choose(series, config) if _CHOOSE.value else compare(series, config)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
