"""Patterns that stay on disk: rows of an HDF5 data set, read when they are asked for and never all at once."""

import collections
import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.series.hdf5_members import find_member, open_contained

# Up to here a series is loaded into memory and saved compressed. Beyond it stays on disk and is saved as it is, which
# is twice as large and is read twelve times faster (measured: 2.4 µs instead of 30 µs for 1400 channels).
MAX_BYTES_IN_MEMORY = 256 << 20
MAX_GAP_ROWS = 64  # rows that lie closer are read together with what is between them
MAX_READ_ROWS = 4096  # rows that one read spans, which bounds its memory
MAX_INTENSITY = 1e30  # float32 still holds the sum of a pattern
# Patterns per block where nothing else decides: a few MB, enough to make the cost of a call vanish.
PATTERNS_PER_BLOCK = 1024
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, eq=False)
class LazyRows:
    """Rows of a two-dimensional HDF5 data set that index like an array [T, N] and come as arrays."""

    path: Path  # the file; it is opened for every read, and must not change meanwhile
    dataset: str  # its name in the file
    shape: tuple[int, int]  # (T, N)
    dtype: np.dtype  # as stored
    identity: tuple[int, int, int, int]  # (device, inode, bytes, time of change) of the file when it was opened first
    rows: np.ndarray | None = None  # [T] of the data set; None for all of them in order
    channels: np.ndarray | None = None  # [N] columns of the data set; None for all of them in order

    ndim = 2

    @classmethod
    def open(cls, path: str | os.PathLike[str], dataset: str) -> "LazyRows":
        """Return all rows of a data set."""
        path = Path(path).resolve()
        with open_contained(path) as file:
            stored = find_member(file, dataset, path)
            return cls(path, stored.name, stored.shape, stored.dtype, _identity(path))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def __getitem__(self, key: Any) -> np.ndarray:
        """Read the rows that an integer, a slice, a mask [T] or an array of indices picks, in that order.

        Raises:
          UserError: the file has gone or was changed, or a row that is read holds NaN or infinite values.
        """
        if isinstance(key, tuple):
            raise IndexError("stored patterns are picked by rows; index the array that comes back by channels")
        picked = _indices(key, len(self))
        indices = np.atleast_1d(picked)
        values = self._read(indices if self.rows is None else self.rows[indices])
        require_finite(values, indices, f"{self.path}: ")
        return values[0] if picked.ndim == 0 else values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read everything: for what is known to be small."""
        if copy is False:
            raise ValueError("stored patterns cannot become an array without a copy")
        return np.asarray(self[:], dtype)

    def subset(self, keep: np.ndarray | slice) -> "LazyRows":
        """Return the rows that a mask [T], indices or a slice picks, still on disk."""
        indices = _indices(keep, len(self))
        rows = indices if self.rows is None else self.rows[indices]
        return dataclasses.replace(self, shape=(indices.size, self.shape[1]), rows=rows)

    def columns(self, channels: np.ndarray) -> "LazyRows":
        """Return the channels at the indices `channels`, still on disk."""
        columns = channels if self.channels is None else self.channels[channels]
        return dataclasses.replace(self, shape=(self.shape[0], columns.size), channels=columns)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        try:
            with h5py.File(self.path, "r") as file:
                if _identity(self.path) != self.identity:
                    raise UserError(f"{self.path}: was changed after it had been opened; load it again")
                values = gather_rows(file[self.dataset], rows)
                return values if self.channels is None else values[:, self.channels]
        except (OSError, KeyError) as error:
            raise UserError(f"{self.path}: can no longer be read ({error}); load it again") from None


def _indices(key: Any, count: int) -> np.ndarray:
    """Return the indices, none below 0, that an integer, a slice, a mask or an array of indices picks of `count`."""
    if isinstance(key, slice):
        return np.arange(*key.indices(count))
    indices = np.asarray(key)
    if indices.dtype == bool:
        if indices.shape != (count,):
            raise IndexError(f"a mask of shape {indices.shape} does not fit {count} patterns")
        return np.flatnonzero(indices)
    if indices.size == 0:
        return np.zeros(0, np.int64)
    if indices.dtype.kind not in "iu" or indices.ndim > 1:
        raise IndexError(f"patterns are picked by integers, a slice or a mask, not by {indices.dtype} {indices.shape}")
    if indices.min() < -count or indices.max() >= count:
        raise IndexError(f"index {indices.min()} to {indices.max()} is out of bounds for {count} patterns")
    return np.where(indices < 0, indices + count, indices)


def _identity(path: Path) -> tuple[int, int, int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def gather_rows(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    """Read `rows` of a data set in few contiguous reads: HDF5 itself is slow at scattered rows."""
    if rows.size and rows[-1] - rows[0] == rows.size - 1 and (np.diff(rows) == 1).all():
        return dataset[rows[0] : rows[-1] + 1]
    values = np.empty((rows.size, dataset.shape[1]), dataset.dtype)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    cuts = np.flatnonzero((np.diff(ordered) > MAX_GAP_ROWS) | (np.diff(ordered // MAX_READ_ROWS) > 0)) + 1
    for part in np.split(np.arange(rows.size), cuts) if rows.size else []:
        first = ordered[part[0]]
        values[order[part]] = dataset[first : ordered[part[-1]] + 1][ordered[part] - first]
    return values


def subset(intensity: np.ndarray | LazyRows, keep: np.ndarray | slice) -> np.ndarray | LazyRows:
    """Return the patterns that a mask [T], indices or a slice picks; what is on disk stays there."""
    return intensity.subset(keep) if isinstance(intensity, LazyRows) else intensity[keep]


def columns(intensity: np.ndarray | LazyRows, channels: np.ndarray) -> np.ndarray | LazyRows:
    """Return the channels at the indices `channels` of every pattern; what is on disk stays there."""
    return intensity.columns(channels) if isinstance(intensity, LazyRows) else intensity[:, channels]


def require_finite(values: np.ndarray, indices: np.ndarray, prefix: str = "") -> None:
    """Raise UserError when a row of `values` [B, N], pattern `indices[i]`, is not finite; in bounded memory."""
    if values.dtype.kind in "biu":
        return
    if values.dtype.kind != "f":
        raise UserError(f"{prefix}intensities must be numbers, not {values.dtype}")
    limit = min(MAX_INTENSITY, float(np.finfo(values.dtype).max))
    for begin in range(0, len(values), MAX_READ_ROWS):
        is_usable = (np.abs(values[begin : begin + MAX_READ_ROWS]) <= limit).all(axis=1)
        if not is_usable.all():
            index = int(indices[begin + int(np.argmin(is_usable))])
            reason = f"holds NaN, infinite intensities or such above {MAX_INTENSITY:g}; mask or repair it first"
            raise UserError(f"{prefix}pattern {index} {reason}")


def read_blocks(
    intensity: np.ndarray | LazyRows, size: int = PATTERNS_PER_BLOCK, rows: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield patterns (or those at the indices `rows`) in blocks of at most `size`, each with the number of its first.

    What is on disk is read one block ahead.
    """
    count = len(intensity) if rows is None else len(rows)
    step = size * max(1, PATTERNS_PER_BLOCK // size)  # small blocks are cut from larger reads

    def read(begin: int) -> np.ndarray:
        return intensity[slice(begin, min(begin + step, count)) if rows is None else rows[begin : begin + step]]

    tasks = (functools.partial(read, begin) for begin in range(0, count, step))
    parts = prefetch(tasks) if isinstance(intensity, LazyRows) else (task() for task in tasks)
    for begin, part in zip(range(0, count, step), parts, strict=True):
        for inner in range(0, len(part), size):
            yield begin + inner, part[inner : inner + size]


def prefetch(tasks: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Yield the results of `tasks` in order; while one is used, a thread works on the next."""
    with concurrent.futures.ThreadPoolExecutor(1, "xrd_jax-prefetch") as pool:
        pending: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) > 1:
                yield pending.popleft().result()
        yield from (future.result() for future in pending)
