"""Damaged, mislabelled and hostile files, made from small good ones: what `reader_fuzzing` tries."""

from __future__ import annotations

import io
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.benchmarks import synthetic_files

_MAX_FILE_BYTES = 2**20
_SUFFIXES = (".xy", ".raw", ".brml", ".h5", ".xrdml", ".ras", ".cbf", ".txt", ".csv", "", ".tif")
_EXTREMES = (0, 1, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 40)
_NUMBERS = (b"-1", b"0", b"1e999", b"nan", b"99999999999999999999", b"1,5", b"0x10", b"1_0", b"-")
_DOCTYPE = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM '
    b'"file:///etc/passwd">]>'
)
_INSERTS = (
    b"\n\n", b"#", b"\x00", b"\xff\xfe", b"1 2 3 4\n", _DOCTYPE, b"<a>" * 5000, b"\xe9", b"1 " * 20_000, b"\n" * 30_000,
)  # fmt: skip

Files = list[tuple[str, bytes]]


def seed_files(folder: str = "") -> Files:
    """Return (name, content) of small files of every format, and of the files of a folder."""
    scans = [(10.0, 0.02, np.arange(40) % 7 * 13.0), (12.0, 0.04, np.arange(30) % 5 * 11.0)]
    files = [(f"a{suffix}", write(scans[: 1 + many])) for suffix, write, many in synthetic_files.FORMATS.values()]
    files += [("b.csv", b"theta;intensity;sigma\n5,00;10,5;1\n5,02;11;1,5\n5,04;12;2\n")]
    files += [("b.chi", b"a\n2-Theta Angle (Degrees)\nIntensity\n 4\n 1.0 2\n 1.1 3\n 1.2 4\n 1.3 4\n")]
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file()) if folder else []
    return files + [(path.name, path.read_bytes()) for path in paths if path.stat().st_size <= _MAX_FILE_BYTES]


def _flip_bits(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 3, 20))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def _remove_piece(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 7, 100, 3000))]


def _repeat_piece(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    piece = data[start : start + draw.choice((1, 20, 500))]
    data[start:start] = piece * draw.choice((1, 3, 1000))


def _write_extreme(data: bytearray, draw: random.Random) -> None:
    value = draw.choice(_EXTREMES).to_bytes(8, "little")[: draw.choice((2, 4, 8))]
    start = draw.randrange(max(1, len(data) - 8)) if draw.random() < 0.5 else draw.randrange(min(len(data), 900))
    data[start : start + len(value)] = value


def _replace_number(data: bytearray, draw: random.Random) -> None:
    matches = list(re.finditer(rb"\d+", data[:200_000]))
    if matches:
        match = draw.choice(matches)
        data[match.start() : match.end()] = draw.choice(_NUMBERS)


def _insert(data: bytearray, draw: random.Random) -> None:
    position = draw.choice((0, draw.randrange(len(data)), max(data.find(b"?>") + 2, 0)))
    data[position:position] = draw.choice(_INSERTS)


def _splice(data: bytearray, draw: random.Random, files: Files) -> None:
    other = draw.choice(files)[1]
    position, start = draw.randrange(len(data)), draw.randrange(len(other))
    data[position:] = other[start : start + 20_000]


def _mutate_archive(data: bytearray, draw: random.Random) -> None:
    """Damage members of an archive before they are packed again, or pack something hostile with them."""
    try:
        with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, EOFError, RuntimeError, zlib.error):
        return
    name = draw.choice(list(members) or ["x"])
    member = bytearray(members.pop(name, b"x") or b"x")
    draw.choice((_flip_bits, _cut, _remove_piece, _repeat_piece, _replace_number, _insert))(member, draw)
    names = (name, name, "../" + name, "/etc/passwd", "C:\\x", name.replace("0", "999999"), "Data0/Profile0.txt")
    is_bomb = draw.random() < 0.05
    members[draw.choice(names)] = bytes(member) + (b"0" * draw.choice((50, 300)) * 2**20 if is_bomb else b"")
    data[:] = synthetic_files.archive(members)


_MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    _flip_bits, _cut, _remove_piece, _repeat_piece, _write_extreme, _replace_number, _insert
]  # fmt: skip


def mutate(number: int, files: Files) -> tuple[str, bytes]:
    """Return name and content of one damaged file, the same for the same number."""
    draw = random.Random(number)
    name, content = draw.choice(files)
    data = bytearray(content)
    mutations = _MUTATIONS + [_mutate_archive] * 4 if content.startswith(b"PK") else _MUTATIONS
    for _ in range(draw.choice((1, 1, 2, 3))):
        if not data:
            break
        if draw.random() < 0.1:
            _splice(data, draw, files)
        else:
            draw.choice(mutations)(data, draw)
    stem, dot, suffix = name.rpartition(".")
    return (stem + draw.choice(_SUFFIXES) if draw.random() < 0.2 else stem + dot + suffix), bytes(data)
