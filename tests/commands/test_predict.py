"""Predictions of new files: the run's own numbers, on its own axis or resampled to it, and told when to be doubted."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import runs
from tests.support.paths import ROOT
from xrd_jax import files
from xrd_jax.analysis import neighbours, novelty, resample
from xrd_jax.commands import predict
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import prepare
from xrd_jax.runtime.console import Console
from xrd_jax.series.axis import Axis
from xrd_jax.training import workdir

TRAINED = Axis(np.linspace(20.0, 30.0, 96), "two_theta", 1.5418)


def fitted(measured, kind=None, wavelength=None):
    return resample.fit_axis(TRAINED.values, TRAINED, np.asarray(measured), kind, wavelength, "new.xy")


@settings(deadline=None, max_examples=40)
@given(st.integers(60, 900), st.floats(0.06, 0.5), st.floats(0.06, 0.5), st.floats(21.5, 28.5), st.floats(0.35, 1.0))
def test_resampling_keeps_what_is_smooth(size, below, above, centre, width):
    """Peaks a few channels wide are the same on any axis that covers the trained channels, to their outer limits."""
    measured = np.linspace(20.0 - below, 30.0 + above, size)

    def peaks(x):
        return 5.0 + 100.0 * np.exp(-0.5 * ((x - centre) / width) ** 2)

    resampled = fitted(measured)(np.stack([peaks(measured), 2 * peaks(measured)]))
    wide = TRAINED.values[1] - TRAINED.values[0]
    fine = np.linspace(-0.5, 0.5, 41) * wide
    inside = np.clip(TRAINED.values[:, None] + fine, measured[0], measured[-1])
    np.testing.assert_allclose(resampled[0], peaks(inside).mean(axis=1), atol=0.4)
    np.testing.assert_allclose(resampled[1], 2 * resampled[0], rtol=1e-5)


def test_the_same_axis_is_left_as_it_is():
    patterns = np.random.default_rng(0).poisson(100.0, (3, 96))
    fit = fitted(TRAINED.values + 0.005)
    assert fit.is_same and fit(patterns) is patterns and "does not say what its positions are" in fit.messages[0]
    assert fitted(TRAINED.values, "two_theta", 1.5406).messages == ()  # Kα1 instead of the mean of both
    assert "taken as 1.5418 Å" in fitted(TRAINED.values, "two_theta").messages[0]
    assert "resampled from 200 channels" in fitted(np.linspace(19, 31, 200)).messages[-1]


@pytest.mark.parametrize(
    ("measured", "kind", "wavelength", "message"),
    [
        (TRAINED.values, "q", None, "its axis is q, but the run was trained on two_theta"),
        (TRAINED.values, "two_theta", 0.7107, r"measured at 0.7107 Å, but the run was trained at 1.5418 Å"),
        (np.linspace(21, 30, 96), None, None, "96 channels from 21 to 30, which do not cover 20 to 30"),
        (TRAINED.values[:50], None, None, "50 channels from 20 to 25.1579, which do not cover"),
    ],
)
def test_axes_that_do_not_fit_are_refused(measured, kind, wavelength, message):
    with pytest.raises(UserError, match=message):
        fitted(measured, kind, wavelength)


def test_a_folder_is_predicted_as_the_run_predicts(tmp_path):
    run, series = runs.trained(), runs.series()
    for i in range(12):
        runs.write_pattern(tmp_path / f"scan_{i}.xy", series.axis.values, series.intensity[i])
    runs.write_pattern(tmp_path / "short_1.dat", series.axis.values[:40], series.intensity[0][:40])
    (tmp_path / "notes.txt").write_text("beam lost at noon\n")
    messages: list[str] = []
    home = tmp_path / "out"
    predict.predict(run.path, tmp_path, home, console=Console(messages.append))
    rows = runs.read_predictions(home)
    assert [row["pattern"] for row in rows] == [f"scan_{i}.xy" for i in range(12)]  # in natural order
    outputs = run.predict(series.subset(np.arange(12)))
    np.testing.assert_allclose(
        [float(row["voltage_predicted"]) for row in rows], outputs["voltage"].mean(axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        [float(row["voltage_std"]) for row in rows], outputs["voltage"].std(axis=0, ddof=1), rtol=2e-2, atol=1e-6
    )
    mode = outputs["mode"].mean(axis=0)
    assert [row["mode_predicted"] for row in rows] == [("c1", "c2", "d1", "d2")[i] for i in mode.argmax(axis=1)]
    np.testing.assert_allclose([float(row["mode_probability"]) for row in rows], mode.max(axis=1), atol=1e-4)
    assert "voltage" not in rows[0] and rows[0]["start_time"] == ""
    report = "\n".join(messages)
    assert "1 pattern left out: " in report and "do not cover 20 to 30" in report and "notes.txt" in report
    with np.load(home / "vaw.npz", allow_pickle=False) as file:
        maps = run.vaw(series.subset(np.arange(12))).registered().mean(axis=0)
        np.testing.assert_allclose(file["maps"], maps, atol=2e-4)
    assert {file.name for file in (home / "figures").iterdir()} == {
        f"{name}.{kind}" for name in ("predictions", "novelty") for kind in ("png", "svg")
    }
    assert json.loads((home / "summary.json").read_text())["identity"] == novelty.identity(run)
    with pytest.raises(UserError, match=r"predictions\.csv: is there already; choose another --out or add --overwrite"):
        predict.predict(run.path, tmp_path, home)
    predict.predict(run.path, tmp_path / "scan_3.xy", home, overwrite=True)
    assert [row["pattern"] for row in runs.read_predictions(home)] == ["scan_3.xy"]


def test_a_series_with_targets_is_judged_by_them(tmp_path):
    run, series = runs.trained(), runs.series()
    messages: list[str] = []
    batches = predict.predict(run.path, run.config.data, tmp_path / "out", console=Console(messages.append))
    assert [len(predicted.batch) for predicted in batches] == [120, 120]  # a session each
    rows = runs.read_predictions(tmp_path / "out")
    np.testing.assert_allclose([float(row["voltage"]) for row in rows], series.targets["voltage"].values, rtol=1e-5)
    prepared = prepare.prepare(series, run.config.prepare, run.config.split_seed)
    errors = np.abs(run.predict(series)["voltage"] - series.targets["voltage"].values)
    test, train = (rows[rows < 120] for rows in (prepared.test, prepared.train))
    held_out = f"MAE {errors[:, test].mean():.4g} V over {test.size} patterns that were not trained on"
    seen = f"MAE {errors[:, train].mean():.4g} V over {train.size} patterns that were trained on"
    assert any("data.h5, 1C: voltage" in line and f"{held_out}; {seen}" in line for line in messages)


def test_distances_know_the_training_from_the_rest():
    run, series = runs.trained(), runs.series()
    reference = novelty.load(run, Console(pytest.fail))
    prepared = prepare.prepare(series, run.config.prepare, run.config.split_seed)
    rows = np.asarray(series.intensity, np.float32)
    distances = reference.distances(run, rows[prepared.test])
    assert np.mean(distances > 1) <= 0.02 and np.quantile(distances, 0.99) == pytest.approx(1.0)
    np.testing.assert_allclose(reference.distances(run, rows[prepared.train]), 0.0, atol=1e-3)
    random = np.random.default_rng(0)
    step = series.axis.values[1] - series.axis.values[0]
    moved = np.stack([np.interp(series.axis.values - 3 * step, series.axis.values, row) for row in rows])
    foreign = rows + 0.4 * rows.max() * np.exp(-0.5 * ((series.axis.values - 28.8) / 0.2) ** 2).astype(np.float32)
    for name, unusual in {
        "moved": moved, "foreign": foreign, "flat": random.poisson(np.full(rows.shape, rows.mean())),
        "empty": np.zeros_like(rows),
    }.items():  # fmt: skip
        assert np.mean(reference.distances(run, unusual.astype(np.float32)) > 1) > 0.95, name
    single = reference.distances(run, rows[prepared.test[:1]])
    np.testing.assert_allclose(single, distances[:1], rtol=1e-3)


def test_patterns_that_cannot_be_prepared_are_infinitely_far():
    queries = np.array([[np.nan, 0.0], [3.0, 4.0]])
    assert neighbours.nearest_distances(queries, np.zeros((1, 2))).tolist() == [np.inf, 5.0]


def test_the_reference_is_kept_and_belongs_to_one_training(tmp_path):
    run = runs.trained()
    reference = novelty.load(run, Console(pytest.fail))
    assert (
        (run.path / novelty.FILE).exists()
        and reference.axis.kind == "two_theta"
        and reference.axis.wavelength == 1.5418
    )
    again = novelty.read_reference(run)
    np.testing.assert_array_equal(again.patterns, reference.patterns)
    assert again.threshold == reference.threshold
    for name in ("config.json", "preparation.npz", novelty.FILE):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    moved = dataclasses.replace(run, path=tmp_path)
    assert novelty.read_reference(moved) is not None
    (tmp_path / novelty.FILE).write_bytes((run.path / novelty.FILE).read_bytes()[:300])
    assert novelty.read_reference(moved) is None
    (tmp_path / novelty.FILE).write_bytes((run.path / novelty.FILE).read_bytes())
    workdir.write_preparation(tmp_path, run.statistics._replace(mean=run.statistics.mean + 1))
    assert novelty.read_reference(moved) is None
    messages: list[str] = []
    gone = dataclasses.replace(moved, config=dataclasses.replace(run.config, data=str(tmp_path / "gone.h5")))
    assert novelty.load(gone, Console(messages.append)) is None
    assert "No distance" in messages[0] and "gone.h5" in messages[0]


def test_without_reference_predictions_come_without_distance(tmp_path, monkeypatch):
    run, series = runs.trained(), runs.series()
    monkeypatch.setattr(novelty, "load", lambda *_: None)
    runs.write_pattern(tmp_path / "a.xy", series.axis.values, series.intensity[5])
    messages: list[str] = []
    predict.predict(run.path, tmp_path / "a.xy", tmp_path / "out", console=Console(messages.append))
    (row,) = runs.read_predictions(tmp_path / "out")
    assert row["distance"] == "nan" and row["unusual"] == "" and "the run does not say what its axis is" in messages[0]


def test_refusals_are_one_line(tmp_path):
    run = runs.trained()
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").write_text("nothing to see\n")
    for data, out, message in (
        ("empty", "o1", "the folder is empty"),
        ("gone.xy", "o2", "no such file or folder"),
        ("words.txt", "o3", r"holds no pattern that can be read \(1 files were refused"),
        ("words.txt", "words.txt", "is a file; choose another --out"),
    ):
        with pytest.raises(UserError, match=message) as error:
            predict.predict(run.path, tmp_path / data, tmp_path / out)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="not a run directory"):
        predict.predict(tmp_path, tmp_path / "words.txt")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="the superuser may write anywhere")
def test_an_unwritable_directory_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        files.claim_directory(tmp_path / "out", "predictions.csv", False, "--out")


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (["--mode=predict", "--data=x.xy"], "--mode=predict needs --workdir=RUN"),
        (["--mode=watch", "--workdir=x"], "--mode=watch needs --data=FOLDER"),
        (["--mode=export", "--workdir=nowhere"], "nowhere: not a run directory"),
        (["--mode=export", "--workdir=nowhere", "--format=tflite"], "jax"),
    ],
)
def test_the_command_answers_in_one_line(flags, answer, tmp_path):
    command = [sys.executable, str(ROOT / "launch.py"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2 and len(lines) == 1 and answer in lines[0]
    assert not list(tmp_path.iterdir())
