"""Pattern files: one short tuple of readers, tried in order, by content and then by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xrd_jax.errors import UserError
from xrd_jax.io import source
from xrd_jax.io.patterns import text
from xrd_jax.io.patterns.pattern import Pattern


class Reader(NamedTuple):
    """`recognises(head, path)` sees the first bytes and the name; `read(path, allow_negative)` gives every scan."""

    name: str
    recognises: Callable[[bytes, Path], bool]
    read: Callable[[Path, bool], tuple[Pattern, ...]]


# A text file of unknown make is tried last: any format with a signature of its own goes above it.
READERS = (Reader("text", lambda head, _: source.is_text(head), text.read),)


def read_scans(path: str | Path, allow_negative: bool = False) -> tuple[Pattern, ...]:
    """Reads every scan of a file with the first reader that recognises it; at least one.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    head = source.head(path)
    for reader in READERS:
        if reader.recognises(head, path):
            return reader.read(path, allow_negative)
    known = ", ".join(reader.name for reader in READERS)
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
