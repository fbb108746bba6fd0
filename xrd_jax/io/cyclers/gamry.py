"""Gamry Framework experiments (.DTA): tables with a row of names and a row of units."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import table
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import match_roles
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.cyclers.text_rows import Lines, TableLines, numbered_lines, open_text, split_rows, unique_names
from xrd_jax.io.parsing import dates

_TABLE = re.compile(r"([A-Z]\w*)\tTABLE\b")
_LABEL = re.compile(r"([A-Z]\w*)\tLABEL\t([^\t\n]*)")
_OPEN_CIRCUIT = "OCVCURVE"
_MAX_LABELS = 1000


def read(path: Path) -> CyclerLog:
    """Read the curves one after another: their times run on.

    A phase at open circuit before the curves has a clock of its own and is left out; then the start is open too,
    because the file dates its beginning. A curve without a current was taken at open circuit: its current is 0.
    Impedance, square waves and whatever else is no log of voltage over time are refused.
    """
    tables, labels = _read_outline(path)
    curves = _curves(tables, path)
    names = tables[curves[0]]
    roles = match_roles(names)
    if not {"time", "voltage"} <= set(roles):
        raise UserError(f"{path}: no log of voltage over time: it has no columns T and Vf ({', '.join(names)[:90]})")
    notes: list[str] = []
    with open_text(path) as file:
        rows = split_rows(TableLines(_lines_of(numbered_lines(file, path), curves), "\t", len(names)), path, notes)
        parsed = table.from_rows(rows, names, roles, path, decimal_comma=True)
    if "current" not in roles:
        parsed = parsed.with_column("current", "current / A", np.zeros(len(parsed.lines)))
        notes.append("the cell was at open circuit, so its current is 0")
    start = f"{labels['DATE']} {labels['TIME']}" if {"DATE", "TIME"} <= set(labels) else ""
    written = tuple(value for value in labels.values() if dates.is_date(value))
    log = cycler_log(parsed, path, Stated(start, written), notes)
    if _OPEN_CIRCUIT not in tables or _OPEN_CIRCUIT in curves:
        return log
    begun = "" if log.start is None else f", which began at {log.start}"
    note = f"the phase at open circuit before the curves{begun}, was left out; give [session.cycler] start"
    return dataclasses.replace(log, start=None, notes=(*log.notes, note))


def _read_outline(path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return tables by name with the names of their columns, and the labels of the header."""
    tables: dict[str, list[str]] = {}
    labels: dict[str, str] = {}
    with open_text(path) as file:
        lines = numbered_lines(file, path)
        for _, line in lines:
            if (match := _LABEL.match(line)) and len(labels) < _MAX_LABELS:
                labels.setdefault(match.group(1), match.group(2).strip())
            if match := _TABLE.match(line):
                names, units = ([cell.strip() for cell in next(lines, (0, ""))[1].split("\t")] for _ in range(2))
                if match.group(1) in tables:
                    raise UserError(f"{path}: holds two tables {match.group(1)}; export one experiment per file")
                with_units = [f"{name} / {unit}" if unit else name for name, unit in zip(names, units, strict=False)]
                tables[match.group(1)] = unique_names(with_units[1:])
    return tables, labels


def _curves(tables: Mapping[str, list[str]], path: Path) -> list[str]:
    """Return the names of the tables that make the log."""
    curves = [name for name in tables if re.fullmatch(r"CURVE\d*", name)]
    if not curves and _OPEN_CIRCUIT in tables and "ZCURVE" not in tables:
        curves = [_OPEN_CIRCUIT]
    if not curves:
        kind = "an impedance spectrum" if "ZCURVE" in tables else "no log of voltage over time"
        names = ", ".join(tables) or "none"
        raise UserError(f"{path}: holds {kind} (tables: {names}); name the file of the charge and discharge")
    if any(tables[name] != tables[curves[0]] for name in curves):
        raise UserError(f"{path}: its curves have different columns; export one experiment per file")
    return curves


def _lines_of(lines: Lines, wanted: list[str]) -> Lines:
    """Yield the rows of the wanted tables, each without its leading tab."""
    is_inside, skip = False, 0
    for number, line in lines:
        if match := _TABLE.match(line):
            is_inside, skip = match.group(1) in wanted, 2
        elif skip:
            skip -= 1
        elif not line.startswith("\t"):
            is_inside = False
        elif is_inside:
            yield number, line[1:]
