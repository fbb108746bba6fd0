"""Patterns that a run has not seen: files, folders, experiments and saved series, with what they say of themselves."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError
from xrd_jax.io.experiment.read import read_experiment
from xrd_jax.io.experiment.stack import same_axis
from xrd_jax.io.inspect.survey import survey_files
from xrd_jax.io.patterns.columns import ColumnNames
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import guard, many_files
from xrd_jax.series.axis import Target
from xrd_jax.series.lazy import LazyRows
from xrd_jax.series.record import PatternSeries

WAVELENGTH_RATIO = 1.002  # Kα1 and the mean of both Kα lines differ by less; more is another source


@dataclasses.dataclass(frozen=True)
class Batch:
    """Patterns [T] on one axis."""

    title: str  # file or folder that they come from
    names: Sequence[str]  # what tells each pattern from the others
    intensity: np.ndarray | LazyRows  # [T, N]
    positions: Float[np.ndarray, "N"]
    kind: str | None  # as the files state it
    wavelength: float | None
    dates: Sequence[str]  # start of the exposure as ISO text; '' where a file does not say it
    time: Float[np.ndarray, "T"] | None  # in s, rising; None where no times are known
    targets: dict[str, Target] = dataclasses.field(default_factory=dict)  # measured values, where the data have them

    def __len__(self) -> int:
        return len(self.names)


@dataclasses.dataclass(frozen=True)
class NewData:
    """All that could be read: batches, largest first; lines for the user; (file, why) of what could not be read."""

    batches: tuple[Batch, ...]
    messages: tuple[str, ...] = ()
    refused: tuple[tuple[Path, str], ...] = ()


def read(
    path: str | Path, data_root: str | None = None, cache: bool = True, progress: bool = False,
    columns: ColumnNames = (),
) -> NewData:  # fmt: skip
    """Read a pattern file, a folder of them, a stack, an experiment file or a saved series.

    Args:
      columns: of text files, as `columns` under [[session]] names them; an experiment file names its own.

    Raises:
      UserError: the path is not there, or holds no pattern that can be read.
    """
    path = Path(path)
    if "::" in path.name:
        return _read_member(path)
    if path.suffix.lower() == ".toml" and path.is_file():
        experiment = read_experiment(path, data_root or None, cache, progress)
        return NewData(tuple(_from_series(path.name, experiment.series)), tuple(experiment.report))
    if path.suffix.lower() in (".h5", ".hdf5", ".nxs") and path.is_file():
        try:
            guard.check(path)
            return NewData(tuple(_from_series(path.name, PatternSeries.load(path))))
        except UserError:
            pass  # HDF5 of another make
    return _read_files(path, cache, progress, columns)


def _read_member(path: Path) -> NewData:
    """Read one member of a file that holds several, 'file::member'."""
    scans = many_files.read_guarded(path, allow_negative=True)
    if isinstance(scans, UserError):
        raise scans
    if any(not same_axis(scans[0].axis, scan.axis) for scan in scans[1:]):
        raise UserError(f"{path}: its scans have different axes; keep one kind of scan per file")
    return NewData((_from_scans(path.name, [f"{path.name}#{k + 1}" for k in range(len(scans))], scans),))


def _read_files(path: Path, cache: bool, progress: bool, columns: ColumnNames) -> NewData:
    survey = survey_files(path, cache, progress, columns)
    batches = []
    for group in survey.groups:
        folder = group.folder.relative_to(survey.base)
        names = [(folder / name).as_posix() for name in group.names]
        batches.append(_from_scans(str(group.folder) if path.is_dir() else path.name, names, group.scans))
    for file in survey.stacks:
        stack = file.stack
        assert stack is not None
        dates = [stamp.start.isoformat() if stamp.start else "" for stamp in stack.timestamps]
        facts = stack.axis, stack.kind, stack.wavelength, dates or [""] * len(stack.names)
        batches.append(Batch(file.path.name, stack.names, stack.intensity, *facts, None))
    if not batches:
        reason = f" ({len(survey.refused)} files were refused; {survey.refused[0][1]})" if survey.refused else ""
        raise UserError(f"{path}: holds no pattern that can be read{reason}; name a file or folder of patterns")
    messages = (f"{len(survey.logs)} cycler logs were set aside.",) if survey.logs else ()
    return NewData(tuple(sorted(batches, key=len, reverse=True)), messages, survey.refused)


def _from_scans(title: str, names: Sequence[str], scans: Sequence[Pattern]) -> Batch:
    starts = [scan.start_time for scan in scans]
    dated = [start for start in starts if start is not None]
    time = None
    if len(dated) == len(starts) and len({start.tzinfo is None for start in dated}) == 1:
        seconds = np.array([(start - dated[0]).total_seconds() for start in dated])
        time = seconds if np.all(np.diff(seconds) > 0) else None
    if len({scan.kind for scan in scans}) > 1:
        raise UserError(f"{title}: its patterns state different kinds of axis; keep one kind in a folder")
    wavelengths = [scan.wavelength for scan in scans if scan.wavelength]
    if wavelengths and max(wavelengths) / min(wavelengths) > WAVELENGTH_RATIO:
        low, high = min(wavelengths), max(wavelengths)
        raise UserError(f"{title}: its patterns state wavelengths from {low:g} to {high:g} Å; keep one")
    return Batch(
        title, names, np.stack([scan.intensity for scan in scans]), scans[0].axis, scans[0].kind,
        wavelengths[0] if wavelengths else None, ["" if start is None else start.isoformat() for start in starts], time,
    )  # fmt: skip


def _from_series(title: str, series: PatternSeries) -> Iterator[Batch]:
    """Yield a batch for each session of a series, since every session has a clock of its own."""
    if not len(series):
        raise UserError(f"{title}: holds no pattern; name another file")
    files = series.provenance.get("files", ())
    for number, session_name in enumerate(series.session_names):
        indices = np.flatnonzero(series.session == number)
        if not indices.size:
            continue
        session = series.subset(indices)
        is_rising = bool(np.all(np.diff(session.time) > 0))
        names = [str(files[i]) if len(files) == len(series) else f"{session_name}/{i}" for i in indices.tolist()]
        yield Batch(
            f"{title}, {session_name}" if len(series.session_names) > 1 else title, names, session.intensity,
            series.axis.values, series.axis.kind, series.axis.wavelength, [""] * indices.size,
            session.time if is_rising and series.timed else None, dict(session.targets),
        )  # fmt: skip
