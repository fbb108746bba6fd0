"""Bytes, JSON, npz and csv written whole or not at all, and output folders claimed."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError, printable

_SURROGATES = "".join(map(chr, range(0xDC80, 0xDD00)))  # bytes of names that are no text in this system's encoding
# What zipfile and NumPy raise for damage.
DAMAGED_NPZ = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, KeyError, ValueError, RuntimeError,
               OverflowError, MemoryError)  # fmt: skip


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that no reader ever sees half of it.

    Raises:
      UserError: the disk is full or the directory not writable.
    """
    write_parts(path, [content])


def write_parts(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file as `write_bytes` does, from parts that need never be in memory together."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())  # or a power cut would leave the name with nothing behind it
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another --workdir"
        ) from None


def write_json(path: Path, values: Any) -> None:
    """Write JSON with infinities and NaN as null, readable by every parser."""
    write_bytes(path, (json.dumps(finite_or_null(values), indent=1, ensure_ascii=False) + "\n").encode())


def write_npz(path: Path, **arrays: Any) -> None:
    """Write compressed arrays, without pickle."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file whose checksums are right, without pickle.

    Raises:
      FileNotFoundError: there is none.
      UserError: it is damaged.
    """
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if (member := archive.testzip()) is not None:  # NumPy reads an array without looking at its checksum
                raise zipfile.BadZipFile(f"{member} has another checksum")
            end = content.rfind(b"PK\x05\x06")  # the end of the directory, which says how many members there are
            if int.from_bytes(content[end + 10 : end + 12], "little") != len(archive.namelist()):
                raise zipfile.BadZipFile("its directory is cut")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DAMAGED_NPZ as error:
        raise UserError(f"{path}: is damaged ({error}); run the training again, which writes it anew") from None


def is_whole(path: Path) -> bool:
    """Return whether an npz file is there and undamaged."""
    try:
        read_npz(path)
    except (OSError, UserError):
        return False
    return True


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows, the header first; an iterator streams, so that the rows are never in memory together."""
    write_parts(path, (csv_bytes([row]) for row in rows))


def csv_cell(cell: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text that would be one begins with an apostrophe."""
    if not isinstance(cell, str):
        return cell
    if not cell.isprintable():
        cell = printable(cell, kept=_SURROGATES)
    if cell.startswith(("=", "+", "-", "@")):
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell


def csv_bytes(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as csv; names that are no text in this system's encoding keep their bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def finite_or_null(values: Any) -> Any:
    """Return nested values as plain Python ones, None for every number that is not finite."""
    if isinstance(values, Mapping):
        return {key: finite_or_null(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [finite_or_null(value) for value in values]
    if isinstance(values, (float, np.floating)):
        return float(values) if np.isfinite(values) else None
    return int(values) if isinstance(values, np.integer) else values


def claim_directory(folder: Path, file: str, overwrite: bool, flag: str) -> Path:
    """Return a folder to write `file` to, made if need be, if nothing there would be lost.

    Args:
      flag: that the user chose the folder with, for complaints.

    Raises:
      UserError: it is a file, cannot be written, or holds `file` already.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; choose another {flag}")
    if (folder / file).exists() and not overwrite:
        raise UserError(f"{folder / file}: is there already; choose another {flag} or add --overwrite")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable.partial"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another {flag}") from None
    return folder
