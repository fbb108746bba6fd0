"""Shapley values of windows: what each adds to the exact posterior."""

import functools
import itertools
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information.posterior import ANALYSED, REST, score_group_sets
from xrd_jax.physics.windows import channel_angles, named_windows

MAX_WINDOWS = 7  # their subsets, and those with the rest, are all tried


def default_windows(cell: Cell) -> dict[str, tuple[float, float]]:
    """Return the windows of the cell that hold reflections which move or stand among those that do."""
    skipped = ("low end", "high end", "decoy")
    windows = named_windows(cell).items()
    return {name: span for name, span in windows if name not in skipped and not name.startswith("empty")}


def shapley_of_windows(
    cell: Cell, windows: Mapping[str, tuple[float, float]] | None = None, frames: int = 400,
    prepare: PrepareConfig = ANALYSED,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Return what each window adds to the exact posterior, mean over all orders of adding windows (Shapley).

    Args:
      windows: name -> (low, high) in degrees, by default `default_windows`; they must not overlap. Channels in none of
        them are the window 'rest'.

    Returns:
      target -> window -> decrease of the mean absolute error in V ('voltage') or increase of the accuracy; they sum to
      what all channels achieve beyond none. Computed once per cell and windows.

    Raises:
      UserError: more than `MAX_WINDOWS` windows, or an empty or overlapping one.
    """
    windows = default_windows(cell) if windows is None else windows
    return {target: dict(values) for target, values in _shapley(cell, tuple(windows.items()), frames, prepare).items()}


@functools.lru_cache(maxsize=16)
def _shapley(
    cell: Cell, windows: tuple[tuple[str, tuple[float, float]], ...], frames: int, prepare: PrepareConfig
) -> dict[str, dict[str, float]]:
    if len(windows) > MAX_WINDOWS:
        raise UserError(f"Shapley values over {len(windows)} windows take too long; name at most {MAX_WINDOWS}")
    axis = channel_angles(cell)
    groups = np.array([(axis >= low) & (axis <= high) for _, (low, high) in windows]).reshape(-1, cell.channels)
    groups = np.concatenate([groups, ~groups.any(axis=0, keepdims=True)])
    names = [name for name, _ in windows] + [REST]
    if (groups.sum(axis=0) > 1).any() or not groups[:-1].any(axis=1).all():
        raise UserError("windows of Shapley values must hold channels and must not overlap")
    sets = np.array(list(itertools.product((False, True), repeat=len(names))))
    achieved = score_group_sets(cell, groups, sets, frames, prepare)
    achieved["voltage"] = -achieved["voltage"]
    return {target: dict(zip(names, shapley_values(sets, values), strict=True)) for target, values in achieved.items()}


def shapley_values(sets: Bool[np.ndarray, "J G"], value: Float[np.ndarray, " J"]) -> list[float]:
    """Return the Shapley value of each of G players from the value of all 2^G sets."""
    players = sets.shape[1]
    numbers = {tuple(members): number for number, members in enumerate(sets.tolist())}
    shapley = []
    for player in range(players):
        total = 0.0
        for members, number in numbers.items():
            if not members[player]:
                size = sum(members)
                joined = (*members[:player], True, *members[player + 1 :])
                weight = math.factorial(size) * math.factorial(players - size - 1) / math.factorial(players)
                total += weight * (value[numbers[joined]] - value[number])
        shapley.append(float(total))
    return shapley
