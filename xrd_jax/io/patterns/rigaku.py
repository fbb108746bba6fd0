"""Rigaku SmartLab and MiniFlex: .ras (text, any number of scans) and .rasx (a zip of text and XML).

The third column is the attenuator's factor, by which the second is multiplied. Times in .ras have no zone and are
written in the order of the computer's language; they are taken only where one order is possible.
"""

import dataclasses
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.archives import open_zip, read_member, read_xml_member
from xrd_jax.io.parsing.dates import parse_datetime, seconds_between
from xrd_jax.io.parsing.text import MAX_BYTES, natural_key, read_whole
from xrd_jax.io.patterns.pattern import (
    CUT,
    Pattern,
    Scan,
    UnfinishedScan,
    line_wavelength,
    make_pattern,
    note_count,
    parse_numbers,
    strip_texts,
)

_TWO_THETA = ("TwoTheta", "TwoThetaTheta", "TwoThetaOmega")
PROFILE = re.compile(r"Data(\d{1,6})/Profile(\d{1,6})\.txt")
_PAIR = re.compile(r'^\*(\S+)\s+"([^"\n]*)"', re.MULTILINE)
_METADATA = re.compile(r"FILE_|HW_XG|HW_COUNTER|MEAS_SCAN|MEAS_COND_XG|MEAS_COND_COUNTER|MEAS_DATA|DISP_UNIT")


def read_ras(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read every scan of a .ras file."""
    text = read_whole(path, MAX_BYTES // 2).decode("cp932", "replace").replace("\r\n", "\n").replace("\r", "\n")
    position, number = 0, 0
    while (start := text.find("*RAS_INT_START", position)) >= 0:
        number += 1
        source = f"{path}: scan {number}"
        header = dict(_PAIR.findall(text, position, start))
        stop = text.find("*RAS_INT_END", start)
        body = text[start + len("*RAS_INT_START") : stop if stop >= 0 else text.rfind("\n") + 1]
        if stop < 0 and body.count("\n") < 3:
            yield UnfinishedScan(f"scan {number} has no rows")
            return
        table = _parse_table(body, source)
        facts = _ras_facts(header, len(table))
        scan = _make_scan(table, source, allow_negative, facts)
        if stop < 0:
            notes = scan.notes or (f"scan {number} has no end: the file {CUT}",)
            yield UnfinishedScan(f"scan {number} has no end", dataclasses.replace(scan, notes=notes))
            return
        yield scan
        position = stop + 1


def _ras_facts(header: dict[str, str], count: int) -> dict[str, Any]:
    """Fields of `Pattern` from the header of a scan."""
    axis = header.get("MEAS_SCAN_AXIS_X_INTERNAL") or re.sub("[/-]", "", header.get("MEAS_SCAN_AXIS_X", ""))
    is_two_theta = axis in (*_TWO_THETA, "ThetaTwoTheta", "2Theta") and header.get("MEAS_SCAN_UNIT_X", "deg") == "deg"
    metadata = {key: value for key, value in header.items() if _METADATA.match(key)}
    anode = header.get("HW_XG_TARGET_NAME") or header.get("MEAS_COND_XG_TARGET_NAME")
    alpha1, alpha2, beta = (header.get(f"HW_XG_WAVE_LENGTH_{line}") for line in ("ALPHA1", "ALPHA2", "BETA"))
    ratio = header.get("HW_XG_WAVE_LENGTH_RATIO")
    wavelength, notes = line_wavelength(header.get("MEAS_COND_XG_WAVE_TYPE", ""), alpha1, alpha2, ratio, beta)
    return {
        "kind": "two_theta" if is_two_theta else None,
        "wavelength": wavelength,
        "notes": (*notes, *note_count(_to_int(header.get("MEAS_DATA_COUNT")), count)),
        "start_time": parse_datetime(header.get("MEAS_SCAN_START_TIME", "")),
        "end_time": parse_datetime(header.get("MEAS_SCAN_END_TIME", "")),
        "metadata": strip_texts(metadata | {"axis": axis, "Anode": anode}),
    }


def _make_scan(table: np.ndarray, source: str, allow_negative: bool, facts: dict[str, Any]) -> Pattern:
    factors = table[:, 2] if table.shape[1] == 3 else np.ones(len(table))
    notes = facts.pop("notes")
    if (factors != 1).any():
        notes = (*notes, "the intensities were multiplied by the attenuator's factors")
    facts["exposure"] = seconds_between(facts["start_time"], facts["end_time"])
    return make_pattern(source, table[:, 0], table[:, 1] * factors, allow_negative, notes=notes, **facts)


def _parse_table(text: str, source: str) -> np.ndarray:
    """Positions, intensities and, if present, attenuator factors [N, 2 or 3]."""
    rows = text.strip()
    width = len(rows.partition("\n")[0].split())
    values = parse_numbers(rows, source)
    if width not in (2, 3) or values.size % width or rows.count("\n") + 1 != values.size // width:
        raise UserError(f"{source}: its rows do not hold two or three numbers each; copy or export the file again")
    return values.reshape(-1, width)


def _to_int(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"\d{1,9}", text) else None


def read_rasx(path: Path, allow_negative: bool) -> Iterator[Pattern]:
    """Read every profile of a .rasx archive, with start and end in UTC."""
    with open_zip(path) as archive:
        for name in sorted(filter(PROFILE.fullmatch, archive.namelist()), key=natural_key):
            yield _rasx_scan(archive, name, path, allow_negative)


def _rasx_scan(archive: zipfile.ZipFile, name: str, path: Path, allow_negative: bool) -> Pattern:
    source = f"{path}: {name}"
    table = _parse_table(read_member(archive, name, path).decode("utf-8-sig", "replace"), source)
    folder, number = name.partition("/")[0], re.findall(r"\d+", name)[1]
    # The maker's own spelling lacks a letter.
    members = [f"{folder}/{stem}Conditions{number}.xml" for stem in ("Mesurement", "Measurement")]
    conditions = next((member for member in members if member in archive.NameToInfo), None)
    root = read_xml_member(archive, conditions, path) if conditions else Element("none")
    scan, tube = _texts(root, "ScanInformation/*"), _texts(root, ".//XrayGenerator/*")
    axis = scan.get("AxisName", "")
    names = {"Anode": tube.get("TargetName", ""), "axis": axis}
    alpha1, alpha2, beta = (tube.get(f"WavelengthK{line}") for line in ("alpha1", "alpha2", "beta"))
    wavelength, notes = line_wavelength(tube.get("WaveType", ""), alpha1, alpha2, None, beta)
    facts = {
        "kind": "two_theta" if axis in _TWO_THETA and scan.get("PositionUnit") == "deg" else None,
        "wavelength": wavelength,
        "notes": (*notes, *note_count(_to_int(scan.get("DataCount")), len(table))),
        "start_time": parse_datetime(scan.get("StartTime", "")),
        "end_time": parse_datetime(scan.get("EndTime", "")),
        "metadata": strip_texts(_texts(root, "GeneralInformation/*") | tube | scan | names),
    }
    return _make_scan(table, source, allow_negative, facts)


def _texts(root: Element, path: str) -> dict[str, str]:
    return {child.tag: (child.text or "").strip() for child in root.iterfind(path)}
