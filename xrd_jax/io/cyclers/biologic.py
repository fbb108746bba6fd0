"""BioLogic EC-Lab and BT-Lab text exports (.mpt)."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import source
from xrd_jax.io.cyclers import log

_VOLTAGE = ("Ecell/V", "<Ecell>/V", "Ewe-Ece/V", "<Ewe-Ece>/V", "Ewe/V", "<Ewe>/V")
_TO_AMPERE = {"A": 1.0, "mA": 1e-3, "µA": 1e-6, "μA": 1e-6, "nA": 1e-9}
# Month first is what the programs write; day first is tried where the month would be over 12.
_STAMPS = (
    "%m/%d/%Y %H:%M:%S.%f",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S.%f",
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S.%f",
)


def is_mpt(head: bytes) -> bool:
    """True for a file with BioLogic's first line, and for a bare table with its time column."""
    first = head.split(b"\n", 1)[0]
    return bool(re.match(rb"(\xef\xbb\xbf)?(EC|BT)-Lab ASCII FILE", first)) or (b"\t" in first and b"time/s" in first)


def read(path: Path) -> log.CyclerLog:
    """Reads time, voltage, current, charge and every other numeric column.

    Takes files with or without header, in UTF-8 or latin-1, with decimal points or commas, and with times in seconds
    or as dates. Voltage is Ecell where recorded, else Ewe. A missing current is dQ/dt; a missing charge is ∫I dt.

    Raises:
      UserError: naming the row, where the file is cut or damaged, or naming the column that is missing.
    """
    lines = source.decode(path.read_bytes()).split("\n")
    names, first = _column_names(lines, path)
    columns, times, notes = _columns(lines, names, first, path)
    start = _acquisition_start(lines[:first])
    if times is not None:
        start = start or times[0]
        columns["time/s"] = np.array([(t - start).total_seconds() for t in times])
    time = columns["time/s"]
    if (np.diff(time) < 0).any():
        row = first + 2 + int(np.argmax(np.diff(time) < 0))
        raise UserError(f"{path}: row {row}: time runs backwards; export one technique, or the merged file, by itself")
    voltage = next((columns[name] for name in _VOLTAGE if name in columns), None)
    if voltage is None:
        raise UserError(f"{path}: no voltage column (Ecell/V or Ewe/V) of plain numbers; export the file with one")
    current, capacity, more = _current_and_charge(time, columns, path)
    half_cycle = columns.get("half cycle")
    numbered = None if half_cycle is None else half_cycle.astype(np.int32)
    return log.CyclerLog(time, voltage, current, capacity, numbered, columns, start, (*notes, *more))


def _column_names(lines: list[str], path: Path) -> tuple[list[str], int]:
    """Names of the columns and the index of the first row of data."""
    announced = next(
        (re.match(r"Nb header lines\s*:\s*(\d+)", line) for line in lines[:5] if "Nb header" in line), None
    )
    count = int(announced.group(1)) if announced else 1
    if count > len(lines) or count < 1:
        raise UserError(f"{path}: {count} header lines announced but the file ends after {len(lines)}; copy it again")
    names = [name.strip() for name in lines[count - 1].rstrip("\t ").split("\t")]
    if "time/s" not in names:
        raise UserError(f"{path}: line {count} names no column 'time/s'; export the file as text with its column names")
    return names, count


def _columns(
    lines: list[str], names: list[str], first: int, path: Path
) -> tuple[dict[str, np.ndarray], list[datetime.datetime] | None, list[str]]:
    """Numeric columns by name; the times where they are dates; what had to be left out."""
    numbered = [(i + 1, line) for i, line in enumerate(lines[first:], first) if line.strip()]
    if not numbered:
        raise UserError(f"{path}: the header is followed by no row; export the file again")
    ends_short = lines[-1] != "" and source.ends_short([line.replace(",", ".") for _, line in numbered], None)
    fields = []
    for number, line in numbered:
        row = line.split("\t")
        while len(row) > len(names) and not row[-1].strip():
            row.pop()
        if len(row) != len(names) or (ends_short and number == numbered[-1][0]):
            raise UserError(
                f"{path}: row {number} is cut or damaged ({len(row)} of {len(names)} columns); delete the row if "
                "it is the last, or export the file again"
            )
        fields.append(row)
    columns: dict[str, np.ndarray] = {}
    times, left_out = None, []
    for name, values in zip(names, zip(*fields, strict=True), strict=True):
        if name == "time/s" and re.search(r"\d[/:]\d", values[0]):
            times = [_stamp(value, path, number) for value, (number, _) in zip(values, numbered, strict=True)]
            continue
        try:
            column = np.array([float(value.replace(",", ".")) for value in values])
        except ValueError:
            column = np.array([np.nan])
        if np.isfinite(column).all():
            columns[name] = column
        elif name in ("time/s", *_VOLTAGE):
            number = next(n for (n, _), value in zip(numbered, values, strict=True) if not _is_number(value))
            raise UserError(f"{path}: row {number}: column '{name}' holds no number; mend or delete the row")
        else:
            left_out.append(name)
    notes = [f"columns without a number in every row were left out: {', '.join(left_out)}"] if left_out else []
    return columns, times, notes


def _is_number(value: str) -> bool:
    try:
        return bool(np.isfinite(float(value.replace(",", "."))))
    except ValueError:
        return False


def _stamp(value: str, path: Path, number: int) -> datetime.datetime:
    stamp = _parse_stamp(value)
    if stamp is None:
        raise UserError(f"{path}: row {number}: '{value[:40]}' is not a date and time; export times in seconds")
    return stamp


def _parse_stamp(value: str) -> datetime.datetime | None:
    value = value.strip().replace(",", ".")
    for form in _STAMPS:
        try:
            return datetime.datetime.strptime(value, form)
        except ValueError:
            continue
    try:
        return datetime.datetime.fromisoformat(value)
    except ValueError:
        return None


def _acquisition_start(header: list[str]) -> datetime.datetime | None:
    for line in header:
        if line.startswith("Acquisition started on :"):
            return _parse_stamp(line.partition(":")[2])
    return None


def _current_and_charge(
    time: np.ndarray, columns: dict[str, np.ndarray], path: Path
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """[R] current in A and charge in Ah, each made from the other where it is missing."""
    steps, notes = np.diff(time), []
    charge = columns.get("(Q-Qo)/mA.h")
    if charge is None and "dq/mA.h" in columns:
        charge = np.cumsum(columns["dq/mA.h"])
    scales = {f"{name}/{unit}": scale for name in ("I", "<I>") for unit, scale in _TO_AMPERE.items()}
    found = next((name for name in scales if name in columns), None)
    if found is not None:
        current = columns[found] * scales[found]
    elif charge is not None and len(time) > 1:
        # A step of no length passes no charge that could be told: it keeps the current of the step before.
        real = np.flatnonzero(steps > 0)
        if not real.size:
            raise UserError(f"{path}: time does not advance; export the file again")
        last = np.maximum(np.searchsorted(real, np.arange(len(steps)), side="right") - 1, 0)
        slope = (np.diff(charge)[real] / steps[real])[last] * 3.6  # mA h/s to A
        current = np.concatenate([slope[:1], slope])
        notes.append("the log has no current; it was derived from the charge")
    else:
        raise UserError(
            f"{path}: neither a current (I/mA, <I>/mA) nor a charge column ((Q-Qo)/mA.h); export one of them"
        )
    if charge is None:
        mean = (current[1:] + current[:-1]) / 2
        return current, np.concatenate([[0.0], np.cumsum(mean * steps)]) / 3600, notes
    return current, charge / 1e3, notes
