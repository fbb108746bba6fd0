"""Noise of patterns that are no counts: from neighbours in time and place, from repeats, or not known."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from xrd_jax.analysis.blocks import over_patterns
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain.outputs import network_inputs
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries

MAX_TRIPLES = 680  # neighbours that the noise is taken from; it averages over channels as well
MAX_PLACES = 8  # positions that a series may go through in turn
ALTERNATES = 0.5  # mean square difference to the next of the same place, of that to the next: below, places alternate
LONGEST_STEP = 2.0  # median steps in time: patterns further apart are no neighbours
MIN_REPEATS = 3  # degrees of freedom from which on repeats tell a variance


class Neighbours(NamedTuple):
    """Patterns with one before and one after in time, all of one session."""

    before: Int[np.ndarray, " M"]
    at: Int[np.ndarray, " M"]
    after: Int[np.ndarray, " M"]


def input_patterns(run: Run, series: PatternSeries, indices: Int[np.ndarray, " M"]) -> Float[np.ndarray, "M L"]:
    """Return the prepared patterns at `indices`."""

    def function(block: Any, statistics: Any) -> jax.Array:
        return network_inputs(run.config.prepare, False, statistics, block.intensity)[0]

    size = max(min(lazy.PATTERNS_PER_BLOCK, len(indices)), 1)
    results = over_patterns(series.intensity, function, run.statistics, size, indices, shared=False)
    return np.concatenate([inputs for _, inputs in results])


def unknown_noise(series: PatternSeries) -> str:
    """Return why the noise of patterns is not known; '' where it is."""
    if series.is_counts or neighbours(series, 1).at.size or _repeats(series):
        return ""
    return (
        "the noise of the patterns is not known: they are no counts, do not follow each other in time, and none is "
        "repeated at equal targets"
    )


def neighbours(series: PatternSeries, places: int) -> Neighbours:
    """Return patterns whose neighbours of the same session and place follow without a pause; none without times.

    Args:
      places: positions that a session goes through in turn.
    """
    at = series.thinned(MAX_TRIPLES)
    at = at[(at >= places) & (at < len(series) - places)]
    triples = Neighbours(at - places, at, at + places)
    session = series.session
    is_near = (session[triples.before] == session[at]) & (session[triples.after] == session[at])
    for number in np.unique(session[at]):
        time = series.time[session == number]
        longest = LONGEST_STEP * places * np.median(np.diff(time)) if time.size > 1 else 0.0
        steps = np.stack([series.time[at] - series.time[triples.before], series.time[triples.after] - series.time[at]])
        is_near &= (session[at] != number) | ((steps > 0) & (steps <= longest)).all(axis=0)
    is_near &= series.timed
    return Neighbours(*(indices[is_near] for indices in triples))


def _repeats(series: PatternSeries) -> list[Int[np.ndarray, " R"]]:
    """Return groups of patterns with the same value of every target; none where classes are all that is known."""
    if not any(target.kind == "regression" for target in series.targets.values()):
        return []
    values = np.column_stack([target.values for target in series.targets.values()])
    _, group = np.unique(values, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    groups = [part[:MAX_TRIPLES] for part in parts if part.size > 1][:MAX_TRIPLES]
    return groups if sum(part.size - 1 for part in groups) >= MIN_REPEATS else []


def residual_variance(run: Run, series: PatternSeries) -> Float[np.ndarray, " L"]:
    """Return the noise variance at the network's input: what neighbours in time, or repeats, do not explain.

    For independent noise of variance v, the deviation of a pattern from the line between its neighbours, with weights
    a + b = 1 by time, has variance (1 + a² + b²) v; slow change drops out.

    Raises:
      UserError: there are neither.
    """
    if reason := unknown_noise(series):
        raise UserError(f"gradient_noise, ensemble_noise: {reason}; leave them out of --methods")
    before, at, after = neighbours(series, _places(run, series))
    if at.size:
        share = ((series.time[at] - series.time[before]) / (series.time[after] - series.time[before]))[:, None]
        first, middle, last = (
            input_patterns(run, series, indices).astype(np.float64) for indices in (before, at, after)
        )
        residual = middle - (1 - share) * first - share * last
        return (residual**2 / (1 + share**2 + (1 - share) ** 2)).mean(axis=0).astype(np.float32)
    squares, freedom = np.zeros(run.axis.size), 0
    for group in _repeats(series):
        rows = input_patterns(run, series, group).astype(np.float64)
        squares += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
        freedom += len(group) - 1
    return (squares / freedom).astype(np.float32)


def _places(run: Run, series: PatternSeries) -> int:
    """Return how many positions the patterns go through in turn; 1 where each is most like the next."""
    squares = []
    for places in range(1, MAX_PLACES + 1):
        _, at, after = neighbours(series, places)
        if not at.size:
            break
        difference = input_patterns(run, series, after).astype(np.float64) - input_patterns(run, series, at)
        squares.append(float((difference**2).mean()))
    if not squares or min(squares) >= ALTERNATES * squares[0]:
        return 1
    return int(np.argmin(squares)) + 1
