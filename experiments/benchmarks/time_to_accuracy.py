"""How long until case 3 (bins, random halves) verifies voltage to 20 mV: this project beside PyTorch, same recipe.

    python -m experiments.benchmarks.time_to_accuracy --seeds=0,1,2 --json=docs/benchmarks/time-to-accuracy-cpu.json

Both start from the same prepared series in memory, draw the same kind of fresh noise at every step, follow the same
one-cycle schedule of 50 epochs, and verify after every epoch; the clock runs from the first line of training, with
compilation, to the end of the first epoch whose verification error is at most 20 mV. Verification is not counted for
either. One contestant at a time has the machine; seeds alternate.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.benchmarks import contest
from xrd_jax.runtime.process import environment

GOAL_V = 0.020

_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds, comma separated.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")
_WORKER = flags.DEFINE_string("worker", "", "Used by the benchmark itself: 'jax:0' or 'torch:0'.")


class Reached(Exception):
    """The goal is reached."""


class Clock:
    """Seconds of training, with verification taken out; raises `Reached` at the goal."""

    def __init__(self, verify: Callable[[Any], float]):
        self._verify, self.seconds, self.errors = verify, 0.0, list[float]()
        self._begun = time.perf_counter()

    def epoch(self, network: Any) -> None:
        """To be called after every epoch."""
        self.seconds += time.perf_counter() - self._begun
        self.errors.append(self._verify(network))
        if self.errors[-1] <= GOAL_V:
            raise Reached
        self._begun = time.perf_counter()


def data():
    """Configuration and prepared series of case 3 with bins."""
    from experiments.case3 import config
    from xrd_jax.config.overrides import override
    from xrd_jax.physics.simulate import simulate
    from xrd_jax.preprocessing.prepare import prepare

    chosen = override(config(), ["prepare.resize=bin"])
    return chosen, prepare(simulate(chosen.cell), chosen.prepare, chosen.split_seed)


def run_jax(seed: int) -> Clock:
    import dataclasses
    import tempfile

    import jax
    import jax.numpy as jnp

    from xrd_jax.preprocessing.prepare import inputs
    from xrd_jax.runtime import devices, process
    from xrd_jax.training import fit

    devices.emulate(process.cores())
    config, prepared = data()
    config = dataclasses.replace(config, seed=seed)
    model, specs = fit.make_model(config, prepared)
    tested = inputs(prepared, config.prepare, prepared.test)
    truth = prepared.series.targets["voltage"].values[prepared.test]
    spec = next(s for s in specs if s.name == "voltage")
    forward = jax.jit(lambda v, x: model.apply(v, x)[0]["voltage"][:, 0])

    def verify(variables: Any) -> float:
        own = jax.tree.map(lambda leaf: leaf[0], variables)
        said = [np.asarray(forward(own, tested[i : i + 128])) for i in range(0, len(truth), 128)]
        return float(np.abs(np.concatenate(said) * spec.deviation + spec.mean - truth).mean())

    clock = Clock(verify)
    jnp.zeros(1).block_until_ready()
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Reached):
        fit.fit(config, prepared, Path(folder), lambda step, means, v, epoch: clock.epoch(v), progress=False)
    return clock


def run_torch(seed: int) -> Clock:
    import torch

    from experiments.benchmarks import torch_reference
    from xrd_jax.preprocessing.targets import target_specs
    from xrd_jax.training import fit

    config, prepared = data()
    specs = target_specs(prepared, config.targets)
    material = fit.training_data(config, prepared, specs)
    rates, slopes = (torch.from_numpy(np.array(x)) for x in (material.patterns, material.slopes))
    learnt = {k: torch.from_numpy(np.array(v, np.float32)) for k, v in material.statistics._asdict().items()}
    voltage = next(s for s in specs if s.name == "voltage")
    goals = {k: torch.from_numpy(np.array(v)) for k, v in material.targets.items()}
    goals = {k: v.float() if k == "voltage" else v.long() for k, v in goals.items()}
    goals["voltage"] = (goals["voltage"] - voltage.mean) / voltage.deviation
    truth = prepared.series.targets["voltage"].values[prepared.test]
    torch.manual_seed(seed)
    torch.set_num_threads(os.cpu_count() or 1)

    def transform(counts: torch.Tensor) -> torch.Tensor:
        binned = counts @ learnt["matrix"]
        low, high = binned.amin(1, keepdim=True), binned.amax(1, keepdim=True)
        return ((binned - low) / (high - low) - learnt["mean"]) / learnt["deviation"]

    def redrawn(chosen: torch.Tensor) -> torch.Tensor:
        flux = 1 + config.train.redraw_flux * torch.randn(len(chosen), 1)
        shift = config.train.redraw_shift * torch.randn(len(chosen), 1)
        expected = (flux * (rates[chosen] - shift * slopes[chosen])).clamp(min=0)
        return transform((expected + expected.sqrt() * torch.randn_like(expected)).clamp(min=0))

    network = torch_reference.Network(learnt["matrix"].shape[1])
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

    def verify(_: Any) -> float:
        network.eval()
        with torch.inference_mode():
            said = torch.cat([network(part)[0]["voltage"][:, 0] for part in tested.split(128)]).numpy()
        network.train()
        return float(np.abs(said * voltage.deviation + voltage.mean - truth).mean())

    clock = Clock(verify)
    try:
        for _ in range(epochs):
            order = torch.randperm(len(rates))
            for begin in range(0, steps * batch, batch):
                chosen = order[begin : begin + batch]
                optimiser.zero_grad(set_to_none=True)
                outputs, _ = network(redrawn(chosen))
                loss = torch_reference.loss_of(outputs, {k: v[chosen] for k, v in goals.items()})
                loss.backward()
                optimiser.step()
                schedule.step()
            clock.epoch(network)
    except Reached:
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
            surroundings = {**os.environ, **(environment() if kind == "jax" else {})}
            done = subprocess.run(
                command, cwd=contest.ROOT, env=surroundings, check=True, stdout=subprocess.PIPE, text=True
            )
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            one = runs[-1]
            reached = "reached" if one["mae_V"][-1] <= GOAL_V else "not reached"
            print(
                f"{kind}, seed {seed}: 20 mV {reached} after {one['seconds']:.0f} s, {one['epochs']} epochs", flush=True
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
