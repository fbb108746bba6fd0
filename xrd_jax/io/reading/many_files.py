"""Reads many pattern files: side by side in processes of their own, and from the cache what was read before."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import pattern_cache as caches
from xrd_jax.io.reading import worker
from xrd_jax.runtime.process import cores

Result = tuple[Pattern, ...] | UserError
MANY = 200  # below this, starting processes and looking into a cache takes longer than reading
AHEAD = 8  # names sent to a worker ahead of its answers: they must fit into a pipe
ROOT = Path(__file__).resolve().parents[3]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How many files are read.

    Attributes:
      cache: keep what the files held, and take it from there the next time.
      progress: draw a bar on standard error.
      workers: processes; 0 for one per core.
    """

    cache: bool = False
    progress: bool = False
    workers: int = 0

    def read_all(self, files: Sequence[Path], allow_negative: bool = False) -> list[Result]:
        """The scans of each file, or the error that it gives."""
        if len(files) < MANY:
            return [read_one(file, allow_negative) for file in files]
        store = caches.open_store(files, allow_negative) if self.cache else None
        results: list[Result | None] = list(store.take()) if store else [None] * len(files)
        missing = [i for i, result in enumerate(results) if result is None]
        with tqdm(total=len(files), initial=len(files) - len(missing), unit=" files", desc="reading",
                  disable=not self.progress or not missing, mininterval=0.2) as bar:  # fmt: skip
            for i, result in self._read([files[i] for i in missing], allow_negative, bar.update):
                results[missing[i]] = result
        found = _one_axis([result for result in results if result is not None])
        if store and missing:
            store.keep(found, missing)
        return found

    def _read(
        self, files: Sequence[Path], allow_negative: bool, tick: Callable[[int], object]
    ) -> Iterator[tuple[int, Result]]:
        """(place, result) of every file, in any order."""
        count = min(self.workers or cores(), len(files) // (MANY // 4))
        if count < 2:
            for i, file in enumerate(files):
                yield i, read_one(file, allow_negative)
                tick(1)
            return
        pool = _Pool(files, allow_negative, tick)
        try:
            pool.run(count)
        finally:
            pool.stop()
        for i, found in enumerate(pool.results):
            # A worker that has gone says nothing; whatever it left is read here.
            yield i, read_one(files[i], allow_negative) if found is None else found


def read_one(file: Path, allow_negative: bool) -> Result:
    """The scans of one file, or the error that it gives; a fault in a reader is an error too."""
    try:
        return patterns.read_scans(file, allow_negative)
    except UserError as error:
        return error
    except Exception as error:
        return _fault(file, f"{type(error).__name__}: {error}")


def _fault(file: Path, what: str) -> UserError:
    return UserError(f"{file}: cannot be read ({' '.join(what.split())[:200]}); copy or export it again")


def _one_axis(results: list[Result]) -> list[Result]:
    """The same results with equal axes held in memory once."""
    last, found = np.zeros(0), []
    for result in results:
        if isinstance(result, tuple):
            scans = []
            for one in result:
                if one.axis is not last and one.axis.shape == last.shape and np.array_equal(one.axis, last):
                    one = dataclasses.replace(one, axis=last)
                last = one.axis
                scans.append(one)
            result = tuple(scans)
        found.append(result)
    return found


class _Pool:
    """Workers and the threads that talk to them; files are dealt out a few at a time."""

    def __init__(self, files: Sequence[Path], allow_negative: bool, tick: Callable[[int], object]):
        self.results: list[Result | None] = [None] * len(files)
        self._files, self._allow_negative, self._tick = files, allow_negative, tick
        self._next, self._lock = 0, threading.Lock()
        self._workers: list[subprocess.Popen[bytes]] = []

    def run(self, count: int) -> None:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        # One thread each, and the plain allocator: the parent's is tuned for training.
        settings = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "GLIBC_TUNABLES": ""}
        for _ in range(count):
            self._workers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "xrd_jax.io.reading.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=os.environ | settings,
                    start_new_session=True,  # an interrupt is for this process, which stops its workers
                )
            )
        threads = [threading.Thread(target=self._talk, args=(one,), daemon=True) for one in self._workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def stop(self) -> None:
        for one in self._workers:
            one.kill()
            one.wait()
            for stream in (one.stdin, one.stdout):
                if stream:
                    with contextlib.suppress(OSError):
                        stream.close()

    def _talk(self, one: subprocess.Popen[bytes]) -> None:
        assert one.stdin and one.stdout
        answers = worker.Answers(typing.cast(typing.BinaryIO, one.stdout))
        with contextlib.suppress(EOFError, OSError):
            one.stdin.write(json.dumps({"allow_negative": self._allow_negative}).encode() + b"\n")
            while mine := self._deal():
                one.stdin.writelines(json.dumps(str(self._files[i])).encode() + b"\n" for i in mine)
                one.stdin.flush()
                for i in mine:
                    try:
                        self.results[i] = answers.next()
                    except RuntimeError as fault:
                        self.results[i] = _fault(self._files[i], str(fault))
                with self._lock:
                    self._tick(len(mine))

    def _deal(self) -> list[int]:
        with self._lock:
            begin, self._next = self._next, min(self._next + AHEAD, len(self._files))
            return list(range(begin, self._next))
