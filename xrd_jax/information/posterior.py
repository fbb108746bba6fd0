"""The best that anybody could do with a set of channels: the exact posterior over the states of the cell.

Candidates are all states that the cell passes through and that are not tested, equally likely beforehand.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information.likelihood import expand_in_shift, group_likelihood, split_groups, state_posterior
from xrd_jax.information.state_path import StatePath, cell_state_path, is_in_window, take_frames
from xrd_jax.physics import profile
from xrd_jax.physics.forward_model import FrameState, expected_series
from xrd_jax.series.record import PatternSeries

ANALYSED = PrepareConfig(window_target="voltage", window_low=3.6)
REST = "rest"  # name of the channels in no window
CHUNK = 40  # test frames that are computed at once
MIN_SIGMA = 1e-6  # of a drift that is switched off
MAX_TESTED, MAX_STATES = 500, 1500  # evenly spaced patterns and states that stand for all where a report waits for them

Estimate = Literal["median", "mean"]


class Sample(NamedTuple):
    """Test frames (B) and the states they may be in (C)."""

    counts: np.ndarray  # [B, N] drawn photons
    states: FrameState  # of the candidates, without drifts
    tested: np.ndarray  # [B] indices into the state path
    candidates: np.ndarray  # [C] indices into it, by rising voltage


def draw_sample(cell: Cell, frames: int, prepare: PrepareConfig = ANALYSED) -> tuple[Sample, StatePath]:
    """Draw `frames` test frames evenly from the analysed window, with stationary drifts and photons of their own.

    Raises:
      UserError: fewer than two states would be left to choose from.
    """
    path = cell_state_path(cell)
    analysed = np.flatnonzero(is_in_window(path, prepare))
    rng = np.random.default_rng([cell.seed, 0x0AC1E])
    tested = np.sort(rng.permutation(analysed)[: min(frames, analysed.size // 2)])
    candidates = np.setdiff1d(analysed, tested)
    candidates = candidates[np.argsort(path.voltage[candidates], kind="stable")]
    if tested.size < 1 or candidates.size < 2:
        raise UserError("the analysed window has too few frames for an exact posterior; widen prepare.window_low")
    shift = jnp.asarray(cell.shift_sigma_deg * rng.standard_normal(tested.size), jnp.float32)
    flux = jnp.asarray(1.0 + cell.flux_sigma * rng.standard_normal(tested.size), jnp.float32)
    states = take_frames(path.states, tested)._replace(flux=flux, shift=shift)
    expected = np.asarray(expected_series(profile.dictionaries(cell), states), np.float64)
    return Sample(rng.poisson(expected), take_frames(path.states, candidates), tested, candidates), path


def score_group_sets(
    cell: Cell, groups: Bool[np.ndarray, "G N"], sets: Bool[np.ndarray, "J G"], frames: int = 800,
    prepare: PrepareConfig = ANALYSED, estimate: Estimate = "median",
) -> dict[str, Float[np.ndarray, " J"]]:  # fmt: skip
    """Return what the exact posterior achieves with each set of groups of channels, as if there were no decoy.

    Args:
      estimate: of the voltage; the posterior's median has the least mean absolute error, its mean the least square.

    Returns:
      'voltage': mean absolute error in V of that estimate; 'mode' and, with several rates, 'rate': accuracy.
    """
    cell = dataclasses.replace(cell, decoy=False)  # its position can be read off, and says nothing
    return _score(cell, *draw_sample(cell, frames, prepare), groups, sets, estimate)


def _score(
    cell: Cell, sample: Sample, path: StatePath, groups: Bool[np.ndarray, "G N"], sets: Bool[np.ndarray, "J G"],
    estimate: Estimate,
) -> dict[str, Float[np.ndarray, " J"]]:  # fmt: skip
    flux_sigma, shift_sigma = (jnp.float32(max(sigma, MIN_SIGMA)) for sigma in (cell.flux_sigma, cell.shift_sigma_deg))
    expansions = split_groups(expand_in_shift(profile.dictionaries(cell), sample.states, shift_sigma), groups)
    voltage = jnp.asarray(path.voltage[sample.candidates], jnp.float32)
    classes = (labels[sample.candidates] for labels in (path.mode, path.rate))
    one_hot = [jax.nn.one_hot(jnp.asarray(labels), int(labels.max()) + 1) for labels in classes]
    estimates = np.empty((3, len(sets), sample.tested.size))
    for first in range(0, sample.tested.size, CHUNK):
        rows = np.arange(first, min(first + CHUNK, sample.tested.size))
        counts = sample.counts[np.resize(rows, CHUNK)].astype(np.float32)
        likelihood = group_likelihood([jnp.asarray(counts[:, group]) for group in groups], expansions)
        for index, is_chosen in enumerate(jnp.asarray(sets, jnp.float32)):
            posterior = state_posterior(likelihood, is_chosen, flux_sigma)
            estimates[:, index, rows] = np.stack(decide(estimate, posterior, voltage, *one_hot))[:, : rows.size]
    tested = sample.tested
    scores = {"voltage": np.abs(estimates[0] - path.voltage[tested][None, :]).mean(axis=1)}
    scores["mode"] = (estimates[1] == path.mode[tested][None, :]).mean(axis=1)
    if len(cell.rates) > 1:
        scores["rate"] = (estimates[2] == path.rate[tested][None, :]).mean(axis=1)
    return scores


@functools.partial(jax.jit, static_argnums=0)
def decide(
    estimate: Estimate, posterior: Float[Array, "B C"], voltage: Float[Array, " C"], modes: Float[Array, "C K"],
    rates: Float[Array, "C R"],
) -> tuple[Float[Array, " B"], Array, Array]:  # fmt: skip
    """Return the median (candidates are sorted by voltage) or mean voltage, the likeliest mode and rate."""
    median = jnp.argmax(jnp.cumsum(posterior, axis=1) >= 0.5, axis=1)
    best = voltage[median] if estimate == "median" else posterior @ voltage
    return best, jnp.argmax(posterior @ modes, axis=1), jnp.argmax(posterior @ rates, axis=1)


class PatternScores(NamedTuple):
    """What the exact posterior achieves on patterns of a series: `scores` as of `score_group_sets`, and on how many."""

    scores: dict[str, float]
    patterns: int
    states: int


def score_patterns(
    cell: Cell, prepare: PrepareConfig, series: PatternSeries, test: Int[np.ndarray, " B"]
) -> PatternScores | None:
    """Return what the exact posterior achieves on simulated patterns themselves, in bounded time.

    At most every second of `test` is taken, so that it has neighbours in time among the states that it may be in.

    Args:
      series: patterns of the cell inside the analysed window.
      test: those whose errors are wanted.

    Returns:
      None where the series is another one than the cell gives.
    """
    path = cell_state_path(cell)
    analysed = path.path_index[is_in_window(path, prepare)[path.path_index]]
    voltage = series.targets["voltage"].values if "voltage" in series.targets else np.zeros(0)
    if analysed.size != len(series) or not np.array_equal(path.voltage[analysed], voltage):
        return None
    rows = test[:: max(2, -(-test.size // MAX_TESTED))]
    tested = analysed[rows]
    candidates = np.setdiff1d(analysed, tested)
    candidates = candidates[:: -(-candidates.size // MAX_STATES)]
    candidates = candidates[np.argsort(path.voltage[candidates], kind="stable")]
    states = take_frames(path.states, candidates)
    sample = Sample(np.asarray(series.intensity[rows]), states, tested, candidates)
    whole = np.ones((1, cell.channels), bool)
    scores = _score(cell, sample, path, whole, np.ones((1, 1), bool), "median")
    return PatternScores({name: float(values[0]) for name, values in scores.items()}, rows.size, candidates.size)


def score_channels(
    cell: Cell, channels: Bool[np.ndarray, " N"], frames: int = 800, prepare: PrepareConfig = ANALYSED,
    estimate: Estimate = "median",
) -> dict[str, float]:  # fmt: skip
    """Return what the exact posterior achieves with `channels` alone; see `score_group_sets`.

    Raises:
      UserError: `channels` is not one bool for each channel of the cell.
    """
    channels = np.asarray(channels, bool)
    if channels.shape != (cell.channels,):
        raise UserError(f"an exact posterior needs one bool for each of the cell's {cell.channels} channels")
    scores = score_group_sets(cell, channels[None, :], np.ones((1, 1), bool), frames, prepare, estimate)
    return {name: float(values[0]) for name, values in scores.items()}
