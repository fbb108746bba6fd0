"""Binary files and archives are tried first in a process of their own, which a damaged one may slow down or fill.

Text is read as it is, since its readers take little more than the file. The child is started with the first file that
is none, lives as long as this process, and answers a line of JSON for each line with a name.
"""

import atexit
import contextlib
import functools
import io
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers, patterns
from xrd_jax.io.parsing.hdf5 import SIGNATURE, split_inner_path
from xrd_jax.io.parsing.text import is_text, read_head
from xrd_jax.io.reading import worker
from xrd_jax.series.record import PatternSeries

_REMEDY = "the file is damaged: copy or export it again"
BASE_SECONDS, SECONDS_PER_MIB = 25.0, 1.0


def check(path: Path) -> None:
    """Try to read a pattern file, log or saved series that is no text; its name may go on after '::'.

    Raises:
      UserError: it cannot be read, or not within `time_limit` and `worker.limited_memory`.
    """
    file, _ = split_inner_path(path)
    if is_text(read_head(file)):
        return
    if (fault := reading_process().ask(path, time_limit(file))) is not None:
        raise UserError(fault)


def time_limit(file: Path) -> float:
    """Return the seconds that reading a file may take."""
    try:
        return BASE_SECONDS + SECONDS_PER_MIB * file.stat().st_size / 2**20
    except OSError:
        return BASE_SECONDS


def hang_error(file: Path) -> UserError:
    """Return the refusal of a file that took too long."""
    return UserError(f"{file}: reading it takes over {time_limit(file):.0f} s; {_REMEDY}")


class ReadingProcess:
    """A process that tries to read files, and the thread that waits for its answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def ask(self, path: Path, seconds: float) -> str | None:
        """Return why a file cannot be read, or None."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            reason = "ends the process that tries"
            try:
                process.stdin.write(json.dumps([str(path), os.getcwd()]) + "\n")
                process.stdin.flush()
                if answer := self._answers.get(timeout=seconds):
                    fault = json.loads(answer)
                    return None if fault is None else str(fault)
            except queue.Empty:
                reason = f"takes over {seconds:.0f} s"
            except OSError:
                pass  # it has ended
            self.stop()
            return f"{path}: reading it {reason}; {_REMEDY}"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            # A session of its own, because an interrupt is for this process, at whose end its input ends too.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "xrd_jax.io.reading.guard"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True, env=worker.environment(), start_new_session=True,
            )  # fmt: skip
            self._answers = queue.Queue()
            threading.Thread(target=_pass_on, args=(self._process.stdout or (), self._answers), daemon=True).start()
        return self._process

    def stop(self) -> None:
        """End the process; the next question starts another."""
        if self._process is not None:
            with contextlib.suppress(OSError), self._process:
                self._process.kill()
            self._process = None


def _pass_on(stream: Iterable[str], answers: queue.Queue[str]) -> None:
    for line in stream:
        answers.put(line)
    answers.put("")  # the child has ended


@functools.cache
def reading_process() -> ReadingProcess:
    """Return the process of this one, which starts with the first question."""
    child = ReadingProcess()
    atexit.register(child.stop)
    return child


def serve(source: Iterable[str], sink: io.TextIOBase) -> None:
    """Answer for each line [name, working directory] why the file cannot be read, or null."""
    for line in source:
        name, directory = json.loads(line)
        fault = None
        try:
            os.chdir(directory)
            with worker.limited_memory(Path(name)):
                _read(Path(name))
        except UserError as error:
            fault = str(error)
        except Exception as error:  # whatever a library raises where memory ends
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            fault = f"{name}: cannot be read ({reason}); copy or export it again"
        sink.write(json.dumps(fault) + "\n")
        sink.flush()


def _read(path: Path) -> None:
    """Read a file as whoever predicts or watches does; patterns of a saved series stay on disk."""
    file, inner = split_inner_path(path)
    if not inner and read_head(file).startswith(SIGNATURE):
        with contextlib.suppress(UserError):
            PatternSeries.load(file, 0)
            return
    if not inner and (reader := cyclers.reader_of(file)) is not None:
        cyclers.read_cycler(file, reader.name)
    else:
        patterns.read_scans(path, allow_negative=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print, and answers must stay lines of JSON
    serve(sys.stdin, answers)
