"""How fast are training, prediction and all the rest, beside PyTorch with the same network?

    python -m experiments.benchmarks.speed --quick
    python -m experiments.benchmarks.speed --rounds=7 --json=docs/benchmarks/speed-cpu.json
    python -m experiments.benchmarks.speed --parts=forms --seeds=16

The network of case 3 (256 channels, ten convolutions, attention, three heads), batches of 64 from a set that lives on
the device, Adam with a one-cycle schedule. Every contestant is a process of its own and takes turns with the others
(`contest`), so that ratios are of the same moments; `--quick` leaves out torch.compile and takes fewer turns. PyTorch
trains many seeds one after the other, so that its rate per pattern for eight seeds is that for one. The share of the
matrix-product peak counts 82 MFLOP per training pattern over the rate of 4096 × 4096 products, a contestant too.
`forms` trains with both forms of `models.convolution` side by side.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from experiments.benchmarks import contest
from xrd_jax.runtime.process import environment

PATTERNS, CHANNELS, BATCH, SIZE = 4096, 256, 64, 4096
FLOP = {"forward": 27.4e6, "step": 82.2e6}  # per pattern: convolutions and attention; a step is three times a forward
TORCH = ("torch_eager", "torch_compile")

_QUICK = flags.DEFINE_bool("quick", False, "Under a minute on two idle cores: fewer turns, no torch.compile.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of every contestant.")
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of the products.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")
_PARTS = flags.DEFINE_list("parts", ["train", "seeds", "predict", "rest"], "What to measure; there is forms as well.")
_SEEDS = flags.DEFINE_integer("seeds", 8, "Networks of the contest of many seeds.")
_WORKER = flags.DEFINE_string("worker", "", "Used by the benchmark itself: the contestant of this process.")


def case3():
    """The configuration of case 3 on prepared 256-channel patterns, its targets, and random data of their shape."""
    import numpy as np

    from experiments.case3 import config
    from xrd_jax.config.overrides import override
    from xrd_jax.preprocessing.targets import TargetSpec

    chosen = override(config(), ["train.augment=none", "prepare.resize=none", f"model.precision={_PRECISION.value}"])
    specs = (
        TargetSpec("voltage", "regression", "V", 1, (), 3.8, 0.1),
        TargetSpec("mode", "classification", "", 4, ("a", "b", "c", "d"), 0.0, 1.0),
        TargetSpec("rate", "classification", "", 2, ("a", "b"), 0.0, 1.0),
    )
    draw = np.random.default_rng(0)
    patterns = draw.normal(size=(PATTERNS, CHANNELS)).astype(np.float32)
    targets = {
        "voltage": draw.normal(size=PATTERNS).astype(np.float32),
        "mode": draw.integers(0, 4, PATTERNS).astype(np.int32),
        "rate": draw.integers(0, 2, PATTERNS).astype(np.int32),
    }
    return chosen, specs, patterns, targets


def jax_trainer(seeds: int, form: str = "") -> Callable[[int], None]:
    """n steps of `seeds` networks, with the groups, devices and programs of `fit`.

    Args:
      form: 'direct' or 'as_product' of `models.convolution`; what it chooses for the device if empty.
    """
    import jax
    import jax.numpy as jnp

    from xrd_jax.models import build, convolution
    from xrd_jax.preprocessing.transform import Statistics
    from xrd_jax.runtime import compilation, devices, process
    from xrd_jax.training import sharding, step
    from xrd_jax.training.seed_groups import SeedGroups

    devices.emulate(process.cores())
    compilation.full_float32()
    if form:
        convolution.direct = convolution.as_product = getattr(convolution, form)
    config, specs, patterns, targets = case3()
    grid = sharding.grid(seeds, config.train.batch_devices, BATCH)
    outputs = tuple((s.name, s.size) for s in specs)
    model = build(config.model, CHANNELS, outputs, sharding.BATCH if grid.shape[1] > 1 else None)
    plan = step.make_step_config(model, specs, config.prepare, config.train, PATTERNS, grid.shape[1])
    nothing = jnp.zeros(0)
    data = step.TrainingData(jnp.asarray(patterns), nothing, Statistics(*[nothing] * len(Statistics._fields)), targets)
    most = sharding.most_seeds(config.train.seeds_per_call, grid, config.model, CHANNELS, BATCH)
    seed_groups = SeedGroups(plan, sharding.groups(seeds, grid, most), data, list(range(seeds)))
    states = seed_groups.begin()

    def run(count: int) -> None:
        for place, group in enumerate(seed_groups.groups):
            order = seed_groups.order(group, states[place])
            for _ in range(count):
                states[place], _ = seed_groups.advance(group, states[place], order, 1)
        jax.block_until_ready(states)

    return run


def jax_predictor(maps: bool, chunk: int) -> Callable[[int], None]:
    """n chunks through `Run.stream`."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from xrd_jax.analysis.run import Run
    from xrd_jax.models import build
    from xrd_jax.preprocessing.transform import Statistics
    from xrd_jax.runtime import devices, process
    from xrd_jax.series.axis import Axis
    from xrd_jax.series.record import PatternSeries

    devices.emulate(process.cores())
    config, specs, patterns, _ = case3()
    model = build(config.model, CHANNELS, tuple((s.name, s.size) for s in specs))
    variables = jax.jit(lambda key: jax.tree.map(lambda leaf: leaf[None], model.init(key)))(jax.random.key(0))
    zero, one, wide = jnp.float32(0), jnp.float32(1), jnp.arange(CHANNELS, dtype=jnp.float32)
    statistics_ = Statistics(wide, jnp.eye(CHANNELS), wide, zero, one, one, jnp.zeros(CHANNELS), one)
    trained = Run(Path(), config, specs, statistics_, model, variables)
    endless = np.concatenate([patterns, patterns])

    def run(count: int) -> None:
        rows = endless[: count * chunk]
        zeros = np.zeros(len(rows), np.int32)
        series = PatternSeries(rows, Axis(np.arange(CHANNELS)), zeros.astype(float), {}, zeros, zeros)
        for _ in trained.stream(series, maps):
            pass

    return run


def matmul() -> Callable[[int], None]:
    """n products of two 4096 × 4096 matrices: what this machine can do at this moment."""
    import jax
    import jax.numpy as jnp

    square = jnp.ones((SIZE, SIZE), jnp.dtype(_PRECISION.value))
    product = jax.jit(lambda a: a @ a)

    def run(count: int) -> None:
        for _ in range(count):
            jax.block_until_ready(product(square))

    return run


def torch_worker(name: str, compiled: bool) -> Callable[[int], object]:
    import torch

    from experiments.benchmarks import torch_reference

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_float32_matmul_precision("highest")
    _, _, patterns, targets = case3()
    data = torch.from_numpy(patterns).to(device)
    goals = {
        k: torch.from_numpy(v).to(device, torch.float32 if k == "voltage" else torch.int64) for k, v in targets.items()
    }
    if name == "train":
        return torch_reference.trainer(data, goals, BATCH, 5000, compiled, _PRECISION.value)
    return torch_reference.predictor(data, 128, name == "predict_vaw", compiled, _PRECISION.value)


def worker(name: str) -> None:
    """The contestant of this process: 'jax:train:8', 'torch_compile:predict_vaw', …"""
    kind, part, *rest = name.split(":")
    if kind == "matmul":
        contest.serve(matmul())
    elif kind.startswith("torch"):
        contest.serve(torch_worker(part, kind == "torch_compile"))
    elif part == "train":
        contest.serve(jax_trainer(int(rest[0]), *rest[1:]))
    else:
        contest.serve(jax_predictor(part == "predict_vaw", 128))


def contestants(part: str, seeds: int = 1) -> dict[str, contest.Contestant]:
    """This project and the variants of PyTorch at one part of the work."""
    own = ("-m", "experiments.benchmarks.speed", f"--precision={_PRECISION.value}")
    peers = TORCH[:1] if _QUICK.value else TORCH
    suffix = f":{seeds}" if part == "train" else ""
    found = {"jax": contest.Contestant((*own, f"--worker=jax:{part}{suffix}"), environment())}
    if part == "train" and seeds == 1:
        found["matmul"] = contest.Contestant((*own, "--worker=matmul:product"), environment())
    return found | {name: contest.Contestant((*own, f"--worker={name}:{part}")) for name in peers}


def measure(part: str, per_unit: int, units: int, seeds: int = 1) -> dict[str, Any]:
    """Patterns per second of every contestant and the ratio to the best PyTorch."""
    seconds = contest.compete(contestants(part, seeds), units, 3 if _QUICK.value else _ROUNDS.value)
    rates: dict[str, Any] = {}
    products = seconds.pop("matmul", [])
    if products:
        speeds = [2 * SIZE**3 * units / taken for taken in products]
        rates["matmul_gflops"] = round(statistics.median(speeds) / 1e9, 1)
        shares = [
            FLOP["step"] * per_unit * units / taken / speed for taken, speed in zip(seconds["jax"], speeds, strict=True)
        ]
        rates["share_of_matmul_peak"] = round(statistics.median(shares), 3)
    for name, taken in seconds.items():
        patterns = per_unit * units * (seeds if name == "jax" else 1)
        rates[name] = round(patterns / statistics.median(taken), 1)
    ratio = contest.ratios(seconds, "jax", TORCH)
    rates["ratio_vs_best_torch"] = None if ratio is None else round(ratio * seeds, 3)
    return rates


def forms(seeds: int) -> dict[str, float]:
    """Patterns per second of training with either form of convolution, one network and `seeds`."""
    own, rates = ("-m", "experiments.benchmarks.speed", f"--precision={_PRECISION.value}"), {}
    for count in (1, seeds):
        contestants = {
            form: contest.Contestant((*own, f"--worker=jax:train:{count}:{form}"), environment())
            for form in ("direct", "as_product")
        }
        for form, taken in contest.compete(contestants, 4, _ROUNDS.value).items():
            rates[f"{form}, {count} networks"] = round(4 * count * BATCH / statistics.median(taken), 1)
    return rates


def rest() -> dict[str, Any]:
    """What has no peer: simulation, preparation, cold start and memory, each in a process of its own."""
    code = (
        "import time,resource\nt=time.perf_counter()\nfrom experiments.case3 import config\n"
        "from xrd_jax.physics.simulate import simulate\nfrom xrd_jax import prepare as p\nimport jax\nc=config()\n"
        "a=time.perf_counter();s=simulate(c.cell);b=time.perf_counter()\n"
        "d=p.prepare(s,c.prepare);x=p.inputs(d,c.prepare,d.train);jax.block_until_ready(x);e=time.perf_counter()\n"
        "import json;print(json.dumps({'simulate':len(s)/(b-a),'prepare':len(d.series)/(e-b),"
        "'peak_memory_mb':resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=contest.ROOT, env={**os.environ, **environment()},
                          check=True, stdout=subprocess.PIPE, text=True)  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    begun = time.perf_counter()
    subprocess.run([sys.executable, "launch.py", "--help"], cwd=contest.ROOT, check=True, stdout=subprocess.DEVNULL)
    return {k: round(v, 1) for k, v in found.items()} | {"cold_start_s": round(time.perf_counter() - begun, 2)}


def table(results: dict[str, Any]) -> str:
    """A row per contest: patterns per second and the ratio."""
    lines = ["| | jax | torch eager | torch.compile | ratio to the best torch |", "|---|---|---|---|---|"]
    for part, rates in results.items():
        if isinstance(rates, dict) and "ratio_vs_best_torch" in rates:
            cells = [f"{rates[k]:.0f}" if rates.get(k) else "–" for k in ("jax", *TORCH)]
            ratio = rates["ratio_vs_best_torch"]
            lines.append("| " + " | ".join([part, *cells, "–" if ratio is None else f"{ratio:.2f}"]) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    del argv
    if _WORKER.value:
        worker(_WORKER.value)
        return
    results: dict[str, Any] = {"machine": contest.machine(), "precision": _PRECISION.value}
    if "train" in _PARTS.value:
        results["train_1seed"] = measure("train", BATCH, 6)
        results |= {k: results["train_1seed"].pop(k) for k in ("matmul_gflops", "share_of_matmul_peak")}
    if "seeds" in _PARTS.value:
        results[f"train_{_SEEDS.value}seeds"] = measure("train", BATCH, 2, _SEEDS.value)
    if "predict" in _PARTS.value:
        results["predict"] = measure("predict", 128, 8)
        results["predict_vaw"] = measure("predict_vaw", 128, 8)
    if "forms" in _PARTS.value:
        results["forms"] = forms(_SEEDS.value)
        print("\n".join(f"{form}: {rate:.0f} patterns/s" for form, rate in results["forms"].items()))
    if "rest" in _PARTS.value:
        results |= rest()
    print(table(results))
    print(json.dumps({k: v for k, v in results.items() if not isinstance(v, dict) or k == "machine"}))
    if _JSON.value:
        Path(_JSON.value).parent.mkdir(parents=True, exist_ok=True)
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
