"""Bruker / Siemens .uxd: text with `_KEY = value` lines and any number of ranges.

A range ends in a marker: `_COUNTS` or `_CPS` opens a list of intensities from `_START` in steps of `_STEPSIZE`;
`_2THETACOUNTS` or `_2THETACPS` opens rows of position and intensity, whatever drive moved.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.parsing.text import MAX_BYTES, decode_text, read_whole
from xrd_jax.io.patterns import pattern
from xrd_jax.io.patterns.pattern import Pattern, Scan, UnfinishedScan, line_wavelength, make_pattern, strip_texts
from xrd_jax.series.axis import ANGSTROM_PER_UNIT

_KEY = re.compile(r"^[ \t]*_([A-Z0-9_]+)[ \t]*=[ \t]*([^\n]*)$", re.MULTILINE | re.IGNORECASE)
_MARKER = re.compile(r"^[ \t]*_(2THETA)?(COUNTS|CPS)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_DRIVE = re.compile(r"^[ \t]*_DRIVE\b", re.MULTILINE | re.IGNORECASE)
_END_OF_NUMBERS = re.compile(r"^[ \t]*[_;]", re.MULTILINE)
_OTHER_MARKER = re.compile(r"^[ \t]*_(2THETA\w+|D-I|2THETA-I|COUNT\w+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_TWO_THETA_DRIVES = ("COUPLED", "2THETA", "LOCKED COUPLED", "TWOTHETA")


def read(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read every range: 2θ in degrees where the drive is 2θ or coupled, the mean of Kα1 and Kα2 in the stated ratio."""
    text = decode_text(read_whole(path, MAX_BYTES // 2))
    if not _MARKER.search(text):
        other = _OTHER_MARKER.search(text)
        what = "no _COUNTS, _CPS, _2THETACOUNTS or _2THETACPS"
        what = f"only {other[0].strip()}, which holds no scan" if other else what
        raise UserError(f"{path}: a .uxd file with {what}; export the scan again")
    file_keys: dict[str, str] = {}
    position, number = 0, 0
    while marker := _MARKER.search(text, position):
        number += 1
        if number == 1:
            drive = _DRIVE.search(text[: marker.start()])
            file_keys = _parse_keys(text, 0, drive.start() if drive else marker.start())
        keys = file_keys | _parse_keys(text, position, marker.start())
        end = _END_OF_NUMBERS.search(text, marker.end())
        position = end.start() if end else len(text)
        body = text[marker.end() : position]
        if body.strip():
            yield _read_range(body, keys, marker, f"{path}: range {number}", allow_negative)
        else:
            yield UnfinishedScan(f"range {number} has no intensities")


def _parse_keys(text: str, start: int, end: int) -> dict[str, str]:
    return {key.upper(): value.strip().strip("'\"") for key, value in _KEY.findall(text, start, end)}


def _read_range(body: str, keys: dict[str, str], marker: re.Match[str], source: str, allow_negative: bool) -> Pattern:
    values, notes = pattern.parse_numbers(body, source), pattern.note_open_end(body)
    if marker[1] is not None:
        if values.size % 2:
            raise UserError(f"{source}: its rows do not hold two numbers each; the file is cut: copy it again")
        axis, intensity = values[::2], values[1::2]
    else:
        try:
            start, step = float(keys["START"]), float(keys["STEPSIZE"])
        except (KeyError, ValueError):
            start = step = 0.0
        if not step:
            raise UserError(f"{source}: has no _START or _STEPSIZE, so its positions are not known; export it again")
        axis, intensity = start + step * np.arange(values.size), values
    drive = keys.get("DRIVE", "").upper()
    scale = ANGSTROM_PER_UNIT.get(keys.get("WL_UNIT", "").lower().strip())
    wavelength, line_notes = line_wavelength("Ka", keys.get("WL1"), keys.get("WL2"), keys.get("WLRATIO"))
    names = {"axis": drive, "values": marker[2].lower(), "Anode": keys.get("ANODE")}
    return make_pattern(
        source, axis, intensity, allow_negative, notes=(*notes, *line_notes), metadata=strip_texts(keys | names),
        kind="two_theta" if drive in _TWO_THETA_DRIVES else None,
        wavelength=wavelength * scale if wavelength is not None and scale else None,
        start_time=parse_datetime(keys.get("DATEMEASURED", "")),
    )  # fmt: skip
