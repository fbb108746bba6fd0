"""Does any damaged, mislabelled or hostile file hang, crash, fill the memory or give a pattern that is none?

    python -m experiments.benchmarks.reader_fuzzing --inputs=20000
    python -m experiments.benchmarks.reader_fuzzing --inputs=2000 --data=FOLDER --json=fuzz.json

Takes small files of every pattern format (and those of a folder, up to 1 MiB each), harms each copy in one to three
ways, and reads it as `read_scans` would. A good outcome is patterns that keep every promise of `Pattern`, or a
`UserError` of one line that names the file, within ten seconds and four times the file plus 200 MiB of memory. The
number of any other input is printed, and the file kept in --keep. About 200 inputs a second and core.
"""

from __future__ import annotations

import collections
import datetime
import io
import json
import multiprocessing
import random
import re
import signal
import tempfile
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from experiments.benchmarks import synthetic_files
from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.series import axis as series_axis

_INPUTS = flags.DEFINE_integer("inputs", 2000, "How many files to try.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the first input; input i uses seed + i.")
_DATA = flags.DEFINE_string("data", "", "Folder of real files to harm as well.")
_JSON = flags.DEFINE_string("json", "", "Where to write the figures.")
_KEEP = flags.DEFINE_string("keep", "", "Folder for inputs that failed.")

SECONDS, BEYOND = 10, 200 * 2**20
_SUFFIXES = (".xy", ".raw", ".brml", ".h5", ".xrdml", ".ras", ".cbf", ".txt", ".csv", "", ".tif")
_EXTREMES = (0, 1, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 40)
_DOCTYPE = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM '
    b'"file:///etc/passwd">]>'
)

Seeds = list[tuple[str, bytes]]


def seeds(folder: str = "") -> Seeds:
    """(name, content) of small files of every format, and of the files of a folder."""
    scans = [(10.0, 0.02, np.arange(40) % 7 * 13.0), (12.0, 0.04, np.arange(30) % 5 * 11.0)]
    made = [(f"a{suffix}", write(scans[: 1 + many])) for suffix, write, many in synthetic_files.FORMATS.values()]
    made += [("b.csv", b"theta;intensity;sigma\n5,00;10,5;1\n5,02;11;1,5\n5,04;12;2\n")]
    made += [("b.chi", b"a\n2-Theta Angle (Degrees)\nIntensity\n 4\n 1.0 2\n 1.1 3\n 1.2 4\n 1.3 4\n")]
    files = sorted(p for p in Path(folder).rglob("*") if p.is_file()) if folder else []
    return made + [(p.name, p.read_bytes()) for p in files if p.stat().st_size <= 2**20]


def _flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 3, 20))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _remove(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 7, 100, 3000))]


def _repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 20, 500))]
    data[start:start] = piece * draw.choice((1, 3, 1000))


def _extreme(data: bytearray, draw: random.Random) -> None:
    value = draw.choice(_EXTREMES).to_bytes(8, "little")[: draw.choice((2, 4, 8))]
    start = draw.randrange(max(1, len(data) - 8)) if draw.random() < 0.5 else draw.randrange(min(len(data), 900))
    data[start : start + len(value)] = value


def _number(data: bytearray, draw: random.Random) -> None:
    found = list(re.finditer(rb"\d+", data[:200_000]))
    if found:
        chosen = draw.choice(found)
        new = (b"-1", b"0", b"1e999", b"nan", b"99999999999999999999", b"1,5", b"0x10", b"1_0", b"-")
        data[chosen.start() : chosen.end()] = draw.choice(new)


def _insert(data: bytearray, draw: random.Random) -> None:
    new = (
        b"\n\n",
        b"#",
        b"\x00",
        b"\xff\xfe",
        b"1 2 3 4\n",
        _DOCTYPE,
        b"<a>" * 5000,
        b"\xe9",
        b"1 " * 20_000,
        b"\n" * 30_000,
    )
    at = draw.choice((0, draw.randrange(len(data)), max(data.find(b"?>") + 2, 0)))
    data[at:at] = draw.choice(new)


def _splice(data: bytearray, draw: random.Random, others: Seeds) -> None:
    other = draw.choice(others)[1]
    at, start = draw.randrange(len(data)), draw.randrange(len(other))
    data[at:] = other[start : start + 20_000]


def _archive(data: bytearray, draw: random.Random) -> None:
    """Harms members of an archive before they are packed again, or packs something hostile with them."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as opened:
            members = {name: opened.read(name) for name in opened.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, RuntimeError, zlib.error):
        return
    name = draw.choice(list(members) or ["x"])
    harmed = bytearray(members.pop(name, b"x") or b"x")
    draw.choice((_flip, _cut, _remove, _repeat, _number, _insert))(harmed, draw)
    tricks = (name, name, "../" + name, "/etc/passwd", "C:\\x", name.replace("0", "999999"), "Data0/Profile0.txt")
    bomb = draw.random() < 0.05
    members[draw.choice(tricks)] = bytes(harmed) + (b"0" * draw.choice((50, 300)) * 2**20 if bomb else b"")
    data[:] = synthetic_files.archive(members)


def harm(number: int, files: Seeds) -> tuple[str, bytes]:
    """Name and content of one harmed file, the same for the same number."""
    draw = random.Random(number)
    name, content = draw.choice(files)
    data = bytearray(content)
    ways: list[Callable[[bytearray, random.Random], None]] = [_flip, _cut, _remove, _repeat, _extreme, _number, _insert]
    if content.startswith(b"PK"):
        ways = [*ways, _archive, _archive, _archive, _archive]
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not data:
            break
        if draw.random() < 0.1:
            _splice(data, draw, files)
        else:
            draw.choice(ways)(data, draw)
    stem, dot, suffix = name.rpartition(".")
    return (stem + draw.choice(_SUFFIXES) if draw.random() < 0.2 else stem + dot + suffix), bytes(data)


def broken_promise(scan: patterns.Pattern) -> str:
    """What is wrong with a pattern, or ''."""
    axis, intensity = scan.axis, scan.intensity
    columns = [axis, intensity] + ([] if scan.errors is None else [scan.errors])
    if any(c.shape != axis.shape or c.dtype != np.float64 or c.ndim != 1 for c in columns) or axis.size < 2:
        return "shapes or types"
    if not all(np.isfinite(c).all() for c in columns) or not (np.diff(axis) > 0).all():
        return "values that are not finite, or an axis that does not rise"
    if intensity.min() < 0 or (scan.errors is not None and scan.errors.min() < 0):
        return "negative values"
    if scan.kind not in (None, *series_axis.AXIS_UNITS) or not (
        scan.wavelength is None or 0 < scan.wavelength < np.inf
    ):
        return f"kind {scan.kind} or wavelength {scan.wavelength}"
    stamps = (scan.start_time, scan.end_time)
    if not all(t is None or isinstance(t, datetime.datetime) for t in stamps) or not all(
        isinstance(v, str) for v in scan.metadata.values()
    ):
        return "times or metadata"
    return ""


def outcome(path: Path) -> str:
    """'read' or 'refused', else what went wrong; warnings count as errors."""
    try:
        warnings.simplefilter("error")
        wrong = next(filter(None, map(broken_promise, patterns.read_scans(path))), "")
        return f"broken promise: {wrong}" if wrong else "read"
    except UserError as error:
        line = str(error)
        good = "\n" not in line and path.name in line and len(line) < 1000
        return "refused" if good else f"bad message: {line[:200]!r}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def memory(key: str) -> int:
    """Resident memory of this process in bytes, now (VmRSS) or at its peak (VmHWM)."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def start_peak() -> int:
    """Starts the peak of resident memory again and gives the memory in use, in bytes; Linux only."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"over {SECONDS} s")


def _work(numbers: range, folder: str, pipe: Any) -> None:
    """Tries inputs and sends (number, outcome, seconds) of each; what a process dies of, its parent sees."""
    files = seeds(folder)
    signal.signal(signal.SIGPROF, _too_long)  # of the processor's time, so that a busy machine is no failure
    with tempfile.TemporaryDirectory() as scratch:
        for number in numbers:
            pipe.send((number, "started", 0.0))
            name, content = harm(number, files)
            path = Path(scratch) / name
            path.write_bytes(content)
            before, begun = start_peak(), time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                result = outcome(path)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            taken = time.process_time() - begun
            if (extra := memory("VmHWM") - before) > 4 * len(content) + BEYOND:
                result = f"took {extra >> 20} MiB for a file of {len(content) >> 10} KiB"
            pipe.send((number, result, taken))
            path.unlink()


def run(
    count: int, seed: int, folder: str, processes: int = 2
) -> tuple[collections.Counter[str], list[tuple[int, str]], float]:
    """Outcomes by name, failures with their input number, and the longest time that one input took in s."""
    counts: collections.Counter[str] = collections.Counter()
    failures: list[tuple[int, str]] = []
    slowest = 0.0
    for part in range(processes):  # one after another keeps the machine free; each process dies alone
        at, stop = seed + part * count // processes, seed + (part + 1) * count // processes
        while at < stop:
            here, there = multiprocessing.Pipe(duplex=False)
            worker = multiprocessing.get_context("spawn").Process(target=_work, args=(range(at, stop), folder, there))
            worker.start()
            there.close()
            try:
                while True:
                    if not here.poll(10 * SECONDS):  # a loop in a C library hears no alarm
                        worker.kill()
                        raise EOFError
                    number, result, taken = here.recv()
                    at = number + 1
                    if result != "started":
                        slowest = max(slowest, taken)
                        counts[result if result in ("read", "refused") else "failed"] += 1
                        failures += [] if result in ("read", "refused") else [_failed(number, result)]
            except EOFError:
                worker.join()
            if worker.exitcode:
                counts["failed"] += 1
                failures.append(_failed(at - 1, f"the process died with {worker.exitcode}"))
    return counts, failures, slowest


def _failed(number: int, reason: str) -> tuple[int, str]:
    print(f"  input {number}: {reason}", flush=True)
    return number, reason


def main(_: Any) -> None:
    begun = time.perf_counter()
    counts, failures, slowest = run(_INPUTS.value, _SEED.value, _DATA.value)
    total = sum(counts.values())
    print(f"{total} inputs: {counts['read']} read, {counts['refused']} refused, {counts['failed']} failed; ", end="")
    print(f"slowest {slowest:.2f} s; {time.perf_counter() - begun:.0f} s in all")
    for number, _ in failures[:50]:
        if _KEEP.value:
            name, content = harm(number, seeds(_DATA.value))
            Path(_KEEP.value).mkdir(parents=True, exist_ok=True)
            (Path(_KEEP.value) / f"{number}_{name}").write_bytes(content)
    if _JSON.value:
        figures = dict(counts) | {"inputs": total, "slowest_s": round(slowest, 3), "failures": failures}
        Path(_JSON.value).write_text(json.dumps(figures, indent=1) + "\n")
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
