"""Following a peak through measured patterns: the best path of a ridge over time, within bounds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter1d

from xrd_jax.physics.reflections import PAD_WIDTHS, Reflection, Track
from xrd_jax.series import lazy, record
from xrd_jax.series.axis import Axis, bragg_positions
from xrd_jax.series.record import PatternSeries

MAX_SPACING_CHANGE = 0.015  # relative change of a spacing that is followed
BOUNDS = np.array([1.0 - MAX_SPACING_CHANGE, 1.0 + MAX_SPACING_CHANGE])
MAX_ROWS = 600  # patterns are gathered into about this many rows: peaks move slowly, and sums have less noise
MAX_STEP = 2  # channels that a peak may move from one row to the next
STIFFNESS = 0.05  # cost of a step by one channel, in units of the typical height of the ridge
ANCHOR = 0.2  # cost, in the same units, of being at the bounds instead of the expected position; breaks ties
MIN_SIGNIFICANCE = 5.0  # standard deviations that a peak must stand out of its surroundings
FLANK = 3  # channels: a peak falls within them to either side
REMOVED_WIDTHS = 2.0  # a peak is taken out this many widths to either side
DEFAULT_WIDTH = 6.0  # channels: width assumed for a peak that is not found


class ExpectedLine(NamedTuple):
    """A reflection on the axis: where it is expected and how far it may go, in axis units."""

    phase: str
    hkl: str
    position: float
    low: float
    high: float


def expected_lines(reflections: Sequence[Reflection], axis: Axis) -> tuple[ExpectedLine, ...]:
    """Return the reflections that the axis holds, with bounds `MAX_SPACING_CHANGE` of the spacing to either side."""
    spacings = [((line.phase, line.hkl), line.d) for line in reflections]
    lines = [(name, float(bragg_positions(d, axis)), bragg_positions(d * BOUNDS, axis)) for name, d in spacings]
    return _on_axis(lines, axis)


def lines_near(positions: Mapping[tuple[str, str], float], axis: Axis) -> tuple[ExpectedLine, ...]:
    """Return lines, (phase, hkl) -> position, that the axis holds, with bounds relative to the position itself."""
    return _on_axis(((name, position, position * BOUNDS) for name, position in positions.items()), axis)


def _on_axis(lines: Iterable[tuple[tuple[str, str], float, np.ndarray]], axis: Axis) -> tuple[ExpectedLine, ...]:
    first, last = axis.values[[0, -1]]
    expected = []
    for name, position, bounds in lines:
        # The limit of backscattering: a spacing below λ/2 has no angle.
        low, high = np.clip(np.sort(np.where(np.isnan(bounds), last, bounds)), first, last)
        if first <= position <= last:
            expected.append(ExpectedLine(*name, position, low, high))
    return tuple(expected)


def follow(series: PatternSeries, expected: Sequence[ExpectedLine]) -> tuple[Track, ...]:
    """Return where each line is in every pattern, found session by session, the strongest line first.

    Within a line's bounds, dynamic programming finds the path with the most intensity above the background, less a
    cost for steps from row to row; neighbours bridge rows without a visible peak. The peak is then taken out of the
    patterns, so that a weak line beside or across a strong one is not drawn to it. A line without a peak that stands
    out keeps its expected position in that session.

    Returns:
      tracks with one part; half the window is `PAD_WIDTHS` of the width of the phase's strongest line.
    """
    centre = np.tile(np.array([line.position for line in expected]).reshape(-1, 1), (1, len(series)))
    half, is_peak = np.zeros(centre.shape), np.zeros(len(expected), bool)
    for session in np.unique(series.session).tolist():
        indices = record.session_indices(series, session)
        rows = np.arange(indices.size) * min(MAX_ROWS, indices.size) // indices.size
        image = _mean_of_rows(series, indices, rows)
        for number, path in enumerate(_find_paths(series.axis.values, image, expected)):
            centre[number, indices] = path.position[rows]
            half[number, indices] = PAD_WIDTHS * path.width
            is_peak[number] |= path.is_peak
    spans = np.stack([centre - half, centre + half], axis=2)[:, :, None, :]
    tracks = zip(expected, centre, spans, map(bool, is_peak), strict=True)
    return tuple(Track(line.phase, line.hkl, *values) for line, *values in tracks)


def _mean_of_rows(series: PatternSeries, indices: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[R, N] mean of the patterns `indices` that are gathered into each of `rows`; read in the order of storage."""
    image, order = np.zeros((int(rows[-1]) + 1, series.axis.values.size)), np.argsort(indices)
    for begin, patterns in lazy.read_blocks(series.intensity, rows=indices[order]):
        np.add.at(image, rows[order[begin : begin + len(patterns)]], patterns)
    return image / np.bincount(rows)[:, None]


class _Path(NamedTuple):
    """A line in one session."""

    position: np.ndarray  # [R] in each row, in axis units
    width: float
    is_peak: bool
    quality: float  # mean gain along the path, in intensities


def _find_paths(axis: np.ndarray, image: np.ndarray, expected: Sequence[ExpectedLine]) -> list[_Path]:
    """The paths of all lines; the best of those left is settled and its peak removed, until none is left."""
    settled: dict[int, _Path] = {}
    tried: dict[int, _Path] = {}
    widths: dict[str, float] = {}  # of a phase: crystallites and instrument are the same for all its lines
    remaining = image.copy()
    while len(settled) < len(expected):
        untried = [n for n in range(len(expected)) if n not in settled and n not in tried]
        tried |= {number: _find_path(axis, remaining, expected[number]) for number in untried}
        best = max(tried, key=lambda number: tried[number].quality)
        if not tried[best].is_peak:
            settled |= tried
            break
        path = tried.pop(best)
        path = settled[best] = path._replace(width=widths.setdefault(expected[best].phase, path.width))
        _remove(remaining, np.interp(path.position, axis, np.arange(axis.size)), path.width / _step(axis))
        tried = {number: other for number, other in tried.items() if not _is_near(expected[number], path)}
    return [settled[number] for number in range(len(expected))]


def _is_near(line: ExpectedLine, path: _Path) -> bool:
    """True where taking the peak out may have changed what is seen of `line`."""
    reach = REMOVED_WIDTHS * path.width + (line.high - line.low)
    return bool(path.position.min() - reach < line.high and path.position.max() + reach > line.low)


def _step(axis: np.ndarray) -> float:
    return float(np.median(np.diff(axis)))


def _find_path(axis: np.ndarray, image: np.ndarray, line: ExpectedLine) -> _Path:
    inside = np.flatnonzero((axis >= line.low) & (axis <= line.high))
    absent = _Path(np.full(len(image), line.position), DEFAULT_WIDTH * _step(axis), False, -np.inf)
    if inside.size < 5:
        return absent
    centres, raw = axis[inside], image[:, inside]
    excess = gaussian_filter1d(raw - np.quantile(raw, 0.2, axis=1, keepdims=True), 1.0, axis=1, mode="nearest")
    typical = float(np.median(excess.max(axis=1)))
    if typical <= 0:
        return absent
    distance = (centres - line.position) / max(line.high - line.position, line.position - line.low)
    gain = np.minimum(excess / typical, 2.0) - ANCHOR * distance[None, :] ** 2
    if not _stands_out(image, gain, inside):
        return absent
    columns = _ridge(gain)
    channel = _vertex(image, inside[columns])
    width = _width(*_mean_shape(image, channel, inside.size))
    quality = typical * float(gain[np.arange(len(gain)), columns].mean())
    return _Path(np.interp(channel, np.arange(axis.size), axis), width * _step(axis), True, quality)


def _remove(image: np.ndarray, channel: np.ndarray, width: float) -> None:
    """Take the peak that lies at `channel` [R] out of the rows: its mean shape, scaled to each row's own height."""
    reach = math.ceil(REMOVED_WIDTHS * width)
    mean, offsets = _mean_shape(image, channel, reach)
    shape = np.maximum(mean - mean.min(), 0.0)
    distance = np.arange(image.shape[1])[None, :] - channel[:, None]
    peak = np.interp(distance, offsets, shape / max(float(shape.max()), 1e-12), left=0.0, right=0.0)
    # Least squares of the row's excess over its own floor near the peak.
    floor = np.where(np.abs(distance) <= reach, image, np.inf).min(axis=1, keepdims=True)
    height = (peak * (image - floor)).sum(axis=1) / np.maximum((peak**2).sum(axis=1), 1e-12)
    image -= np.maximum(height, 0.0)[:, None] * peak


def _stands_out(image: np.ndarray, gain: np.ndarray, inside: np.ndarray) -> bool:
    """True where the path through every other row runs over a peak in the rows between, on which it was not chosen.

    A path follows the highest channels even of pure noise, where rows left out have nothing. On the flank of a peak
    beyond the bounds, their mean goes on rising to one side.
    """
    half = len(image) // 2
    chosen, held_out = (gain[: 2 * half : 2], image[1 : 2 * half : 2]) if half else (gain, image)
    mean, offsets = _mean_shape(held_out, inside[_ridge(chosen)], inside.size)
    around = mean[np.abs(offsets) <= FLANK]
    if around.argmax() in (0, around.size - 1):
        return False
    height = mean[np.abs(offsets) <= 1].mean()
    noise = 1.4826 * np.median(np.abs(np.diff(mean))) / np.sqrt(2.0)
    return bool(height - np.median(mean) > MIN_SIGNIFICANCE * max(noise, 1e-9 * abs(height)))


def _ridge(gain: np.ndarray) -> np.ndarray:
    """[R] columns of the path through gain [R, K] of greatest sum less STIFFNESS · step², |step| ≤ MAX_STEP."""
    rows, columns = gain.shape
    steps = np.arange(-MAX_STEP, MAX_STEP + 1)
    best, step_to = gain[0], np.zeros(gain.shape, int)
    for row in range(1, rows):
        padded = np.pad(best, MAX_STEP, constant_values=-np.inf)
        reached = sliding_window_view(padded, columns) - STIFFNESS * steps[:, None] ** 2
        choice = reached.argmax(axis=0)
        step_to[row] = steps[choice]
        best = gain[row] + reached[choice, np.arange(columns)]
    path = np.full(rows, best.argmax())
    for row in range(rows - 1, 0, -1):
        path[row - 1] = path[row] + step_to[row, path[row]]
    return path


def _mean_shape(image: np.ndarray, channel: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of rows moved (linearly) so that `channel` [R] lies at offset 0, and the offsets; ends are repeated."""
    offsets = np.arange(-reach, reach + 1)
    position = np.clip(channel[:, None] + offsets[None, :], 0, image.shape[1] - 1)
    below = np.minimum(position.astype(int), image.shape[1] - 2)
    fraction = position - below
    lower, upper = (np.take_along_axis(image, below + step, axis=1) for step in (0, 1))
    return ((1.0 - fraction) * lower + fraction * upper).mean(axis=0), offsets


def _width(mean: np.ndarray, offsets: np.ndarray) -> float:
    """Full width in channels, at half height above the lower quarter, of the peak at offset 0; at least 1."""
    middle = offsets.size // 2
    is_above = mean > 0.5 * (mean[middle] + np.quantile(mean, 0.25))
    right, left = (int(np.argmin(np.append(side, False))) for side in (is_above[middle:], is_above[middle::-1]))
    return max(float(left + right - 1), 1.0)


def _vertex(image: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """[R] channel of each row's peak, refined by a parabola through three channels of the slightly smoothed row."""
    smooth = gaussian_filter1d(image, 1.0, axis=1, mode="nearest")
    inner = np.clip(channel, 1, image.shape[1] - 2)
    left, middle, right = (smooth[np.arange(len(image)), inner + step] for step in (-1, 0, 1))
    curvature = left - 2.0 * middle + right
    move = np.where(curvature < 0, 0.5 * (left - right) / np.where(curvature < 0, curvature, -1.0), 0.0)
    return inner + np.clip(move, -0.5, 0.5)
