"""Figures of explanations: silent, inside their frame, on every axis, and what they draw is what they were given."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.support.series import make_series
from xrd_jax.explain.importance import importance_rows
from xrd_jax.explain.scorecard import BETTER_WHEN_LOWER
from xrd_jax.figures import explanation_scores, explanations
from xrd_jax.series.axis import Axis

pytestmark = pytest.mark.filterwarnings("error")
METHODS = (
    "vaw", "attention_received", "norm_weighted_attention", "gradient_weighted_attention", "gradient",
    "gradient_squared_noise", "gradient_input", "integrated_gradients_mean", "integrated_gradients_contrast",
    "expected_gradients", "smoothgrad", "grad_cam", "window_occlusion",
)  # fmt: skip
TARGETS = ("voltage", "mode", "rate")
SERIES = make_series(60)
CENTRES = np.linspace(20.5, 29.5, 32)


def all_figures(series=SERIES, methods=METHODS, seeds=3) -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    keys = [(method, target) for method in methods for target in TARGETS]
    maps = {key: rng.random((len(series), 32)) for key in keys}
    maps[keys[0]][:, :3] = np.nan
    curves = {key: rng.random((seeds, 32)) for key in keys}
    unstable = {key: rng.random(32) < 0.2 for key in keys}
    removed = {key: rng.random((seeds, 9)) for key in keys}
    scores = {t: {m: {"auprc": rng.random(), "decoy_mass": None} for m in methods} for t in TARGETS}
    verdicts = {t: dict.fromkeys(methods, "no better than intensity") for t in TARGETS}
    shares = {t: {"NMC 003": rng.random(seeds), "elsewhere": rng.random(seeds)} for t in TARGETS}
    return {
        "maps": explanations.map_panels(series, 1, CENTRES, maps, "mode"),
        "means": explanations.mean_curves(series, CENTRES, curves, {"voltage": rng.random(32)}, unstable),
        "deletion": explanations.deletion(np.linspace(0, 1, 9), removed, {"voltage": "MAE (V)"}),
        "scores": explanation_scores.score_matrix(scores, verdicts, BETTER_WHEN_LOWER),
        "importance": explanation_scores.importance(importance_rows(shares, [], {})),
    }


@pytest.mark.parametrize("methods", [METHODS, METHODS[:1]])
def test_everything_lies_inside_the_frame(methods):
    for name, figure in all_figures(methods=methods, seeds=len(methods)).items():
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        box = figure.get_tightbbox()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.03, name
        assert height < 10.5, name  # a page


@pytest.mark.parametrize("kind", ["q", "d", "energy"])
def test_axis_is_named_as_the_series_names_it(kind):
    series = dataclasses.replace(SERIES, axis=Axis(SERIES.axis.values, kind), reflections={}, windows={})
    figures = all_figures(series, METHODS[:2])
    for name in ("maps", "means"):
        assert figures[name].get_supxlabel() == series.axis.label


def test_scores_show_every_number_and_leave_what_is_missing_blank():
    scores = {"voltage": {"vaw": {"auprc": 0.331, "edge": None}, "gradient": {"auprc": 12.3}}}
    figure = explanation_scores.score_matrix(scores, {}, ())
    axes = figure.subfigs[0].axes[0]
    assert sorted(text.get_text() for text in axes.texts) == [".33", "12"]
    assert np.ma.getmaskarray(axes.images[0].get_array()).tolist() == [[False, True], [False, True]]


def test_lower_scores_are_shaded_the_other_way():
    column = np.array([0.1, 0.9, np.nan])
    np.testing.assert_array_equal(explanation_scores._goodness(column, False), [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(explanation_scores._goodness(column, True), [1.0, 0.0, np.nan])


def test_curves_are_free_of_scale_and_stop_where_seeds_disagree():
    curve = np.random.default_rng(1).random((2, 32)) + 0.1
    is_unstable = np.arange(32) > 20
    lines = []
    for factor in (1.0, -40.0):
        curves, unstable = {("vaw", "mode"): factor * curve}, {("vaw", "mode"): is_unstable}
        figure = explanations.mean_curves(SERIES, CENTRES, curves, {}, unstable)
        lines.append(figure.axes[0].lines[0].get_ydata())
    np.testing.assert_allclose(lines[0], lines[1])
    assert np.isnan(lines[0][21:]).all()
    assert np.nanmax(lines[0]) == pytest.approx(1.0)


def test_every_method_has_a_line_of_its_own_and_controls_are_grey():
    styles = [tuple(map(str, explanations._line_style(name, METHODS).values())) for name in METHODS]
    assert len(set(styles)) == len(METHODS)
    assert explanations._line_style("random", [*METHODS, "random"])["color"] == "0.6"


def test_bars_are_the_shares_and_intervals():
    shares = {"voltage": {"A": np.array([0.2, 0.4]), "elsewhere": np.array([0.8, 0.6])}}
    axes = explanation_scores.importance(importance_rows(shares, [], {})).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([30.0, 70.0])
    assert any("±" in text.get_text() for text in axes.texts)
