"""Shapley values of windows: what each adds to the exact posterior."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information.posterior import ANALYSED, REST, scores
from xrd_jax.physics import windows as physics_windows

MOST_WINDOWS = 7  # their subsets, and those with the rest, are all tried


def default_windows(cell: Cell) -> dict[str, tuple[float, float]]:
    """The windows of `landmarks.windows` that hold reflections which move or stand among those that do."""
    skipped = ("low end", "high end", "decoy")
    named = physics_windows.windows(cell).items()
    return {name: span for name, span in named if name not in skipped and not name.startswith("empty")}


def shapley(
    cell: Cell, windows: Mapping[str, tuple[float, float]] | None = None, frames: int = 400,
    prepare: PrepareConfig = ANALYSED,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """What each window adds to the oracle, averaged over all orders in which windows can be added (Shapley).

    Args:
      windows: name -> (low, high) in degrees, by default `default_windows`; they must not overlap. Channels in none of
        them are the window 'rest'.

    Returns:
      target -> window -> decrease of the mean absolute error in V ('voltage') or increase of the accuracy; the values
      of a target sum to what all channels achieve beyond none. Computed once per cell and windows.

    Raises:
      UserError: more than `MOST_WINDOWS` windows, or an empty or overlapping one.
    """
    named = default_windows(cell) if windows is None else windows
    return {target: dict(values) for target, values in _shapley(cell, tuple(named.items()), frames, prepare).items()}


@functools.lru_cache(maxsize=16)
def _shapley(
    cell: Cell, windows: tuple[tuple[str, tuple[float, float]], ...], frames: int, prepare: PrepareConfig
) -> dict[str, dict[str, float]]:
    if len(windows) > MOST_WINDOWS:
        raise UserError(f"Shapley values over {len(windows)} windows take too long; name at most {MOST_WINDOWS}")
    axis = cell.start_deg + cell.step_deg * np.arange(cell.channels)
    groups = np.array([(axis >= low) & (axis <= high) for _, (low, high) in windows]).reshape(-1, cell.channels)
    groups = np.concatenate([groups, ~groups.any(axis=0, keepdims=True)])
    names = [name for name, _ in windows] + [REST]
    if (groups.sum(axis=0) > 1).any() or not groups[:-1].any(axis=1).all():
        raise UserError("windows of Shapley values must hold channels and must not overlap")
    sets = np.array(list(itertools.product((False, True), repeat=len(names))))
    achieved = scores(cell, groups, sets, frames, prepare)
    achieved["voltage"] = -achieved["voltage"]
    return {target: dict(zip(names, shapley_values(sets, values), strict=True)) for target, values in achieved.items()}


def shapley_values(sets: Bool[np.ndarray, "J G"], value: Float[np.ndarray, " J"]) -> list[float]:
    """Shapley value of each of G players from the value of all 2^G sets."""
    players = sets.shape[1]
    place = {tuple(one): number for number, one in enumerate(sets.tolist())}
    out = []
    for player in range(players):
        total = 0.0
        for number, one in enumerate(sets):
            if not one[player]:
                size = int(one.sum())
                joined = one.copy()
                joined[player] = True
                weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
                total += weight * (value[place[tuple(joined.tolist())]] - value[number])
        out.append(float(total))
    return out
