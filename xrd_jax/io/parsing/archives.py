"""XML and zip archives from strangers: no entities, no bombs, no names that lead elsewhere."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from xml.etree import ElementTree

from xrd_jax.errors import UserError
from xrd_jax.io.patterns import pattern

LARGEST_MEMBER = 32 * 2**20
LARGEST_DIRECTORY = 2 * 2**20
MOST_ELEMENTS = 400_000
_CHUNK = 2**16
_END, _END64 = b"PK\x05\x06", b"PK\x06\x07"


class _Refused(Exception):
    """Leaves the XML parser with the reason."""


class _Builder(ElementTree.TreeBuilder):
    """A tree of bounded size, from documents that declare nothing."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def doctype(self, name, pubid, system):
        raise _Refused("declares a document type, which no measurement needs and attacks use")

    def start(self, tag, attrs):
        self.elements += 1
        if self.elements > MOST_ELEMENTS:
            raise _Refused(f"has over {MOST_ELEMENTS} elements")
        return super().start(tag, attrs)


def parse_xml(stream: BinaryIO, place: str, limit: int) -> ElementTree.Element:
    """The root of an XML document read piece by piece, with namespaces taken off all tags.

    Raises:
      UserError: the document is broken, too long, or declares a document type or entities.
    """
    parser = ElementTree.XMLParser(target=_Builder())
    read = 0
    try:
        while piece := stream.read(_CHUNK):
            read += len(piece)
            if read > limit:
                raise _Refused(f"is longer than {limit >> 20} MiB")
            parser.feed(piece)
        root = parser.close()
    except _Refused as reason:
        raise UserError(f"{place}: the XML {reason}; export the scan again as two-column text") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        text = str(error).splitlines()[0][:80] if str(error) else "no content"
        raise UserError(f"{place}: broken XML ({text}); copy or export the file again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
        raise UserError(f"{place}: cannot be unpacked; copy or export the file again") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    return root


def xml_file(path: Path) -> ElementTree.Element:
    """Root of an XML file; raises `UserError` as `parse_xml`."""
    try:
        with path.open("rb") as file:
            return parse_xml(file, str(path), pattern.LARGEST)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that you may read") from None


def open_zip(path: Path) -> zipfile.ZipFile:
    """An archive whose directory is small and whose names stay inside; close it after use.

    Raises:
      UserError: no archive, a damaged one, or one built to do harm.
    """
    try:
        _check_directory(path)
        archive = zipfile.ZipFile(path)
    except UserError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        raise UserError(f"{path}: the archive is damaged or cut; copy or export it again") from None
    names = [info.filename for info in archive.infolist()]
    for name in names:
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts or ":" in name:
            archive.close()
            raise UserError(f"{path}: the archive names {name[:60]!r}, which leads out of it; do not trust this file")
    if len(set(names)) != len(names):
        archive.close()
        raise UserError(f"{path}: the archive holds two members of one name; export it again")
    return archive


def _check_directory(path: Path) -> None:
    """Refuses a directory of members so long that listing it alone would fill the memory."""
    with path.open("rb") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - 2**16 - 64))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise zipfile.BadZipFile
    directory = int.from_bytes(tail[end + 12 : end + 16], "little")
    if directory > LARGEST_DIRECTORY or tail[max(0, end - 20) : end].startswith(_END64):
        raise UserError(f"{path}: the archive has more members than a measurement; export single scans")


def member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """One member, unpacked.

    Raises:
      UserError: missing, damaged, encrypted, or too large.
    """
    with _opened(archive, name, path) as stream:
        try:
            return stream.read(LARGEST_MEMBER + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError):
            raise UserError(f"{path}: {name} cannot be unpacked; copy or export the file again") from None


def xml_member(archive: zipfile.ZipFile, name: str, path: Path) -> ElementTree.Element:
    """Root of one XML member; raises `UserError` as `member` and `parse_xml`."""
    with _opened(archive, name, path) as stream:
        return parse_xml(stream, f"{path}: {name}", LARGEST_MEMBER)


def _opened(archive: zipfile.ZipFile, name: str, path: Path) -> BinaryIO:
    try:
        info = archive.getinfo(name)
        if info.file_size > LARGEST_MEMBER:
            raise UserError(
                f"{path}: {name} would unpack to {info.file_size >> 20} MiB, more than {LARGEST_MEMBER >> 20} MiB; "
                "export single scans as text"
            )
        return archive.open(info)  # type: ignore[return-value]
    except UserError:
        raise
    except KeyError:
        raise UserError(f"{path}: the archive lacks {name}; export the file again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError):
        raise UserError(f"{path}: {name} is encrypted or damaged; export the file again") from None
