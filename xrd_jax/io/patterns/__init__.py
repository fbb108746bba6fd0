"""Pattern files: one short tuple of readers, tried in order, by content and then by name.

Every `read(path, allow_negative)` yields the scans of a file. What is damaged, cut or no pattern raises `UserError`;
its one line names the file, the scan and the remedy.
"""

import dataclasses
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import hdf5, plugins
from xrd_jax.io.parsing.archives import open_zip
from xrd_jax.io.parsing.plugins import Reader
from xrd_jax.io.parsing.text import is_text, read_head
from xrd_jax.io.patterns import (
    bruker,
    bruker_raw,
    frames,
    lab_text,
    listed,
    nexus,
    powder_cif,
    rigaku,
    spec,
    text,
    unsupported,
    uxd,
    xrdml,
)
from xrd_jax.io.patterns.columns import ColumnNames
from xrd_jax.io.patterns.pattern import CUT, Pattern, Scan

PLUGIN_GROUP = "xrd_jax.readers"
MAX_SCANS = 20_000  # per file; longer series are stacks


def read_zip(path: Path, allow_negative: bool) -> Iterable[Scan]:
    """Read a .brml or .rasx archive, told apart by its members."""
    with open_zip(path) as archive:
        names = archive.namelist()
    if any(map(rigaku.PROFILE.fullmatch, names)):
        return rigaku.read_rasx(path, allow_negative)
    if any(bruker.RAW_DATA.fullmatch(name) or name.endswith("DataContainer.xml") for name in names):
        return bruker.read(path, allow_negative)
    unsupported.refuse_zip(path, names)


def _has_line(word: bytes, pattern: bytes) -> Callable[[bytes, Path], bool]:
    line = re.compile(pattern, re.MULTILINE)
    return lambda head, _: word in head and line.search(head) is not None and is_text(head)


_RAS = (b"*RAS_DATA_START", b"*RAS_HEADER_START")
_UXD = rb"^[ \t]*_(FILEVERSION|DRIVE|STEPSIZE|STEPTIME|2THETACOUNTS|2THETACPS)\b"
# A text file of unknown make is tried last: any format with a signature of its own goes above it.
READERS = (
    Reader("xrdml", lambda head, _: b"<xrdMeasurement" in head.replace(b"\x00", b""), xrdml.read),  # UTF-16 too
    Reader("brml or rasx", lambda head, _: head.startswith(b"PK\x03\x04"), read_zip),
    Reader("ras", lambda head, _: head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_RAS), rigaku.read_ras),
    Reader("Bruker raw", lambda head, _: bruker_raw.recognises(head), bruker_raw.read),
    Reader("NeXus or HDF5", lambda head, _: head.startswith(hdf5.SIGNATURE), nexus.read),
    Reader("detector frame", frames.recognises, frames.read),
    *unsupported.READERS,
    Reader("Sietronics", lambda head, _: head.startswith(lab_text.CPI_SIGNATURE), lab_text.read_cpi),
    Reader("Philips udf", lambda head, _: head.startswith(lab_text.UDF_SIGNATURE) and is_text(head), lab_text.read_udf),
    Reader("Jade mdi", lambda head, _: lab_text.MDI_LINES.match(head) is not None and is_text(head), lab_text.read_mdi),
    Reader("Rigaku asc", _has_line(b"*", lab_text.ASC_LINE), lab_text.read_asc),
    Reader("powder CIF", lambda head, _: b"data_" in head and powder_cif.recognises(head), powder_cif.read),
    Reader("SPEC", _has_line(b"#S ", spec.LINE), spec.read),
    Reader("uxd", _has_line(b"_", _UXD), uxd.read),
    Reader("GSAS", _has_line(b"BANK ", rb"^BANK +\d+ +\d+ +\d+ +[A-Z]"), listed.read_gsas),
    Reader("stepped", lambda head, _: listed.recognises_stepped(head) and is_text(head), listed.read_stepped),
    Reader("text", lambda head, _: is_text(head), text.read),
)
_TAKES_COLUMNS = ("text", "SPEC")
_TAKES_INNER_PATH = ("NeXus or HDF5", "detector frame")


def added_readers() -> tuple[Reader, ...]:
    """Return the readers of other packages."""
    return plugins.load_readers(PLUGIN_GROUP, tuple)


def reader_of(path: str | Path) -> Reader | None:
    """Return the first reader that recognises a file, those of other packages first; None where none does."""
    file, inner = hdf5.split_inner_path(Path(path))
    head = read_head(file)
    for reader in (*added_readers(), *READERS):
        if reader.recognises(head, file):
            if inner and reader in READERS and reader.name not in _TAKES_INNER_PATH:
                raise UserError(f"{path}: only HDF5 files and detector frames take a name after '::'; leave it out")
            return reader
    return None


def read_scans(path: str | Path, allow_negative: bool = False, columns: ColumnNames = ()) -> tuple[Pattern, ...]:
    """Read every scan of a file with the first reader that recognises it; at least one.

    `columns` names, by heading or by place from 1, which columns of a text are position, intensity and uncertainty.
    `file.h5::/path/to/group`, `file.h5::/counts,/q` and `frame.cbf::geometry.poni` name what to take from the file.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    if (reader := reader_of(path)) is None:
        formats = ", ".join(reader.name for reader in READERS if reader.name != unsupported.NAME)
        raise UserError(f"{path}: not a pattern in a format known here ({formats}); export it as two-column text")
    if columns and reader.name not in _TAKES_COLUMNS:
        fault = f"columns under [[session]] names those of text files, and this is {reader.name}"
        raise UserError(f"{path}: {fault}; remove it")
    options = (columns,) if columns else ()
    with np.errstate(all="ignore"):  # what damaged numbers overflow to is refused by name, not warned about
        read = list(itertools.islice(reader.read(path, allow_negative, *options), MAX_SCANS + 1))
    scans = _leave_out_unfinished(read, path)
    if not scans:
        raise UserError(f"{path}: holds no scan; it was not measured, not saved or cut: export it again")
    if len(scans) > MAX_SCANS:
        raise UserError(f"{path}: holds over {MAX_SCANS} scans; keep such a series as an HDF5 stack")
    return scans


def _leave_out_unfinished(read: Sequence[Scan], path: Path) -> tuple[Pattern, ...]:
    """Whole scans, the last with notes on what is not; what there is of an unfinished one if it is all."""
    scans = [scan for scan in read if isinstance(scan, Pattern)]
    unfinished = [scan for scan in read if not isinstance(scan, Pattern)]
    if not unfinished:
        return tuple(scans)
    if scans:
        notes = [f"{scan.reason} and was left out: the file {CUT}" for scan in unfinished[:3]]
        scans[-1] = dataclasses.replace(scans[-1], notes=(*scans[-1].notes, *notes))
        return tuple(scans)
    partial = unfinished[0].partial
    if partial is None:
        remedy = "wait until it is measured, or export what was measured as two-column text"
        raise UserError(f"{path}: {unfinished[0].reason}; {remedy}")
    return (partial,)


def read_pattern(path: str | Path, allow_negative: bool = False) -> Pattern:
    """Read the one scan of a file; several are an error."""
    scans = read_scans(path, allow_negative)
    if len(scans) > 1:
        raise UserError(f"{path}: holds {len(scans)} scans where one is expected; keep one scan per file")
    return scans[0]
