"""Named peaks: Bragg's law, windows that follow known and measured peaks, groups, shares, intervals, the file."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.explain import importance as explain_importance
from xrd_jax.explain import peak_tracking, peak_windows
from xrd_jax.explain.peak_windows import PeakWindow
from xrd_jax.physics import peak_positions, profile, reflections, simulate
from xrd_jax.physics.reflections import Reflection, Track
from xrd_jax.series import axis as series_axis
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

CELL = Cell(rates=("1C",), shift_sigma_deg=0.01, decoy=True)
FRAMES = np.arange(0, 4000, 8)
CU = 1.540593


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
    count = position.size
    voltage = {"voltage": Target(np.linspace(3, 4, count))}
    flat = np.zeros(count, int)
    return PatternSeries(
        np.random.default_rng(seed).poisson(expected), axis, np.arange(count) * 10.0, voltage, flat, flat
    )


AXIS = Axis(np.arange(30.0, 40.0, 0.02), "two_theta", CU)


def d_of(angle: float) -> float:
    return CU / (2 * math.sin(math.radians(angle) / 2))


def test_positions_obey_bragg_on_every_axis():
    d = np.array([2.0, 3.0])
    angle = series_axis.positions(d, AXIS)
    np.testing.assert_allclose(2 * d * np.sin(np.radians(angle) / 2), CU, rtol=1e-12)
    q = series_axis.positions(d, Axis([1.0, 2.0], "q"))
    np.testing.assert_allclose(q, 4 * np.pi * np.sin(np.radians(angle) / 2) / CU, rtol=1e-12)
    np.testing.assert_array_equal(series_axis.positions(d, Axis([1.0, 2.0], "d")), d)
    assert np.isnan(series_axis.positions(0.7, AXIS))
    for axis, words in ((Axis([1.0, 2.0]), "wavelength"), (Axis([1.0, 2.0], "energy"), "energy")):
        with pytest.raises(UserError, match=words):
            series_axis.positions(d, axis)


@pytest.mark.parametrize(
    ("phase", "hkl", "two_theta"),
    [("Al", "111", 38.47), ("Al", "200", 44.72), ("Cu", "111", 43.32), ("Si", "111", 28.44), ("graphite", "002", 26.54),
     ("LiC6", "001", 23.99), ("LiC12", "002", 25.24), ("NMC", "003", 18.68), ("NMC", "104", 44.42)],
)  # fmt: skip
def test_embedded_reflections_with_copper(phase, hkl, two_theta):
    (line,) = [one for one in reflections.table([phase]) if one.hkl == hkl]
    assert float(series_axis.positions(line.d, AXIS)) == pytest.approx(two_theta, abs=0.03)
    with pytest.raises(UserError, match="--cif"):
        reflections.table(["unobtainium"])


def test_known_windows_hold_the_simulated_peak_in_every_frame(simulated):
    """The centre of the window is the centre of gravity of the noiseless peak to a fraction of its width."""
    state = simulate.session(CELL, "1C").states(FRAMES)
    dictionaries = profile.dictionaries(CELL)
    axis = simulated.axis.values
    found = {one.label: one for one in peak_windows.windows(simulated, axis)}

    def alone(*names: str) -> np.ndarray:
        others = [name for name in dictionaries._fields if name not in (*names, "step")]
        nothing = {name: 0.0 * getattr(dictionaries, name) for name in others}
        return np.asarray(simulate.expected_series(dictionaries._replace(**nothing), state))

    for label, name in (("NMC 003", "positive"), ("decoy", "decoy")):
        counts, window = alone(name), found[label]
        kept = counts * (np.abs(axis[None, :] - window.centre[:, None]) < 0.6)
        gravity = (kept * axis[None, :]).sum(axis=1) / kept.sum(axis=1)
        assert np.abs(gravity - window.centre).max() < 0.1 * 0.18, label
        assert ((counts * window.mask).sum(axis=1) / kept.sum(axis=1)).min() > 0.9, label
    layers, graphite = alone("negative_charge", "negative_discharge"), found["graphite 00l"]
    assert ((layers * graphite.mask).sum(axis=1) / layers.sum(axis=1)).min() > 0.8
    # And it is a window, not the whole region: what no stage of the frame occupies is left out.
    assert graphite.mask.mean() < 0.7 * graphite.mask.any(axis=0).mean()


def test_overlapping_peaks_are_one_group(simulated):
    labels = [one.label for one in peak_windows.windows(simulated, simulated.axis.values)]
    assert labels == ["NMC 003", "graphite 00l", "decoy", "NMC 101 + 006", "NMC 012 + Al 111"]
    group = peak_windows.windows(simulated, simulated.axis.values)[-1]
    assert (group.phase, group.hkl) == ("NMC + Al", "012 + 111")


def test_any_part_of_a_series_has_the_same_windows(simulated):
    chosen = np.flatnonzero(simulated.targets["voltage"].values >= 3.9)[::3]
    part, whole = simulated.subset(chosen), peak_windows.windows(simulated, simulated.axis.values)
    for one, other in zip(peak_windows.windows(part, part.axis.values), whole, strict=True):
        np.testing.assert_allclose(one.centre, other.centre[chosen], atol=1e-4)
        assert (one.mask != other.mask[chosen]).mean() < 1e-4
    with pytest.raises(UserError, match="simulate"):
        peak_windows.windows(dataclasses.replace(part, time=part.time + 1.0), part.axis.values)


def test_measured_peaks_are_found_where_the_simulated_ones_are_known_to_be(simulated):
    lines = [one for one in reflections.table(["NMC", "Al"]) if one.hkl in ("003", "101", "012", "111")]
    found = peak_tracking.follow(simulated, peak_tracking.lines(lines, simulated))
    known = {(one.phase, one.hkl): one.centre for one in peak_positions.of_cell(CELL, simulated)}
    for track in found:
        away = np.abs(track.centre - known[track.phase, track.hkl])
        assert track.followed
        # Widths are 0.18 to 0.21; 012 is lost while it lies below Al 111, which is ten times as high.
        assert np.median(away) < 0.03 and np.quantile(away, 0.9) < 0.15, track.hkl
    half = np.diff(found[0].spans[:, 0], axis=1) / 2
    assert np.all((half > 0.2) & (half < 0.4))


def test_measured_windows_group_like_known_ones(simulated):
    lines = [one for one in reflections.table(["NMC", "Al"]) if one.hkl != "104"]
    labels = [one.label for one in peak_windows.windows(measured(simulated), simulated.axis.values, lines)]
    assert labels == ["NMC 003", "NMC 101 + 006", "NMC 012 + Al 111"]


@pytest.mark.parametrize("kind", ["two_theta", "q", "d"])
def test_a_drifting_peak_is_followed_on_every_axis_and_bridged_while_it_is_gone(kind):
    time = np.linspace(0, 1, 400)
    truth = 35.0 + 0.3 * np.sin(6 * time)
    height = np.where(np.abs(time - 0.5) < 0.03, 0.0, 200.0)
    series = drifting(truth, height, AXIS)
    if kind != "two_theta":
        d = CU / (2 * np.sin(np.radians(AXIS.values) / 2))
        values = d[::-1] if kind == "d" else 2 * np.pi / d
        truth = (lambda angle: CU / (2 * np.sin(np.radians(angle) / 2)))(truth)
        truth = truth if kind == "d" else 2 * np.pi / truth
        intensity = series.intensity[:, ::-1] if kind == "d" else series.intensity
        series = dataclasses.replace(series, axis=Axis(values, kind), intensity=intensity)
    (found,) = peak_windows.windows(series, series.axis.values, [Reflection("X", "111", d_of(35.1))])
    step = np.diff(series.axis.values).mean()
    away = np.abs(found.centre - truth) / step
    assert found.followed
    assert away[height > 0].max() < 5  # half a width
    assert away.max() < 15
    assert np.all(found.mask.sum(axis=1) <= 0.9 / 0.02)


def test_what_is_not_there_keeps_its_place():
    series = drifting(np.full(300, 32.0), 300.0, AXIS)
    for seed in range(8):
        series = drifting(np.full(300, 32.0), 300.0, AXIS, seed)
        (absent,) = peak_tracking.follow(series, peak_tracking.lines([Reflection("Cu", "111", d_of(36.0))], series))
        assert not absent.followed
        np.testing.assert_allclose(absent.centre, 36.0)
    (there,) = peak_tracking.follow(series, peak_tracking.lines([Reflection("X", "111", d_of(32.2))], series))
    assert there.followed
    assert peak_tracking.lines([Reflection("X", "200", d_of(50.0))], series) == ()


@pytest.mark.parametrize("side", [-1, 1])
def test_the_flank_of_a_peak_beyond_the_bounds_is_no_peak(side):
    """A strong line that never comes within reach does not draw the window of one that is not there."""
    low, high = sorted(
        float(series_axis.positions(d_of(34.0) * scale, AXIS))
        for scale in (1 - peak_tracking.REACH, 1 + peak_tracking.REACH)
    )
    strong = low - 0.12 if side < 0 else high + 0.12
    series = drifting(np.full(300, strong), 3000.0, AXIS)
    (found,) = peak_tracking.follow(series, peak_tracking.lines([Reflection("Cu", "111", d_of(34.0))], series))
    assert not found.followed
    np.testing.assert_allclose(found.centre, 34.0)


def test_without_reflections_named_places_of_the_series_are_used(series):
    named = peak_windows.windows(dataclasses.replace(series, provenance={}), series.axis.values)
    assert [one.label for one in named] == ["static"]
    assert np.abs(named[0].centre - 22.0).max() < 0.1
    fixed = peak_windows.windows(dataclasses.replace(series, provenance={}, reflections={}), series.axis.values)
    assert [(one.label, one.span) for one in fixed] == [("static", (21.0, 23.0)), ("moving", (23.5, 27.0))]
    assert (
        peak_windows.windows(dataclasses.replace(series, provenance={}, reflections={}, windows={}), AXIS.values) == []
    )


def tracks(*centres: float, half: float = 0.3) -> list[Track]:
    spans = [np.tile(np.array([[[at - half, at + half]]]), (5, 1, 1)) for at in centres]
    return [Track("P", f"00{n}", np.full(5, at), s) for n, (at, s) in enumerate(zip(centres, spans, strict=True), 1)]


def test_groups_form_by_overlap_and_through_others():
    def labels(*centres: float) -> list[str]:
        return [one.names[2] for one in peak_windows._grouped(tracks(*centres))]

    assert labels(31.0, 32.0) == ["P 001", "P 002"]
    assert labels(32.0, 31.0) == ["P 002", "P 001"]
    assert labels(31.0, 31.5) == ["P 001 + 002"]
    assert labels(31.0, 31.59) == ["P 001", "P 002"]  # 2 % of the window: channels are parted instead
    assert labels(31.0, 31.9, 31.45) == ["P 001 + 002 + 003"]


@given(
    centres=st.lists(st.floats(30.5, 39.5), min_size=0, max_size=6),
    half=st.floats(0.001, 1.0),
    channels=st.integers(16, 300),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_shares_of_all_windows_and_elsewhere_sum_to_one_at_any_scale(centres, half, channels, seed):
    axis = np.linspace(30.0, 40.0, channels)
    found = peak_windows._disjoint(peak_windows._grouped(tracks(*centres, half=half)), axis)
    assert not found or np.sum([one.mask for one in found], axis=0).max() == 1
    maps = np.random.default_rng(seed).random((3, 5, channels))
    maps[:, :, 0] = np.nan
    parts = peak_windows.shares(maps, found)
    assert list(parts)[-1] == peak_windows.ELSEWHERE
    np.testing.assert_allclose(np.sum(list(parts.values()), axis=0), 1.0, rtol=1e-12)
    assert np.min(list(parts.values())) >= -1e-12
    scaled = peak_windows.shares(-7.0 * maps, found)
    np.testing.assert_allclose(list(scaled.values()), list(parts.values()), atol=1e-12)
    blocks = [peak_windows.shares(maps[:, rows], found, rows) for rows in (slice(0, 2), slice(2, 5))]
    joined = [0.4 * a + 0.6 * b for a, b in zip(blocks[0].values(), blocks[1].values(), strict=True)]
    np.testing.assert_allclose(joined, list(parts.values()), atol=1e-12)


def test_shares_of_known_maps():
    axis = np.linspace(30.0, 40.0, 101)
    found = peak_windows._disjoint(peak_windows._grouped(tracks(32.0, 36.0, half=0.45)), axis)
    maps = np.zeros((2, 5, 101))
    maps[:, :4, np.abs(axis - 32.0) < 0.01] = 3.0  # the fifth pattern has no map: it does not count
    maps[1, :4, np.abs(axis - 38.0) < 0.01] = 1.0
    parts = peak_windows.shares(maps, found)
    np.testing.assert_allclose(parts["P 001"], [1.0, 0.75])
    np.testing.assert_allclose(parts["P 002"], 0.0)
    np.testing.assert_allclose(parts["elsewhere"], [0.0, 0.25])
    assert np.isnan(peak_windows.shares(0 * maps, found)["elsewhere"]).all()
    np.testing.assert_allclose(peak_windows.shares(np.ones((1, 5, 101)), found)["P 001"], found[0].mask.mean())


def test_interval_is_that_of_scipy():
    for values in (np.array([0.2, 0.5, 0.4, 0.1]), np.random.default_rng(0).normal(size=16)):
        low, high = stats.t.interval(0.95, values.size - 1, values.mean(), stats.sem(values))
        assert explain_importance.interval(values) == pytest.approx((high - low) / 2, rel=1e-12)
    assert math.isnan(explain_importance.interval(np.array([0.3])))


def some_rows(seeds: int) -> list[explain_importance.Row]:
    axis = np.linspace(30.0, 40.0, 101)
    found = peak_windows._disjoint(peak_windows._grouped(tracks(32.0, 36.0, 36.2)), axis)
    spread = np.linspace(-0.02, 0.02, seeds) if seeds > 1 else np.zeros(1)
    values = {"P 001": 0.25 + spread, "P 002 + 003": 0.525 - spread, "elsewhere": np.full(seeds, 0.225)}
    return explain_importance.importance(
        {"voltage": values, "mode": values}, found, {"voltage": "supported", "mode": "unstable"}
    )


@pytest.mark.parametrize("seeds", [1, 5])
def test_file_round_trip(tmp_path, seeds):
    rows, path = some_rows(seeds), tmp_path / "importance.csv"
    explain_importance.write(path, rows)
    again = explain_importance.read(path)
    assert [row[:4] + row[8:] for row in again] == [row[:4] + row[8:] for row in rows]
    np.testing.assert_allclose([row[4:8] for row in again], [row[4:8] for row in rows], rtol=1e-4, atol=1e-5)
    assert path.read_text().splitlines()[0].startswith("target,phase,hkl,peak,window_low")
    assert [file.name for file in tmp_path.iterdir()] == ["importance.csv"]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="importance"):
        explain_importance.read(path)


def test_sentences_can_be_quoted():
    # Sample deviation 0.0158 of five seeds: t = 2.776, half interval 0.0196.
    assert explain_importance.sentences(some_rows(5)) == [
        "voltage: P 002 + 003 52 ± 2 %, P 001 25 ± 2 %, elsewhere 22.5 ± 0.0 %",
        "mode (unstable): P 002 + 003 52 ± 2 %, P 001 25 ± 2 %, elsewhere 22.5 ± 0.0 %",
    ]
    assert explain_importance.sentences(some_rows(1))[0] == "voltage: P 002 + 003 52 %, P 001 25 %, elsewhere 22 %"
    assert explain_importance.percent(0.523, 0.041) == "52 ± 4 %"


def test_windows_have_the_shapes_they_promise(simulated):
    part = simulated.subset(np.arange(0, 400, 10))
    centres = part.axis.values[2::5]
    for one in peak_windows.windows(part, centres):
        assert isinstance(one, PeakWindow)
        assert one.mask.shape == (40, centres.size) and one.mask.dtype == bool
        assert one.centre.shape == one.low.shape == one.half_width.shape == (40,)
        assert np.all((one.low < one.centre) & (one.centre < one.high))
