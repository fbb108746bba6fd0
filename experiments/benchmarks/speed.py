"""How fast are training, prediction and all the rest, beside PyTorch with the same network?

    python -m experiments.benchmarks.speed --quick
    python -m experiments.benchmarks.speed --rounds=7 --json=docs/benchmarks/speed-cpu.json
    python -m experiments.benchmarks.speed --parts=forms --seeds=16

The network of case 3 (256 channels, ten convolutions, attention, three heads), batches of 64 from a set that lives on
the device, Adam with a one-cycle schedule. Every contestant is a process of its own and takes turns with the others
(`contest`), so that ratios are of the same moments; `--quick` leaves out torch.compile and takes fewer turns. PyTorch
trains many seeds one after the other, so that its rate per pattern for eight seeds is that for one. The share of the
matrix-product peak counts 82 MFLOP per training pattern over the rate of 4096 × 4096 products, a contestant too.
`best` is the network of `--recipe=best`. `forms` trains with both forms of `models.convolution` side by side.
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
from xrd_jax.runtime.process import allocator_environment

BATCH, CHUNK, SIZE = 64, 128, 4096  # patterns of a step and of a prediction, rows of the matrices
FLOP = {"forward": 27.4e6, "step": 82.2e6}  # per pattern: convolutions and attention; a step is three times a forward
TORCH = ("torch_eager", "torch_compile")

_QUICK = flags.DEFINE_bool("quick", False, "Under a minute on two idle cores: fewer turns, no torch.compile.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of every contestant.")
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of the products.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")
_PARTS = flags.DEFINE_list(
    "parts", ["train", "seeds", "predict", "rest"], "What to measure; there are forms and best as well."
)
_SEEDS = flags.DEFINE_integer("seeds", 8, "Networks of the contest of many seeds.")
_WORKER = flags.DEFINE_string("worker", "", "Used by the benchmark itself: the contestant of this process.")


def torch_worker(name: str, compiled: bool) -> Callable[[int], object]:
    import torch

    from experiments.benchmarks import speed_jax, torch_reference

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(os.cpu_count() or 1)
    torch.set_float32_matmul_precision("highest")
    _, _, patterns, targets = speed_jax.case3(_PRECISION.value)
    data = torch.from_numpy(patterns).to(device)
    tensors = {
        k: torch.from_numpy(v).to(device, torch.float32 if k == "voltage" else torch.int64) for k, v in targets.items()
    }
    if name in ("train", "train_best"):
        is_best = name == "train_best"
        return torch_reference.trainer(data, tensors, BATCH, 5000, compiled, _PRECISION.value, is_best)
    return torch_reference.predictor(data, CHUNK, name == "predict_vaw", compiled, _PRECISION.value)


def worker(name: str) -> None:
    """Serve as the contestant of this process: 'jax:train:8', 'torch_compile:predict_vaw', …"""
    kind, part, *rest = name.split(":")
    if kind.startswith("torch"):
        contest.serve(torch_worker(part, kind == "torch_compile"))
        return
    from experiments.benchmarks import speed_jax

    if kind == "matmul":
        contest.serve(speed_jax.matmul(_PRECISION.value))
    elif part in ("train", "train_best"):
        settings = speed_jax.case3(_PRECISION.value, is_best=part == "train_best")
        contest.serve(speed_jax.trainer(settings, int(rest[0]), *rest[1:]))
    else:
        contest.serve(speed_jax.predictor(_PRECISION.value, part == "predict_vaw", CHUNK))


def contestants(part: str, seeds: int = 1) -> dict[str, contest.Contestant]:
    """Return this project and the variants of PyTorch at one part of the work."""
    peers = TORCH[:1] if _QUICK.value else TORCH
    suffix = f":{seeds}" if part in ("train", "train_best") else ""
    entries = {"jax": contest.Contestant(command(f"jax:{part}{suffix}"), allocator_environment())}
    if part == "train" and seeds == 1:
        entries["matmul"] = contest.Contestant(command("matmul:product"), allocator_environment())
    return entries | {name: contest.Contestant(command(f"{name}:{part}")) for name in peers}


def command(name: str) -> tuple[str, ...]:
    """Return the command of a contestant's process."""
    return "-m", "experiments.benchmarks.speed", f"--precision={_PRECISION.value}", f"--worker={name}"


def measure(part: str, per_unit: int, units: int, seeds: int = 1) -> dict[str, Any]:
    """Return patterns per second of every contestant and the ratio to the best PyTorch."""
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
    ratio = contest.speed_ratio(seconds, "jax", TORCH)
    rates["ratio_vs_best_torch"] = None if ratio is None else round(ratio * seeds, 3)
    return rates


def forms(seeds: int) -> dict[str, float]:
    """Return patterns per second of training with either form of convolution, one network and `seeds`."""
    rates = {}
    for count in (1, seeds):
        contestants = {
            form: contest.Contestant(command(f"jax:train:{count}:{form}"), allocator_environment())
            for form in ("direct", "as_product")
        }
        for form, taken in contest.compete(contestants, 4, _ROUNDS.value).items():
            rates[f"{form}, {count} networks"] = round(4 * count * BATCH / statistics.median(taken), 1)
    return rates


def rest() -> dict[str, Any]:
    """Return what has no peer: simulation, preparation, cold start and memory, each in a process of its own."""
    code = (
        "import time,resource\nt=time.perf_counter()\nfrom experiments.case3 import config\n"
        "from xrd_jax.physics.simulate import simulate\nfrom xrd_jax.preprocessing import prepare as p\n"
        "import jax\nc=config()\na=time.perf_counter();s=simulate(c.cell);b=time.perf_counter()\n"
        "d=p.prepare(s,c.prepare);x=p.prepare_inputs(d,c.prepare,d.train)\n"
        "jax.block_until_ready(x);e=time.perf_counter()\n"
        "import json;print(json.dumps({'simulate':len(s)/(b-a),'prepare':len(d.series)/(e-b),"
        "'peak_memory_mb':resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024}))"
    )
    environment = {**os.environ, **allocator_environment()}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=contest.ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    figures = json.loads(process.stdout.splitlines()[-1])
    begun = time.perf_counter()
    subprocess.run([sys.executable, "launch.py", "--help"], cwd=contest.ROOT, check=True, stdout=subprocess.DEVNULL)
    return {k: round(v, 1) for k, v in figures.items()} | {"cold_start_s": round(time.perf_counter() - begun, 2)}


def table(results: dict[str, Any]) -> str:
    """Return a row per contest: patterns per second and the ratio."""
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
    if "best" in _PARTS.value:
        results["train_best"] = measure("train_best", BATCH, 24)
    if "seeds" in _PARTS.value:
        results[f"train_{_SEEDS.value}seeds"] = measure("train", BATCH, 2, _SEEDS.value)
    if "predict" in _PARTS.value:
        results["predict"] = measure("predict", CHUNK, 8)
        results["predict_vaw"] = measure("predict_vaw", CHUNK, 8)
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
