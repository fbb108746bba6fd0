"""One file that holds a whole series: a csv matrix with a row per spectrum, or an HDF5 stack [T, N]."""

import csv
import dataclasses
import datetime
import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.experiment import stack_hdf5
from xrd_jax.io.experiment.side_table import delimiter_of, to_array
from xrd_jax.io.experiment.stack import Stack, Timestamp
from xrd_jax.io.parsing import hdf5
from xrd_jax.io.parsing.text import decode_text, is_text, read_head
from xrd_jax.series import lazy

TIME_COLUMNS = ("start_time", "time")  # what a column of times is called
MAX_HEADER_BYTES = 1 << 24  # a million names of channels; a longer first row is no header


def read_stack(path: Path, allow_negative: bool, columns: str, dataset: str) -> Stack:
    """Read every pattern of a stack file.

    Args:
      columns: of a csv, the glob of the columns that hold the spectrum; '' for those whose names are numbers.
      dataset: of HDF5, the path of the intensities; '' for the file's default plot.
    """
    if read_head(path).startswith(hdf5.SIGNATURE):
        stack = stack_hdf5.read_stack(path, dataset)
    else:
        stack = _read_csv(path, columns)
    _check(stack, path, allow_negative)
    return dataclasses.replace(stack, timestamps=_timestamps(stack.columns, len(stack.names), path))


def _check(stack: Stack, path: Path, allow_negative: bool) -> None:
    if 0 in stack.intensity.shape:
        raise UserError(f"{path}: holds no spectrum; export it again")
    if not np.all(np.diff(stack.axis) > 0):
        raise UserError(f"{path}: positions of the channels do not increase; mend the header or the axis data set")
    if stack.intensity.dtype.kind == "u":
        return
    for begin, block in lazy.read_blocks(stack.intensity):
        for is_bad, remedy in (
            (~np.isfinite(block), "mend it or cut the row from the file"),
            ((block < 0) & (not allow_negative), "if that is meant, set allow_negative = true in the session"),
        ):
            if is_bad.any():
                row, channel = (int(i) for i in np.argwhere(is_bad)[0])
                place = f"{path}: {stack.names[begin + row]}: channel {channel + 1}"
                raise UserError(f"{place} is {block[row, channel]:g}; {remedy}")


def read_header(path: Path) -> tuple[list[str], str]:
    """Return the names in the first row of a csv, and what parts them; a file that is not text is refused."""
    if not is_text(read_head(path)):
        raise UserError(f"{path}: neither text nor HDF5; export the stack as csv or HDF5")
    with path.open("rb") as file:
        line = decode_text(file.readline(MAX_HEADER_BYTES)).strip("\n")
    delimiter = delimiter_of(line)
    return [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])], delimiter


def _spectrum_columns(names: Sequence[str], glob: str, path: Path) -> list[int]:
    """Return which columns hold the spectrum: those that match the glob, or whose names are numbers."""
    if glob:
        indices = [i for i, name in enumerate(names) if fnmatch.fnmatchcase(name, glob)]
        remedy = f"columns = '{glob}' matches {len(indices)} of its columns{suggest(glob, names[:200])}"
    else:
        indices = [i for i, name in enumerate(names) if to_position(name) is not None]
        remedy = 'no columns with numbers as names; say which hold the spectrum with columns = "…_*"'
    if len(indices) < 2:
        raise UserError(f"{path}: {remedy}")
    return indices


def to_position(name: str) -> float | None:
    """Return the number that the name of a column is, or None."""
    try:
        return float(name)
    except ValueError:
        return None


def _read_csv(path: Path, glob: str) -> Stack:
    names, delimiter = read_header(path)
    spectrum = _spectrum_columns(names, glob, path)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            values = np.loadtxt(file, delimiter=delimiter, skiprows=1, usecols=spectrum, quotechar='"', ndmin=2,
                                comments=None)  # fmt: skip
        except ValueError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: a spectrum holds what is no number ({reason}); mend it") from None
    positions = [to_position(names[i]) for i in spectrum]
    axis = np.arange(1.0, len(spectrum) + 1) if None in positions else np.array(positions, np.float64)
    if axis[0] > axis[-1]:
        axis, values = axis[::-1], values[:, ::-1]
    columns = _other_columns(path, names, set(spectrum), delimiter, len(values))
    return Stack([f"row {i}" for i in range(len(values))], axis, values, columns=columns)


def _other_columns(
    path: Path, names: Sequence[str], spectrum: set[int], delimiter: str, count: int
) -> dict[str, np.ndarray]:
    """Read the columns beside the spectrum: numbers with NaN for what is missing, or texts."""
    texts: dict[int, list[str]] = {i: [] for i, name in enumerate(names) if i not in spectrum and name}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        next(reader)
        for row in filter(None, reader):
            for i, column in texts.items():
                column.append(row[i].strip() if i < len(row) else "")
    for i, column in texts.items():
        if len(column) != count:
            raise UserError(f"{path}: has {len(column)} rows of '{names[i]}' and {count} spectra; mend the file")
    return {names[i]: to_array(column, decimal_comma=False) for i, column in texts.items()}


def _timestamps(columns: Mapping[str, np.ndarray], count: int, path: Path) -> list[Timestamp]:
    """Return when patterns were taken, from a column of times: seconds, or ISO dates."""
    name = next((name for name in TIME_COLUMNS if name in columns), None)
    if name is None:
        return [Timestamp()] * count
    column = columns[name]
    if column.dtype.kind != "U":
        return [Timestamp(seconds=value if np.isfinite(value) else None) for value in column.tolist()]
    try:
        return [Timestamp(datetime.datetime.fromisoformat(text)) if text else Timestamp() for text in column]
    except ValueError as error:
        wrong = f"{path}: column '{name}' holds neither seconds nor dates ({error})"
        raise UserError(f"{wrong}; mend or rename it") from None
