"""Linear models, Gaussian processes and trees are those of scikit-learn, and give what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import Ridge

from xrd_jax.estimators import decomposition, gaussian_process, trees
from xrd_jax.estimators.methods import METHODS, training_on
from xrd_jax.estimators.predictor import FAR, Linear, Predictor, to_probabilities

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(60, 4)) @ RNG.normal(size=(4, 20)) + 0.3 * RNG.normal(size=(60, 20)) + 5.0
VALUES = np.sin(INPUTS[:, :1]) + INPUTS[:, 1:2]
ONE_HOT = (np.digitize(INPUTS[:, 3], [4.0, 6.0])[:, None] == np.arange(3)).astype(float)
OTHERS = INPUTS[::4] + 0.1
WIDE = np.hstack([INPUTS, RNG.normal(size=(60, 180))])
KERNEL = gaussian_process.Kernel(6, 0.7, 0.3, 0.02)
SETTINGS = {"ridge": 1e-3, "pls": 4, "gp": KERNEL, "trees": trees.TREES}


@pytest.mark.parametrize("outputs", [VALUES, ONE_HOT])
@pytest.mark.parametrize("inputs", [INPUTS, WIDE])
def test_every_number_of_components_is_scikit_learns(inputs, outputs):
    path = METHODS["pls"].path(training_on(inputs), outputs, inputs[::4], range(1, 8))
    for number, predicted in enumerate(path, 1):
        model = PLSRegression(number, scale=False, max_iter=20000, tol=1e-14).fit(inputs, outputs)
        np.testing.assert_allclose(predicted, model.predict(inputs[::4]).reshape(predicted.shape), atol=1e-5)


@pytest.mark.parametrize("outputs", [VALUES, ONE_HOT])
@pytest.mark.parametrize("inputs", [INPUTS, WIDE])
def test_every_penalty_is_scikit_learns(inputs, outputs):
    shares = (1e-4, 1e-2, 1.0)
    path = METHODS["ridge"].path(training_on(inputs), outputs, inputs[::4], shares)
    total = ((inputs - inputs.mean(axis=0)) ** 2).sum()
    for share, predicted in zip(shares, path, strict=True):
        model = Ridge(share * total).fit(inputs, outputs)
        np.testing.assert_allclose(predicted, model.predict(inputs[::4]).reshape(predicted.shape), atol=1e-8)


@pytest.mark.parametrize("outputs", [VALUES, ONE_HOT])
def test_the_gaussian_process_is_scikit_learns(outputs):
    parts = decomposition.decompose(INPUTS)
    process = gaussian_process.fit(parts, outputs, KERNEL)
    kernel = ConstantKernel(process.radial) * RBF(process.length) + ConstantKernel(process.linear) * DotProduct(1e-8)
    model = GaussianProcessRegressor(kernel + WhiteKernel(process.noise), alpha=0.0, optimizer=None)
    model.fit(process.scores, outputs - outputs.mean(axis=0))
    expected = model.predict(OTHERS @ process.components - process.offset).reshape(len(OTHERS), -1)
    np.testing.assert_allclose(process(OTHERS), expected + outputs.mean(axis=0), atol=1e-6)


def test_the_kernel_taken_has_the_largest_evidence(monkeypatch):
    monkeypatch.setattr(gaussian_process, "COMPONENTS", (6, 24))
    parts = decomposition.decompose(INPUTS)
    (kernels,) = gaussian_process.most_likely_kernels(parts, [VALUES])
    assert [kernel.components for kernel in kernels] == [6, 20]
    kernel = kernels[0]
    others = [kernel._replace(length=length) for length in gaussian_process.LENGTHS]
    others += [kernel._replace(linear=linear) for linear in gaussian_process.LINEAR_SHARES]
    others += [kernel._replace(noise=float(noise)) for noise in gaussian_process.NOISE_SHARES[::4]]
    assert _evidence(parts, kernel) >= max(_evidence(parts, other) for other in others) - 1e-6


def _evidence(parts, kernel):
    process = gaussian_process.fit(parts, VALUES, kernel)
    shape = ConstantKernel(process.radial) * RBF(process.length) + WhiteKernel(process.noise)
    if process.linear:
        shape = shape + ConstantKernel(process.linear) * DotProduct(1e-8)
    model = GaussianProcessRegressor(shape, alpha=0.0, optimizer=None)
    return model.fit(process.scores, VALUES - VALUES.mean(axis=0)).log_marginal_likelihood_value_


def test_trees_are_scikit_learns():
    options = {"max_features": trees.FEATURE_SHARE, "min_samples_leaf": trees.LEAF_PATTERNS, "random_state": 0}
    model = ExtraTreesRegressor(20, **options).fit(INPUTS, VALUES[:, 0])
    np.testing.assert_allclose(trees.fit(INPUTS, VALUES, 20)(OTHERS)[:, 0], model.predict(OTHERS))
    model = ExtraTreesClassifier(20, **options).fit(INPUTS, ONE_HOT.argmax(axis=1))
    np.testing.assert_allclose(trees.fit(INPUTS, ONE_HOT, 20)(OTHERS), model.predict_proba(OTHERS))


def test_a_class_that_training_lacks_has_no_share():
    outputs = np.insert(ONE_HOT, 1, 0.0, axis=1)
    probabilities = trees.fit(INPUTS, outputs, 5)(OTHERS)
    assert probabilities.shape == (len(OTHERS), 4) and not probabilities[:, 1].any()


@pytest.mark.parametrize(("name", "setting"), SETTINGS.items())
def test_probabilities_add_up_and_keep_the_largest(name, setting):
    training = training_on(INPUTS)
    function = METHODS[name].fit(training, ONE_HOT, setting)
    probabilities = Predictor(function, "classification", 0.0, 1.0).predict(OTHERS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert probabilities.min() >= 0.0
    np.testing.assert_array_equal(probabilities.argmax(axis=1), function(OTHERS).argmax(axis=1))
    assert (probabilities.argmax(axis=1) == ONE_HOT[::4].argmax(axis=1)).mean() > 0.5


@pytest.mark.parametrize(("name", "setting"), SETTINGS.items())
def test_what_is_kept_predicts_as_cross_validation_does(name, setting):
    """With few patterns, where nothing is left out to save time."""
    training = training_on(INPUTS)
    kept = METHODS[name].fit(training, VALUES, setting)(OTHERS)
    (path,) = METHODS[name].path(training, VALUES, OTHERS, [setting])
    np.testing.assert_allclose(path, kept, atol=1e-9)


def test_a_linear_model_far_outside_is_bounded_and_counted():
    predictor = Predictor(Linear(np.ones((1, 1)), np.zeros(1)), "regression", 1.0, 3.0)
    inputs = np.array([[2.0], [3.1], [3.0 + 2.0 * FAR + 0.1], [-50.0]])
    np.testing.assert_allclose(predictor.predict(inputs), [2.0, 3.1, 3.2, 0.8])
    assert predictor.count_extrapolated(inputs) == 2


def test_outputs_without_a_positive_one_are_no_knowledge():
    np.testing.assert_allclose(to_probabilities(np.array([[-1.0, -2.0], [3.0, -1.0]])), [[0.5, 0.5], [1.0, 0.0]])


def test_a_small_basis_loses_nothing_of_few_patterns(monkeypatch):
    plain = decomposition.decompose(WIDE)
    monkeypatch.setattr(decomposition, "EXACT_SIZE", 100)
    small = decomposition.decompose(WIDE, decomposition.small_basis(WIDE))
    np.testing.assert_allclose(small.squares, plain.squares, rtol=1e-8)
    np.testing.assert_allclose(small.project(WIDE), small.scores, atol=1e-8)
    np.testing.assert_allclose(np.abs(small.project(WIDE[:3] + 0.1)), np.abs(plain.project(WIDE[:3] + 0.1)), atol=1e-7)


def test_linear_models_do_not_mind_the_order_of_patterns():
    order = RNG.permutation(len(INPUTS))
    for name, setting in (("ridge", 1e-3), ("pls", 4)):
        first = METHODS[name].fit(training_on(INPUTS), VALUES, setting)
        second = METHODS[name].fit(training_on(INPUTS[order]), VALUES[order], setting)
        np.testing.assert_allclose(first.coefficients, second.coefficients, atol=1e-10)
