"""What the header of a text file says: columns, kind of axis, wavelength, times."""

import datetime
import re
from collections.abc import Mapping, Sequence

from xrd_jax.io.parsing.dates import parse_datetime
from xrd_jax.io.patterns import axes
from xrd_jax.io.patterns.columns import MARKS
from xrd_jax.io.patterns.pattern import line_wavelength, parse_positive
from xrd_jax.series.axis import ANGSTROM_PER_UNIT

_MAX_LINE, _MAX_LINES = 2000, 1000  # characters, lines
_QUOTED_PAIR = re.compile(r'(\w[\w ]{0,60}): "([^"]*)"')
_PAIR = re.compile(r"^([^=:]{1,60}?)\s*[=:]\s*(\S.*)$")
_PAIRS_IN_LINE = re.compile(r"([^\W\d][\w ]{0,30}?)\s*=\s*([^=]*?)(?=[\s,;#]+[^\W\d]\w*\s*=|$)")  # Date = … Dt = …
_LISTED_PAIR = re.compile(r"^([^\W\d][^,;\t=]{0,60}?)\s*[,;\t]\s*(\S.*)$")  # Anode material,Cu
_NUMBERED_PAIR = re.compile(r"^([^\W\d][\w .()\[\]/-]{0,60}?)\s+([+-]?\d\S*(?:\s\w+)?)$")  # Lambda1 1.5406
_ANODE = re.compile(r"(?i)^(tube )?(anode|target)([ _]material)?$")
_SCAN_KEY = re.compile(r"(?i)^scan[\s_-]?(type|axis|mode)$")
_TWO_THETA_SCAN = re.compile(r"(?i)(locked |unlocked )?coupled|gonio|2[ -]?theta|two ?theta")
_TWO_THETA_KEY = re.compile(
    r"(?i)(start|first|begin|min|step|range|end).{0,20}(2|two)[ _-]?theta|(2|two)[ _-]?theta.{0,20}(start|step|range)"
)
# Headings that leave open which angle is meant.
_OPEN_LABEL = re.compile(r"(?i)[{}]|^\W*(angle|pos(ition)?|x)\W*(deg\w*|°)?\W*$")
_WAVELENGTH = re.compile(
    r"(?i)^\W*((calibrated|incident|x-?ray|neutron|used)[ _])?(wave([ _]?length)?|lambda|λ|wl)\W*"
    r"([(\[ ]\s*(?P<unit>[^)\]\s]+)\s*[)\]]?)?\W*$"
)
_ALPHA1, _ALPHA2 = (
    re.compile(rf"(?i)^\W*(k[\s_-]*(alpha|α|a)|labda\W*alpha|lambda|λ|wave[\s_]*length|wl)[\s_-]*{line}(?!\d)")
    for line in (1, 2)
)
_RATIO = re.compile(
    r"(?i)ratio.*(alpha|α|lambda|\bk|2)|(alpha|α|lambda|\bk|wl)\w*[\s_-]*ratio|^\W*(ratio|i2(/i1)?)\W*$"
)
_MAX_METRES = 1e-7  # a wavelength without a unit below this can only be in m
_VALUE = re.compile(r"^[^\w+-]*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([^\s,;)]*)")
_NOT_START = re.compile(r"(?i)end|stop|finish|sav|writ|export|creat|print|file|version|per step|zone|process")
_START = re.compile(r"(?i)start|began|date|acquir|measured|\bscan time\b|^time(stamp)?$|recorded")
_FILE_DATE = re.compile(r"(?i)file date and time$")  # how one maker's export calls the date of the scan
_END = re.compile(r"(?i)^\W*(end|stop|finish)\w*[ _]?(date|time)?")
_SINCE_START = re.compile(r"(?i)^\W*(elapsed[ _]?)?(time|seconds?)[ _](from|since)[ _](the[ _])?start\b")
_NAMED_MONTH = re.compile(r"/(?=[A-Za-z]{3})|(?<=[A-Za-z]{3})/")  # 14/March/2024
_EXPOSURE = re.compile(r"(?i)^dt$|^(?!.*(step|point|frame)).*(exposure|count(ing)?[ _]?time|acquisition[ _]?time)")
_SECONDS = re.compile(r"(?i)^(s|sec|secs|seconds)\.?$")


def parse_metadata(lines: Sequence[str], separator: str | None = None) -> dict[str, str]:
    """Return the pairs of key and value of header lines, the anode as 'Anode', and the lines themselves as 'header'.

    Pairs are 'key: value', 'key = value', 'key,value' and 'key 1.5'; a `separator` of ',' puts the third form first.
    """
    metadata: dict[str, str] = {}
    lines = [line[:_MAX_LINE].strip() for line in lines[:_MAX_LINES]]
    forms = (_LISTED_PAIR, _PAIR) if separator == "," else (_PAIR, _LISTED_PAIR)
    for line in lines:
        bare = line.lstrip(MARKS)
        pairs: list[tuple[str, ...]] = _QUOTED_PAIR.findall(line)
        if not pairs and bare.count("=") > 1:
            pairs = _PAIRS_IN_LINE.findall(bare)
        if not pairs:
            matches = (form.match(bare) for form in (*forms, _NUMBERED_PAIR))
            pairs = [match.groups() for match in matches if match][:1]
        metadata |= {key.strip(' \t"'): value.strip(' \t,;"') for key, value in pairs if value.strip()}
    anode = next((text for key, text in metadata.items() if _ANODE.match(key)), "")
    metadata |= {"Anode": anode} if anode else {}
    header = "\n".join(lines)
    return metadata | {"header": header} if header.strip() else metadata


def find_kind(label: str, metadata: Mapping[str, str], title: str = "") -> tuple[str | None, float]:
    """Return kind and factor of the axis from its heading, a .chi axis title, or what was scanned."""
    for name in filter(None, (label, title)):
        kind, factor = axes.kind_of(name)
        if kind is not None:
            return kind, factor
    if label and not _OPEN_LABEL.search(label):
        return None, 1.0
    scanned = (text for key, text in metadata.items() if _SCAN_KEY.match(key))
    is_two_theta = any(map(_TWO_THETA_SCAN.search, scanned)) or any(map(_TWO_THETA_KEY.search, metadata))
    return ("two_theta", 1.0) if is_two_theta else (None, 1.0)


def find_wavelength(metadata: Mapping[str, str]) -> tuple[float | None, tuple[str, ...]]:
    """Return Å where value and unit are stated or two lines are a Kα doublet, and a note on what was assumed."""
    alpha1, alpha2 = (_find_length(metadata, words) for words in (_ALPHA1, _ALPHA2))
    if alpha1 is not None and alpha2 is not None and alpha1[1] == alpha2[1]:
        # In Å the lines of the doublet of an anode from Ti to Ag lie at 0.55 to 2.8, 0.1 to 0.9 % apart.
        is_doublet = 0.5 < alpha1[0] < 3.0 and 1.001 < alpha2[0] / alpha1[0] < 1.01
        factor = alpha1[1] or (1.0 if is_doublet else None)
        if factor is not None:
            ratio = next((text for key, text in metadata.items() if _RATIO.search(key)), None)
            return line_wavelength("Ka", alpha1[0] * factor, alpha2[0] * factor, ratio)
    stated = _find_length(metadata, _WAVELENGTH) or alpha1
    if stated is None:
        return None, ()
    number, factor = stated
    if factor is not None or number < _MAX_METRES:
        return number * (factor or 1e10), ()
    return None, (f"the header gives a wavelength of {number:.10g} without a unit, which was not used",)


def _find_length(metadata: Mapping[str, str], words: re.Pattern[str]) -> tuple[float, float | None] | None:
    """Number and factor to Å, None without a known unit, of the first key that the words match."""
    for key, text in metadata.items():
        if not (match := words.match(key)) or not (value := _VALUE.match(text)):
            continue
        if (number := parse_positive(value[1])) is not None:
            bracketed = re.search(r"[(\[]\s*([^)\]\s]+)\s*[)\]]\W*$", key)
            unit = (bracketed[1] if bracketed else match.groupdict().get("unit") or value[2]).strip("()[]").lower()
            return number, ANGSTROM_PER_UNIT.get(unit)
    return None


def find_times(
    metadata: Mapping[str, str],
) -> tuple[datetime.datetime | None, datetime.datetime | None, float | None]:
    """Return start, end and exposure in s, each where the header states it beyond doubt."""
    start = end = exposure = None
    elapsed = 0.0  # s from the start that is stated, which is that of a series
    for key, text in metadata.items():
        if key == "header":
            continue
        value, date = _VALUE.match(text), _NAMED_MONTH.sub("-", text)
        if _SINCE_START.match(key):
            elapsed = float(value[1]) if value and _is_in_seconds(key, value) else 0.0
        elif end is None and _END.match(key):
            end = parse_datetime(date)
        elif start is None and _START.search(key) and not (_NOT_START.search(key) and not _FILE_DATE.match(key)):
            start = parse_datetime(date)
        elif exposure is None and _EXPOSURE.search(key) and value:
            exposure = parse_positive(value[1]) if _is_in_seconds(key, value) else None
    return start and start + datetime.timedelta(seconds=elapsed), end, exposure


def _is_in_seconds(key: str, value: re.Match[str]) -> bool:
    bracketed = re.search(r"[(\[]\s*(\w+)\.?\s*[)\]]", key)
    return _SECONDS.match(bracketed[1] if bracketed else value[2]) is not None
