"""How long until case 3 (bins, random halves) predicts held-out voltages to 20 mV: this project beside PyTorch.

    python -m experiments.benchmarks.time_to_accuracy --seeds=0,1,2 --json=docs/benchmarks/time-to-accuracy-cpu.json

Both start from the same prepared series in memory, draw the same kind of fresh noise at every step, follow the same
one-cycle schedule of 50 epochs, and are tested after every epoch; the clock runs from the first line of training, with
compilation, to the end of the first epoch whose held-out error is at most 20 mV. Testing is not counted for either.
One contestant at a time has the machine; seeds alternate.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.benchmarks import contest
from xrd_jax.runtime.process import allocator_environment

GOAL_V = 0.020

_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds, comma separated.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")
_WORKER = flags.DEFINE_string("worker", "", "Used by the benchmark itself: 'jax:0' or 'torch:0'.")


class GoalReached(Exception):
    """Raised where the held-out error is small enough."""


class Clock:
    """Seconds of training, without those of tests."""

    def __init__(self, test: Callable[[Any], float]):
        self._test, self.seconds, self.errors = test, 0.0, list[float]()
        self._begun = time.perf_counter()

    def end_epoch(self, network: Any) -> None:
        """Test the network after an epoch.

        Raises:
          GoalReached: the error is small enough.
        """
        self.seconds += time.perf_counter() - self._begun
        self.errors.append(self._test(network))
        if self.errors[-1] <= GOAL_V:
            raise GoalReached
        self._begun = time.perf_counter()


def data():
    """Return configuration and prepared series of case 3 with bins."""
    from experiments.case3 import config
    from xrd_jax.config.overrides import override
    from xrd_jax.physics.simulate import simulate
    from xrd_jax.preprocessing.prepare import prepare

    binned = override(config(), ["prepare.resize=bin"])
    return binned, prepare(simulate(binned.cell), binned.prepare, binned.split_seed)


def run_jax(seed: int) -> Clock:
    import jax
    import jax.numpy as jnp

    from xrd_jax.preprocessing.prepare import prepare_inputs
    from xrd_jax.runtime import devices, process
    from xrd_jax.training import fit

    devices.emulate(process.cores())
    config, prepared = data()
    config = dataclasses.replace(config, seed=seed)
    model, specs = fit.make_model(config, prepared)
    tested = prepare_inputs(prepared, config.prepare, prepared.test)
    truth = prepared.series.targets["voltage"].values[prepared.test]
    spec = next(s for s in specs if s.name == "voltage")
    forward = jax.jit(lambda v, x: spec.to_physical(model.apply(v, x)[0]["voltage"]))

    def test(variables: Any) -> float:
        alone = jax.tree.map(lambda leaf: leaf[0], variables)
        predicted = [np.asarray(forward(alone, tested[i : i + 128])) for i in range(0, len(truth), 128)]
        return float(np.abs(np.concatenate(predicted) - truth).mean())

    clock = Clock(test)
    jnp.zeros(1).block_until_ready()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(GoalReached):
        fit.fit(config, prepared, Path(folder), lambda step, means, v, epoch: clock.end_epoch(v), progress=False)
    return clock


def run_torch(seed: int) -> Clock:
    """Train the same network in PyTorch; in one piece, because it is the whole of the other side's recipe."""
    import torch

    from experiments.benchmarks import torch_reference
    from xrd_jax.preprocessing.targets import target_specs
    from xrd_jax.training import fit

    config, prepared = data()
    specs = target_specs(prepared, config.targets)
    training = fit.training_data(config, prepared, specs)
    rates, slopes = (torch.from_numpy(np.array(x)) for x in (training.patterns, training.slopes))
    prepare = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in training.statistics._asdict().items()}
    voltage = next(s for s in specs if s.name == "voltage")
    targets = {k: torch.from_numpy(np.array(v)) for k, v in training.targets.items()}
    targets = {k: v.float() if k == "voltage" else v.long() for k, v in targets.items()}
    targets["voltage"] = (targets["voltage"] - voltage.mean) / voltage.deviation
    truth = prepared.series.targets["voltage"].values[prepared.test]
    torch.manual_seed(seed)
    torch.set_num_threads(os.cpu_count() or 1)

    def transform(counts: torch.Tensor) -> torch.Tensor:
        binned = counts @ prepare["matrix"]
        low, high = binned.amin(1, keepdim=True), binned.amax(1, keepdim=True)
        return ((binned - low) / (high - low) - prepare["mean"]) / prepare["deviation"]

    def redraw(rows: torch.Tensor) -> torch.Tensor:
        flux = 1 + config.train.redraw_flux * torch.randn(len(rows), 1)
        shift = config.train.redraw_shift * torch.randn(len(rows), 1)
        expected = (flux * (rates[rows] - shift * slopes[rows])).clamp(min=0)
        return transform((expected + expected.sqrt() * torch.randn_like(expected)).clamp(min=0))

    network = torch_reference.Network(prepare["matrix"].shape[1])
    batch, epochs = config.train.batch_size, config.train.epochs
    steps = len(rates) // batch
    optimiser = torch.optim.Adam(network.parameters(), lr=config.train.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.train.learning_rate, total_steps=steps * epochs + 1
    )
    counts = prepared.series.intensity
    tested = torch.cat(
        [transform(torch.from_numpy(counts[i].astype(np.float32))) for i in np.array_split(prepared.test, 8)]
    )

    def test(_: Any) -> float:
        network.eval()
        with torch.inference_mode():
            predicted = torch.cat([network(part)[0]["voltage"][:, 0] for part in tested.split(128)]).numpy()
        network.train()
        return float(np.abs(predicted * voltage.deviation + voltage.mean - truth).mean())

    clock = Clock(test)
    try:
        for _ in range(epochs):
            order = torch.randperm(len(rates))
            for begin in range(0, steps * batch, batch):
                rows = order[begin : begin + batch]
                optimiser.zero_grad(set_to_none=True)
                outputs, _ = network(redraw(rows))
                loss = torch_reference.loss_of(outputs, {k: v[rows] for k, v in targets.items()})
                loss.backward()
                optimiser.step()
                schedule.step()
            clock.end_epoch(network)
    except GoalReached:
        pass
    return clock


def main(argv: Sequence[str]) -> None:
    del argv
    if _WORKER.value:
        kind, seed = _WORKER.value.split(":")
        clock = {"jax": run_jax, "torch": run_torch}[kind](int(seed))
        print(json.dumps({"seconds": clock.seconds, "epochs": len(clock.errors), "mae_V": clock.errors}))
        return
    results: dict[str, list[dict[str, Any]]] = {"jax": [], "torch": []}
    for seed in _SEEDS.value:
        for kind, runs in results.items():
            command = [sys.executable, "-m", "experiments.benchmarks.time_to_accuracy", f"--worker={kind}:{seed}"]
            variables = {**os.environ, **(allocator_environment() if kind == "jax" else {})}
            worker = subprocess.run(
                command, cwd=contest.ROOT, env=variables, check=True, stdout=subprocess.PIPE, text=True
            )
            run = json.loads(worker.stdout.splitlines()[-1])
            runs.append(run)
            reached = "reached" if run["mae_V"][-1] <= GOAL_V else "not reached"
            print(
                f"{kind}, seed {seed}: 20 mV {reached} after {run['seconds']:.0f} s, {run['epochs']} epochs", flush=True
            )
    ratio = statistics.median(
        t["seconds"] / j["seconds"] for t, j in zip(results["torch"], results["jax"], strict=True)
    )
    print(f"PyTorch takes {ratio:.2f} times as long (median over seeds)")
    if _JSON.value:
        Path(_JSON.value).parent.mkdir(parents=True, exist_ok=True)
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
