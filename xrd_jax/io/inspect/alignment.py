"""Do the clocks of patterns and cell agree? A coordinate of what moves in the patterns, against what the cell did."""

from __future__ import annotations

import dataclasses

import numpy as np

from xrd_jax.io.cyclers import log as logs

PARTS = (3, 6, 12, 24, 48)  # of the axis: widths of windows
LEAST_STRENGTH = 2.0  # standard deviation of a centroid over its noise
LEAST = 12  # patterns; fewer do not tell an offset
SHARE = 0.25  # of the overlap: offsets larger than this are not looked for
STRENGTH = 0.6  # below this |r| nothing is suggested
NEAR = 0.01  # offsets whose |r| comes this near to the best are as good
NARROW = 0.1  # of all offsets: if more than these are as good, nothing is suggested


@dataclasses.dataclass(frozen=True)
class Moving:
    """The centroid of the intensity within the window that changes most.

    Attributes:
      window: (low, high) on the axis.
      position: [T] centroid.
    """

    window: tuple[float, float]
    position: np.ndarray


@dataclasses.dataclass(frozen=True)
class Offset:
    """What cross-correlation suggests; never applied.

    Attributes:
      seconds: to be added to the times of the patterns.
      correlation: |r| there; `unmoved`: |r| with the times as they are.
      against: 'voltage' or 'charge': what the patterns followed more closely.
      lags, curve: [K] s and |r| at each.
      told: the maximum is high and narrow enough, and inside the range, to be a suggestion.
    """

    seconds: float
    correlation: float
    unmoved: float
    against: str
    lags: np.ndarray
    curve: np.ndarray
    told: bool


def moving(axis: np.ndarray, intensity: np.ndarray) -> list[Moving]:
    """The windows whose centroids move most beyond their noise, three of each width; none where nothing moves.

    Args:
      axis: [N]; intensity: [T, N] in time order.
    """
    count, channels = intensity.shape
    if count < LEAST or channels < 16:
        return []
    level = intensity / np.maximum(np.abs(intensity).mean(axis=1, keepdims=True), np.finfo(float).tiny)
    found: list[tuple[float, Moving]] = []
    for parts in PARTS:
        size = channels // parts
        if size < 8:
            break
        own = []
        for begin in range(0, channels - size + 1, size // 2):
            position = _centroid(axis[begin : begin + size], level[:, begin : begin + size])
            if position is None:
                continue
            # Second differences of a smooth motion are small: what is left of them is noise.
            noise = np.diff(position, 2).std() / np.sqrt(6) + 1e-9 * np.ptp(axis)
            window = float(axis[begin]), float(axis[begin + size - 1])
            own.append((float(position.std() / noise), Moving(window, position)))
        found += sorted((one for one in own if one[0] > LEAST_STRENGTH), key=lambda one: -one[0])[:3]
    return [one for _, one in sorted(found, key=lambda one: -one[0])]


def _centroid(axis: np.ndarray, cut: np.ndarray) -> np.ndarray | None:
    """[T] centre of what stands above a straight background from end to end."""
    weight = cut - np.linspace(cut[:, 0], cut[:, -1], axis.size, axis=1)
    weight = weight - weight.min(axis=1, keepdims=True)
    total = weight.sum(axis=1)
    return weight @ axis / total if np.all(total > 0) else None


def best(time: np.ndarray, candidates: list[Moving], log: logs.CyclerLog) -> tuple[Moving, Offset] | None:
    """The coordinate that follows the cell most closely, at whatever offset, with that offset."""
    found = [(one, offset) for one in candidates if (offset := suggest(time, one.position, log)) is not None]
    return max(found, key=lambda pair: pair[1].correlation, default=None)


def suggest(time: np.ndarray, position: np.ndarray, log: logs.CyclerLog) -> Offset | None:
    """The offset at which the moving coordinate [T] follows voltage or charge best; None where that is not told.

    For every offset the two are correlated (Pearson) over the patterns that then lie within the log.
    """
    inside = (time >= log.time[0]) & (time <= log.time[-1])
    if np.count_nonzero(inside) < LEAST:
        return None
    reach = SHARE * float(min(np.ptp(time), np.ptp(log.time)))
    step = max(float(np.median(np.diff(time))) / 4, reach / 200)
    lags = np.arange(-int(reach / step), int(reach / step) + 1) * step
    best: Offset | None = None
    for name, values in (("voltage", log.voltage), ("charge", log.capacity)):
        curve = np.array([_correlation(time + lag, position, log.time, values) for lag in lags])
        if not np.isfinite(curve).any():
            continue
        at = int(np.nanargmax(curve))
        if best is None or curve[at] > best.correlation:
            unmoved = float(curve[np.argmin(np.abs(lags))])
            known = np.isfinite(curve)
            narrow = np.count_nonzero(curve[known] > curve[at] - NEAR) < max(3, NARROW * np.count_nonzero(known))
            inner = 2 < at < lags.size - 3 and known[at - 2 : at + 3].all()
            told = bool(curve[at] >= STRENGTH and narrow and inner)
            best = Offset(_refined(lags, curve, at), float(curve[at]), unmoved, name, lags, curve, told)
    return best


def _correlation(time: np.ndarray, position: np.ndarray, log_time: np.ndarray, values: np.ndarray) -> float:
    inside = (time >= log_time[0]) & (time <= log_time[-1])
    # Half of the patterns at least: a few of them agree with anything.
    if np.count_nonzero(inside) < max(LEAST, time.size // 2):
        return np.nan
    one, other = position[inside], np.interp(time[inside], log_time, values)
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one**2).sum() * (other**2).sum())
    return float(abs((one * other).sum()) / size) if size > 0 else np.nan


def _refined(lags: np.ndarray, curve: np.ndarray, at: int) -> float:
    """The top of the parabola through the best lag and its neighbours."""
    if not 0 < at < lags.size - 1:
        return float(lags[at])
    left, top, right = curve[at - 1 : at + 2]
    bend = left - 2 * top + right
    shift = 0.5 * (left - right) / bend if np.isfinite(bend) and bend < 0 else 0.0
    return float(lags[at] + shift * (lags[1] - lags[0]))
