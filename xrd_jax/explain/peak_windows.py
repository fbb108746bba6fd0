"""Named peaks: windows that follow them, the share of a map in each, and what a scientist can quote.

Overlapping windows become one group: what two peaks share cannot be credited to either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csgraph

from xrd_jax.config.cell import Cell
from xrd_jax.explain import peak_tracking
from xrd_jax.physics import peak_positions
from xrd_jax.physics.reflections import Reflection, Track
from xrd_jax.series.record import PatternSeries

ELSEWHERE = "elsewhere"
SHARED = 0.1  # windows that have more than this part of the narrower one in common, over time, are one group


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
        return peak_positions.of_cell(Cell(**series.provenance["cell"]), series)
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
