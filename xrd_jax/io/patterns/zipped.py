"""Zip archives of XML: which of the formats that come so this one is."""

from __future__ import annotations

from pathlib import Path

from xrd_jax.io.parsing import archives
from xrd_jax.io.patterns import bruker, pattern, rigaku, unsupported


def recognises(head: bytes) -> bool:
    """True for the signature of a zip archive."""
    return head.startswith(b"PK\x03\x04")


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads a .brml or .rasx archive, told apart by its members.

    Raises:
      UserError: a damaged or harmful archive, or one of another kind; the text says what it is.
    """
    with archives.open_zip(path) as opened:
        names = opened.namelist()
    if rigaku.recognises_rasx(names):
        return rigaku.read_rasx(path, allow_negative)
    if bruker.recognises(names):
        return bruker.read(path, allow_negative)
    return unsupported.refuse_zip(path, names)
