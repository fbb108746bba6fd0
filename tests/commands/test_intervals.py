"""A calibrated run: its report says whether intervals hold, and predictions come with them, or with no statement."""

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

import xrd_jax
from tests.support import runs
from tests.support.series import make_series
from xrd_jax.analysis import intervals
from xrd_jax.analysis.run import Run
from xrd_jax.commands import predict, tables, watch
from xrd_jax.runtime.console import Console
from xrd_jax.training import workdir


def config(calibration: float, **model):
    return dataclasses.replace(
        runs.TINY,
        prepare=dataclasses.replace(runs.TINY.prepare, channels=16, calibration=calibration, split="cycle"),
        model=dataclasses.replace(runs.TINY.model, depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2, **model),
        train=dataclasses.replace(runs.TINY.train, log_maps=0, log_test=0),
    )


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> tuple[Run, list[str]]:
    messages: list[str] = []
    path = tmp_path_factory.mktemp("calibrated") / "run"
    series = make_series(frames=600)
    return xrd_jax.fit(
        series, config(0.4, regression="histogram", bins=24), path, progress=False, say=messages.append
    ), messages


def test_the_report_puts_nominal_beside_actual_coverage(calibrated):
    run, _ = calibrated
    result = json.loads((run.path / "metrics.json").read_text())["intervals"]
    assert result["calibration"]["groups"] >= intervals.MIN_GROUPS
    voltage = result["targets"]["voltage"]
    assert [level["nominal"] for level in voltage["levels"]] == [0.8, 0.9, 0.95]
    with (run.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    low, high, truth = (np.array([float(row[f"voltage{end}"]) for row in rows]) for end in ("_lower", "_upper", ""))
    assert voltage["levels"][1]["coverage"] == pytest.approx(np.mean((low <= truth) & (truth <= high)), abs=0.01)
    assert voltage["levels"][1]["width"] == pytest.approx((high - low).mean(), rel=1e-3)
    assert len(voltage["pit"]) == 10 and voltage["crps"] > 0 and 0 < voltage["exchangeability"]["p"] <= 1
    assert set(workdir.CALIBRATION) <= {file.name for file in run.path.iterdir()}
    assert (run.path / "figures" / "intervals.svg").exists()
    assert "voltage, the networks alone" in (run.path / "table.md").read_text()


def test_predictions_come_with_intervals_or_no_statement(calibrated, tmp_path):
    run, _ = calibrated
    series = make_series(frames=600)
    (tmp_path / "new").mkdir()
    runs.write_pattern(tmp_path / "new" / "a.xy", series.axis.values, series.intensity[3])
    runs.write_pattern(tmp_path / "new" / "b.xy", series.axis.values, series.intensity[3][::-1])
    messages: list[str] = []
    predict.predict(run.path, tmp_path / "new", tmp_path / "out", console=Console(messages.append))
    usual, unusual = runs.read_predictions(tmp_path / "out")
    predicted = run.predict_with_maps(series.subset(np.array([3])), maps=False)
    expected = intervals.load(run.path).interval(run.specs[0], predicted.outputs, predicted.distributions)
    assert [float(usual[f"voltage_{end}"]) for end in ("lower", "upper")] == pytest.approx(
        [float(end[0]) for end in expected], abs=1e-3
    )
    assert float(usual["residual"]) <= 1 and usual["unusual"] == "0"
    assert float(unusual["residual"]) > 1 and unusual["unusual"] == "1"
    assert unusual["voltage_lower"] == unusual["voltage_upper"] == tables.NO_STATEMENT
    assert math.isfinite(float(unusual["voltage_predicted"]))
    added = watch.watch(run.path, tmp_path / "new", tmp_path / "live", 0.5, poll=0.02, console=Console(messages.append))
    watched = {row["file"]: row for row in runs.read_predictions(tmp_path / "live")}
    assert added == 2 and watched["b.xy"]["voltage_upper"] == tables.NO_STATEMENT
    for end in ("lower", "upper"):
        assert float(watched["a.xy"][f"voltage_{end}"]) == pytest.approx(float(usual[f"voltage_{end}"]), abs=1e-4)
    assert any("(no statement)" in line and "UNUSUAL" in line for line in messages)
    assert any(f" ({watched['a.xy']['voltage_lower']} to " in line for line in messages)


def test_too_few_groups_are_one_line_and_no_interval(tmp_path):
    messages: list[str] = []
    series = make_series()
    run = xrd_jax.fit(series, config(0.11), tmp_path / "run", progress=False, say=messages.append)
    assert intervals.load(run.path).group_count < intervals.MIN_GROUPS
    assert sum("no interval can be promised at 80, 90, 95 %" in line for line in messages) == 1
    level = json.loads((run.path / "metrics.json").read_text())["intervals"]["targets"]["voltage"]["levels"][0]
    assert level["coverage"] is None and level["width"] is None and level["raw_coverage"] >= 0
    runs.write_pattern(tmp_path / "a.xy", series.axis.values, series.intensity[3])
    predict.predict(run.path, tmp_path / "a.xy", tmp_path / "out", console=Console(messages.append))
    (row,) = runs.read_predictions(tmp_path / "out")
    assert row["voltage_lower"] == row["voltage_upper"] == "" and "promised at 90 %" in "".join(messages)


def test_without_calibration_nothing_is_said_of_intervals():
    run = runs.trained()
    assert intervals.load(run.path) is None
    assert tables.interval_headings(run.specs[0], None) == []
    assert tables.interval_columns(run.specs[0], None, {}, None) == []
