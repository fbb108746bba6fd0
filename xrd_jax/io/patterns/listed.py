"""Intensities listed without positions: FullProf's `start step end`, and GSAS raw data (BANK … CONST).

GSAS counts 2θ in hundredths of a degree. Its STD records hold ten fields of eight columns, the first two of which are
the number of counters; ESD records hold five pairs of an intensity and its uncertainty, eight columns each.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.text import MAX_BYTES, decode_text, read_whole
from xrd_jax.io.patterns import heading
from xrd_jax.io.patterns.pattern import Pattern, make_pattern, note_count, note_open_end, parse_numbers

_BANK = re.compile(
    r"^BANK +(\d{1,9}) +(\d{1,9}) +(\d+) +(\w+) +([\d.eE+-]+) +([\d.eE+-]+)([ \d.eE+-]*)(STD|ESD|FXYE|FXY|ALT|)\s*$",
    re.M,
)
_NUMBER = re.compile(r"[\d.eE+-]+")
_HEADER_LINES = 50


def recognises_stepped(head: bytes) -> bool:
    """Return whether the first line of numbers is a start, a step and an end, and the next has not three numbers."""
    lines = head.decode("latin-1").split("\n", 40)[:40]
    lines = [line for line in lines if line.strip() and line.lstrip()[0] not in "#!'"][:7]
    for line, following in itertools.pairwise(lines):
        words, next_words = line.split(), following.split()
        if _are_numbers(words[:3]) and len(words) >= 3:
            has_title = len(words) == 3 or not _NUMBER.fullmatch(words[3])
            return has_title and _count_points(words) is not None and len(next_words) != 3 and _are_numbers(next_words)
    return False


def _are_numbers(words: list[str]) -> bool:
    return all(map(_NUMBER.fullmatch, words))


def _count_points(words: list[str]) -> int | None:
    """How many points start, step and end make, if they make a whole number of them and enough for a pattern."""
    try:
        start, step, end = map(float, words[:3])
        count = (end - start) / step + 1
    except (ValueError, ZeroDivisionError):
        return None
    return round(count) if 19.5 < count < 1e7 and abs(count - round(count)) < 0.02 and step > 0 else None


def read_stepped(path: Path, allow_negative: bool) -> Iterator[Pattern]:
    """Read intensities in any number of columns after a line `start step end`."""
    text = decode_text(read_whole(path, MAX_BYTES // 2))
    lines = text.split("\n", _HEADER_LINES)
    for number, line in enumerate(lines[:_HEADER_LINES], 1):
        words = line.split()
        if len(words) > 2 and _are_numbers(words[:3]) and (count := _count_points(words)):
            header, body = lines[:number], "\n".join(lines[number:])
            break
    else:
        raise UserError(f"{path}: no line with start, step and end; export two-column text")
    values = parse_numbers(body, str(path))
    if values.size != count:
        fault = f"announces {count} intensities (start, step, end) but there are {values.size}"
        remedy = "the file is cut or of another format: export two-column text"
        raise UserError(f"{path}: row {len(header)} {fault}; {remedy}")
    axis = float(words[0]) + float(words[1]) * np.arange(count)
    metadata = {"header": "\n".join(line.strip() for line in header)}
    yield make_pattern(str(path), axis, values, allow_negative, notes=note_open_end(text), metadata=metadata)


def read_gsas(path: Path, allow_negative: bool) -> Iterator[Pattern]:
    """Read every bank of constant step, and FXYE or FXY banks, as 2θ in degrees; no banks of time of flight."""
    text = decode_text(read_whole(path, MAX_BYTES // 2))
    banks = list(_BANK.finditer(text))
    if not banks:
        raise UserError(f"{path}: a GSAS BANK line that is not understood; export the pattern as two-column text")
    metadata = heading.parse_metadata(text[: banks[0].start()].split("\n"))
    wavelength, wavelength_notes = heading.find_wavelength(metadata)
    begin, finish, exposure = heading.find_times(metadata)
    for bank, end in zip(banks, [following.start() for following in banks[1:]] + [len(text)], strict=True):
        source = f"{path}: bank {bank[1]}"
        if not bank[4].startswith("CONS"):
            raise UserError(f"{source}: {bank[4][:20]} is no binning of constant 2θ step; export two-column text")
        count, form = int(bank[2]), bank[8] or "STD"
        axis, values, errors = _parse_bank(text[bank.end() : end], bank, form, source)
        notes = (*wavelength_notes, *note_count(count, values.size), *note_open_end(text))
        yield make_pattern(
            source, axis, values, allow_negative, errors, notes, kind="two_theta", wavelength=wavelength,
            start_time=begin, end_time=finish, exposure=exposure, metadata=metadata | {"form": form},
        )  # fmt: skip


def _parse_bank(
    body: str, bank: re.Match[str], form: str, source: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Positions, intensities and uncertainties of one bank."""
    if form in ("FXYE", "FXY"):
        width = len(form) - 1
        table = parse_numbers(body, source)
        if table.size % width and body.endswith("\n"):
            raise UserError(f"{source}: its rows do not hold {width} numbers each; the file is damaged: copy it again")
        columns = table[: table.size // width * width].reshape(-1, width).T  # without a last row that is half written
        return columns[0] / 100, columns[1], columns[2] if width == 3 else None
    if form == "ALT":
        raise UserError(f"{source}: records of form ALT are not read; export it as two-column text")
    scale = parse_numbers(f"{bank[5]} {bank[6]}", source)
    if scale.size != 2 or not np.isfinite(scale).all():
        raise UserError(f"{source}: start {bank[5][:20]} and step {bank[6][:20]} are no numbers; export it again")
    start, step = (scale / 100).tolist()
    lines = [line.rstrip() for line in body.strip("\n").split("\n")]
    fields = [line[i : i + 8] for line in lines for i in range(0, len(line), 8)]
    values = parse_numbers(" ".join(field[2:] if form == "STD" else field for field in fields), source)
    count = int(bank[2])
    if form == "ESD":
        intensity, errors = values[: 2 * count : 2], values[1 : 2 * count : 2]
    else:
        intensity, errors = values[:count], None
    return start + step * np.arange(intensity.size), intensity, errors
