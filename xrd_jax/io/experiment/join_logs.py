"""Several cycler logs of one cell, such as a test and its continuation, as one log on the absolute clock."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.log import CyclerLog

MAX_OVERLAP_S = 1.0  # by which clocks are rounded


def join_logs(files: Sequence[Path], logs: Sequence[CyclerLog]) -> CyclerLog:
    """Return one log whose time counts from the start of the first; what lies between two of them stays a hole.

    Columns are those that all logs have. The charge goes on from where the log before ended.

    Raises:
      UserError: a log without a date, one with a time zone beside one without, or two that overlap.
    """
    if len(logs) == 1:
        return logs[0]
    order = sorted(range(len(logs)), key=lambda i: _utc(files[i], logs[i]).timestamp())
    files, logs = [files[i] for i in order], [logs[i] for i in order]
    first = logs[0].start
    assert first is not None
    time, capacity, voltage, current = [logs[0].time], [logs[0].capacity], [logs[0].voltage], [logs[0].current]
    for before, file, log in zip(files, files[1:], logs[1:], strict=False):
        assert log.start is not None
        if (log.start.tzinfo is None) != (first.tzinfo is None):
            raise UserError(f"{file}: states a time zone where {files[0].name} states none, or the reverse; give each "
                            "log a [[session]] of its own, with its [session.cycler] zone")  # fmt: skip
        later = log.time + (_utc(file, log) - _utc(files[0], logs[0])).total_seconds()
        if later[0] < time[-1][-1] - MAX_OVERLAP_S:
            raise UserError(f"{file}: begins before {before.name} ends; name one of them only, or the logs of one cell")
        time.append(np.maximum(later, time[-1][-1]))
        capacity.append(log.capacity - log.capacity[0] + capacity[-1][-1])
        voltage.append(log.voltage)
        current.append(log.current)
    shared = [name for name in logs[0].columns if all(name in log.columns for log in logs)]
    columns = {name: np.concatenate([log.columns[name] for log in logs]) for name in shared}
    notes = [f"{file.name}: {note}" for file, log in zip(files, logs, strict=True) for note in log.notes]
    return CyclerLog(
        np.concatenate(time), np.concatenate(voltage), np.concatenate(current), np.concatenate(capacity), None,
        columns, first, tuple(notes), logs[0].format,
    )  # fmt: skip


def _utc(file: Path, log: CyclerLog) -> datetime.datetime:
    """Return when a log began; without a zone as its clock on the wall shows it."""
    if log.start is None:
        raise UserError(f"{file}: does not say when it began, which joins it to the others; give each log a "
                        "[[session]] of its own, with its [session.cycler] start")  # fmt: skip
    return log.start.replace(tzinfo=datetime.UTC) if log.start.tzinfo is None else log.start.astimezone(datetime.UTC)
