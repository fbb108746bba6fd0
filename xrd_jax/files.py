"""Bytes, JSON, npz and csv written whole or not at all, and output folders claimed."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that no reader ever sees half of it.

    Raises:
      UserError: the disk is full or the directory not writable.
    """
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """`write_bytes` of contents that come in parts and need never be in memory together."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines(parts)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another --workdir"
        ) from None


def write_json(path: Path, values: Any) -> None:
    """JSON with infinities and NaN as null, readable by every parser."""
    write_bytes(path, (json.dumps(finite_or_null(values), indent=1, ensure_ascii=False) + "\n").encode())


def write_npz(path: Path, **arrays: Any) -> None:
    """Compressed arrays, without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def finite_or_null(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: finite_or_null(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite_or_null(value) for value in values]
    if isinstance(values, (float, np.floating)):
        return float(values) if np.isfinite(values) else None
    return int(values) if isinstance(values, np.integer) else values


def claim(home: Path, file: str, overwrite: bool, flag: str) -> Path:
    """A directory to write to, if nothing there would be lost.

    Raises:
      UserError: it is a file, cannot be written, or holds `file` or something else already.
    """
    if home.exists() and not home.is_dir():
        raise UserError(f"{home}: is a file; choose another {flag}")
    if (home / file).exists() and not overwrite:
        raise UserError(f"{home / file}: is there already; choose another {flag} or add --overwrite")
    try:
        home.mkdir(parents=True, exist_ok=True)
        probe = home / ".writable.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{home}: cannot be written ({error.strerror}); choose another {flag}") from None
    return home


def lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as csv; names that are no text in this system's encoding keep their bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
