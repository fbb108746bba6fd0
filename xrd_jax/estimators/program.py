"""A chosen estimator in the places of networks: a program of measured patterns, and a `Model` for explanations.

Predictions are computed in double precision, preparation included, because coefficients may be large and of either
sign: so one pattern alone, many together and every export give the same numbers.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.estimators.candidates import Choice
from xrd_jax.estimators.predictor import Function, GaussianProcess, Linear, Predictor, Trees, bounded_line, bounds
from xrd_jax.models import Model, Variables
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, to_device, transform

RANDOM_FIELD: Mapping[type, str] = {Linear: "coefficients", GaussianProcess: "weights", Trees: "value"}


def predict(choice: Choice, config: PrepareConfig, patterns: np.ndarray) -> dict[str, np.ndarray]:
    """Return target -> values [B] in its unit, or probabilities [B, K], float32, of patterns [B, N] as measured."""
    with jax.enable_x64(True):
        return jax.device_get(_predict(*_arguments(choice, config), to_device(patterns)))


def make_program(choice: Choice, config: PrepareConfig) -> Callable[[Float[Array, "B N"]], dict[str, Array]]:
    """Return `predict` as a function to be traced; with `jax.enable_x64(True)`, or it is less exact."""
    arguments = _arguments(choice, config)
    return lambda patterns: _predict(*arguments, patterns)


def with_deviations(predict: Callable[[Array], dict[str, Array]]) -> Callable[[Array], dict[str, Array]]:
    """Return a program that gives NAME_std as well, 0 because there is one fit, as exports of networks do."""

    def predict_both(patterns: Array) -> dict[str, Array]:
        outputs = predict(patterns)
        return outputs | {f"{name}_std": jnp.zeros_like(values) for name, values in outputs.items()}

    return predict_both


def _arguments(choice: Choice, config: PrepareConfig) -> tuple[Any, ...]:
    ranges = tuple((name, (p.kind, p.low, p.high)) for name, p in choice.predictors.items())
    exact: list[Any] = [np.asarray(values, np.float64) for values in choice.statistics]
    return dataclasses.replace(config, scale=choice.scaling), ranges, _functions(choice), Statistics(*exact)  # type: ignore[arg-type]


def _functions(choice: Choice) -> dict[str, Function]:
    return {name: jax.tree.map(np.asarray, predictor.function) for name, predictor in choice.predictors.items()}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _predict(
    config: PrepareConfig, ranges: tuple[tuple[str, tuple[str, float, float]], ...], functions: dict[str, Function],
    statistics: Statistics, patterns: Array,
) -> dict[str, Array]:  # fmt: skip
    """Compute `predict`; `ranges` are the other fields of the predictors, which are compiled in."""
    inputs = transform(statistics, config, patterns.astype(statistics.matrix.dtype))
    outputs: dict[str, Any] = {name: Predictor(functions[name], *rest).predict(inputs) for name, rest in ranges}
    return {name: values.astype(jnp.float32) for name, values in outputs.items()}


def bounded_lines(choice: Choice, outputs: Mapping[str, np.ndarray]) -> list[str]:
    """Return a line for each regression target some of whose predicted values [B] lay too far outside the training."""
    lines = []
    for name, predictor in choice.predictors.items():
        if predictor.kind == "regression":
            values = outputs[name]
            count = int(np.isin(values, np.asarray(bounds(predictor.low, predictor.high), np.float32)).sum())
            lines += [bounded_line(choice.estimator, name, count, values.size)] if count else []
    return lines


def variables(choice: Choice) -> Variables:
    """Return the arrays of a chosen estimator as those of a network of one seed."""
    return {"params": jax.tree.map(lambda leaf: leaf[None], _functions(choice))}


def as_model(choice: Choice, specs: Sequence[TargetSpec]) -> Model:
    """Return what explanations take instead of a network.

    Its outputs are standardised values, not bounded, and the outputs of one-hot regressions as logits. Where networks
    are initialised, coefficients, weights of training patterns or values of leaves are drawn anew, as large as before.
    """
    functions = _functions(choice)

    def init(key: PRNGKeyArray, _: Any = None) -> Variables:
        keys = zip(functions.items(), jax.random.split(key, len(functions)), strict=True)
        return {"params": {name: _randomised(function, key) for (name, function), key in keys}}

    def apply(variables: Variables, x: Float[Array, "B L"]) -> tuple[dict[str, Array], dict[str, Any]]:
        outputs = {spec.name: variables["params"][spec.name](x) for spec in specs}
        return {spec.name: (outputs[spec.name] - spec.mean) / spec.deviation for spec in specs}, {}

    def apply_train(*_: Any) -> Any:
        raise NotImplementedError("an estimator is fitted, not trained")

    return Model(init, apply, apply_train, 0.0)


def _randomised(function: Function, key: PRNGKeyArray) -> Function:
    field = RANDOM_FIELD[type(function)]
    values = getattr(function, field)
    random = jax.random.normal(key, values.shape) * float(np.sqrt(np.mean(np.square(values))))
    drawn = function._replace(**{field: random})
    if isinstance(drawn, Trees):  # and nodes ask about other channels
        channels = jax.random.permutation(key, int(drawn.feature.max()) + 1)
        drawn = drawn._replace(feature=jnp.where(drawn.feature < 0, -1, channels[drawn.feature]))
    return drawn
