"""Bruker / Siemens .raw, four generations told apart by their first bytes: 'RAW ', 'RAW2', 'RAW1.01', 'RAW4.00'.

Everything is little-endian. Lengths that the headers state are compared with the file before anything is read, so a
cut file is refused and never read past its end.
"""

from __future__ import annotations

import datetime
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.patterns import pattern, times

_UNSET = -1e5  # drives that were not moved are written as -1e6
_COUPLED_V3 = {0: "locked coupled", 2: "detector"}  # scan types of RAW1.01 whose positions are 2θ
_TWO_THETA_V4 = ("locked coupled", "coupled", "detector scan", "2theta", "twotheta", "psd fast", "2theta scan")
_MOST_SEGMENTS = 100_000


class Range(NamedTuple):
    """One range as its header describes it; `data` is the offset of the first record, each `record` bytes long."""

    start: float
    step: float
    points: int
    data: int
    record: int
    kind: str | None
    facts: dict[str, Any]
    metadata: dict[str, str]
    varying: str = ""


def recognises(head: bytes) -> bool:
    """True for the four signatures; 'RAW_' is another maker's."""
    return head.startswith((b"RAW ", b"RAW2", b"RAW1.01", b"RAW4.00")) and b"\x00" in head[:64]


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every range.

    Raises:
      UserError: the file is shorter than its headers say, or a range has no usable positions.
    """
    data = pattern.whole_file(path)
    ranges = {b"RAW ": _version1, b"RAW2": _version2, b"RAW1": _version3, b"RAW4": _version4}[data[:4]](data, path)
    try:
        return pattern.collect(
            (_pattern(data, one, f"{path}: range {n}", allow_negative) for n, one in enumerate(ranges, 1)), path
        )
    except struct.error:
        raise UserError(f"{path}: ends within a header; the file is cut: copy it again") from None


def _pattern(data: bytes, one: Range, place: str, allow_negative: bool) -> pattern.Pattern:
    end = one.data + one.points * one.record
    if end > len(data) or one.record < 4:
        raise UserError(
            f"{place}: the header announces {one.points} points of {one.record} bytes up to byte {end}, but the file "
            f"has {len(data)}; it is cut: copy it again"
        )
    if one.varying:
        raise UserError(f"{place}: {one.varying}; export it as two-column text")
    if not (math.isfinite(one.start) and math.isfinite(one.step)) or one.step == 0:
        raise UserError(f"{place}: start {one.start:g} and step {one.step:g} give no positions; export it again")
    intensity = np.ndarray((one.points,), "<f4", data, one.data, (one.record,))
    axis = one.start + one.step * np.arange(one.points)
    return pattern.finish(place, axis, intensity, allow_negative, kind=one.kind, metadata=one.metadata, **one.facts)


def _text(data: bytes, start: int, length: int) -> str:
    return data[start : start + length].split(b"\x00")[0].decode("cp1252", "replace").strip()


def _decimal(single: float) -> float:
    """The shortest decimal number that this single-precision value stands for: 4.98 rather than 4.980000019."""
    return float(str(np.float32(single)))


def _known(found: dict[str, str | float]) -> dict[str, str]:
    """Metadata without the fields that the instrument left empty."""
    return {
        k: v if isinstance(v, str) else f"{v:.7g}" for k, v in found.items() if v and (isinstance(v, str) or v > _UNSET)
    }


def _version1(data: bytes, path: Path) -> Iterator[Range]:
    """A header of 156 bytes before each range; those after the first may lack the signature."""
    at, more = 0, True
    while more:
        at += 4 if data[at : at + 4] == b"RAW " else 0
        points, seconds, step = struct.unpack_from("<Iff", data, at)
        start, theta = struct.unpack_from("<ff", data, at + 20)
        alpha1, alpha2 = struct.unpack_from("<ff", data, at + 68)
        more = struct.unpack_from("<I", data, at + 148)[0] > 0
        metadata = _known(
            {"sample": _text(data, at + 36, 32), "kAlpha1": alpha1, "kAlpha2": alpha2, "seconds per step": seconds}
        )
        # Without a 2θ start the scan moved something else. Which of the two lines was used is not said.
        kind = "two_theta" if start > _UNSET else None
        first = _decimal(start if kind else theta)
        yield Range(first, _decimal(step), points, at + 152, 4, kind, {}, metadata)
        at += 152 + 4 * points


def _version2(data: bytes, path: Path) -> Iterator[Range]:
    """A header of 256 bytes, then for each range a header that states its length, and the counts."""
    (count,) = struct.unpack_from("<H", data, 4)
    alpha1, alpha2, ratio = struct.unpack_from("<fff", data, 190)
    shared = {"Anode": _text(data, 188, 2), "kAlpha1": alpha1, "kAlpha2": alpha2, "ratioKAlpha2KAlpha1": ratio}
    shared |= {"date": _text(data, 168, 20), "comment": _text(data, 38, 130), "sample": _text(data, 8, 30)}
    day, clock = _text(data, 168, 10), _text(data, 178, 5)
    facts = {
        "wavelength": pattern.line_wavelength("Ka", alpha1, alpha2, ratio),
        "start_time": times.parse(f"{day} {clock}"),
    }
    at = 256
    for _ in range(count):
        length, points = struct.unpack_from("<HH", data, at)
        seconds, step, start = struct.unpack_from("<fff", data, at + 8)
        if length < 48:
            raise UserError(
                f"{path}: a range header of {length} bytes is too short; the file is damaged: copy it again"
            )
        metadata = _known(shared | {"seconds per step": seconds})
        kind = "two_theta" if start > _UNSET else None
        yield Range(_decimal(start), _decimal(step), points, at + length, 4, kind, facts, metadata)
        at += length + 4 * points


def _version3(data: bytes, path: Path) -> Iterator[Range]:
    """A header of 712 bytes; each range has its own header, supplements of a stated length, and its records."""
    (count,) = struct.unpack_from("<I", data, 12)
    mean, alpha1, alpha2, beta, ratio = struct.unpack_from("<ddddd", data, 616)
    shared: dict[str, str | float] = {"Anode": _text(data, 608, 4), "sample": _text(data, 326, 60)}
    shared |= {"kAlpha mean": mean, "kAlpha1": alpha1, "kAlpha2": alpha2, "kBeta": beta, "ratioKAlpha2KAlpha1": ratio}
    day, clock = _text(data, 16, 10), _text(data, 26, 10)
    shared |= {"comment": _text(data, 386, 160), "date": f"{day} {clock}"}
    at = 712
    for index in range(count):
        length, points = struct.unpack_from("<II", data, at)
        theta, start = struct.unpack_from("<dd", data, at + 8)
        (step,) = struct.unpack_from("<d", data, at + 176)
        seconds, scan = struct.unpack_from("<fI", data, at + 192)
        (used,) = struct.unpack_from("<d", data, at + 240)
        varies, record, extra = struct.unpack_from("<III", data, at + 248)
        if not 260 <= length <= len(data):
            raise UserError(
                f"{path}: range {index + 1}: a header of {length} bytes; the file is damaged: copy it again"
            )
        kind = "two_theta" if scan in _COUPLED_V3 and start > _UNSET else None
        facts = {
            "wavelength": pattern.positive(used),
            "start_time": times.parse(f"{day} {clock}") if count == 1 else None,
        }
        metadata = _known(shared | {"seconds per step": seconds, "scan type": _COUPLED_V3.get(scan, f"code {scan}")})
        varying = "positions vary from point to point, in columns of their own" if varies else ""
        first = start if kind or theta <= _UNSET else theta
        yield Range(first, step, points, at + length + extra, record or 4, kind, facts, metadata, varying)
        at += length + extra + points * (record or 4)


def _version4(data: bytes, path: Path) -> Iterator[Range]:
    """From byte 61 a chain of (type, length) segments; type 0 or 160 opens a range of 160 bytes, drives and records."""
    day, clock = _text(data, 12, 12), _text(data, 24, 10)
    shared: dict[str, str | float] = {"date": f"{day} {clock}"}
    at, index, segments = 61, 0, 0
    while at + 8 <= len(data):
        sort, length = struct.unpack_from("<II", data, at)
        segments += 1
        if sort not in (0, 160):
            if length < 8 or at + length > len(data) or segments > _MOST_SEGMENTS:
                raise UserError(f"{path}: byte {at}: a segment of {length} bytes; the file is damaged: copy it again")
            shared |= _segment(data, at, sort, length)
            at += length
            continue
        if at + 160 > len(data):
            return
        index += 1
        name = _text(data, at + 32, 24)
        start, step, points, seconds = struct.unpack_from("<ddIf", data, at + 72)
        used, record, extra = struct.unpack_from("<d16xII", data, at + 112)
        metadata = _known(shared | {"scan": name, "seconds per step": seconds})
        facts = {"wavelength": pattern.positive(used), "start_time": _american(day, clock) if index == 1 else None}
        kind = "two_theta" if name.lower() in _TWO_THETA_V4 else None
        yield Range(start, step, points, at + 160 + extra, record, kind, facts, metadata)
        at += 160 + extra + points * record


def _segment(data: bytes, at: int, sort: int, length: int) -> dict[str, str | float]:
    """Key and text of segment 10; tube and lines of segment 30."""
    if sort == 10 and length >= 36:
        key, value = _text(data, at + 12, 24), _text(data, at + 36, min(length - 36, 500))
        return {key: value} if key and value else {}
    if sort == 30 and length >= 120:
        mean, alpha1, alpha2, beta, ratio = struct.unpack_from("<ddddd", data, at + 72)
        lines = {"kAlpha mean": mean, "kAlpha1": alpha1, "kAlpha2": alpha2, "kBeta": beta, "ratioKAlpha2KAlpha1": ratio}
        return lines | {"Anode": _text(data, at + 116, 4)}
    return {}


def _american(day: str, clock: str) -> datetime.datetime | None:
    """RAW4.00 writes month/day/year whatever the language of the computer, and no zone."""
    try:
        return datetime.datetime.strptime(f"{day} {clock}", "%m/%d/%Y %H:%M:%S")
    except ValueError:
        return None
