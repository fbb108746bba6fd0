"""Where a table begins: the row that names the columns of a log, and what stands around it."""

import dataclasses
import re
from collections.abc import Collection, Sequence

from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.text_rows import unique_names
from xrd_jax.io.parsing.dates import is_date

_START = re.compile(r"\W*(?:Started|Start of Test|Date of Test|Start Time)\W*?[:\t][\s,;]*(\S.*)", re.IGNORECASE)
_CALENDAR_DATE = re.compile(r"(?<![\d./-])\d{1,2}([-/.])\d{1,2}\1\d{4}(?![\d./-])")
_MAX_DATED_LINES = 200


@dataclasses.dataclass(frozen=True)
class Stated:
    """What a file says besides its table."""

    start: str = ""  # when `time` was 0, as written
    dates: tuple[str, ...] = ()  # all others of the file's beginning
    order: str | None = None  # 'month' or 'day' where the program has the habit to write dates so
    unsigned: bool = False  # the program may write currents without a sign


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


def read_preamble(preamble: Sequence[str], unsigned: bool = False) -> Stated:
    """Return what the lines before the table state: when the test began, and every date by which its order shows."""
    starts = [match[1].strip(' ,;\t"') for line in preamble if (match := _START.match(line[:200])) is not None]
    written = [match[0] for line in preamble[:_MAX_DATED_LINES] for match in _CALENDAR_DATE.finditer(line[:200])]
    return Stated(next((text for text in starts if is_date(text)), ""), tuple(written), unsigned=unsigned)
