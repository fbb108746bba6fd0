"""Bruker / Siemens .uxd: text with `_KEY = value` lines and any number of ranges.

A range ends in a marker: `_COUNTS` or `_CPS` opens a list of intensities from `_START` in steps of `_STEPSIZE`;
`_2THETACOUNTS` or `_2THETACPS` opens rows of position and intensity, whatever drive moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.patterns import pattern, times

_KEY = re.compile(r"^[ \t]*_([A-Z0-9_]+)[ \t]*=[ \t]*([^\n]*)$", re.MULTILINE | re.IGNORECASE)
_MARKER = re.compile(r"^[ \t]*_(2THETA)?(COUNTS|CPS)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_NEXT = re.compile(r"^[ \t]*[_;]", re.MULTILINE)
_OTHER = re.compile(r"^[ \t]*_(2THETA\w+|D-I|2THETA-I|COUNT\w+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_SCALES = {"A": 1.0, "ANGSTROM": 1.0, "NM": 10.0}


def recognises(head: bytes) -> bool:
    """True for the keys that only this format opens a line with."""
    return (
        b"_" in head
        and re.search(rb"^[ \t]*_(FILEVERSION|DRIVE|STEPSIZE|STEPTIME|2THETACOUNTS|2THETACPS)\b", head, re.M)
        is not None
    )


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every range: 2θ in degrees where the drive is 2θ or coupled, the mean of Kα1 and Kα2 in the stated ratio.

    Raises:
      UserError: no range, or a range without positions.
    """
    text = parsing_text.decode(pattern.whole_file(path, pattern.LARGEST // 2))
    if not _MARKER.search(text):
        other = _OTHER.search(text)
        what = (
            f"only {other[0].strip()}, which holds no scan"
            if other
            else "no _COUNTS, _CPS, _2THETACOUNTS or _2THETACPS"
        )
        raise UserError(f"{path}: a .uxd file with {what}; export the scan again")
    return pattern.collect(_ranges(text, path, allow_negative), path)


def _ranges(text: str, path: Path, allow_negative: bool) -> Iterator[pattern.Pattern]:
    shared: dict[str, str] = {}
    at, number = 0, 0
    while marker := _MARKER.search(text, at):
        number += 1
        keys = {key.upper(): value.strip().strip("'\"") for key, value in _KEY.findall(text, at, marker.start())}
        if number == 1:
            drive = re.search(r"^[ \t]*_DRIVE\b", text[: marker.start()], re.MULTILINE | re.IGNORECASE)
            stop = drive.start() if drive else marker.start()
            shared = {key.upper(): value.strip().strip("'\"") for key, value in _KEY.findall(text, 0, stop)}
        after = _NEXT.search(text, marker.end())
        at = after.start() if after else len(text)
        place = f"{path}: range {number}"
        yield _range(
            text[marker.end() : at], shared | keys, marker[1] is not None, marker[2].upper(), place, allow_negative
        )


def _range(
    body: str, keys: dict[str, str], pairs: bool, unit: str, place: str, allow_negative: bool
) -> pattern.Pattern:
    values, notes = pattern.numbers(body, place), pattern.doubt_of_end(body)
    if pairs:
        if values.size % 2:
            raise UserError(f"{place}: its rows do not hold two numbers each; the file is cut: copy it again")
        axis, intensity = values[::2], values[1::2]
    else:
        start, step = (_number(keys.get(key)) for key in ("START", "STEPSIZE"))
        if start is None or not step:
            raise UserError(f"{place}: _START or _STEPSIZE is missing, so its positions are not known; export it again")
        axis, intensity = start + step * np.arange(values.size), values
    drive = keys.get("DRIVE", "").upper()
    scale = _SCALES.get(keys.get("WL_UNIT", "").upper().strip(), 0.0)
    mean = pattern.line_wavelength("Ka", keys.get("WL1"), keys.get("WL2"), keys.get("WLRATIO"))
    metadata = {key: value for key, value in keys.items() if value} | {"axis": drive, "values": unit.lower()}
    return pattern.finish(
        place,
        axis,
        intensity,
        allow_negative,
        notes=notes,
        kind="two_theta" if drive in ("COUPLED", "2THETA", "LOCKED COUPLED", "TWOTHETA") else None,
        wavelength=mean * scale if mean is not None and scale else None,
        start_time=times.parse(keys.get("DATEMEASURED", "")),
        metadata=metadata | ({"Anode": keys["ANODE"]} if keys.get("ANODE") else {}),
    )


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
