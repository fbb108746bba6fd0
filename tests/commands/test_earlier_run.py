"""A run directory that an earlier version wrote opens, predicts and resumes, and its numbers are those of then.

`fixtures/earlier_run` stopped after two of three epochs; what the version that began it predicted then and at the end,
and the metrics that it reported, lie beside it. So this is also the golden run: data, splits, noise, network and
training all have to be what they were.
"""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

import xrd_jax
from tests.support.paths import ROOT
from tests.support.series import make_series
from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig, TrainConfig

FIXTURES = ROOT / "tests" / "fixtures"
# Processors and versions of the compiler round differently, and every step of a training passes that on.
OPENED, RESUMED = {"rtol": 1e-4, "atol": 1e-5}, {"rtol": 1e-3, "atol": 1e-4}
CONFIG = Config(
    name="earlier",
    seeds=2,
    seed=3,
    targets=CASE_TARGETS[3],
    prepare=PrepareConfig(channels=32),
    model=ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3),
    train=TrainConfig(epochs=3, batch_size=32, log_maps=1),
)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "earlier_run_expected.npz") as file:
        return dict(file)


@pytest.fixture
def workdir(tmp_path):
    shutil.copytree(FIXTURES / "earlier_run", tmp_path / "run")
    return tmp_path / "run"


def assert_predictions(run, expected, prefix, tolerance):
    outputs = run.predict(make_series().subset(slice(0, None, 8)))
    assert set(outputs) == {"voltage", "mode", "rate"}
    for name, values in outputs.items():
        np.testing.assert_allclose(values, expected[f"{prefix}_{name}"], **tolerance)


def test_an_earlier_run_opens_and_predicts_as_it_did(workdir, expected):
    run = xrd_jax.open_run(workdir)
    assert run.config == CONFIG
    assert_predictions(run, expected, "opened", OPENED)
    np.testing.assert_allclose(run.vaw(make_series().subset(slice(0, None, 8))).raw, expected["vaw"], **OPENED)


def test_an_earlier_run_resumes_and_ends_with_the_numbers_of_then(workdir, expected):
    reported: list[str] = []
    run = xrd_jax.fit(make_series(), CONFIG, workdir, progress=False, say=reported.append)
    assert any("resumed from step 6" in line for line in reported)
    assert_predictions(run, expected, "resumed", RESUMED)
    check_metrics(workdir)


def test_the_golden_run(tmp_path, expected):
    run = xrd_jax.fit(make_series(), CONFIG, tmp_path / "run", progress=False)
    assert_predictions(run, expected, "resumed", RESUMED)
    check_metrics(tmp_path / "run")


def check_metrics(path):
    """Errors, baselines and shares of windows are those of the earlier version, under the same keys."""
    golden, ours = (
        json.loads(file.read_text()) for file in (FIXTURES / "earlier_run_metrics.json", path / "metrics.json")
    )
    assert set(golden) <= set(ours)
    for timing in ("wall_s", "train_patterns_per_s"):
        golden.pop(timing), ours.pop(timing)
    compare(ours, golden, "metrics")


def compare(ours, golden, key):
    if isinstance(golden, dict):
        assert [name for name in ours if name in golden] == list(golden), key  # new ones may join
        for name, value in golden.items():
            compare(ours[name], value, f"{key}.{name}")
    elif isinstance(golden, list):
        assert len(ours) == len(golden), key
        for index, pair in enumerate(zip(ours, golden, strict=True)):
            compare(*pair, f"{key}[{index}]")
    elif isinstance(golden, float):
        # One pattern of 120 may change its class.
        assert ours == pytest.approx(golden, rel=2e-3, abs=0.009), key
    else:
        assert ours == golden, key


def test_another_configuration_is_refused(workdir):
    other = dataclasses.replace(CONFIG, seed=4)
    with pytest.raises(xrd_jax.UserError, match="seed"):
        xrd_jax.fit(make_series(), other, workdir, progress=False)
