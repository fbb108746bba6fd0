"""XML and zip archives from strangers: no entities, no bombs, no names that lead elsewhere.

Patterns are unpacked here, member by member. Logs are unpacked by other libraries, so `check_zip` looks at everything
beforehand.
"""

import contextlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import MAX_BYTES, opening, refusing

MAX_MEMBER_BYTES = 32 * 2**20
# A directory of members is listed in memory: some 50 bytes and a name each. Logs have a handful, patterns one a scan.
MAX_DIRECTORY_BYTES, MAX_LOG_DIRECTORY_BYTES = 2 * 2**20, 2**20
MAX_LOG_MEMBERS = 1000
MAX_ELEMENTS = 400_000
# Bytes of XML without the start of a row or string, which a parser of workbooks keeps in memory at once.
MAX_ROW_BYTES = 4 * 2**20
_XML_CHUNK, _SCAN_CHUNK = 2**16, 2**20
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_ROW_START = re.compile(rb"<(?:\w+:)?(?:row|si)\b")
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
# What zipfile raises for damage, an unknown compression or a password.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


class _Builder(ElementTree.TreeBuilder):
    """A tree of bounded size, from documents that declare nothing."""

    def __init__(self, source: str):
        super().__init__()
        self.source, self.elements = source, 0

    def doctype(self, name, pubid, system):
        raise _refusal(self.source, "declares a document type, which no measurement needs and attacks use")

    def start(self, tag, attrs):
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise _refusal(self.source, f"has over {MAX_ELEMENTS} elements")
        return super().start(tag, attrs)


def _refusal(source: str, reason: str) -> UserError:
    return UserError(f"{source}: the XML {reason}; export the scan again as two-column text")


def parse_xml(stream: io.BufferedIOBase, source: str, limit: int) -> ElementTree.Element:
    """Read an XML document piece by piece, and take the namespaces off all tags.

    Raises:
      UserError: the document is broken, longer than `limit` bytes, or declares a document type or entities.
    """
    parser, length, remedy = ElementTree.XMLParser(target=_Builder(source)), 0, "copy or export the file again"
    broken = ElementTree.ParseError, ValueError, LookupError
    with _one_line(f"{source}: cannot be unpacked; {remedy}"), refusing(f"{source}: broken XML", remedy, broken):
        while chunk := stream.read(_XML_CHUNK):
            length += len(chunk)
            if length > limit:
                raise _refusal(source, f"is longer than {limit >> 20} MiB")
            parser.feed(chunk)
        root = parser.close()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
    return root


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file; raise `UserError` as `parse_xml`."""
    with opening(path), path.open("rb") as file:
        return parse_xml(file, str(path), MAX_BYTES)


@contextlib.contextmanager
def _one_line(message: str) -> Iterator[None]:
    """Make damage that zipfile stumbles over one line."""
    try:
        yield
    except UserError:
        raise
    except _DAMAGE:
        raise UserError(message) from None


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive; raise `UserError` where it is damaged, has too many members, or names that lead out of it."""
    with contextlib.ExitStack() as stack, _one_line(f"{path}: the archive is damaged or cut; copy or export it again"):
        _check_directory(path, MAX_DIRECTORY_BYTES, allow_zip64=False)
        archive = stack.enter_context(zipfile.ZipFile(path))
        _check_names(path, archive.namelist())
        stack.pop_all()  # stays open
    return archive


def check_zip(path: Path, min_limit: int, ratio: int) -> list[str]:
    """Check an archive that another library will unpack, and return the names of its members.

    Every declared size is bounded before a byte is unpacked; zipfile never reads more than was declared. Damage, a
    password, names that lead out of it and XML that declares a document type or entities are refused.

    Args:
      min_limit: bytes that any archive may unpack to.
      ratio: how many times its size a larger one may unpack to besides.
    """
    with _one_line(f"{path}: the archive is damaged or cut; copy or export it again"):
        _check_directory(path, MAX_LOG_DIRECTORY_BYTES, allow_zip64=True)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_LOG_MEMBERS:
                raise UserError(f"{path}: the archive has more members than any log; export it again")
            _check_names(path, archive.namelist())
            size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
            if unpacked > min_limit + ratio * size:
                sizes = f"{unpacked >> 20} MiB from {size >> 10} KiB"
                raise UserError(f"{path}: unpacks to {sizes}, as only archives built to do harm do; export it as text")
            for member in members:
                if member.filename.lower().endswith((".xml", ".rels", ".vml")):
                    _check_xml(path, archive, member)
    return [member.filename for member in members]


def _check_directory(path: Path, limit: int, allow_zip64: bool) -> None:
    """Refuse a directory of members so long that listing it alone would fill the memory."""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 2**16 - 64))
        tail = file.read()
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise zipfile.BadZipFile
    size = int.from_bytes(tail[end + 12 : end + 16], "little")
    is_zip64 = tail[max(0, end - 20) : end].startswith(_END_64)  # then the true size stands elsewhere
    if size > limit or (is_zip64 and not allow_zip64):
        raise UserError(f"{path}: the archive has more members than a measurement; export single scans or logs")


def _check_names(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts or ":" in name:
            raise UserError(f"{path}: the archive names {name[:60]!r}, which leads out of it; do not trust this file")
    if len(set(names)) != len(names):
        raise UserError(f"{path}: the archive holds two members of one name; export it again")


def _check_xml(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Read one member through, keeping nothing."""
    overlap, bytes_since_row = b"", 0
    with archive.open(member) as stream:
        while chunk := stream.read(_SCAN_CHUNK):
            window = (overlap + chunk).replace(b"\x00", b"")  # UTF-16 must not hide a declaration
            if _DECLARATION.search(window):
                raise UserError(f"{path}: {member.filename[:60]} declares entities, as no log does; export it again")
            bytes_since_row = 0 if _ROW_START.search(window) else bytes_since_row + len(chunk)
            if bytes_since_row > MAX_ROW_BYTES:
                raise UserError(f"{path}: {member.filename[:60]} is no table of rows; export the log as text")
            overlap = chunk[-64:]


def read_member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """Unpack one member; raise `UserError` where it is missing, damaged, encrypted, or too large."""
    message = f"{path}: {name} cannot be unpacked; copy or export the file again"
    with _open_member(archive, name, path) as stream, _one_line(message):
        return stream.read(MAX_MEMBER_BYTES + 1)


def read_xml_member(archive: zipfile.ZipFile, name: str, path: Path) -> ElementTree.Element:
    """Unpack one XML member and return its root; raise `UserError` as `read_member` and `parse_xml`."""
    with _open_member(archive, name, path) as stream:
        return parse_xml(stream, f"{path}: {name}", MAX_MEMBER_BYTES)


def _open_member(archive: zipfile.ZipFile, name: str, path: Path) -> io.BufferedIOBase:
    info = archive.NameToInfo.get(name)
    if info is None:
        raise UserError(f"{path}: the archive lacks {name}; export the file again")
    if info.file_size > MAX_MEMBER_BYTES:
        size, limit = info.file_size >> 20, MAX_MEMBER_BYTES >> 20
        raise UserError(f"{path}: {name} would unpack to {size} MiB, more than {limit} MiB; export scans as text")
    with _one_line(f"{path}: {name} is encrypted or damaged; export the file again"):
        return archive.open(info)  # type: ignore[return-value]
