"""Files that appear in a folder while an experiment runs: which of them are ready to be read, and which stay bad.

A file is ready once its size and date have not changed for a while. One that cannot be read then, or reads as cut, is
tried again, at first soon and then more seldom, and reported once when it has stayed so for longer than `patience`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import text

SETTLE_S = 0.4  # without a change, after which a file is read: a slow writer pauses for less
MAX_PAUSE_S = 300.0  # between attempts at a file that stays bad
IGNORED_ENDINGS = (".partial", ".tmp", ".part")  # of files that are still being copied
FileState = tuple[int, int, int]


@dataclasses.dataclass
class WatchedFile:
    """One file; times are s on a monotonic clock.

    Attributes:
      state, since: its inode, size and date, as last seen, and when they were seen first.
      read_state: the state in which it was read to its end; None before.
      problem: the last refusal, '' where there was none.
      pause, next_attempt: s between attempts at a bad file, and when the next one is due.
      is_present: it was there when the folder was scanned last.
    """

    path: Path
    state: FileState
    since: float
    read_state: FileState | None = None
    problem: str = ""
    is_reported: bool = False
    pause: float = 1.0
    next_attempt: float = 0.0
    is_present: bool = True

    def has_changed(self) -> bool:
        try:
            return _state(self.path.stat()) != self.state
        except OSError:
            return True

    def refuse(self, problem: str, now: float) -> None:
        self.problem, self.next_attempt = problem, now + self.pause
        self.pause = min(2 * self.pause, MAX_PAUSE_S)

    def accept(self) -> None:
        self.read_state, self.problem = self.state, ""


class WatchedFolder:
    """The files below a folder, scanned again and again."""

    def __init__(self, root: Path, excluded: tuple[Path, ...], patience: float):
        """`excluded`: folders that are left out, such as the one that results go to."""
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; name the folder that the patterns go to")
        self.root, self._patience = root, patience
        self._excluded = {folder.resolve() for folder in excluded}
        self._files: dict[Path, WatchedFile] = {}
        self.last_change = 0.0  # when something came or changed

    def ready(self, now: float) -> list[WatchedFile]:
        """Return the files to be read now, in natural order of their names."""
        ready = []
        for file in self._files.values():
            file.is_present = False
        for path, state in self._scan(self.root, {self.root.resolve()}):
            file = self._files.get(path) or WatchedFile(path, state, now)
            if path not in self._files or file.state != state:
                # What was read stays known: a file may grow by another scan.
                file = self._files[path] = WatchedFile(path, state, now, file.read_state)
                self.last_change = now
            file.is_present = True
            if file.read_state != state and now - file.since >= SETTLE_S and now >= file.next_attempt:
                ready.append(file)
        return sorted(ready, key=lambda file: text.natural_key(self.name(file)))

    def name(self, file: WatchedFile) -> str:
        return file.path.relative_to(self.root).as_posix()

    def is_unchanged(self, file: WatchedFile, now: float, seconds: float) -> bool:
        """Return whether a file has been as it is for so long, or for as long as the patience lasts."""
        return now - file.since >= min(seconds, self._patience)

    def stuck(self, now: float, at_end: bool = False) -> Iterator[WatchedFile]:
        """Yield files that have stayed bad for longer than the patience, each once; `at_end`: all bad ones."""
        for file in self._files.values():
            is_bad = file.is_present and file.problem and not file.is_reported and file.read_state != file.state
            if is_bad and (at_end or now - file.since >= self._patience):
                file.is_reported = True
                yield file

    def _scan(self, folder: Path, seen: set[Path]) -> Iterator[tuple[Path, FileState]]:
        """Yield files; of links to folders those that lead out of the watched one are followed, each place once."""
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError:  # gone, or a network drive that pauses: it is scanned again
            return
        for entry in listed:
            try:
                if entry.name.startswith(".") or entry.name.endswith(IGNORED_ENDINGS):
                    continue
                if entry.is_dir():
                    place, root = Path(entry.path).resolve(), self.root.resolve()
                    leads_back = entry.is_symlink() and (place.is_relative_to(root) or root.is_relative_to(place))
                    if place not in self._excluded and place not in seen and not leads_back:
                        seen.add(place)
                        yield from self._scan(Path(entry.path), seen)
                elif entry.is_file():
                    yield Path(entry.path), _state(entry.stat())
            except OSError:
                continue


def _state(stat: os.stat_result) -> FileState:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
