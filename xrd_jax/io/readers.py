"""Which reader takes which file: two short tuples, tried in order, by content and then by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xrd_jax.errors import UserError
from xrd_jax.io import biologic, cycler, pattern, section, text

_HEAD = 4096


class PatternReader(NamedTuple):
    """`recognises(head, path)` sees the first bytes and the name; `read(data, path, allow_negative)` does the work."""

    name: str
    recognises: Callable[[bytes, Path], bool]
    read: Callable[[bytes, Path, bool], pattern.Pattern]


class CyclerReader(NamedTuple):
    """The same for logs of the cell: `read(data, path)`."""

    name: str
    recognises: Callable[[bytes, Path], bool]
    read: Callable[[bytes, Path], cycler.CyclerLog]


# A text file of unknown make is tried last: any format with a signature of its own goes above it.
PATTERN_READERS = (PatternReader("text", lambda head, _: text.is_text(head), text.read),)
CYCLER_READERS = (CyclerReader("biologic-mpt", lambda head, _: biologic.is_mpt(head), biologic.read),)


def read_pattern(path: str | Path, allow_negative: bool = False) -> pattern.Pattern:
    """Reads one pattern with the first reader that recognises it.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    data = _bytes(path)
    for reader in PATTERN_READERS:
        if reader.recognises(data[:_HEAD], path):
            return reader.read(data, path, allow_negative)
    raise UserError(
        f"{path}: not a pattern in a format known here ({_names(PATTERN_READERS)}); export it as two-column text"
    )


def read_cycler(path: str | Path, format: str | None = None) -> cycler.CyclerLog:
    """Reads one cycler log, with the reader called `format` or else the first that recognises it.

    Raises:
      UserError: the file is missing, empty, of no known format, or at fault; the text names row and remedy.
    """
    path = Path(path)
    names = [reader.name for reader in CYCLER_READERS]
    if format is not None and format not in names:
        raise UserError(f"{path}: cycler format '{format}' is not known{section.suggest(format, names)}")
    data = _bytes(path)
    for reader in CYCLER_READERS:
        if reader.name == format or (format is None and reader.recognises(data[:_HEAD], path)):
            return reader.read(data, path)
    raise UserError(
        f"{path}: not a cycler log in a format known here ({_names(CYCLER_READERS)}); export it in one of them"
    )


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the name and --data_root") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that you may read") from None
    if not data:
        raise UserError(f"{path}: the file is empty; copy or export it again")
    return data


def _names(readers: tuple[PatternReader, ...] | tuple[CyclerReader, ...]) -> str:
    return ", ".join(reader.name for reader in readers)
