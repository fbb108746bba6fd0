"""Bruker .brml: a zip of XML, one RawData file per scan.

A scan is a list of `Datum` rows; `DataViews` say which columns are the moving axes and which the counter. Intensities
are stored multiplied by the absorber's factor, which has a column of its own.
"""

import re
import zipfile
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.archives import open_zip, read_xml_member
from xrd_jax.io.parsing.dates import parse_datetime, seconds_between
from xrd_jax.io.patterns.pattern import Pattern, collect_scans, make_pattern, parse_positive

_RAW_DATA = re.compile(r"(?:.*/)?RawData(\d{1,6})\.xml")


def recognises(names: list[str]) -> bool:
    """Return whether an archive has the members of this format."""
    return any(_RAW_DATA.fullmatch(name) or name.endswith("DataContainer.xml") for name in names)


def read(path: Path, allow_negative: bool = False) -> tuple[Pattern, ...]:
    """Read every scan: 2θ in degrees where 2θ moves, start and end with their zone."""
    with open_zip(path) as archive:
        names = sorted(filter(_RAW_DATA.fullmatch, archive.namelist()), key=_sort_key)
        scans = (scan for name in names for scan in _read_member(archive, name, path, allow_negative))
        return collect_scans(scans, path)


def _sort_key(name: str) -> tuple[str, int]:
    match = _RAW_DATA.fullmatch(name)
    return name.rpartition("/")[0], int(match[1]) if match else 0


def _read_member(archive: zipfile.ZipFile, name: str, path: Path, allow_negative: bool) -> list[Pattern]:
    root, source = read_xml_member(archive, name, path), f"{path}: {name}"
    routes = [route for route in root.iter("DataRoute") if route.find("Datum") is not None]
    routes = [route for route in routes if route.get("RouteFlag") in ("Measured", None)] or routes
    if not routes:
        raise UserError(
            f"{source}: holds no points (kept outside the XML, or not measured); export the scan as two-column text"
        )
    start, end = (parse_datetime(root.findtext(f"TimeStamp{key}") or "") for key in ("Started", "Finished"))
    wavelength, file_metadata = _read_tube(root)
    facts: dict[str, Any] = {"wavelength": wavelength, "start_time": start, "end_time": end}
    facts["exposure"] = seconds_between(start, end) if len(routes) == 1 else None
    scans = []
    for route in routes:
        axis, intensity, kind, metadata = _read_points(route, source)
        facts |= {"kind": kind, "metadata": file_metadata | metadata}
        scans.append(make_pattern(source, axis, intensity, allow_negative, **facts))
    return scans


def _read_points(route: Element, source: str) -> tuple[np.ndarray, np.ndarray, str | None, dict[str, str]]:
    """Positions [N], intensities [N], kind of axis, and what is said about the scan."""
    rows = [datum.text or "" for datum in route.iter("Datum")]
    try:
        table = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        raise UserError(f"{source}: its rows of data are damaged; copy or export the file again") from None
    counters = [view for view in route.iter("RawDataView") if _type_of(view) == "RecordedRawDataView"]
    counter, length = (_to_int(counters[0].get(key), -1) for key in ("Start", "Length")) if counters else (-1, 1)
    if length != 1:
        raise UserError(
            f"{source}: each step holds {length} detector channels; integrate the scan and export two-column text"
        )
    axes = [info.get("AxisId") or info.get("AxisName") or "" for info in route.iterfind(".//ScanAxes/ScanAxisInfo")]
    columns = {name: column for column, name in enumerate(dict.fromkeys(axes), _first_axis_column(route))}
    width = table.shape[1]
    moving = [name for name, column in columns.items() if column < width and np.ptp(table[:, column]) > 0]
    if not moving or not -width <= counter < width:
        raise UserError(f"{source}: no axis moves or no counter is named; this is no pattern: leave it out")
    axis = "TwoTheta" if "TwoTheta" in moving else moving[0]
    kind = "two_theta" if axis == "TwoTheta" else None
    return table[:, columns[axis]], table[:, counter], kind, ({"axis": axis} if axis else {}) | _describe_scan(route)


def _describe_scan(route: Element) -> dict[str, str]:
    scan = route.find("ScanInformation")
    if scan is None:
        return {}
    metadata = {"scan": scan.get("VisibleName") or ""}
    for key, tag in (("mode", "ScanMode"), ("seconds per step", "TimePerStepEffective")):
        metadata[key] = (scan.findtext(tag) or "").strip()
    return {key: value for key, value in metadata.items() if value}


def _first_axis_column(route: Element) -> int:
    """Column of the first scan axis; older files without data views keep time and step number in front."""
    for view in route.iter("RawDataView"):
        varying = view.find("Varying")
        if varying is not None and varying.get("LogicName") == "ScanAxes":
            return _to_int(view.get("Start"), 2)
    return 2


def _type_of(view: Element) -> str:
    return next((value for key, value in view.attrib.items() if key.endswith("}type")), "")


def _to_int(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,6}", text) else default


def _read_tube(root: Element) -> tuple[float | None, dict[str, str]]:
    """The wavelength that the monochromator or the tube is set to, where it is said in Å; and what names them."""
    metadata: dict[str, str] = {}
    for element in root.iter():
        if element.tag.startswith("WaveLength") and element.get("Value") and element.get("Unit") in ("Å", ""):
            metadata.setdefault(element.tag, element.get("Value", ""))
        elif element.tag == "TubeMaterial" and element.text:
            metadata.setdefault("Anode", element.text.strip())
    # A scan set to one line states it; else the tube's mean is used, unless a monochromator may let one line through.
    has_monochromator = any(
        "monochrom" in " ".join(part.attrib.values()).lower() for part in root.iterfind(".//PrimaryTracks//*")
    )
    mean = None if has_monochromator else metadata.get("WaveLengthAverage")
    return parse_positive(metadata.get("WaveLength") or mean), metadata
