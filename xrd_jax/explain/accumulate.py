"""Maps of all methods collected over blocks: mean curves, shares of peaks, and maps of evenly spaced patterns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from xrd_jax.analysis.run import Run
from xrd_jax.explain import ensemble
from xrd_jax.explain.attribution import (
    CONTROLS,
    COSTLY,
    ENSEMBLE,
    METHODS,
    OWN,
    AttributionBlock,
    checked_methods,
    stream,
)
from xrd_jax.series.record import PatternSeries

PATTERNS = 512


@dataclasses.dataclass(frozen=True)
class Explained:
    """Explanations of a series. Keys are (method, target).

    Every pattern's map is made of absolute values that sum to 1, so that no pattern counts for more than another.

    Attributes:
      centres: [L] positions of the input channels.
      curves: [S, L] means over patterns; of `ENSEMBLE` those of two disjoint halves of the seeds.
      maps: [t, L] float32, means over seeds, for the patterns `frames` of the method.
      raw_curves: as `curves`, before registration, for methods of hidden layers.
      shares: {window: [S]} mean over patterns of the map's mass inside the window; of `ENSEMBLE` the jackknife's
        pseudo-values, which have its mean and the spread that seeds give it.
      frames: method -> [t] indices of the patterns that were explained.
    """

    centres: np.ndarray
    curves: dict[tuple[str, str], np.ndarray]
    maps: dict[tuple[str, str], np.ndarray]
    raw_curves: dict[tuple[str, str], np.ndarray]
    shares: dict[tuple[str, str], dict[str, np.ndarray]]
    frames: dict[str, np.ndarray]


def normalised(maps: np.ndarray) -> np.ndarray:
    """Absolute values of maps [..., L], each summing to 1; channels without a value count 0, so may whole maps."""
    size = np.abs(np.nan_to_num(maps))
    total = size.sum(axis=-1, keepdims=True)
    return size / np.where(total > 0, total, 1.0)


def collect(
    run: Run, series: PatternSeries, methods: Sequence[str] = METHODS,
    windows: Mapping[str, np.ndarray] | None = None, reference: PatternSeries | None = None,
    patterns: int | None = PATTERNS, chunk: int | None = None, progress: str = "",
) -> Explained:  # fmt: skip
    """Explanations of a series, summed up while they are made.

    Args:
      windows: name -> bool [T, L] or [L], the channels whose share of each map is wanted.
      patterns: how many evenly spaced patterns the methods `COSTLY` explain; None for all of them. Their mean curve
        needs no more, and they cost ten to fifty times as much as the others.
      progress: what a progress bar says; none if empty.

    Raises:
      UserError: as `stream`.
    """
    methods = checked_methods(run, methods)
    some = np.arange(len(series)) if patterns is None else series.thinned(patterns)
    costly = tuple(m for m in methods if m in COSTLY)
    rest = tuple(m for m in methods if m not in COSTLY)
    sums = _Sums(run, dict(windows or {}), progress)
    if rest:
        sums.add(stream(run, series, rest, reference, chunk), np.arange(len(series)), rest)
    if costly:
        part = series.subset(some)
        sums.add(stream(run, part, costly, series if reference is None else reference, chunk), some, costly)
    return sums.explained()


class _Sums:
    """What `collect` keeps."""

    def __init__(self, run: Run, windows: dict[str, np.ndarray], progress: str):
        self._axis, self._specs, self._windows, self._progress = run.axis, run.specs, windows, progress
        self._curves: dict[tuple[str, str], np.ndarray] = {}
        self._raw: dict[tuple[str, str], np.ndarray] = {}
        self._maps: dict[tuple[str, str], np.ndarray] = {}
        self._shares: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        self._frames: dict[str, np.ndarray] = {}

    def add(self, blocks: Iterator[AttributionBlock], frames: np.ndarray, methods: tuple[str, ...]) -> None:
        """Takes the blocks of the patterns `frames`, for methods that no earlier call had."""
        self._frames |= dict.fromkeys(methods, frames)
        off, unit = not self._progress, " patterns"
        bar = tqdm(total=len(frames), desc=self._progress, unit=unit, disable=off, leave=False, dynamic_ncols=True)
        for block in blocks:
            units = {id(values): normalised(values) for (name, _), values in block.maps.items() if name != ENSEMBLE}
            for key, values in block.maps.items():
                together = key[0] == ENSEMBLE
                own = normalised(ensemble.halves(values)) if together else units[id(values)]
                every = normalised(ensemble.without_one(values)) if together else own
                here = slice(block.begin, block.begin + own.shape[1])
                if key not in self._maps:
                    self._maps[key] = np.zeros((len(frames), own.shape[2]), np.float32)
                self._maps[key][here] = normalised(ensemble.shared(values)) if together else own.mean(axis=0)
                _gather(self._curves, key, own, len(frames))
                shares = self._shares.setdefault(key, {})
                for name, mask in self._windows.items():
                    inside = mask if mask.ndim == 1 else mask[frames[here]]
                    share = (every * np.broadcast_to(inside, own.shape[1:])[None]).sum(axis=(1, 2)) / len(frames)
                    shares[name] = shares.get(name, 0.0) + share.astype(np.float64)
            for key, values in block.raw.items():
                _gather(self._raw, key, normalised(values), len(frames))
            bar.update(next(iter(block.maps.values())).shape[1])
        bar.close()

    def explained(self) -> Explained:
        shares = {
            key: {name: ensemble.pseudo(share) for name, share in own.items()} if key[0] == ENSEMBLE else own
            for key, own in self._shares.items()
        }
        order = self._in_order
        return Explained(
            self._axis, order(self._curves), order(self._maps), order(self._raw), order(shares), self._frames
        )  # fmt: skip

    def _in_order(self, found: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
        """Targets in the order of the run, for each the methods in the order of `METHODS`, controls last."""
        names, methods = [spec.name for spec in self._specs], (OWN, *METHODS, *CONTROLS)
        return {(m, t): found[m, t] for t in names for m in methods if (m, t) in found}


def _gather(sums: dict[tuple[str, str], np.ndarray], key: tuple[str, str], own: np.ndarray, count: int) -> None:
    part = own.sum(axis=1, dtype=np.float64) / count
    sums[key] = sums[key] + part if key in sums else part
