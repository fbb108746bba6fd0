"""PANalytical / Malvern .xrdml, schemas 1.0 to 2.x: XML with any number of measurements and scans.

Positions are a start and an end (evenly spaced over the points), a list, or one common value of an axis at rest.
`intensities` are corrected for beam attenuation by the instrument; `counts` (schema 2) are not, and are multiplied by
the attenuation factors here. Both facts are those of the schema's documentation.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing.archives import read_xml
from xrd_jax.io.parsing.dates import parse_datetime, seconds_between
from xrd_jax.io.patterns.pattern import (
    CUT,
    Pattern,
    Scan,
    UnfinishedScan,
    line_wavelength,
    make_pattern,
    parse_numbers,
    strip_texts,
)

_ATTENUATION = ("beamAttenuationFactors", "commonBeamAttenuationFactor")
_DIVERGENCE = ("divergenceCorrections", "commonDivergenceCorrection")


def read(path: Path, allow_negative: bool) -> Iterator[Scan]:
    """Read every scan: 2θ in degrees where 2θ moves, the wavelength that the measurement is said to have used."""
    root, number = read_xml(path), 0
    for measurement in root.iter("xrdMeasurement"):
        metadata = _describe(root, measurement)
        lines = (metadata.get(key) for key in ("kAlpha1", "kAlpha2", "ratioKAlpha2KAlpha1", "kBeta"))
        wavelength, notes = line_wavelength(metadata.get("intended wavelength", ""), *lines)
        for scan in measurement.iter("scan"):
            number += 1
            status = scan.get("status", "Completed")
            if not (scan.findtext("dataPoints/intensities") or scan.findtext("dataPoints/counts")):
                yield UnfinishedScan(f"scan {number} has no intensities (status {status[:40]})")
                continue
            is_whole = status in ("Completed", "Finished")
            scan_notes = notes if is_whole else (*notes, f"its status is '{status[:40]}': it {CUT}")
            facts = {"wavelength": wavelength, "notes": scan_notes}
            pattern = _read_scan(scan, f"{path}: scan {number}", allow_negative, facts, metadata)
            yield pattern if is_whole else UnfinishedScan(f"scan {number} is '{status[:40]}'", pattern)


def _read_scan(
    scan: Element, source: str, allow_negative: bool, facts: dict[str, Any], metadata: dict[str, str]
) -> Pattern:
    points = scan.find("dataPoints")
    assert points is not None
    intensity, notes, tag = _read_intensities(points, source)
    axis, name, kind = _read_axis(points, scan.get("scanAxis", ""), intensity.size, source)
    start, end = (parse_datetime(scan.findtext(f"header/{key}TimeStamp") or "") for key in ("start", "end"))
    names = {"axis": name, "values": tag, "seconds per step": points.findtext("commonCountingTime")}
    facts = facts | {"notes": (*facts["notes"], *notes), "metadata": metadata | strip_texts(scan.attrib | names)}
    return make_pattern(
        source, axis, intensity, allow_negative, kind=kind, start_time=start, end_time=end,
        exposure=seconds_between(start, end), **facts,
    )  # fmt: skip


def _read_intensities(points: Element, source: str) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Intensities [N], notes, and which of the two elements they come from."""
    if (text := points.findtext("intensities")) is not None:
        return parse_numbers(text, f"{source}: intensities"), (), "intensities"
    values = parse_numbers(points.findtext("counts") or "", f"{source}: counts")
    notes: tuple[str, ...] = ()
    for name in _ATTENUATION:
        if (stated := points.findtext(name)) is not None:
            factors = parse_numbers(stated, f"{source}: {name}")
            if factors.size not in (1, values.size):
                raise UserError(f"{source}: {factors.size} {name} for {values.size} counts; export it again")
            if (factors != 1).any():
                notes = ("the counts were multiplied by the beam attenuation factors",)
                values = values * factors
    if any(points.find(name) is not None for name in _DIVERGENCE):
        notes = (*notes, "the counts are as measured, without the divergence correction that the file lists")
    return values, notes, "counts"


def _read_axis(points: Element, scan_axis: str, size: int, source: str) -> tuple[np.ndarray, str, str | None]:
    """Positions [N] of the moving axis, its name, and 'two_theta' where it is that; 2θ goes before all others."""
    moving: dict[str, tuple[np.ndarray, str]] = {}
    for element in points.iter("positions"):
        name, unit = element.get("axis", ""), element.get("unit", "")
        values = _read_positions(element, size, f"{source}: positions of {name or 'an unnamed axis'}")
        if values is not None and values.size > 1 and (values[0] != values[-1] or name == scan_axis):
            moving[name] = values, unit
    if not moving:
        scan_axis = scan_axis or "not named"
        raise UserError(f"{source}: no axis moves (scan axis {scan_axis}); this is no pattern: leave it out")
    name = next((name for name in ("2Theta", scan_axis) if name in moving), next(iter(moving)))
    values, unit = moving[name]
    return values, f"{name} ({unit})" if unit else name, "two_theta" if name == "2Theta" and unit == "deg" else None


def _read_positions(element: Element, size: int, source: str) -> np.ndarray | None:
    """Positions [size], or None for an axis at rest."""
    if (text := element.findtext("listPositions")) is not None:
        values = parse_numbers(text, source)
        if values.size != size:
            raise UserError(f"{source}: {values.size} values for {size} intensities; export it again")
        return values
    start, end = element.findtext("startPosition"), element.findtext("endPosition")
    if start is None or end is None:
        return None
    first, last = parse_numbers(start, source), parse_numbers(end, source)
    if first.size != 1 or last.size != 1:
        raise UserError(f"{source}: start and end must be one number each; export it again")
    return np.linspace(first[0], last[0], size)


def _describe(root: Element, measurement: Element) -> dict[str, str]:
    """Wavelengths, sample, tube and comments: what a person would look for in the header."""
    comments = (entry.text.strip() for entry in root.iter("entry") if entry.text)
    used = next(measurement.iterfind("usedWavelength"), Element("none"))
    in_angstrom = all(child.get("unit") == "Angstrom" for child in used if child.tag.startswith("k"))
    wavelengths = {child.tag: child.text for child in used}
    return strip_texts(wavelengths | {"intended wavelength": used.get("intended") if in_angstrom else ""} | {
        "Anode": measurement.findtext(".//anodeMaterial"), "tension kV": measurement.findtext(".//tension"),
        "current mA": measurement.findtext(".//current"), "sample": root.findtext("sample/name"),
        "sample id": root.findtext("sample/id"), "comment": "; ".join(filter(None, comments)),
    })  # fmt: skip
