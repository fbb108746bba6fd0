"""Intensities listed without positions: FullProf's `start step end`, and GSAS raw data (BANK … CONST).

GSAS counts 2θ in hundredths of a degree. Its STD records hold ten fields of eight columns, the first two of which are
the number of counters; ESD records hold five pairs of an intensity and its uncertainty, eight columns each.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.patterns import pattern

_BANK = re.compile(
    r"^BANK +(\d{1,9}) +(\d{1,9}) +(\d+) +(\w+) +([\d.eE+-]+) +([\d.eE+-]+)([ \d.eE+-]*)(STD|ESD|FXYE|FXY|ALT|)\s*$",
    re.M,
)
_NUMBERS = re.compile(r"[\d.eE+-]+")


def recognises_gsas(head: bytes) -> bool:
    """True where a line opens with BANK, a bank and a count."""
    return b"BANK " in head and re.search(rb"^BANK +\d+ +\d+ +\d+ +[A-Z]", head, re.M) is not None


def recognises_stepped(head: bytes) -> bool:
    """True where the first line of numbers is a start, a step and an end, and the next has not three numbers."""
    lines = head.decode("latin-1").split("\n", 40)[:40]
    lines = [line for line in lines if line.strip() and line.lstrip()[0] not in "#!'"][:7]
    for line, following in itertools.pairwise(lines):
        words = line.split()
        if len(words) >= 3 and all(map(_NUMBERS.fullmatch, words[:3])):
            others, titled = following.split(), len(words) == 3 or not _NUMBERS.fullmatch(words[3])
            return titled and _count(words) is not None and len(others) != 3 and all(map(_NUMBERS.fullmatch, others))
    return False


def _count(words: list[str]) -> int | None:
    """How many points start, step and end make, if they make a whole number of them and enough for a pattern."""
    try:
        start, step, end = map(float, words[:3])
        count = (end - start) / step + 1
    except (ValueError, ZeroDivisionError):
        return None
    return round(count) if 19.5 < count < 1e7 and abs(count - round(count)) < 0.02 and step > 0 else None


def read_stepped(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads intensities in any number of columns after a line `start step end`.

    Raises:
      UserError: there are not as many intensities as the three numbers announce.
    """
    text = parsing_text.decode(pattern.whole_file(path, pattern.LARGEST // 2))
    lines = text.split("\n", 50)
    split = [line.split() for line in lines[:50]]
    opening = (n for n, w in enumerate(split) if len(w) > 2 and all(map(_NUMBERS.fullmatch, w[:3])) and _count(w))
    i = next(opening, -1)
    if i < 0:
        raise UserError(f"{path}: no line with start, step and end; export two-column text")
    count = _count(split[i])
    values = pattern.numbers("\n".join(lines[i + 1 :]), str(path))
    if values.size != count:
        raise UserError(
            f"{path}: row {i + 1} announces {count} intensities (start, step, end) but there are {values.size}; the "
            "file is cut or of another format: export two-column text"
        )
    start, step = float(split[i][0]), float(split[i][1])
    header = {"header": "\n".join(line.strip() for line in lines[: i + 1])}
    axis, notes = start + step * np.arange(count), pattern.doubt_of_end(text)
    return (pattern.finish(str(path), axis, values, allow_negative, notes=notes, metadata=header),)


def read_gsas(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every bank of constant step, and FXYE or FXY banks, as 2θ in degrees.

    Raises:
      UserError: a bank of time of flight, in a form not known here, or with another number of points than announced.
    """
    text = parsing_text.decode(pattern.whole_file(path, pattern.LARGEST // 2))
    return pattern.collect(_banks(text, path, allow_negative), path)


def _banks(text: str, path: Path, allow_negative: bool) -> Iterator[pattern.Pattern]:
    banks = list(_BANK.finditer(text))
    title = text[: text.find("\n")].strip()[:200]
    if not banks:
        raise UserError(f"{path}: a GSAS BANK line that is not understood; export the pattern as two-column text")
    for bank, after in zip(banks, [b.start() for b in banks[1:]] + [len(text)], strict=True):
        place = f"{path}: bank {bank[1]}"
        if not bank[4].startswith("CONS"):
            raise UserError(f"{place}: binning {bank[4][:20]} is not of constant 2θ step; export it as two-column text")
        count, form = int(bank[2]), bank[8] or "STD"
        axis, values, errors = _bank(text[bank.end() : after], bank, form, place)
        if values.size != count:
            raise UserError(f"{place}: announces {count} points but has {values.size}; the file is cut: copy it again")
        metadata, notes = {"header": title, "form": form}, pattern.doubt_of_end(text)
        yield pattern.finish(place, axis, values, allow_negative, errors, notes, kind="two_theta", metadata=metadata)


def _bank(body: str, bank: re.Match[str], form: str, place: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Positions, intensities and uncertainties of one bank."""
    if form in ("FXYE", "FXY"):
        width = len(form) - 1
        table = pattern.numbers(body, place)
        if table.size % width:
            raise UserError(f"{place}: its rows do not hold {width} numbers each; the file is cut: copy it again")
        columns = table.reshape(-1, width).T
        return columns[0] / 100, columns[1], columns[2] if width == 3 else None
    if form == "ALT":
        raise UserError(f"{place}: records of form ALT are not read; export it as two-column text")
    scale = pattern.numbers(f"{bank[5]} {bank[6]}", place)
    if scale.size != 2 or not np.isfinite(scale).all():
        raise UserError(f"{place}: start {bank[5][:20]} and step {bank[6][:20]} are no numbers; export it again")
    start, step = (scale / 100).tolist()
    lines = [line.rstrip() for line in body.strip("\n").split("\n")]
    fields = [line[i : i + 8] for line in lines for i in range(0, len(line), 8)]
    taken = [field[2:] if form == "STD" else field for field in fields]
    values = pattern.numbers(" ".join(taken), place)
    count = int(bank[2])
    if form == "ESD":
        intensity, errors = values[: 2 * count : 2], values[1 : 2 * count : 2]
        return start + step * np.arange(intensity.size), intensity, errors
    values = values[:count]
    return start + step * np.arange(values.size), values, None
