"""What the header of a text file says: columns, kind of axis, wavelength, times."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.patterns import axes
from xrd_jax.io.patterns.pattern import parse_positive
from xrd_jax.series.axis import ANGSTROM_PER_UNIT

MARKS = " \t#'!;%/*\""
_MAX_LINE, _MAX_LINES = 2000, 1000  # characters, lines
_QUOTED_PAIR = re.compile(r'(\w[\w ]{0,60}): "([^"]*)"')
_PAIR = re.compile(r"^([^=:]{1,60}?)\s*[=:]\s*(\S.*)$")
_LABEL = re.compile(r"[^,;\t]+")
_INTENSITY = re.compile(
    r"(?i)^\W*(i|y|y[\s_]?obs\w*|i[\s_]?obs\w*|counts?|cps|signal|detector)\b|intens|absorb|transmi|count", re.ASCII
)
_UNCERTAINTY = re.compile(r"(?i)err|sigma|σ|e\.?s\.?d\b|std|uncert|^\W*(e|dy|di|s)\W*$")
_TWO_THETA_SCAN = re.compile(r"(?i)^(locked |unlocked )?coupled|2 ?theta|two ?theta")
_TWO_THETA_KEY = re.compile(
    r"(?i)(start|first|begin|min|step|range|end).{0,20}(2|two)[ _-]?theta|(2|two)[ _-]?theta.{0,20}(start|step|range)"
)
_WAVELENGTH = re.compile(
    r"(?i)^\W*((calibrated|incident|x-?ray|neutron|used)[ _])?(wave[ _]?length|lambda|λ)\W*"
    r"([(\[ ]\s*(?P<unit>[^)\]\s]+)\s*[)\]]?)?\W*$"
)
_MAX_METRES = 1e-7  # a wavelength without a unit below this can only be in m
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


def parse_metadata(lines: Sequence[str]) -> dict[str, str]:
    """Return 'key: value' and 'key = value' of header lines, and the lines themselves under 'header'."""
    metadata: dict[str, str] = {}
    lines = [line[:_MAX_LINE].strip() for line in lines[:_MAX_LINES]]
    for line in lines:
        pairs: list[tuple[str, ...]] = _QUOTED_PAIR.findall(line)
        if not pairs and (match := _PAIR.match(line.lstrip(MARKS))):
            pairs = [match.groups()]
        metadata |= {key.strip(' \t"'): value.strip(" \t,") for key, value in pairs if value.strip()}
    header = "\n".join(lines)
    return metadata | {"header": header} if header.strip() else metadata


def parse_labels(lines: Sequence[str], count: int) -> list[str]:
    """Return the headings of `count` columns, from the last header line if it has as many words; else nothing.

    A sentence may have as many words as there are columns, so at least one word must be one that heads columns.
    """
    line = next((line for line in reversed(lines) if line.strip(MARKS)), "")[:_MAX_LINE].strip().lstrip(MARKS)
    joined = re.sub(r"\s+(?=[(\[])", "_", line.rstrip("*/ "))  # a unit in brackets belongs to the word before it
    splits = (_LABEL.findall(line), re.split(r"\s{2,}", line), joined.split())
    labels = [part.strip(" \t\"'") for part in next((parts for parts in splits if len(parts) > 1), [])]
    if len(labels) != count or "=" in line or not all(re.search(r"[^\W\d]|[°Åθ]", label) for label in labels):
        return []
    has_kind = axes.kind_of(labels[0])[0] is not None
    has_names = any(_INTENSITY.search(label) or _UNCERTAINTY.search(label) for label in labels[1:])
    return labels if has_kind or has_names else []


def choose_columns(labels: Sequence[str], count: int) -> Columns | None:
    """Find intensity and uncertainty among `count` columns; None where over three columns have no names that tell."""
    if not labels:
        return Columns(1, 2 if count == 3 else None) if count in (2, 3) else None
    errors = next((i for i in range(2, count) if _UNCERTAINTY.search(labels[i])), None)
    named = [i for i in range(1, count) if i != errors and _INTENSITY.search(labels[i])]
    if count > 3 and not named:
        return None
    intensity = named[0] if named else 1
    left_out = [labels[i] for i in range(1, count) if i not in (intensity, errors)]
    verb = "was" if len(left_out) == 1 else "were"
    notes = (f"of its columns {', '.join(left_out)} {verb} left out",) if left_out else ()
    return Columns(intensity, errors, notes)


def find_kind(labels: Sequence[str], metadata: Mapping[str, str], title: str = "") -> tuple[str | None, float]:
    """Return kind and factor of the axis from the first heading, a .chi axis title, or what was scanned."""
    for label in filter(None, (*labels[:1], title)):
        kind, factor = axes.kind_of(label)
        if kind is not None:
            return kind, factor
    if labels and not any(mark in labels[0] for mark in "{}"):
        return None, 1.0
    is_two_theta = _TWO_THETA_SCAN.match(metadata.get("Scantype", "")) or any(map(_TWO_THETA_KEY.search, metadata))
    return ("two_theta", 1.0) if is_two_theta else (None, 1.0)


def find_wavelength(metadata: Mapping[str, str]) -> tuple[float | None, tuple[str, ...]]:
    """Return Å where value and unit are stated, and a note where the unit is missing."""
    for key, text in metadata.items():
        if not (match := _WAVELENGTH.match(key)) or not (value := _VALUE.match(text)):
            continue
        number = parse_positive(value[1])
        unit = (match["unit"] or value[2]).strip("()[]").lower()
        if number is not None and unit in ANGSTROM_PER_UNIT:
            return number * ANGSTROM_PER_UNIT[unit], ()
        if number is not None and number < _MAX_METRES:
            return number * 1e10, ()
        return None, (f"the header gives a wavelength of {value[1]} without a unit, which was not used",)
    return None, ()


def find_times(
    metadata: Mapping[str, str],
) -> tuple[datetime.datetime | None, datetime.datetime | None, float | None]:
    """Return start, end and exposure in s, each where the header states it beyond doubt."""
    start = end = exposure = None
    for key, text in metadata.items():
        if key == "header":
            continue
        if end is None and _END.match(key):
            end = parse_datetime(text)
        elif start is None and _START.search(key) and not _NOT_START.search(key):
            start = parse_datetime(text)
        elif exposure is None and _EXPOSURE.search(key) and (value := _VALUE.match(text)):
            bracketed = re.search(r"[(\[]\s*(\w+)\.?\s*[)\]]", key)
            exposure = parse_positive(value[1]) if _SECONDS.match(bracketed[1] if bracketed else value[2]) else None
    return start, end, exposure
