"""What a column heading or an axis name says about positions: kind and factor to the unit of the series."""

import functools
import math
import re

_SUPERSCRIPTS = str.maketrans(
    {
        "⁻": "-",
        "−": "-",
        "–": "-",
        "¹": "1",
        "Å": "a",
        "å": "a",
        "\u212b": "a",
        "µ": "u",
        "μ": "u",
        "{": None,
        "}": None,
    }
)
_TWO_THETA = re.compile(r"(2|two)[\s_*-]*(theta|th\b|th(?=[_.\s(\[/])|θ|ϑ|θ)|(?<![a-z])tth(?![a-z])|2θ|2th\.")
_INVERSE_ANGSTROM = r"(1|i)\s*/\s*a(ng(strom)?s?)?\b|(?<![a-z])a(ng(strom)?s?)?\s*\^?\s*\(?-1\)?|inv(erse)?[\s_]*a(ng)?"
_INVERSE_NM = r"1\s*/\s*nm\b|nm\s*\^?\s*\(?-1\)?|inv(erse)?[\s_]*nm"
_ANGSTROM = r"(?<![a-z])a(ng(strom)?s?)?\b(?!\s*\^?\s*\(?-)"
_NM, _MICROMETRE = r"(?<![a-z])nm\b|nanomet", r"(?<![a-z])um\b|micromet|micron"
# Kind: what names it, and its units with the factor to the one of the series.
_KINDS: dict[str, tuple[str, dict[str, float]]] = {
    "q": (
        r"(?<![a-z])q(?![a-z])|scattering[\s_]*vector|momentum[\s_]*transfer",
        {_INVERSE_NM: 0.1, _INVERSE_ANGSTROM: 1.0},
    ),
    "d": (r"(?<![a-z0-9])d(?![a-z0-9])|d[\s_-]*spacing", {r"nm\b": 10.0, _ANGSTROM: 1.0}),
    "energy": (r"energy|^\W*e\W+k?ev\b", {"kev": 1000.0, r"(?<![mkg])ev\b": 1.0}),
    "wavenumber": (r"wave[\s_-]*numbers?|raman[\s_]*shift", {r"cm\s*\^?\s*\(?-1|1\s*/\s*cm": 1.0}),
    "wavelength": (r"wave[\s_-]*length|lambda|λ", {_NM: 1.0, _MICROMETRE: 1000.0, _ANGSTROM: 0.1}),
    "ppm": (r"(?<![a-z])ppm(?![a-z])", {"": 1.0}),
    "velocity": ("velocity", {r"mm\s*/\s*s|mm\s*s\s*\^?-1": 1.0}),
    "channel": (r"^\W*channels?\W*$", {"": 1.0}),
}


@functools.lru_cache(maxsize=512)  # files of a series have one heading
def kind_of(label: str) -> tuple[str | None, float]:
    """Return the kind in `series.AXIS_UNITS` and the factor to its unit; (None, 1.0) where the label leaves doubt.

    2θ is in degrees unless the label says radians; everything else but ppm, channel and wavenumber needs its unit.
    """
    text = label[:200].translate(_SUPERSCRIPTS).lower().translate(_SUPERSCRIPTS)
    spaced = text.replace("_", " ")
    if _TWO_THETA.search(text):
        radians = re.search(r"(?<![a-z])(m?)rad", spaced)
        return "two_theta", math.degrees(1e-3 if radians[1] else 1.0) if radians else 1.0
    for kind, (name, units) in _KINDS.items():
        if re.search(name, spaced):
            for unit, factor in units.items():
                if re.search(unit, spaced):
                    return kind, factor
            has_no_unit = not re.search(r"[(\[/]", spaced)
            return (kind, 1.0) if kind == "wavenumber" and has_no_unit else (None, 1.0)
    return None, 1.0
