"""importance.csv: what share of a map named peaks hold, with intervals over seeds, and in sentences."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.explain.metrics import interval
from xrd_jax.explain.peak_windows import ELSEWHERE, PeakWindow
from xrd_jax.files import write_csv

COLUMNS = (
    "target", "phase", "hkl", "peak", "window_low", "window_high", "share", "interval_low", "interval_high", "seeds",
    "verdict",
)  # fmt: skip
STRONG, MAX_RANGES = 2.0, 6  # even shares from which a channel is strong; ranges that are listed
MIN_SHARE = 0.01  # peaks with less are not named in a sentence


class ImportanceRow(NamedTuple):
    """A line of importance.csv."""

    target: str
    phase: str
    hkl: str
    label: str
    low: float  # ends of the range that the window passes over, in axis units; NaN for 'elsewhere'
    high: float
    share: float  # mean over seeds, of 1
    half_interval: float  # half the 95 % interval of that mean; NaN for a single seed
    seeds: int
    verdict: str


def importance_rows(
    shares: Mapping[str, Mapping[str, np.ndarray]], windows: Sequence[PeakWindow], verdicts: Mapping[str, str]
) -> list[ImportanceRow]:
    """Return a row for every target and window, in the order given.

    Args:
      shares: target -> label -> [S]; a label of no window, such as 'elsewhere', has no range.
      verdicts: target -> what the study says about the map that the shares are of.
    """
    by_label = {window.label: window for window in windows}
    rows = []
    for target, by_window in shares.items():
        for label, values in by_window.items():
            window = by_label.get(label)
            peak = (window.phase, window.hkl, label, *window.span) if window else (label, "", label, math.nan, math.nan)
            numbers = (float(values.mean()), float(interval(values)), values.size)
            rows.append(ImportanceRow(target, *peak, *numbers, verdicts.get(target, "")))
    return rows


def strongest_ranges(
    target: str, axis: Float[np.ndarray, " L"], curves: Float[np.ndarray, "S L"], seeds: int, verdict: str
) -> list[ImportanceRow]:
    """Return rows of the ranges that hold most of a map, the strongest first, and of what lies elsewhere.

    A range is made of neighbouring channels that hold more than `STRONG` times an even share.

    Args:
      curves: mean maps that sum to 1.
      seeds: how many networks they are of.
    """
    is_strong = np.concatenate([[False], curves.mean(axis=0) > STRONG / axis.size, [False]])
    begins, ends = np.flatnonzero(np.diff(is_strong.astype(int))).reshape(-1, 2).T
    shares = {(begin, end): curves[:, begin:end].sum(axis=1) for begin, end in zip(begins, ends, strict=True)}
    largest = sorted(shares, key=lambda ends: -float(shares[ends].mean()))[:MAX_RANGES]
    step, rows = np.diff(axis), []
    for begin, end in largest:
        low = axis[begin] - step[max(begin - 1, 0)] / 2
        high = axis[end - 1] + step[min(end - 1, step.size - 1)] / 2
        label, values = f"{low:.5g} to {high:.5g}", shares[begin, end]
        numbers = float(values.mean()), float(interval(values)), seeds
        rows.append(ImportanceRow(target, label, "", label, float(low), float(high), *numbers, verdict))
    rest = 1.0 - sum((shares[ends] for ends in largest), np.zeros(len(curves)))
    numbers = float(rest.mean()), float(interval(rest)), seeds
    return [*rows, ImportanceRow(target, ELSEWHERE, "", ELSEWHERE, math.nan, math.nan, *numbers, verdict)]


def write(path: Path, rows: Iterable[ImportanceRow]) -> None:
    """Write importance.csv; numbers that do not exist are empty.

    Raises:
      UserError: the file cannot be written.
    """
    lines: list[Sequence[object]] = [COLUMNS]
    for row in rows:
        ends = (row.share - row.half_interval, row.share + row.half_interval)
        numbers = ["" if math.isnan(x) else f"{x:.6g}" for x in (row.low, row.high, row.share, *ends)]
        lines.append([*row[:4], *numbers, row.seeds, row.verdict])
    write_csv(path, lines)


def sentences(rows: Iterable[ImportanceRow]) -> list[str]:
    """Return 'voltage: graphite 00l 52 ± 4 %, NMC 101 21 ± 3 %, …', a line per target.

    The largest share comes first, elsewhere last; peaks below `MIN_SHARE` are not named. A verdict other than
    'supported' is put in brackets behind the target.
    """
    by_target: dict[str, list[ImportanceRow]] = {}
    for row in rows:
        by_target.setdefault(row.target, []).append(row)
    lines = []
    for target, target_rows in by_target.items():
        named = [row for row in target_rows if row.label == ELSEWHERE or row.share >= MIN_SHARE]
        ordered = sorted(named, key=lambda row: (row.label == ELSEWHERE, -row.share))
        doubts = {row.verdict for row in target_rows} - {"", "supported"}
        head = f"{target} ({', '.join(sorted(doubts))})" if doubts else target
        lines.append(f"{head}: " + ", ".join(f"{row.label} {percent(row.share, row.half_interval)}" for row in ordered))
    return lines


def percent(share: float, half_interval: float) -> str:
    """Return '52 ± 4 %' for (0.523, 0.041); one more digit where the interval is below 1 %, no ± where it is NaN."""
    if math.isnan(half_interval):
        return f"{100 * share:.0f} %"
    digits = 0 if half_interval >= 0.0095 else 1
    return f"{100 * share:.{digits}f} ± {100 * half_interval:.{digits}f} %"
