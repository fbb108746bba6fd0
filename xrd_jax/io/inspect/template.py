"""An experiment file to start from: what is known is written, what is not is marked NEEDED."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.inspect import findings
from xrd_jax.io.inspect import survey as surveys
from xrd_jax.io.patterns import pattern
from xrd_jax.series import axis as series_axis


def for_sessions(sessions: Sequence[findings.Session], base: Path, title: str) -> str:
    """For groups of pattern files, the first of which says what the axis is; others on that axis are sessions too."""
    first = sessions[0].group
    alike = [
        one for one in sessions if surveys.same_axis(first.axis, one.group.axis) and _kind(one) == _kind(sessions[0])
    ]
    text = [*_head(title, base), *_axis(first.scans[0], first.axis)]
    names: list[str] = []
    for one in alike:
        text += _session(one, _unused(one.group.folder.name or title, names))
    with_log = all(one.log is not None for one in alike)
    text += _targets(alike[0].log.log if with_log and alike[0].log else None)
    text += _set(["voltage"] if with_log else ["property"])
    return "\n".join(text) + "\n"


def for_stack(one: surveys.Found, base: Path, title: str) -> str:
    """For one file with a row per spectrum."""
    rows = one.rows
    assert rows is not None
    text = [*_head(title, base), "[axis]"]
    if rows.kind is None:
        numbered = not one.columns
        text += [
            f"# NEEDED: what the channels are: one of {', '.join(series_axis.AXIS_UNITS)}.",
            '# kind = "wavelength"',
            '# unit = "nm"',
        ]
        if not numbered:
            text += ["# The file numbers its channels; say where the first and the last one are:",
                     "# first = 850.0", "# last = 1050.0"]  # fmt: skip
    else:
        text += [f'kind = "{rows.kind}"', f'unit = "{series_axis.AXIS_UNITS[rows.kind]}"']
    text += ["", "[[session]]", f"name = {_quoted(one.path.stem)}"]
    text += [f"stack = {_quoted(one.path.resolve().as_posix())}"]
    if one.columns:
        text.append(f"columns = {_quoted(one.columns)}")
    if np.asarray(rows.intensity).min() < 0:
        text.append("allow_negative = true       # there are negative intensities in the file")
    numeric = [name for name, values in rows.columns.items() if values.dtype.kind == "f" and _varies(values)]
    text += ["", "# What is to be learnt: any column of the file. Remove what you do not want."]
    chosen = numeric[-3:]
    for name in chosen:
        text += [f"[targets.{_key(name)}]", f"column = {_quoted(name)}", 'unit = ""', ""]
    if not chosen:
        text += ["# NEEDED: a target.", "[targets.property]", '# column = "…"', ""]
    text += [
        "[split]",
        "# Half of the rows at random. The split that others used is written with",
        '# kind = "rows", train = "0-171", test = "172-214" (rows count from 0).',
        'kind = "random"',
        "train_fraction = 0.75",
        "",
        *_set([_key(name).strip('"') for name in chosen[-1:]] or ["property"]),
        'resize = "none"' if rows.axis.size <= 256 else "channels = 256",
        'scale = "snv"',
    ]
    return "\n".join(text) + "\n"


def _head(title: str, base: Path) -> Iterator[str]:
    yield "# Written by --mode=inspect: a start, to be read and mended by somebody who knows the experiment."
    yield "# Lines marked NEEDED ask for what the files do not say; remove the # before the setting below them."
    yield "# Paths are absolute, so that the file works from anywhere. To move it with its data, cut what they share,"
    yield "# and give that as --data_root (relative paths start there, else at this file's own folder):"
    yield f"#   {base.resolve().as_posix()}"
    yield ""
    yield "version = 2"
    yield f"title = {_quoted(title)}"
    yield ""


def _axis(first: pattern.Pattern, axis: np.ndarray) -> Iterator[str]:
    yield "[axis]"
    if first.kind is None:
        yield f"# NEEDED: what the positions {axis[0]:g} to {axis[-1]:g} are; one of"
        yield f"# {', '.join(series_axis.AXIS_UNITS)}."
        yield '# kind = "two_theta"'
    else:
        yield f'kind = "{first.kind}"             # as the files state'
        yield f'unit = "{series_axis.AXIS_UNITS[first.kind]}"'
    if first.kind in (None, "two_theta", "q", "d"):
        if first.wavelength is not None:
            yield f"wavelength = {first.wavelength:.6g}       # Å, as the files state"
        else:
            anode = first.metadata.get("Anode", "")
            usual = pattern.KALPHA_MEAN.get(anode)
            why = f"the anode is {anode}: its mean Kα is written below" if usual else "none is assumed"
            yield f"# NEEDED: the wavelength in Å; the files do not state it ({why})."
            yield f"# wavelength = {usual or 1.5406:g}"
    yield ""


def _session(one: findings.Session, name: str) -> Iterator[str]:
    group = one.group
    home = group.folder.resolve().as_posix()
    yield "[[session]]"
    yield f"name = {_quoted(name)}"
    yield from _patterns(group, home + "/")
    values = group.intensity()
    counts = bool(np.all(values == np.round(values)) and values.min() >= 0)
    yield f"counts = {str(counts).lower()}" + ("               # whole numbers: photon counts?" if counts else "")
    if values.min() < 0:
        yield "allow_negative = true       # there are negative intensities"
    if one.duplicates:
        yield f"exclude = [{', '.join(_quoted(copy) for copy, _ in one.duplicates)}]   # copies of other patterns"
    yield "# c_rate = 1.0"
    yield ""
    yield from _time(one)
    if one.log is not None and one.log.log is not None:
        yield from _cycler(one)


def _patterns(group: surveys.Group, home: str) -> Iterator[str]:
    """A glob for exactly these files if there is one, else their names."""
    names = [file.path.name for file in group.files]
    suffix = group.files[0].path.suffix
    present = sorted(file.name for file in group.folder.iterdir() if file.is_file() and file.name.endswith(suffix))
    if len(names) > 1 and sorted(names) == present and suffix:
        yield f"patterns = {_quoted(_escaped(home) + '*' + suffix)}"
    elif len(names) == 1:
        yield f"patterns = {_quoted(_escaped(home + names[0]))}"
    else:
        yield "patterns = ["
        yield from (f"  {_quoted(_escaped(home + name))}," for name in names)
        yield "]"
    if group.number is not None:
        yield f"number = '{group.number}'"


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _time(one: findings.Session) -> Iterator[str]:
    clocks, scans = one.clocks, one.group.scans
    if clocks.kind in ("absolute", "relative"):
        yield "[session.time]"
        yield "files = true                # the pattern files say when they were taken"
        if any(scan.exposure is None and scan.end_time is None for scan in scans):
            yield "exposure = 0.0              # s: the files do not state it, so the middle is not known"
        if one.log is not None and clocks.kind == "relative":
            yield "# NEEDED: the clocks of patterns and log cannot be compared. Give the zone of the one that lacks it"
            yield '# (zone = "Europe/Berlin" here or under [session.cycler]), or count from the first pattern:'
            yield "# relative = true"
            yield "# first = 0.0               # s on the log's clock at which the first pattern starts"
        yield from _suggestion(one)
        yield ""
    elif one.log is not None:
        number = "the pattern with number first_number" if one.group.number else "the first pattern"
        yield "[session.time]"
        yield "# NEEDED: the files hold no times. If patterns were taken at a constant step, say so; the step below"
        yield '# would make them fill the log. Otherwise give table = "times.csv" with the columns file,start_time.'
        yield f"# step = {clocks.step:.6g}"
        yield "# exposure = 0.0            # s"
        first = float(clocks.time[0])  # the middle of its step: safely inside the log, whatever the exposure
        yield f"# first = {first:.6g}             # s on the log's clock at which {number} starts"
        if one.group.number:
            found = re.search(one.group.number, one.group.names[int(one.order[0])])
            yield f"# first_number = {int(found[1]) if found else 1}"
        yield from _suggestion(one)
        yield ""


def _suggestion(one: findings.Session) -> Iterator[str]:
    if one.offset is not None and one.offset.told:
        yield f"# What a cross-correlation suggests, with |r| = {one.offset.correlation:.3f}, in s:"
        yield f"# offset = {one.offset.seconds:.0f}"


def _cycler(one: findings.Session) -> Iterator[str]:
    assert one.log is not None and one.log.log is not None
    yield "[session.cycler]"
    yield f"file = {_quoted(one.log.path.resolve().as_posix())}"
    yield f"format = {_quoted(one.log.format)}"
    yield "tolerance = 120.0           # s: no value is interpolated across longer gaps of the log"
    if one.log.log.start is not None and one.log.log.start.tzinfo is None:
        yield f'# zone = "+00:00"           # of the log, which states none; it began {one.log.log.start.isoformat()}'
    yield '# positive_current = "discharge"   # if the cycler counts discharge as positive'
    yield ""


def _targets(log: logs.CyclerLog | None) -> Iterator[str]:
    yield '# What is to be learnt. Others: column, expression = "voltage * current", table = "t.csv" with a column.'
    if log is None:
        yield "# NEEDED: a csv with a row per pattern, and which of its columns is to be learnt."
        yield "[targets.property]"
        yield '# table = "properties.csv"  # with a column file or number'
        yield '# column = "temperature"'
        yield ""
        return
    yield "[targets.voltage]"
    yield 'column = "voltage"'
    yield 'unit = "V"'
    yield ""
    try:
        halves = logs.half_cycles(log.time, log.current)
    except UserError:
        return
    yield "[targets.mode]"
    yield 'from = "half cycles"        # charge or discharge, first or second half in time'
    yield ""
    yield "[targets.capacity]"
    yield 'from = "capacity"           # Ah since the log began'
    yield ""
    if halves.charge.size > 1:
        yield "[targets.half_cycle]"
        yield 'from = "half cycle"         # for --split=half_cycle, which leaves one of them out'
        yield ""


def _set(targets: Sequence[str]) -> Iterator[str]:
    yield "[set]"
    yield f"targets = [{', '.join(_quoted(name) for name in targets)}]"


def _kind(one: findings.Session) -> str | None:
    return one.group.scans[0].kind


def _varies(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return known.size > 1 and bool(np.ptp(known) > 0)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else _quoted(name)


def _unused(name: str, taken: list[str]) -> str:
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name} {number}"
    taken.append(found)
    return found
