"""BioLogic EC-Lab and BT-Lab text exports (.mpt)."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import assemble, columns, log, table
from xrd_jax.io.parsing import dates

# Lines among which the program says how long its header is.
_ANNOUNCED_WITHIN = 5


def is_mpt(head: bytes) -> bool:
    """True for a file with BioLogic's first line, and for a bare table with its time column."""
    first = head.split(b"\n", 1)[0]
    return bool(re.match(rb"(\xef\xbb\xbf)?(EC|BT)-Lab ASCII FILE", first)) or (b"\t" in first and b"time/s" in first)


def read(path: Path) -> log.CyclerLog:
    """Reads time, voltage, current, charge and every other numeric column.

    Takes files with or without header, in UTF-8 or latin-1, with decimal points or commas, and with times in seconds
    or as dates (month first, as the programs write them, in local time without a zone). Voltage is Ecell where
    recorded, else Ewe. A missing current is dQ/dt; a missing charge is ∫I dt.

    Raises:
      UserError: naming the row, where the file is cut or damaged, or naming the column that is missing.
    """
    with table.open_text(path) as file:
        numbered = table.lines(file, path)
        lead, names = _header(numbered, path)
        roles = columns.match(names)
        _check(roles, path)
        rows = table.rows(numbered, "\t", len(names), path)
        parsed = table.read(rows, names, roles, path, comma=True)
    return assemble.cycler_log(parsed, path, _acquisition_start(lead), order="month", notes=table.ending(path))


def _header(numbered: Iterator[tuple[int, str]], path: Path) -> tuple[list[str], list[str]]:
    """The lines up to the names of the columns, and the names."""
    lead: list[str] = []
    count = 1
    for number, line in numbered:
        lead.append(line.rstrip())
        if number <= _ANNOUNCED_WITHIN and (found := re.match(r"Nb header lines\s*:\s*(\d{1,6})\b", line)):
            count = int(found.group(1))
        if number >= count and (number >= _ANNOUNCED_WITHIN or count > 1 or not is_mpt(lead[0].encode())):
            break
        if number == 1 and "time/s" in line:
            break
    if len(lead) < count:
        raise UserError(f"{path}: {count} header lines announced but the file ends after {len(lead)}; copy it again")
    names = lead[count - 1].rstrip("\t ").split("\t") if count else [""]
    if "time/s" not in names:
        raise UserError(f"{path}: line {count} names no column 'time/s'; export the file as text with its column names")
    return lead, table.unique(names)


def _check(roles: dict[str, columns.Column], path: Path) -> None:
    if "voltage" not in roles:
        raise UserError(f"{path}: no voltage column (Ecell/V or Ewe/V) of plain numbers; export the file with one")
    if not {"current", "net", "increment"} & set(roles):
        raise UserError(
            f"{path}: neither a current (I/mA, <I>/mA) nor a charge column ((Q-Qo)/mA.h); export one of them"
        )


def _acquisition_start(header: list[str]) -> datetime.datetime | None:
    for line in header:
        if line.startswith("Acquisition started on :"):
            return dates.stamp(line.partition(":")[2].strip(), order="month")
    return None
