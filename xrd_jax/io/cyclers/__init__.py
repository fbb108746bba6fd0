"""Cycler logs: one short tuple of readers, tried in order, by content and then by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xrd_jax.errors import UserError
from xrd_jax.io import section, source
from xrd_jax.io.cyclers import biologic
from xrd_jax.io.cyclers.log import CyclerLog


class Reader(NamedTuple):
    """`recognises(head, path)` sees the first bytes and the name; `read(path)` does the work."""

    name: str
    recognises: Callable[[bytes, Path], bool]
    read: Callable[[Path], CyclerLog]


READERS = (Reader("biologic-mpt", lambda head, _: biologic.is_mpt(head), biologic.read),)


def read_cycler(path: str | Path, format: str | None = None) -> CyclerLog:
    """Reads one cycler log, with the reader called `format` or else the first that recognises it.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    names = [reader.name for reader in READERS]
    if format is not None and format not in names:
        raise UserError(f"{path}: cycler format '{format}' is not known{section.suggest(format, names)}")
    head = source.head(path)
    for reader in READERS:
        if reader.name == format or (format is None and reader.recognises(head, path)):
            return reader.read(path)
    raise UserError(f"{path}: not a cycler log in a format known here ({', '.join(names)}); export it in one of them")
