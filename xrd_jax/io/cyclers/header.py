"""Where a table begins: the row that names the columns of a log, and what stands around it."""

import dataclasses
import datetime
import re
from collections.abc import Collection, Mapping

from xrd_jax.io.cyclers.columns import Column, match_roles
from xrd_jax.io.cyclers.text_rows import unique_names
from xrd_jax.io.parsing.timestamps import read_header_date

_START = re.compile(r"\W*(?:Started|Start of Test|Date of Test|Start Time)\W*?:[\s,;]*(\S.*)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Header:
    """The names of the columns.

    Attributes:
      preamble: the lines before the names.
      line: where the names stand, counted from 1.
      names: [C] the names of the columns, told apart.
    """

    preamble: list[str]
    line: int
    names: list[str]
    separator: str = ""


def column_names(cells: list[str], wanted: Collection[str]) -> list[str] | None:
    """Return the names in a row where they are those of a log, or hold all that are `wanted`; else None."""
    while cells and not cells[-1].strip():
        cells.pop()
    names = unique_names([cell.strip().lstrip("~") for cell in cells])
    is_header = set(wanted) <= set(names) if wanted else _is_log(match_roles(names))
    return names if is_header else None


def _is_log(roles: Mapping[str, Column]) -> bool:
    """True where a time, a voltage and something that tells the current are among the columns."""
    return (
        "voltage" in roles
        and bool({"time", "step_time", "date", "unix_time"} & set(roles))
        and bool({"current", "net", "increment", "capacity", "charge_capacity"} & set(roles))
        and len({column.index for column in roles.values()}) > 2
    )


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
