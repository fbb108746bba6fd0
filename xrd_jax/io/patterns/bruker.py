"""Bruker .brml: a zip of XML, one RawData file per scan.

A scan is a list of `Datum` rows; `DataViews` say which columns are the moving axes and which the counter. Intensities
are stored multiplied by the absorber's factor, which has a column of its own.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import archives
from xrd_jax.io.patterns import pattern, times

_RAW = re.compile(r"(?:.*/)?RawData(\d{1,6})\.xml")


def recognises(names: list[str]) -> bool:
    """True for the members that only this kind of archive has."""
    return any(_RAW.fullmatch(name) or name.endswith("DataContainer.xml") for name in names)


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every scan: 2θ in degrees where 2θ moves, start and end with their zone.

    Raises:
      UserError: a damaged archive, no scan, or a scan of images instead of points.
    """
    with archives.open_zip(path) as opened:
        names = sorted(filter(_RAW.fullmatch, opened.namelist()), key=_number)
        return pattern.collect((scan for name in names for scan in _scans(opened, name, path, allow_negative)), path)


def _number(name: str) -> tuple[str, int]:
    match = _RAW.fullmatch(name)
    return name.rpartition("/")[0], int(match[1]) if match else 0


def _scans(opened: zipfile.ZipFile, name: str, path: Path, allow_negative: bool) -> list[pattern.Pattern]:
    root, place = archives.xml_member(opened, name, path), f"{path}: {name}"
    routes = [route for route in root.iter("DataRoute") if route.find("Datum") is not None]
    routes = [route for route in routes if route.get("RouteFlag") in ("Measured", None)] or routes
    if not routes:
        raise UserError(
            f"{place}: holds no points (kept outside the XML, or not measured); export the scan as two-column text"
        )
    start, end = (times.parse(root.findtext(f"TimeStamp{key}") or "") for key in ("Started", "Finished"))
    wavelength, metadata = _described(root)
    found = []
    for route in routes:
        axis, intensity, kind, facts = _points(route, place)
        found.append(
            pattern.finish(
                place,
                axis,
                intensity,
                allow_negative,
                kind=kind,
                wavelength=wavelength,
                start_time=start,
                end_time=end,
                exposure=times.seconds(start, end) if len(routes) == 1 else None,
                metadata=metadata | facts,
            )
        )
    return found


def _points(route: Element, place: str) -> tuple[np.ndarray, np.ndarray, str | None, dict[str, str]]:
    """Positions [N], intensities [N], kind of axis, and what is said about the scan."""
    rows = [datum.text or "" for datum in route.iter("Datum")]
    try:
        table = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        raise UserError(f"{place}: its rows of data are damaged; copy or export the file again") from None
    counters = [view for view in route.iter("RawDataView") if _type(view) == "RecordedRawDataView"]
    first, length = (_whole(counters[0].get(key), -1) for key in ("Start", "Length")) if counters else (-1, 1)
    if length != 1:
        raise UserError(
            f"{place}: each step holds {length} detector channels; integrate the scan and export two-column text"
        )
    names = [info.get("AxisId") or info.get("AxisName") or "" for info in route.iterfind(".//ScanAxes/ScanAxisInfo")]
    names = list(dict.fromkeys(names))
    offset = _first_axis(route)
    moving = [i for i in range(len(names)) if offset + i < table.shape[1] and np.ptp(table[:, offset + i]) > 0]
    if not moving or not -table.shape[1] <= first < table.shape[1]:
        raise UserError(f"{place}: no axis moves or no counter is named; this is no pattern: leave it out")
    chosen = next((i for i in moving if names[i] == "TwoTheta"), moving[0])
    scan = route.find("ScanInformation")
    facts = {"axis": names[chosen], "scan": (scan.get("VisibleName") or "") if scan is not None else ""}
    for key, where in (("mode", "ScanMode"), ("seconds per step", "TimePerStepEffective")):
        facts[key] = (scan.findtext(where) or "").strip() if scan is not None else ""
    kind = "two_theta" if names[chosen] == "TwoTheta" else None
    return table[:, offset + chosen], table[:, first], kind, {key: value for key, value in facts.items() if value}


def _first_axis(route: Element) -> int:
    """Column of the first scan axis; older files without data views keep time and step number in front."""
    for view in route.iter("RawDataView"):
        varying = view.find("Varying")
        if varying is not None and varying.get("LogicName") == "ScanAxes":
            return _whole(view.get("Start"), 2)
    return 2


def _type(view: Element) -> str:
    return next((value for key, value in view.attrib.items() if key.endswith("}type")), "")


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"\d{1,6}", text) else default


def _described(root: Element) -> tuple[float | None, dict[str, str]]:
    """The wavelength that the monochromator or the tube is set to, where it is said in Å; and tube and time stamps."""
    found: dict[str, str] = {}
    for element in root.iter():
        if element.tag.startswith("WaveLength") and element.get("Value") and element.get("Unit") in ("Å", ""):
            found.setdefault(element.tag, element.get("Value", ""))
        elif element.tag == "TubeMaterial" and element.text:
            found.setdefault("Anode", element.text.strip())
    # A scan set to one line states it; else the tube's mean is used, unless a monochromator may let one line through.
    selected = any(
        "monochrom" in " ".join(part.attrib.values()).lower() for part in root.iterfind(".//PrimaryTracks//*")
    )
    used = found.get("WaveLength") or (None if selected else found.get("WaveLengthAverage"))
    return pattern.positive(used), found
