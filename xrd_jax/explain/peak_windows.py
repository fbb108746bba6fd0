"""Named peaks: windows that follow them through a series; overlapping ones are one group: none owns what they share."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csgraph

from xrd_jax.config.cell import Cell
from xrd_jax.explain import peak_tracking
from xrd_jax.physics import peak_positions
from xrd_jax.physics.reflections import Reflection, Track
from xrd_jax.series.record import PatternSeries

ELSEWHERE = "elsewhere"
MIN_OVERLAP = 0.1  # windows that have more than this part of the narrower one in common, over time, are one group


@dataclasses.dataclass(frozen=True)
class PeakWindow:
    """Where a peak, or a group of overlapping ones, is in every pattern."""

    phase: str  # 'NMC'; of a group 'NMC + Al'
    hkl: str  # '012'; of a group '012 + 111'
    label: str  # 'NMC 012', 'NMC 101 + 006' or 'NMC 012 + Al 111'
    centre: Float[np.ndarray, " T"]  # middle of the peak, in axis units; of a group the mean of its members
    low: Float[np.ndarray, " T"]  # ends of the window
    high: Float[np.ndarray, " T"]
    mask: Bool[np.ndarray, "T L"]  # channels that belong to it; no channel of a pattern belongs to two windows
    followed: bool = True  # False where a peak was not found in the data and its tabulated position stands in for it

    @property
    def span(self) -> tuple[float, float]:
        """Ends of the range that the window passes over in all patterns."""
        return float(np.nanmin(self.low)), float(np.nanmax(self.high))


def find_windows(
    series: PatternSeries, centres: np.ndarray, reflections: Sequence[Reflection] = ()
) -> list[PeakWindow]:
    """Return windows that follow the peaks through the series, in order of position.

    `reflections` (of CIF files) are followed in the patterns. Without any, the peaks of the simulated cell are where
    its state puts them; those named in `series.reflections` are followed; else `series.windows` stay where they are.

    Args:
      centres: [L] channels of the maps, in axis units.
    """
    return _disjoint(_group_overlapping(_tracks(series, reflections)), np.asarray(centres, np.float64))


def _tracks(series: PatternSeries, reflections: Sequence[Reflection]) -> tuple[Track, ...]:
    if reflections:
        return peak_tracking.follow(series, peak_tracking.expected_lines(reflections, series.axis))
    if "cell" in series.provenance:
        return peak_positions.peak_tracks(Cell(**series.provenance["cell"]), series)
    if series.reflections:
        positions = {_split_label(label): position for label, position in series.reflections.items()}
        return peak_tracking.follow(series, peak_tracking.lines_near(positions, series.axis))
    tracks = []
    for label, (low, high) in series.windows.items():
        spans = np.broadcast_to(np.array([[[low, high]]], float), (len(series), 1, 2))
        tracks.append(Track(*_split_label(label), spans.mean(axis=(1, 2)), spans))
    return tuple(tracks)


def _split_label(label: str) -> tuple[str, str]:
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


def _group_overlapping(tracks: Sequence[Track]) -> list[_Group]:
    """Tracks that overlap, directly or through others, together; in order of position."""
    if not tracks:
        return []
    is_shared = np.zeros((len(tracks), len(tracks)), bool)
    for i in range(len(tracks)):
        for j in range(i):
            is_shared[i, j] = _overlap(tracks[i].spans, tracks[j].spans) > MIN_OVERLAP
    count, numbers = csgraph.connected_components(is_shared, directed=False)
    groups = [_Group(tuple(t for t, n in zip(tracks, numbers, strict=True) if n == group)) for group in range(count)]
    return sorted(groups, key=lambda group: float(np.nanmean(group.spans)))


def _overlap(spans: np.ndarray, others: np.ndarray) -> float:
    """Length that two sets of spans [T, G, 2] share, summed over time, relative to the shorter set."""
    low = np.maximum(spans[:, :, None, 0], others[:, None, :, 0])
    high = np.minimum(spans[:, :, None, 1], others[:, None, :, 1])
    lengths = [np.nansum(ends[..., 1] - ends[..., 0]) for ends in (spans, others)]
    return float(np.nansum(np.maximum(high - low, 0.0)) / max(min(lengths), 1e-12))


def _disjoint(groups: Sequence[_Group], centres: np.ndarray) -> list[PeakWindow]:
    """Windows whose masks do not overlap: a channel goes to the window it lies deepest in."""
    if not groups:
        return []
    deepest = np.zeros((len(groups[0].spans), centres.size), np.float32)
    owner = np.full(deepest.shape, -1, np.int16)
    for number, group in enumerate(groups):
        for part in range(group.spans.shape[1]):
            depth = _depth(group.spans[:, part], centres)
            is_deeper = depth > deepest
            deepest, owner = np.where(is_deeper, depth, deepest), np.where(is_deeper, np.int16(number), owner)
    windows = []
    for number, group in enumerate(groups):
        centre = np.mean([track.centre for track in group.members], axis=0)
        ends = np.nanmin(group.spans[..., 0], axis=1), np.nanmax(group.spans[..., 1], axis=1)
        followed = all(track.followed for track in group.members)
        windows.append(PeakWindow(*group.names, centre, *ends, owner == number, followed))
    return [window for window in windows if window.mask.any()]


def _depth(span: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """[T, L] 1 in the middle of a span [T, 2], 0 at its ends, negative outside; -1 where there is none."""
    # At least as wide as a channel, so that no peak falls between two.
    half = np.maximum(0.5 * (span[:, 1] - span[:, 0]), 0.5 * float(np.diff(centres).max()))
    distance = np.abs(centres[None, :] - span.mean(axis=1)[:, None]) / half[:, None]
    return np.nan_to_num(1.0 + 1e-6 - distance, nan=-1.0).astype(np.float32)
