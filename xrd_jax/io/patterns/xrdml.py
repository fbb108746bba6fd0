"""PANalytical / Malvern .xrdml, schemas 1.0 to 2.x: XML with any number of measurements and scans.

Positions are a start and an end (evenly spaced over the points), a list, or one common value of an axis at rest.
`intensities` are corrected for beam attenuation by the instrument; `counts` (schema 2) are not, and are multiplied by
the attenuation factors here. Both facts are those of the schema's documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import archives
from xrd_jax.io.patterns import pattern, times

_FACTORS = ("beamAttenuationFactors", "commonBeamAttenuationFactor")
_DIVERGENCE = ("divergenceCorrections", "commonDivergenceCorrection")


def recognises(head: bytes) -> bool:
    """True for the root element that only this format has, in UTF-8 or UTF-16."""
    return b"<xrdMeasurement" in head.replace(b"\x00", b"")


def read(path: Path, allow_negative: bool = False) -> tuple[pattern.Pattern, ...]:
    """Reads every scan: 2θ in degrees where 2θ moves, the wavelength that the measurement is said to have used.

    Raises:
      UserError: broken XML, no finished scan, or a scan whose lists do not fit together.
    """
    return pattern.collect(_scans(archives.xml_file(path), path, allow_negative), path)


def _scans(root: Element, path: Path, allow_negative: bool) -> Iterator[pattern.Pattern]:
    number = 0
    for measurement in root.iter("xrdMeasurement"):
        shared = _wavelengths(measurement) | _described(root, measurement)
        wavelength = pattern.line_wavelength(
            shared.get("intended wavelength", ""),
            shared.get("kAlpha1"),
            shared.get("kAlpha2"),
            shared.get("ratioKAlpha2KAlpha1"),
            shared.get("kBeta"),
        )
        for scan in measurement.iter("scan"):
            number += 1
            yield _scan(scan, f"{path}: scan {number}", allow_negative, wavelength, shared)


def _scan(
    scan: Element, place: str, allow_negative: bool, wavelength: float | None, shared: dict[str, str]
) -> pattern.Pattern:
    points = scan.find("dataPoints")
    if points is None:
        raise UserError(f"{place} has no data points (status {scan.get('status', '?')}); remove the unfinished scan")
    values, notes, raw = _intensities(points, place)
    axis, name, kind = _positions(points, scan.get("scanAxis", ""), values.size, place)
    start, end = (times.parse(scan.findtext(f"header/{key}TimeStamp") or "") for key in ("start", "end"))
    metadata = shared | {key: value for key, value in scan.attrib.items() if value} | {"axis": name, "values": raw}
    step = points.findtext("commonCountingTime")
    if step:
        metadata["seconds per step"] = step.strip()
    return pattern.finish(
        place,
        axis,
        values,
        allow_negative,
        notes=notes,
        kind=kind,
        wavelength=wavelength,
        start_time=start,
        end_time=end,
        exposure=times.seconds(start, end),
        metadata=metadata,
    )


def _intensities(points: Element, place: str) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Intensities [N], notes, and which of the two elements they come from."""
    for name in ("intensities", "counts"):
        text = points.findtext(name)
        if text is not None:
            break
    else:
        raise UserError(f"{place} has no intensities; export it again")
    values = pattern.numbers(text, f"{place}: {name}")
    notes: tuple[str, ...] = ()
    if name == "counts":
        for factor in _FACTORS:
            if (stated := points.findtext(factor)) is not None:
                factors = pattern.numbers(stated, f"{place}: {factor}")
                if factors.size not in (1, values.size):
                    raise UserError(f"{place}: {factors.size} {factor} for {values.size} counts; export it again")
                if (factors != 1).any():
                    notes = ("the counts were multiplied by the beam attenuation factors",)
                    values = values * factors
        if any(points.find(name) is not None for name in _DIVERGENCE):
            notes = (*notes, "the counts are as measured, without the divergence correction that the file lists")
    return values, notes, name


def _positions(points: Element, scan_axis: str, size: int, place: str) -> tuple[np.ndarray, str, str | None]:
    """Positions [N] of the moving axis, its name, and 'two_theta' where it is that; 2θ goes before all others."""
    moving: dict[str, tuple[np.ndarray, str]] = {}
    for element in points.iter("positions"):
        name, unit = element.get("axis", ""), element.get("unit", "")
        values = _listed(element, size, f"{place}: positions of {name or 'an unnamed axis'}")
        if values is not None and values.size > 1 and (values[0] != values[-1] or name == scan_axis):
            moving[name] = values, unit
    if not moving:
        raise UserError(
            f"{place}: no axis moves (scan axis {scan_axis or 'not named'}); this is no pattern: leave it out"
        )
    name = next((name for name in ("2Theta", scan_axis) if name in moving), next(iter(moving)))
    values, unit = moving[name]
    return values, f"{name} ({unit})" if unit else name, "two_theta" if name == "2Theta" and unit == "deg" else None


def _listed(element: Element, size: int, place: str) -> np.ndarray | None:
    if (text := element.findtext("listPositions")) is not None:
        values = pattern.numbers(text, place)
        if values.size != size:
            raise UserError(f"{place}: {values.size} values for {size} intensities; export it again")
        return values
    ends = [element.findtext(name) for name in ("startPosition", "endPosition")]
    if None in ends:
        return None
    first, last = (pattern.numbers(text or "", place) for text in ends)
    if first.size != 1 or last.size != 1:
        raise UserError(f"{place}: start and end must be one number each; export it again")
    return np.linspace(first[0], last[0], size)


def _wavelengths(measurement: Element) -> dict[str, str]:
    used = measurement.find("usedWavelength")
    if used is None:
        return {}
    found = {child.tag: (child.text or "").strip() for child in used if (child.text or "").strip()}
    wrong = [child.get("unit") for child in used if child.tag.startswith("k") and child.get("unit") != "Angstrom"]
    intended = {} if wrong else {"intended wavelength": used.get("intended", "")}
    return found | intended


def _described(root: Element, measurement: Element) -> dict[str, str]:
    """Sample, tube and comments: what a person would look for in the header."""
    paths = {"Anode": ".//anodeMaterial", "tension kV": ".//tension", "current mA": ".//current"}
    found = {key: measurement.findtext(where) for key, where in paths.items()}
    found |= {"sample": root.findtext("sample/name"), "sample id": root.findtext("sample/id")}
    found["comment"] = "; ".join(
        entry.text.strip() for entry in root.iter("entry") if entry.text and entry.text.strip()
    )
    return {key: value.strip() for key, value in found.items() if value and value.strip()}
