"""What the likelihood of the training patterns needs: their expected inputs, in units of the noise, with their labels.

A pattern x that belongs to template j, its zero shifted by d, is x = μ_j + d t_j + noise. All are divided by the
standard deviation of the noise at the network's input, so that −|x − μ_j − d t_j|² / 2 is the log-likelihood.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrd_jax.config.schema import PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.noise import input_variance
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.time_average import smooth
from xrd_jax.preprocessing.transform import transform

MAX_TEMPLATES = 2048  # evenly spaced training patterns; more are closer together than their noise
LABEL_WIDTH = 0.4  # standard deviation of a template's label, in bins: as narrow as the bins can show


def expected_inputs(
    prepared: Prepared, prepare: PrepareConfig, train: TrainConfig, rows: Int[np.ndarray, " M"]
) -> dict[str, np.ndarray]:
    """Return what training patterns are expected to be, averaged and shifted as `train.redraw_*` says.

    Args:
      rows: positions in `prepared.train`.

    Returns:
      'inverse_noise' [L] that inputs are multiplied by, 'patterns' [M, L] (expected inputs μ) and 'tangents' [M, L]
      (their change t with one standard deviation of the zero shift), both in units of the noise.
    """
    series = prepared.series
    rates = smooth(series, prepared.train, train.redraw_frames, rows, train.redraw_rank)
    slopes = np.gradient(rates, series.axis.values, axis=1).astype(np.float32)
    patterns, tangents = jax.jvp(
        lambda counts: transform(prepared.statistics, prepare, counts),
        (jnp.asarray(rates),), (jnp.asarray(-np.float32(train.redraw_shift) * slopes),),
    )  # fmt: skip
    variance = np.asarray(input_variance(prepared.statistics, prepare, jnp.asarray(rates))).mean(axis=0)
    inverse_noise = (1.0 / np.sqrt(np.maximum(variance, np.finfo(np.float32).tiny))).astype(np.float32)
    inputs = {"patterns": np.asarray(patterns) * inverse_noise, "tangents": np.asarray(tangents) * inverse_noise}
    return {"inverse_noise": inverse_noise, **inputs}


def make_templates(
    prepared: Prepared, prepare: PrepareConfig, train: TrainConfig, specs: tuple[TargetSpec, ...]
) -> dict[str, np.ndarray]:
    """Return `expected_inputs` of at most `MAX_TEMPLATES` training patterns with their labels.

    Returns:
      The same and 'labels_NAME' [M, K], the probabilities of a target's bins or classes.

    Raises:
      UserError: data that are not counts, whose noise is not known, or a target whose output is one value.
    """
    if not prepared.series.is_counts:
        raise UserError("model.likelihood needs photon counts, and these data are not counts; use model.likelihood=0")
    if names := [spec.name for spec in specs if spec.kind == "regression" and not spec.is_distribution]:
        raise UserError(f"model.likelihood gives '{names[0]}' as a distribution; add model.regression=histogram")
    rows = np.linspace(0, prepared.train.size - 1, _count(prepared.train.size)).astype(int)
    labels = {f"labels_{spec.name}": _labels(prepared, spec, prepared.train[rows]) for spec in specs}
    return expected_inputs(prepared, prepare, train, rows) | labels


def blank_templates(length: int, outputs: Sequence[tuple[str, int]], patterns: int) -> dict[str, Array]:
    """Return zeros of the shapes that the templates of so many training patterns have, for a network to be read."""
    count = _count(patterns)
    shapes = {"inverse_noise": (length,), "patterns": (count, length), "tangents": (count, length)}
    shapes |= {f"labels_{name}": (count, size) for name, size in outputs}
    return {name: jnp.zeros(shape) for name, shape in shapes.items()}


def _count(patterns: int) -> int:
    return min(patterns, MAX_TEMPLATES)


def _labels(prepared: Prepared, spec: TargetSpec, rows: Int[np.ndarray, " M"]) -> Float[np.ndarray, "M K"]:
    values = prepared.series.targets[spec.name].values[rows]
    if not spec.is_distribution:
        return np.asarray(jax.nn.one_hot(values, spec.size))
    edges = jnp.linspace(spec.low, spec.high, spec.size + 1, dtype=jnp.float32)
    width = (spec.high - spec.low) / spec.size
    return np.asarray(histogram.smoothed_labels(jnp.asarray(values, jnp.float32), edges, LABEL_WIDTH * width))
