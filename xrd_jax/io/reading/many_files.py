"""Many pattern files: read side by side in processes of their own, and from the cache what was read before."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.patterns.columns import ColumnNames
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import guard, pattern_cache, worker
from xrd_jax.runtime.process import cores

ReadResult = tuple[Pattern, ...] | UserError
Options = dict[str, Any]  # keyword arguments of `patterns.read_scans`
MIN_PARALLEL_FILES = 200  # below this, starting processes and looking into a cache takes longer than reading
MIN_FILES_PER_WORKER = 50
_WATCH_S = 1.0  # between looks for a worker that hangs
NAMES_AHEAD = 8  # names sent to a worker ahead of its replies: they must fit into a pipe


@dataclasses.dataclass(frozen=True)
class BatchReader:
    """Reads lists of files."""

    cache: bool = False  # keep what the files held, and take it from there the next time
    progress: bool = False  # draw a bar on standard error
    workers: int = 0  # processes; 0 for one per core

    def read_all(
        self, files: Sequence[Path], allow_negative: bool = False, columns: ColumnNames = ()
    ) -> list[ReadResult]:
        """Return the scans of each file, or the error that it gives; the options are those of `patterns.read_scans`."""
        options: Options = {"allow_negative": allow_negative, "columns": columns}
        if len(files) < MIN_PARALLEL_FILES:
            return [read_file(file, **options) for file in files]
        cache = pattern_cache.open_cache(files, options) if self.cache else None
        results: list[ReadResult | None] = [*cache.get_all()] if cache else [None] * len(files)
        missing = [i for i, result in enumerate(results) if result is None]
        with tqdm(total=len(files), initial=len(files) - len(missing), unit=" files", desc="reading",
                  disable=not self.progress or not missing, mininterval=0.2) as bar:  # fmt: skip
            for i, result in self._read([files[i] for i in missing], options, bar.update):
                results[missing[i]] = result
        complete = _share_axes([result for result in results if result is not None])
        if cache and missing:
            cache.store(complete, missing)
        return complete

    def _read(
        self, files: Sequence[Path], options: Options, advance: Callable[[int], object]
    ) -> Iterator[tuple[int, ReadResult]]:
        """(index, result) of every file, in any order."""
        count = min(self.workers or cores(), len(files) // MIN_FILES_PER_WORKER)
        if count < 2:
            for i, file in enumerate(files):
                yield i, read_file(file, **options)
                advance(1)
            return
        pool = _WorkerPool(files, options, advance)
        try:
            pool.run(count)
        finally:
            pool.stop()
        for i, result in enumerate(pool.results):  # a worker that has died sends nothing; what it left is read here
            yield i, read_guarded(files[i], **options) if result is None else result


def read_file(file: Path, allow_negative: bool, columns: ColumnNames = ()) -> ReadResult:
    """Return the scans of one file, or the error that it gives; a fault in a reader is an error too."""
    try:
        return patterns.read_scans(file, allow_negative, columns)
    except UserError as error:
        return error
    except Exception as error:
        return _fault_error(file, f"{type(error).__name__}: {error}")


def read_guarded(file: Path, allow_negative: bool, columns: ColumnNames = ()) -> ReadResult:
    """Return what `read_file` does, after a binary file has been tried in a process with limits."""
    try:
        guard.check(file)
    except UserError as error:
        return error
    return read_file(file, allow_negative, columns)


def _fault_error(file: Path, fault: str) -> UserError:
    return UserError(f"{file}: cannot be read ({' '.join(fault.split())[:200]}); copy or export it again")


def _share_axes(results: list[ReadResult]) -> list[ReadResult]:
    """The same results with equal axes held in memory once."""
    previous, shared = np.zeros(0), []
    for result in results:
        if isinstance(result, tuple):
            scans = []
            for scan in result:
                if scan.axis is not previous and np.array_equal(scan.axis, previous):
                    scan = dataclasses.replace(scan, axis=previous)
                previous = scan.axis
                scans.append(scan)
            result = tuple(scans)
        shared.append(result)
    return shared


class _WorkerPool:
    """Workers and the threads that talk to them; files are dealt out a few at a time."""

    def __init__(self, files: Sequence[Path], options: Options, advance: Callable[[int], object]):
        self.results: list[ReadResult | None] = [None] * len(files)
        self._files, self._options, self._advance = files, options, advance
        self._next, self._lock = 0, threading.Lock()
        self._workers: list[subprocess.Popen[bytes]] = []
        self._deadlines: dict[subprocess.Popen[bytes], tuple[int, float]] = {}  # file being read, and until when

    def run(self, count: int) -> None:
        for _ in range(count):
            # A session of its own, because an interrupt is for this process, which stops its workers.
            self._workers.append(subprocess.Popen(
                [sys.executable, "-m", "xrd_jax.io.reading.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, env=worker.environment(), start_new_session=True,
            ))  # fmt: skip
        threads = [threading.Thread(target=self._talk, args=(process,), daemon=True) for process in self._workers]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            threads[0].join(timeout=_WATCH_S)
            threads = [thread for thread in threads if thread.is_alive()]
            self._stop_those_that_hang()

    def _stop_those_that_hang(self) -> None:
        for process, (i, deadline) in list(self._deadlines.items()):
            if time.monotonic() > deadline and self.results[i] is None:
                self.results[i] = guard.hang_error(self._files[i])
                process.kill()

    def stop(self) -> None:
        for process in self._workers:
            with contextlib.suppress(OSError), process:
                process.kill()

    def _talk(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin and process.stdout
        replies = worker.Replies(typing.cast(typing.BinaryIO, process.stdout))
        with contextlib.suppress(EOFError, OSError):
            process.stdin.write(json.dumps(self._options).encode() + b"\n")
            while indices := self._deal():
                process.stdin.writelines(json.dumps(str(self._files[i])).encode() + b"\n" for i in indices)
                process.stdin.flush()
                for i in indices:
                    self._deadlines[process] = i, time.monotonic() + guard.time_limit(self._files[i])
                    try:
                        self.results[i] = replies.next()
                    except RuntimeError as fault:
                        self.results[i] = _fault_error(self._files[i], str(fault))
                self._deadlines.pop(process, None)
                with self._lock:
                    self._advance(len(indices))

    def _deal(self) -> list[int]:
        """Indices of the next files."""
        with self._lock:
            begin, self._next = self._next, min(self._next + NAMES_AHEAD, len(self._files))
            return list(range(begin, self._next))
