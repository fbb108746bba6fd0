"""Pattern files for tests, and the refusals of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from xrd_jax.errors import UserError
from xrd_jax.io import patterns


def write_file(folder: Path, content: bytes | str, name: str) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path | str) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(UserError) as error:
        patterns.read_scans(path)
    line = str(error.value)
    assert "\n" not in line and Path(str(path).rpartition("::")[2]).name in line
    return line
