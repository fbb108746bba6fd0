"""The likelihood look-up: which training pattern would most probably have given these counts? No training at all.

Every training pattern's average over neighbouring frames, divided by its sum, is a template λ_j; counts c then have

    log p(c | j, d) = Σ c log λ_j(x − d) − d² / 2σ²,

whatever the flux. Their posterior over templates, summed over a few zero shifts d, is the posterior of the targets.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.estimators.inputs import thinned
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.resize import resize_matrix
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.time_average import smooth
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries

AVERAGED_FRAMES = 6.0  # standard deviation of the average: fewer leave photon noise in it, more blur what moves
SHIFT_SIGMA = 0.002  # degrees, of the zero of a 2θ axis between patterns that are not neighbours in time
SHIFT_NODES = (-2.0, -1.0, 0.0, 1.0, 2.0)  # standard deviations, at which shifts are summed over
# Counts in a channel where the average has fewer: what half a photon in all averaged frames would be.
MIN_EXPECTED = 0.5 / (2.0 * np.sqrt(np.pi) * AVERAGED_FRAMES)
BLOCK_PATTERNS = 512  # test patterns at once, which bounds the matrix of posteriors


def predict(
    prepared: Prepared, config: PrepareConfig, specs: Sequence[TargetSpec], train: Int[np.ndarray, " n"],
    test: Int[np.ndarray, " B"],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return target -> values [B], the medians of the posterior, or probabilities [B, K] of counts.

    Args:
      train: patterns of the series that are templates, of which at most `inputs.MAX_PATTERNS` are taken.
      test: patterns that are looked up.
    """
    # A pattern between two training patterns has their zero; one that is further away in time may have another.
    is_free = prepared.series.axis.kind == "two_theta" and config.split != "random"
    return _Templates.average(prepared, config, train).look_up(test, specs, SHIFT_SIGMA if is_free else 0.0)


class _Templates(NamedTuple):
    """Averages of training patterns `indices` over neighbouring frames, and how they are binned."""

    series: PatternSeries
    indices: np.ndarray
    rates: np.ndarray
    matrix: np.ndarray

    @classmethod
    def average(cls, prepared: Prepared, config: PrepareConfig, train: Int[np.ndarray, " n"]) -> "_Templates":
        rows = thinned(np.arange(train.size))
        rates = smooth(prepared.series, train, AVERAGED_FRAMES, rows)
        return cls(prepared.series, train[rows], rates, _bins(prepared.series.axis.values, config))

    def look_up(self, test: Int[np.ndarray, " B"], specs: Sequence[TargetSpec], sigma: float) -> dict[str, np.ndarray]:
        """Return target -> values [B] or probabilities [B, K] of patterns of the series."""
        logs, penalties = self._logs(sigma)
        parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in specs}
        for _, rows in lazy.read_blocks(self.series.intensity, BLOCK_PATTERNS, test):
            posterior = _posterior(rows.astype(np.float32) @ self.matrix, logs, penalties)
            for spec in specs:
                parts[spec.name].append(_summary(posterior, spec, self.series.targets[spec.name].values[self.indices]))
        return {name: np.concatenate(blocks) for name, blocks in parts.items()}

    def _logs(self, sigma: float) -> tuple[Float[np.ndarray, "D M L"], Float[np.ndarray, " D"]]:
        """Return log λ of every template at every zero shift, and what each shift costs."""
        binned = self.rates @ self.matrix
        if sigma == 0.0:
            return _log_shares(binned)[None], np.zeros(1)
        slopes = np.gradient(self.rates, self.series.axis.values, axis=1).astype(np.float32) @ self.matrix
        logs = [_log_shares(binned - np.float32(node * sigma) * slopes) for node in SHIFT_NODES]
        return np.stack(logs), 0.5 * np.asarray(SHIFT_NODES) ** 2


def _bins(axis: Float[np.ndarray, " N"], config: PrepareConfig) -> Float[np.ndarray, "N L"]:
    channels = min(config.channels, axis.size)
    return resize_matrix(axis, dataclasses.replace(config, resize="bin", channels=channels))[0].astype(np.float32)


def _log_shares(rates: Float[np.ndarray, "M L"]) -> Float[np.ndarray, "M L"]:
    rates = np.maximum(rates, np.float32(MIN_EXPECTED))
    return np.log(rates / rates.sum(axis=1, keepdims=True))


def _posterior(
    counts: Float[np.ndarray, "B L"], templates: Float[np.ndarray, "D M L"], penalties: Float[np.ndarray, " D"]
) -> Float[np.ndarray, "B M"]:
    """Return the probabilities of the templates, all equally likely beforehand."""
    reference = templates.mean(axis=(0, 1))  # the same for all, and without it single precision is enough
    pairs = zip(templates, penalties, strict=True)
    logs = np.stack([counts @ (template - reference).T - np.float32(penalty) for template, penalty in pairs])
    weights = np.exp(logs - logs.max(axis=(0, 2), keepdims=True)).sum(axis=0)
    return weights / weights.sum(axis=1, keepdims=True)


def _summary(posterior: Float[np.ndarray, "B M"], spec: TargetSpec, values: np.ndarray) -> Float[np.ndarray, "B *K"]:
    """Return the weighted median of the templates' values, or the weight of every class."""
    if spec.kind == "classification":
        return posterior @ (values[:, None] == np.arange(spec.size)[None, :]).astype(np.float32)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(posterior[:, order], axis=1, dtype=np.float64) < 0.5
    return values[order][np.minimum(reached.sum(axis=1), values.size - 1)]
