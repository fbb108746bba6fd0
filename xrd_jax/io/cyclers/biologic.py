"""BioLogic EC-Lab and BT-Lab text exports (.mpt)."""

import re
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import Lines, notes_on_end, numbered_lines, open_text, split_rows, unique_names
from xrd_jax.io.parsing.timestamps import read_header_date

_ANNOUNCEMENT_LINES = 5  # among which the program says how long its header is


def is_mpt(head: bytes) -> bool:
    """Return True for a file with BioLogic's first line, and for a bare table with its time column."""
    first = head.split(b"\n", 1)[0]
    return bool(re.match(rb"(\xef\xbb\xbf)?(EC|BT)-Lab ASCII FILE", first)) or (b"\t" in first and b"time/s" in first)


def read(path: Path) -> CyclerLog:
    """Read time, voltage, current, charge and every other numeric column.

    Takes files with or without header, in UTF-8 or latin-1, with decimal points or commas, and with times in seconds
    or as dates (month first, as the programs write them, in local time without a zone). Voltage is Ecell where
    recorded, else Ewe. A missing current is dQ/dt; a missing charge is ∫I dt.
    """
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        header = _read_header(lines, path)
        names = unique_names(header[-1].split("\t"))
        roles = match_roles(names)
        if "voltage" not in roles:
            raise UserError(f"{path}: no voltage column (Ecell/V or Ewe/V) of plain numbers; export the file with one")
        if not {"current", "net", "increment"} & set(roles):
            wanted = "neither a current (I/mA, <I>/mA) nor a charge column ((Q-Qo)/mA.h)"
            raise UserError(f"{path}: {wanted}; export one of them")
        parsed = table.from_rows(split_rows(lines, "\t", len(names), path), names, roles, path, decimal_comma=True)
    starts = [line.partition(":")[2].strip() for line in header if line.startswith("Acquisition started on :")]
    start = read_header_date(starts[0], order="month") if starts else None
    return cycler_log(parsed, path, start, order="month", notes=notes_on_end(path))


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
