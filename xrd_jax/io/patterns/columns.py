"""Which columns of a table hold positions, intensities and uncertainties: by heading, by what the user names, by habit.

Headings are put into roles by the words below, which docs/formats.md lists. A column that no word describes has none.
"""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError
from xrd_jax.io.patterns import axes
from xrd_jax.io.patterns.pattern import SIGNED_KINDS

ColumnNames = tuple[str | int, ...]  # headings or places, counted from 1, of position, intensity, uncertainty
MARKS = " \t#'!;%/*\""
_MAX_LINE, _MAX_LABEL = 4000, 60  # characters
_HEADING_LINES = 4  # above the numbers, among which the headings are looked for
_ROW_INDEX = re.compile(
    r"(?i)^\W*(index|idx|points?|pts?|no|nr|num(ber)?|rows?|steps?|n|data[\s_]?point|unnamed\W*\d*)?\W*$"
)
_POSITION = re.compile(
    r"(?i)^\W*(angles?|theta|θ|th|pos(ition)?|x|q|d|abscissa|winkel)\W*$|angle|energy|wave|shift|scattering"
)
_UNCERTAINTY = re.compile(
    r"(?i)err|sigma|σ|e\.?s\.?d\b|std|uncert|±|^\W*sig(?![a-z])|^\W*(e|dy|di|s|u|sd|su|s\.u\.)\W*$"
)
# Beside a spectrum, never the spectrum itself unless it stands alone.
_COMPANION = re.compile(
    r"(?i)^\W*(i[\s_]?0|io|ir|iref|mon|bg|bkg)\b|monitor|ref(?!l)|backg|bkg|calc|\bfit|diff(?!rac)|resid|delta|deriv|weight|time"
    r"|^\W*(s|secs?|seconds)\W*$|temp|current|base[\s_]?line|^\W*(xn|xd)?[\s_]*der\b"
)
# Signals, the better first: processed ones, what a detector saw, and single beams.
_SIGNALS = tuple(re.compile(f"(?i){words}") for words in (
    r"norm|flat|^\W*x?mu(trans|fluor)?(?![a-z0-9])|^\W*[µμ]|absor[bp]|^\W*(abs|od)\b",
    r"^\W*(i|y|f|fluo|tey|tfy|pfy|psd|roi|net|raw|obs|data|value)(?![a-z0-9])|^\W*[yi][\s_]?obs|intens|counts?(?!er)"
    r"|cps|signal|detector|^\W*det|yield|fluor|emission|reflect|impuls|z[äa]hl|forte|強度|强度",
    r"transmi|^\W*(i[\s_]?[12t]|i[\s_]?f|it[\s_]|itrans|ifluor|diode|pips|apd)",
))  # fmt: skip
_SIGNED = re.compile(
    r"(?i)absor[bp]|norm|flat|mu\b|[µμ]|deriv|\bder\b|diff|resid|delta|Δ|subtr|\bnet\b|^\W*(abs|od)\b|\blog"
)
_COUNTS = re.compile(r"(?i)count|cps|impuls|photon")
_IS_UNIT = re.compile(
    r"(?i)^\W*(deg(rees?)?|°|a\.?\s?u\.?|arb\.?.*|counts?(/s)?|cps|rad|k?ev|(1/)?(nm|å|a|ang(strom)?|cm)(\W*-?1)?|ppm|mm/s|)\W*$"
)


class Columns(NamedTuple):
    """Which columns hold what, from 0; `notes` says what was left out."""

    position: int = 0
    intensity: int = 1
    errors: int | None = None
    label: str = ""  # heading of the positions
    signal: str = ""  # heading of the intensities
    notes: tuple[str, ...] = ()

    def is_signed(self, kind: str | None) -> bool:
        """Return whether negative intensities are in the nature of the signal, such as absorbance."""
        if self.signal and _COUNTS.search(self.signal):
            return False
        return kind in SIGNED_KINDS or bool(self.signal and _SIGNED.search(self.signal))


@functools.lru_cache(maxsize=64)  # files of a series have one heading
def parse_labels(
    lines: tuple[str, ...], count: int, separator: str | None, wanted: ColumnNames = ()
) -> tuple[str, ...]:
    """Return the headings of `count` columns, '' for one without; nothing where no line above the numbers has them.

    A sentence may have as many words as there are columns. So blanks part headings only where one of the words is
    known, or is among those `wanted`; what parts the numbers parts headings in any case.
    """
    filled = [line[:_MAX_LINE].rstrip() for line in lines[-_HEADING_LINES:] if line.strip(MARKS + "-=,")]
    for place, line in enumerate(reversed(filled)):
        for labels, is_certain in _split_labels(line, count, separator):
            is_known = any(map(_role_of, labels)) or (wanted and {w for w in wanted if isinstance(w, str)} <= {*labels})
            if not (is_known or (is_certain and place == 0)) or not _are_headings(labels):
                continue
            above = filled[-2 - place] if place + 1 < len(filled) else ""
            if all(map(_IS_UNIT.match, labels)) and above:
                names = next((names for names, _ in _split_labels(above, count, separator) if _are_headings(names)), [])
                if names:
                    pairs = zip(names, labels, strict=True)
                    return tuple(f"{name} ({unit})" if unit else name for name, unit in pairs)
            return tuple(labels)
    return ()


def _split_labels(line: str, count: int, separator: str | None) -> list[tuple[list[str], bool]]:
    """Ways to part a line into `count` headings, with whether it is parted as the numbers are."""
    bare = line.lstrip(MARKS if not line.startswith('""') else "#")
    joined = re.sub(r"\s+(?=[(\[])", "_", bare.rstrip("*/ "))  # a unit in brackets belongs to the word before it
    ways = [(bare.split(mark), mark == separator or mark == "\t") for mark in ("\t", ";", ",") if mark in bare]
    if "\t\t" in bare:
        ways.append((re.split(r"\t+", bare), True))
    if not ways:
        ways = [(re.split(r"\s{2,}", bare.strip()), False), (joined.split(), False)]
    if line[:1] in ",;\t":  # an empty first heading
        ways.insert(0, (line.split(line[0]), True))
    stripped = [([part.strip(" \t\"'#") for part in parts], is_certain) for parts, is_certain in ways]
    for parts, _ in stripped:
        if len(parts) == count + 1 and not parts[-1]:
            del parts[-1]
    return [(parts, is_certain) for parts, is_certain in stripped if len(parts) == count]


def _are_headings(labels: Sequence[str]) -> bool:
    named = [label for label in labels if label]
    return bool(named) and all(
        len(label) <= _MAX_LABEL and "=" not in label and re.search(r"[^\W\d]|[°Åθ#]", label) for label in named
    )


@functools.lru_cache(maxsize=512)
def _role_of(label: str) -> str:
    """'position', 'uncertainty', 'companion', 'signal 0' to 'signal 2', 'index', or '' for an unknown word."""
    if not label:
        return ""
    kind = axes.kind_of(label)[0]
    if _UNCERTAINTY.search(label):
        of_what = _UNCERTAINTY.sub("", label).strip(" _-")  # sigma_q is that of q, but err(q) that of I(q)
        is_position = of_what[:1] != "(" and (axes.kind_of(of_what)[0] or (of_what and _POSITION.search(of_what)))
        return "companion" if is_position else "uncertainty"
    if kind is not None and kind != "channel":
        return "position"
    if _COMPANION.search(label):
        return "companion"
    for rank, words in enumerate(_SIGNALS):
        if words.search(label):
            return f"signal {rank}"
    return "position" if kind or _POSITION.search(label) else "index" if _ROW_INDEX.match(label) else ""


def choose_columns(labels: Sequence[str], values: Float[np.ndarray, "R C"]) -> Columns | None:
    """Find positions, intensities and uncertainties; None where over three columns have no names that tell.

    Of several columns of positions the first that runs one way is taken, of several signals the best of `_SIGNALS`.
    """
    count = values.shape[1]
    if not labels:
        return _by_habit(values)
    roles = [_role_of(label) for label in labels]
    if labels[0].strip(MARKS).lower() == "e":
        roles[0] = "position"  # an energy; further right, E is an error
    position = _find_position(labels, roles, values)
    others = [i for i in range(count) if i != position and roles[i] not in ("position", "uncertainty", "index")]
    named = sorted((i for i in others if roles[i].startswith("signal")), key=lambda i: roles[i])
    unknown = [i for i in others if not roles[i] and labels[i]]
    rest = [i for i in others if labels[i]] or [i for i in others if not counts_rows(values[:, i])]
    rest = rest or [i for i in range(count) if i != position]
    if not rest or (count > 3 and not named and len(unknown or rest) > 1):
        return None
    intensity = (named or unknown or rest)[0]
    return _described(labels, position, intensity, _find_errors(labels, roles, position, intensity))


def _by_habit(values: np.ndarray) -> Columns | None:
    """Two or three columns without headings; a first column that only counts rows of an even axis is no axis."""
    count = values.shape[1]
    if count not in (2, 3):
        return None
    if count == 3 and len(values) > 3 and counts_rows(values[:, 0]) and _is_even(values[:, 1]):
        return Columns(1, 2, None, notes=("its first column, which counts the rows, was left out",))
    return Columns(0, 1, 2 if count == 3 else None)


def counts_rows(column: Float[np.ndarray, " R"]) -> bool:
    """Return whether a column only counts rows, from 0 or 1."""
    return bool(column[0] in (0, 1) and np.array_equal(column, column[0] + np.arange(column.size)))


def _is_even(column: np.ndarray) -> bool:
    steps = np.diff(column)
    return bool(steps[0] != 0 and np.allclose(steps, steps.mean(), rtol=0.02, atol=0))


def _find_position(labels: Sequence[str], roles: Sequence[str], values: np.ndarray) -> int:
    named = [i for i, role in enumerate(roles) if role == "position"]
    # A name that says kind and unit goes before one such as 'x'.
    named.sort(key=lambda i: axes.kind_of(labels[i])[0] in (None, "channel"))
    free = [i for i, role in enumerate(roles) if role in ("", "index") and i + 1 < len(roles)]
    free.sort(key=lambda i: not labels[i] or roles[i] == "index")
    candidates = named or free or [0]
    if len(candidates) == 1:
        return candidates[0]
    return next((i for i in candidates if _runs_one_way(values[:, i])), candidates[0] if named else 0)


def _runs_one_way(column: np.ndarray) -> bool:
    steps = np.diff(column[:2000])  # of the first scan, if there are many
    return bool(max(np.count_nonzero(steps > 0), np.count_nonzero(steps < 0)) > 0.9 * steps.size)


def _find_errors(labels: Sequence[str], roles: Sequence[str], position: int, intensity: int) -> int | None:
    """The uncertainty that names the signal, else the first to the right of it, else the first."""
    candidates = [i for i, role in enumerate(roles) if role == "uncertainty" and i not in (position, intensity)]
    signal = labels[intensity].lower()
    candidates.sort(key=lambda i: (not (signal and signal in labels[i].lower()), i < intensity))
    return candidates[0] if candidates else None


def _described(labels: Sequence[str], position: int, intensity: int, errors: int | None) -> Columns:
    left_out = [label for i, label in enumerate(labels) if label and i not in (position, intensity, errors)]
    verb = "was" if len(left_out) == 1 else "were"
    notes = (f"of its columns {', '.join(left_out)} {verb} left out",) if left_out else ()
    if position:
        notes = (*notes, f"the positions are its column {position + 1}, {labels[position] or 'without a heading'}")
    return Columns(position, intensity, errors, labels[position], labels[intensity], notes)


def named_columns(wanted: ColumnNames, labels: Sequence[str], count: int, source: str) -> Columns:
    """Return the columns that the user names by heading, or by place from 1."""
    indices: list[int] = []
    for name in wanted:
        matches = [i for i, label in enumerate(labels) if label == name]
        matches = matches or [i for i, label in enumerate(labels) if str(name).casefold() in label.casefold()]
        if isinstance(name, int) and 1 <= name <= count:
            indices.append(name - 1)
        elif not isinstance(name, int) and matches:
            indices.append(matches[0])
        else:
            headings = f"'{', '.join(labels)}'" if labels else "not known"
            fault = f"columns = {name!r} under [[session]] is none of its {count} columns (headings: {headings})"
            raise UserError(f"{source}: {fault}; name a heading, or a place from 1 to {count}")
    if len(indices) not in (2, 3) or len(set(indices)) != len(indices):
        raise UserError(
            f"{source}: columns under [[session]] needs two or three columns: position, intensity, uncertainty"
        )
    labels = labels or [f"column {i + 1}" for i in range(count)]
    return _described(labels, indices[0], indices[1], indices[2] if len(indices) == 3 else None)
