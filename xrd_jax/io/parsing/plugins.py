"""Readers of other packages: entry points, each giving a `Reader`.

[project.entry-points."xrd_jax.readers"]  # or "xrd_jax.cyclers"
my-format = "my_package:READER"
"""

import functools
import importlib
import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import refusing

_LOG = logging.getLogger(__name__)


class Reader(NamedTuple):
    """`recognises(head, path)` sees the first bytes and the name; `read` does the work.

    A reader of patterns is called as `read(path, allow_negative)` and gives every scan; one of logs as `read(path)`.
    """

    name: str
    recognises: Callable[[bytes, Path], bool]
    read: Callable[..., Any]


def refusing_reader(name: str, signatures: tuple[bytes, ...], complaint: str) -> Reader:
    """Return a reader of files that begin with one of `signatures`, which only says what they are."""

    def refuse(path: Path, allow_negative: bool = False) -> NoReturn:
        raise UserError(f"{path}: {complaint}")

    return Reader(name, lambda head, _: head.startswith(signatures), refuse)


def import_extra(module: str, complaint: str) -> Any:
    """Import a library that only an extra installs; without it, the complaint says which."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(complaint) from None


@functools.cache
def load_readers(group: str, convert: Callable[[Any], Any]) -> tuple[Reader, ...]:
    """Load what installed packages add to a group of entry points.

    One that cannot be loaded is reported once and left out. `convert` makes the result of `read` what the caller
    expects, or raises `TypeError`.
    """
    readers = []
    for point in importlib.metadata.entry_points(group=group):
        try:
            reader = point.load()
            if not (isinstance(reader.name, str) and callable(reader.recognises) and callable(reader.read)):
                raise TypeError("its name, recognises and read are not those of a Reader")
        except Exception as error:  # a stranger's import may raise anything and must not stop the others
            _LOG.warning("reader '%s' of %s is left out: %s", point.name, point.value, error)
            continue
        recognises = functools.partial(_recognises, reader)
        readers.append(Reader(reader.name, recognises, functools.partial(_read, reader, convert)))
    return tuple(readers)


def _recognises(reader: Reader, head: bytes, path: Path) -> bool:
    try:
        return bool(reader.recognises(head, path))
    except Exception as error:
        _LOG.warning("reader '%s' failed to look at %s: %s", reader.name, path, error)
        return False


def _read(reader: Reader, convert: Callable[[Any], Any], path: Path, *options: Any) -> Any:
    with refusing(f"{path}: the added reader '{reader.name}' failed", "report it to its authors"):
        return convert(reader.read(path, *options))
