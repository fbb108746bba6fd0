"""What pattern files held, kept in HDF5 by their content, so that ten thousand of them read in a second the next time.

A file is known by the SHA-256 of its bytes, never by name or date, and an entry by the readers that made it: a changed
file or a changed reader is read anew. The folder is the user's own: $XRD_JAX_CACHE, else $XDG_CACHE_HOME/xrd_jax, else
~/.cache/xrd_jax; XRD_JAX_CACHE=off keeps nothing.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import worker
from xrd_jax.runtime.cache_dir import directory

LAYOUT = 1
LARGEST = 8 << 30  # bytes of all caches together; the longest unused go first
WHOLE = 64 << 20  # larger files are hashed in pieces
# Data that may lie in other files beside these: a link, a geometry.
NOT_ALONE = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".nx", ".cbf", ".edf", ".tif", ".tiff")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Store:
    """The cache of one folder of pattern files.

    Attributes:
      path: of the HDF5 file.
      files, digests: the files and what they are known by; None for one that is not to be kept.
      before: [F] size and date of each file when it was hashed.
      known: digest -> scans, as the cache had them.
    """

    path: Path
    files: Sequence[Path]
    digests: list[bytes | None]
    before: list[tuple[int, int]]
    known: dict[bytes, tuple[Pattern, ...]]

    def take(self) -> Iterator[tuple[Pattern, ...] | None]:
        """What the cache has of each file."""
        for digest in self.digests:
            yield None if digest is None else self.known.get(digest)

    def keep(self, results: Sequence[tuple[Pattern, ...] | UserError], fresh: Sequence[int]) -> None:
        """Writes what these files held, but not of a file that changed while it was read; a full disk is no error."""
        changed = {i for i in fresh if _state(self.files[i]) != self.before[i]}
        held: dict[bytes, tuple[Pattern, ...]] = {}
        for i, (digest, result) in enumerate(zip(self.digests, results, strict=True)):
            if digest is not None and isinstance(result, tuple) and i not in changed:
                held[digest] = result
        others = {digest: scans for digest, scans in self.known.items() if digest not in held}
        if len(others) <= len(held):
            held |= others
        partial = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            _write(partial, held)
            os.replace(partial, self.path)
            _trim(self.path.parent)
        except OSError:
            partial.unlink(missing_ok=True)


def open_store(files: Sequence[Path], allow_negative: bool) -> Store | None:
    """The cache for `files`, with the digest of each; None without a cache folder."""
    home = directory()
    if home is None:
        return None
    salt = json.dumps([LAYOUT, _readers(), allow_negative]).encode()
    folders = sorted({str(file.parent.resolve()) for file in files})
    name = hashlib.sha256(json.dumps([LAYOUT, allow_negative, folders]).encode()).hexdigest()[:32]
    before = [_state(file) for file in files]
    with concurrent.futures.ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        digests = list(pool.map(functools.partial(_digest, salt), files, chunksize=32))
    path = home / f"patterns-{name}.h5"
    return Store(path, files, digests, before, _load(path))


@functools.cache
def _readers() -> str:
    """What tells one state of the readers from another: their source, and those of other packages by name."""
    digest = hashlib.sha256()
    readers = Path(patterns.__file__).parent
    for source in (*sorted(readers.glob("*.py")), *sorted((readers.parent / "parsing").glob("*.py"))):
        digest.update(source.read_bytes())
    digest.update(repr([(one.name, one.read.__module__) for one in patterns.plugins.installed()]).encode())
    return digest.hexdigest()


def _state(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _digest(salt: bytes, file: Path) -> bytes | None:
    """SHA-256 of a file with its suffix, by which readers may choose; None for one that cannot be kept."""
    suffix = file.suffix.lower()
    if suffix in NOT_ALONE:
        return None
    digest = hashlib.sha256(salt + suffix.encode(errors="surrogateescape"))
    try:
        with file.open("rb", buffering=0) as opened:
            first = opened.read(WHOLE)
            if first.startswith(_HDF5):
                return None
            while first:
                digest.update(first)
                first = opened.read(WHOLE)
    except OSError:
        return None
    return digest.digest()


def _write(path: Path, held: dict[bytes, tuple[Pattern, ...]]) -> None:
    axes: dict[bytes, int] = {}
    facts: dict[str, int] = {}
    flat: list[np.ndarray] = []
    table, errors = [], []
    for number, scans in enumerate(held.values()):
        for one in scans:
            axis = axes.setdefault(one.axis.tobytes(), len(axes))
            said = facts.setdefault(json.dumps(worker.facts(one)), len(facts))
            table.append((number, axis, said, one.intensity.size, one.errors is not None))
            flat.append(one.intensity)
            if one.errors is not None:
                errors.append(one.errors)
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["layout"] = LAYOUT
        file["digests"] = np.frombuffer(b"".join(held), np.uint8).reshape(-1, 32)
        file["scans"] = np.array(table, np.int64).reshape(-1, 5)
        file["intensity"] = _short(flat)
        file["errors"] = _short(errors)
        file["axes"] = np.frombuffer(b"".join(axes), np.float64)
        file["axis_sizes"] = np.array([len(axis) // 8 for axis in axes], np.int64)
        file["facts"] = np.frombuffer(json.dumps(list(facts)).encode(), np.uint8)


def _short(parts: list[np.ndarray]) -> np.ndarray:
    """The parts end to end, as float32 where that loses nothing, as with photon counts."""
    whole = np.concatenate(parts) if parts else np.zeros(0)
    with np.errstate(over="ignore"):
        short = whole.astype(np.float32)
    return short if np.array_equal(short, whole) else whole


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
        found: list[list[Pattern]] = [[] for _ in digests]
        at = uncertain = 0
        for number, axis, said, size, has_errors in table.tolist():
            deviation = errors[uncertain : uncertain + size] if has_errors else None
            found[number].append(worker.pattern(facts[said], axes[axis], intensity[at : at + size], deviation))
            at, uncertain = at + size, uncertain + size * has_errors
            if axes[axis].size != size or at > intensity.size or uncertain > errors.size:
                return {}
        return {digest.tobytes(): tuple(scans) for digest, scans in zip(digests, found, strict=True)}
    except (OSError, KeyError, IndexError, ValueError, TypeError):
        return {}


def _trim(home: Path) -> None:
    kept = 0
    for file in sorted(home.glob("patterns-*.h5"), key=lambda one: one.stat().st_mtime, reverse=True):
        kept += file.stat().st_size
        if kept > LARGEST:
            file.unlink(missing_ok=True)
