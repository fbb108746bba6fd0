"""Maps of all methods collected over blocks: mean curves, shares of peaks, and maps of evenly spaced patterns."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.explain import ensemble, methods
from xrd_jax.explain.attribution import AttributionBlock, stream
from xrd_jax.explain.methods import ENSEMBLE, MapKey
from xrd_jax.explain.metrics import unit
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries

COSTLY_PATTERNS = 512  # that costly methods explain: their mean curve needs no more


@dataclasses.dataclass(frozen=True)
class Explained:
    """Explanations of a series. Keys are (method, target).

    Every pattern's map is made of absolute values that sum to 1, so that no pattern counts for more than another.
    """

    centres: np.ndarray  # [L] positions of the input channels
    curves: dict[MapKey, np.ndarray]  # [S, L] means over patterns; of `ENSEMBLE` those of two halves of the seeds
    maps: dict[MapKey, np.ndarray]  # [M, L] float32, means over seeds, for the patterns `indices` of the method
    raw_curves: dict[MapKey, np.ndarray]  # as `curves`, before registration, for methods of hidden layers
    # {window: [S]} mean over patterns of the map's mass inside the window; of `ENSEMBLE` the jackknife's pseudo-values,
    # which have its mean and the standard deviation that seeds give it.
    shares: dict[MapKey, dict[str, np.ndarray]]
    indices: dict[str, np.ndarray]  # method -> [M] the patterns that were explained


def collect(
    run: Run, series: PatternSeries, names: Sequence[str], windows: Mapping[str, np.ndarray] | None = None,
    reference: PatternSeries | None = None, patterns: int = COSTLY_PATTERNS, chunk: int | None = None,
    console: Console | None = None, description: str = "", noise: PatternSeries | None = None,
) -> Explained:  # fmt: skip
    """Return explanations of a series, summed up while they are made.

    Args:
      names: of methods and controls.
      windows: name -> bool [T, L] or [L], the channels whose share of each map is wanted.
      patterns: how many evenly spaced patterns the costly methods explain.
      description: what the progress bar says.
      noise: as in `stream`.

    Raises:
      UserError: as `stream`.
    """
    names = methods.checked_methods(run, names)
    sums, reference = Explained(run.axis, {}, {}, {}, {}, {}), series if reference is None else reference
    costly = [name for name in names if name in methods.COSTLY_METHODS]
    others = [name for name in names if name not in methods.COSTLY_METHODS]
    for group, indices in ((others, np.arange(len(series))), (costly, series.thinned(patterns))):
        if not group:
            continue
        sums.indices.update(dict.fromkeys(group, indices))
        part = series if group is others else series.subset(indices)
        with (console or Console()).bar(description=description, unit=" patterns", total=len(indices)) as bar:
            for block in stream(run, part, group, reference, chunk, noise):
                _add_block(sums, block, windows or {})
                bar.update(next(iter(block.maps.values())).shape[1])
    for (method, _), of_windows in sums.shares.items():
        if method == ENSEMBLE:
            of_windows.update({name: ensemble.jackknife_pseudo_values(share) for name, share in of_windows.items()})
    # Targets in the order of the run, for each the methods in the order of `METHODS`, controls last.
    keys = [(name, spec.name) for spec in run.specs for name in names]
    parts: tuple[dict[MapKey, Any], ...] = (sums.curves, sums.maps, sums.raw_curves, sums.shares)
    curves, maps, raw_curves, shares = ({key: part[key] for key in keys if key in part} for part in parts)
    return Explained(run.axis, curves, maps, raw_curves, shares, sums.indices)


def _add_block(sums: Explained, block: AttributionBlock, windows: Mapping[str, np.ndarray]) -> None:
    # What does not depend on the target is one array for all of them.
    unit_maps = {id(maps): unit(maps) for (method, _), maps in block.maps.items() if method != ENSEMBLE}
    for key, maps in block.maps.items():
        if key[0] == ENSEMBLE:
            curves, mean = unit(ensemble.shared_in_halves(maps)), unit(ensemble.shared_between_seeds(maps))
            replicates = unit(ensemble.leave_one_out(maps))
        else:
            curves = replicates = unit_maps[id(maps)]
            mean = curves.mean(axis=0)
        if not np.isfinite(block.raw.get(key, maps)).all():  # such a map is not scored
            curves, mean, replicates = (np.full_like(values, np.nan) for values in (curves, mean, replicates))
        indices, rows = sums.indices[key[0]], slice(block.begin, block.begin + len(mean))
        sums.maps.setdefault(key, np.zeros((len(indices), mean.shape[1]), np.float32))[rows] = mean
        _add_mean(sums.curves, key, curves, len(indices))
        shares = sums.shares.setdefault(key, {})
        for name, mask in windows.items():
            inside = np.broadcast_to(mask if mask.ndim == 1 else mask[indices[rows]], mean.shape)
            share = (replicates * inside[None]).sum(axis=(1, 2)) / len(indices)
            shares[name] = shares.get(name, 0.0) + share.astype(np.float64)
    for key, maps in block.raw.items():
        _add_mean(sums.raw_curves, key, unit(maps), len(sums.indices[key[0]]))


def _add_mean(sums: dict[MapKey, np.ndarray], key: MapKey, maps: np.ndarray, count: int) -> None:
    sums[key] = sums.get(key, 0.0) + maps.sum(axis=1, dtype=np.float64) / count
