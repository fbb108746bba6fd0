"""What the words above the numbers of a text file say: columns, kind of axis, wavelength, times."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xrd_jax.io.patterns import axes, pattern, times

MARKS = " \t#'!;%/*\""
_LONGEST, _MOST_LINES = 2000, 1000
_QUOTED_PAIR = re.compile(r'(\w[\w ]{0,60}): "([^"]*)"')
_PAIR = re.compile(r"^([^=:]{1,60}?)\s*[=:]\s*(\S.*)$")
_LABEL = re.compile(r"[^,;\t]+")
_INTENSITY = re.compile(
    r"(?i)^\W*(i|y|y[\s_]?obs\w*|i[\s_]?obs\w*|counts?|cps|signal|detector)\b|intens|absorb|transmi|count", re.ASCII
)
_UNCERTAIN = re.compile(r"(?i)err|sigma|σ|e\.?s\.?d\b|std|uncert|^\W*(e|dy|di|s)\W*$")
_TWO_THETA_SCAN = re.compile(r"(?i)^(locked |unlocked )?coupled|2 ?theta|two ?theta")
_TWO_THETA_KEY = re.compile(
    r"(?i)(start|first|begin|min|step|range|end).{0,20}(2|two)[ _-]?theta|(2|two)[ _-]?theta.{0,20}(start|step|range)"
)
_WAVELENGTH = re.compile(
    r"(?i)^\W*((calibrated|incident|x-?ray|neutron|used)[ _])?(wave[ _]?length|lambda|λ)\W*"
    r"([(\[ ]\s*(?P<unit>[^)\]\s]+)\s*[)\]]?)?\W*$"
)
_LENGTHS = {
    "å": 1.0,
    "a": 1.0,
    "ang": 1.0,
    "ang.": 1.0,
    "angstrom": 1.0,
    "angstroms": 1.0,
    "nm": 10.0,
    "m": 1e10,
    "pm": 0.01,
}
_VALUE = re.compile(r"^[^\w+-]*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([^\s,;)]*)")
_NOT_START = re.compile(r"(?i)end|stop|finish|sav|writ|export|creat|print|file|version|per step|zone|process")
_START = re.compile(r"(?i)start|began|date|acquir|measured|\bscan time\b|^time(stamp)?$|recorded")
_END = re.compile(r"(?i)^\W*(end|stop|finish)\w*[ _]?(date|time)?")
_EXPOSURE = re.compile(r"(?i)^(?!.*(step|point|frame)).*(exposure|count(ing)?[ _]?time|acquisition[ _]?time)")
_SECONDS = re.compile(r"(?i)^(s|sec|secs|seconds)\.?$")


class Columns(NamedTuple):
    """Which columns hold what; `notes` says what was left out."""

    intensity: int = 1
    errors: int | None = None
    notes: tuple[str, ...] = ()


def metadata(lines: Sequence[str]) -> dict[str, str]:
    """'key: value' and 'key = value' of header lines; the lines themselves under 'header'."""
    found: dict[str, str] = {}
    lines = [line[:_LONGEST].strip() for line in lines[:_MOST_LINES]]
    for line in lines:
        pairs: list[tuple[str, ...]] = _QUOTED_PAIR.findall(line)
        if not pairs and (match := _PAIR.match(line.lstrip(MARKS))):
            pairs = [match.groups()]
        found |= {key.strip(' \t"'): value.strip(" \t,") for key, value in pairs if value.strip()}
    header = "\n".join(lines)
    return found | {"header": header} if header.strip() else found


def labels(lines: Sequence[str], count: int) -> list[str]:
    """The headings of `count` columns, from the last header line if it has as many words; else nothing.

    A sentence may have as many words as there are columns, so at least one word must be one that heads columns.
    """
    line = next((line for line in reversed(lines) if line.strip(MARKS)), "")[:_LONGEST].strip().lstrip(MARKS)
    tight = re.sub(r"\s+(?=[(\[])", "_", line.rstrip("*/ "))  # a unit in brackets belongs to the word before it
    ways = (_LABEL.findall(line), re.split(r"\s{2,}", line), tight.split())
    words = [part.strip(" \t\"'") for part in next((parts for parts in ways if len(parts) > 1), [])]
    if len(words) != count or "=" in line or not all(re.search(r"[^\W\d]|[°Åθ]", word) for word in words):
        return []
    known = axes.kind_of(words[0])[0] or any(_INTENSITY.search(word) or _UNCERTAIN.search(word) for word in words[1:])
    return words if known else []


def columns(names: Sequence[str], count: int) -> Columns | None:
    """Intensity and uncertainty among `count` columns; None where over three columns have no names that tell."""
    if not names:
        return Columns(1, 2 if count == 3 else None) if count in (2, 3) else None
    errors = next((i for i in range(2, count) if _UNCERTAIN.search(names[i])), None)
    named = [i for i in range(1, count) if i != errors and _INTENSITY.search(names[i])]
    if count > 3 and not named:
        return None
    chosen = named[0] if named else 1
    left = [names[i] for i in range(1, count) if i not in (chosen, errors)]
    notes = (f"of its columns {', '.join(left)} {'was' if len(left) == 1 else 'were'} left out",) if left else ()
    return Columns(chosen, errors, notes)


def kind(names: Sequence[str], found: Mapping[str, str], title: str = "") -> tuple[str | None, float]:
    """Kind of the axis and factor to its unit, from the first heading, a .chi axis title, or what was scanned."""
    for label in (*names[:1], title):
        if label and (said := axes.kind_of(label))[0]:
            return said
    if names and not any(mark in names[0] for mark in "{}"):
        return None, 1.0
    scanned = _TWO_THETA_SCAN.match(found.get("Scantype", ""))
    return ("two_theta", 1.0) if scanned or any(_TWO_THETA_KEY.search(key) for key in found) else (None, 1.0)


def wavelength(found: Mapping[str, str]) -> tuple[float | None, tuple[str, ...]]:
    """Å where value and unit are stated; a note where the unit is missing. Below 1e-7 only metres make sense."""
    for key, text in found.items():
        if not (match := _WAVELENGTH.match(key)) or not (value := _VALUE.match(text)):
            continue
        number = pattern.positive(value[1])
        unit = (match["unit"] or value[2]).strip("()[]").lower()
        if number is not None and unit in _LENGTHS:
            return number * _LENGTHS[unit], ()
        if number is not None and number < 1e-7:
            return number * 1e10, ()
        return None, (f"the header gives a wavelength of {value[1]} without a unit, which was not used",)
    return None, ()


def clock(found: Mapping[str, str]) -> tuple[datetime.datetime | None, datetime.datetime | None, float | None]:
    """Start, end and exposure in s, each where the header states it beyond doubt."""
    start = end = exposure = None
    for key, text in found.items():
        if key == "header":
            continue
        if end is None and _END.match(key):
            end = times.parse(text)
        elif start is None and _START.search(key) and not _NOT_START.search(key):
            start = times.parse(text)
        elif exposure is None and _EXPOSURE.search(key) and (value := _VALUE.match(text)):
            unit = re.search(r"[(\[]\s*(\w+)\.?\s*[)\]]", key)
            said = unit[1] if unit else value[2]
            exposure = pattern.positive(value[1]) if _SECONDS.match(said) else None
    return start, end, exposure
