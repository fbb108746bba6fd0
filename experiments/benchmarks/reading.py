"""How fast is a folder of text patterns read, beside `np.loadtxt` in a loop, and how fast the second time?

    python -m experiments.benchmarks.reading
    python -m experiments.benchmarks.reading --files=10000 --points=1400 --json=reading.json

Patterns are made in a temporary folder and read from the page cache. Prints a table; every figure is one pass over all
files, wall time and the processor time of this process and its workers.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from xrd_jax.io.reading.many_files import BatchReader
from xrd_jax.runtime.process import cores

_FILES = flags.DEFINE_integer("files", 10_000, "How many patterns.")
_POINTS = flags.DEFINE_integer("points", 1400, "Channels of each.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")


def write_patterns(folder: Path, files: int, points: int) -> list[Path]:
    """Write two-column text files of Poisson counts, as an instrument's export program does."""
    axis = [f"{x:.4f}" for x in 10 + 0.02 * np.arange(points)]
    generator = np.random.default_rng(0)
    paths = [folder / f"scan_{number:05d}.xy" for number in range(files)]
    for path in paths:
        counts = generator.poisson(1000, points)
        path.write_text("# 2theta counts\n" + "".join(f"{x} {y}\n" for x, y in zip(axis, counts, strict=True)))
    return paths


def measure(work: Callable[[], object]) -> dict[str, float]:
    """Return wall time and processor time, in s."""
    begun, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    return {"wall_s": time.perf_counter() - begun, "cpu_s": sum(after[:4]) - sum(before[:4])}


def main(argv: Sequence[str]) -> None:
    del argv
    results: dict[str, Any] = {"files": _FILES.value, "points": _POINTS.value, "cores": cores()}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XRD_JAX_CACHE"] = str(Path(scratch) / "cache")
        folder = Path(scratch) / "patterns"
        folder.mkdir()
        files = write_patterns(folder, _FILES.value, _POINTS.value)
        ways: dict[str, Callable[[], object]] = {
            "np.loadtxt in a loop": lambda: [np.loadtxt(file) for file in files],
            "one process": lambda: BatchReader(workers=1).read_all(files),
            "a process per core": lambda: BatchReader(progress=True).read_all(files),
            "the same, into the cache": lambda: BatchReader(cache=True, progress=True).read_all(files),
            "from the cache": lambda: BatchReader(cache=True).read_all(files),
        }
        print(f"{len(files)} files of {_POINTS.value} points, {results['cores']} cores\n")
        print("| way | files/s | wall (s) | processor (s) |\n|---|---|---|---|")
        for name, work in ways.items():
            results[name] = measure(work)
            wall, cpu = results[name]["wall_s"], results[name]["cpu_s"]
            print(f"| {name} | {len(files) / wall:.0f} | {wall:.2f} | {cpu:.2f} |", flush=True)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
