"""How long do all explanations of many patterns by many networks take, and VAW alone?

    python -m experiments.benchmarks.explaining --json=docs/benchmarks/explaining-cpu.json

Every pattern of the simulated cell at both rates, networks of case 3 on 256 bins before their first step (what they
have learnt does not change the time), all targets. Methods that need tens of passes explain evenly spaced patterns, as
`accumulate.collect` does by default. Compilation is part of every figure: each group of methods runs once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

from experiments import case3
from experiments.benchmarks.contest import machine
from xrd_jax.analysis.run import Run
from xrd_jax.config.overrides import override
from xrd_jax.explain.accumulate import COSTLY_PATTERNS, collect
from xrd_jax.explain.methods import COSTLY_METHODS, available_methods
from xrd_jax.physics.simulate import simulate
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.runtime import devices, process
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import make_model

_PATTERNS = flags.DEFINE_integer("patterns", 8000, "Patterns of the simulated cell, evenly spaced.")
_SEEDS = flags.DEFINE_integer("seeds", 8, "Networks.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")


def untrained_run(seeds: int) -> tuple[Run, PatternSeries]:
    """Return a run of case 3 with new networks, and the patterns of its cell."""
    config = override(case3.config(), ["prepare.resize=bin", f"seeds={seeds}"])
    series = simulate(config.cell)
    prepared = prepare(series, config.prepare)
    model, specs = make_model(config, prepared)
    per_seed = [jax.jit(model.init)(jax.random.key(seed)) for seed in config.seed_list()]
    variables = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_seed)
    return Run(Path(), config, specs, prepared.statistics, model, variables), series


def main(argv: Sequence[str]) -> None:
    del argv
    devices.emulate(process.cores())
    run, series = untrained_run(_SEEDS.value)
    series = series.subset(series.thinned(_PATTERNS.value))
    costly_count = len(series.thinned(COSTLY_PATTERNS))
    available = available_methods(run)
    groups = {
        "VAW alone": (("vaw",), len(series)),
        "all methods of few passes": (tuple(m for m in available if m not in COSTLY_METHODS), len(series)),
        "all methods of many passes": (tuple(m for m in available if m in COSTLY_METHODS), costly_count),
    }
    targets = len(run.specs)
    record: dict[str, Any] = {"machine": machine(), "patterns": len(series), "seeds": _SEEDS.value, "targets": targets}
    print(f"{len(series)} patterns, {_SEEDS.value} networks, {targets} targets\n\n| what | patterns | time (s) |")
    print("|---|---|---|")
    for name, (methods, count) in groups.items():
        begun = time.perf_counter()
        collect(run, series, methods)
        record[name] = round(time.perf_counter() - begun, 1)
        print(f"| {name} | {count} | {record[name]:.1f} |", flush=True)
    total = sum(record[name] for name in list(groups)[1:])
    print(f"| all explanations | | {total:.1f} |")
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(record | {"all explanations": round(total, 1)}, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
