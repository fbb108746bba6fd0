"""A run directory is a contract: complete, resumable after SIGKILL, never silently replaced."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xrd_jax
from tests.support import runs
from tests.support.paths import ROOT
from tests.support.series import make_series
from xrd_jax.analysis import novelty
from xrd_jax.errors import UserError
from xrd_jax.files import write_bytes, write_json
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.runtime.console import Console
from xrd_jax.training import workdir as training_workdir


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    series = make_series()
    path = tmp_path_factory.mktemp("runs") / "tiny"
    return xrd_jax.fit(series, runs.SMALL, path, progress=False), series


def test_run_directory_is_complete(trained):
    run, _ = trained
    names = {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()}
    assert {name for name in names if "/" not in name} == set(training_workdir.FILES)
    figures = {n for n in names if n.startswith("figures/")}
    stems = ("fig1_patterns", "fig3_predictions", "fig4_vaw_1C", "fig5_vaw_0.2C", "mean_vaw", "novelty")
    assert figures == {f"figures/{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    for seed in (3, 4):
        assert any(n.startswith(f"tensorboard/{seed}/events") for n in names)
    assert not [n for n in names if n.endswith(".partial")]


def test_metrics_follow_their_schema(trained):
    run, series = trained
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics["case"] == 3 and metrics["split"] == "random" and metrics["resize"] == "spline"
    assert metrics["seeds"] == [3, 4] and metrics["n_train"] + metrics["n_test"] == len(series)
    voltage, mode = metrics["targets"]["voltage"], metrics["targets"]["mode"]
    assert voltage["kind"] == "regression" and voltage["unit"] == "V" and mode["kind"] == "classification"
    for value in (voltage["mae"], voltage["rmse"], mode["accuracy"]):
        assert len(value["per_seed"]) == 2
        assert value["mean"] == pytest.approx(np.mean(value["per_seed"]))
        assert value["std"] == pytest.approx(np.std(value["per_seed"], ddof=1))
    assert voltage["rmse"]["mean"] >= voltage["mae"]["mean"]
    assert set(metrics["wall_s"]) == {"data", "start", "train", "analysis"} and metrics["train_patterns_per_s"] > 0
    assert set(metrics["vaw_windows"]) == {"1C", "0.2C"} and set(metrics["baseline_3nn"]) == {"random", "cycle"}


def test_predictions_and_metrics_agree(trained):
    run, _ = trained
    with (run.path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert len(rows) == metrics["n_test"]
    error = np.mean([abs(float(r["voltage"]) - float(r["voltage_predicted"])) for r in rows])
    assert error <= metrics["targets"]["voltage"]["mae"]["mean"] + 1e-5  # the mean over seeds errs no more than they do


def test_opened_run_predicts_the_same(trained):
    run, series = trained
    opened = xrd_jax.open_run(run.path)
    ours, theirs = run.predict(series), opened.predict(series)
    for name in ("voltage", "mode", "rate"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert ours["voltage"].shape == (2, len(series)) and ours["mode"].shape == (2, len(series), 4)


def test_blocks_do_not_matter(trained):
    run, series = trained
    whole, vaw, _ = run.predict_with_maps(series, chunk=len(series))
    parts, vaw_parts, _ = run.predict_with_maps(series, chunk=7)
    np.testing.assert_allclose(whole["voltage"], parts["voltage"], atol=1e-5)
    np.testing.assert_allclose(vaw.raw, vaw_parts.raw, atol=2e-5)


def test_vaw_is_the_maximum_of_the_attention(trained):
    run, series = trained
    start = series.subset(np.arange(5))
    blocks = list(run.attention(start, seed=4, chunk=2))
    assert [len(b) for b in blocks] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate(blocks).max(axis=-1), run.vaw(start).raw[1], atol=2e-5)


def test_training_keeps_what_predictions_are_compared_with(trained):
    run, series = trained
    reference = novelty.load(run, Console(pytest.fail))  # not from data that the configuration names: this run has none
    distances = reference.distances(run, series.intensity)
    train = prepare(series, run.config.prepare, run.config.split_seed).train
    assert distances[train].max() < 1e-2 < distances.max()


def test_overwriting_removes_every_file_of_the_old_run(series, tmp_path):
    prepared = prepare(series, runs.SMALL.prepare)
    specs = target_specs(prepared, runs.SMALL.targets)
    for name in (*training_workdir.FILES, *training_workdir.EXPLANATIONS):
        if name != "config.json":
            (tmp_path / name).write_text("old")
    write_json(tmp_path / "config.json", {"config": {}})
    training_workdir.create_or_resume(tmp_path, runs.SMALL, prepared, specs, overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "preparation.npz"}
    assert all(p.read_bytes() != b"old" for p in tmp_path.iterdir())


def test_other_axis_is_refused(trained):
    run, series = trained
    moved = dataclasses.replace(series, axis=xrd_jax.series.Axis(series.axis.values + 0.5))
    with pytest.raises(UserError, match=r"trained on 96 channels from 20\.0000"):
        run.predict(moved)


def test_same_command_keeps_the_numbers_and_another_is_refused(trained):
    run, series = trained
    before = json.loads((run.path / "metrics.json").read_text())
    xrd_jax.fit(series, runs.SMALL, run.path, progress=False)
    assert json.loads((run.path / "metrics.json").read_text()) == before
    other = dataclasses.replace(runs.SMALL, train=dataclasses.replace(runs.SMALL.train, learning_rate=0.5))
    with pytest.raises(UserError, match=r"another experiment's run \(train.learning_rate: 0.001 there, 0.5 asked\)"):
        xrd_jax.fit(series, other, run.path, progress=False)
    with pytest.raises(UserError, match="other data"):
        xrd_jax.fit(make_series(seed=1), runs.SMALL, run.path, progress=False)
    assert json.loads((run.path / "metrics.json").read_text()) == before


def test_foreign_directories_are_left_alone(series, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not a run of xrd_jax"):
            xrd_jax.fit(series, runs.SMALL, tmp_path, overwrite=overwrite, progress=False)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(UserError, match="is a file"):
        xrd_jax.fit(series, runs.SMALL, tmp_path / "thesis.tex", progress=False)


def test_the_example_of_the_documentation_runs(tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)
    # Every name and call of it, with fewer patterns, layers and epochs than a reader would want.
    code = example[1].replace("slice(0, None, 8)", "slice(0, None, 40)")
    code = code.replace("TrainConfig(epochs=5)", "TrainConfig(epochs=1), model=small")
    monkeypatch.chdir(tmp_path)
    names: dict = {"small": runs.SMALL.model}
    exec(code, names)
    assert names["voltage"].shape == (1, 100) and names["vaw"].registered().shape == (1, 100, 256)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not a run directory"):
        xrd_jax.open_run(tmp_path)


def test_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_bytes(tmp_path / "a" / "metrics.json", b"{}")


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [np.float64(1.0), np.int64(2)]})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.0, 2]}


def command(data: Path, workdir: Path) -> list[str]:
    flags = [f"--data={data}", f"--workdir={workdir}", "--epochs=8", "--noprogress"]
    settings = ["prepare.channels=16", "batch_size=32", "log_maps=1000", "depth=2", "width=4", "query_layer=1"]
    settings += ["key_layer=2", "norm_layer=2"]
    return [sys.executable, str(ROOT / "launch.py"), *flags, *(f"--set={setting}" for setting in settings)]


def test_killed_and_repeated_ends_bit_identical(tmp_path):
    """SIGKILL in the middle of an epoch, the same command again, the same bits as without."""
    make_series(frames=600, channels=48).save(tmp_path / "data.h5")
    options = {"env": {**os.environ, "JAX_PLATFORMS": "cpu"}, "text": True}
    options |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    killed = subprocess.Popen(command(tmp_path / "data.h5", tmp_path / "killed"), **options)
    checkpoints, deadline = tmp_path / "killed" / "checkpoints", time.monotonic() + 400
    while not any(p.name.isdigit() and int(p.name) >= 18 for p in checkpoints.glob("*")):
        assert killed.poll() is None, killed.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    for name in ("killed", "whole"):
        process = subprocess.run(command(tmp_path / "data.h5", tmp_path / name), check=False, timeout=400, **options)
        assert process.returncode == 0, process.stderr
    ours, theirs = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("killed", "whole"))
    assert ours == theirs
    with np.load(tmp_path / "killed" / "vaw.npz") as a, np.load(tmp_path / "whole" / "vaw.npz") as b:
        assert set(a) == set(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
