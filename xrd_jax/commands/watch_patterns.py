"""The patterns of a watched folder that are not on record yet, brought onto the axis of a run."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xrd_jax.analysis.resample import AxisFit, fit_axis
from xrd_jax.commands.watch_folder import WatchedFile, WatchedFolder
from xrd_jax.errors import UserError
from xrd_jax.files import csv_cell
from xrd_jax.io.patterns.columns import ColumnNames
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading.many_files import read_guarded
from xrd_jax.io.reading.pattern_cache import UNCACHED_SUFFIXES
from xrd_jax.series.axis import Axis

CUT_NOTE = "may be cut"  # how a reader says that a file may not be whole
CUT_S = 5.0  # after which a file that ends without a line end is taken as it is
MAX_FITS = 8  # axes remembered; a folder with more of them takes turns


@dataclasses.dataclass(frozen=True)
class Frame:
    """One pattern [N] on the run's axis, what its file says of it, and the seconds that reading it took."""

    file: str
    scan: int
    bytes: int
    start_time: str
    pattern: np.ndarray
    seconds: float


class Trained(NamedTuple):
    """What a run says of the patterns it was trained on: positions [N], axis if it is known, columns of text files."""

    positions: np.ndarray
    axis: Axis | None
    columns: ColumnNames = ()


class FrameReader:
    """Reads files that are ready, and remembers which of their patterns are on record."""

    def __init__(
        self, folder: WatchedFolder, trained: Trained, rows: Sequence[Sequence[str]], echo: Callable[[str], None]
    ):
        """Start from the rows on record: file, scan, bytes, …; ValueError if a scan is no number."""
        self._folder, self._trained, self._echo = folder, trained, echo
        self._recorded = {(row[0], int(row[1])) for row in rows}
        # Files of one pattern that a restart need not read again, as long as they have their length.
        self._sizes = {row[0]: row[2] for row in rows if row[1] == "1" and (row[0], 2) not in self._recorded}
        self._fits: list[tuple[str | None, float | None, AxisFit]] = []

    def mark_recorded(self, frame: Frame) -> None:
        self._recorded.add((frame.file, frame.scan))

    def read(self, ready: Sequence[WatchedFile]) -> Iterator[Frame]:
        """Yield new patterns of files, in order; what cannot be taken yet is noted for another attempt."""
        for file in ready:
            frames, problem = self._read_new(file, time.monotonic())
            yield from frames
            if problem:
                file.refuse(problem, time.monotonic())
            else:
                file.accept()

    def _read_new(self, file: WatchedFile, now: float) -> tuple[list[Frame], str]:
        """Return the patterns of a file that are not on record, and why others cannot be taken as they are."""
        name = self._folder.name(file)
        if any(character in name for character in "\r\n"):
            return [], f"{name!r}: has a line break in its name; rename it"
        name = str(csv_cell(name))  # as it stands on record
        is_self_contained = file.path.suffix.lower() not in UNCACHED_SUFFIXES
        if file.read_state is None and is_self_contained and self._sizes.get(name) == str(file.state[1]):
            return [], ""
        started = time.perf_counter()
        scans = read_guarded(file.path, True, self._trained.columns)
        if isinstance(scans, UserError):
            return [], str(scans)
        if file.has_changed():
            return [], f"{file.path}: changed while it was read"
        new = [(number, scan) for number, scan in enumerate(scans, 1) if (name, number) not in self._recorded]
        if not new and file.read_state is not None:
            self._echo(f"{name}: was written again after it had been predicted; its line stays")
        frames: list[Frame] = []
        problem = ""
        for number, scan in new:
            if any(CUT_NOTE in note for note in scan.notes) and not self._folder.is_unchanged(file, now, CUT_S):
                return frames, f"{file.path}: {' '.join(scan.notes)}"
            try:
                pattern = self._fit(scan, str(file.path))(scan.intensity[None])[0]
            except UserError as error:
                problem = str(error)
                continue
            start_time = "" if scan.start_time is None else scan.start_time.isoformat()
            seconds = (time.perf_counter() - started) / len(new)
            frames.append(Frame(name, number, file.state[1], start_time, pattern, seconds))
        return frames, problem

    def _fit(self, scan: Pattern, source: str) -> AxisFit:
        """Return how a pattern comes onto the run's axis; report what that takes once for each axis."""
        for kind, wavelength, fit in self._fits:
            if (kind, wavelength) == (scan.kind, scan.wavelength) and np.array_equal(fit.measured, scan.axis):
                return fit
        fit = fit_axis(self._trained.positions, self._trained.axis, scan.axis, scan.kind, scan.wavelength, source)
        # Without the name of the file that they begin with.
        reported = {line.split(": ", 1)[-1] for _, _, earlier in self._fits for line in earlier.messages}
        for line in fit.messages:
            if line.split(": ", 1)[-1] not in reported:
                self._echo(line)
        self._fits = [*self._fits[1 - MAX_FITS :], (scan.kind, scan.wavelength, fit)]
        return fit
