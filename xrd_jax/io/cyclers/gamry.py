"""Gamry Framework experiments (.DTA): tables with a row of names and a row of units."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import assemble, columns, log, table
from xrd_jax.io.parsing import dates

_TABLE = re.compile(r"([A-Z]\w*)\tTABLE\b")
_LABEL = re.compile(r"([A-Z]\w*)\tLABEL\t([^\t\n]*)")
_OPEN = "OCVCURVE"
_LABELS = 1000


def is_dta(head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf").startswith(b"EXPLAIN")


@dataclasses.dataclass(frozen=True)
class _Outline:
    """Tables by name with the names of their columns, and the labels of the header."""

    tables: dict[str, list[str]]
    labels: dict[str, str]


def read(path: Path) -> log.CyclerLog:
    """Reads the curves one after another: their times run on.

    A phase at open circuit before the curves has a clock of its own and is left out; then the start is open too,
    because the file dates its beginning. A curve without a current was taken at open circuit: its current is 0.

    Raises:
      UserError: impedance, square waves and whatever else is no log of voltage over time, or a damaged row.
    """
    outline = _outline(path)
    curves = [name for name in outline.tables if re.fullmatch(r"CURVE\d*", name)] or [
        name for name in outline.tables if name == _OPEN and "ZCURVE" not in outline.tables
    ]
    if not curves:
        held = ", ".join(outline.tables) or "none"
        what = "an impedance spectrum" if "ZCURVE" in outline.tables else "no log of voltage over time"
        raise UserError(f"{path}: holds {what} (tables: {held}); name the file of the charge and discharge")
    names = outline.tables[curves[0]]
    if any(outline.tables[name] != names for name in curves):
        raise UserError(f"{path}: its curves have different columns; export one experiment per file")
    roles = columns.match(names)
    if not {"time", "voltage"} <= set(roles):
        raise UserError(f"{path}: no log of voltage over time: it has no columns T and Vf ({', '.join(names)[:90]})")
    with table.open_text(path) as file:
        numbered = _rows_of(table.lines(file, path), set(curves))
        parsed = table.read(table.rows(numbered, "\t", len(names), path), names, roles, path, comma=True)
    notes: list[str] = []
    if "current" not in roles:
        zero = "current / A"
        parsed = dataclasses.replace(
            parsed,
            numbers=parsed.numbers | {zero: np.zeros(len(parsed.lines))},
            roles={**parsed.roles, "current": columns.Column(-1, zero, 1.0, True)},
        )
        notes.append("the cell was at open circuit, so its current is 0")
    began = _began(outline.labels)
    if _OPEN in outline.tables and _OPEN not in curves:
        stated = "" if began is None else f", which began at {began}"
        notes.append(f"the phase at open circuit before the curves{stated}, was left out; give [cycler] start")
        began = None
    elif began is None and "DATE" in outline.labels:
        date = outline.labels["DATE"][:20]
        notes.append(f"its date, {date}, can be read day first or month first, so the start is left open")
    made = assemble.cycler_log(parsed, path, began, notes=table.ending(path))
    return dataclasses.replace(made, notes=(*made.notes, *notes))


def _outline(path: Path) -> _Outline:
    tables: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    with table.open_text(path) as file:
        numbered = table.lines(file, path)
        for _, line in numbered:
            if (found := _LABEL.match(line)) and len(labels) < _LABELS:
                labels.setdefault(found.group(1), found.group(2).strip())
            if found := _TABLE.match(line):
                names, units = ([cell.strip() for cell in next(numbered, (0, ""))[1].split("\t")] for _ in range(2))
                named = [f"{name} / {unit}" if unit else name for name, unit in zip(names, units, strict=False)]
                if found.group(1) in tables:
                    raise UserError(f"{path}: holds two tables {found.group(1)}; export one experiment per file")
                tables[found.group(1)] = table.unique(named[1:])
    return _Outline(tables, labels)


def _rows_of(numbered: Iterator[tuple[int, str]], wanted: set[str]) -> Iterator[tuple[int, str]]:
    """The rows of the wanted tables, each behind its leading tab."""
    inside, skip = False, 0
    for number, line in numbered:
        if found := _TABLE.match(line):
            inside, skip = found.group(1) in wanted, 2
        elif skip:
            skip -= 1
        elif not line.startswith("\t"):
            inside = False
        elif inside:
            yield number, line[1:]


def _began(labels: dict[str, str]) -> datetime.datetime | None:
    """Date and time of the header, if other dates in it tell whether the month comes first."""
    date, time = labels.get("DATE"), labels.get("TIME")
    if date is None or time is None:
        return None
    return dates.stamp(f"{date} {time}", [value for value in labels.values() if dates.is_date(value)])
