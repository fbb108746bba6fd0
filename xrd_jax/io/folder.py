"""Reads many pattern files."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.patterns.pattern import Pattern

Result = tuple[Pattern, ...] | UserError


@dataclasses.dataclass(frozen=True)
class Reading:
    """How many files are read.

    Attributes:
      cache: keep what text files held, and take it from there the next time.
      progress: draw a bar.
    """

    cache: bool = False
    progress: bool = False

    def read_all(self, files: Sequence[Path], allow_negative: bool = False) -> list[Result]:
        """The scans of each file, or the error that it gives."""
        return [read_one(file, allow_negative) for file in files]


def read_one(file: Path, allow_negative: bool) -> Result:
    try:
        return patterns.read_scans(file, allow_negative)
    except UserError as error:
        return error
