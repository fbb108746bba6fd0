"""Do the clocks of patterns and cell agree? Correlates a centroid that moves with what the cell did."""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Float

from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.series.record import PatternSeries

WINDOWS_PER_AXIS = (3, 6, 12, 24, 48)  # widths of windows: the axis over these
MIN_STRENGTH = 2.0  # standard deviation of a centroid over its noise
MIN_PATTERNS = 12  # fewer do not tell an offset
MAX_OFFSET_SHARE = 0.25  # of the shorter span: larger offsets are not looked for
MIN_CORRELATION = 0.6  # below this |r| nothing is suggested
SIMILAR_CORRELATION = 0.01  # offsets whose |r| comes this near to the best are as good
MAX_SIMILAR_SHARE = 0.1  # of all offsets: if more than these are as good, nothing is suggested
MAX_RIVAL = 0.87  # |r| at any other offset of either sign, and without an offset, over the best
MIN_TURNS, MIN_TURN_SHARE = 3, 0.8  # turning points of the cell that the patterns must show, and at the right time
TURN_SIZE = 0.25  # of the whole range: smaller turns are noise


@dataclasses.dataclass(frozen=True)
class Centroid:
    """The centroid of the intensity within a window (low, high) of the axis."""

    window: tuple[float, float]
    position: Float[np.ndarray, "T"]


@dataclasses.dataclass(frozen=True)
class Offset:
    """What cross-correlation suggests; never applied."""

    seconds: float  # to be added to the times of the patterns
    correlation: float  # |r| there
    correlation_as_is: float  # |r| with the times as they are
    against: str  # 'voltage' or 'charge': what the patterns followed more closely
    offsets: Float[np.ndarray, "K"]  # s
    curve: Float[np.ndarray, "K"]  # |r| at each
    is_suggested: bool  # beyond doubt: high, narrow, without rival, and turning points agree
    confidence: str = ""  # in words: what speaks for the offset, or against it


def moving_centroids(axis: Float[np.ndarray, "N"], intensity: Float[np.ndarray, "T N"]) -> list[Centroid]:
    """Return the centroids that move most beyond their noise, three for each width of window.

    `intensity` is in time order.
    """
    count, channels = intensity.shape
    if count < MIN_PATTERNS or channels < 16:
        return []
    level = intensity / np.maximum(np.abs(intensity).mean(axis=1, keepdims=True), np.finfo(float).tiny)
    strongest: list[tuple[float, Centroid]] = []
    for windows in WINDOWS_PER_AXIS:
        size = channels // windows
        if size < 8:
            break
        of_width = []
        for begin in range(0, channels - size + 1, size // 2):
            position = _centroid(axis[begin : begin + size], level[:, begin : begin + size])
            if position is None:
                continue
            # Second differences of a smooth motion are small: what is left of them is noise.
            noise = np.diff(position, 2).std() / np.sqrt(6) + 1e-9 * np.ptp(axis)
            window = float(axis[begin]), float(axis[begin + size - 1])
            if (strength := float(position.std() / noise)) > MIN_STRENGTH:
                of_width.append((strength, Centroid(window, position)))
        strongest += sorted(of_width, key=lambda pair: -pair[0])[:3]
    return [centroid for _, centroid in sorted(strongest, key=lambda pair: -pair[0])]


def _centroid(axis: np.ndarray, level: np.ndarray) -> np.ndarray | None:
    """[T] centre of what stands above a straight background from end to end."""
    weight = level - np.linspace(level[:, 0], level[:, -1], axis.size, axis=1)
    weight = weight - weight.min(axis=1, keepdims=True)
    total = weight.sum(axis=1)
    return weight @ axis / total if np.all(total > 0) else None


def best_match(
    time: Float[np.ndarray, "T"], centroids: list[Centroid], log: CyclerLog, clocks_agree: bool = False
) -> tuple[Centroid, Offset] | None:
    """Return the centroid that follows the cell most closely, at whatever offset, with that offset.

    Args:
      clocks_agree: both sides state dates, which are trusted: no offset but 0 is suggested.
    """
    matches = [(centroid, offset) for centroid in centroids if (offset := best_offset(time, centroid.position, log))]
    best = max(matches, key=lambda match: match[1].correlation, default=None)
    if best is None or not clocks_agree or abs(best[1].seconds) < float(np.median(np.diff(time))):
        return best
    doubt = "both clocks state dates, which are trusted"
    return best[0], dataclasses.replace(best[1], is_suggested=False, confidence=doubt)


def match_series(series: PatternSeries) -> tuple[Centroid, Offset] | None:
    """Return what `best_match` says of one session of a series and its own voltages."""
    voltage = series.targets["voltage"].values
    log = CyclerLog(series.time, voltage, np.zeros_like(voltage), np.zeros_like(voltage), None, {})
    centroids = moving_centroids(series.axis.values, np.asarray(series.intensity, np.float64))
    return best_match(series.time, centroids, log)


def best_offset(time: Float[np.ndarray, "T"], position: Float[np.ndarray, "T"], log: CyclerLog) -> Offset | None:
    """Return the offset at which a centroid [T] follows voltage or charge best; None where that cannot be told.

    For every offset the two are correlated (Pearson) over the patterns that then lie within the log.
    """
    is_inside = (time >= log.time[0]) & (time <= log.time[-1])
    if np.count_nonzero(is_inside) < MIN_PATTERNS:
        return None
    reach = MAX_OFFSET_SHARE * float(min(np.ptp(time), np.ptp(log.time)))
    step = max(float(np.median(np.diff(time))) / 4, reach / 200)
    offsets = np.arange(-int(reach / step), int(reach / step) + 1) * step
    best: Offset | None = None
    for name, values in (("voltage", log.voltage), ("charge", log.capacity)):
        signed = np.array([_correlation(time + offset, position, log.time, values) for offset in offsets])
        curve = np.abs(signed)
        if not np.isfinite(curve).any():
            continue
        top = int(np.nanargmax(curve))
        if best is None or curve[top] > best.correlation:
            as_is = float(curve[np.argmin(np.abs(offsets))])
            seconds = _parabola_top(offsets, curve, top)
            cell = np.interp(time + seconds, log.time, values)
            turns = turns_that_agree(cell, np.sign(signed[top]) * position)
            is_suggested, confidence = _judge(signed, top, turns)
            if abs(seconds) >= step and as_is > MAX_RIVAL * curve[top]:
                is_suggested, confidence = False, "the times as they are agree nearly as well"
            best = Offset(seconds, float(curve[top]), as_is, name, offsets, curve, is_suggested, confidence)
    return best


def turns_that_agree(cell: Float[np.ndarray, "T"], position: Float[np.ndarray, "T"]) -> tuple[int, int]:
    """Return at how many turns of the cell the patterns turn too, and how many turns there are.

    Before and after a turn the position must move as the cell does, by a straight line through it all.
    """
    bounds = [0, *_turning_points(cell), cell.size - 1]
    agrees = []
    for begin, end in itertools.pairwise(bounds):
        rows = np.arange(begin, end + 1)
        slope = float(((rows - rows.mean()) * position[begin : end + 1]).sum())
        agrees.append(slope * float(cell[end] - cell[begin]) > 0)
    return sum(before and after for before, after in itertools.pairwise(agrees)), len(agrees) - 1


def _turning_points(values: np.ndarray) -> list[int]:
    """Return the rows at which the values turn by more than `TURN_SIZE` of their range, ends left out."""
    size = TURN_SIZE * float(np.ptp(values))
    turns: list[int] = []
    low = high = direction = 0
    for row, value in enumerate(values.tolist()):
        high, low = (row if value >= values[high] else high), (row if value <= values[low] else low)
        if direction >= 0 and values[high] - value > size:
            turns, direction, low = [*turns, high], -1, row
        elif direction <= 0 and value - values[low] > size:
            turns, direction, high = [*turns, low], 1, row
    return [row for row in turns if 0 < row < values.size - 1]


def _judge(signed: np.ndarray, top: int, turns: tuple[int, int]) -> tuple[bool, str]:
    """Return whether the maximum of |r| is beyond doubt, and what speaks for it or against it."""
    curve = np.abs(signed)
    # What belongs to the maximum: as far as r keeps its sign and half of its height.
    is_lower = ~(signed * np.sign(signed[top]) > curve[top] / 2)
    left = top - int(np.argmax(is_lower[top::-1])) if is_lower[: top + 1].any() else -1
    right = top + int(np.argmax(is_lower[top:])) if is_lower[top:].any() else curve.size
    others = np.concatenate([curve[: left + 1], curve[right:]])
    rival = float(np.nanmax(others, initial=0.0))
    agreeing, count = turns
    shown = f"{agreeing} of {count} turning points agree; the best |r| at any other offset is {rival:.2f}"
    if not _stands_out(curve, top):
        return False, "the maximum is low, flat or at the end of what was looked at"
    if count < MIN_TURNS or agreeing < MIN_TURN_SHARE * count or rival > MAX_RIVAL * curve[top]:
        return False, shown
    return True, shown


def _stands_out(curve: np.ndarray, top: int) -> bool:
    """True where the maximum is high, narrow, and has finite neighbours on both sides."""
    is_finite = np.isfinite(curve)
    similar = np.count_nonzero(curve[is_finite] > curve[top] - SIMILAR_CORRELATION)
    is_narrow = similar < max(3, MAX_SIMILAR_SHARE * np.count_nonzero(is_finite))
    is_inner = 2 < top < curve.size - 3 and is_finite[top - 2 : top + 3].all()
    return bool(curve[top] >= MIN_CORRELATION and is_narrow and is_inner)


def _correlation(time: np.ndarray, position: np.ndarray, log_time: np.ndarray, values: np.ndarray) -> float:
    """Return r, NaN where too few patterns lie within the log."""
    is_inside = (time >= log_time[0]) & (time <= log_time[-1])
    # Half of the patterns at least: a few of them agree with anything.
    if np.count_nonzero(is_inside) < max(MIN_PATTERNS, time.size // 2):
        return np.nan
    x, y = position[is_inside], np.interp(time[is_inside], log_time, values)
    x, y = x - x.mean(), y - y.mean()
    norm = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / norm) if norm > 0 else np.nan


def _parabola_top(offsets: np.ndarray, curve: np.ndarray, top: int) -> float:
    """Return the top of the parabola through the best offset and its neighbours."""
    if not 0 < top < offsets.size - 1:
        return float(offsets[top])
    left, middle, right = curve[top - 1 : top + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if np.isfinite(bend) and bend < 0 else 0.0
    return float(offsets[top] + shift * (offsets[1] - offsets[0]))
