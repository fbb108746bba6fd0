"""Findings for programs: what `--json` writes."""

import datetime
from pathlib import Path
from typing import Any

from xrd_jax.io.inspect.findings import Session
from xrd_jax.io.inspect.survey import SurveyedFile
from xrd_jax.series.axis import AXIS_UNITS
from xrd_jax.series.record import PatternSeries


def file_record(file: SurveyedFile) -> dict[str, Any]:
    """Return a file that was read, for programs."""
    record: dict[str, Any] = {"file": str(file.path), "format": file.format}
    if (log := file.log) is not None:
        return record | {
            "what": "cycler log", "scans": 1, "points": int(log.time.size), "axis": "time", "unit": "s",
            "wavelength": None, "start": _iso(log.start), "columns": list(log.columns), "notes": list(log.notes),
            "range": [float(log.time[0]), float(log.time[-1])],
            "voltage": [float(log.voltage.min()), float(log.voltage.max())],
        }  # fmt: skip
    if (stack := file.stack) is not None:
        return record | {
            "what": "stack", "scans": len(stack.names), "points": int(stack.axis.size), "axis": stack.kind,
            "unit": axis_unit(stack.kind), "wavelength": stack.wavelength, "start": _iso(stack.timestamps[0].start),
            "columns": list(stack.columns), "notes": [], "range": [float(stack.axis[0]), float(stack.axis[-1])],
        }  # fmt: skip
    first = file.scans[0]
    notes = dict.fromkeys(note for scan in file.scans for note in scan.notes)
    return record | {
        "what": "pattern", "scans": len(file.scans), "points": int(first.axis.size), "axis": first.kind,
        "unit": axis_unit(first.kind), "wavelength": first.wavelength, "start": _iso(first.start_time),
        "end": _iso(file.scans[-1].end_time), "exposure": first.exposure, "notes": list(notes),
        "range": [float(first.axis[0]), float(first.axis[-1])],
    }  # fmt: skip


def session_record(session: Session) -> dict[str, Any]:
    """Return a group of patterns with its log, for programs."""
    offset, group = session.offset, session.group
    return {
        "folder": str(group.folder),
        "patterns": len(group.scans),
        "points": int(group.axis.size),
        "number": group.number,
        "cycler": ", ".join(str(file.path) for file in session.log_files) or None,
        "times": session.times.kind,
        "unmatched": list(session.unmatched),
        "duplicates": [list(pair) for pair in session.duplicates],
        "dead_channels": group.axis[session.dead_channels].tolist(),
        "saturated_channels": group.axis[session.saturated_channels].tolist(),
        "offset": None if offset is None else {
            "seconds": offset.seconds, "correlation": offset.correlation, "as_is": offset.correlation_as_is,
            "against": offset.against, "suggested": offset.is_suggested, "applied": False,
        },
    }  # fmt: skip


def experiment_record(path: Path, series: PatternSeries) -> dict[str, Any]:
    """Return an experiment file that was read, for programs."""
    axis = series.axis
    return {"file": str(path), "format": "experiment file", "scans": len(series), "points": int(axis.values.size),
            "axis": axis.kind, "unit": axis.unit, "wavelength": axis.wavelength, "start": None}  # fmt: skip


def axis_unit(kind: str | None) -> str | None:
    """Return the unit of an axis; None where its kind is not known."""
    return None if kind is None else AXIS_UNITS[kind]


def _iso(date: datetime.datetime | None) -> str | None:
    return None if date is None else date.isoformat()
