"""What is unlike the training patterns: which share of changed patterns do the two measures see?

    python -m experiments.benchmarks.novelty
    python -m experiments.benchmarks.novelty --split=random --resize=bin --calibration=0.1

The simulated cell, V ≥ 3.6 V. No network is trained: only the preparation of one is needed. Foreign peaks are as narrow
as the others; their heights are shares of the strongest mean peak above the median. Prints percent of 500 patterns that
exceed the threshold of the distance, of the residual, of T², and of distance or residual. A minute on two cores.
"""

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import app, flags

from xrd_jax.analysis import novelty
from xrd_jax.analysis.run import Run
from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.files import write_json, write_npz
from xrd_jax.models import Model
from xrd_jax.physics.simulate import simulate
from xrd_jax.preprocessing.prepare import Prepared, prepare
from xrd_jax.series.record import PatternSeries

PATTERNS = 500
PEAK_WIDTH = 0.17  # degrees, full width at half maximum
# Where no peak is, twice; on a weak one; on two that move with the voltage; on the strongest.
PLACES = {
    "no peak": 31.0,
    "no peak, low angle": 14.5,
    "NMC 101": 36.9,
    "NMC 003": 18.7,
    "graphite": 26.4,
    "Al 111": 38.5,
}
SHARES = (0.01, 0.02, 0.05, 0.10)

_SPLIT = flags.DEFINE_string("split", "cycle", "As prepare.split.")
_RESIZE = flags.DEFINE_string("resize", "spline", "As prepare.resize.")
_SCALE = flags.DEFINE_string("scale", "pattern", "As prepare.scale.")
_CALIBRATION = flags.DEFINE_float("calibration", 0.0, "As prepare.calibration; 0: thresholds from the test set.")


def some(series: PatternSeries) -> np.ndarray:
    """Return evenly spaced patterns of the window that is analysed."""
    rows = np.flatnonzero(series.targets["voltage"].values >= 3.6)
    return np.asarray(series.intensity[rows[np.linspace(0, rows.size - 1, PATTERNS).round().astype(int)]])


def changed_patterns(full: PatternSeries, prepared: Prepared) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and patterns [B, N]."""
    axis, random = full.axis.values, np.random.default_rng(2)
    rows = prepared.test[np.linspace(0, prepared.test.size - 1, PATTERNS).round().astype(int)]
    test = np.asarray(prepared.series.intensity[rows])
    yield "held out, unchanged", test
    mean = test.mean(axis=0)
    for place, position in PLACES.items():
        for share in SHARES:
            height = share * (mean.max() - np.median(mean))
            peak = height * np.exp2(-((2 * (axis - position) / PEAK_WIDTH) ** 2))
            yield f"foreign peak {100 * share:g} %, {place}", test + random.poisson(np.broadcast_to(peak, test.shape))
    yield "zero offset 0.02°", np.stack([np.interp(axis - 0.02, axis, pattern) for pattern in test])
    yield "a third of the photons", random.binomial(test, 1 / 3)
    below = np.flatnonzero(full.targets["voltage"].values < 3.55)
    yield "voltages below the window", np.asarray(full.intensity[below[:: max(1, below.size // PATTERNS)]])
    yield "another cell, the same kind", some(simulate(Cell(seed=1)))
    yield "another cathode (NMC622)", some(simulate(PRESETS["nmc622"]))


def main(_: list[str]) -> None:
    full = simulate(Cell())
    config = PrepareConfig(window_target="voltage", window_low=3.6, calibration=_CALIBRATION.value)
    config = dataclasses.replace(config, split=_SPLIT.value, resize=_RESIZE.value, scale=_SCALE.value)
    prepared = prepare(full, config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        write_json(path / "config.json", {})
        write_npz(path / "preparation.npz", **prepared.statistics._asdict())
        model = Model(lambda key: {}, lambda variables, x: ({}, {}), lambda *_: ({}, {}, {}), 0.0)
        run = Run(path, Config(prepare=config), (), prepared.statistics, model, {})
        reference = novelty.save(run, prepared)
    print(f"{reference.model.components.shape[1]} components\n" if reference.model else "")
    print("| patterns | distance | residual | T² | distance or residual |\n|---|---|---|---|---|")
    for name, patterns in changed_patterns(full, prepared):
        distance = reference.distances(run, patterns.astype(np.float32))
        residual, score = reference.residuals(patterns), reference.score_distances(patterns)
        flags_of = (distance > 1, residual > 1, score > 1, novelty.is_unusual(distance, residual))
        print(f"| {name} | " + " | ".join(f"{100 * np.mean(flag):.1f}" for flag in flags_of) + " |", flush=True)


if __name__ == "__main__":
    app.run(main)
