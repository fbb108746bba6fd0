"""What pattern files held, kept in HDF5 by their content, so that ten thousand of them read in a second the next time.

A file is known by the SHA-256 of its bytes, never by name or date, and an entry by the readers that made it: a changed
file or a changed reader is read anew. The folder is the user's own: $XRD_JAX_CACHE, else $XDG_CACHE_HOME/xrd_jax, else
~/.cache/xrd_jax; XRD_JAX_CACHE=off keeps nothing.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import parsing, patterns
from xrd_jax.io.parsing.hdf5 import SIGNATURE
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import worker
from xrd_jax.runtime.cache_dir import cache_directory

LAYOUT = 1
MAX_CACHE_BYTES = 8 << 30  # of all caches together; the longest unused go first
_HASH_CHUNK = 64 << 20  # larger files are hashed in pieces
# Data that may lie in other files beside these: a link, a geometry.
UNCACHED_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".nx", ".cbf", ".edf", ".tif", ".tiff")


@dataclasses.dataclass(frozen=True)
class PatternCache:
    """The cache of one folder of pattern files, in one HDF5 file."""

    path: Path
    files: Sequence[Path]
    digests: list[bytes | None]  # what each file is known by; None for one that is not to be cached
    states: list[tuple[int, int]]  # size and date of each file when it was hashed
    entries: dict[bytes, tuple[Pattern, ...]]  # digest -> scans, as the cache had them

    def get_all(self) -> list[tuple[Pattern, ...] | None]:
        """Return what the cache has of each file."""
        return [None if digest is None else self.entries.get(digest) for digest in self.digests]

    def store(self, results: Sequence[tuple[Pattern, ...] | UserError], fresh: Sequence[int]) -> None:
        """Write the results of all files, of which the indices `fresh` are new; a full disk is no error.

        A file that changed while it was read is left out.
        """
        changed = {i for i in fresh if _state_of(self.files[i]) != self.states[i]}
        entries = {
            digest: result for i, (digest, result) in enumerate(zip(self.digests, results, strict=True))
            if digest is not None and isinstance(result, tuple) and i not in changed
        }  # fmt: skip
        others = {digest: scans for digest, scans in self.entries.items() if digest not in entries}
        if len(others) <= len(entries):
            entries |= others
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            _write(partial, entries)
            os.replace(partial, self.path)
            _remove_oldest(self.path.parent)
        except OSError:
            partial.unlink(missing_ok=True)


def open_cache(files: Sequence[Path], options: dict[str, Any]) -> PatternCache | None:
    """Return the cache for `files`, with the digest of each; None without a cache folder."""
    folder = cache_directory()
    if folder is None:
        return None
    salt = json.dumps([LAYOUT, _readers_digest(), options]).encode()
    parents = sorted({str(file.parent.resolve()) for file in files})
    name = hashlib.sha256(json.dumps([LAYOUT, options, parents]).encode()).hexdigest()[:32]
    states = [_state_of(file) for file in files]
    with concurrent.futures.ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        digests = list(pool.map(functools.partial(_digest, salt), files, chunksize=32))
    path = folder / f"patterns-{name}.h5"
    return PatternCache(path, files, digests, states, _load(path))


@functools.cache
def _readers_digest() -> str:
    """What tells one state of the readers from another: their source, and those of other packages by name."""
    digest = hashlib.sha256()
    for folder in (Path(patterns.__file__).parent, Path(parsing.__file__).parent):
        for source in sorted(folder.glob("*.py")):
            digest.update(source.read_bytes())
    digest.update(repr([(reader.name, reader.read.__module__) for reader in patterns.added_readers()]).encode())
    return digest.hexdigest()


def _state_of(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _digest(salt: bytes, file: Path) -> bytes | None:
    """SHA-256 of a file with its suffix, by which readers may choose; None for one that cannot be cached."""
    suffix = file.suffix.lower()
    if suffix in UNCACHED_SUFFIXES:
        return None
    digest = hashlib.sha256(salt + suffix.encode(errors="surrogateescape"))
    try:
        with file.open("rb", buffering=0) as stream:
            chunk = stream.read(_HASH_CHUNK)
            if chunk.startswith(SIGNATURE):
                return None
            while chunk:
                digest.update(chunk)
                chunk = stream.read(_HASH_CHUNK)
    except OSError:
        return None
    return digest.digest()


def _write(path: Path, entries: dict[bytes, tuple[Pattern, ...]]) -> None:
    axes: dict[bytes, int] = {}
    facts: dict[str, int] = {}
    table, intensity, errors = [], [], []
    for entry, scans in enumerate(entries.values()):
        for scan in scans:
            axis = axes.setdefault(scan.axis.tobytes(), len(axes))
            fact = facts.setdefault(json.dumps(worker.facts_to_json(scan)), len(facts))
            table.append((entry, axis, fact, scan.intensity.size, scan.errors is not None))
            intensity.append(scan.intensity)
            if scan.errors is not None:
                errors.append(scan.errors)
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["layout"] = LAYOUT
        file["digests"] = np.frombuffer(b"".join(entries), np.uint8).reshape(-1, 32)
        file["scans"] = np.array(table, np.int64).reshape(-1, 5)
        file["intensity"] = pack_floats(intensity)
        file["errors"] = pack_floats(errors)
        file["axes"] = np.frombuffer(b"".join(axes), np.float64)
        file["axis_sizes"] = np.array([len(axis) // 8 for axis in axes], np.int64)
        file["facts"] = np.frombuffer(json.dumps(list(facts)).encode(), np.uint8)


def pack_floats(parts: list[np.ndarray]) -> np.ndarray:
    """Return the parts end to end, as float32 where that loses nothing, as with photon counts."""
    double = np.concatenate(parts) if parts else np.zeros(0)
    with np.errstate(over="ignore"):
        single = double.astype(np.float32)
    return single if np.array_equal(single, double) else double


def _load(path: Path) -> dict[bytes, tuple[Pattern, ...]]:
    """What a cache holds; nothing where it is missing or damaged."""
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["layout"] != LAYOUT:
                return {}
            digests, table = file["digests"][()], file["scans"][()]
            intensity, errors = (file[name][()].astype(np.float64) for name in ("intensity", "errors"))
            axes = np.split(file["axes"][()], np.cumsum(file["axis_sizes"][()])[:-1])
            facts: list[dict[str, Any]] = [json.loads(text) for text in json.loads(file["facts"][()].tobytes())]
        os.utime(path)  # used now: the last to go
        entries: list[list[Pattern]] = [[] for _ in digests]
        start = error_start = 0
        for entry, axis, fact, size, has_errors in table.tolist():
            end, error_end = start + size, error_start + size * has_errors
            if axes[axis].size != size or end > intensity.size or error_end > errors.size:
                return {}
            scan_errors = errors[error_start:error_end] if has_errors else None
            scan = worker.pattern_from_json(facts[fact], axes[axis], intensity[start:end], scan_errors)
            entries[entry].append(scan)
            start, error_start = end, error_end
        return {digest.tobytes(): tuple(scans) for digest, scans in zip(digests, entries, strict=True)}
    except (OSError, KeyError, IndexError, ValueError, TypeError):
        return {}


def _remove_oldest(folder: Path) -> None:
    total = 0
    for file in sorted(folder.glob("patterns-*.h5"), key=lambda file: file.stat().st_mtime, reverse=True):
        total += file.stat().st_size
        if total > MAX_CACHE_BYTES:
            file.unlink(missing_ok=True)
