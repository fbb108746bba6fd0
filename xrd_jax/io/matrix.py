"""One file that holds a whole series: a csv matrix with a row per spectrum, or an HDF5 stack [T, N]."""

from __future__ import annotations

import csv
import datetime
import fnmatch
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import plan as plans
from xrd_jax.io import section, source, stack

TIMES = ("start_time", "time")  # what a column of times is called
SIGNATURE = b"\x89HDF\r\n\x1a\n"
_KINDS = {"two_theta", "q", "d", "energy", "wavenumber", "wavelength", "ppm", "velocity"}


def load(plan: plans.PatternPlan, path: Path) -> stack.Rows:
    """Reads every pattern of a stack file.

    Raises:
      UserError: the file is of neither kind, a column or data set is missing, or a value is no finite intensity.
    """
    rows = _hdf5(plan, path) if source.head(path).startswith(SIGNATURE) else _csv(plan, path)
    _check(rows, path, plan.allow_negative)
    return rows


def _check(rows: stack.Rows, path: Path, allow_negative: bool) -> None:
    if rows.intensity.size == 0:
        raise UserError(f"{path}: holds no spectrum; export it again")
    bad = ~np.isfinite(rows.intensity)
    if bad.any():
        row, channel = (int(i) for i in np.argwhere(bad)[0])
        raise UserError(f"{path}: {rows.names[row]}: channel {channel + 1} is NaN or infinite; mend it or exclude the "
                        "row by cutting it from the file")  # fmt: skip
    if not allow_negative and (rows.intensity < 0).any():
        row, channel = (int(i) for i in np.argwhere(rows.intensity < 0)[0])
        raise UserError(
            f"{path}: {rows.names[row]}: channel {channel + 1} is negative, {rows.intensity[row, channel]:g}; if that "
            "is meant, set allow_negative = true in the session"
        )
    if not np.all(np.diff(rows.axis) > 0):
        raise UserError(f"{path}: positions of the channels do not increase; mend the header or the axis data set")


def header(path: Path) -> tuple[list[str], str]:
    """The names in the first row of a csv, and what parts them.

    Raises:
      UserError: the file is not text, or its first row is too long to be a header.
    """
    if not source.is_text(source.head(path)):
        raise UserError(f"{path}: neither text nor HDF5; export the stack as csv or HDF5")
    with path.open("rb") as file:
        line = source.decode(file.readline(1 << 24)).strip("\n")
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
            f"columns = '{wanted}' matches {len(found)} of its columns{section.suggest(wanted, names[:200])}"
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


def _csv(plan: plans.PatternPlan, path: Path) -> stack.Rows:
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
    return stack.Rows(rows, axis, values, moments=moments, columns=others)


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


def _moments(columns: dict[str, np.ndarray], count: int, path: Path) -> list[stack.Moment]:
    """From a column of times: seconds, or ISO dates."""
    name = next((one for one in TIMES if one in columns), None)
    if name is None:
        return [stack.Moment()] * count
    column = columns[name]
    if column.dtype.kind != "U":
        return [stack.Moment(seconds=value if np.isfinite(value) else None) for value in column.tolist()]
    try:
        return [stack.Moment(datetime.datetime.fromisoformat(text)) if text else stack.Moment() for text in column]
    except ValueError as error:
        raise UserError(
            f"{path}: column '{name}' holds neither seconds nor dates ({error}); mend or rename it"
        ) from None


def _hdf5(plan: plans.PatternPlan, path: Path) -> stack.Rows:
    try:
        with h5py.File(path, "r") as file:
            data = _signal(file, plan.dataset, path)
            intensity, group = _values(data, path), data.parent
            names = [str(name) for name in np.atleast_1d(group.attrs.get("axes", []))]
            axis, kind = np.arange(1.0, intensity.shape[1] + 1), None
            if len(names) == 2 and _is_vector(group.get(names[1]), intensity.shape[1]):
                axis, kind = group[names[1]][()].astype(np.float64), names[1]
            columns = {
                name: _plain(item)
                for home in (group, group.parent.get("targets"))
                if home is not None
                for name, item in home.items()
                if isinstance(item, h5py.Dataset) and _is_vector(item, intensity.shape[0]) and name not in names[1:]
            }
            wavelength = group.get("wavelength")
            stated = float(wavelength[()]) if isinstance(wavelength, h5py.Dataset) and wavelength.shape == () else None
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path}: cannot be read as HDF5 ({' '.join(str(error).split())}); copy or export it again"
        ) from None
    if axis[0] > axis[-1]:
        axis, intensity = axis[::-1], intensity[:, ::-1]
    return stack.Rows(
        names=[f"row {i}" for i in range(len(intensity))],
        axis=axis,
        intensity=intensity,
        kind=kind if kind in _KINDS else None,
        wavelength=stated,
        moments=_moments(columns, len(intensity), path),
        columns=columns,
    )


def _signal(file: h5py.File, wanted: str, path: Path) -> h5py.Dataset:
    """The data set at `wanted`, or the one that the chain of @default and @signal leads to."""
    node = file
    if wanted:
        if wanted not in file or not isinstance(file[wanted], h5py.Dataset):
            raise UserError(f"{path}: has no data set '{wanted}'; look its path up and mend dataset = \"…\"")
        return file[wanted]
    for _ in range(8):
        if isinstance(signal := node.attrs.get("signal"), str) and isinstance(node.get(signal), h5py.Dataset):
            return node[signal]
        default = node.attrs.get("default")
        if not isinstance(default, str) or not isinstance(node.get(default), h5py.Group):
            break
        node = node[default]
    raise UserError(f'{path}: does not say which data set to plot; name it with dataset = "/path/to/intensities"')


def _values(data: h5py.Dataset, path: Path) -> np.ndarray:
    if data.ndim != 2 or data.dtype.kind not in "iuf":
        raise UserError(f"{path}: '{data.name}' is {data.dtype} {data.shape}; a stack has numbers [pattern, channel]")
    if data.id.get_storage_size() * 2000 < data.size * data.dtype.itemsize:
        raise UserError(f"{path}: '{data.name}' announces {data.shape} values but stores next to none; copy it again")
    return data[()].astype(np.float64) if data.dtype.kind == "f" else data[()]


def _is_vector(item: object, size: int) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape == (size,)


def _plain(item: h5py.Dataset) -> np.ndarray:
    return item[()].astype(np.float64) if item.dtype.kind in "iufb" else item.asstr()[()].astype(str)
