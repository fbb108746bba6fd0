"""Predictions of new files: the run's own numbers, on its own axis or resampled to it, and told when to be doubted."""

from __future__ import annotations

import csv
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
from xrd_jax.series.axis import Axis

KNOWN = Axis(np.linspace(20.0, 30.0, 96), "two_theta", 1.5418)


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def fitted(own, kind=None, wavelength=None, known=KNOWN):
    return resample.fit(KNOWN.values, known, np.asarray(own), kind, wavelength, "new.xy")


@settings(deadline=None, max_examples=40)
@given(st.integers(60, 900), st.floats(0.06, 0.5), st.floats(0.06, 0.5), st.floats(21.5, 28.5), st.floats(0.35, 1.0))
def test_resampling_keeps_what_is_smooth(size, below, above, centre, width):
    """Peaks a few channels wide are the same on any axis that covers the trained channels, to their outer limits."""
    own = np.linspace(20.0 - below, 30.0 + above, size)

    def peaks(x):
        return 5.0 + 100.0 * np.exp(-0.5 * ((x - centre) / width) ** 2)

    found = fitted(own)(np.stack([peaks(own), 2 * peaks(own)]))
    wide = KNOWN.values[1] - KNOWN.values[0]
    fine = np.linspace(-0.5, 0.5, 41) * wide
    inside = np.clip(KNOWN.values[:, None] + fine, own[0], own[-1])
    np.testing.assert_allclose(found[0], peaks(inside).mean(axis=1), atol=0.4)
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-5)


def test_the_same_axis_is_left_as_it_is():
    patterns = np.random.default_rng(0).poisson(100.0, (3, 96))
    fit = fitted(KNOWN.values + 0.005)
    assert fit.same and fit(patterns) is patterns and "does not say what its positions are" in fit.said[0]
    assert fitted(KNOWN.values, "two_theta", 1.5406).said == ()  # Kα1 instead of the mean of both
    assert "taken as 1.5418 Å" in fitted(KNOWN.values, "two_theta").said[0]
    assert "resampled from 200 channels" in fitted(np.linspace(19, 31, 200)).said[-1]


@pytest.mark.parametrize(
    ("own", "kind", "wavelength", "words"),
    [
        (KNOWN.values, "q", None, "its axis is q, but the run was trained on two_theta"),
        (KNOWN.values, "two_theta", 0.7107, r"measured at 0.7107 Å, but the run was trained at 1.5418 Å"),
        (np.linspace(21, 30, 96), None, None, "96 channels from 21 to 30, which do not cover 20 to 30"),
        (KNOWN.values[:50], None, None, "50 channels from 20 to 25.1579, which do not cover"),
    ],
)
def test_axes_that_do_not_fit_are_refused(own, kind, wavelength, words):
    with pytest.raises(UserError, match=words):
        fitted(own, kind, wavelength)


def test_a_folder_is_predicted_as_the_run_predicts(tmp_path):
    run, series = runs.trained(), runs.series()
    for i in range(12):
        runs.write(tmp_path / f"scan_{i}.xy", series.axis.values, series.intensity[i])
    runs.write(tmp_path / "short_1.dat", series.axis.values[:40], series.intensity[0][:40])
    (tmp_path / "notes.txt").write_text("beam lost at noon\n")
    said: list[str] = []
    home = tmp_path / "out"
    predict.predict(run.path, tmp_path, home, say=said.append)
    found = rows_of(home / "predictions.csv")
    assert [row["pattern"] for row in found] == [f"scan_{i}.xy" for i in range(12)]  # in natural order
    outputs = run.predict(series.subset(np.arange(12)))
    np.testing.assert_allclose(
        [float(row["voltage_predicted"]) for row in found], outputs["voltage"].mean(axis=0), rtol=1e-5
    )
    np.testing.assert_allclose(
        [float(row["voltage_std"]) for row in found], outputs["voltage"].std(axis=0, ddof=1), rtol=2e-2, atol=1e-6
    )
    mode = outputs["mode"].mean(axis=0)
    assert [row["mode_predicted"] for row in found] == [("c1", "c2", "d1", "d2")[i] for i in mode.argmax(axis=1)]
    np.testing.assert_allclose([float(row["mode_probability"]) for row in found], mode.max(axis=1), atol=1e-4)
    assert "voltage" not in found[0] and found[0]["start_time"] == ""
    told = "\n".join(said)
    assert "1 pattern left out: " in told and "do not cover 20 to 30" in told and "notes.txt" in told
    with np.load(home / "vaw.npz", allow_pickle=False) as file:
        maps = run.vaw(series.subset(np.arange(12))).registered().mean(axis=0)
        np.testing.assert_allclose(file["maps"], maps, atol=2e-4)
    assert {one.name for one in (home / "figures").iterdir()} == {"predictions.png", "predictions.svg"}
    assert json.loads((home / "summary.json").read_text())["identity"] == novelty.identity(run)
    with pytest.raises(UserError, match=r"predictions\.csv: is there already; choose another --out or add --overwrite"):
        predict.predict(run.path, tmp_path, home)
    predict.predict(run.path, tmp_path / "scan_3.xy", home, overwrite=True)
    assert [row["pattern"] for row in rows_of(home / "predictions.csv")] == ["scan_3.xy"]


def test_a_series_with_targets_is_judged_by_them(tmp_path):
    run, series = runs.trained(), runs.series()
    said: list[str] = []
    outcomes = predict.predict(run.path, run.config.data, tmp_path / "out", say=said.append)
    assert [len(one.batch) for one in outcomes] == [120, 120]  # a session each
    found = rows_of(tmp_path / "out" / "predictions.csv")
    np.testing.assert_allclose([float(row["voltage"]) for row in found], series.targets["voltage"].values, rtol=1e-5)
    errors = np.abs(run.predict(series)["voltage"][:, :120] - series.targets["voltage"].values[:120]).mean()
    assert any("data.h5, 1C: voltage" in line and f"MAE {errors:.4g} V" in line for line in said)


def test_distances_know_the_training_from_the_rest():
    run, series = runs.trained(), runs.series()
    known = novelty.load(run, pytest.fail)
    prepared = prepare.prepare(series, run.config.prepare, run.config.split_seed)
    rows = np.asarray(series.intensity, np.float32)
    near = known.distances(run, rows[prepared.test])
    assert np.mean(near > 1) <= 0.02 and np.quantile(near, 0.99) == pytest.approx(1.0)
    np.testing.assert_allclose(known.distances(run, rows[prepared.train]), 0.0, atol=1e-3)
    random = np.random.default_rng(0)
    step = series.axis.values[1] - series.axis.values[0]
    moved = np.stack([np.interp(series.axis.values - 3 * step, series.axis.values, row) for row in rows])
    foreign = rows + 0.4 * rows.max() * np.exp(-0.5 * ((series.axis.values - 28.8) / 0.2) ** 2).astype(np.float32)
    for name, odd in {
        "moved": moved, "foreign": foreign, "flat": random.poisson(np.full(rows.shape, rows.mean())),
        "empty": np.zeros_like(rows),
    }.items():  # fmt: skip
        assert np.mean(known.distances(run, odd.astype(np.float32)) > 1) > 0.95, name
    single = known.distances(run, rows[prepared.test[:1]])
    np.testing.assert_allclose(single, near[:1], rtol=1e-3)


def test_patterns_that_cannot_be_prepared_are_infinitely_far():
    assert neighbours.nearest(np.array([[np.nan, 0.0], [3.0, 4.0]]), np.zeros((1, 2))).tolist() == [np.inf, 5.0]


def test_the_reference_is_kept_and_belongs_to_one_training(tmp_path):
    run = runs.trained()
    known = novelty.load(run, pytest.fail)
    assert (run.path / novelty.FILE).exists() and known.axis.kind == "two_theta" and known.axis.wavelength == 1.5418
    again = novelty._kept(run)
    np.testing.assert_array_equal(again.patterns, known.patterns)
    assert again.threshold == known.threshold
    for name in ("config.json", "preparation.npz", novelty.FILE):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    moved = dataclasses.replace(run, path=tmp_path)
    assert novelty._kept(moved) is not None
    (tmp_path / novelty.FILE).write_bytes((run.path / novelty.FILE).read_bytes()[:300])
    assert novelty._kept(moved) is None
    (tmp_path / novelty.FILE).write_bytes((run.path / novelty.FILE).read_bytes())
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"n_train": ', '"n_train":  '))
    assert novelty._kept(moved) is None
    said: list[str] = []
    gone = dataclasses.replace(moved, config=dataclasses.replace(run.config, data=str(tmp_path / "gone.h5")))
    assert novelty.load(gone, said.append) is None and "No distance" in said[0] and "gone.h5" in said[0]


def test_without_reference_predictions_come_without_distance(tmp_path, monkeypatch):
    run, series = runs.trained(), runs.series()
    monkeypatch.setattr(novelty, "of", lambda *_: None)
    runs.write(tmp_path / "a.xy", series.axis.values, series.intensity[5])
    said: list[str] = []
    predict.predict(run.path, tmp_path / "a.xy", tmp_path / "out", say=said.append)
    (row,) = rows_of(tmp_path / "out" / "predictions.csv")
    assert row["distance"] == "nan" and row["unusual"] == "" and "the run does not say what its axis is" in said[0]


def test_refusals_are_one_line(tmp_path):
    run = runs.trained()
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.txt").write_text("nothing to see\n")
    for data, out, words in (
        ("empty", "o1", "the folder is empty"),
        ("gone.xy", "o2", "no such file or folder"),
        ("words.txt", "o3", r"holds no pattern that can be read \(1 files were refused"),
        ("words.txt", "words.txt", "is a file; choose another --out"),
    ):
        with pytest.raises(UserError, match=words) as error:
            predict.predict(run.path, tmp_path / data, tmp_path / out)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="not a run directory"):
        predict.predict(tmp_path, tmp_path / "words.txt")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="the superuser may write anywhere")
def test_an_unwritable_directory_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        files.claim(tmp_path / "out", "predictions.csv", False, "--out")


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
