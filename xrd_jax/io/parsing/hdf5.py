"""HDF5 files from strangers: members found without leaving the file, filters by name, errors in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from xrd_jax.errors import UserError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MARK = "::"
_MOST_OBJECTS = 5000
_PIECE = 1 << 24
_HEAP = b"GCOL\x01\x00\x00\x00"  # signature, version 1 and reserved bytes of a global heap collection
_DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
)


def split(path: Path) -> tuple[Path, str]:
    """The file, and what is written after `::`."""
    file, _, inner = str(path).partition(MARK)
    return Path(file), inner.replace("\\", "/")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The open file; whatever HDF5 stumbles over while it is open becomes one line.

    Raises:
      UserError: not HDF5, damaged, or being written.
    """
    try:
        _check_heaps(split(path)[0])
        with h5py.File(split(path)[0], "r", locking=False) as file:
            yield file
    except UserError:
        raise
    except _DAMAGE as error:
        text = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(f"{path}: damaged HDF5, or being written ({text}); copy or export it again") from None


def _check_heaps(file: Path) -> None:
    """Walks the heaps that hold texts: an object of no length in a damaged one makes the HDF5 library loop for ever.

    A collection is a header of 16 bytes with its size, then objects of 16 bytes and their data rounded up to 8; object
    0 is the free rest, its size included. HDF5 File Format Specification, version 3, III.E.
    """
    total = file.stat().st_size
    with file.open("rb") as looked, file.open("rb") as stream:
        for start in _heaps(looked):
            stream.seek(start + 8)
            size, at = int.from_bytes(stream.read(8), "little"), 16
            if start + size > total or size < 16:
                raise OSError("a heap of texts reaches beyond the file")
            while at + 16 <= size:
                stream.seek(start + at)
                header = stream.read(16)
                length = int.from_bytes(header[8:], "little")
                step = 16 + (length + 7) // 8 * 8 if header[:2] != b"\x00\x00" else length
                if step < 16 or at + step > size:
                    raise OSError("a heap of texts is damaged")
                at += step


def _heaps(stream: BinaryIO) -> Iterator[int]:
    """Where heaps begin, looked for piece by piece, since the file may be larger than the memory."""
    begin, kept = 0, b""
    while piece := stream.read(_PIECE):
        data = kept + piece
        at = data.find(_HEAP)
        while at >= 0:
            yield begin + at
            at = data.find(_HEAP, at + 16)
        kept = data[-(len(_HEAP) - 1) :]
        begin += len(data) - len(kept)


def get(group: h5py.Group, name: str, path: Path) -> Any:
    """A member of the same file, or None; links that lead out of the file are refused."""
    at: Any = group.file if name.startswith("/") else group
    for part in filter(None, name.split("/")):
        if not isinstance(at, h5py.Group) or (link := at.get(part, getlink=True)) is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise UserError(
                f"{path}: {at.name.rstrip('/')}/{part} lies in another file ({link.filename[:60]}); name that file"
            )
        if isinstance(link, h5py.SoftLink) and link.path.count("/") > 50:
            return None
        at = at.get(part)
    if isinstance(at, h5py.Dataset) and (at.external or at.is_virtual):
        raise UserError(f"{path}: {at.name} keeps its values in other files; write them into one file")
    if isinstance(at, h5py.Dataset):
        _need_filters(at, path)
    return at


def _need_filters(data: h5py.Dataset, path: Path) -> None:
    """Registers the compression filters of the extra, where a dataset needs one that HDF5 lacks."""
    stored = data.id.get_create_plist()
    missing = [n for i in range(stored.get_nfilters()) if not h5py.h5z.filter_avail(n := stored.get_filter(i)[0])]
    if not missing:
        return
    try:
        import hdf5plugin  # noqa: F401 - importing it registers its filters
    except ImportError:
        raise UserError(
            f"{path}: {data.name} is compressed by filter {missing[0]}, which needs pip install 'xrd_jax[beamline]'"
        ) from None
    if not all(map(h5py.h5z.filter_avail, missing)):
        raise UserError(
            f"{path}: {data.name} is compressed by filter {missing[0]}, which is not known; write it with gzip"
        )


def groups(file: h5py.File, path: Path) -> Iterator[h5py.Group]:
    """Groups of the file from the top down, each once, without following links out of it."""
    waiting, seen, looked = [file], set(), 0
    while waiting:
        group = waiting.pop(0)
        key = h5py.h5o.get_info(group.id).addr
        if key in seen:
            continue
        seen.add(key)
        yield group
        for name in group:
            looked += 1
            if looked > _MOST_OBJECTS:
                raise UserError(f"{path}: has over {_MOST_OBJECTS} members; name one as {path.name}::/path/to/data")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.HardLink) and isinstance(child := group.get(name), h5py.Group):
                waiting.append(child)


def scalar(item: h5py.Dataset) -> str:
    """The text or number of a dataset of one element, unless its stated length cannot be.

    A text of variable length is a length and an address; the library takes that much memory before it looks.
    """
    if h5py.check_string_dtype(item.dtype) is not None and item.dtype.kind == "O":
        offset, size = item.id.get_offset(), Path(item.file.filename).stat().st_size
        if offset is not None:
            with open(item.file.filename, "rb") as stream:
                stream.seek(offset)
                if int.from_bytes(stream.read(4), "little") > size:
                    raise OSError("a text longer than the file")
    return word(item[()])


def word(value: Any) -> str:
    """The text of an attribute or a scalar, whatever type it was written as; '' for None."""
    value = value.ravel()[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    if isinstance(value, np.ndarray) or value is None or isinstance(value, Mapping):
        return ""
    return value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value).strip()


def words(value: Any) -> list[str]:
    """A list of names; older files part them by colons or commas in one text."""
    if isinstance(value, np.ndarray) and value.size != 1:
        return [word(item) for item in value.ravel()[:8]]
    text = word(value).strip("[]")
    return [part.strip() for part in text.replace(",", ":").split(":")] if text else []
