"""Where a table begins: the row that names the columns of a log, and what stands around it."""

import dataclasses
import datetime
import re
from collections.abc import Collection

from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.text_rows import unique_names
from xrd_jax.io.parsing.timestamps import read_header_date

_START = re.compile(r"\W*(?:Started|Start of Test|Date of Test|Start Time)\W*?:[\s,;]*(\S.*)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Header:
    """Where the columns are named, and how."""

    preamble: list[str]  # the lines before the names
    line: int  # where the names stand, counted from 1
    names: list[str]  # of the columns, told apart
    separator: str = ""


def column_names(cells: list[str], wanted: Collection[str]) -> list[str] | None:
    """Return the names in a row where they are those of a log, or hold all that are `wanted`; else None."""
    while cells and not cells[-1].strip():
        cells.pop()
    names = unique_names([cell.strip().lstrip("~") for cell in cells])
    if wanted:
        return names if set(wanted) <= set(names) else None
    roles = match_roles(names)  # of a log: a time, a voltage and something that tells the current
    has_time = bool({"time", "step_time", "date", "unix_time"} & roles.keys())
    has_current = bool({"current", "net", "increment", "capacity", "charge_capacity"} & roles.keys())
    is_log = "voltage" in roles and has_time and has_current
    return names if is_log and len({column.index for column in roles.values()}) > 2 else None


def names_with_units(names: list[str], cells: list[str]) -> list[str] | None:
    """Return names with their units where the row below them holds nothing but units, else None."""
    cells = [cell.strip().strip("()[]") for cell in cells][: len(names)]
    if len(cells) < len(names) or any(re.search(r"\d", cell) for cell in cells):
        return None
    with_units = [f"{name} / {unit}" if unit else name for name, unit in zip(names, cells, strict=True)]
    stated = {role for role, column in match_roles(with_units).items() if column.has_unit}
    return with_units if {"time", "voltage"} <= stated else None


def find_start(preamble: list[str]) -> datetime.datetime | None:
    """Return when the test began as the lines before the table state it, or None."""
    for line in preamble:
        match = _START.match(line[:200])
        if match and (start := read_header_date(match.group(1).strip(" ,;\t"))) is not None:
            return start
    return None
