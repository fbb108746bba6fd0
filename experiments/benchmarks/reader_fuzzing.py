"""Does any damaged, mislabelled or hostile file hang, crash, fill the memory or give a pattern that is none?

    python -m experiments.benchmarks.reader_fuzzing --inputs=20000
    python -m experiments.benchmarks.reader_fuzzing --inputs=2000 --real_data=FOLDER --figures=fuzz.json

Takes small files of every pattern format (and those of a folder, up to 1 MiB each), damages each copy in one to three
ways, and reads it as `read_scans` would. A good outcome is patterns that keep every promise of `Pattern`, or a
`UserError` of one line that names the file, within ten seconds and four times the file plus 200 MiB of memory. The
number of any other input is printed, and the file kept in --keep. About 200 inputs a second and core.
"""

from __future__ import annotations

import collections
import datetime
import json
import multiprocessing
import re
import signal
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.benchmarks.file_mutations import mutate, seed_files
from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.series.axis import AXIS_UNITS

_INPUTS = flags.DEFINE_integer("inputs", 2000, "How many files to try.", lower_bound=1)
_SEED = flags.DEFINE_integer("first_seed", 0, "Seed of the first input; input i uses seed + i.")
_DATA = flags.DEFINE_string("real_data", "", "Folder of real files to damage as well.")
_JSON = flags.DEFINE_string("figures", "", "Where to write the figures.")
_KEEP = flags.DEFINE_string("keep", "", "Folder for inputs that failed.")

MAX_SECONDS, MAX_EXTRA_BYTES = 10, 200 * 2**20
_GOOD = ("read", "refused")
_MAX_LINE = 1000


def broken_promise(scan: patterns.Pattern) -> str:
    """Return what is wrong with a pattern, or ''."""
    axis, intensity = scan.axis, scan.intensity
    columns = [axis, intensity] + ([] if scan.errors is None else [scan.errors])
    if any(c.shape != axis.shape or c.dtype != np.float64 or c.ndim != 1 for c in columns) or axis.size < 2:
        return "shapes or types"
    if not all(np.isfinite(column).all() for column in columns) or not (np.diff(axis) > 0).all():
        return "values that are not finite, or an axis that does not rise"
    if intensity.min() < 0 or (scan.errors is not None and scan.errors.min() < 0):
        return "negative values"
    has_wavelength = scan.wavelength is None or 0 < scan.wavelength < np.inf
    if scan.kind not in (None, *AXIS_UNITS) or not has_wavelength:
        return f"kind {scan.kind} or wavelength {scan.wavelength}"
    has_times = all(t is None or isinstance(t, datetime.datetime) for t in (scan.start_time, scan.end_time))
    if not has_times or not all(isinstance(value, str) for value in scan.metadata.values()):
        return "times or metadata"
    return ""


def outcome(path: Path) -> str:
    """Return 'read' or 'refused', else what went wrong; warnings count as errors."""
    try:
        warnings.simplefilter("error")
        broken = next(filter(None, map(broken_promise, patterns.read_scans(path))), "")
        return f"broken promise: {broken}" if broken else "read"
    except UserError as error:
        line = str(error)
        is_good = "\n" not in line and path.name in line and len(line) < _MAX_LINE
        return "refused" if is_good else f"bad message: {line[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def memory_bytes(key: str) -> int:
    """Return the resident memory of this process, now (VmRSS) or at its peak (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    match = re.search(rf"{key}:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0


def reset_peak_memory() -> int:
    """Start the peak of resident memory again and return the bytes in use; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_bytes("VmRSS")


def _time_out(*_: Any) -> None:
    raise TimeoutError(f"over {MAX_SECONDS} s")


def _try_inputs(numbers: range, folder: str, pipe: Any) -> None:
    """Try inputs and send (number, outcome, seconds) of each; what a process dies of, its parent sees."""
    files = seed_files(folder)
    signal.signal(signal.SIGPROF, _time_out)  # of the processor's time, so that a busy machine is no failure
    with tempfile.TemporaryDirectory() as scratch:
        for number in numbers:
            pipe.send((number, "started", 0.0))
            name, content = mutate(number, files)
            path = Path(scratch) / name
            path.write_bytes(content)
            before, begun = reset_peak_memory(), time.process_time()
            signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
            try:
                result = outcome(path)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            seconds = time.process_time() - begun
            if (extra := memory_bytes("VmHWM") - before) > 4 * len(content) + MAX_EXTRA_BYTES:
                result = f"took {extra >> 20} MiB for a file of {len(content) >> 10} KiB"
            pipe.send((number, result, seconds))
            path.unlink()


class Fuzzing:
    """Tries inputs in processes that may die.

    Attributes:
      counts: outcomes by name.
      failures: (number, reason) of inputs.
      slowest: the longest time that one input took, in s.
    """

    def __init__(self, folder: str):
        self.folder = folder
        self.counts: collections.Counter[str] = collections.Counter()
        self.failures: list[tuple[int, str]] = []
        self.slowest = 0.0

    def run(self, numbers: range) -> None:
        """Try the inputs, with a new process after each one that dies."""
        following = numbers.start
        while following < numbers.stop:
            receiver, sender = multiprocessing.Pipe(duplex=False)
            arguments = range(following, numbers.stop), self.folder, sender
            process = multiprocessing.get_context("spawn").Process(target=_try_inputs, args=arguments)
            process.start()
            sender.close()
            try:
                while True:
                    if not receiver.poll(10 * MAX_SECONDS):  # a loop in a C library hears no alarm
                        process.kill()
                        raise EOFError
                    number, result, seconds = receiver.recv()
                    following = number + 1
                    self.slowest = max(self.slowest, seconds)
                    if result in _GOOD:
                        self.counts[result] += 1
                    elif result != "started":
                        self._fail(number, result)
            except EOFError:
                process.join()
            if process.exitcode:
                self._fail(following - 1, f"the process died with {process.exitcode}")

    def _fail(self, number: int, reason: str) -> None:
        print(f"  input {number}: {reason}", flush=True)
        self.counts["failed"] += 1
        self.failures.append((number, reason))


def main(_: Any) -> None:
    begun = time.perf_counter()
    fuzzing = Fuzzing(_DATA.value)
    fuzzing.run(range(_SEED.value, _SEED.value + _INPUTS.value))
    counts, total = fuzzing.counts, sum(fuzzing.counts.values())
    print(f"{total} inputs: {counts['read']} read, {counts['refused']} refused, {counts['failed']} failed; ", end="")
    print(f"slowest {fuzzing.slowest:.2f} s; {time.perf_counter() - begun:.0f} s in all")
    if _KEEP.value:
        Path(_KEEP.value).mkdir(parents=True, exist_ok=True)
        files = seed_files(_DATA.value)
        for number, _ in fuzzing.failures[:50]:
            name, content = mutate(number, files)
            (Path(_KEEP.value) / f"{number}_{name}").write_bytes(content)
    if _JSON.value:
        figures = {"inputs": total, "slowest_s": round(fuzzing.slowest, 3), "failures": fuzzing.failures}
        Path(_JSON.value).write_text(json.dumps(dict(counts) | figures, indent=1) + "\n")
    if fuzzing.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
