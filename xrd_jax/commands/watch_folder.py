"""Files that appear in a folder while an experiment runs: which of them are ready to be read, and which stay bad.

A file is ready once its size and date have not changed for a while. One that cannot be read then, or reads as cut, is
tried again, at first soon and then more seldom, and told once when it has stayed so for longer than `patience`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import text

SETTLED = 0.4  # s without a change after which a file is looked at
SELDOM = 300.0  # s between attempts at a file that stays bad
State = tuple[int, int, int]


@dataclasses.dataclass
class Arrival:
    """One file.

    Attributes:
      state: its inode, size and date, as last seen; since: when they were seen first, on a monotonic clock.
      done: state in which it was read to its end; None before.
      why: the last refusal, '' where there was none; told: it has been reported.
      pause: s to the next attempt, which is due at `next`.
      present: it was there when the folder was looked at last.
    """

    path: Path
    state: State
    since: float
    done: State | None = None
    why: str = ""
    told: bool = False
    pause: float = 1.0
    next: float = 0.0
    present: bool = True


class Arrivals:
    """The files below a folder, looked at again and again."""

    def __init__(self, root: Path, without: tuple[Path, ...], patience: float):
        """`without`: folders that are left out, such as the one that results go to."""
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; name the folder that the patterns go to")
        self._root, self._patience = root, patience
        self._without = {one.resolve() for one in without}
        self._known: dict[Path, Arrival] = {}
        self.changed = 0.0  # when something came or changed last

    def ready(self, now: float) -> list[Arrival]:
        """Files to be read now, in natural order of their names."""
        found = []
        for one in self._known.values():
            one.present = False
        for path, state in self._walk(self._root):
            one = self._known.get(path) or Arrival(path, state, now)
            if path not in self._known or one.state != state:
                # What was done stays known: a file may grow by another scan.
                one = self._known[path] = Arrival(path, state, now, one.done)
                self.changed = now
            one.present = True
            if one.done != state and now - one.since >= SETTLED and now >= one.next:
                found.append(one)
        return sorted(found, key=lambda one: text.natural_key(one.path.relative_to(self._root).as_posix()))

    def still(self, one: Arrival) -> bool:
        """Whether a file is what it was when it was found ready."""
        try:
            return _state(one.path.stat()) == one.state
        except OSError:
            return False

    def unchanged(self, one: Arrival, now: float, seconds: float) -> bool:
        """Whether a file has been as it is for so long, or for as long as the patience lasts."""
        return now - one.since >= min(seconds, self._patience)

    def refuse(self, one: Arrival, why: str, now: float) -> None:
        """Notes that a file cannot be read as it is."""
        one.why, one.next, one.pause = why, now + one.pause, min(2 * one.pause, SELDOM)

    def stuck(self, now: float, all_of_them: bool = False) -> Iterator[Arrival]:
        """Files that have stayed bad for longer than the patience, each once."""
        for one in self._known.values():
            bad = one.present and one.why and not one.told and one.done != one.state
            if bad and (all_of_them or now - one.since >= self._patience):
                one.told = True
                yield one

    def _walk(self, folder: Path) -> Iterator[tuple[Path, State]]:
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError:  # gone, or a network drive that pauses: it is looked at again
            return
        for entry in listed:
            try:
                if entry.name.startswith(".") or entry.name.endswith((".partial", ".tmp", ".part")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if Path(entry.path).resolve() not in self._without:
                        yield from self._walk(Path(entry.path))
                elif entry.is_file():
                    yield Path(entry.path), _state(entry.stat())
            except OSError:
                continue


def _state(found: os.stat_result) -> State:
    return found.st_ino, found.st_size, found.st_mtime_ns
