"""HDF5 files from strangers: opened only where they are files, and read without ever leaving them."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from xrd_jax.errors import UserError

_MAX_PARTS = 200  # of a path with all its links followed; a longer one goes in circles
_CHUNK_BYTES = 1 << 24
_HEAP = b"GCOL\x01\x00\x00\x00"  # signature, version 1 and reserved bytes of a global heap collection
_HEAP_HEADER = _OBJECT_HEADER = 16  # bytes


@contextlib.contextmanager
def open_contained(path: Path) -> Iterator[h5py.File]:
    """Open a file for `find_member`, which alone may look into it.

    Raises:
      UserError: a folder, pipe or device.
      OSError: no HDF5, or damaged.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
        raise UserError(f"{path}: is no file but a folder, pipe or device; name a file")
    _check_heaps(path)
    with h5py.File(path, "r", locking=False) as file:
        yield file


def find_member(group: h5py.Group, name: str, path: Path) -> Any:
    """Return a member, None where there is none; `UserError` where it, or its values, lie outside the file."""
    member: Any = group.file if name.startswith("/") else group
    parts = [part for part in name.split("/") if part not in ("", ".")]
    for _ in range(_MAX_PARTS):
        if not parts:
            break
        part = parts.pop(0)
        if not isinstance(member, h5py.Group) or (link := member.get(part, getlink=True)) is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            source = f"{member.name.rstrip('/')}/{part}"
            raise UserError(f"{path}: {source} lies in another file ({link.filename[:60]}); name that file")
        if isinstance(link, h5py.SoftLink):  # followed here, lest the library follow it out of the file
            member = member.file if link.path.startswith("/") else member
            parts = [part for part in link.path.split("/") if part not in ("", ".")] + parts
        else:
            member = member.get(part)
    if parts:
        return None
    if isinstance(member, h5py.Dataset) and (member.is_virtual or member.external):
        raise UserError(f"{path}: {member.name} keeps its values in other files; write them into one file")
    return member


def check_text_length(data: h5py.Dataset) -> None:
    """Raise OSError for one text that claims to be longer than its file.

    A text of variable length is a length and an address; the library takes that much memory before it looks.
    """
    offset = data.id.get_offset() if data.dtype.kind == "O" and data.size == 1 else None
    if offset is not None:
        path = Path(data.file.filename)
        with path.open("rb") as stream:
            stream.seek(offset)
            if int.from_bytes(stream.read(4), "little") > path.stat().st_size:
                raise OSError("a text longer than the file")


def _check_heaps(file: Path) -> None:
    """Walk the heaps that hold texts: an object of no length in a damaged one makes the HDF5 library loop for ever.

    A collection is a header of 16 bytes with its size, then objects of 16 bytes and their data rounded up to 8; object
    0 is the free rest, its size included. HDF5 File Format Specification, version 3, III.E.
    """
    file_size = file.stat().st_size
    with file.open("rb") as searched, file.open("rb") as stream:
        for start in find_heaps(searched):
            stream.seek(start + 8)
            size, offset = int.from_bytes(stream.read(8), "little"), _HEAP_HEADER
            if start + size > file_size or size < _HEAP_HEADER:
                raise OSError("a heap of texts reaches beyond the file")
            while offset + _OBJECT_HEADER <= size:
                stream.seek(start + offset)
                header = stream.read(_OBJECT_HEADER)
                length = int.from_bytes(header[8:], "little")
                is_free = header[:2] == b"\x00\x00"
                step = length if is_free else _OBJECT_HEADER + (length + 7) // 8 * 8
                if step < _OBJECT_HEADER or offset + step > size:
                    raise OSError("a heap of texts is damaged")
                offset += step


def find_heaps(stream: BinaryIO, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[int]:
    """Yield where heaps begin, searched piece by piece, since the file may be larger than the memory."""
    begin, rest = 0, b""
    while chunk := stream.read(chunk_bytes):
        data = rest + chunk
        position = data.find(_HEAP)
        while position >= 0:
            yield begin + position
            position = data.find(_HEAP, position + _HEAP_HEADER)
        rest = data[-(len(_HEAP) - 1) :]
        begin += len(data) - len(rest)
