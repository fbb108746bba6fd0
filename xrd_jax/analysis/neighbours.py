"""The look-up that a network has to beat: the nearest training patterns."""

from __future__ import annotations

import dataclasses

import numpy as np

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing.prepare import Prepared, inputs
from xrd_jax.preprocessing.splits import split
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import fit_statistics
from xrd_jax.series.record import PatternSeries

MOST = 4000  # verification patterns that are looked up
PART = 4096  # training patterns that are searched at once


def neighbours(train: np.ndarray, test: np.ndarray, count: int = 3) -> np.ndarray:
    """Indices [n_test, count] of the Euclidean nearest rows of `train` [n, L] for every row of `test` [m, L]."""
    squares = (train**2).sum(axis=1)
    parts = [
        np.argpartition(squares[None, :] - 2.0 * rows @ train.T, count - 1, axis=1)[:, :count]
        for rows in np.array_split(test, max(1, len(test) // 512))
    ]
    return np.concatenate(parts)


def _search(prepared: Prepared, config: PrepareConfig, test: np.ndarray, count: int = 3) -> np.ndarray:
    """Places [n_test, count] in `prepared.train` of the nearest training patterns, which are searched part by part."""
    rows = np.asarray(inputs(prepared, config, test))
    best, place, begin = np.full((test.size, 0), np.inf), np.zeros((test.size, 0), int), 0
    for part in np.array_split(prepared.train, max(1, prepared.train.size // PART)):
        known = np.asarray(inputs(prepared, config, part))
        near = neighbours(known, rows, count)
        distance = np.stack([((rows - known[one]) ** 2).sum(axis=1) for one in near.T], axis=1)
        best, place = np.hstack([best, distance]), np.hstack([place, near + begin])
        order = np.argsort(best, axis=1, kind="stable")[:, :count]
        best, place = np.take_along_axis(best, order, 1), np.take_along_axis(place, order, 1)
        begin += part.size
    return place


def nearest_neighbours(
    series: PatternSeries, specs: tuple[TargetSpec, ...], config: PrepareConfig, split_seed: int
) -> dict[str, dict[str, float]]:
    """Errors of a 3-nearest-neighbour look-up on binned min–max patterns, on the split of `config`.

    All training patterns are searched; of more than `MOST` verification patterns evenly spaced ones stand for all.

    Args:
      series: patterns inside the analysed window.

    Returns:
      target -> {'mae', 'rmse'} in its unit: the mean of the three, or {'accuracy'}: the vote of the three.

    Raises:
      UserError: the split is impossible for this series.
    """
    train, test = split(series, config, split_seed)
    channels = min(config.channels, series.axis.values.size)
    config = dataclasses.replace(
        config, resize="bin", channels=channels, scale="pattern", scale_at="output", centre=False
    )
    prepared = Prepared(series, train, test, fit_statistics(series, train, config))
    if test.size > MOST:
        test = test[:: -(-test.size // MOST)]
    near = _search(prepared, config, test)
    scores = {}
    for spec in specs:
        values = series.targets[spec.name].values
        voters, truth = values[train][near], values[test]
        if spec.kind == "regression":
            error = voters.mean(axis=1) - truth
            scores[spec.name] = {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}
        else:
            votes = (voters[:, :, None] == np.arange(spec.size)[None, None, :]).sum(axis=1)
            scores[spec.name] = {"accuracy": float((votes.argmax(axis=1) == truth).mean())}
    return scores


def nearest(queries: np.ndarray, patterns: np.ndarray, size: int = 256) -> np.ndarray:
    """[B] Euclidean distance of each query [B, L] to the nearest pattern [M, L]; infinite where it is no number."""
    known = patterns.astype(np.float64)
    squares = (known**2).sum(axis=1)
    found = np.empty(len(queries))
    for begin in range(0, len(queries), size):
        own = queries[begin : begin + size].astype(np.float64)
        apart = squares[None, :] - 2.0 * (own @ known.T) + (own**2).sum(axis=1)[:, None]
        found[begin : begin + size] = np.sqrt(np.maximum(apart.min(axis=1), 0.0))
    return np.where(np.isfinite(found), found, np.inf)
