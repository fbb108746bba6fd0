"""The likelihood look-up: which training pattern would most probably have given these counts? No training at all."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from xrd_jax.config.overrides import override
from xrd_jax.config.recipes import recipe_fields
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.estimators.inputs import thinned
from xrd_jax.models.template_likelihood import TEMPLATE, posterior
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.templates import expected_inputs
from xrd_jax.preprocessing.transform import fit_statistics

BLOCK_PATTERNS = 512  # test patterns at once, which bounds the matrix of posteriors


def predict(
    prepared: Prepared, config: PrepareConfig, specs: Sequence[TargetSpec], train: Int[np.ndarray, " n"],
    test: Int[np.ndarray, " B"],
) -> dict[str, np.ndarray]:  # fmt: skip
    """Return target -> values [B], the medians of the posterior, or probabilities [B, K] of counts.

    Args:
      train: patterns of the series that are templates, of which at most `inputs.MAX_PATTERNS` are taken.
      test: patterns that are looked up.
    """
    series, plain = prepared.series, PrepareConfig()
    prepare = dataclasses.replace(
        config, resize="bin", channels=min(config.channels, series.axis.values.size), scale="sqrt", scale_at="output",
        centre=True, baseline=plain.baseline, savgol=plain.savgol, derivative=plain.derivative,
    )  # fmt: skip
    # How training patterns are averaged, and how far the zero of a 2θ axis may be off, is the recipe's.
    average = override(Config(), recipe_fields("best", config.split)).train
    if series.axis.kind != "two_theta":
        average = dataclasses.replace(average, redraw_shift=0.0)
    prepared = dataclasses.replace(prepared, train=train, statistics=fit_statistics(series, train, prepare))
    rows = thinned(np.arange(train.size))
    expected = expected_inputs(prepared, prepare, average, rows)
    templates, look_up = tuple(jnp.asarray(expected[name]) for name in TEMPLATE), jax.jit(posterior)
    parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in specs}
    for block in np.split(test, range(BLOCK_PATTERNS, test.size, BLOCK_PATTERNS)):
        inputs = prepare_inputs(prepared, prepare, np.resize(block, BLOCK_PATTERNS))
        weights = np.asarray(look_up(*templates, inputs))[: block.size]
        for spec in specs:
            parts[spec.name].append(_summary(weights, spec, series.targets[spec.name].values[train[rows]]))
    return {name: np.concatenate(blocks) for name, blocks in parts.items()}


def _summary(posterior: Float[np.ndarray, "B M"], spec: TargetSpec, values: np.ndarray) -> Float[np.ndarray, "B *K"]:
    """Return the weighted median of the templates' values, or the weight of every class."""
    if spec.kind == "classification":
        return posterior @ (values[:, None] == np.arange(spec.size)[None, :]).astype(np.float32)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(posterior[:, order], axis=1, dtype=np.float64) < 0.5
    return values[order][np.minimum(reached.sum(axis=1), values.size - 1)]
