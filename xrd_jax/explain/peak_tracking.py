"""Following a peak through measured patterns: the best path of a ridge over time, within bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from xrd_jax.physics.reflections import PAD_WIDTHS, Reflection, Track
from xrd_jax.series import lazy, record
from xrd_jax.series.axis import positions
from xrd_jax.series.record import PatternSeries

REACH = 0.015  # relative change of a spacing that is followed
ROWS = 600  # patterns are gathered into about this many rows: peaks move slowly, and sums have less noise
STEP = 2  # channels that a peak may move from one row to the next
STIFFNESS = 0.05  # cost of a step by one channel, in units of the typical height of the ridge
ANCHOR = 0.2  # cost, in the same units, of being `reach` away from the expected place; breaks ties
SIGNIFICANT = 5.0  # a peak must stand this many standard deviations out of its surroundings
FLANK = 3  # channels: a peak falls within them to either side
REMOVED = 2.0  # a peak is taken out this many widths to either side
GUESS = 6.0  # channels: width assumed for a peak that is not found


class Line(NamedTuple):
    """A reflection on the axis: where it is expected and how far it may go, in axis units."""

    phase: str
    hkl: str
    at: float
    low: float
    high: float


def lines(reflections: Iterable[Reflection], series: PatternSeries, reach: float = REACH) -> tuple[Line, ...]:
    """The reflections that the axis holds, each with bounds `reach` (relative, of its spacing) to either side."""
    found = []
    first, last = series.axis.values[[0, -1]]
    for one in reflections:
        at = float(positions(one.d, series.axis))
        ends = positions(one.d * np.array([1.0 - reach, 1.0 + reach]), series.axis)
        # The limit of backscattering: a spacing below λ/2 has no angle.
        low, high = np.sort(np.where(np.isnan(ends), last, ends))
        if first <= at <= last:
            found.append(Line(one.phase, one.hkl, at, max(float(low), first), min(float(high), last)))
    return tuple(found)


class SessionImage(NamedTuple):
    """A session's patterns gathered in time order: `image` [R, N] means, `row` [t] of each of the patterns `where`."""

    where: np.ndarray
    row: np.ndarray
    image: np.ndarray


def follow(series: PatternSeries, expected: Iterable[Line]) -> tuple[Track, ...]:
    """Where each line is in every pattern, found session by session, the strongest line first.

    Within a line's bounds, the path that collects the most intensity above the background, less a cost for steps from
    row to row, is found by dynamic programming; rows without a visible peak are bridged by their neighbours. The peak
    is then taken out of the patterns, so that a weak line beside a strong one, or crossing it, is not drawn to it.
    Between channels the place is the vertex of the parabola through three of them. A line without a peak that stands
    out keeps its expected position in that session.

    Returns:
      tracks with one part; half the window is `PAD_WIDTHS` of the width of the phase's strongest line.
    """
    wanted = list(expected)
    centre = np.tile(np.array([line.at for line in wanted]).reshape(-1, 1), (1, len(series)))
    half, seen = np.zeros(centre.shape), np.zeros(len(wanted), bool)
    for session in range(len(series.session_names)):
        rows = _gather(series, session)
        if rows.where.size:
            for number, path in enumerate(_paths(series.axis.values, rows.image, wanted)):
                centre[number, rows.where] = path.place[rows.row]
                half[number, rows.where] = PAD_WIDTHS * path.width
                seen[number] |= path.found
    spans = np.stack([centre - half, centre + half], axis=2)[:, :, None, :]
    return tuple(
        Track(line.phase, line.hkl, *values)
        for line, *values in zip(wanted, centre, spans, map(bool, seen), strict=True)
    )


def _gather(series: PatternSeries, session: int) -> SessionImage:
    where = record.in_session(series, session)
    row = np.arange(where.size) * min(ROWS, where.size) // max(where.size, 1)
    count = int(row[-1]) + 1 if where.size else 0
    image, number = np.zeros((count, series.axis.values.size)), np.empty(len(series), int)
    number[where] = row
    chosen = np.sort(where)
    for begin, patterns in lazy.blocks(series.intensity, rows=chosen):
        np.add.at(image, number[chosen[begin : begin + len(patterns)]], patterns)
    return SessionImage(where, row, image / np.bincount(row, minlength=count)[:, None])


class _Path(NamedTuple):
    """A line in one session: its place [R] in each row, its width, whether there is a peak, and how good a path."""

    place: np.ndarray
    width: float
    found: bool
    worth: float


def _paths(axis: np.ndarray, image: np.ndarray, wanted: list[Line]) -> list[_Path]:
    """The paths of all lines; the best of those left is settled and its peak removed, until none is left."""
    settled: dict[int, _Path] = {}
    tried: dict[int, _Path] = {}
    widths: dict[str, float] = {}  # of a phase: crystallites and instrument are the same for all its lines
    left = image.copy()
    while len(settled) < len(wanted):
        tried |= {n: _path(axis, left, wanted[n]) for n in range(len(wanted)) if n not in settled and n not in tried}
        best = max(tried, key=lambda number: tried[number].worth)
        if not tried[best].found:
            settled |= tried
            break
        path = tried.pop(best)
        path = settled[best] = path._replace(width=widths.setdefault(wanted[best].phase, path.width))
        _remove(left, np.interp(path.place, axis, np.arange(axis.size)), path.width / _step(axis))
        tried = {number: other for number, other in tried.items() if not _near(wanted[number], path)}
    return [settled[number] for number in range(len(wanted))]


def _near(line: Line, path: _Path) -> bool:
    """True where taking the peak out may have changed what is seen of `line`."""
    reach = REMOVED * path.width + (line.high - line.low)
    return bool(path.place.min() - reach < line.high and path.place.max() + reach > line.low)


def _step(axis: np.ndarray) -> float:
    return float(np.median(np.diff(axis)))


def _path(axis: np.ndarray, image: np.ndarray, line: Line) -> _Path:
    inside = np.flatnonzero((axis >= line.low) & (axis <= line.high))
    nowhere = _Path(np.full(len(image), line.at), GUESS * _step(axis), False, -np.inf)
    if inside.size < 5:
        return nowhere
    centres, raw = axis[inside], image[:, inside]
    excess = gaussian_filter1d(raw - np.quantile(raw, 0.2, axis=1, keepdims=True), 1.0, axis=1, mode="nearest")
    typical = float(np.median(excess.max(axis=1)))
    if typical <= 0:
        return nowhere
    away = (centres - line.at) / max(line.high - line.at, line.at - line.low)
    gain = np.minimum(excess / typical, 2.0) - ANCHOR * away[None, :] ** 2
    if not _stands_out(image, gain, inside):
        return nowhere
    path = _ridge(gain)
    channel = _vertex(image, inside[path])
    width = _width(*_aligned(image, channel, inside.size))
    worth = typical * float(gain[np.arange(len(gain)), path].mean())
    return _Path(np.interp(channel, np.arange(axis.size), axis), width * _step(axis), True, worth)


def _remove(image: np.ndarray, channel: np.ndarray, width: float) -> None:
    """Takes the peak that lies at `channel` [R] out of the rows: its mean shape, scaled to each row's own height."""
    reach = math.ceil(REMOVED * width)
    mean, offsets = _aligned(image, channel, reach)
    shape = np.maximum(mean - mean.min(), 0.0)
    place = np.arange(image.shape[1])[None, :] - channel[:, None]
    unit = np.interp(place, offsets, shape / max(float(shape.max()), 1e-12), left=0.0, right=0.0)
    # Least squares of the row's excess over its own floor near the peak.
    floor = np.where(np.abs(place) <= reach, image, np.inf).min(axis=1, keepdims=True)
    height = (unit * (image - floor)).sum(axis=1) / np.maximum((unit**2).sum(axis=1), 1e-12)
    image -= np.maximum(height, 0.0)[:, None] * unit


def _stands_out(image: np.ndarray, gain: np.ndarray, inside: np.ndarray) -> bool:
    """True where the path through every other row runs over a peak in the rows between, on which it was not chosen.

    A path follows the highest channels even of pure noise; the rows that were left out have nothing there then. On the
    flank of a peak beyond the bounds, the mean of the rows goes on rising to one side.
    """
    half = len(image) // 2
    kept, held = (gain[: 2 * half : 2], image[1 : 2 * half : 2]) if half else (gain, image)
    mean, offsets = _aligned(held, inside[_ridge(kept)], inside.size)
    near = mean[np.abs(offsets) <= FLANK]
    if near.argmax() in (0, near.size - 1):
        return False
    height = mean[np.abs(offsets) <= 1].mean()
    noise = 1.4826 * np.median(np.abs(np.diff(mean))) / np.sqrt(2.0)
    return bool(height - np.median(mean) > SIGNIFICANT * max(noise, 1e-9 * abs(height)))


def _ridge(gain: np.ndarray) -> np.ndarray:
    """[R] columns of the path through gain [R, K] of greatest sum less STIFFNESS · step², steps of at most STEP."""
    count, columns = gain.shape
    steps = np.arange(-STEP, STEP + 1)
    best, came = gain[0], np.zeros(gain.shape, int)
    for row in range(1, count):
        padded = np.pad(best, STEP, constant_values=-np.inf)
        reached = np.stack([padded[STEP + s : STEP + s + columns] for s in steps]) - STIFFNESS * steps[:, None] ** 2
        choice = reached.argmax(axis=0)
        came[row] = steps[choice]
        best = gain[row] + reached[choice, np.arange(columns)]
    path = np.empty(count, int)
    path[-1] = int(best.argmax())
    for row in range(count - 1, 0, -1):
        path[row - 1] = path[row] + came[row, path[row]]
    return path


def _aligned(image: np.ndarray, channel: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of rows moved so that `channel` [R] lies at offset 0, and the offsets.

    Linear between channels; beyond the axis the last channel is repeated.
    """
    offsets = np.arange(-reach, reach + 1)
    place = np.clip(channel[:, None] + offsets[None, :], 0, image.shape[1] - 1)
    below = np.minimum(place.astype(int), image.shape[1] - 2)
    part = place - below
    lower, upper = (np.take_along_axis(image, below + step, axis=1) for step in (0, 1))
    return ((1.0 - part) * lower + part * upper).mean(axis=0), offsets


def _width(mean: np.ndarray, offsets: np.ndarray) -> float:
    """Full width in channels, at half height above the lower quarter, of the peak at offset 0; at least 1."""
    middle = int(np.flatnonzero(offsets == 0)[0])
    above = mean > 0.5 * (mean[middle] + np.quantile(mean, 0.25))
    right, left = (int(np.argmin(np.append(side, False))) for side in (above[middle:], above[middle::-1]))
    return max(float(left + right - 1), 1.0)


def _vertex(image: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """[R] channel of each row's peak, refined by the parabola through three channels of the slightly smoothed row."""
    smooth = gaussian_filter1d(image, 1.0, axis=1, mode="nearest")
    inner = np.clip(channel, 1, image.shape[1] - 2)
    left, middle, right = (smooth[np.arange(len(image)), inner + step] for step in (-1, 0, 1))
    bend = left - 2.0 * middle + right
    move = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, -1.0), 0.0)
    return inner + np.clip(move, -0.5, 0.5)
