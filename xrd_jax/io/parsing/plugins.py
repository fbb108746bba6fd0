"""Readers of other packages: entry points of the group `xrd_jax.readers`, each giving a `Reader`.

[project.entry-points."xrd_jax.readers"]
my-format = "my_package:READER"
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from xrd_jax.errors import UserError
from xrd_jax.io.patterns.pattern import Pattern

GROUP = "xrd_jax.readers"
_LOG = logging.getLogger(__name__)


class Reader(NamedTuple):
    """`recognises(head, path)` sees the first bytes and the name; `read(path, allow_negative)` gives every scan."""

    name: str
    recognises: Callable[[bytes, Path], bool]
    read: Callable[[Path, bool], tuple[Pattern, ...]]


@functools.cache
def installed() -> tuple[Reader, ...]:
    """The readers that installed packages add; one that cannot be loaded is reported once and left out."""
    found = []
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            reader = point.load()
            if not (isinstance(reader.name, str) and callable(reader.recognises) and callable(reader.read)):
                raise TypeError("its name, recognises and read are not those of a Reader")
        except Exception as error:  # a stranger's import may raise anything and must not stop the others
            _LOG.warning("reader '%s' of %s is left out: %s", point.name, point.value, error)
            continue
        found.append(Reader(reader.name, _guarded(reader), functools.partial(_read, reader)))
    return tuple(found)


def _guarded(reader: Reader) -> Callable[[bytes, Path], bool]:
    def recognises(head: bytes, path: Path) -> bool:
        try:
            return bool(reader.recognises(head, path))
        except Exception as error:
            _LOG.warning("reader '%s' failed to look at %s: %s", reader.name, path, error)
            return False

    return recognises


def _read(reader: Reader, path: Path, allow_negative: bool) -> tuple[Pattern, ...]:
    try:
        return tuple(reader.read(path, allow_negative))
    except UserError:
        raise
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UserError(f"{path}: the added reader '{reader.name}' failed ({text}); report it to its authors") from None
