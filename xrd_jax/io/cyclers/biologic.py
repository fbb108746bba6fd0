"""BioLogic EC-Lab and BT-Lab text exports (.mpt)."""

import re
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import Lines, TableLines, numbered_lines, open_text, split_rows, unique_names

_START, _OPEN_CIRCUIT = "Acquisition started on :", "Open Circuit Voltage"
_ANNOUNCEMENT_LINES = 5  # among which the program says how long its header is


def is_mpt(head: bytes) -> bool:
    """Return True for a file with BioLogic's first line, and for a bare table with its time column."""
    first = head.split(b"\n", 1)[0]
    return bool(re.match(rb"(\xef\xbb\xbf)?(EC|BT)-Lab ASCII FILE", first)) or (b"\t" in first and b"time/s" in first)


def read(path: Path) -> CyclerLog:
    """Read time, voltage, current, charge and every other numeric column.

    Takes files with or without header, in UTF-8 or latin-1, with decimal points or commas, and with times in seconds
    or as dates (month first, as the programs write them, in local time without a zone). Voltage is Ecell where
    recorded, else Ewe. A missing current is dQ/dt, or 0 where the technique is open circuit; a missing charge is ∫I dt.
    """
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        header = _read_header(lines, path)
        names = unique_names(header[-1].split("\t"))
        roles = match_roles(names)
        if "voltage" not in roles:
            raise UserError(f"{path}: no voltage column (Ecell/V or Ewe/V) of plain numbers; export the file with one")
        notes: list[str] = []
        rows = split_rows(TableLines(lines, "\t", len(names)), path, notes)
        parsed = table.from_rows(rows, names, roles, path, decimal_comma=True)
    mode = parsed.numbers.get("mode")
    is_open_circuit = _OPEN_CIRCUIT in header or (mode is not None and (mode == 3).all())
    if is_open_circuit and not {"current", "net", "increment"} & set(parsed.roles):
        parsed = parsed.with_column("current", "current / A", np.zeros(len(parsed.lines)))
        notes.append("the cell was at open circuit, so its current is 0")
    start = next((line.partition(":")[2].strip() for line in header if line.startswith(_START)), "")
    others = tuple(line.partition(":")[2].strip() for line in header if line.startswith("Modify on"))
    return cycler_log(parsed, path, Stated(start, others, order="month"), notes)


def _read_header(lines: Lines, path: Path) -> list[str]:
    """Return the lines up to the names of the columns, which are the last."""
    header: list[str] = []
    count = 1
    for number, line in lines:
        header.append(line.rstrip())
        match = re.match(r"Nb header lines\s*:\s*(\d{1,6})\b", line)
        if match and number <= _ANNOUNCEMENT_LINES:
            count = int(match.group(1))
        if number >= count and (number >= _ANNOUNCEMENT_LINES or count > 1 or not is_mpt(header[0].encode())):
            break
        if number == 1 and "time/s" in line:
            break
    if len(header) < count:
        raise UserError(f"{path}: {count} header lines announced but the file ends after {len(header)}; copy it again")
    if not count or "time/s" not in header[count - 1].split("\t"):
        raise UserError(f"{path}: line {count} names no column 'time/s'; export the file as text with its column names")
    return header[:count]
