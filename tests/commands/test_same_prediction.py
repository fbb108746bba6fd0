"""A file predicted alone gives what it gives inside the experiment that the run was trained on."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xrd_jax
from tests.support import runs
from xrd_jax.analysis import collect, resample
from xrd_jax.commands import export, predict
from xrd_jax.config.schema import ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.io import new_data
from xrd_jax.io.experiment.read import read_experiment

EVEN = np.round(10.0 + 0.05 * np.arange(120), 6)
UNEVEN = np.round(
    np.concatenate([np.arange(10.0, 12.0, 0.2), np.arange(12.0, 14.0, 0.025), np.arange(14.0, 16.01, 0.1)]), 6
)
RTOL = 1e-6  # programs for one pattern and for many round differently
MASK = "[mask]\nchannels = [[11.0, 11.62], [13.5, 13.7]]\n"
CONFIG = dataclasses.replace(
    runs.SMALL, targets=("voltage",), prepare=PrepareConfig(channels=16),
    model=ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2),
)  # fmt: skip


def intensities(axis, count=20):
    """Return smooth patterns whose masked ranges hold something else in every one of them."""
    shift = np.linspace(0.0, 0.6, count)[:, None]
    values = 50.0 + 400.0 * np.exp(-0.5 * ((axis - 12.4 - shift) / 0.5) ** 2)
    spike = ((axis > 11.0) & (axis < 11.62)) | ((axis > 13.5) & (axis < 13.7))
    return np.round(np.where(spike, 5e3 * np.random.default_rng(0).uniform(size=values.shape), values))


def write(folder, axis, tables="", counts="false"):
    """Write patterns and an experiment file, and return that."""
    for number, row in enumerate(intensities(axis)):
        runs.write_pattern(folder / f"scan_{number:02d}.xy", axis, row)
    rows = [f"scan_{number:02d}.xy,{3.5 + 0.02 * number}" for number in range(20)]
    (folder / "voltages.csv").write_text("\n".join(["file,voltage", *rows]) + "\n")
    file = folder / "experiment.toml"
    file.write_text(
        f'version = 2\n[axis]\nkind = "two_theta"\nwavelength = 1.5406\n{tables}[[session]]\npatterns = "scan_*.xy"\n'
        f'counts = {counts}\n[targets.voltage]\ntable = "voltages.csv"\ncolumn = "voltage"\n'
    )
    return file


def alone(run, axis, file):
    """Return the predictions of a file by itself."""
    (batch,) = new_data.read(file, cache=False).batches
    fit = resample.fit_axis(
        np.asarray(run.statistics.axis, np.float64), axis, batch.positions, batch.kind, batch.wavelength, file.name
    )
    return collect.collect(run, None, batch, fit).outputs["voltage"]


@pytest.mark.parametrize("counts", ["false", "true"])
@pytest.mark.parametrize("mask", ["", MASK, f"{MASK}fill = true\n"], ids=["whole", "cut", "filled"])
@pytest.mark.parametrize("axis", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_a_file_alone_is_predicted_as_inside_its_experiment(tmp_path, axis, mask, counts):
    series = read_experiment(write(tmp_path, axis, mask, counts)).series
    run = runs.untrained(series, CONFIG)
    inside = run.predict(series)["voltage"]
    assert np.ptp(inside, axis=1).min() > 1e-3  # the patterns differ
    for number in (0, 11, 19):
        np.testing.assert_allclose(
            alone(run, series.axis, tmp_path / f"scan_{number:02d}.xy")[:, 0], inside[:, number], rtol=RTOL
        )


@pytest.mark.parametrize("mask", ["", MASK, f"{MASK}fill = true\n"], ids=["whole", "cut", "filled"])
def test_more_fewer_and_other_channels(tmp_path, mask):
    """A wider file gives the same, a file without the masked channels too; another step gives nearly the same."""
    series = read_experiment(write(tmp_path, EVEN, mask)).series
    run = runs.untrained(series, CONFIG)
    inside = run.predict(series)["voltage"][:, 7]
    wide = np.round(9.0 + 0.05 * np.arange(160), 6)
    row = np.interp(wide, EVEN, intensities(EVEN)[7])
    runs.write_pattern(tmp_path / "wide.xy", wide, row)
    np.testing.assert_allclose(alone(run, series.axis, tmp_path / "wide.xy")[:, 0], inside, rtol=RTOL)
    for name, step in (("fine", 0.02), ("coarse", 0.07)):
        axis = np.arange(9.5, 16.5, step)
        runs.write_pattern(tmp_path / f"{name}.xy", axis, intensities(axis)[7])
        other = alone(run, series.axis, tmp_path / f"{name}.xy")[:, 0]
        if mask:  # otherwise the spikes belong to the pattern, and are others
            np.testing.assert_allclose(other, inside, atol=0.02 * np.ptp(run.predict(series)["voltage"]))
    is_left = ~((EVEN >= 11.0) & (EVEN <= 11.62)) & ~((EVEN >= 13.5) & (EVEN <= 13.7))
    runs.write_pattern(tmp_path / "cut.xy", EVEN[is_left], intensities(EVEN)[7][is_left])
    if mask:
        np.testing.assert_allclose(alone(run, series.axis, tmp_path / "cut.xy")[:, 0], inside, rtol=RTOL)
    else:
        with pytest.raises(UserError, match=r"has no channels between 10\.95 and 11\.65, where the run was trained"):
            alone(run, series.axis, tmp_path / "cut.xy")


def test_positions_in_another_unit_of_the_run_are_recognised(tmp_path):
    file = write(tmp_path, EVEN)
    file.write_text(file.read_text().replace('"two_theta"\nwavelength = 1.5406', '"energy"\nunit = "keV"'))
    series = read_experiment(file).series
    run = runs.untrained(series, CONFIG)
    assert series.axis.values[0] == 10_000.0
    np.testing.assert_allclose(
        alone(run, series.axis, tmp_path / "scan_03.xy")[:, 0], run.predict(series)["voltage"][:, 3], rtol=RTOL
    )


@pytest.mark.parametrize("form", ["jax", "onnx"])
def test_an_export_draws_the_lines_across_masked_channels_itself(tmp_path, form):
    """What is exported takes patterns as they were measured, and the mask with fill = true is part of it."""
    pytest.importorskip({"jax": "flatbuffers", "onnx": "onnxruntime"}[form])
    series = read_experiment(write(tmp_path, EVEN, f"{MASK}fill = true\n")).series
    run = runs.untrained(series, CONFIG)
    run = dataclasses.replace(run, variables=jax.tree.map(jnp.asarray, run.variables))
    build = export.load_artefact(form, export.build(run, form, {}))
    outputs = build(intensities(EVEN).astype(np.float32))
    np.testing.assert_allclose(outputs["voltage"], run.predict(series)["voltage"].mean(axis=0), atol=2e-5)


def test_the_columns_that_the_experiment_names_go_with_the_run(tmp_path):
    """Two signals a file: alone, its headings would say nothing of which the run was trained on."""
    experiment = write(tmp_path, EVEN)
    for number, row in enumerate(intensities(EVEN)):
        rows = [f"{x},{1e3 - y},{y}" for x, y in zip(EVEN, row, strict=True)]
        (tmp_path / f"scan_{number:02d}.xy").write_text("\n".join(["two_theta,first,second", *rows]) + "\n")
    experiment.write_text(experiment.read_text().replace("counts", 'columns = ["two_theta", "second"]\ncounts', 1))
    series = read_experiment(experiment).series
    config = dataclasses.replace(CONFIG, train=TrainConfig(estimator="ridge"), data=str(experiment))
    run = xrd_jax.fit(series, config, tmp_path / "run", say=lambda line: None)
    predict.predict(run.path, str(tmp_path / "scan_11.xy"), tmp_path / "out")
    (row,) = runs.read_predictions(tmp_path / "out")
    np.testing.assert_allclose(float(row["voltage_predicted"]), run.predict(series)["voltage"][0, 11], atol=1e-4)
