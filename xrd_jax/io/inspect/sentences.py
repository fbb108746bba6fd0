"""Findings in plain words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import clock, exposure_times
from xrd_jax.io.inspect import alignment, findings
from xrd_jax.io.inspect import survey as surveys
from xrd_jax.io.patterns import pattern

SHOWN = 8  # groups and refusals that are told one by one


def overview(survey: surveys.Survey) -> Iterator[str]:
    """What was found, in one line each."""
    patterns = sum(len(one.scans) for one in survey.read)
    parts = [_count(patterns, "pattern"), _count(len(survey.logs), "cycler log"), _count(len(survey.stacks), "stack")]
    files = _count(len(survey.read) + len(survey.refused), "file")
    found = ", ".join(part for part in parts if not part.startswith("0 ")) or "none readable"
    yield f"{survey.root}: {files}; {found}."
    for path, why in survey.refused[:SHOWN]:
        yield f"Not read: {why.replace(str(path), findings.relative(path, survey.base), 1)}"
    if len(survey.refused) > SHOWN:
        yield f"Not read: {len(survey.refused) - SHOWN} files more; --json=FILE lists them all."
    if len(survey.groups) > SHOWN:
        yield f"{len(survey.groups) - SHOWN} further groups of patterns are small and only listed with --json=FILE."


def session(one: findings.Session, base: Path) -> Iterator[str]:
    """One group of patterns, its times and its log; problems start with 'Problem:' and end with their remedy."""
    yield from _patterns(one, base)
    yield from _times(one)
    if one.log is not None and one.log.log is not None:
        yield from cycler(one.log, base)
        yield from _matched(one)
    yield from _faults(one)


def _patterns(one: findings.Session, base: Path) -> Iterator[str]:
    group, axis, first = one.group, one.group.axis, one.group.scans[0]
    formats = ", ".join(sorted({file.format for file in group.files}))
    home = findings.relative(group.folder, base)
    which = f"{group.names[0]}" + (f" to {group.names[-1]}" if len(group.names) > 1 else "")
    yield f"{_count(len(group.scans), 'pattern')} in {home} ({formats}): {which}."
    kind, unit = first.kind, findings.unit(first.kind)
    said = f"{kind} in {unit or 'channels'}" if kind else "the files do not say of what"
    yield f"  Axis: {axis.size} channels from {axis[0]:g} to {axis[-1]:g}, {said}."
    anode = first.metadata.get("Anode", "")
    if first.wavelength is not None:
        yield f"  Wavelength: {first.wavelength:.5g} Å, as the files state."
    elif anode in pattern.KALPHA_MEAN:
        yield f"  Wavelength: not stated; the anode is {anode}, whose mean Kα is {pattern.KALPHA_MEAN[anode]:g} Å."
    elif kind in (None, "two_theta", "q", "d"):
        yield "  Wavelength: not stated."
    values = group.intensity()
    whole = "whole numbers, as photon counts are" if np.all(values == np.round(values)) else "not whole numbers"
    yield f"  Intensities: {values.min():g} to {values.max():g}, {whole}."
    notes: dict[str, int] = {}
    for scan in group.scans:
        for note in scan.notes:
            notes[note] = notes.get(note, 0) + 1
    for note, count in notes.items():
        yield f"  In {count} of {len(group.scans)} patterns {note}."
    if values.min() < 0:
        yield "  Problem: some intensities are negative; if a background was subtracted, set allow_negative = true."


def _times(one: findings.Session) -> Iterator[str]:
    clocks, scans = one.clocks, one.group.scans
    if len(scans) == 1:
        moment = findings.middle(scans[0])
        yield f"  Time: {moment.isoformat() if moment else 'not stated'}."
    elif clocks.kind in ("absolute", "relative"):
        zone = "with" if clocks.zones[0] else "without"
        yield (
            f"  Times: stated in the files {zone} a time zone; they span {_span(np.ptp(clocks.time))}, "
            f"{np.median(np.diff(clocks.time)):.4g} s from pattern to pattern."
        )
        gaps = np.flatnonzero(np.diff(clocks.time) > 2.5 * np.median(np.diff(clocks.time)))
        if gaps.size:
            yield f"  Gaps between patterns: {gaps.size}, the longest {_span(np.diff(clocks.time).max())}."
    else:
        yield "  Times: not stated in the files."
    if one.group.number is not None:
        numbers = clock.frame_numbers(one.group.names, re.compile(one.group.number))
        missing = clock.missing_numbers(numbers)
        yield f"  Numbers in names: {numbers.min()} to {numbers.max()}" + (
            f"; missing: {exposure_times.some(missing)}." if missing else ", none missing."
        )
    exposures = {scan.exposure for scan in scans}
    if len(exposures) == 1 and (exposure := exposures.pop()) is not None:
        yield f"  Exposure: {exposure:g} s."


def cycler(one: surveys.Found, base: Path) -> Iterator[str]:
    """A cycler log: rows, span, ranges, columns, half cycles, gaps."""
    log = one.log
    assert log is not None
    start = "no start time" if log.start is None else f"begun {log.start.isoformat(' ', 'seconds')}" + (
        "" if log.start.tzinfo else " without a time zone"
    )  # fmt: skip
    span = _span(np.ptp(log.time))
    yield f"Cycler log {findings.relative(one.path, base)} ({one.format}): {log.time.size} rows over {span}, {start}."
    current = 1000 * log.current
    yield (
        f"  Voltage {log.voltage.min():.4g} to {log.voltage.max():.4g} V, current {current.min():.4g} to "
        f"{current.max():.4g} mA."
    )
    yield f"  Columns: {', '.join(log.columns)}."
    yield f"  Half cycles: {_half_cycles(log)}."
    steps = np.diff(log.time)
    if steps.size and (gaps := np.flatnonzero(steps > max(120.0, 10 * float(np.median(steps))))).size:
        yield f"  Gaps in the log: {gaps.size}, the longest {_span(steps.max())}; nothing is matched across them."
    for note in log.notes:
        yield f"  Note: {note}."


def _half_cycles(log: logs.CyclerLog) -> str:
    try:
        found = logs.half_cycles(log.time, log.current)
    except UserError as error:
        return f"none ({error})"
    names = ["charge" if up else "discharge" for up in found.charge.tolist()]
    return f"{len(names)} ({', '.join(names[:6])}{', …' if len(names) > 6 else ''})"


def _matched(one: findings.Session) -> Iterator[str]:
    clocks = one.clocks
    if clocks.kind == "filled":
        yield (
            f"  Alignment: for the figures only, the patterns are put at equal steps of {clocks.step:.6g} s that fill "
            "the log. Problem: their times are not known; give step and first, or a table of start times."
        )
    elif clocks.kind == "relative":
        lacks = "the log" if clocks.zones[0] and not clocks.zones[1] else "the patterns"
        yield f"  Problem: the clocks cannot be compared, as {lacks} state no time zone or start; give zone or start."
    elif clocks.kind == "none":
        yield "  Problem: no times: nothing says which moment of the log belongs to which pattern; give [session.time]."
    if one.unmatched:
        yield (
            f"  Problem: {len(one.unmatched)} of {one.order.size} patterns lie outside the log or in its gaps "
            f"({exposure_times.some(one.unmatched)}); they will be left out: check zone and offset."
        )
    if (found := one.offset) is not None and one.moving is not None:
        yield moved(found, one.moving)


def moved(found: alignment.Offset, moving: alignment.Moving) -> str:
    """What cross-correlation says of the two clocks."""
    low, high = moving.window
    if not found.told:
        return (
            f"  What moves most lies between {low:.4g} and {high:.4g}; it follows the {found.against} with |r| = "
            f"{found.unmoved:.3f}. No offset is suggested: none stands out (the best |r| is {found.correlation:.3f})."
        )
    return (
        f"  What moves most lies between {low:.4g} and {high:.4g}; it follows the {found.against} best with the "
        f"patterns {abs(found.seconds):.0f} s {'later' if found.seconds >= 0 else 'earlier'} (|r| = "
        f"{found.correlation:.3f}; as they are {found.unmoved:.3f}). This offset is a suggestion and was not applied."
    )


def _faults(one: findings.Session) -> Iterator[str]:
    axis = one.group.axis
    for copy, original in one.duplicates[:3]:
        yield f"  Problem: {copy} holds the same intensities as {original}; remove one or list it under exclude."
    if len(one.duplicates) > 3:
        yield f"  Problem: {len(one.duplicates) - 3} more patterns are copies."
    if one.dead.size:
        yield f"  Problem: channels that never change: {_places(axis, one.dead)}; hide them under [mask] channels."
    if one.saturated.size:
        yield (
            f"  Problem: {_count(one.saturated.size, 'channel')} may be saturated (the largest value is reached again "
            f"and again): {_places(axis, one.saturated)}; hide them under [mask] channels if that is so."
        )


def _places(axis: np.ndarray, where: np.ndarray) -> str:
    return exposure_times.some([f"{axis[i]:g}" for i in where.tolist()])


def stacked(one: surveys.Found, base: Path) -> Iterator[str]:
    """A file with a row per spectrum."""
    rows = one.rows
    assert rows is not None
    yield f"{len(rows.names)} spectra in {findings.relative(one.path, base)} ({one.format})."
    said = f"{rows.kind} in {findings.unit(rows.kind)}" if rows.kind else "the file does not say of what"
    named = f", in the columns {one.columns}" if one.columns else ""
    yield f"  Axis: {rows.axis.size} channels from {rows.axis[0]:g} to {rows.axis[-1]:g}, {said}{named}."
    values = np.asarray(rows.intensity)
    yield f"  Intensities: {values.min():g} to {values.max():g}."
    if rows.columns:
        yield f"  Further columns, which may be targets: {', '.join(rows.columns)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _span(seconds: float) -> str:
    seconds = float(seconds)
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.0f} s"


def lines(parts: Sequence[Iterator[str]]) -> list[str]:
    """All sentences in order."""
    return [line for part in parts for line in part]
