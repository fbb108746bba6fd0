"""A process that reads pattern files for another one: names in, arrays out.

It is started with `python -m xrd_jax.io.reading.worker` rather than forked, because a process that has loaded JAX
holds threads and must not be forked, and rather than by `multiprocessing`, which would run the user's own script anew.

On standard input: lines of JSON, the first {"allow_negative": bool, "columns": [..]}, the others a file name each. On
standard output, for each file: a line of JSON, then the numbers that it announces as little-endian float64. An axis
that equals the one before it is not sent again.
"""

import contextlib
import dataclasses
import datetime
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.parsing.hdf5 import split_inner_path
from xrd_jax.io.parsing.text import read_head
from xrd_jax.io.patterns import frames
from xrd_jax.io.patterns.pattern import Pattern

try:
    import resource
except ImportError:  # Windows has no such limits; the time is limited there too
    resource = None  # type: ignore[assignment]

EXTRA_BYTES = 200 * 2**20  # beyond four times the file
FRAME_BYTES = 3 * 2**30  # the look-up table of a detector's geometry, which its frames share
EXTRA_BYTES = 200 * 2**20  # that reading a file may take beyond four times its size
FRAME_BYTES = 3 * 2**30  # the look-up table of a detector's geometry, which its frames share
TEXT_SUFFIXES = (".xy", ".xye", ".dat", ".csv", ".txt", ".chi")  # whose readers take little more than the file
_DATES = ("start_time", "end_time")
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
_ARRAYS = ("axis", "intensity", "errors")


def environment() -> dict[str, str]:
    """Return the variables of a process that reads: this package, one thread, and the plain allocator."""
    path = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH")]))
    # The parent's allocator is tuned for training.
    settings = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GLIBC_TUNABLES": ""}
    return os.environ | settings


@contextlib.contextmanager
def limited_memory(path: Path) -> Iterator[None]:
    """Limit what this process may allocate while it reads a file; a library that asks for more raises `MemoryError`."""
    file, _ = split_inner_path(path)
    if resource is None or not file.is_file() or not Path("/proc/self/status").exists():
        yield
        return
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData")) * 1024
    extra = FRAME_BYTES if frames.recognises(read_head(file), file) else EXTRA_BYTES
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + 4 * file.stat().st_size + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def facts_to_json(pattern: Pattern) -> dict[str, Any]:
    """Return all of a pattern but its arrays, as JSON."""
    names = [field.name for field in dataclasses.fields(pattern) if field.name not in _ARRAYS]
    facts = {name: getattr(pattern, name) for name in names}
    facts |= {name: None if facts[name] is None else facts[name].isoformat() for name in _DATES}
    return facts | {"metadata": dict(pattern.metadata), "notes": list(pattern.notes)}


def pattern_from_json(
    facts: dict[str, Any], axis: np.ndarray, intensity: np.ndarray, errors: np.ndarray | None
) -> Pattern:
    """Return the pattern of `facts_to_json` and its arrays."""
    dates = {name: facts[name] and datetime.datetime.fromisoformat(facts[name]) for name in _DATES}
    return Pattern(axis, intensity, errors, **(facts | dates | {"notes": tuple(facts["notes"])}))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Read files until the input ends."""
    options = json.loads(source.readline())
    options["columns"] = tuple(options["columns"])
    axis = np.zeros(0)
    for line in source:
        try:
            path = Path(json.loads(line))
            with contextlib.nullcontext() if path.suffix.lower() in TEXT_SUFFIXES else limited_memory(path):
                scans = patterns.read_scans(path, **options)
        except UserError as error:
            _send(sink, {"error": str(error)}, [])
        except Exception as error:  # a fault in a reader concerns one file, not the other ten thousand
            _send(sink, {"fault": f"{type(error).__name__}: {error}"}, [])
        else:
            axis = send_scans(sink, scans, axis)


def send_scans(sink: BinaryIO, scans: Sequence[Pattern], axis: np.ndarray) -> np.ndarray:
    """Send the scans of a file; `axis` is the one sent last. Return the one that is so now."""
    heads, arrays = [], []
    for scan in scans:
        is_new_axis, has_errors = not np.array_equal(scan.axis, axis), scan.errors is not None
        axis = scan.axis
        head = {"points": axis.size, "axis": is_new_axis, "errors": has_errors}
        heads.append(head | facts_to_json(scan))
        arrays += [*([axis] if is_new_axis else []), scan.intensity, *([scan.errors] if has_errors else [])]
    _send(sink, {"scans": heads}, arrays)
    return axis


def _send(sink: BinaryIO, head: dict[str, Any], arrays: Sequence[np.ndarray | None]) -> None:
    sink.write(json.dumps(head).encode() + b"\n")
    for array in arrays:
        sink.write(np.ascontiguousarray(array, "<f8").tobytes())
    sink.flush()


class Replies:
    """The other end: receives what `serve` sends, one file at a time."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._axis = stream, np.zeros(0)

    def next(self) -> tuple[Pattern, ...] | UserError:
        """Return the next file's scans, or the error that it gave.

        Raises:
          EOFError: the worker has died.
          RuntimeError: a fault in a reader.
        """
        line = self._stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        reply = json.loads(line)
        if "error" in reply:
            return UserError(reply["error"])
        if "fault" in reply:
            raise RuntimeError(reply["fault"])
        scans = []
        for head in reply["scans"]:
            points, is_new_axis, has_errors = (head.pop(name) for name in ("points", "axis", "errors"))
            if is_new_axis:
                self._axis = self._receive(points)
            intensity = self._receive(points)
            scans.append(pattern_from_json(head, self._axis, intensity, self._receive(points) if has_errors else None))
        return tuple(scans)

    def _receive(self, count: int) -> np.ndarray:
        data = self._stream.read(8 * count)
        if len(data) != 8 * count:
            raise EOFError
        return np.frombuffer(bytearray(data), "<f8")


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
