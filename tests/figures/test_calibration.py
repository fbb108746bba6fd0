"""Figures of trust: nothing is clipped, and what is drawn is what was measured, down to a single pattern."""

import matplotlib.style
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xrd_jax.analysis import coverage, intervals
from xrd_jax.figures import calibration, style
from xrd_jax.preprocessing.targets import TargetSpec

pytestmark = pytest.mark.filterwarnings("error")

SPECS = (
    TargetSpec("voltage", "regression", "V", 1, (), 3.9, 0.2),
    TargetSpec("mode", "classification", "", 4, ("a", "b", "c", "d"), 0.0, 1.0),
)


def assert_complete(figure: Figure) -> None:
    with matplotlib.style.context(["default", style.RC_PARAMS]):
        FigureCanvasAgg(figure).draw()
    (width, height), box = figure.get_size_inches(), figure.get_tightbbox()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02


def labelled(count: int, groups: int, seeds: int) -> intervals.Labelled:
    random = np.random.default_rng(0)
    voltage = random.uniform(3.6, 4.2, count)
    outputs = {
        "voltage": voltage + 0.01 * random.normal(size=(seeds, count)),
        "mode": random.dirichlet(np.ones(4), (seeds, count)),
    }
    truth = {"voltage": voltage, "mode": random.integers(0, 4, count)}
    return intervals.Labelled(outputs, {}, truth, np.arange(count) * groups // count)


@pytest.mark.parametrize(("count", "groups", "seeds"), [(3000, 10, 3), (40, 2, 1), (1, 1, 1)])
def test_coverage_is_drawn_where_it_was_measured(count, groups, seeds):
    data = labelled(count, groups, seeds)
    scores = intervals.calibrate(SPECS, data)
    evaluation = coverage.evaluate(scores, SPECS, data)
    ends = scores.interval(SPECS[0], data.outputs, {})
    drawn = {"voltage": calibration.Intervals(data.truth["voltage"], *ends, data.truth["voltage"])} if ends else {}
    figure = calibration.intervals(evaluation, SPECS, drawn, 0.9)
    assert_complete(figure)
    upper_left = figure.axes[0]
    (line,) = [line for line in upper_left.lines if line.get_label() == "calibrated"]
    measured = [level["coverage"] for level in evaluation["targets"]["voltage"]["levels"]]
    np.testing.assert_array_equal(line.get_ydata(), [np.nan if value is None else value for value in measured])
    assert bool(drawn) == (groups >= intervals.MIN_GROUPS)
    if not drawn:
        assert "no interval can\nbe promised" in [text.get_text() for text in figure.axes[2].texts]


def test_distances_and_residuals_keep_their_limits():
    random = np.random.default_rng(0)
    kinds = {
        "training": (np.zeros(3000), random.lognormal(-1.0, 0.3, 3000)),
        "held out": (random.lognormal(-0.5, 0.3, 500), random.lognormal(-0.5, 0.3, 500)),
        "new": (np.array([0.5, 7.0, np.inf]), np.array([40.0, np.nan, np.inf])),
    }
    figure = calibration.novelty(kinds)
    assert_complete(figure)
    (axes,) = figure.axes
    assert axes.get_xlim()[0] < 0.1 and axes.get_ylim()[1] > 1000
    new = next(line for line in axes.lines if line.get_label() == "new (3)")
    np.testing.assert_array_equal(new.get_xdata(), [0.5, 7.0, calibration.FARTHEST])
    assert len(axes.lines[0].get_xdata()) == calibration.MAX_DOTS
    assert_complete(calibration.novelty({"new": (np.ones(1), np.ones(1))}))
