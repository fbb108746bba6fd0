"""A process that reads pattern files for another one: names in, arrays out.

It is started with `python -m xrd_jax.io.reading.worker` rather than forked, because a process that has loaded JAX
holds threads and must not be forked, and rather than by `multiprocessing`, which would run the user's own script anew.

On standard input: lines of JSON, the first {"allow_negative": bool}, the others a file name each. On standard output,
for each file: a line of JSON, then the numbers that it announces as little-endian float64. An axis that equals the one
before it is not sent again.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.patterns.pattern import Pattern

_DATES = ("start_time", "end_time")
_ARRAYS = ("axis", "intensity", "errors")


def facts(one: Pattern) -> dict[str, Any]:
    """All of a pattern but its arrays, as JSON."""
    found = {field.name: getattr(one, field.name) for field in dataclasses.fields(one) if field.name not in _ARRAYS}
    found |= {name: None if found[name] is None else found[name].isoformat() for name in _DATES}
    return found | {"metadata": dict(one.metadata), "notes": list(one.notes)}


def pattern(found: dict[str, Any], axis: np.ndarray, intensity: np.ndarray, errors: np.ndarray | None) -> Pattern:
    """The inverse of `facts`."""
    dates = {name: found[name] and datetime.datetime.fromisoformat(found[name]) for name in _DATES}
    return Pattern(axis, intensity, errors, **(found | dates | {"notes": tuple(found["notes"])}))


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Reads files until the input ends."""
    allow_negative = json.loads(source.readline())["allow_negative"]
    last = np.zeros(0)
    for line in source:
        try:
            scans = patterns.read_scans(Path(json.loads(line)), allow_negative)
        except UserError as error:
            _send(sink, {"error": str(error)}, [])
            continue
        except Exception as error:  # a fault in a reader concerns one file, not the other ten thousand
            _send(sink, {"fault": f"{type(error).__name__}: {error}"}, [])
            continue
        heads, arrays = [], []
        for one in scans:
            again = one.axis.shape == last.shape and np.array_equal(one.axis, last)
            last = one.axis
            heads.append({"points": one.axis.size, "axis": not again, "errors": one.errors is not None, **facts(one)})
            arrays += [*([] if again else [one.axis]), one.intensity, *([] if one.errors is None else [one.errors])]
        _send(sink, {"scans": heads}, arrays)


def _send(sink: BinaryIO, head: dict[str, Any], arrays: list[np.ndarray]) -> None:
    sink.write(json.dumps(head).encode() + b"\n")
    for array in arrays:
        sink.write(np.ascontiguousarray(array, "<f8").tobytes())
    sink.flush()


class Answers:
    """The other end: reads what `serve` sends, one file at a time."""

    def __init__(self, stream: BinaryIO):
        self._stream, self._axis = stream, np.zeros(0)

    def next(self) -> tuple[Pattern, ...] | UserError:
        """The next file's scans, or the error that it gave.

        Raises:
          EOFError: the worker has gone.
          RuntimeError: a fault in a reader.
        """
        line = self._stream.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        head = json.loads(line)
        if "error" in head:
            return UserError(head["error"])
        if "fault" in head:
            raise RuntimeError(head["fault"])
        scans = []
        for one in head["scans"]:
            points, sent, uncertain = (one.pop(name) for name in ("points", "axis", "errors"))
            if sent:
                self._axis = self._floats(points)
            intensity = self._floats(points)
            scans.append(pattern(one, self._axis, intensity, self._floats(points) if uncertain else None))
        return tuple(scans)

    def _floats(self, count: int) -> np.ndarray:
        data = self._stream.read(8 * count)
        if len(data) != 8 * count:
            raise EOFError
        return np.frombuffer(bytearray(data), "<f8")


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
