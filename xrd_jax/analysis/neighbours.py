"""Nearest patterns: the baseline that a network has to beat, distances, and contrasts with another label."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.splits import split
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import fit_statistics
from xrd_jax.series.record import PatternSeries

MAX_TEST_PATTERNS = 4000  # test patterns whose neighbours are searched
BLOCK_PATTERNS = 4096  # training patterns that are searched at once
OTHER_LABEL_DEVIATIONS = 0.5  # values of a regression target that differ by more training deviations have another label


def baseline_scores(
    series: PatternSeries, specs: tuple[TargetSpec, ...], config: PrepareConfig, split_seed: int
) -> dict[str, dict[str, float]]:
    """Return the errors of 3 nearest neighbours on binned min–max patterns, on the split of `config`.

    All training patterns are searched; of more than `MAX_TEST_PATTERNS` test patterns evenly spaced ones stand for all.

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
    test = test[:: max(1, -(-test.size // MAX_TEST_PATTERNS))]
    neighbours = train[_search_blocks(prepared, config, test)]
    scores = {}
    for spec in specs:
        values = series.targets[spec.name].values
        voters, truth = values[neighbours], values[test]
        if spec.kind == "regression":
            error = voters.mean(axis=1) - truth
            scores[spec.name] = {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}
        else:
            votes = (voters[:, :, None] == np.arange(spec.size)[None, None, :]).sum(axis=1)
            scores[spec.name] = {"accuracy": float((votes.argmax(axis=1) == truth).mean())}
    return scores


def _search_blocks(prepared: Prepared, config: PrepareConfig, test: np.ndarray, count: int = 3) -> np.ndarray:
    """Return [n_test, count] positions in `prepared.train` of the nearest training patterns, read block by block."""
    queries = np.asarray(prepare_inputs(prepared, config, test))
    distances, indices, begin = np.full((test.size, 0), np.inf), np.zeros((test.size, 0), int), 0
    for block in np.array_split(prepared.train, max(1, prepared.train.size // BLOCK_PATTERNS)):
        patterns = np.asarray(prepare_inputs(prepared, config, block))
        nearest = nearest_indices(patterns, queries, count)
        squares = np.stack([((queries - patterns[column]) ** 2).sum(axis=1) for column in nearest.T], axis=1)
        distances, indices = np.hstack([distances, squares]), np.hstack([indices, nearest + begin])
        order = np.argsort(distances, axis=1, kind="stable")[:, :count]
        distances, indices = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
        begin += block.size
    return indices


def nearest_indices(
    patterns: Float[np.ndarray, "M L"], queries: Float[np.ndarray, "B L"], count: int = 3
) -> Int[np.ndarray, "B count"]:
    """Return the indices of the `count` Euclidean nearest patterns of every query, in no order."""
    squares = (patterns**2).sum(axis=1)
    parts = [
        np.argpartition(_relative_squares(block, patterns, squares), count - 1, axis=1)[:, :count]
        for block in np.array_split(queries, max(1, len(queries) // 512))
    ]
    return np.concatenate(parts)


def nearest_distances(
    queries: Float[np.ndarray, "B L"], patterns: Float[np.ndarray, "M L"], size: int = 256
) -> Float[np.ndarray, " B"]:
    """Return the Euclidean distance of each query to the nearest pattern; infinite where it is no number."""
    patterns = patterns.astype(np.float64)
    squares = (patterns**2).sum(axis=1)
    distances = np.empty(len(queries))
    for begin in range(0, len(queries), size):
        block = queries[begin : begin + size].astype(np.float64)
        nearest = _relative_squares(block, patterns, squares).min(axis=1) + (block**2).sum(axis=1)
        distances[begin : begin + size] = np.sqrt(np.maximum(nearest, 0.0))
    return np.where(np.isfinite(distances), distances, np.inf)


def _relative_squares(queries: np.ndarray, patterns: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Return |q − p|² − |q|² = |p|² − 2 q · p for [B, L] queries and [M, L] patterns of squared lengths `squares`."""
    return squares[None, :] - 2.0 * queries @ patterns.T


def has_other_label(spec: TargetSpec, labels: Array, others: Array) -> Bool[Array, "B M"]:
    """Return which of `others` [M] differ from each of `labels` [B]."""
    if spec.kind == "regression":
        return jnp.abs(labels[:, None] - others[None, :]) > OTHER_LABEL_DEVIATIONS * spec.deviation
    return labels[:, None] != others[None, :]


@functools.partial(jax.jit, static_argnums=0)
def nearest_with_other_label(
    spec: TargetSpec, x: Float[Array, "B L"], labels: Array, patterns: Float[Array, "M L"], others: Array
) -> Float[Array, "B L"]:
    """Return for each of `x` the Euclidean nearest of `patterns` with another label; itself where there is none."""
    distance = (patterns**2).sum(axis=1)[None, :] - 2.0 * x @ patterns.T
    is_allowed = has_other_label(spec, labels, others)
    nearest = patterns[jnp.where(is_allowed, distance, jnp.inf).argmin(axis=1)]
    return jnp.where(is_allowed.any(axis=1, keepdims=True), nearest, x)
