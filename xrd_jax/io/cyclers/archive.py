"""Zip archives from strangers, looked at from outside before a library unpacks them."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from xrd_jax.errors import UserError

_MEMBERS = 1000
_DIRECTORY = 1 << 20
# Bytes of XML without the start of a row or string, which a parser keeps in memory at once.
_ELEMENT = 4 << 20
_CHUNK = 1 << 20
_REPEATED = re.compile(rb"<(?:\w+:)?(?:row|si)\b")
_DECLARED = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def check(path: Path, least: int, ratio: int) -> list[str]:
    """Names of the members of an archive, once it has been found harmless.

    Every declared size is bounded before a byte is unpacked; zipfile never reads more than was declared.

    Args:
      least: bytes that any archive may unpack to.
      ratio: how many times its size a larger one may unpack to besides.

    Raises:
      UserError: no archive, a damaged or encrypted one, one that unpacks to too much, has names that lead out of it,
        or holds XML that declares a document type or entities.
    """
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(path, members, least, ratio)
            for member in members:
                if member.filename.lower().endswith((".xml", ".rels", ".vml")):
                    _check_xml(path, archive, member)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: the archive is damaged or cut; copy or export it again") from None
    return [member.filename for member in members]


def _check_directory(path: Path) -> None:
    """Refuses a directory of members so long that listing it alone would fill the memory."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - (1 << 16) - 64))
        tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or len(tail) - end < 22:
        raise zipfile.BadZipFile
    if int.from_bytes(tail[end + 12 : end + 16], "little") > _DIRECTORY:
        raise UserError(f"{path}: the archive has more members than any cycler writes; export the log again")


def _check_members(path: Path, members: list[zipfile.ZipInfo], least: int, ratio: int) -> None:
    names = [member.filename for member in members]
    if len(names) > _MEMBERS or len(set(names)) != len(names):
        raise UserError(f"{path}: the archive holds too many members, or two of one name; export the log again")
    for name in names:
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts or ":" in name:
            raise UserError(f"{path}: the archive names {name[:60]!r}, which leads out of it; do not trust this file")
    total, limit = sum(member.file_size for member in members), least + ratio * path.stat().st_size
    if total > limit:
        raise UserError(
            f"{path}: unpacks to {total >> 20} MiB from {path.stat().st_size >> 10} KiB, as only archives built to do "
            "harm do; export the log as text"
        )


def _check_xml(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Reads one member through, keeping nothing."""
    overlap, since = b"", 0
    with archive.open(member) as stream:
        while chunk := stream.read(_CHUNK):
            piece = (overlap + chunk).replace(b"\x00", b"")  # UTF-16 must not hide a declaration
            if _DECLARED.search(piece):
                raise UserError(f"{path}: {member.filename[:60]} declares entities, as no log does; export it again")
            since = 0 if _REPEATED.search(piece) else since + len(chunk)
            if since > _ELEMENT:
                raise UserError(f"{path}: {member.filename[:60]} is no table of rows; export the log as text")
            overlap = chunk[-64:]
