"""Named peaks: windows that follow them, the share of a map in each, and what a scientist can quote.

Overlapping windows become one group: what two peaks share cannot be credited to either.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.sparse import csgraph

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.explain import peak_tracking
from xrd_jax.physics import reflections as bragg
from xrd_jax.physics.reflections import Reflection, Track
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.workdir import write_bytes

ELSEWHERE = "elsewhere"
SHARED = 0.1  # windows that have more than this part of the narrower one in common, over time, are one group
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class PeakWindow:
    """Where a peak, or a group of overlapping ones, is in every pattern.

    Attributes:
      phase, hkl: 'NMC', '012'; of a group 'NMC + Al', '012 + 111'.
      label: 'NMC 012', 'NMC 101 + 006' or 'NMC 012 + Al 111'.
      centre: [T] middle of the peak, in axis units; of a group the mean of its members.
      low, high: [T] ends of the window.
      mask: [T, L] channels that belong to it; no channel of a pattern belongs to two windows.
      followed: False where a peak of the measured data was not found and its tabulated position stands in for it.
    """

    phase: str
    hkl: str
    label: str
    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mask: np.ndarray
    followed: bool = True

    @property
    def half_width(self) -> np.ndarray:
        """[T] half the distance between both ends."""
        return 0.5 * (self.high - self.low)

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the range that the window passes over in all patterns."""
        return float(np.nanmin(self.low)), float(np.nanmax(self.high))


def windows(
    series: PatternSeries,
    centres: np.ndarray,
    reflections: Sequence[Reflection] = (),
    reach: float = peak_tracking.REACH,
) -> list[PeakWindow]:
    """Windows that follow the peaks through the series, in order of position.

    `reflections` (of CIF files or `bragg.table`) are followed in the patterns. Without any, the peaks of the simulated
    cell are where its state puts them; those named in `series.reflections` are followed; else `series.windows` stay
    where they are.

    Args:
      centres: [L] channels of the maps, in axis units.
      reach: relative change of a spacing that is followed.
    """
    tracks = _tracks(series, reflections, reach)
    return _disjoint(_grouped(tracks), np.asarray(centres, np.float64))


def _tracks(series: PatternSeries, reflections: Sequence[Reflection], reach: float) -> tuple[Track, ...]:
    if reflections:
        return peak_tracking.follow(series, peak_tracking.lines(reflections, series, reach))
    if "cell" in series.provenance:
        return bragg.of_cell(Cell(**series.provenance["cell"]), series)
    first, last = series.axis.values[[0, -1]]
    if series.reflections:
        named = [
            peak_tracking.Line(*_parted(label), at, max(at * (1 - reach), first), min(at * (1 + reach), last))
            for label, at in series.reflections.items()
            if first <= at <= last
        ]
        return peak_tracking.follow(series, named)
    fixed = []
    for label, (low, high) in series.windows.items():
        spans = np.broadcast_to(np.array([[[low, high]]], float), (len(series), 1, 2))
        fixed.append(Track(*_parted(label), spans.mean(axis=(1, 2)), spans))
    return tuple(fixed)


def _parted(label: str) -> tuple[str, str]:
    """'Al 111' -> ('Al', '111'); a label that does not end in indices is a phase of its own."""
    phase, _, hkl = label.rpartition(" ")
    return (phase, hkl) if phase and any(letter.isdigit() for letter in hkl) else (label, "")


class _Group(NamedTuple):
    members: tuple[Track, ...]

    @property
    def names(self) -> tuple[str, str, str]:
        """(phase, hkl, label); indices of one phase are gathered."""
        by_phase: dict[str, list[str]] = {}
        for track in self.members:
            by_phase.setdefault(track.phase, []).append(track.hkl)
        indices = [" + ".join(hkl for hkl in hkls if hkl) for hkls in by_phase.values()]
        label = " + ".join(f"{phase} {hkl}".strip() for phase, hkl in zip(by_phase, indices, strict=True))
        return " + ".join(by_phase), " + ".join(text for text in indices if text), label

    @property
    def spans(self) -> np.ndarray:
        return np.concatenate([track.spans for track in self.members], axis=1)


def _grouped(tracks: Sequence[Track]) -> list[_Group]:
    """Tracks that overlap, directly or through others, together; in order of position."""
    if not tracks:
        return []
    count = len(tracks)
    touching = np.zeros((count, count), bool)
    for first in range(count):
        for second in range(first):
            touching[first, second] = _overlap(tracks[first].spans, tracks[second].spans) > SHARED
    number, group = csgraph.connected_components(touching, directed=False)
    groups = [_Group(tuple(track for track, own in zip(tracks, group, strict=True) if own == g)) for g in range(number)]
    return sorted(groups, key=lambda one: float(np.nanmean(one.spans)))


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Length that two sets of spans [T, G, 2] share, summed over time, relative to the shorter set."""
    shared = 0.0
    for part in range(one.shape[1]):
        low = np.maximum(one[:, part, None, 0], other[:, :, 0])
        shared += float(np.nansum(np.maximum(np.minimum(one[:, part, None, 1], other[:, :, 1]) - low, 0.0)))
    lengths = [float(np.nansum(spans[..., 1] - spans[..., 0])) for spans in (one, other)]
    return shared / max(min(lengths), 1e-12)


def _disjoint(groups: Sequence[_Group], centres: np.ndarray) -> list[PeakWindow]:
    """Windows whose masks do not overlap: a channel goes to the window it lies deepest in."""
    if not groups:
        return []
    frames = len(groups[0].spans)
    deepest, owner = np.zeros((frames, centres.size), np.float32), np.full((frames, centres.size), -1, np.int16)
    for number, group in enumerate(groups):
        for part in range(group.spans.shape[1]):
            depth = _depth(group.spans[:, part], centres)
            better = depth > deepest
            deepest, owner = np.where(better, depth, deepest), np.where(better, np.int16(number), owner)
    found = []
    for number, group in enumerate(groups):
        centre = np.mean([track.centre for track in group.members], axis=0)
        ends = np.nanmin(group.spans[..., 0], axis=1), np.nanmax(group.spans[..., 1], axis=1)
        followed = all(track.followed for track in group.members)
        found.append(PeakWindow(*group.names, centre, *ends, owner == number, followed))
    return [window for window in found if window.mask.any()]


def _depth(span: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[T, L] 1 in the middle of a span [T, 2], 0 at its ends, negative outside; -1 where there is none.

    A span is at least as wide as a channel, so that no peak falls between two.
    """
    half = np.maximum(0.5 * (span[:, 1] - span[:, 0]), 0.5 * float(np.diff(centres).max()))
    away = np.abs(centres[None, :] - span.mean(axis=1)[:, None]) / half[:, None]
    return np.nan_to_num(1.0 + 1e-6 - away, nan=-1.0).astype(np.float32)


def shares(
    maps: np.ndarray, found: Sequence[PeakWindow], frames: slice | np.ndarray = slice(None)
) -> dict[str, np.ndarray]:
    """Part of a map that lies in each window, and elsewhere; every pattern counts the same.

    Args:
      maps: [S, T, L] of any scale; signs are dropped, NaN counts as nothing, a pattern without any value is left out.
      frames: which of the windows' patterns the T are, for maps that come block by block.

    Returns:
      label -> [S], in the order of the windows, 'elsewhere' last; they sum to 1. NaN for a map that is 0 everywhere.
    """
    mass = np.abs(np.nan_to_num(maps))
    total = mass.sum(axis=-1, dtype=np.float64)
    weight = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    count = (total > 0).sum(axis=-1)
    count = np.where(count > 0, count, np.nan)
    parts = {
        one.label: (np.einsum("stl,tl->st", mass, one.mask[frames].astype(mass.dtype)) * weight).sum(axis=-1) / count
        for one in found
    }
    return parts | {ELSEWHERE: 1.0 - sum(parts.values(), np.zeros(len(mass)) * count)}


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
