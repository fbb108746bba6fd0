"""A simpler model in the network's place is a run: saved, opened, predicted with, watched, exported and explained."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import xrd_jax
from tests.support import runs
from xrd_jax.analysis.run import Run
from xrd_jax.commands import estimate
from xrd_jax.commands.explain import explain
from xrd_jax.commands.export import build, export, load_artefact
from xrd_jax.commands.predict import predict
from xrd_jax.commands.report import Report
from xrd_jax.commands.watch import watch
from xrd_jax.config.schema import Config, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.estimators import saved
from xrd_jax.estimators.candidates import choose
from xrd_jax.estimators.methods import METHODS
from xrd_jax.estimators.predictor import Linear
from xrd_jax.explain import attribution, methods
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.runtime.console import Console
from xrd_jax.training import workdir

PREPARE = PrepareConfig(channels=32, split="block", blocks=8)


@functools.cache
def data() -> Path:
    path = runs.folder() / "estimated.h5"
    runs.series().save(path)
    return path


def configuration(name: str) -> Config:
    return Config(name=name, data=str(data()), prepare=PREPARE, train=TrainConfig(estimator=name))


@functools.cache
def fitted(name: str) -> Run:
    """Return the run of an estimator as it was fitted, with its directory but without a report."""
    config = configuration(name)
    prepared = prepare(runs.series(), config.prepare)
    specs = target_specs(prepared, config.targets)
    choice = choose(prepared, config.prepare, specs, (name,))
    path = workdir.create_or_resume(runs.folder() / f"estimated-{name}", config, prepared, specs, overwrite=False)
    workdir.write_preparation(path, choice.statistics)
    saved.save(path, choice)
    return Run.from_choice(path, config, choice, specs)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory) -> tuple[Run, list[str]]:
    """Return a run of --estimator=auto with all that is written, and what was said."""
    lines: list[str] = []
    config = dataclasses.replace(configuration("auto"), seeds=4)
    return xrd_jax.fit(runs.series(), config, tmp_path_factory.mktemp("auto") / "run", say=lines.append), lines


@pytest.mark.parametrize("name", METHODS)
def test_what_is_saved_and_opened_predicts_the_same(name):
    run, opened = fitted(name), xrd_jax.open_run(fitted(name).path)
    assert opened.choice.estimator == name and opened.config == run.config
    assert (opened.choice.errors, opened.choice.settings) == (run.choice.errors, run.choice.settings)
    for target, values in run.predict(runs.series()).items():
        assert values.shape[0] == 1 and values.dtype == np.float32
        np.testing.assert_array_equal(opened.predict(runs.series())[target], values)


@pytest.mark.parametrize("name", METHODS)
def test_one_pattern_alone_is_predicted_as_among_others(name):
    run, whole = fitted(name), fitted(name).predict(runs.series())
    for rows in ([7], [3, 200, 5]):
        for target, values in run.predict(runs.series().subset(np.array(rows))).items():
            np.testing.assert_allclose(values, whole[target][:, rows], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("form", ["jax", "onnx"])
@pytest.mark.parametrize("name", METHODS)
def test_an_export_gives_the_numbers_of_the_run(name, form):
    pytest.importorskip("onnxruntime")
    run, patterns = fitted(name), runs.series().intensity.astype(np.float32)
    call = load_artefact(form, build(run, form, {}))
    for rows in (slice(0, 1), slice(0, 240)):
        exported, wanted = call(patterns[rows]), run.predict(runs.series().subset(rows))
        for target, values in wanted.items():
            np.testing.assert_allclose(exported[target], values[0], atol=1e-5)
            np.testing.assert_array_equal(exported[f"{target}_std"], np.zeros_like(values[0]))


def test_an_export_says_what_it_is(tmp_path):
    export(fitted("ridge").path, "onnx", tmp_path, seed=17)  # a seed that there is none of
    record = json.loads((tmp_path / "model.onnx.json").read_text())
    assert record["model"]["estimator"] == "ridge" and record["outputs"][0]["is"] == "value, of ridge"
    assert record["preprocessing"]["scale"] == fitted("ridge").choice.scaling
    assert max(record["largest_difference"].values()) <= 1e-5


def test_auto_takes_none_that_is_worse_inside_the_training_patterns(chosen):
    run, lines = chosen
    best = {name: min(errors.values()) for name, errors in run.choice.errors.items()}
    assert set(best) == set(METHODS)
    taken = run.choice.errors[run.choice.estimator][run.choice.scaling]
    assert taken == best[run.choice.estimator] and taken < max(best.values())
    assert taken <= 1.05 * min(best.values())
    assert sum("chosen by cross-validation" in line for line in lines) == 1


def test_the_run_directory_of_an_estimator(chosen):
    run, lines = chosen
    names = {path.name for path in run.path.iterdir()}
    expected = {*workdir.FILES, *workdir.ESTIMATOR, "figures"} - {"vaw.npz"}
    assert names == expected and not list((run.path / "figures").glob("*vaw*"))
    assert run.config.seeds == 1 and any("seeds=4 is ignored" in line for line in lines)
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics["estimator"]["asked"] == "auto" and metrics["estimator"]["reason"] == run.choice.reason
    assert metrics["targets"]["voltage"]["mae"]["mean"] < 0.5 * metrics["baselines"]["median"]["voltage"]["mae"]
    with pytest.raises(UserError, match="has no attention; train with --estimator=network"):
        next(run.attention(runs.series()))


def test_the_same_command_keeps_the_estimator_and_another_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "report", lambda *_: Report({}, [], [], []))
    monkeypatch.setattr(estimate, "save_novelty", lambda *_: [])

    def run_again(name: str = "pls") -> Run:
        return estimate.fit_and_report(runs.series(), configuration(name), tmp_path / "run", False, Console(), 0.0)[0]

    run, file = run_again(), tmp_path / "run" / saved.FILE
    before, written = file.read_bytes(), file.stat().st_mtime_ns
    again = run_again()
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.predict(runs.series())["mode"], run.predict(runs.series())["mode"])
    file.write_bytes(before[:-200] + b"x" * 200)
    with pytest.raises(UserError, match=r"estimator\.npz: is damaged"):
        xrd_jax.open_run(run.path)
    run_again()
    assert file.read_bytes() == before
    with pytest.raises(UserError, match="another experiment"):
        run_again("ridge")
    file.unlink()
    with pytest.raises(UserError, match=r"has no estimator\.npz yet"):
        xrd_jax.open_run(run.path)


def test_predictions_of_a_file_and_of_a_watched_folder(tmp_path):
    run, series = fitted("pls"), runs.series()
    (tmp_path / "live").mkdir()
    for i in (4, 77):
        runs.write_pattern(tmp_path / "live" / f"p_{i}.xy", series.axis.values, series.intensity[i])
    lines: list[str] = []
    predict(run.path, tmp_path / "live" / "p_77.xy", tmp_path / "one", console=Console(lines.append))
    assert any("pls has no attention" in line for line in lines) and not (tmp_path / "one" / "vaw.npz").exists()
    assert watch(run.path, tmp_path / "live", tmp_path / "watched", until_idle=0.5, poll=0.02) == 2
    (alone,) = runs.read_predictions(tmp_path / "one")
    watched = {row["file"]: row for row in runs.read_predictions(tmp_path / "watched")}["p_77.xy"]
    value = float(run.predict(series)["voltage"][0, 77])
    assert float(alone["voltage_predicted"]) == pytest.approx(value, abs=1e-5)
    assert watched["voltage_predicted"] == alone["voltage_predicted"]


def test_what_a_linear_model_extrapolates_is_said(tmp_path):
    run, series = fitted("ridge"), runs.series()
    strongest = run.axis[run.choice.predictors["voltage"].function.coefficients[:, 0].argmax()]
    alone = np.where(np.abs(series.axis.values - strongest) < 0.2, 1000.0, 0.0)
    runs.write_pattern(tmp_path / "far.xy", series.axis.values, alone)
    lines: list[str] = []
    predict(run.path, tmp_path / "far.xy", tmp_path / "out", console=Console(lines.append))
    (line,) = (line for line in lines if "outside it and were bounded" in line)
    assert "ridge: 1 of 1 predictions of voltage lay more than 10% of the training range" in line


@pytest.mark.parametrize("name", ["ridge", "pls"])
def test_the_map_of_a_linear_model_is_its_coefficients(name):
    run, sample = fitted(name), runs.series().subset(np.arange(0, 240, 16))
    function = run.choice.predictors["voltage"].function
    assert isinstance(function, Linear)
    slope = function.coefficients[:, 0] / run.specs[0].deviation
    (block,) = attribution.stream(run, sample, ("gradient", "gradient_noise"))
    maps = block.maps["gradient", "voltage"][0]
    np.testing.assert_allclose(maps, np.broadcast_to(slope, maps.shape), rtol=1e-4, atol=1e-6)
    static = attribution.network_inputs(run.config.prepare, True, run.statistics, jnp.asarray(sample.intensity))
    information = block.maps["gradient_noise", "voltage"][0]
    np.testing.assert_allclose(information, slope**2 * np.asarray(static[1]), rtol=1e-3, atol=1e-9)


def test_a_run_on_arrays_that_no_file_holds_is_not_explained_on_the_simulated_cell(tmp_path):
    config = dataclasses.replace(configuration("ridge"), data="")
    run = xrd_jax.fit(runs.series(), config, tmp_path / "run", say=lambda line: None)
    with pytest.raises(UserError, match=r"trained on arrays that no file holds; save them"):
        explain(run.path)


def test_trees_are_explained_without_gradients():
    run, sample = fitted("trees"), runs.series().subset(np.arange(0, 240, 16))
    with pytest.raises(UserError, match=r"gradient: trees has none, because it has no gradients; use occlusion"):
        next(attribution.stream(run, sample, ("gradient",)))
    (block,) = attribution.stream(run, sample, ("occlusion",))
    channels = np.abs(block.maps["occlusion", "voltage"][0]).mean(axis=0)
    moving = (run.axis > 23.5) & (run.axis < 27.0)
    assert channels[moving].sum() > 0.6 * channels.sum()


def test_a_study_of_an_estimator():
    run = fitted("ridge")
    assert set(methods.available_methods(run)) == set(methods.METHODS) - set(methods.HIDDEN_LAYER_METHODS)
    study = explain(run.path, ("gradient_noise",))
    assert study.scores["voltage"]["gradient_noise"]["verdict"] == "supported" and (run.path / "explain.json").exists()


def test_several_processes_have_no_estimator(monkeypatch, tmp_path):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(UserError, match="one fit in one process; leave --distributed out"):
        xrd_jax.fit(runs.series(), configuration("ridge"), tmp_path / "run")
