"""A csv file that is the record of what has been done: every line is on the disk before the next pattern is reported.

A line is whole or it is not there. What a killed process or a lost power supply left half-written at the end is dropped
when the file is opened again, and the pattern of that line, which was never reported as done, is done anew.
"""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from xrd_jax import files
from xrd_jax.errors import UserError

try:
    import fcntl
except ImportError:  # no such locks on this system: two processes on one record are not noticed
    fcntl = None  # type: ignore[assignment]


class AppendLog:
    """Rows of a csv file, appended durably by one process at a time.

    Attributes:
      rows: what the file held when it was opened, without the heading.
      is_repaired: a half-written end was dropped.
    """

    def __init__(self, path: Path, heading: Sequence[str]):
        """Open or make the file.

        Raises:
          UserError: it cannot be written, another process writes it, or it holds something else.
        """
        self._path, self._heading = path, list(heading)
        try:
            self._file: BinaryIO = path.open("a+b", buffering=0)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
        try:
            self._lock()
            self.rows, self.is_repaired = self._read()
        except BaseException:
            self._file.close()
            raise

    def append(self, rows: Sequence[Sequence[object]]) -> None:
        """Add rows, and return when they are on the disk.

        Raises:
          UserError: the disk is full; what went in half is taken out again.
        """
        end = self._file.seek(0, os.SEEK_END)
        content = memoryview(files.csv_bytes(rows))
        try:
            while content:
                content = content[self._file.write(content) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise UserError(
                f"{self._path}: cannot be written ({error.strerror}); free some space, then the same command goes on"
            ) from None

    def close(self) -> None:
        self._file.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{self._path}: another process is writing it; end that one or choose --out") from None
        except OSError:
            pass  # a file system without locks

    def _read(self) -> tuple[list[list[str]], bool]:
        """Return the rows without the heading, and whether a half-written end was dropped."""
        self._file.seek(0)
        content = self._file.readall()  # type: ignore[attr-defined]
        whole = content[: content.rfind(b"\n") + 1]
        # After a power cut a file may have its length but not yet its content.
        zero = whole.find(b"\0")
        whole = whole if zero < 0 else whole[: whole.rfind(b"\n", 0, zero) + 1]
        rows = list(csv.reader(whole.decode("utf-8", "surrogateescape").split("\n")[:-1]))
        if len(rows) > 1 and rows[-1] and len(rows[-1]) != len(self._heading):
            whole = whole[: whole.rfind(b"\n", 0, len(whole) - 1) + 1]
            rows.pop()
        if rows and rows[0] != self._heading:
            raise UserError(f"{self._path}: has other columns than these predictions; choose another --out")
        for number, row in enumerate(rows[1:], 2):
            if len(row) != len(self._heading):
                raise UserError(f"{self._path}: line {number} is damaged; mend it, or choose another --out")
        is_repaired = len(whole) < len(content)
        if is_repaired:
            self._file.truncate(len(whole))
        if not rows:
            self.append([self._heading])
        elif is_repaired:
            os.fsync(self._file.fileno())
        return rows[1:], is_repaired
