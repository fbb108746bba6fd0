"""Pattern files: one short tuple of readers, tried in order, by content and then by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import hdf5, plugins
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.parsing.plugins import Reader
from xrd_jax.io.patterns import bruker_raw, frames, listed, nexus, rigaku, text, unsupported, uxd, xrdml, zipped
from xrd_jax.io.patterns.pattern import Pattern

# A text file of unknown make is tried last: any format with a signature of its own goes above it.
READERS = (
    Reader("xrdml", lambda head, _: xrdml.recognises(head), xrdml.read),
    Reader("brml or rasx", lambda head, _: zipped.recognises(head), zipped.read),
    Reader("ras", lambda head, _: rigaku.recognises_ras(head), rigaku.read_ras),
    Reader("Bruker raw", lambda head, _: bruker_raw.recognises(head), bruker_raw.read),
    Reader("NeXus or HDF5", lambda head, _: nexus.recognises(head), nexus.read),
    Reader("detector frame", frames.recognises, frames.read),
    Reader("foreign", lambda head, _: unsupported.recognises(head), unsupported.refuse),
    Reader("uxd", lambda head, _: uxd.recognises(head) and parsing_text.is_text(head), uxd.read),
    Reader("GSAS", lambda head, _: listed.recognises_gsas(head) and parsing_text.is_text(head), listed.read_gsas),
    Reader(
        "stepped", lambda head, _: listed.recognises_stepped(head) and parsing_text.is_text(head), listed.read_stepped
    ),
    Reader("text", lambda head, _: parsing_text.is_text(head), text.read),
)
_TAKES_MORE = ("NeXus or HDF5", "detector frame")


def reader_of(path: str | Path) -> Reader | None:
    """The first reader that recognises a file, those of other packages before the own ones; None where none does.

    Raises:
      UserError: the file is missing, empty or may not be read.
    """
    file, inner = hdf5.split(Path(path))
    head = parsing_text.head(file)
    for reader in (*plugins.installed(), *READERS):
        if reader.recognises(head, file):
            if inner and reader in READERS and reader.name not in _TAKES_MORE:
                raise UserError(f"{path}: only HDF5 files and detector frames take a name after '::'; leave it out")
            return reader
    return None


def read_scans(path: str | Path, allow_negative: bool = False) -> tuple[Pattern, ...]:
    """Reads every scan of a file with the first reader that recognises it; at least one.

    `file.h5::/path/to/group`, `file.h5::/counts,/q` and `frame.cbf::geometry.poni` name what to take from the file.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    if (reader := reader_of(path)) is not None:
        with np.errstate(all="ignore"):  # what damaged numbers overflow to is refused by name, not warned about
            return reader.read(path, allow_negative)
    known = ", ".join(reader.name for reader in READERS if reader.name != "foreign")
    raise UserError(f"{path}: not a pattern in a format known here ({known}); export it as two-column text")


def read_pattern(path: str | Path, allow_negative: bool = False) -> Pattern:
    """Reads the one scan of a file.

    Raises:
      UserError: as `read_scans`, and where the file holds several scans.
    """
    scans = read_scans(path, allow_negative)
    if len(scans) > 1:
        raise UserError(f"{path}: holds {len(scans)} scans where one is expected; keep one scan per file")
    return scans[0]
