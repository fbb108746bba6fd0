"""One table of an experiment file becomes a session for each place that the names of its files tell apart."""

import dataclasses
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import paths
from xrd_jax.io.experiment.schema import ExperimentFile, SessionTable
from xrd_jax.io.parsing.text import natural_key


def part_sessions(experiment: ExperimentFile, folder: Path) -> ExperimentFile:
    """Return the experiment with a session for each value that `place` finds in the names.

    Raises:
      UserError: a name in which it finds nothing.
    """
    sessions: list[SessionTable] = []
    for session in experiment.sessions:
        sessions += [session] if session.place is None else _part(experiment, session, folder)
    return dataclasses.replace(experiment, sessions=tuple(sessions))


def _part(experiment: ExperimentFile, session: SessionTable, folder: Path) -> list[SessionTable]:
    assert session.place is not None
    by_place: dict[str, list[str]] = {}
    for file in paths.pattern_files(experiment, session, folder):
        match = session.place.search(file.name)
        if match is None:
            raise UserError(f"{experiment.place(session.label)} place = '{session.place.pattern}' finds nothing in "
                            f"{file.name}; mend it")  # fmt: skip
        found = match[1 if session.place.groups else 0] or ""
        by_place.setdefault(found, []).append(str(file.absolute()))
    parts = []
    for place in sorted(by_place, key=natural_key):
        name, described = f"{session.name} {place}".strip(), f"{session.source} ({place})"
        names = tuple(by_place[place])
        parts.append(dataclasses.replace(session, name=name, patterns=names, place=None, described=described))
    return parts
