"""Which cycler logs belong to a group of patterns: by their place in the folders and, where stated, by date."""

import contextlib
import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.experiment.join_logs import join_logs
from xrd_jax.io.inspect.survey import PatternGroup, Survey, SurveyedFile
from xrd_jax.io.patterns.pattern import Pattern

MAX_BESIDE = 50  # files of a neighbouring folder that are looked at for a log
Dates = tuple[datetime.datetime, datetime.datetime]  # first and last


def with_logs_beside(survey: Survey) -> Survey:
    """Return the survey of a folder without a log with those that lie beside it and ran while its patterns were taken.

    The folder above and the folders beside are looked at, where they do not hold very many files.
    """
    dates = [of_group for group in survey.groups if (of_group := _dates(group.scans)) is not None]
    if survey.logs or not dates or not survey.root.is_dir():
        return survey
    logs = [file for file in _logs_beside(survey.root.resolve()) if any(_runs_during(file, span) for span in dates)]
    return dataclasses.replace(survey, files=(*survey.files, *logs))


def _logs_beside(root: Path) -> Iterator[SurveyedFile]:
    with contextlib.suppress(OSError):
        for place in [root.parent, *sorted(root.parent.iterdir())]:
            if not place.is_dir() or place.name.startswith(".") or place == root:
                continue
            files = list(itertools.islice((path for path in place.iterdir() if path.is_file()), MAX_BESIDE + 1))
            for path in sorted(files) if len(files) <= MAX_BESIDE else ():
                with contextlib.suppress(UserError):
                    if (reader := cyclers.reader_of(path)) is not None:
                        yield SurveyedFile(path, reader.name, log=cyclers.read_cycler(path, reader.name))


def nearest_logs(survey: Survey, group: PatternGroup) -> tuple[SurveyedFile, ...]:
    """Return the log of a group's patterns, or several that follow each other; none where nothing tells it.

    Logs in the patterns' own folder come before those in folders above, and these before all others. Of several, those
    count that ran while the patterns were taken; without dates the longest in the own folder, elsewhere the only one.
    """
    if len(group.scans) < 2:
        return ()
    folder, dates = group.folder, _dates(group.scans)
    is_near: tuple[Callable[[Path], bool], ...] = (
        lambda place: place == folder,
        lambda place: place == folder.parent or folder.is_relative_to(place),
        lambda place: place.is_relative_to(folder.parent),
        lambda place: place.is_relative_to(survey.base),
        lambda place: True,
    )
    for tier, condition in enumerate(is_near):
        candidates = [file for file in survey.logs if condition(file.path.parent)]
        if running := _in_turn([file for file in candidates if dates and _runs_during(file, dates)]):
            return running
        is_outside = any(not file.path.is_relative_to(survey.base) for file in candidates)
        if candidates and not is_outside and (tier == 0 or len(candidates) == 1):
            return (max(candidates, key=_rows),)
    return ()


def joined(files: Sequence[SurveyedFile]) -> CyclerLog | None:
    """Return the logs as one."""
    logs = [file.log for file in files if file.log is not None]
    return join_logs([file.path for file in files], logs) if logs else None


def _rows(file: SurveyedFile) -> int:
    return file.log.time.size if file.log else 0


def _dates(scans: Sequence[Pattern]) -> Dates | None:
    dates = [date for scan in scans if (date := scan.start_time or scan.end_time) is not None]
    has_all = len(dates) == len(scans) and len({date.tzinfo is None for date in dates}) == 1
    return (min(dates), max(dates)) if has_all else None


def _runs_during(file: SurveyedFile, dates: Dates) -> bool:
    log = file.log
    if log is None or log.start is None or (log.start.tzinfo is None) != (dates[0].tzinfo is None):
        return False
    begin, end = (log.start + datetime.timedelta(seconds=float(t)) for t in log.time[[0, -1]])
    return begin <= dates[1] and dates[0] <= end


def _in_turn(files: Sequence[SurveyedFile]) -> tuple[SurveyedFile, ...]:
    """Return logs in the order of their starts, or the longest of those that cannot be joined."""
    ordered = sorted(files, key=lambda file: file.log.start.timestamp() if file.log and file.log.start else 0.0)
    try:
        joined(ordered)
    except UserError:
        return (max(ordered, key=_rows),)
    return tuple(ordered)
