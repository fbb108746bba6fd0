"""One file that holds a whole series: a csv matrix with a row per spectrum, or an HDF5 stack [T, N]."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import fnmatch
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.experiment import stack, stack_hdf5
from xrd_jax.io.parsing import hdf5, toml_table
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.series import lazy

TIMES = ("start_time", "time")  # what a column of times is called


def load(plan: plans.PatternPlan, path: Path, limit_bytes: int = lazy.LIMIT_BYTES) -> stack.Stack:
    """Reads every pattern of a stack file; an HDF5 stack of more than `limit_bytes` stays on disk.

    Raises:
      UserError: the file is of neither kind, a column or data set is missing, or a value is no finite intensity.
    """
    if parsing_text.head(path).startswith(hdf5.SIGNATURE):
        rows, columns = stack_hdf5.load(plan, path, limit_bytes)
        rows = dataclasses.replace(rows, moments=_moments(columns, len(rows.names), path), columns=columns)
    else:
        rows = _csv(plan, path)
    _check(rows, path, plan.allow_negative)
    return rows


def _check(rows: stack.Stack, path: Path, allow_negative: bool) -> None:
    if 0 in rows.intensity.shape:
        raise UserError(f"{path}: holds no spectrum; export it again")
    if not np.all(np.diff(rows.axis) > 0):
        raise UserError(f"{path}: positions of the channels do not increase; mend the header or the axis data set")
    if rows.intensity.dtype.kind == "u":
        return
    for begin, block in lazy.blocks(rows.intensity):
        bad = ~np.isfinite(block)
        if bad.any():
            row, channel = (int(i) for i in np.argwhere(bad)[0])
            raise UserError(f"{path}: {rows.names[begin + row]}: channel {channel + 1} is NaN or infinite; mend it or "
                            "cut the row from the file")  # fmt: skip
        if not allow_negative and (block < 0).any():
            row, channel = (int(i) for i in np.argwhere(block < 0)[0])
            raise UserError(
                f"{path}: {rows.names[begin + row]}: channel {channel + 1} is negative, {block[row, channel]:g}; if "
                "that is meant, set allow_negative = true in the session"
            )


def header(path: Path) -> tuple[list[str], str]:
    """The names in the first row of a csv, and what parts them.

    Raises:
      UserError: the file is not text, or its first row is too long to be a header.
    """
    if not parsing_text.is_text(parsing_text.head(path)):
        raise UserError(f"{path}: neither text nor HDF5; export the stack as csv or HDF5")
    with path.open("rb") as file:
        line = parsing_text.decode(file.readline(1 << 24)).strip("\n")
    delimiter = next((mark for mark in ("\t", ";") if mark in line), ",")
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])], delimiter


def spectrum_columns(names: Sequence[str], wanted: str, path: Path) -> list[int]:
    """Which columns hold the spectrum: those that match the glob `wanted`, or whose names are numbers.

    Raises:
      UserError: fewer than two do.
    """
    if wanted:
        found = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, wanted)]
    else:
        found = [i for i, name in enumerate(names) if position(name) is not None]
    if len(found) < 2:
        remedy = (
            f"columns = '{wanted}' matches {len(found)} of its columns{toml_table.suggest(wanted, names[:200])}"
            if wanted
            else 'no columns with numbers as names; say which hold the spectrum with columns = "…_*"'
        )
        raise UserError(f"{path}: {remedy}")
    return found


def position(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None


def _csv(plan: plans.PatternPlan, path: Path) -> stack.Stack:
    names, delimiter = header(path)
    spectrum = spectrum_columns(names, plan.columns, path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            values = np.loadtxt(file, delimiter=delimiter, skiprows=1, usecols=spectrum, quotechar='"', ndmin=2,
                                comments=None)  # fmt: skip
        except ValueError as error:
            raise UserError(
                f"{path}: a spectrum holds what is no number ({' '.join(str(error).split())}); mend it"
            ) from None
    positions = [position(names[i]) for i in spectrum]
    axis = np.arange(1.0, len(spectrum) + 1)
    if all(position is not None for position in positions):
        axis = np.array(positions, np.float64)
    if axis[0] > axis[-1]:
        axis, values = axis[::-1], values[:, ::-1]
    others = _others(path, names, set(spectrum), delimiter, len(values))
    rows, moments = [f"row {i}" for i in range(len(values))], _moments(others, len(values), path)
    return stack.Stack(rows, axis, values, moments=moments, columns=others)


def _others(path: Path, names: Sequence[str], spectrum: set[int], delimiter: str, count: int) -> dict[str, np.ndarray]:
    """The columns beside the spectrum: numbers with NaN for what is missing, or texts."""
    wanted = [i for i, name in enumerate(names) if i not in spectrum and name]
    cells: list[list[str]] = [[] for _ in wanted]
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        next(reader)
        for row in reader:
            if not row:
                continue
            for column, i in zip(cells, wanted, strict=True):
                column.append(row[i].strip() if i < len(row) else "")
    found: dict[str, np.ndarray] = {}
    for column, i in zip(cells, wanted, strict=True):
        if len(column) != count:
            raise UserError(f"{path}: has {len(column)} rows of '{names[i]}' and {count} spectra; mend the file")
        found[names[i]] = _numbers(column)
    return found


def _numbers(texts: list[str]) -> np.ndarray:
    try:
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts)


def _moments(columns: dict[str, np.ndarray], count: int, path: Path) -> list[stack.Timestamp]:
    """From a column of times: seconds, or ISO dates."""
    name = next((one for one in TIMES if one in columns), None)
    if name is None:
        return [stack.Timestamp()] * count
    column = columns[name]
    if column.dtype.kind != "U":
        return [stack.Timestamp(seconds=value if np.isfinite(value) else None) for value in column.tolist()]
    try:
        return [
            stack.Timestamp(datetime.datetime.fromisoformat(text)) if text else stack.Timestamp() for text in column
        ]
    except ValueError as error:
        raise UserError(
            f"{path}: column '{name}' holds neither seconds nor dates ({error}); mend or rename it"
        ) from None
