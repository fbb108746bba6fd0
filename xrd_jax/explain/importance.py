"""importance.csv: what share of a map named peaks hold, with intervals over seeds, and in sentences."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from xrd_jax.errors import UserError
from xrd_jax.explain.peak_windows import ELSEWHERE, PeakWindow
from xrd_jax.files import write_bytes

CONFIDENCE = 0.95


class Row(NamedTuple):
    """A line of importance.csv.

    Attributes:
      low, high: ends of the range that the window passes over, in axis units; NaN for 'elsewhere'.
      share: mean over seeds, of 1.
      half: half the 95 % interval of that mean over seeds (Student's t); NaN for a single seed.
    """

    target: str
    phase: str
    hkl: str
    label: str
    low: float
    high: float
    share: float
    half: float
    seeds: int
    verdict: str


def importance(
    found: Mapping[str, Mapping[str, np.ndarray]],
    peaks: Sequence[PeakWindow],
    verdicts: Mapping[str, str] | None = None,
) -> list[Row]:
    """A row for every target and window, 'elsewhere' last.

    Args:
      found: target -> label -> share [S], as `shares` gives it.
      verdicts: target -> what the study says about the map that the shares are of.
    """
    named = {one.label: one for one in peaks}
    rows = []
    for target, parts in found.items():
        verdict = (verdicts or {}).get(target, "")
        for label, values in parts.items():
            values = np.asarray(values, np.float64)
            half = interval(values)
            if label in named:
                one = named[label]
                place = (one.phase, one.hkl, label, *one.span)
            else:
                place = (label, "", label, math.nan, math.nan)
            rows.append(Row(target, *place, float(values.mean()), half, values.size, verdict))
    return rows


def interval(values: np.ndarray) -> float:
    """Half the 95 % confidence interval of the mean of values [S] by Student's t; NaN for one value."""
    if values.size < 2:
        return math.nan
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2.0, values.size - 1)
    return float(quantile * values.std(ddof=1) / math.sqrt(values.size))


COLUMNS = (
    "target", "phase", "hkl", "peak", "window_low", "window_high", "share", "interval_low", "interval_high", "seeds",
    "verdict",
)  # fmt: skip


def write(path: Path, rows: Iterable[Row]) -> None:
    """Writes importance.csv; numbers that do not exist are empty.

    Raises:
      UserError: the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        ends = (row.share - row.half, row.share + row.half)
        numbers = ["" if math.isnan(x) else f"{x:.6g}" for x in (row.low, row.high, row.share, *ends)]
        writer.writerow([*row[:4], *numbers, row.seeds, row.verdict])
    write_bytes(path, text.getvalue().encode())


def read(path: Path) -> list[Row]:
    """The rows of an importance.csv.

    Raises:
      UserError: the file is not there or was not made by `write`.
    """
    try:
        lines = list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))
        rows = []
        for line in lines:
            low, high, share, bottom, top = (float(line[name] or "nan") for name in COLUMNS[4:9])
            place = (line["target"], line["phase"], line["hkl"], line["peak"], low, high)
            rows.append(Row(*place, share, 0.5 * (top - bottom), int(line["seeds"]), line["verdict"]))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read as importance.csv ({error}); make it anew with --mode=explain"
        ) from None
    return rows


def sentences(rows: Iterable[Row], least: float = 0.01) -> list[str]:
    """'voltage: graphite 00l 52 ± 4 %, NMC 101 21 ± 3 %, …', a line per target, largest share first, elsewhere last.

    Peaks below `least` are not named; a verdict other than 'supported' is put in brackets behind the target.
    """
    by_target: dict[str, list[Row]] = {}
    for row in rows:
        by_target.setdefault(row.target, []).append(row)
    lines = []
    for target, own in by_target.items():
        named = [row for row in own if row.label != ELSEWHERE and row.share >= least]
        ordered = sorted(named, key=lambda row: -row.share) + [row for row in own if row.label == ELSEWHERE]
        doubt = {row.verdict for row in own} - {"", "supported"}
        head = f"{target} ({', '.join(sorted(doubt))})" if doubt else target
        lines.append(f"{head}: " + ", ".join(f"{row.label} {percent(row.share, row.half)}" for row in ordered))
    return lines


def percent(share: float, half: float) -> str:
    """(0.523, 0.041) -> '52 ± 4 %'; one digit after the point where the interval is below 1 %, no ± where it is NaN."""
    if math.isnan(half):
        return f"{100 * share:.0f} %"
    digits = 0 if half >= 0.0095 else 1
    return f"{100 * share:.{digits}f} ± {100 * half:.{digits}f} %"
