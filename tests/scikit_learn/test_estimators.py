"""The models are scikit-learn's estimators: its own checks pass, pipelines and grouped cross-validation take them."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import xrd_jax
from tests.support.paths import ROOT
from tests.support.runs import read_predictions
from tests.support.series import make_series
from xrd_jax import SpectrumClassifier, SpectrumRegressor
from xrd_jax.commands.predict import predict
from xrd_jax.errors import UserError

# The checks of scikit-learn have two columns, which a pattern's own range would make 0 and 1.
ROWS = ("prepare.scale=dataset",)
TINY = (
    "model.depth=2", "model.width=4", "model.query_layer=1", "model.key_layer=2", "model.norm_layer=2",
    "prepare.channels=16", "train.batch_size=40",
)  # fmt: skip
SERIES = make_series()
PATTERNS, VOLTAGE = SERIES.intensity, SERIES.targets["voltage"].values
MODE = np.asarray(SERIES.targets["mode"].classes)[SERIES.targets["mode"].values]
SAMPLES = np.arange(len(SERIES)) // 6


@pytest.mark.parametrize(
    "estimator", [SpectrumRegressor("ridge", settings=ROWS), SpectrumClassifier("gp", settings=ROWS)], ids=repr
)
def test_checks_of_scikit_learn_pass(estimator):
    failed = [result for result in check_estimator(estimator, on_skip=None) if result["status"] == "failed"]
    assert not failed


@pytest.fixture(scope="module")
def network():
    return SpectrumRegressor(epochs=8, seeds=2, random_state=3, calibration=0.3, settings=TINY).fit(PATTERNS, VOLTAGE)


def test_network_predicts_the_same_after_a_pickle_and_a_second_fit(network):
    predicted = network.predict(PATTERNS[:40])
    assert predicted.shape == (40,) and len(network.run_.predict(network.series(PATTERNS))["y"]) == 2
    assert np.array_equal(pickle.loads(pickle.dumps(network)).predict(PATTERNS[:40]), predicted)
    assert np.array_equal(clone(network).fit(PATTERNS, VOLTAGE).predict(PATTERNS[:40]), predicted)
    assert network.score(PATTERNS, VOLTAGE) <= 1.0


def test_intervals_hold_what_they_promise(network):
    for estimator in (network, SpectrumRegressor("pls", calibration=0.3).fit(PATTERNS[::2], VOLTAGE[::2])):
        narrow, wide = (estimator.predict_interval(PATTERNS[1::2], level) for level in (0.8, 0.9))
        inside = (wide[:, 0] <= VOLTAGE[1::2]) & (VOLTAGE[1::2] <= wide[:, 1])
        assert inside.mean() > 0.8
        assert (wide[:, 0] <= narrow[:, 0]).all() and (narrow[:, 1] <= wide[:, 1]).all()


def test_label_sets_hold_the_predicted_class_and_groups_are_never_parted():
    model = SpectrumClassifier("ridge", calibration=0.3).fit(PATTERNS, MODE, groups=SAMPLES)
    sets, probabilities = model.predict_set(PATTERNS, 0.8), model.predict_proba(PATTERNS)
    assert sets[np.arange(len(sets)), probabilities.argmax(axis=1)].all()
    assert probabilities.sum(axis=1) == pytest.approx(1.0, abs=1e-5) and set(model.predict(PATTERNS)) <= set(MODE)
    assert np.unique(model.calibration_.groups, return_counts=True)[1].tolist() == [6] * 12


def test_pipelines_and_grouped_cross_validation_take_them():
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), SpectrumRegressor("ridge"))
    scores = cross_val_score(pipeline, PATTERNS, VOLTAGE, groups=SAMPLES, cv=GroupKFold(3))
    assert scores.shape == (3,) and scores.min() > 0.7


@pytest.mark.parametrize(("name", "settings"), [("network", TINY), ("pls", ())])
def test_a_given_directory_is_a_run_and_not_replaced_unasked(name, settings, tmp_path):
    model = SpectrumRegressor(
        name, epochs=1, settings=settings, calibration=0.3, axis=SERIES.axis, workdir=tmp_path / "run"
    )
    predicted = model.fit(PATTERNS, VOLTAGE).predict(PATTERNS)
    run = xrd_jax.open_run(tmp_path / "run")
    assert np.array_equal(run.predict(model.series(PATTERNS))["y"].mean(axis=0), predicted)
    SERIES.save(tmp_path / "new.h5")
    predict(tmp_path / "run", tmp_path / "new.h5")
    assert len(read_predictions(tmp_path / "run" / "predict-new")) == len(PATTERNS)
    with pytest.raises(UserError, match="run on other data"):
        model.fit(PATTERNS, VOLTAGE[::-1])
    predicted = model.set_params(overwrite=True).fit(PATTERNS, VOLTAGE[::-1]).predict(PATTERNS)
    run = xrd_jax.open_run(tmp_path / "run")
    assert np.array_equal(run.predict(model.series(PATTERNS))["y"].mean(axis=0), predicted)


def test_groups_of_a_cross_validation_reach_the_fit():
    with config_context(enable_metadata_routing=True):
        model = SpectrumRegressor("ridge", calibration=0.4).set_fit_request(groups=True)
        options = {"cv": GroupKFold(2), "params": {"groups": SAMPLES}, "return_estimator": True}
        result = cross_validate(model, PATTERNS, VOLTAGE, **options)
    assert [np.unique(m.calibration_.groups).size for m in result["estimator"]] == [8, 8]


@pytest.mark.parametrize(
    ("parameters", "answer"),
    [
        ({"recipe": "bets"}, "did you mean 'best'"),
        ({"estimator": "plss"}, "did you mean 'pls'"),
        ({"calibration": 1.0}, "share below 1"),
        ({"epochs": 0}, "between 1 and"),
        ({"settings": ("model.dept=2",)}, "did you mean 'model.depth'"),
        ({"axis": range(3)}, "does not fit an axis of 3"),
    ],
)
def test_bad_parameters_are_refused_at_fit(parameters, answer):
    with pytest.raises(UserError, match=answer):
        SpectrumRegressor(**parameters).fit(PATTERNS, VOLTAGE)


def test_no_interval_is_promised_without_patterns_to_tell():
    model = SpectrumRegressor("ridge")
    with pytest.raises(NotFittedError):
        model.predict_interval(PATTERNS)
    few = model.fit(PATTERNS[:60], VOLTAGE[:60])
    with pytest.raises(UserError, match="a larger share or more patterns"):
        few.predict_interval(PATTERNS)
    few.set_params(calibration=0.4).fit(PATTERNS, VOLTAGE)
    with pytest.raises(UserError, match="calibration patterns, and at least 99 are needed; raise calibration"):
        few.predict_interval(PATTERNS, 0.99)
    with pytest.raises(UserError, match="between 0 and 1"):
        few.predict_interval(PATTERNS, 90.0)


@pytest.mark.parametrize("number", [1, 2])
def test_the_examples_of_the_documentation_run(number):
    code = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)[number]
    names: dict = {"small": TINY}
    # Fewer layers and epochs than a reader would want.
    exec(code.replace("epochs=5,", "epochs=1, settings=small,"), names)
    if number == 1:
        assert names["errors"].max() < 0.1 and names["vaw"].raw.shape == (2, len(names["X"]), 16)
        assert ((names["lower"] <= names["y"]) & (names["y"] <= names["upper"])).mean() > 0.8
    else:
        assert names["peak"].sizes == {"pattern": len(names["again"])}
