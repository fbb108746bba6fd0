"""Findings in plain words."""

import collections
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.log import CyclerLog, half_cycles
from xrd_jax.io.experiment import clock
from xrd_jax.io.inspect.alignment import Centroid, Offset
from xrd_jax.io.inspect.findings import Session, faulty_channels, middle_of_exposure, relative_path
from xrd_jax.io.inspect.records import axis_unit
from xrd_jax.io.inspect.survey import Survey, SurveyedFile
from xrd_jax.io.patterns.pattern import KALPHA_MEAN
from xrd_jax.series.axis import DIFFRACTION_KINDS
from xrd_jax.series.record import PatternSeries

MAX_LISTED = 8  # groups, logs, stacks and refusals that are described one by one


def describe_survey(survey: Survey, sessions: Sequence[Session]) -> Iterator[str]:
    """Yield a line for everything that was found; problems start with 'Problem:' and end with their remedy."""
    yield from _overview(survey)
    for session in sessions:
        yield from _patterns(session, survey.base)
        yield from _times(session)
        for file in session.log_files:
            yield from _log(file, survey.base)
        if session.log_files:
            yield from _match(session)
        yield from _faults(session)
    for file in survey.stacks:
        yield from _stack(file, survey.base)
    described = {id(file) for session in sessions for file in session.log_files}
    for file in [file for file in survey.logs if id(file) not in described][:MAX_LISTED]:
        yield from _log(file, survey.base)


def describe_series(series: PatternSeries, loaded: PatternSeries) -> Iterator[str]:
    """Yield lines about the series of an experiment file; `loaded` are the patterns of it that are in memory."""
    for name, target in series.targets.items():
        if target.kind == "regression":
            low, high = target.values.min(), target.values.max()
            yield f"Target {name}: {low:.5g} to {high:.5g} {target.unit}".rstrip() + "."
    axis = series.axis
    ends = f"{axis.values[0]:g} to {axis.values[-1]:g} {axis.unit}".rstrip()
    yield f"Axis: {axis.values.size} channels of {axis.kind} from {ends}."
    dead, saturated = faulty_channels(np.asarray(loaded.intensity))
    if dead.size:
        yield f"Problem: {dead.size} channels never change; hide them under [mask] channels."
    if saturated.size:
        yield f"Problem: {saturated.size} channels may be saturated; if so, hide them under [mask] channels."


def describe_offset(centroid: Centroid, offset: Offset) -> str:
    """Return what cross-correlation says of the two clocks."""
    best, as_is = f"{offset.correlation:.3f}", f"{offset.correlation_as_is:.3f}"
    low, high = centroid.window
    opening = f"What moves most lies between {low:.4g} and {high:.4g}; it follows the {offset.against}"
    if not offset.is_suggested:
        doubt = offset.confidence or "none stands out"
        return f"{opening} with |r| = {as_is}. No offset is suggested: {doubt} (the best |r| is {best})."
    shift = f"{abs(offset.seconds):.0f} s {'later' if offset.seconds >= 0 else 'earlier'}"
    agreement = f"(|r| = {best}; as they are {as_is}; {offset.confidence})"
    return f"{opening} best with the patterns {shift} {agreement}. This offset is a suggestion and was not applied."


def _overview(survey: Survey) -> Iterator[str]:
    patterns = sum(len(file.scans) for file in survey.files)
    parts = [_count(patterns, "pattern"), _count(len(survey.logs), "cycler log"), _count(len(survey.stacks), "stack")]
    contents = ", ".join(part for part in parts if not part.startswith("0 ")) or "none readable"
    yield f"{survey.root}: {_count(len(survey.files) + len(survey.refused), 'file')}; {contents}."
    for path, reason in survey.refused[:MAX_LISTED]:
        yield f"Not read: {reason.replace(str(path), relative_path(path, survey.base), 1)}"
    if (others := len(survey.refused) - MAX_LISTED) > 0:
        yield f"Not read: {others} files more; --json=FILE lists them all."
    if (others := len(survey.groups) - MAX_LISTED) > 0:
        yield f"{others} further groups of patterns are small and only listed with --json=FILE."


def _patterns(session: Session, base: Path) -> Iterator[str]:
    group, axis, first = session.group, session.group.axis, session.group.scans[0]
    formats = ", ".join(sorted({file.format for file in group.files}))
    range_of_names = group.names[0] + (f" to {group.names[-1]}" if len(group.names) > 1 else "")
    folder = relative_path(group.folder, base)
    yield f"{_count(len(group.scans), 'pattern')} in {folder} ({formats}): {range_of_names}."
    kind = first.kind
    meaning = f"{kind} in {axis_unit(kind) or 'channels'}" if kind else "the files do not say of what"
    yield f"  Axis: {axis.size} channels from {axis[0]:g} to {axis[-1]:g}, {meaning}."
    anode = first.metadata.get("Anode", "")
    if first.wavelength is not None:
        yield f"  Wavelength: {first.wavelength:.5g} Å, as the files state."
    elif anode in KALPHA_MEAN:
        yield f"  Wavelength: not stated; the anode is {anode}, whose mean Kα is {KALPHA_MEAN[anode]:g} Å."
    elif kind in (None, *DIFFRACTION_KINDS):
        yield "  Wavelength: not stated."
    values = group.intensity()
    numbers = "whole numbers, as photon counts are" if np.all(values == np.round(values)) else "not whole numbers"
    yield f"  Intensities: {values.min():g} to {values.max():g}, {numbers}."
    for note, count in collections.Counter(note for scan in group.scans for note in scan.notes).items():
        yield f"  In {count} of {len(group.scans)} patterns {note}."
    if values.min() < 0 and kind in (None, *DIFFRACTION_KINDS):
        yield "  Problem: some intensities are negative; if a background was subtracted, set allow_negative = true."


def _times(session: Session) -> Iterator[str]:
    times, scans = session.times, session.group.scans
    if len(scans) == 1:
        date = middle_of_exposure(scans[0])
        yield f"  Time: {date.isoformat() if date else 'not stated'}."
    elif times.kind in ("absolute", "relative"):
        steps = np.diff(times.time)
        zone = "with" if times.patterns_state_zone else "without"
        rate = f"{np.median(steps):.4g} s from pattern to pattern"
        yield f"  Times: stated in the files {zone} a time zone; they span {_duration(np.ptp(times.time))}, {rate}."
        if (gaps := np.count_nonzero(steps > 2.5 * np.median(steps))) > 0:
            yield f"  Gaps between patterns: {gaps}, the longest {_duration(steps.max())}."
    else:
        yield "  Times: not stated in the files."
    if session.group.number is not None:
        numbers = clock.frame_numbers(session.group.names, re.compile(session.group.number))
        missing = clock.missing_numbers(numbers)
        rest = f"; missing: {clock.abbreviate(missing)}." if missing else ", none missing."
        yield f"  Numbers in names: {numbers.min()} to {numbers.max()}{rest}"
    exposures = {scan.exposure for scan in scans}
    if len(exposures) == 1 and (exposure := exposures.pop()) is not None:
        yield f"  Exposure: {exposure:g} s."


def _log(file: SurveyedFile, base: Path) -> Iterator[str]:
    """Describe a cycler log: rows, span, ranges, columns, half cycles, gaps."""
    log = file.log
    assert log is not None
    start = "no start time"
    if log.start is not None:
        zone = "" if log.start.tzinfo else " without a time zone"
        start = f"begun {log.start.isoformat(' ', 'seconds')}{zone}"
    span, current = _duration(np.ptp(log.time)), 1000 * log.current
    yield f"Cycler log {relative_path(file.path, base)} ({file.format}): {log.time.size} rows over {span}, {start}."
    voltage_range = f"Voltage {log.voltage.min():.4g} to {log.voltage.max():.4g} V"
    flow = "no current" if np.isnan(current).all() else f"current {current.min():.4g} to {current.max():.4g} mA"
    yield f"  {voltage_range}, {flow}."
    yield f"  Columns: {', '.join(log.columns)}."
    yield f"  Half cycles: {_half_cycles(log)}."
    steps = np.diff(log.time)
    if steps.size and (gaps := np.count_nonzero(steps > max(120.0, 10 * float(np.median(steps))))) > 0:
        yield f"  Gaps in the log: {gaps}, the longest {_duration(steps.max())}; nothing is matched across them."
    for note in log.notes:
        yield f"  Note: {note}."


def _half_cycles(log: CyclerLog) -> str:
    try:
        is_charge = half_cycles(log.time, log.current).is_charge.tolist()
    except UserError as error:
        return f"none ({error})"
    names = ["charge" if charge else "discharge" for charge in is_charge]
    return f"{len(names)} ({', '.join(names[:6])}{', …' if len(names) > 6 else ''})"


def _match(session: Session) -> Iterator[str]:
    """Describe how the patterns lie to their log."""
    times = session.times
    if times.kind == "filled":
        yield (
            f"  Alignment: for the figures only, the patterns are put at equal steps of {times.step:.6g} s that fill "
            "the log. Problem: their times are not known; give step and first, or a table of start times."
        )
    elif times.kind == "relative":
        silent = "the log" if times.patterns_state_zone and not times.log_states_zone else "the patterns"
        yield f"  Problem: the clocks cannot be compared, as {silent} state no time zone or start; give zone or start."
    elif times.kind == "none":
        yield "  Problem: no times: nothing says which moment of the log belongs to which pattern; give [session.time]."
    if session.unmatched:
        yield (
            f"  Problem: {len(session.unmatched)} of {session.order.size} patterns lie outside the log or in its gaps "
            f"({clock.abbreviate(session.unmatched)}); they will be left out: check zone and offset."
        )
    if session.offset is not None and session.centroid is not None:
        yield f"  {describe_offset(session.centroid, session.offset)}"


def _faults(session: Session) -> Iterator[str]:
    axis, dead, saturated = session.group.axis, session.dead_channels, session.saturated_channels
    for copy, original in session.duplicates[:3]:
        yield f"  Problem: {copy} holds the same intensities as {original}; remove one or list it under exclude."
    if len(session.duplicates) > 3:
        yield f"  Problem: {len(session.duplicates) - 3} more patterns are copies."
    if dead.size:
        yield f"  Problem: channels that never change: {_positions(axis, dead)}; hide them under [mask] channels."
    if saturated.size:
        sign = f"may be saturated (the largest value is reached again and again): {_positions(axis, saturated)}"
        yield f"  Problem: {_count(saturated.size, 'channel')} {sign}; hide them under [mask] channels if that is so."


def _positions(axis: np.ndarray, channels: np.ndarray) -> str:
    return clock.abbreviate([f"{axis[i]:g}" for i in channels.tolist()])


def _stack(file: SurveyedFile, base: Path) -> Iterator[str]:
    """Describe a file with a row per spectrum."""
    stack = file.stack
    assert stack is not None
    axis = stack.axis
    yield f"{len(stack.names)} spectra in {relative_path(file.path, base)} ({file.format})."
    meaning = f"{stack.kind} in {axis_unit(stack.kind)}" if stack.kind else "the file does not say of what"
    columns = f", in the columns {file.column_glob}" if file.column_glob else ""
    yield f"  Axis: {axis.size} channels from {axis[0]:g} to {axis[-1]:g}, {meaning}{columns}."
    values = np.asarray(stack.intensity)
    yield f"  Intensities: {values.min():g} to {values.max():g}."
    if stack.columns:
        yield f"  Further columns, which may be targets: {', '.join(stack.columns)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.0f} s"
