"""Older text formats of laboratory instruments: a header with start and step, then intensities alone.

Sietronics .cpi, Philips .udf, Jade .mdi and Rigaku .asc; wavelengths in Å and positions 2θ in degrees by their makers'
definition.
"""

import datetime
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.parsing.text import MAX_BYTES, decode_text, read_whole
from xrd_jax.io.parsing.timestamps import read_header_date
from xrd_jax.io.patterns.pattern import (
    Pattern,
    Scan,
    UnfinishedScan,
    line_wavelength,
    make_pattern,
    note_count,
    note_open_end,
    parse_numbers,
    parse_positive,
    strip_texts,
)

CPI_SIGNATURE = b"SIETRONICS XRD SCAN"
UDF_SIGNATURE = b"SampleIdent,"
MDI_LINES = re.compile(rb"\A[^\n]*\n\s*[\d.]+\s+[\d.]+\s+[\d.]+\s+[A-Za-z]{1,2}\s+[\d.]+\s+[\d.]+\s+\d{1,9}\s*\r?\n")
ASC_LINE = rb"^\*(TYPE|CLASS|SCAN_AXIS)[ \t]*="
_CPI_KEYS = ("start", "stop", "step", "Anode", "wavelength", "date", "seconds per step")
_UDF_PAIR = re.compile(r"^([A-Za-z]\w*)\s*,\s*(.*?)\s*,?\s*/?\s*$", re.MULTILINE)
_ASC_PAIR = re.compile(r"^\*(\w+)[ \t]*=[ \t]*(.*)$", re.MULTILINE)
_ASC_SCAN = re.compile(r"^\*COUNT[ \t]*=.*\n((?:(?!\*).*\n?)*)", re.MULTILINE)
_TWO_THETA = re.compile(r"(?i)2[ -]?theta|two ?theta")
_MAX_POINTS = 10_000_000


def _read_text(path: Path) -> str:
    return decode_text(read_whole(path, MAX_BYTES // 2))


def _make_scan(
    source: str, values: np.ndarray, grid: tuple[float | None, ...], allow_negative: bool, facts: Mapping[str, Any]
) -> Pattern:
    """The pattern of evenly spaced intensities.

    Args:
      grid: first position, step, and the last position or None.
      facts: fields of `Pattern`.
    """
    start, step, stop = grid
    if start is None or not step or not np.isfinite([start, step]).all():
        raise UserError(f"{source}: states no start and step, so its positions are not known; export two-column text")
    announced = None
    if stop is not None and 0 <= (stop - start) / step < _MAX_POINTS:
        announced = round((stop - start) / step) + 1
    notes = (*facts.get("notes", ()), *note_count(announced, values.size, "points"))
    axis = start + step * np.arange(values.size)
    return make_pattern(source, axis, values, allow_negative, **{"kind": "two_theta", **facts, "notes": notes})


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _date(text: str) -> datetime.datetime | None:
    """Date and time of day; a day alone does not say when a scan began."""
    return (parse_datetime(text) or read_header_date(text.strip())) if ":" in text else None


def read_cpi(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read a Sietronics scan: a value per line, the header's lines by their place."""
    text = _read_text(path)
    header, _, body = text.partition("SCANDATA\n")
    lines = [line.strip() for line in header.split("\n")[1:]]
    facts = dict(zip(_CPI_KEYS, lines, strict=False))
    metadata = strip_texts(facts | {"comment": " ".join(lines[len(_CPI_KEYS) :])})
    values = parse_numbers(body, str(path))
    grid = tuple(_number(facts.get(key)) for key in ("start", "step", "stop"))
    yield _make_scan(str(path), values, grid, allow_negative, {
        "wavelength": parse_positive(facts.get("wavelength")), "metadata": metadata, "notes": note_open_end(text),
    })  # fmt: skip


def read_udf(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read a Philips scan: `Key, value, /` lines, then intensities parted by commas, which a slash ends."""
    text = _read_text(path)
    header, mark, body = text.partition("RawScan")
    if not mark:
        yield UnfinishedScan("has no RawScan, which opens the intensities")
        return
    pairs = dict(_UDF_PAIR.findall(header))
    limits = [_number(part) for part in pairs.get("DataAngleRange", "").split(",")]
    body, end, _ = body.partition("/")
    lines = (pairs.get(key) for key in ("LabdaAlpha1", "LabdaAlpha2", "RatioAlpha21"))
    wavelength, notes = line_wavelength("Ka", *lines)
    grid = limits[0], _number(pairs.get("ScanStepSize")), limits[1] if len(limits) > 1 else None
    yield _make_scan(str(path), parse_numbers(body.replace(",", " "), str(path)), grid, allow_negative, {
        "wavelength": wavelength if wavelength is not None else parse_positive(pairs.get("LabdaAlpha1")),
        "metadata": strip_texts(pairs), "notes": (*notes, *(() if end else note_open_end(body))),
    })  # fmt: skip


def read_mdi(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read a Jade scan: date and title; start, step, seconds, anode, wavelength, stop, count; intensities."""
    text = _read_text(path)
    title, _, rest = text.partition("\n")
    grid, _, body = rest.partition("\n")
    if not MDI_LINES.match(f"{title}\n{grid}\n".encode()):
        raise UserError(f"{path}: its second line ({grid[:40]!r}) is no start, step and count; export it again")
    start, step, seconds, anode, wavelength, _, count = grid.split()
    values = parse_numbers(body, str(path))
    date, _, sample = title.partition(" DIF ")
    names = {"header": title, "sample": sample, "Anode": anode.title(), "seconds per step": seconds}
    yield _make_scan(str(path), values, (_number(start), _number(step), None), allow_negative, {
        "wavelength": parse_positive(wavelength), "start_time": _date(date),
        "metadata": strip_texts(names),
        "notes": (*note_count(int(count), values.size, "points"), *note_open_end(text)),
    })  # fmt: skip


def read_asc(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read the scans of an older Rigaku text: `*KEY = value` lines, then intensities parted by commas."""
    text, position = _read_text(path), 0
    keys: dict[str, str] = {}
    for number, block in enumerate(_ASC_SCAN.finditer(text), 1):
        keys |= {key: value.strip() for key, value in _ASC_PAIR.findall(text, position, block.start(1))}
        position = block.end()
        values = parse_numbers(block[1].replace(",", " "), f"{path}: scan {number}")
        if not values.size:
            yield UnfinishedScan(f"scan {number} has no intensities")
            continue
        wavelength, notes = line_wavelength("Ka", keys.get("WAVE_LENGTH1"), keys.get("WAVE_LENGTH2"), None)
        count = re.fullmatch(r"\d{1,9}", keys.get("COUNT", ""))
        notes = (*notes, *note_count(int(count[0]) if count else None, values.size, "points"))
        is_two_theta = _TWO_THETA.search(keys.get("SCAN_AXIS", "2theta")) and keys.get("XUNIT", "deg") == "deg"
        grid = _number(keys.get("START")), _number(keys.get("STEP")), None
        yield _make_scan(f"{path}: scan {number}", values, grid, allow_negative, {
            "kind": "two_theta" if is_two_theta else None, "start_time": _date(keys.get("DATE", "")),
            "wavelength": wavelength if wavelength is not None else parse_positive(keys.get("WAVE_LENGTH1")),
            "metadata": strip_texts(keys | {"Anode": keys.get("TARGET", "").rpartition("/")[2]}),
            "notes": notes if text.rstrip().endswith(("*EOF", "*END")) else (*notes, *note_open_end(text)),
        })  # fmt: skip
