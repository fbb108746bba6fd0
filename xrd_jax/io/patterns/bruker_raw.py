"""Bruker / Siemens .raw, four generations told apart by their first bytes: 'RAW ', 'RAW2', 'RAW1.01', 'RAW4.00'.

Everything is little-endian. Lengths that the headers state are compared with the file before anything is read, so a
cut file is refused and never read past its end.
"""

import dataclasses
import math
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.parsing.text import read_whole
from xrd_jax.io.parsing.timestamps import read_header_date
from xrd_jax.io.patterns.pattern import (
    Pattern,
    Scan,
    UnfinishedScan,
    line_wavelength,
    make_pattern,
    note_count,
    parse_positive,
)

_MIN_POSITION = -1e5  # degrees; drives that were not moved are written as -1e6
_TWO_THETA_CODES = {0: "locked coupled", 2: "detector"}  # scan types of RAW1.01 whose positions are 2θ
_TWO_THETA_SCANS = ("locked coupled", "coupled", "detector scan", "2theta", "twotheta", "psd fast", "2theta scan")
_MAX_MISSING = 20  # times as many points as there are: a header that announces more is damaged
_MAX_SEGMENTS = 100_000
_SAME_LINE = 2e-4  # relative: tables differ by a tenth of this, Kα1 and Kα2 by ten times
_LINES = ("kAlpha mean", "kAlpha1", "kAlpha2", "kBeta", "ratioKAlpha2KAlpha1")

Metadata = dict[str, str | float]


class Range(NamedTuple):
    """One range as its header describes it."""

    start: float
    step: float
    points: int
    data: int  # offset of the first record
    record: int  # bytes of each record, which begins with the intensity as float32
    kind: str | None
    facts: dict[str, Any]
    metadata: dict[str, str]
    fault: str = ""  # why it cannot be read
    is_last: bool = False  # as the header says, so that a measurement may have been stopped in it


def recognises(head: bytes) -> bool:
    """Return whether the file has one of the four signatures; 'RAW_' is another maker's."""
    return head.startswith((b"RAW ", b"RAW2", b"RAW1.01", b"RAW4.00")) and b"\x00" in head[:64]


def read(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read every range."""
    data = read_whole(path)
    read_ranges = {b"RAW ": _ranges_v1, b"RAW2": _ranges_v2, b"RAW1": _ranges_v3, b"RAW4": _ranges_v4}[data[:4]]
    number = 0
    try:
        for number, header in enumerate(read_ranges(data, path), 1):
            source = f"{path}: range {number}"
            held = (len(data) - header.data) // max(header.record, 4)
            if not (header.is_last and 2 <= held < header.points <= _MAX_MISSING * held):
                yield _read_range(data, header, source, allow_negative)
                continue
            partial = _read_range(data, header._replace(points=held), source, allow_negative)
            notes = (*partial.notes, *note_count(header.points, held, "points"))
            yield UnfinishedScan(f"range {number} has no end", dataclasses.replace(partial, notes=notes))
    except struct.error:
        yield UnfinishedScan(f"the file ends within the header of range {number + 1}: it is cut")


def _read_range(data: bytes, header: Range, source: str, allow_negative: bool) -> Pattern:
    end = header.data + header.points * header.record
    if end > len(data) or header.record < 4:
        size = f"{header.points} points of {header.record} bytes up to byte {end}, but the file has {len(data)}"
        remedy = "it is cut: copy it again, or export what was measured as two-column text"
        raise UserError(f"{source}: the header announces {size}; {remedy}")
    if header.fault:
        raise UserError(f"{source}: {header.fault}; export it as two-column text")
    start, step = header.start, header.step
    if not (math.isfinite(start) and math.isfinite(step)) or step == 0:
        raise UserError(f"{source}: start {start:g} and step {step:g} give no positions; export it again")
    intensity = np.ndarray((header.points,), "<f4", data, header.data, (header.record,))
    axis = start + step * np.arange(header.points)
    return make_pattern(
        source, axis, intensity, allow_negative, kind=header.kind, metadata=header.metadata, **header.facts
    )


def _text(data: bytes, start: int, length: int) -> str:
    return data[start : start + length].split(b"\x00")[0].decode("cp1252", "replace").strip()


def _shortest_decimal(single: float) -> float:
    """The shortest decimal number that this single-precision value stands for: 4.98 rather than 4.980000019."""
    return float(str(np.float32(single)))


def _drop_empty(metadata: Metadata) -> dict[str, str]:
    """Metadata without the fields that the instrument left empty."""
    return {
        key: value if isinstance(value, str) else f"{value:.7g}"
        for key, value in metadata.items()
        if value and (isinstance(value, str) or value > _MIN_POSITION)
    }


def _wavelength(stated: float, lines: Sequence[Any]) -> tuple[float | None, tuple[str, ...]]:
    """What a range states; where that is Kα1 or a mean, the mean of both lines in their ratio, as in other formats."""
    mean, alpha1, alpha2, _, ratio = lines
    is_alpha = any(other and math.isclose(stated, other, rel_tol=_SAME_LINE) for other in (mean, alpha1))
    if (parse_positive(stated) is None or is_alpha) and parse_positive(alpha2) is not None:
        wavelength, notes = line_wavelength("Ka", alpha1, alpha2, ratio)
        return (wavelength, notes) if wavelength is not None else (parse_positive(stated), ())
    return parse_positive(stated), ()


def _ranges_v1(data: bytes, path: Path) -> Iterator[Range]:
    """A header of 156 bytes before each range; those after the first may lack the signature."""
    offset, has_more = 0, True
    while has_more:
        offset += 4 if data[offset : offset + 4] == b"RAW " else 0
        header = struct.unpack_from("<Iff 8x ff 40x ff 72x I", data, offset)
        points, seconds, step, two_theta, theta, alpha1, alpha2, following = header
        has_more, lines = following > 0, {"kAlpha1": alpha1, "kAlpha2": alpha2}
        metadata = _drop_empty({"sample": _text(data, offset + 36, 32)} | lines | {"seconds per step": seconds})
        # Without a 2θ start the scan moved something else. Which of the two lines was used is not said.
        kind = "two_theta" if two_theta > _MIN_POSITION else None
        start = _shortest_decimal(two_theta if kind else theta)
        place = points, offset + 152, 4
        yield Range(start, _shortest_decimal(step), *place, kind, {}, metadata, is_last=not has_more)
        offset += 152 + 4 * points


def _ranges_v2(data: bytes, path: Path) -> Iterator[Range]:
    """A header of 256 bytes, then for each range a header that states its length, and the counts."""
    (count,) = struct.unpack_from("<H", data, 4)
    alpha1, alpha2, ratio = struct.unpack_from("<fff", data, 190)
    lines = {"kAlpha1": alpha1, "kAlpha2": alpha2, "ratioKAlpha2KAlpha1": ratio}
    shared: Metadata = {"Anode": _text(data, 188, 2)} | lines
    shared |= {"date": _text(data, 168, 20), "comment": _text(data, 38, 130), "sample": _text(data, 8, 30)}
    wavelength, notes = _wavelength(0.0, (0.0, alpha1, alpha2, 0.0, ratio))
    facts = {
        "wavelength": wavelength,
        "notes": notes,
        "start_time": parse_datetime(f"{_text(data, 168, 10)} {_text(data, 178, 5)}"),
    }
    offset = 256
    for number in range(1, count + 1):
        length, points, seconds, step, start = struct.unpack_from("<HH 4x fff", data, offset)
        if length < 48:
            raise UserError(f"{path}: a range header of {length} bytes; the file is damaged: copy it again")
        metadata = _drop_empty(shared | {"seconds per step": seconds})
        kind = "two_theta" if start > _MIN_POSITION else None
        start, step = _shortest_decimal(start), _shortest_decimal(step)
        yield Range(start, step, points, offset + length, 4, kind, facts, metadata, is_last=number == count)
        offset += length + 4 * points


def _ranges_v3(data: bytes, path: Path) -> Iterator[Range]:
    """A header of 712 bytes; each range has its own header, supplements of a stated length, and its records."""
    (count,) = struct.unpack_from("<I", data, 12)
    date = f"{_text(data, 16, 10)} {_text(data, 26, 10)}"
    shared: Metadata = {"Anode": _text(data, 608, 4), "sample": _text(data, 326, 60)}
    lines = struct.unpack_from("<ddddd", data, 616)
    shared |= dict(zip(_LINES, lines, strict=True))
    shared |= {"comment": _text(data, 386, 160), "date": date}
    offset = 712
    for number in range(1, count + 1):
        header = struct.unpack_from("<II dd 152x d 8x fI 40x d III", data, offset)
        length, points, theta, two_theta, step, seconds, code, wavelength, varies, record, supplement = header
        if not 260 <= length <= len(data):
            raise UserError(f"{path}: range {number}: a header of {length} bytes; the file is damaged: copy it again")
        kind = "two_theta" if code in _TWO_THETA_CODES and two_theta > _MIN_POSITION else None
        wavelength, notes = _wavelength(wavelength, lines)
        start_time = read_header_date(date) if count == 1 else None
        facts = {"wavelength": wavelength, "start_time": start_time, "notes": notes}
        scan = _TWO_THETA_CODES.get(code, f"code {code}")
        metadata = _drop_empty(shared | {"seconds per step": seconds, "scan type": scan})
        fault = "positions vary from point to point, in columns of their own" if varies else ""
        start = two_theta if kind or theta <= _MIN_POSITION else theta
        place = points, offset + length + supplement, record or 4
        yield Range(start, step, *place, kind, facts, metadata, fault, number == count)
        offset += length + supplement + points * (record or 4)


def _ranges_v4(data: bytes, path: Path) -> Iterator[Range]:
    """From byte 61 a chain of (type, length) segments; type 0 or 160 opens a range of 160 bytes, drives and records."""
    day, clock = _text(data, 12, 12), _text(data, 24, 10)
    shared: Metadata = {"date": f"{day} {clock}"}
    offset, ranges, segments = 61, 0, 0
    while offset + 8 <= len(data):
        segment, length = struct.unpack_from("<II", data, offset)
        segments += 1
        if segment not in (0, 160):
            if length < 8 or offset + length > len(data) or segments > _MAX_SEGMENTS:
                raise UserError(f"{path}: byte {offset}: a segment of {length} bytes; it is damaged: copy it again")
            shared |= _describe_segment(data, offset, segment, length)
            offset += length
            continue
        if offset + 160 > len(data):
            return
        ranges += 1
        scan = _text(data, offset + 32, 24)
        start, step, points, seconds = struct.unpack_from("<ddIf", data, offset + 72)
        wavelength, record, supplement = struct.unpack_from("<d16xII", data, offset + 112)
        metadata = _drop_empty(shared | {"scan": scan, "seconds per step": seconds})
        # Month first whatever the language of the computer, and no zone.
        start_time = read_header_date(f"{day} {clock}", order="month") if ranges == 1 else None
        wavelength, notes = _wavelength(wavelength, [shared.get(line) for line in _LINES])
        facts = {"wavelength": wavelength, "start_time": start_time, "notes": notes}
        kind = "two_theta" if scan.lower() in _TWO_THETA_SCANS else None
        yield Range(start, step, points, offset + 160 + supplement, record, kind, facts, metadata)
        offset += 160 + supplement + points * record


def _describe_segment(data: bytes, offset: int, segment: int, length: int) -> Metadata:
    """Key and text of segment 10; tube and lines of segment 30."""
    if segment == 10 and length >= 36:
        key, value = _text(data, offset + 12, 24), _text(data, offset + 36, min(length - 36, 500))
        return {key: value} if key and value else {}
    if segment == 30 and length >= 120:
        lines: Metadata = dict(zip(_LINES, struct.unpack_from("<ddddd", data, offset + 72), strict=True))
        return lines | {"Anode": _text(data, offset + 116, 4)}
    return {}
