"""An experiment file and the data it names become one PatternSeries."""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.config import row_ranges
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import axes, paths, places, split_column, stack, targets, validate
from xrd_jax.io.experiment.parse import parse_experiment_file
from xrd_jax.io.experiment.read_session import SessionData, read_session
from xrd_jax.io.experiment.schema import ExperimentFile
from xrd_jax.io.reading.many_files import BatchReader
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The patterns that were matched, in time order within each session, at mid-exposure on the cycler log's clock."""

    series: PatternSeries
    report: list[str]  # plain sentences about what was read, left out or assumed
    overrides: dict[str, Any]  # the [split] and [set] tables, for the caller to apply to its configuration


def read_experiment(
    path: str | Path, data_root: str | Path | None = None, cache: bool = False, progress: bool = False
) -> Experiment:
    """Read an experiment file, its patterns and its cycler logs, and match their clocks.

    Relative paths in the file start at `data_root`, else at the environment's XRD_JAX_DATA, else at its own folder.

    Args:
      cache: keep what many text files held, so that the same files read at once the next time.
      progress: draw a bar while many files are read.

    Raises:
      UserError: naming the file, the place in it and the remedy.
    """
    experiment = parse_experiment_file(Path(path))
    folder = paths.data_folder(experiment, data_root)
    experiment = places.part_sessions(experiment, folder)
    report: list[str] = []
    sessions = []
    for session in experiment.sessions:
        messages: list[str] = []
        sessions.append(read_session(experiment, session, folder, BatchReader(cache, progress), messages))
        opening = f"{session.name}: " if len(experiment.sessions) > 1 else ""
        report += [opening + message for message in messages]
    series = _merge_sessions(experiment, sessions, report)
    return Experiment(series, report, _overrides(experiment, sessions, folder, report))


def _merge_sessions(experiment: ExperimentFile, sessions: Sequence[SessionData], report: list[str]) -> PatternSeries:
    names = tuple(str(session.name) for session in experiment.sessions)
    kept = [lazy.subset(session.aligned.stack.intensity, session.keep) for session in sessions]
    axis = axes.common_axis(experiment, [session.axis for session in sessions])
    axis, intensity = axes.apply_keep(experiment.axis.keep, axis, stack.concatenate(kept, names))
    axis, intensity = axes.apply_mask(experiment.mask, axis, intensity)
    merged = {}
    for name, target in experiment.targets.items():
        parts = [session.values[name][session.keep] for session in sessions]
        merged[name] = targets.merge_sessions(experiment, target, parts, report)
    for table, session in zip(experiment.sessions, sessions, strict=True):
        if table.cycler is not None and session.aligned.log is not None:
            report += [f"{table.cycler.source}: {note}." for note in session.aligned.log.notes]
    axes.refuse_windows_off_axis(experiment, axis)
    return PatternSeries(
        intensity=intensity,
        axis=axis,
        time=np.concatenate([session.aligned.time[session.keep] for session in sessions]),
        targets=merged,
        cycle=np.concatenate([session.aligned.cycle[session.keep] for session in sessions]),
        session=np.repeat(np.arange(len(sessions)), [np.count_nonzero(session.keep) for session in sessions]),
        session_names=names,
        is_counts=all(session.counts for session in experiment.sessions),
        windows=experiment.windows,
        reflections=experiment.reflections,
        provenance=_provenance(experiment, sessions, report),
        timed=any(session.time is not None for session in experiment.sessions),
    )


def _overrides(
    experiment: ExperimentFile, sessions: Sequence[SessionData], folder: Path, report: list[str]
) -> dict[str, Any]:
    """Return [split] and [set]; rows of [split], which count patterns as they are listed, become rows of the series."""
    settings = validate.split_settings(experiment.split)
    if experiment.split.kind is not None and {"split", "prepare.split"} & set(experiment.settings):
        raise UserError(f"{experiment.path}: [split] kind and [set] split both choose the split; remove one")
    if experiment.split.kind == "column":
        aligned, kept = [s.aligned for s in sessions], [s.keep for s in sessions]
        settings = split_column.rows(experiment, aligned, kept, folder, report)
    if experiment.split.kind == "rows":
        begin = np.cumsum([0, *(session.listed_count for session in sessions)])
        listed = [first + session.listed_rows[session.keep] for first, session in zip(begin, sessions, strict=False)]
        for key in ("train", "test"):
            place = f"{experiment.place('split')} {key}"
            rows = row_ranges.parse_row_ranges(settings[f"prepare.{key}_rows"], place)
            if rows.max() >= begin[-1]:
                raise UserError(f"{place} names row {rows.max()}, but the last is {begin[-1] - 1}; they count from 0")
            is_chosen = np.isin(np.concatenate(listed), rows)
            settings[f"prepare.{key}_rows"] = row_ranges.format_row_ranges(np.flatnonzero(is_chosen))
    return settings | experiment.settings


def _provenance(experiment: ExperimentFile, sessions: Sequence[SessionData], report: Sequence[str]) -> dict[str, Any]:
    names: list[str] = []
    for session in sessions:
        if not isinstance(session.aligned.stack.intensity, lazy.LazyRows):  # a million rows are not named one by one
            names += [session.aligned.stack.names[i] for i in np.flatnonzero(session.keep).tolist()]
    return {
        "source": "measured",
        "experiment": experiment.path.name,
        "experiment_sha256": hashlib.sha256(experiment.path.read_bytes()).hexdigest(),
        "title": experiment.title,
        "patterns": ", ".join(session.source for session in experiment.sessions),
        "cycler": ", ".join(session.cycler.source for session in experiment.sessions if session.cycler),
        "columns": sorted({s.columns for s in experiment.sessions if isinstance(s.columns, tuple)}, key=str),
        "files": names,
        "report": list(report),
    }
