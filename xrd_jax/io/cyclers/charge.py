"""Charge passed since the start: from counters that start again, from the current, and the current from the charge."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.table import Table

# Share by which the recorded charge may differ from the integral of the current before it is worth a note.
_MAX_DISAGREEMENT = 0.2
_NEGLIGIBLE_CHARGE = 1e-8  # A h, below which a log is taken for one at rest


def recorded_charge(
    table: Table, time: Float[np.ndarray, "R"], current: Float[np.ndarray, "R"] | None
) -> Float[np.ndarray, "R"] | None:
    """Return charge passed since the start in A h, positive as the current is, or None where no column has it."""
    net, increment = table.values("net"), table.values("increment")
    if net is not None:
        return net
    if increment is not None:
        return np.cumsum(increment)
    is_new_step = table.begins_step()
    expected = None if current is None else np.diff(integral(current, time))
    charged, discharged = table.values("charge_capacity"), table.values("discharge_capacity")
    if charged is not None and discharged is not None:
        gains = [
            _increments(np.abs(counter), is_new_step, None if expected is None else np.maximum(sign * expected, 0))
            for counter, sign in ((charged, 1), (discharged, -1))
        ]
        return abs(charged[0]) - abs(discharged[0]) + np.concatenate([[0.0], np.cumsum(gains[0] - gains[1])])
    counter = table.values("capacity")
    if counter is None or current is None or expected is None:
        return counter
    signed = _increments(counter, is_new_step, expected)
    sign = np.sign(np.where(current[1:] == 0, current[:-1], current[1:]))
    unsigned = sign * _increments(np.abs(counter), is_new_step, np.abs(expected))
    # The file does not say whether its capacity has a sign: whichever the current agrees with.
    if np.abs(signed - expected).sum() <= np.abs(unsigned - expected).sum():
        return np.concatenate([[0.0], np.cumsum(signed)]) + counter[0]
    return np.concatenate([[0.0], np.cumsum(unsigned)])


def _increments(counter: np.ndarray, is_new_step: np.ndarray, expected: np.ndarray | None) -> np.ndarray:
    """Return [R-1] what a counter gained at each row, though it starts again with steps or cycles.

    `expected` [R-1] is the integral of the current over each row, which tells a restart from a small fall.
    """
    gain = np.diff(counter)
    if expected is None:
        return np.where(np.abs(counter[1:]) < np.abs(counter[:-1]) / 2, counter[1:], gain)
    may_restart = is_new_step | (np.abs(counter[1:]) < np.abs(counter[:-1]))
    return np.where(may_restart & (np.abs(counter[1:] - expected) < np.abs(gain - expected)), counter[1:], gain)


def integral(current: Float[np.ndarray, "R"], time: Float[np.ndarray, "R"]) -> Float[np.ndarray, "R"]:
    """Return ∫I dt in A h, by the trapezoidal rule."""
    return np.concatenate([[0.0], np.cumsum((current[1:] + current[:-1]) / 2 * np.diff(time))]) / 3600


def derivative(charge: np.ndarray | None, time: Float[np.ndarray, "R"], path: Path) -> Float[np.ndarray, "R"]:
    """Return dQ/dt in A; refuse a log without charge [R], or whose time does not advance."""
    if charge is None:
        raise UserError(f"{path}: neither a current nor a charge column is known here; export one of them, or name it")
    # A step of no length passes no charge that could be told: it keeps the current of the step before.
    steps = np.diff(time)
    nonzero = np.flatnonzero(steps > 0)
    if not nonzero.size:
        raise UserError(f"{path}: time does not advance; export the file again")
    last = np.maximum(np.searchsorted(nonzero, np.arange(len(steps)), side="right") - 1, 0)
    slope = (np.diff(charge)[nonzero] / steps[nonzero])[last] * 3600
    return np.concatenate([slope[:1], slope])


def notes_on_disagreement(
    charge: Float[np.ndarray, "R"], expected: Float[np.ndarray, "R"], is_new_step: Bool[np.ndarray, "R-1"]
) -> list[str]:
    """Note a charge that is not the integral of the current, as with a wrong unit or a thinned log."""
    # The current jumps where a step begins, so the integral over that one row means nothing.
    recorded, integrated = np.diff(charge)[~is_new_step], np.diff(expected)[~is_new_step]
    sums = float(np.abs(recorded).sum()), float(np.abs(integrated).sum())
    difference = float(np.abs(recorded - integrated).sum())
    if max(sums) <= _NEGLIGIBLE_CHARGE or difference <= _MAX_DISAGREEMENT * max(sums):
        return []
    return [
        f"the recorded charge amounts to {sums[0]:.3g} A h but the integral of the current to {sums[1]:.3g} A h; "
        "check the units of both columns, or the log is too sparse to tell"
    ]
