"""An experiment file to start from: what is known is written, what is not is marked NEEDED."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.log import CyclerLog, half_cycles
from xrd_jax.io.experiment.stack import same_axis
from xrd_jax.io.inspect.findings import Session
from xrd_jax.io.inspect.survey import PatternGroup, Survey, SurveyedFile
from xrd_jax.io.inspect.template_session import quoted, session_table
from xrd_jax.io.patterns.pattern import KALPHA_MEAN
from xrd_jax.series.axis import AXIS_UNITS


def experiment_file(survey: Survey, sessions: Sequence[Session], title: str) -> str | None:
    """Return the experiment file for the largest thing in a survey; None where there are no patterns."""
    series = [session for session in sessions if len(session.group.scans) > 1]
    largest = max((len(session.group.scans) for session in series), default=0)
    stack_file = max(survey.stacks, key=lambda file: len(file.stack.names) if file.stack else 0, default=None)
    if stack_file is not None and stack_file.stack is not None and len(stack_file.stack.names) > largest:
        tables = _for_stack(stack_file)
    elif sessions:
        tables = _for_sessions(series or sessions, title)
    else:
        return None
    return "\n".join([*_head(title, survey.base), *tables]) + "\n"


def _for_sessions(sessions: Sequence[Session], title: str) -> Iterator[str]:
    """Yield tables for groups of files; the first says what the axis is, and others on that axis are sessions too."""
    first = sessions[0].group
    of_kind = [session for session in sessions if session.group.scans[0].kind == first.scans[0].kind]
    on_axis = [session for session in of_kind if same_axis(first.axis, session.group.axis)]
    yield from _axis(first)
    names: list[str] = []
    for session in on_axis:
        name = session.group.folder.name or title
        candidates = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
        names.append(next(candidate for candidate in candidates if candidate not in names))
        yield from session_table(session, names[-1])
    have_logs = all(session.log is not None for session in on_axis)
    yield from _targets(on_axis[0].log if have_logs else None)
    yield from ("[set]", f"targets = [{quoted('voltage' if have_logs else 'property')}]")


def _for_stack(file: SurveyedFile) -> Iterator[str]:
    """Yield tables for one file with a row per spectrum."""
    stack = file.stack
    assert stack is not None
    yield from _stack_axis(stack.kind, is_numbered=bool(file.column_glob))
    yield from ("[[session]]", f"name = {quoted(file.path.stem)}", f"stack = {quoted(file.path.resolve().as_posix())}")
    if file.column_glob:
        yield f"columns = {quoted(file.column_glob)}"
    if np.asarray(stack.intensity).min() < 0:
        yield "allow_negative = true       # there are negative intensities in the file"
    numbers = {name: values[np.isfinite(values)] for name, values in stack.columns.items() if values.dtype.kind == "f"}
    targets = [name for name, values in numbers.items() if np.unique(values).size > 1][-3:]
    yield from ("", "# What is to be learnt: any column of the file. Remove what you do not want.")
    for name in targets:
        yield from (f"[targets.{_key(name)}]", f"column = {quoted(name)}", 'unit = ""', "")
    if not targets:
        yield from ("# NEEDED: a target.", "[targets.property]", '# column = "…"', "")
    yield "[split]"
    yield "# Half of the rows at random. The split that others used is written with"
    yield '# kind = "rows", train = "0-171", test = "172-214" (rows count from 0).'
    yield from ('kind = "random"', "train_fraction = 0.75", "")
    target = _key(targets[-1]).strip('"') if targets else "property"
    yield from ("[set]", f"targets = [{quoted(target)}]")
    yield 'resize = "none"' if stack.axis.size <= 256 else "channels = 256"
    yield 'scale = "snv"'


def _head(title: str, base: Path) -> Iterator[str]:
    yield "# Written by --mode=inspect: a start, to be read and mended by somebody who knows the experiment."
    yield "# Lines marked NEEDED ask for what the files do not say; remove the # before the setting below them."
    yield "# Paths are absolute, so that the file works from anywhere. To move it with its data, cut what they share,"
    yield "# and give that as --data_root (relative paths start there, else at this file's own folder):"
    yield from (f"#   {base.resolve().as_posix()}", "", "version = 2", f"title = {quoted(title)}", "")


def _axis(group: PatternGroup) -> Iterator[str]:
    """Yield the axis of pattern files, and their wavelength where it matters."""
    first, axis = group.scans[0], group.axis
    yield "[axis]"
    if first.kind is None:
        yield f"# NEEDED: what the positions {axis[0]:g} to {axis[-1]:g} are; one of"
        yield f"# {', '.join(AXIS_UNITS)}."
        yield '# kind = "two_theta"'
    else:
        yield f'kind = "{first.kind}"             # as the files state'
        yield f'unit = "{AXIS_UNITS[first.kind]}"'
    if first.kind in (None, "two_theta"):  # q and d mean the same at any
        if first.wavelength is not None:
            yield f"wavelength = {first.wavelength:.6g}       # Å, as the files state"
        else:
            anode = first.metadata.get("Anode", "")
            usual = KALPHA_MEAN.get(anode)
            reason = f"the anode is {anode}: its mean Kα is written below" if usual else "none is assumed"
            yield f"# NEEDED: the wavelength in Å; the files do not state it ({reason})."
            yield f"# wavelength = {usual or 1.5406:g}"
    yield ""


def _stack_axis(kind: str | None, is_numbered: bool) -> Iterator[str]:
    """Yield the axis of a stack, whose channels the file may merely number."""
    yield "[axis]"
    if kind is not None:
        yield from (f'kind = "{kind}"', f'unit = "{AXIS_UNITS[kind]}"')
    else:
        yield f"# NEEDED: what the channels are: one of {', '.join(AXIS_UNITS)}."
        yield from ('# kind = "wavelength"', '# unit = "nm"')
        if is_numbered:
            yield "# The file numbers its channels; say where the first and the last one are:"
            yield from ("# first = 850.0", "# last = 1050.0")
    yield ""


def _targets(log: CyclerLog | None) -> Iterator[str]:
    yield '# What is to be learnt. Others: column, expression = "voltage * current", table = "t.csv" with a column.'
    if log is None:
        yield "# NEEDED: a csv with a row per pattern, and which of its columns is to be learnt."
        yield from ("[targets.property]", '# table = "properties.csv"  # with a column file or number')
        yield from ('# column = "temperature"', "")
        return
    yield from ("[targets.voltage]", 'column = "voltage"', 'unit = "V"', "")
    try:
        halves = half_cycles(log.time, log.current)
    except UserError:
        return
    yield from ("[targets.mode]", 'from = "half cycles"        # charge or discharge, first or second half in time', "")
    yield from ("[targets.capacity]", 'from = "capacity"           # Ah since the log began', "")
    if halves.is_charge.size > 1:
        reason = "for --split=half_cycle, which leaves one of them out"
        yield from ("[targets.half_cycle]", f'from = "half cycle"         # {reason}', "")


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else quoted(name)
