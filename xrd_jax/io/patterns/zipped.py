"""Zip archives of XML: which of the formats that come so a file is."""

from __future__ import annotations

from pathlib import Path

from xrd_jax.io.parsing import archives
from xrd_jax.io.patterns import bruker, rigaku, unsupported
from xrd_jax.io.patterns.pattern import Pattern


def recognises(head: bytes) -> bool:
    """Return whether the file begins as a zip archive."""
    return head.startswith(b"PK\x03\x04")


def read(path: Path, allow_negative: bool = False) -> tuple[Pattern, ...]:
    """Read a .brml or .rasx archive, told apart by its members."""
    with archives.open_zip(path) as archive:
        names = archive.namelist()
    if rigaku.recognises_rasx(names):
        return rigaku.read_rasx(path, allow_negative)
    if bruker.recognises(names):
        return bruker.read(path, allow_negative)
    unsupported.refuse_zip(path, names)
