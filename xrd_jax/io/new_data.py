"""Patterns that a run has not seen: files, folders, experiments and saved series, with what they say of themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import read as experiment_read
from xrd_jax.io.experiment import stack
from xrd_jax.io.inspect import survey
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import many_files
from xrd_jax.series import axis as series_axis
from xrd_jax.series import lazy, record


@dataclasses.dataclass(frozen=True)
class Batch:
    """Patterns on one axis.

    Attributes:
      title: file or folder that they come from.
      names: [T] what tells each pattern from the others.
      intensity: [T, C], in memory or on disk; positions: [C].
      kind, wavelength: as the files state them, or None.
      dates: [T] start of the exposure as ISO text; '' where a file does not say it.
      time: [T] in s, rising, or None where no times are known.
      targets: measured values, where the data have them.
    """

    title: str
    names: Sequence[str]
    intensity: np.ndarray | lazy.LazyRows
    positions: np.ndarray
    kind: str | None
    wavelength: float | None
    dates: Sequence[str]
    time: np.ndarray | None
    targets: dict[str, series_axis.Target] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)


@dataclasses.dataclass(frozen=True)
class Incoming:
    """All that was found: batches, largest first; lines for the user; (file, why) of what could not be read."""

    batches: tuple[Batch, ...]
    said: tuple[str, ...] = ()
    refused: tuple[tuple[Path, str], ...] = ()


def read(path: str | Path, data_root: str | None = None, cache: bool = True, progress: bool = False) -> Incoming:
    """Reads a pattern file, a folder of them, a stack, an experiment file or a saved series.

    Raises:
      UserError: the path is not there, or holds no pattern that can be read.
    """
    path = Path(path)
    if "::" in path.name:
        return _surveyed_file(path)
    if path.suffix.lower() == ".toml" and path.is_file():
        made = experiment_read.read_experiment(path, data_root or None, cache, progress)
        return Incoming(tuple(_sessions(path.name, made.series)), tuple(made.report))
    if path.suffix.lower() in (".h5", ".hdf5", ".nxs") and path.is_file():
        try:
            return Incoming(tuple(_sessions(path.name, record.PatternSeries.load(path))))
        except UserError:
            pass  # HDF5 of another make
    return _surveyed(path, cache, progress)


def _surveyed_file(path: Path) -> Incoming:
    found = many_files.read_one(path, allow_negative=True)
    if isinstance(found, UserError):
        raise found
    axes = [one.axis for one in found]
    if any(not survey.same_axis(axes[0], axis) for axis in axes[1:]):
        raise UserError(f"{path}: its scans have different axes; keep one kind of scan per file")
    return Incoming((_scans(path.name, [f"{path.name}#{k + 1}" for k in range(len(found))], found),))


def _surveyed(path: Path, cache: bool, progress: bool) -> Incoming:
    found = survey.survey(path, cache, progress)
    batches = [
        _scans(str(group.folder) if path.is_dir() else path.name, _names(group, found.base), group.scans)
        for group in found.groups
    ]
    batches += [_rows(one.path.name, one.rows) for one in found.stacks if one.rows is not None]
    if not batches:
        why = f" ({len(found.refused)} files were refused; {found.refused[0][1]})" if found.refused else ""
        raise UserError(f"{path}: holds no pattern that can be read{why}; name a file or folder of patterns")
    said = [f"{len(found.logs)} cycler logs were set aside."] if found.logs else []
    return Incoming(tuple(sorted(batches, key=len, reverse=True)), tuple(said), found.refused)


def _names(group: survey.Group, base: Path) -> list[str]:
    """Names of a group's scans with the folder that they lie in below `base`."""
    home = group.folder.relative_to(base)
    return [(home / name).as_posix() for name in group.names]


def _scans(title: str, names: Sequence[str], scans: Sequence[Pattern]) -> Batch:
    first = scans[0]
    starts = [one.start_time for one in scans]
    known = [one for one in starts if one is not None]
    time = None
    if len(known) == len(starts) and len({one.tzinfo is None for one in known}) == 1:
        seconds = np.array([(one - known[0]).total_seconds() for one in known])
        time = seconds if np.all(np.diff(seconds) > 0) else None
    stated = {(one.kind, one.wavelength) for one in scans}
    if len({kind for kind, _ in stated}) > 1:
        raise UserError(f"{title}: its patterns state different kinds of axis; keep one kind in a folder")
    waves = [wave for _, wave in stated if wave]
    if waves and max(waves) / min(waves) > 1.002:
        raise UserError(f"{title}: its patterns state wavelengths from {min(waves):g} to {max(waves):g} Å; keep one")
    return Batch(
        title, names, np.stack([one.intensity for one in scans]), first.axis, first.kind,
        waves[0] if waves else None, ["" if one is None else one.isoformat() for one in starts], time,
    )  # fmt: skip


def _rows(title: str, rows: stack.Stack) -> Batch:
    dates = [one.start.isoformat() if one.start else "" for one in rows.moments] or [""] * len(rows.names)
    return Batch(title, rows.names, rows.intensity, rows.axis, rows.kind, rows.wavelength, dates, None)


def _sessions(title: str, data: record.PatternSeries) -> list[Batch]:
    """A series, one batch for each of its sessions, since every session has a clock of its own."""
    files = data.provenance.get("files", ())
    batches = []
    for number, session in enumerate(data.session_names):
        where = np.flatnonzero(data.session == number)
        if not where.size:
            continue
        own = data.subset(where)
        rising = bool(np.all(np.diff(own.time) > 0))
        names = [str(files[i]) if len(files) == len(data) else f"{session}/{i}" for i in where.tolist()]
        batches.append(
            Batch(f"{title}, {session}" if len(data.session_names) > 1 else title, names, own.intensity,
                  data.axis.values, data.axis.kind, data.axis.wavelength, [""] * where.size,
                  own.time if rising and data.timed else None, dict(own.targets))
        )  # fmt: skip
    if not batches:
        raise UserError(f"{title}: holds no pattern; name another file")
    return batches
