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

from xrd_jax.io.reading import many_files
from xrd_jax.runtime.process import cores

_FILES = flags.DEFINE_integer("files", 10_000, "How many patterns.")
_POINTS = flags.DEFINE_integer("points", 1400, "Channels of each.")
_JSON = flags.DEFINE_string("json", "", "Where to write the results.")


def make(home: Path, files: int, points: int) -> list[Path]:
    """Two-column text files of Poisson counts, as an instrument's export program writes them."""
    axis = [f"{x:.4f}" for x in 10 + 0.02 * np.arange(points)]
    generator = np.random.default_rng(0)
    made = []
    for number in range(files):
        counts = generator.poisson(1000, points)
        made.append(home / f"scan_{number:05d}.xy")
        made[-1].write_text("# 2theta counts\n" + "".join(f"{x} {y}\n" for x, y in zip(axis, counts, strict=True)))
    return made


def clocked(work: Callable[[], object]) -> dict[str, float]:
    """Wall time and processor time, in s."""
    begun, before = time.perf_counter(), os.times()
    work()
    after = os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    return {"wall_s": time.perf_counter() - begun, "cpu_s": cpu}


def main(argv: Sequence[str]) -> None:
    del argv
    results: dict[str, Any] = {"files": _FILES.value, "points": _POINTS.value, "cores": cores()}
    with tempfile.TemporaryDirectory() as place:
        os.environ["XRD_JAX_CACHE"] = str(Path(place) / "cache")
        home = Path(place) / "patterns"
        home.mkdir()
        files = make(home, _FILES.value, _POINTS.value)
        ways: dict[str, Callable[[], object]] = {
            "np.loadtxt in a loop": lambda: [np.loadtxt(file) for file in files],
            "one process": lambda: many_files.Reading(workers=1).read_all(files),
            "a process per core": lambda: many_files.Reading(progress=True).read_all(files),
            "the same, into the cache": lambda: many_files.Reading(cache=True, progress=True).read_all(files),
            "from the cache": lambda: many_files.Reading(cache=True).read_all(files),
        }
        print(f"{len(files)} files of {_POINTS.value} points, {results['cores']} cores\n")
        print("| way | files/s | wall (s) | processor (s) |\n|---|---|---|---|")
        for name, work in ways.items():
            results[name] = clocked(work)
            wall, cpu = results[name]["wall_s"], results[name]["cpu_s"]
            print(f"| {name} | {len(files) / wall:.0f} | {wall:.2f} | {cpu:.2f} |", flush=True)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
