"""Named peaks: Bragg's law, windows that follow known and measured peaks, groups, shares, intervals, the file."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.explain import importance, peak_tracking, peak_windows
from xrd_jax.explain.peak_windows import find_windows
from xrd_jax.physics import forward_model, peak_positions, profile, sessions, simulate
from xrd_jax.physics.reflections import Reflection, Track
from xrd_jax.series import axis as series_axis
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

CELL = Cell(rates=("1C",), shift_sigma_deg=0.01, decoy=True)
FRAMES = np.arange(0, 4000, 8)
CU = 1.540593
# Spacings in Å of discharged NMC and of aluminium.
SPACINGS = {
    ("NMC", "003"): 4.746667, ("NMC", "101"): 2.448476, ("NMC", "006"): 2.373333, ("NMC", "012"): 2.346621,
    ("Al", "111"): 2.337922, ("Al", "200"): 2.0247, ("Al", "220"): 1.431679, ("Al", "311"): 1.220940,
}  # fmt: skip
REFLECTIONS = {f"{phase} {hkl}": Reflection(phase, hkl, d) for (phase, hkl), d in SPACINGS.items()}


@pytest.fixture(scope="module")
def simulated() -> PatternSeries:
    return simulate.simulate(CELL).subset(FRAMES)


def measured(series: PatternSeries) -> PatternSeries:
    """The patterns without a word about where they came from."""
    return dataclasses.replace(series, provenance={}, reflections={}, windows={})


def drifting(position: np.ndarray, height: np.ndarray | float, axis: Axis, seed: int = 0) -> PatternSeries:
    """One peak of width 0.2 on a flat background."""
    delta = axis.values[None, :] - position[:, None]
    expected = 100.0 + np.reshape(height, (-1, 1)) * np.exp(-4 * np.log(2) * (delta / 0.2) ** 2)
    counts, zeros = np.random.default_rng(seed).poisson(expected), np.zeros(position.size, int)
    voltage = {"voltage": Target(np.linspace(3, 4, position.size))}
    return PatternSeries(counts, axis, np.arange(position.size) * 10.0, voltage, zeros, zeros)


AXIS = Axis(np.arange(30.0, 40.0, 0.02), "two_theta", CU)


def d_of(angle):
    return CU / (2 * np.sin(np.radians(angle) / 2))


def follow(series: PatternSeries, *reflections: Reflection) -> tuple[Track, ...]:
    return peak_tracking.follow(series, peak_tracking.expected_lines(reflections, series.axis))


def test_positions_obey_bragg_on_every_axis():
    d = np.array([2.0, 3.0])
    angle = series_axis.bragg_positions(d, AXIS)
    np.testing.assert_allclose(2 * d * np.sin(np.radians(angle) / 2), CU, rtol=1e-12)
    q = series_axis.bragg_positions(d, Axis(np.array([1.0, 2.0]), "q"))
    np.testing.assert_allclose(q, 4 * np.pi * np.sin(np.radians(angle) / 2) / CU, rtol=1e-12)
    np.testing.assert_array_equal(series_axis.bragg_positions(d, Axis(np.array([1.0, 2.0]), "d")), d)
    assert np.isnan(series_axis.bragg_positions(0.7, AXIS))
    for axis, message in ((Axis(np.array([1.0, 2.0])), "wavelength"), (Axis(np.array([1.0, 2.0]), "energy"), "energy")):
        with pytest.raises(UserError, match=message):
            series_axis.bragg_positions(d, axis)


def test_known_windows_hold_the_simulated_peak_in_every_frame(simulated):
    """The centre of the window is the centre of gravity of the noiseless peak to a fraction of its width."""
    state = sessions.draw_session(CELL, "1C").states(FRAMES)
    dictionaries = profile.dictionaries(CELL)
    axis = simulated.axis.values
    windows = {window.label: window for window in find_windows(simulated, axis)}
    assert all(np.all((window.low < window.centre) & (window.centre < window.high)) for window in windows.values())

    def alone(*names: str) -> np.ndarray:
        others = [name for name in dictionaries._fields if name not in (*names, "step")]
        nothing = {name: 0.0 * getattr(dictionaries, name) for name in others}
        return np.asarray(forward_model.expected_series(dictionaries._replace(**nothing), state))

    for label, name in (("NMC 003", "positive"), ("decoy", "decoy")):
        counts, window = alone(name), windows[label]
        near = counts * (np.abs(axis[None, :] - window.centre[:, None]) < 0.6)
        gravity = (near * axis[None, :]).sum(axis=1) / near.sum(axis=1)
        assert np.abs(gravity - window.centre).max() < 0.1 * 0.18, label
        assert ((counts * window.mask).sum(axis=1) / near.sum(axis=1)).min() > 0.9, label
    layers, graphite = alone("negative_charge", "negative_discharge"), windows["graphite 00l"]
    assert ((layers * graphite.mask).sum(axis=1) / layers.sum(axis=1)).min() > 0.8
    # And it is a window, not the whole region: what no stage of the frame occupies is left out.
    assert graphite.mask.mean() < 0.7 * graphite.mask.any(axis=0).mean()


def test_overlapping_peaks_are_one_group(simulated):
    windows = find_windows(simulated, simulated.axis.values)
    labels = [window.label for window in windows]
    assert labels == ["NMC 003", "graphite 00l", "decoy", "NMC 101 + 006", "NMC 012 + Al 111"]
    assert (windows[-1].phase, windows[-1].hkl) == ("NMC + Al", "012 + 111")


def test_any_part_of_a_series_has_the_same_windows(simulated):
    chosen = np.flatnonzero(simulated.targets["voltage"].values >= 3.9)[::3]
    part, whole = simulated.subset(chosen), find_windows(simulated, simulated.axis.values)
    for window, other in zip(find_windows(part, part.axis.values), whole, strict=True):
        np.testing.assert_allclose(window.centre, other.centre[chosen], atol=1e-4)
        assert (window.mask != other.mask[chosen]).mean() < 1e-4
    with pytest.raises(UserError, match="simulate"):
        find_windows(dataclasses.replace(part, time=part.time + 1.0), part.axis.values)


def test_measured_peaks_are_found_where_the_simulated_ones_are_known_to_be(simulated):
    lines = [REFLECTIONS[label] for label in ("NMC 003", "NMC 101", "NMC 012", "Al 111")]
    tracks = follow(simulated, *lines)
    truth = {(track.phase, track.hkl): track.centre for track in peak_positions.peak_tracks(CELL, simulated)}
    for track in tracks:
        error = np.abs(track.centre - truth[track.phase, track.hkl])
        assert track.followed
        # Widths are 0.18 to 0.21; 012 is lost while it lies below Al 111, which is ten times as high.
        assert np.median(error) < 0.03 and np.quantile(error, 0.9) < 0.15, track.hkl
    half = np.diff(tracks[0].spans[:, 0], axis=1) / 2
    assert np.all((half > 0.2) & (half < 0.4))


def test_measured_windows_group_like_known_ones(simulated):
    windows = find_windows(measured(simulated), simulated.axis.values, list(REFLECTIONS.values()))
    labels = [window.label for window in windows]
    assert labels == ["NMC 003", "NMC 101 + 006", "NMC 012 + Al 111"]


@pytest.mark.parametrize("kind", ["two_theta", "q", "d"])
def test_a_drifting_peak_is_followed_on_every_axis_and_bridged_while_it_is_gone(kind):
    time = np.linspace(0, 1, 400)
    truth = 35.0 + 0.3 * np.sin(6 * time)
    height = np.where(np.abs(time - 0.5) < 0.03, 0.0, 200.0)
    series = drifting(truth, height, AXIS)
    if kind != "two_theta":
        values = d_of(AXIS.values[::-1]) if kind == "d" else 2 * np.pi / d_of(AXIS.values)
        truth = d_of(truth) if kind == "d" else 2 * np.pi / d_of(truth)
        intensity = series.intensity[:, ::-1] if kind == "d" else series.intensity
        series = dataclasses.replace(series, axis=Axis(values, kind), intensity=intensity)
    (window,) = find_windows(series, series.axis.values, [Reflection("X", "111", d_of(35.1))])
    error = np.abs(window.centre - truth) / np.diff(series.axis.values).mean()
    assert window.followed
    assert error[height > 0].max() < 5  # half a width
    assert error.max() < 15
    assert np.all(window.mask.sum(axis=1) <= 0.9 / 0.02)


def test_what_is_not_there_keeps_its_place():
    for seed in range(8):
        series = drifting(np.full(300, 32.0), 300.0, AXIS, seed)
        (absent,) = follow(series, Reflection("Cu", "111", d_of(36.0)))
        assert not absent.followed
        np.testing.assert_allclose(absent.centre, 36.0)
    (there,) = follow(series, Reflection("X", "111", d_of(32.2)))
    assert there.followed
    assert peak_tracking.expected_lines([Reflection("X", "200", d_of(50.0))], AXIS) == ()


@pytest.mark.parametrize("side", [-1, 1])
def test_the_flank_of_a_peak_beyond_the_bounds_is_no_peak(side):
    """A strong line that never comes within reach does not draw the window of one that is not there."""
    low, high = sorted(
        float(series_axis.bragg_positions(d_of(34.0) * scale, AXIS))
        for scale in (1 - peak_tracking.MAX_SPACING_CHANGE, 1 + peak_tracking.MAX_SPACING_CHANGE)
    )
    strong = low - 0.12 if side < 0 else high + 0.12
    series = drifting(np.full(300, strong), 3000.0, AXIS)
    (absent,) = follow(series, Reflection("Cu", "111", d_of(34.0)))
    assert not absent.followed
    np.testing.assert_allclose(absent.centre, 34.0)


def test_without_reflections_named_places_of_the_series_are_used(series):
    named = find_windows(dataclasses.replace(series, provenance={}), series.axis.values)
    assert [window.label for window in named] == ["static"]
    assert np.abs(named[0].centre - 22.0).max() < 0.1
    fixed = find_windows(dataclasses.replace(series, provenance={}, reflections={}), series.axis.values)
    assert [(window.label, window.span) for window in fixed] == [("static", (21.0, 23.0)), ("moving", (23.5, 27.0))]
    assert find_windows(measured(series), AXIS.values) == []


def make_tracks(*centres: float, half: float = 0.3) -> list[Track]:
    spans = [np.tile(np.array([[[at - half, at + half]]]), (5, 1, 1)) for at in centres]
    return [Track("P", f"00{n}", np.full(5, at), s) for n, (at, s) in enumerate(zip(centres, spans, strict=True), 1)]


def test_groups_form_by_overlap_and_through_others():
    def labels(*centres: float) -> list[str]:
        return [group.names[2] for group in peak_windows._group_overlapping(make_tracks(*centres))]

    assert labels(31.0, 32.0) == ["P 001", "P 002"]
    assert labels(32.0, 31.0) == ["P 002", "P 001"]
    assert labels(31.0, 31.5) == ["P 001 + 002"]
    assert labels(31.0, 31.59) == ["P 001", "P 002"]  # 2 % of the window: channels are parted instead
    assert labels(31.0, 31.9, 31.45) == ["P 001 + 002 + 003"]


@given(st.lists(st.floats(30.5, 39.5), min_size=0, max_size=6), st.floats(0.001, 1.0), st.integers(16, 300))
@settings(max_examples=40, deadline=None)
def test_no_channel_belongs_to_two_windows(centres, half, channels):
    axis = np.linspace(30.0, 40.0, channels)
    windows = peak_windows._disjoint(peak_windows._group_overlapping(make_tracks(*centres, half=half)), axis)
    assert not windows or np.sum([window.mask for window in windows], axis=0).max() == 1


def some_rows(seeds: int) -> list[importance.ImportanceRow]:
    axis = np.linspace(30.0, 40.0, 101)
    windows = peak_windows._disjoint(peak_windows._group_overlapping(make_tracks(32.0, 36.0, 36.2)), axis)
    change = np.linspace(-0.02, 0.02, seeds) if seeds > 1 else np.zeros(1)
    values = {"P 001": 0.25 + change, "P 002 + 003": 0.525 - change, "elsewhere": np.full(seeds, 0.225)}
    verdicts = {"voltage": "supported", "mode": "unstable"}
    return importance.importance_rows(dict.fromkeys(verdicts, values), windows, verdicts)


@pytest.mark.parametrize("seeds", [1, 5])
def test_file_says_what_the_rows_say(tmp_path, seeds):
    rows, path = some_rows(seeds), tmp_path / "importance.csv"
    importance.write(path, rows)
    lines = list(csv.DictReader(path.read_text().splitlines()))
    assert tuple(lines[0]) == importance.COLUMNS
    for line, row in zip(lines, rows, strict=True):
        assert (line["target"], line["phase"], line["hkl"], line["peak"]) == row[:4]
        assert (int(line["seeds"]), line["verdict"]) == row[8:]
        ends = (row.share - row.half_interval, row.share + row.half_interval)
        numbers = [float(line[name] or "nan") for name in importance.COLUMNS[4:9]]
        np.testing.assert_allclose(numbers, [row.low, row.high, row.share, *ends], rtol=1e-4, atol=1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["importance.csv"]


def test_sentences_can_be_quoted():
    # Sample deviation 0.0158 of five seeds: t = 2.776, half interval 0.0196.
    assert importance.sentences(some_rows(5)) == [
        "voltage: P 002 + 003 52 ± 2 %, P 001 25 ± 2 %, elsewhere 22.5 ± 0.0 %",
        "mode (unstable): P 002 + 003 52 ± 2 %, P 001 25 ± 2 %, elsewhere 22.5 ± 0.0 %",
    ]
    assert importance.sentences(some_rows(1))[0] == "voltage: P 002 + 003 52 %, P 001 25 %, elsewhere 22 %"
    assert importance.percent(0.523, 0.041) == "52 ± 4 %"
