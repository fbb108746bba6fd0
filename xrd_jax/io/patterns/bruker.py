"""Bruker .brml: a zip of XML, one RawData file per scan.

A scan is a list of `Datum` rows; `DataViews` say which columns are the moving axes and which the counter. Intensities
are stored multiplied by the absorber's factor, which has a column of its own.
"""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.archives import open_zip, read_xml_member
from xrd_jax.io.parsing.dates import parse_datetime, seconds_between
from xrd_jax.io.parsing.text import natural_key
from xrd_jax.io.patterns.pattern import Scan, UnfinishedScan, make_pattern, parse_positive, strip_texts

RAW_DATA = re.compile(r"(?:.*/)?RawData(\d{1,6})\.xml")


def read(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read every scan: 2θ in degrees where 2θ moves, start and end with their zone."""
    with open_zip(path) as archive:
        for name in sorted(filter(RAW_DATA.fullmatch, archive.namelist()), key=natural_key):
            yield from _read_member(archive, name, path, allow_negative)


def _read_member(archive: zipfile.ZipFile, name: str, path: Path, allow_negative: bool) -> Iterator[Scan]:
    root, source = read_xml_member(archive, name, path), f"{path}: {name}"
    routes = [route for route in root.iter("DataRoute") if route.find("Datum") is not None]
    routes = [route for route in routes if route.get("RouteFlag") in ("Measured", None)] or routes
    if not routes:
        yield UnfinishedScan(f"{name} holds no points (they are kept outside the XML, or were not measured)")
    start, end = (parse_datetime(root.findtext(f"TimeStamp{key}") or "") for key in ("Started", "Finished"))
    wavelength, file_metadata = _read_tube(root)
    exposure = seconds_between(start, end) if len(routes) == 1 else None
    for route in routes:
        axis, intensity, axis_name = _read_points(route, source)
        scan = next(route.iterfind("ScanInformation"), Element("none"))
        names = {"axis": axis_name, "scan": scan.get("VisibleName"), "mode": scan.findtext("ScanMode"),
                 "seconds per step": scan.findtext("TimePerStepEffective")}  # fmt: skip
        yield make_pattern(
            source, axis, intensity, allow_negative, kind="two_theta" if axis_name == "TwoTheta" else None,
            wavelength=wavelength, start_time=start, end_time=end, exposure=exposure,
            metadata=file_metadata | strip_texts(names),
        )  # fmt: skip


def _read_points(route: Element, source: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Positions [N], intensities [N], and the name of the axis that moves."""
    rows = [datum.text or "" for datum in route.iter("Datum")]
    try:
        table = np.loadtxt(rows, delimiter=",", comments=None, ndmin=2)
    except ValueError:
        raise UserError(f"{source}: its rows of data are damaged; copy or export the file again") from None
    counters = [view for view in route.iter("RawDataView") if "RecordedRawDataView" in view.attrib.values()]
    counter, length = (_to_int(counters[0].get(key), -1) for key in ("Start", "Length")) if counters else (-1, 1)
    if length != 1:
        fault = f"each step holds {length} detector channels"
        raise UserError(f"{source}: {fault}; integrate the scan and export two-column text")
    axes = [info.get("AxisId") or info.get("AxisName") or "" for info in route.iterfind(".//ScanAxes/ScanAxisInfo")]
    # Older files without data views keep time and step number in front of the first axis.
    first_axis = route.find(".//RawDataView/Varying[@LogicName='ScanAxes']/..")
    first_column = 2 if first_axis is None else _to_int(first_axis.get("Start"), 2)
    columns = {name: column for column, name in enumerate(dict.fromkeys(axes), first_column)}
    width = table.shape[1]
    moving = [name for name, column in columns.items() if column < width and np.ptp(table[:, column]) > 0]
    if not moving or not -width <= counter < width:
        raise UserError(f"{source}: no axis moves or no counter is named; this is no pattern: leave it out")
    axis = "TwoTheta" if "TwoTheta" in moving else moving[0]
    return table[:, columns[axis]], table[:, counter], axis


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
