"""Does a pattern cost the same among eight thousand as among a million, and does memory stay flat?

    python -m experiments.benchmarks.scaling
    python -m experiments.benchmarks.scaling --patterns=8000,100000,1000000 --json=scaling.json

Every stage of every size is a process of its own, so that its peak memory is its own:
  idle      imports and the network, nothing else: what the other peaks start from;
  simulate  the cell of case 3 into an HDF5 file, 1400 channels of 16 bits;
  prepare   that file → window, split, statistics, and the training inputs [n, 256] in float32;
  look      that file → predictions and VAW of a network of case 3;
  train     `--steps` optimisation steps on synthetic inputs, and the part that a pattern has in shuffling an epoch.
Each stage runs once on few patterns before it is timed, so that no compilation counts. `wall` and `cpu` are
microseconds per pattern; on a shared machine the second is the steadier one. Needs 3 GB of disk for a million patterns
and takes about a quarter of an hour for them on two cores.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("idle", "simulate", "prepare", "look", "train")
FRAMES = 8000  # of the cell in one passage of its stored cycles
WARM = 1000

_PATTERNS = flags.DEFINE_list("patterns", ["8000", "100000"], "Numbers of patterns, comma separated.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")
_FOLDER = flags.DEFINE_string("folder", "", "Where the files of patterns go until they have been read.")
_STAGES = flags.DEFINE_list("stages", list(STAGES), "Which stages to measure; look and prepare need simulate.")
_STEPS = flags.DEFINE_integer("steps", 200, "Optimisation steps.")
_STAGE = flags.DEFINE_string("stage", "", "Used by the benchmark itself: the stage of this process.")


def run_stage(stage: str, patterns: int, folder: Path) -> dict[str, Any]:
    """Run one stage in a process of its own."""
    arguments = [f"--stage={stage}", f"--patterns={patterns}", f"--folder={folder}", f"--steps={_STEPS.value}"]
    command = [sys.executable, "-m", "experiments.benchmarks.scaling", *arguments]
    process = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(process.stdout.splitlines()[-1])


def timed(work: Callable[[], int]) -> dict[str, float]:
    """Return seconds of `work` per pattern that it says it did, and the peak memory of this process in MB."""
    begun, cpu_begun = time.perf_counter(), time.process_time()
    patterns = work()
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    microseconds = {"wall_us": wall / patterns * 1e6, "cpu_us": cpu / patterns * 1e6}
    return {"patterns": patterns, **microseconds, "peak_mb": peak_mb()}


def peak_mb() -> float:
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def idle(patterns: int, folder: Path) -> dict[str, float]:
    untrained_run()
    return {"patterns": patterns, "peak_mb": peak_mb()}


def simulate(patterns: int, folder: Path) -> dict[str, float]:
    from xrd_jax.config.cell import Cell
    from xrd_jax.physics import simulate as physics

    cell = Cell(repeats=-(-patterns // FRAMES))
    physics.simulate_to_file(Cell(rates=("1C",)), folder / "warm.h5")
    return timed(lambda: len(physics.simulate_to_file(cell, folder / f"{patterns}.h5")))


def prepare(patterns: int, folder: Path) -> dict[str, float]:
    from xrd_jax.preprocessing import prepare as preparing
    from xrd_jax.series.record import PatternSeries

    def work(path: Path) -> int:
        series, config = PatternSeries.load(path), case3_config().prepare
        prepared = preparing.prepare(series, config)
        preparing.prepare_inputs(prepared, config, prepared.train).block_until_ready()
        sizes.append(prepared.train.size)
        return len(series)

    sizes: list[int] = []
    work(folder / "warm.h5")
    timing = timed(lambda: work(folder / f"{patterns}.h5"))
    return timing | {"inputs_mb": sizes[-1] * case3_config().prepare.channels * 4 / 1e6}


def predict(patterns: int, folder: Path) -> dict[str, float]:
    import numpy as np

    from xrd_jax.series.record import PatternSeries

    run, series = untrained_run(), PatternSeries.load(folder / f"{patterns}.h5")

    def work(part: PatternSeries) -> int:
        total = sum(float(block.raw.sum()) for block in run.stream(part))
        assert np.isfinite(total)
        return len(part)

    work(series.subset(np.arange(WARM)))
    return timed(lambda: work(series))


def train(patterns: int, folder: Path) -> dict[str, float]:
    """Return the cost of training steps; long because every import must come after the memory is measured."""
    import jax
    import jax.numpy as jnp

    from xrd_jax import models
    from xrd_jax.training import seed_groups, sharding, step

    run, key = untrained_run(), jax.random.key(0)
    config = run.config
    grid = sharding.device_grid(1, config.train.batch_devices, config.train.batch_size)
    shares = grid.shape[1]
    outputs = tuple((s.name, s.size) for s in run.specs)
    model = models.build(config.model, config.prepare.channels, outputs, sharding.BATCH if shares > 1 else None)
    step_config = step.make_step_config(model, run.specs, config.prepare, config.train, patterns, shares)
    targets = {
        s.name: jax.random.randint(key, (patterns,), 0, s.size) if s.classes else jax.random.normal(key, (patterns,))
        for s in run.specs
    }
    drawn = jax.random.normal(key, (WARM, config.prepare.channels))
    inputs = drawn[jnp.arange(patterns) % WARM]  # a gather needs no room beside its result
    data = step.TrainingData(inputs, jnp.zeros(0), run.statistics, targets)
    groups = seed_groups.SeedGroups(step_config, sharding.make_groups(1, grid, 1), data, [0])
    group, state = groups.groups[0], groups.init()[0]
    order = groups.order(group, state)
    state, _ = groups.advance(group, state, order, 1)

    def shuffle() -> int:
        groups.order(group, state).block_until_ready()
        return patterns

    def work() -> int:
        nonlocal state
        for _ in range(_STEPS.value):
            state, _ = groups.advance(group, state, order, 1)
        jax.block_until_ready(state)
        return _STEPS.value * step_config.batch

    shuffling, training = timed(shuffle), timed(work)
    both = {name: training[name] + shuffling[name] for name in ("wall_us", "cpu_us")}  # an epoch is shuffled once
    sizes = {"patterns": patterns, "shuffle_us": shuffling["cpu_us"], "inputs_mb": inputs.nbytes / 1e6}
    return training | both | sizes


def case3_config() -> Any:
    from experiments import case3

    config = case3.config()
    return dataclasses.replace(config, train=dataclasses.replace(config.train, augment="none"))


def untrained_run() -> Any:
    """Return a run of case 3 before its first step: how fast it is does not depend on what it has learnt."""
    import jax
    import numpy as np

    from xrd_jax import models
    from xrd_jax.analysis import run
    from xrd_jax.preprocessing import targets as preprocessing_targets
    from xrd_jax.preprocessing import transform
    from xrd_jax.series.axis import HALF_CYCLE_MODES, Axis
    from xrd_jax.series.record import PatternSeries

    config, length = case3_config(), 1400
    axis, rows = Axis(12.0 + 0.02 * np.arange(length)), np.random.default_rng(0).poisson(300.0, (16, length))
    series = PatternSeries(rows.astype(np.uint16), axis, np.arange(16), {}, np.zeros(16), np.zeros(16))
    statistics = transform.fit_statistics(series, np.arange(16), config.prepare)
    classes: tuple[tuple[str, ...], ...] = ((), HALF_CYCLE_MODES, config.cell.rates)
    specs = tuple(
        preprocessing_targets.TargetSpec(
            name, "classification" if names else "regression", "", max(len(names), 1), names, 0.0, 1.0
        )
        for name, names in zip(config.targets, classes, strict=True)
    )
    model = models.build(config.model, config.prepare.channels, tuple((s.name, s.size) for s in specs))
    variables = jax.tree.map(lambda leaf: leaf[None], jax.jit(model.init)(jax.random.key(0)))
    return run.Run(Path(), config, specs, statistics, model, variables)


WORK: dict[str, Callable[[int, Path], dict[str, float]]] = {
    "idle": idle, "simulate": simulate, "prepare": prepare, "look": predict, "train": train,
}  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    lines = ["| stage | patterns | wall µs | cpu µs | to smallest | peak MB |", "|---|--:|--:|--:|--:|--:|"]
    first: dict[str, float] = {}
    for row in results:
        if "cpu_us" not in row:
            lines.append(f"| {row['stage']} | | | | | {row['peak_mb']:.0f} |")
            continue
        ratio = row["cpu_us"] / first.setdefault(row["stage"], row["cpu_us"])
        lines.append(
            f"| {row['stage']} | {row['patterns']} | {row['wall_us']:.1f} | {row['cpu_us']:.1f} | {ratio:.2f} "
            f"| {row['peak_mb']:.0f} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    if _STAGE.value:
        from xrd_jax.runtime import devices, process

        devices.emulate(process.cores())
        print(json.dumps(WORK[_STAGE.value](int(_PATTERNS.value[0]), Path(_FOLDER.value))))
        return
    results: list[dict[str, Any]] = []
    for patterns in (int(number) for number in _PATTERNS.value):
        with tempfile.TemporaryDirectory(dir=_FOLDER.value or None) as folder:
            for stage in _STAGES.value:
                if stage == "idle" and results:
                    continue
                results.append({"stage": stage} | run_stage(stage, patterns, Path(folder)))
                print(json.dumps(results[-1]), flush=True)
    results.sort(key=lambda row: STAGES.index(row["stage"]))
    print(table(results))
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
