"""Text files of potentiostats with a layout of their own: CH Instruments, and VersaStudio's .par."""

import re
from collections.abc import Iterator
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import Lines, TableLines, numbered_lines, open_text, split_rows, unique_names
from xrd_jax.io.parsing.dates import parse_datetime

_MAX_HEADER_LINES = 2000
_NO_LOG = "no log of voltage over time"
_CHI_CURRENT = re.compile(r"(?:Cathodic|Anodic) Current \(A\) = ")
_PAR_START = ("DateAcquired", "TimeAcquired")


def read_chi(path: Path) -> CyclerLog:
    """Read CH Instruments' text of a technique that records potential over time.

    Chronopotentiometry writes no current, only those of its steps, and not which flowed when: the current is open.
    """
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        header: list[str] = []
        for _, line in zip(range(_MAX_HEADER_LINES), (line for _, line in lines), strict=False):
            header.append(line.strip())
            if re.match(r"Time/\w+\s*,", header[-1]):
                break
        names = unique_names(header[-1].split(",")) if header else []
        roles = match_roles(names)
        if not {"time", "voltage"} <= set(roles):
            wrong = f"{_NO_LOG}: it has no columns Time and Potential ({(header or [''])[-1][:60]})"
            raise UserError(f"{path}: {wrong}; name the file of the charge and discharge")
        notes: list[str] = []
        rows = split_rows(TableLines(lines, ",", len(names)), path, notes)
        parsed = table.from_rows(rows, names, roles, path, decimal_comma=False)
    begun = next((date for line in header[:3] if (date := parse_datetime(line)) is not None), None)
    if currents := [line for line in header if _CHI_CURRENT.match(line)]:
        notes.append(f"its header states {', '.join(currents)}, but no row says which flowed")
    return cycler_log(parsed, path, Stated("" if begun is None else begun.isoformat(" ")), notes)


def read_par(path: Path) -> CyclerLog:
    """Read the segments of a VersaStudio file one after another; 'Definition=' names their columns."""
    start = ["", ""]
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        names: list[str] = []
        for _, line in lines:
            key, _, value = line.strip().partition("=")
            start = [value if key == name else text for name, text in zip(_PAR_START, start, strict=True)]
            if key == "Definition":
                names = unique_names(value.split(","))
                break
        roles = match_roles(names)
        if not {"time", "voltage"} <= set(roles):
            raise UserError(f"{path}: {_NO_LOG}: no segment defines E(V) and Elapsed Time(s); export it again")
        notes: list[str] = []
        rows = split_rows(TableLines(_segment_lines(lines, names, path), ",", len(names)), path, notes)
        parsed = table.from_rows(rows, names, roles, path, decimal_comma=False)
    return cycler_log(parsed, path, Stated(" ".join(start).strip()), notes)


def _segment_lines(lines: Lines, names: list[str], path: Path) -> Iterator[tuple[int, str]]:
    """Yield the rows of all segments, of which the first has begun."""
    is_inside = True
    for number, line in lines:
        key, _, value = line.strip().partition("=")
        if key == "Definition" and unique_names(value.split(",")) != names:
            raise UserError(f"{path}: line {number} defines other columns than the first segment; export one technique "
                            "per file")  # fmt: skip
        if key == "Definition" or line.startswith("</"):
            is_inside = key == "Definition"
        elif is_inside:
            yield number, line
