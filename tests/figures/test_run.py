"""Figures: they draw silently, put every pattern where it belongs, leave gaps blank and come out the same twice."""

from __future__ import annotations

import dataclasses
import itertools
from xml.etree import ElementTree

import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from xrd_jax.analysis.vaw import Vaw, window_shares
from xrd_jax.figures import panels, run, style, time_axis
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

pytestmark = pytest.mark.filterwarnings("error")

CLUSTER = {"NMC 003": 18.7, "C 002": 26.5, "NMC 101": 36.8, "NMC 006": 37.8, "Al 111": 38.5, "NMC 012": 38.6}
MODES = ("charge 1st half", "charge 2nd half", "discharge 1st half", "discharge 2nd half")


def make(sessions: int = 1, frames: int = 60, values: bool = True, marks: bool = True) -> PatternSeries:
    """Two runs of `frames` patterns per session with a gap as long as one run; intensity grows with time."""
    rng = np.random.default_rng(0)
    axis = 12.0 + 0.28 * np.arange(100)
    time = 30.0 * np.concatenate([np.arange(frames), np.arange(2 * frames, 3 * frames)])
    steps = np.arange(2 * frames)
    peak = 40.0 * np.exp(-(((axis - 18.7) / 0.5) ** 2))
    intensity = np.tile(rng.poisson(4 + peak + 0.2 * steps[:, None]), (sessions, 1))
    targets = {"mode": Target(np.tile(steps * 4 // steps.size, sessions), "classification", "", MODES)}
    if values:
        targets = {
            "voltage": Target(np.tile(3.6 + 0.5 * np.sin(steps / 30) ** 2, sessions), "regression", "V")
        } | targets
    return PatternSeries(
        intensity, Axis(axis), np.tile(time, sessions), targets, np.zeros(steps.size * sessions, int),
        np.repeat(np.arange(sessions), steps.size), ("1C", "0.2C")[:sessions], True,
        {"NMC 003": (18.0, 19.4), "Al 111 + NMC 012": (38.0, 39.2), "high end": (39.3, 39.7)} if marks else {},
        CLUSTER if marks else {},
    )  # fmt: skip


def learnt(series: PatternSeries, seeds: int) -> tuple[dict[str, np.ndarray], list[TargetSpec], Vaw]:
    rng = np.random.default_rng(1)
    outputs, specs = {}, []
    for name, target in series.targets.items():
        size = len(target.classes) or 1
        specs.append(TargetSpec(name, target.kind, target.unit, size, target.classes, 0.0, 1.0))
        shape = (seeds, len(series), size)
        outputs[name] = rng.random(shape) if target.classes else target.values + 0.01 * rng.normal(size=shape[:2])
    return outputs, specs, Vaw(np.linspace(12, 39.7, 32), rng.random((seeds, len(series), 32)), 2.5)


def draw_all(series: PatternSeries, seeds: int) -> dict[str, Figure]:
    outputs, specs, vaw = learnt(series, seeds)
    shares = window_shares(vaw.axis, vaw.registered().mean(axis=(0, 1)), dict(series.windows))
    return {
        "patterns": run.patterns_and_curves(series),
        "predictions": run.predictions(series, np.arange(0, len(series), 2), outputs, specs),
        "maps": run.vaw_maps(series, vaw, len(series.session_names) - 1),
        "mean": run.mean_vaw(series, vaw, shares),
    }


def assert_apart(labels: list[Text]) -> None:
    boxes = sorted((Text.get_window_extent(label) for label in labels), key=lambda box: box.x0)
    assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("seeds", "options"), [(3, {"sessions": 2}), (1, {"values": False, "marks": False, "frames": 5})]
)
def test_figures_draw_silently_without_clipped_or_overlapping_labels(seeds, options):
    for name, figure in draw_all(make(**options), seeds).items():
        with matplotlib.style.context(["default", style.RC_PARAMS]):
            FigureCanvasAgg(figure).draw()
        width, height = figure.get_size_inches()
        if seeds == 1:  # fewer labels: nothing there that could collide
            continue
        box = figure.get_tightbbox()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02, name
        for axes in figure.axes if name != "predictions" else ():
            assert_apart([label for label in axes.texts if label.get_text()])


def test_first_scan_is_at_the_bottom_and_limits_are_the_data():
    series = make()
    axes = run.patterns_and_curves(series).axes[0]
    mesh = axes.collections[0].get_array()
    assert mesh[0].mean() < mesh[-1].mean()
    np.testing.assert_allclose(axes.get_ylim(), [-15 / 3600, (series.time[-1] + 15) / 3600])
    np.testing.assert_allclose(axes.get_xlim(), [12 - 0.14, series.axis.values[-1] + 0.14])


def test_patterns_without_times_stand_at_their_numbers():
    series = make()
    series = dataclasses.replace(series, time=np.arange(float(len(series))), timed=False)
    for name, figure in draw_all(series, 1).items():
        words = [label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel())]
        assert not any("Time" in word for word in words) and ("Pattern number" in words or name == "mean"), name
    np.testing.assert_allclose(run.patterns_and_curves(series).axes[0].get_ylim(), [-0.5, len(series) - 0.5])
    curve = run.patterns_and_curves(series).axes[1].lines[0]
    assert curve.get_linestyle() == "None" and curve.get_marker() == "."  # no line joins what does not follow


def test_deviations_in_figures_are_those_of_the_tables():
    """The sample standard deviation, n - 1, for three seeds."""
    errors = np.array([0.01, 0.02, 0.06])
    assert f"± {errors.std(ddof=1):.4f}" in panels.score_text(errors, "MAE", "V")


def test_gaps_are_blank_and_not_stretched():
    series = make(frames=60)
    axes, curve = run.patterns_and_curves(series).axes[:2]
    mesh = axes.collections[0]
    blank = np.flatnonzero(np.ma.getmaskarray(mesh.get_array()).all(axis=1))
    edges = mesh.get_coordinates()[:, 0, 1] * 3600
    assert blank.tolist() == [60]
    np.testing.assert_allclose(edges[[60, 61]], [59.5 * 30, 119.5 * 30])
    assert np.isnan(curve.lines[0].get_ydata()).sum() == 1


def test_rows_average_all_patterns():
    time = np.arange(1003.0)
    grid = time_axis.time_bins(np.append(time, time + 5000), 200)
    means = grid.average(np.append(time, time)[:, None])
    assert grid.edges.size == len(means) + 1
    assert np.all(np.diff(grid.edges) > 0)
    np.testing.assert_allclose(means[0, 0], time[:11].mean())
    assert np.isnan(means).sum() == 1
    single = time_axis.time_bins(np.array([7.0]))
    assert single.average(np.ones((1, 2))).tolist() == [[1.0, 1.0]]


def test_spread_keeps_order_distance_and_limits():
    placed = panels.place_labels(np.array([0.1, 0.5, 0.51, 0.52, 1.0]), np.full(5, 0.1), 0.0, 1.0)
    assert np.all(np.diff(placed) > 0.1 - 1e-12)
    assert placed[-1] <= 0.95 + 1e-12
    np.testing.assert_allclose(placed[:4], [0.1, 0.41, 0.51, 0.61])


def test_confusion_counts_every_held_out_pattern_of_every_seed():
    series = make(sessions=2)
    outputs, specs, _ = learnt(series, 3)
    outputs["mode"] = np.broadcast_to(np.eye(4)[series.targets["mode"].values], outputs["mode"].shape)
    figure = run.predictions(series, np.arange(len(series)), outputs, specs)
    (axes,) = [a for a in figure.axes if a.get_title(loc="left") == "Mode"]
    assert [t.get_text() for t in axes.texts][::5] == ["100.0 %\n180"] * 4
    assert axes.get_title(loc="right").startswith("accuracy 100 ± 0 %")


def test_other_axes_and_sessions_without_held_out_patterns():
    series = make(sessions=2)
    series = dataclasses.replace(series, axis=Axis(np.geomspace(1, 5, 100), "d"), reflections={"a": 1.2, "far": 9.0})
    assert run.patterns_and_curves(series).axes[0].get_xlabel() == "d (Å)"
    outputs, specs, _ = learnt(series, 1)
    figure = run.predictions(series, np.arange(20), outputs, specs)
    assert "no held-out patterns" in [a.get_title(loc="right") for a in figure.axes]


def test_saved_files_are_deterministic_and_carry_their_labels(tmp_path):
    series, contents = make(values=False), []
    for _ in range(2):
        paths = style.save(run.patterns_and_curves(series), tmp_path, "fig1")
        assert paths == [tmp_path / "fig1.png", tmp_path / "fig1.svg"]
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    nodes = ElementTree.fromstring(contents[0][1]).iter()
    texts = {"".join(node.itertext()).strip() for node in nodes if node.tag.endswith("text")}
    assert {*CLUSTER, "1C", "Counts", "2θ (°)"} <= texts


def test_small_picture_has_the_first_pattern_in_its_last_row():
    image = run.vaw_image(np.where(np.arange(40) < 3, np.nan, np.linspace(0, 1, 1000)[:, None]))
    assert image.shape[0] <= 128 and image.shape[1] == 40
    assert image.min() >= 0 and image.max() <= 1
    assert image[-1].max() < 0.01 and image[0].max() > 0.99
    assert not image[:, :3].any()


def test_pauses_that_return_leave_no_white_stripes():
    """Bursts of three patterns and a pause of five steps: no gap; a night without patterns is one."""
    time = (np.arange(120) + 5.0 * (np.arange(120) // 3)) * 60.0
    assert not time_axis.gap_starts(time).size
    np.testing.assert_array_equal(time_axis.gap_starts(np.concatenate([time, time + 1e5])), [120])
    assert time_axis.gap_starts(np.array([0.0, 10.0, 20.0, 30.0, 100.0, 110.0])).tolist() == [4]
