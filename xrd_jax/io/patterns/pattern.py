"""Pattern: one measured pattern as a file states it, before anything is known about clocks or cells."""

from __future__ import annotations

import dataclasses
import datetime
import math
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError

# Weighted mean Kα wavelengths in Å, (2 Kα1 + Kα2) / 3; International Tables for Crystallography C, table 4.2.2.1.
KALPHA_MEAN = {"Cr": 2.2910, "Fe": 1.9374, "Co": 1.7903, "Cu": 1.5418, "Mo": 0.7107, "Ag": 0.5609}
# A file that is read whole may be as long as this; the longest scans known have a hundredth of it.
LARGEST = 64 * 2**20
MOST_SCANS = 20_000


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What one file says about one pattern; what it does not say is None, never a guess.

    Attributes:
      axis: [N] strictly increasing positions, in the unit of `series.AXIS_UNITS` where `kind` is known, else in
        whatever unit the file uses.
      intensity: [N] finite intensities.
      errors: [N] standard uncertainties of `intensity`, or None where the file has none.
      kind: one of `series.AXIS_UNITS`, or None where the file does not say what its positions are.
      wavelength: Å, as the file states it for this scan (Kα1 or the weighted mean), or None.
      start_time, end_time: of the exposure, with a zone only if the file states one, or None.
      exposure: counting time of the pattern in s (of the whole scan, not of a step), or None.
      metadata: what the header says, key -> text; 'header' holds it whole where it is text.
      notes: plain sentences about what the reader had to do, such as turning a falling axis round.
    """

    axis: np.ndarray
    intensity: np.ndarray
    errors: np.ndarray | None = None
    kind: str | None = None
    wavelength: float | None = None
    start_time: datetime.datetime | None = None
    end_time: datetime.datetime | None = None
    exposure: float | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def whole_file(path: Path, limit: int = LARGEST) -> bytes:
    """All bytes of a file that is read at once.

    Raises:
      UserError: the file cannot be read, or is longer than `limit`.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise UserError(
                f"{path}: has {size / 2**20:.0f} MiB where files of this format are read up to {limit >> 20} MiB; "
                "write one scan per file, or a stack as HDF5"
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a file that you may read") from None


def collect(scans: Iterable[Pattern], path: Path) -> tuple[Pattern, ...]:
    """The scans of a file as a tuple.

    Raises:
      UserError: there is none, or there are more than a file of scans can hold in earnest.
    """
    found = []
    for scan in scans:
        found.append(scan)
        if len(found) > MOST_SCANS:
            raise UserError(f"{path}: holds over {MOST_SCANS} scans; keep such a series as an HDF5 stack")
    if not found:
        raise UserError(f"{path}: holds no scan; it was not measured, not saved or cut: export it again")
    return tuple(found)


def numbers(text: str, place: str) -> np.ndarray:
    """The blank-separated numbers of a text as float64, in one C call without a list of words.

    Raises:
      UserError: a word among them is no number; `place` opens the message.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how older numpy says that it stopped half-way
            return np.fromstring(text, sep=" ")
    except (ValueError, DeprecationWarning):
        wrong = next((word for word in text.split() if not _is_number(word)), "?")
        raise UserError(f"{place} holds {wrong[:40]!r}, which is no number; export the file again") from None


def doubt_of_end(text: str) -> tuple[str, ...]:
    """A note where a text ends without a line end, so that a digit of its last number may be missing."""
    return (
        () if text.endswith("\n") or not text.rstrip()[-1:].isdigit() else ("the last line has no end and may be cut",)
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def positive(text: str | float | None) -> float | None:
    """A finite number above zero, or None: what instruments write where they know nothing is 0, -1e6 or ''."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def finish(
    place: str,
    axis: np.ndarray,
    intensity: np.ndarray,
    allow_negative: bool,
    errors: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
    **facts: Any,
) -> Pattern:
    """A `Pattern` after the checks that every format shares; `place` opens each message and names file and scan.

    Raises:
      UserError: too few points, lengths that differ, values that are not finite, an axis that does not run one way,
        negative uncertainties, or negative intensities (unless `allow_negative`).
    """
    columns = {"position": axis, "intensity": intensity} | ({} if errors is None else {"uncertainty": errors})
    columns = {name: np.ascontiguousarray(values, np.float64) for name, values in columns.items()}
    axis, intensity = columns["position"], columns["intensity"]
    if axis.ndim != 1 or {values.shape for values in columns.values()} != {axis.shape}:
        sizes = " and ".join(f"{values.size} {name}s".replace("ys", "ies") for name, values in columns.items())
        raise UserError(f"{place}: has {sizes}; the file is damaged: export it again")
    if axis.size < 2:
        raise UserError(f"{place}: has {axis.size} points where a pattern needs at least two; export it again")
    for name, values in columns.items():
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise UserError(f"{place}: point {bad + 1}: the {name} is NaN or infinite; mask or export it again")
    if axis[0] > axis[-1]:
        columns = {name: values[::-1].copy() for name, values in columns.items()}
        axis, intensity = columns["position"], columns["intensity"]
        notes = (*notes, "the axis falls along the file and was turned round")
    steps = np.diff(axis)
    if not (steps > 0).all():
        i = int(np.argmin(steps > 0))
        raise UserError(
            f"{place}: positions {axis[i]:g} and {axis[i + 1]:g} (points {i + 1} and {i + 2}) do not run one way; "
            "export the scan again as two-column text"
        )
    if not allow_negative and intensity.min() < 0:
        i = int(np.argmin(intensity))
        raise UserError(
            f"{place}: point {i + 1}: negative intensity {intensity[i]:g}; if a background was subtracted, set "
            "allow_negative = true under [patterns]"
        )
    if errors is not None and columns["uncertainty"].min() < 0:
        raise UserError(f"{place}: an uncertainty is negative; standard uncertainties are expected: export again")
    return Pattern(axis, intensity, columns.get("uncertainty"), notes=notes, **facts)


def line_wavelength(line: str, alpha1: Any, alpha2: Any, ratio: Any, beta: Any = None) -> float | None:
    """Wavelength in Å of the named line: 'K-Alpha' is the mean of Kα1 and Kα2 weighted by the ratio I(Kα2)/I(Kα1).

    Any spelling of 'K-Alpha 1', 'Ka1', 'K-Beta' is understood. What is not stated gives None.
    """
    name = "".join(line.lower().split()).replace("-", "").replace("alpha", "a").replace("beta", "b")
    first, second, third, share = positive(alpha1), positive(alpha2), positive(beta), positive(ratio)
    if name in ("ka", "ka12") and first is not None and second is not None and share is not None:
        return (first + share * second) / (1 + share)
    return {"ka1": first, "ka2": second, "kb": third}.get(name)
