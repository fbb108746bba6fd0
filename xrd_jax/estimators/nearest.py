"""Three nearest training patterns, on binned patterns between 0 and 1."""

import dataclasses

import numpy as np
from jaxtyping import Int
from sklearn.neighbors import NearestNeighbors

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.transform import fit_statistics

NEIGHBOURS = 3
BLOCK_PATTERNS = 4096  # training patterns that are searched at once


def nearest_training_patterns(
    prepared: Prepared, config: PrepareConfig, train: Int[np.ndarray, " n"], test: Int[np.ndarray, " B"]
) -> Int[np.ndarray, "B 3"]:
    """Return the indices of the three training patterns nearest to each test pattern, read block by block.

    Patterns are binned and divided by their extremes whatever `config` says of scaling and resizing, so that runs with
    other inputs have the same baseline.
    """
    channels = min(config.channels, prepared.series.axis.values.size)
    config = dataclasses.replace(
        config, resize="bin", channels=channels, scale="pattern", scale_at="output", centre=False
    )
    # The levels of the training patterns are not used by this scaling: a few patterns give the bins.
    statistics = fit_statistics(prepared.series, train[:1], config)
    prepared = dataclasses.replace(prepared, statistics=statistics)
    queries = np.asarray(prepare_inputs(prepared, config, test), np.float64)
    distances, indices = np.full((test.size, 0), np.inf), np.zeros((test.size, 0), int)
    for block in np.array_split(train, max(1, train.size // BLOCK_PATTERNS)):
        patterns = np.asarray(prepare_inputs(prepared, config, block), np.float64)
        search = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(patterns)
        block_distances, nearest = search.kneighbors(queries)
        distances, indices = np.hstack([distances, block_distances]), np.hstack([indices, block[nearest]])
        order = np.argsort(distances, axis=1, kind="stable")[:, :NEIGHBOURS]
        distances, indices = np.take_along_axis(distances, order, 1), np.take_along_axis(indices, order, 1)
    return indices
