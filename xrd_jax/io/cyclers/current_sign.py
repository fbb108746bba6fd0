"""The sign of a current that a file states without one."""

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.io.cyclers.log import REST_SHARE
from xrd_jax.io.cyclers.table import Table

_MAX_PARTS = 60  # in which a log is looked at: a fall from part to part is no noise
_FALL_SHARE = 0.25  # of the range of voltages: a fall by more under one sign of current is worth a note
_MIN_FALL = 0.02  # V
_MIN_SHARE = 0.05  # of all charge that must be counted down before the counters are believed


def signed_current(
    table: Table, current: Float[np.ndarray, " R"], unsigned: bool
) -> tuple[Float[np.ndarray, " R"], list[str]]:
    """Return a current [R] in A with the sign that other columns tell, and what is to be said of it.

    A current with values below 0 has a sign. Else a column of states has it, or counters of charge and discharge;
    else a voltage that falls is worth a note.

    Args:
      unsigned: the program may write currents without a sign.
    """
    if (current < 0).any() or not (current > 0).any():
        return current, []
    if table.direction is not None and (table.direction < 0).any():
        source = f"column '{table.roles['state'].name}'"
        return np.where(table.direction < 0, -current, current), [
            f"the current has no sign; it was taken from {source}"
        ]
    if (is_discharge := _by_counters(table)) is not None and (is_discharge & (current > 0)).any():
        signed = np.where(is_discharge, -current, current)
        return signed, ["the current has no sign; it was taken from the columns that count charge"]
    if table.direction is not None and (table.direction > 0).any():
        return current, []
    if falls := _falls(table.values("voltage"), current):
        unknown = (
            "no current is negative and no column says charge or discharge, so all counts as charge, though under it"
        )
        return current, [f"{unknown} the voltage falls by {falls:.2g} V; name one: columns = {{ state = … }}"]
    if unsigned and table.direction is None:
        return current, ["the log does not tell charge from discharge: no current is negative and no column gives a "
                         "state"]  # fmt: skip
    return current, []


def _by_counters(table: Table) -> Bool[np.ndarray, " R"] | None:
    """Return where the charge that is counted goes down, as far as one sees it; None without such a column."""
    net, increment = table.values("net"), table.values("increment")
    charged, discharged = table.values("charge_capacity"), table.values("discharge_capacity")
    if net is not None:
        gain = np.diff(net, prepend=net[0])
    elif increment is not None:
        gain = increment
    elif charged is not None and discharged is not None:
        gains = [np.maximum(np.diff(np.abs(counter), prepend=abs(counter[0])), 0) for counter in (charged, discharged)]
        gain = gains[0] - gains[1]
    else:
        return None
    moves = np.flatnonzero(gain)
    if -gain[gain < 0].sum() < _MIN_SHARE * np.abs(gain).sum() or not moves.size:
        return None
    # A row in which nothing moved belongs to the movement before it; those before the first, to the first.
    last = np.maximum(np.searchsorted(moves, np.arange(gain.size), side="right") - 1, 0)
    return gain[moves[last]] < 0


def _falls(voltage: np.ndarray | None, current: np.ndarray) -> float:
    """Return by how many V the voltage falls under current, in parts that are longer than its noise; 0 if little."""
    flows = current > REST_SHARE * current.max()
    if voltage is None or np.count_nonzero(flows) < 4:
        return 0.0
    values = voltage[flows]
    means = np.array([part.mean() for part in np.array_split(values, min(_MAX_PARTS, values.size))])
    steps = np.diff(means)
    fall = -float(steps[steps < 0].sum())
    return fall if fall > max(_FALL_SHARE * float(np.ptp(values)), _MIN_FALL) else 0.0
