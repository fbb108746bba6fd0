"""The [[session]] of an experiment file to start from: patterns, times, cycler log."""

import json
import re
from collections.abc import Iterator

import numpy as np

from xrd_jax.io.inspect import name_patterns
from xrd_jax.io.inspect.findings import Session


def session_table(session: Session, name: str) -> Iterator[str]:
    """Yield the lines of one session; what the files do not say is marked NEEDED."""
    yield "[[session]]"
    yield f"name = {quoted(name)}"
    yield from _patterns(session)
    values = session.group.intensity()
    is_counts = bool(np.all(values == np.round(values)) and values.min() >= 0)
    yield f"counts = {str(is_counts).lower()}" + ("               # whole numbers: photon counts?" if is_counts else "")
    if values.min() < 0:
        yield "allow_negative = true       # there are negative intensities"
    if session.duplicates:
        copies = ", ".join(quoted(copy) for copy, _ in session.duplicates)
        yield f"exclude = [{copies}]   # copies of other patterns"
    yield from ("# c_rate = 1.0", "")
    has_dates = session.times.kind in ("absolute", "relative")
    if has_dates or session.log is not None:
        yield from _stated_times(session) if has_dates else _needed_times(session)
        if session.offset is not None and session.offset.is_suggested:
            yield f"# What a cross-correlation suggests, with |r| = {session.offset.correlation:.3f}, in s:"
            yield f"# offset = {session.offset.seconds:.0f}"
        yield ""
    yield from _cycler(session)


def _patterns(session: Session) -> Iterator[str]:
    """Yield a glob for exactly these files if there is one, else their names."""
    group = session.group
    folder = group.folder.resolve().as_posix() + "/"
    names = [file.path.name for file in group.files]
    suffix = group.files[0].path.suffix
    present = sorted(path.name for path in group.folder.iterdir() if path.is_file() and path.name.endswith(suffix))
    if len(names) > 1 and sorted(names) == present and suffix:
        yield f"patterns = {quoted(_escape_glob(folder) + '*' + suffix)}"
    elif len(names) == 1:
        yield f"patterns = {quoted(_escape_glob(folder + names[0]))}"
    else:
        yield "patterns = ["
        yield from (f"  {quoted(_escape_glob(folder + name))}," for name in names)
        yield "]"
    if group.number is not None:
        yield f"number = '{group.number}'"
    elif (place := name_patterns.place_pattern([group.names[i] for i in session.order.tolist()])) is not None:
        yield f"place = '{place}'" + "          # positions that alternate, each a session"


def _escape_glob(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)


def _stated_times(session: Session) -> Iterator[str]:
    yield "[session.time]"
    yield "files = true                # the pattern files say when they were taken"
    if any(scan.exposure is None and scan.end_time is None for scan in session.group.scans):
        yield "exposure = 0.0              # s: the files do not state it, so the middle is not known"
    if session.log is not None and session.times.kind == "relative":
        yield "# NEEDED: the clocks of patterns and log cannot be compared. Give the zone of the one that lacks it"
        yield '# (zone = "Europe/Berlin" here or under [session.cycler]), or count from the first pattern:'
        yield "# relative = true"
        yield "# first = 0.0               # s on the log's clock at which the first pattern starts"


def _needed_times(session: Session) -> Iterator[str]:
    times, number = session.times, session.group.number
    yield "[session.time]"
    yield "# NEEDED: the files hold no times. If patterns were taken at a constant step, say so; the step below"
    yield '# would make them fill the log. Otherwise give table = "times.csv" with the columns file,start_time.'
    yield from (f"# step = {times.step:.6g}", "# exposure = 0.0            # s")
    first = float(times.time[0])  # the middle of its step: safely inside the log, whatever the exposure
    first_pattern = "the pattern with number first_number" if number else "the first pattern"
    yield f"# first = {first:.6g}             # s on the log's clock at which {first_pattern} starts"
    if number:
        match = re.search(number, session.group.names[int(session.order[0])])
        yield f"# first_number = {int(match[1]) if match else 1}"


def _cycler(session: Session) -> Iterator[str]:
    if session.log is None:
        return
    yield "[session.cycler]"
    names = [quoted(_escape_glob(file.path.resolve().as_posix())) for file in session.log_files]
    if len(names) == 1:
        yield f"file = {names[0]}"
    else:
        yield from ("file = [                    # one after the other", *(f"  {name}," for name in names), "]")
    yield f"format = {quoted(session.log.format)}"
    yield "tolerance = 120.0           # s: no value is interpolated across longer gaps of the log"
    start = session.log.start
    if start is not None and start.tzinfo is None:
        yield f'# zone = "+00:00"           # of the log, which states none; it began {start.isoformat()}'
    yield '# positive_current = "discharge"   # if the cycler counts discharge as positive'
    yield ""


def quoted(text: str) -> str:
    """Return text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)
