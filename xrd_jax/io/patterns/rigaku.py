"""Rigaku SmartLab and MiniFlex: .ras (text, any number of scans) and .rasx (a zip of text and XML).

The third column is the attenuator's factor, by which the second is multiplied. Times in .ras have no zone and are
written in the order of the computer's language; they are taken only where one order is possible.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import archives
from xrd_jax.io.patterns import pattern, times

_TWO_THETA = ("TwoTheta", "TwoThetaTheta", "TwoThetaOmega")
_PROFILE = re.compile(r"Data(\d{1,6})/Profile(\d{1,6})\.txt")
_PAIR = re.compile(r'^\*(\S+)\s+"([^"\n]*)"', re.MULTILINE)
_KEPT = re.compile(r"FILE_|HW_XG|HW_COUNTER|MEAS_SCAN|MEAS_COND_XG|MEAS_COND_COUNTER|MEAS_DATA|DISP_UNIT")


def recognises_ras(head: bytes) -> bool:
    """True for the markers that open the file or its first header."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith((b"*RAS_DATA_START", b"*RAS_HEADER_START"))


def recognises_rasx(names: list[str]) -> bool:
    """True for the members that only this kind of archive has."""
    return any(_PROFILE.fullmatch(name) for name in names)


def read_ras(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every scan of a .ras file.

    Raises:
      UserError: a scan without end, or with another number of rows than it announces.
    """
    text = pattern.whole_file(path, pattern.LARGEST // 2).decode("cp932", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return pattern.collect(_scans(text, path, allow_negative), path)


def _scans(text: str, path: Path, allow_negative: bool) -> Iterator[pattern.Pattern]:
    at, number = 0, 0
    while (start := text.find("*RAS_INT_START", at)) >= 0:
        number += 1
        place = f"{path}: scan {number}"
        header = dict(_PAIR.findall(text, at, start))
        stop = text.find("*RAS_INT_END", start)
        if stop < 0:
            raise UserError(f"{place}: has no *RAS_INT_END; the file is cut: copy or export it again")
        table = _table(text[start + len("*RAS_INT_START") : stop], place)
        _check_count(header.get("MEAS_DATA_COUNT"), len(table), place)
        yield _scan(table, header, place, allow_negative)
        at = stop + 1


def _scan(table: np.ndarray, header: dict[str, str], place: str, allow_negative: bool) -> pattern.Pattern:
    name = header.get("MEAS_SCAN_AXIS_X_INTERNAL") or header.get("MEAS_SCAN_AXIS_X", "").replace("/", "").replace(
        "-", ""
    )
    unit = header.get("MEAS_SCAN_UNIT_X", "deg")
    start, end = (times.parse(header.get(f"MEAS_SCAN_{key}_TIME", "")) for key in ("START", "END"))
    wavelength = pattern.line_wavelength(
        header.get("MEAS_COND_XG_WAVE_TYPE", ""),
        header.get("HW_XG_WAVE_LENGTH_ALPHA1"),
        header.get("HW_XG_WAVE_LENGTH_ALPHA2"),
        None,
        header.get("HW_XG_WAVE_LENGTH_BETA"),
    )
    metadata = {key: value for key, value in header.items() if value and _KEPT.match(key)}
    if anode := header.get("HW_XG_TARGET_NAME") or header.get("MEAS_COND_XG_TARGET_NAME"):
        metadata["Anode"] = anode
    known = _TWO_THETA if name != "" else ()
    kind = "two_theta" if unit == "deg" and name in (*known, "ThetaTwoTheta", "2Theta") else None
    return _finish(table, place, allow_negative, kind, wavelength, start, end, metadata | {"axis": name})


def _finish(table, place, allow_negative, kind, wavelength, start, end, metadata) -> pattern.Pattern:
    factors = table[:, 2] if table.shape[1] == 3 else np.ones(len(table))
    notes = ("the intensities were multiplied by the attenuator's factors",) if (factors != 1).any() else ()
    return pattern.finish(
        place,
        table[:, 0],
        table[:, 1] * factors,
        allow_negative,
        notes=notes,
        kind=kind,
        wavelength=wavelength,
        start_time=start,
        end_time=end,
        exposure=times.seconds(start, end),
        metadata={key: value for key, value in metadata.items() if value},
    )


def _table(text: str, place: str) -> np.ndarray:
    """Positions, intensities and, if present, attenuator factors [N, 2 or 3]."""
    rows = text.strip()
    width = len(rows.partition("\n")[0].split())
    values = pattern.numbers(rows, place)
    if width not in (2, 3) or values.size % width or rows.count("\n") + 1 != values.size // width:
        raise UserError(f"{place}: its rows do not hold two or three numbers each; copy or export the file again")
    return values.reshape(-1, width)


def _check_count(announced: str | None, count: int, place: str) -> None:
    if announced is not None and re.fullmatch(r"\d{1,9}", announced) and int(announced) != count:
        raise UserError(f"{place}: the header announces {announced} rows but there are {count}; copy the file again")


def read_rasx(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every profile of a .rasx archive, with start and end in UTC.

    Raises:
      UserError: a damaged archive, or a profile with another number of rows than its conditions announce.
    """
    with archives.open_zip(path) as opened:
        names = opened.namelist()
        profiles = sorted(
            filter(_PROFILE.fullmatch, names), key=lambda name: [int(n) for n in re.findall(r"\d+", name)]
        )
        return pattern.collect((_profile(opened, name, path, allow_negative) for name in profiles), path)


def _profile(opened: zipfile.ZipFile, name: str, path: Path, allow_negative: bool) -> pattern.Pattern:
    place = f"{path}: {name}"
    table = _table(archives.member(opened, name, path).decode("utf-8-sig", "replace"), place)
    folder, number = name.partition("/")[0], re.findall(r"\d+", name)[1]
    known = opened.NameToInfo
    described = [n for s in ("Mesurement", "Measurement") if (n := f"{folder}/{s}Conditions{number}.xml") in known]
    root = archives.xml_member(opened, described[0], path) if described else Element("none")
    scan = {child.tag: (child.text or "").strip() for child in root.iterfind("ScanInformation/*")}
    tube = {child.tag: (child.text or "").strip() for child in root.iterfind(".//XrayGenerator/*")}
    general = {child.tag: (child.text or "").strip() for child in root.iterfind("GeneralInformation/*")}
    _check_count(scan.get("DataCount"), len(table), place)
    wavelength = pattern.line_wavelength(
        tube.get("WaveType", ""),
        tube.get("WavelengthKalpha1"),
        tube.get("WavelengthKalpha2"),
        None,
        tube.get("WavelengthKbeta"),
    )
    moved = scan.get("AxisName", "")
    kind = "two_theta" if moved in _TWO_THETA and scan.get("PositionUnit") == "deg" else None
    start, end = times.parse(scan.get("StartTime", "")), times.parse(scan.get("EndTime", ""))
    metadata = general | tube | scan | {"Anode": tube.get("TargetName", ""), "axis": moved}
    return _finish(table, place, allow_negative, kind, wavelength, start, end, metadata)
