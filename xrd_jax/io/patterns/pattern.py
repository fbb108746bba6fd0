"""One measured pattern as a file states it, before anything is known about clocks or cells."""

import dataclasses
import datetime
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError

# Weighted mean Kα wavelengths in Å, (2 Kα1 + Kα2) / 3; International Tables for Crystallography C, table 4.2.2.1.
KALPHA_MEAN = {"Cr": 2.2910, "Fe": 1.9374, "Co": 1.7903, "Cu": 1.5418, "Mo": 0.7107, "Ag": 0.5609}
RATIO_NOTE = "both Kα lines are stated but not their ratio; their mean at the usual 2:1 was taken"
KALPHA_RATIO = 0.5  # I(Kα2) / I(Kα1) where none is stated: the 2p1/2 level holds 2 electrons, 2p3/2 holds 4
# Kinds of axes of spectra, in which absorbance, derivatives and differences fall below zero.
SIGNED_KINDS = ("energy", "wavenumber", "wavelength", "ppm", "velocity")
CUT = "may be cut, or is still being written"  # in a note: who waits for a file to be whole looks for it


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What one file says about one pattern; what it does not say is None, never a guess."""

    axis: Float[np.ndarray, " N"]  # strictly increasing; in the unit of `series.AXIS_UNITS` where `kind` is known
    intensity: Float[np.ndarray, " N"]  # finite
    errors: Float[np.ndarray, " N"] | None = None  # standard uncertainties of `intensity`
    kind: str | None = None  # what the positions are, one of `series.AXIS_UNITS`
    wavelength: float | None = None  # Å, as the file states it for this scan (Kα1 or the weighted mean)
    start_time: datetime.datetime | None = None  # of the exposure, with a zone only if the file states one
    end_time: datetime.datetime | None = None
    exposure: float | None = None  # counting time in s, of the whole scan and not of a step
    # What the header says, key -> text; 'header' holds it whole where it is text.
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()  # plain sentences about what the reader had to do, such as reversing a falling axis


class UnfinishedScan(NamedTuple):
    """What a reader gives in place of a scan that was not measured to its end, or not written yet."""

    reason: str  # such as 'scan 2 has no data points'
    partial: Pattern | None = None  # what there is of it, for a file that holds nothing else


Scan = Pattern | UnfinishedScan


def parse_numbers(text: str, source: str) -> Float[np.ndarray, " N"]:
    """Read blank-separated numbers in one C call, without a list of words; a word among them is a `UserError`.

    `source` is file and scan, with which the message begins.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how older numpy says that it stopped half-way
            return np.fromstring(text, sep=" ")
    except (ValueError, DeprecationWarning):
        wrong = next((word for word in text.split() if not _is_number(word)), "?")
        raise UserError(f"{source} holds {wrong[:40]!r}, which is no number; export the file again") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def parse_positive(text: str | float | None) -> float | None:
    """Read a finite number above zero; None for 0, -1e6 or '', which instruments write for what they do not know."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def note_open_end(text: str) -> tuple[str, ...]:
    """Return a note where the text ends without a line end, so that a digit of its last number may be missing."""
    is_ended = text.endswith("\n") or not text.rstrip()[-1:].isdigit()
    return () if is_ended else (f"the last line has no end and {CUT}",)


def strip_texts(texts: Mapping[str, str | None]) -> dict[str, str]:
    """Return what a header says, without the blanks around it and without what it leaves open."""
    return {key: stripped for key, text in texts.items() if (stripped := (text or "").strip())}


def make_pattern(
    source: str, axis: np.ndarray, intensity: np.ndarray, allow_negative: bool, errors: np.ndarray | None = None,
    notes: tuple[str, ...] = (), lines: Sequence[int] | None = None, **facts: Any,
) -> Pattern:  # fmt: skip
    """Return a `Pattern` after the checks that every format shares.

    Args:
      source: file and scan, with which each message begins.
      lines: of the points in the file, where it has lines.
      **facts: the other fields of `Pattern`.
    """
    columns = {"position": axis, "intensity": intensity} | ({} if errors is None else {"uncertainty": errors})
    columns = {name: np.ascontiguousarray(values, np.float64) for name, values in columns.items()}
    axis = columns["position"]
    if axis.ndim != 1 or {values.shape for values in columns.values()} != {axis.shape}:
        sizes = " and ".join(f"{values.size} {name}s".replace("ys", "ies") for name, values in columns.items())
        raise UserError(f"{source}: has {sizes}; the file is damaged: export it again")
    if axis.size < 2:
        raise UserError(f"{source}: has {axis.size} points where a pattern needs at least two; export it again")
    steps = np.diff(axis)
    is_falling = np.count_nonzero(steps < 0) > np.count_nonzero(steps > 0)
    if (fault := _find_fault(columns, -steps if is_falling else steps, allow_negative)) is not None:
        i, problem = fault
        raise UserError(f"{source}: {f'point {i + 1}' if lines is None else f'row {lines[i]}'}: {problem}")
    if is_falling:
        columns = {name: values[::-1].copy() for name, values in columns.items()}
        notes = (*notes, "the axis falls along the file and was turned round")
    return Pattern(columns["position"], columns["intensity"], columns.get("uncertainty"), notes=notes, **facts)


def _find_fault(columns: Mapping[str, np.ndarray], steps: np.ndarray, allow_negative: bool) -> tuple[int, str] | None:
    """The first point at fault, from 0, with what is wrong and the remedy; all `steps` of the axis must be positive."""
    for name, values in columns.items():
        if not np.isfinite(values).all():
            return int(np.argmin(np.isfinite(values))), f"the {name} is NaN or infinite; mask it or export it again"
    axis, intensity, errors = columns["position"], columns["intensity"], columns.get("uncertainty")
    if not (steps > 0).all():
        i = int(np.argmin(steps > 0)) + 1
        remedy = "positions must run one way: keep one scan per file, with enough decimals"
        return i, f"position {axis[i]:g} follows {axis[i - 1]:g}; {remedy}"
    if not allow_negative and intensity.min() < 0:
        i = int(np.argmax(intensity < 0))
        remedy = "if a background was subtracted, set allow_negative = true under [[session]]"
        return i, f"negative intensity {intensity[i]:g}; {remedy}"
    if errors is not None and errors.min() < 0:
        i = int(np.argmax(errors < 0))
        return i, f"negative uncertainty {errors[i]:g}; standard uncertainties are expected: remove what is none"
    return None


def line_wavelength(
    line: str, alpha1: Any, alpha2: Any, ratio: Any, beta: Any = None
) -> tuple[float | None, tuple[str, ...]]:
    """Return the wavelength in Å of the named line, and a note where the ratio of a doublet had to be assumed.

    'K-Alpha' is (λ1 + r λ2) / (1 + r), r = I(Kα2) / I(Kα1). Any spelling of 'K-Alpha 1', 'Ka1', 'K-Beta' is understood.
    What is not stated gives None.
    """
    name = "".join(line.lower().split()).replace("-", "").replace("alpha", "a").replace("beta", "b")
    first, second, third = (parse_positive(value) for value in (alpha1, alpha2, beta))
    if name not in ("ka", "ka12"):
        return {"ka1": first, "ka2": second, "kb": third}.get(name), ()
    if first is None or second is None:
        return None, ()
    weight, notes = parse_positive(ratio), tuple[str, ...]()
    if weight is None and re.fullmatch(r"0+(\.0*)?", str(ratio).strip()):
        weight = 0.0  # a monochromator lets one line through
    if weight is None:
        weight, notes = KALPHA_RATIO, (RATIO_NOTE,)
    return (first + weight * second) / (1 + weight), notes


def note_count(announced: int | None, count: int, what: str = "rows") -> tuple[str, ...]:
    """Return a note where a header announces another number of points than the file holds."""
    if announced is None or announced == count:
        return ()
    verdict = f"the measurement was stopped, or the file {CUT}" if count < announced else "all were taken"
    return (f"the header announces {announced} {what} but there are {count}: {verdict}",)
