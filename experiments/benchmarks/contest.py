"""Contestants side by side: each lives in a process of its own, and they take turns at the same work.

Turns cancel what a shared machine does to all of them; ratios are medians over turns, never of different moments.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Contestant(NamedTuple):
    """`command` is started once; `environment` is added to this process's own."""

    command: Sequence[str]
    environment: Mapping[str, str] = {}


def serve(run: Callable[[int], object]) -> None:
    """Answer every line that asks for n units of work with the seconds they took: the contestant's side."""
    run(1)
    print("ready", flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        run(int(line))
        print(time.perf_counter() - begun, flush=True)


def compete(contestants: Mapping[str, Contestant], units: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every contestant for `units` of work in each turn; one that cannot start is left out."""
    running: dict[str, subprocess.Popen[str]] = {}
    try:
        for name, (command, environment) in contestants.items():
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env={**os.environ, **environment}, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            if process.stdout.readline().strip() == "ready":
                running[name] = process
            else:
                _, errors = process.communicate()
                print(f"{name} is left out: {(errors.strip().splitlines() or ['it ended'])[-1][:200]}", flush=True)
        seconds: dict[str, list[float]] = {name: [] for name in running}
        for turn in range(rounds + 1):  # the first turn warms up and is not counted
            for name, process in running.items():
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(f"{units}\n")
                process.stdin.flush()
                elapsed = float(process.stdout.readline())
                if turn:
                    seconds[name].append(elapsed)
        return seconds
    finally:
        for process in running.values():
            process.kill()
            process.communicate()


def speed_ratio(seconds: Mapping[str, list[float]], name: str, peers: Sequence[str]) -> float | None:
    """Return the median over turns of (seconds of the fastest peer) / (seconds of `name`)."""
    present = [peer for peer in peers if peer in seconds]
    if name not in seconds or not present:
        return None
    best = min(present, key=lambda peer: statistics.median(seconds[peer]))
    return statistics.median(theirs / ours for theirs, ours in zip(seconds[best], seconds[name], strict=True))


def machine() -> dict[str, Any]:
    """Return processor, cores and versions."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    versions: dict[str, str | None] = {}
    for package in ("jax", "flax", "torch"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version(), **versions}
