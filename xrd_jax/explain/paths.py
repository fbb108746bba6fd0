"""Explanations that ask the network at many inputs: baselines, paths from them, noisy copies, occluded windows."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xrd_jax.analysis.neighbours import has_other_label, nearest_with_other_label
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain.methods import ENSEMBLE, MapKey
from xrd_jax.explain.outputs import StaticArgs, explained_outputs
from xrd_jax.explain.residual_noise import input_patterns, residual_variance
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.record import PatternSeries

# Points of the Gauss-Legendre rule along a line; 8 close the sum rule of integrated gradients to a few per cent.
QUADRATURE_POINTS = 8
DRAWS = 8  # random baselines, and noisy copies
SMOOTHING = 0.1  # standard deviation of their noise, in ranges of the pattern
WINDOW, STRIDE = 8, 4  # occluded channels, and channels between windows
MAX_REFERENCES = 2048  # reference patterns: nearest ones are searched among them by one matrix product


class ReferenceStats(NamedTuple):
    """What explanations need of the reference patterns, at the network's input."""

    mean: Float[Array, " L"]
    residual: Float[Array, " L"]  # variance that neighbours do not explain, for data without photon statistics
    patterns: Float[Array, "M L"]  # evenly spaced
    labels: dict[str, np.ndarray]  # target -> [M] of the patterns, where a method asks for them


class PathPoint(NamedTuple):
    """A point on a path: the gradient of `targets` at `x` counts `weight`."""

    targets: tuple[str, ...]
    x: Float[Array, "B L"]
    weight: Float[Array, "B L"]


def reference_stats(
    run: Run, reference: PatternSeries, methods: tuple[str, ...], noise: PatternSeries | None = None
) -> ReferenceStats:
    """Return what `methods` need of the reference patterns.

    Args:
      noise: patterns that the noise is taken from; `reference` by default.

    Raises:
      UserError: contrast_gradients without labels, or with one label only; noise that is wanted and not known.
    """
    run.check_axis(reference)
    is_needed = {"contrast_gradients", "expected_gradients"} & set(methods) or not run.config.prepare.centre
    indices = reference.thinned(MAX_REFERENCES) if is_needed else np.zeros(0, int)
    patterns = input_patterns(run, reference, indices) if is_needed else np.zeros((0, run.axis.size), np.float32)
    mean = run.statistics.mean * 0.0 if run.config.prepare.centre else jnp.asarray(patterns.mean(axis=0))
    residual = np.zeros(patterns.shape[1], np.float32)
    if {"gradient_noise", ENSEMBLE} & set(methods) and not reference.is_counts:
        residual = residual_variance(run, reference if noise is None else noise)
    labels = {}
    for spec in run.specs if "contrast_gradients" in methods else ():
        labels[spec.name] = _labels(spec, reference)[indices]
        if not has_other_label(spec, jnp.asarray(labels[spec.name][:1]), jnp.asarray(labels[spec.name])).any():
            missing = f"no reference pattern has another {spec.name}"
            raise UserError(f"contrast_gradients: {missing}; give more patterns or leave that method out")
    return ReferenceStats(mean, jnp.asarray(residual), jnp.asarray(patterns), labels)


def _labels(spec: TargetSpec, series: PatternSeries) -> np.ndarray:
    if spec.name not in series.targets:
        raise UserError(f"contrast_gradients needs the labels '{spec.name}' of the patterns; leave that method out")
    values = series.targets[spec.name].values
    return values.astype(np.float32 if spec.kind == "regression" else np.int32)


def path_points(
    run: Run, series: PatternSeries, stats: ReferenceStats, methods: tuple[str, ...], x: Float[Array, "B L"],
    begin: int, count: int,
) -> dict[str, list[PathPoint]]:  # fmt: skip
    """Return the points that each path method visits for a block, the same for all seeds.

    Random choices belong to the number of the pattern in the series, so that blocks do not matter.

    Args:
      x: network inputs of the patterns from `begin` on, of which the first `count` are no repetition.
    """
    targets = tuple(spec.name for spec in run.specs)
    index = jnp.minimum(begin + jnp.arange(len(x)), begin + count - 1)
    points: dict[str, list[PathPoint]] = {}
    if "integrated_gradients" in methods:
        baseline = jnp.broadcast_to(stats.mean[None, :], x.shape)
        points["integrated_gradients"] = list(_straight_line(targets, baseline, x))
    if "contrast_gradients" in methods:
        points["contrast_gradients"] = []
        for spec in run.specs:
            labels = jnp.asarray(_labels(spec, series)[np.asarray(index)])
            others = jnp.asarray(stats.labels[spec.name])
            baseline = nearest_with_other_label(spec, x, labels, stats.patterns, others)
            points["contrast_gradients"] += _straight_line((spec.name,), baseline, x)
    if "expected_gradients" in methods:
        chosen, along = _draw_baselines(index, len(stats.patterns))
        baselines = [stats.patterns[chosen[:, i]] for i in range(DRAWS)]
        points["expected_gradients"] = [
            PathPoint(targets, baseline + along[:, i, None] * (x - baseline), (x - baseline) / DRAWS)
            for i, baseline in enumerate(baselines)
        ]
    if "smooth_gradient" in methods:
        deviation = SMOOTHING * (x.max(axis=1, keepdims=True) - x.min(axis=1, keepdims=True))
        weight = jnp.full_like(x, 1.0 / DRAWS)
        noise = _draw_noise(index, x.shape[1])
        points["smooth_gradient"] = [PathPoint(targets, x + deviation * noise[:, i], weight) for i in range(DRAWS)]
    return points


def _straight_line(targets: tuple[str, ...], baseline: Array, x: Array) -> Iterator[PathPoint]:
    """The integral of the gradient from `baseline` to `x`, times the length of that line, by a Gauss-Legendre rule."""
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE_POINTS)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        yield PathPoint(targets, baseline + float(node) * (x - baseline), float(weight) * (x - baseline))


@functools.partial(jax.jit, static_argnums=1)
def _draw_baselines(index: Int[Array, " B"], patterns: int) -> tuple[Int[Array, "B R"], Float[Array, "B R"]]:
    """`DRAWS` baselines for each pattern, and stratified positions 0…1 on the lines from them."""

    def draw(number: Array) -> tuple[Array, Array]:
        baseline_key, position_key = jax.random.split(jax.random.fold_in(jax.random.key(0xE6), number))
        along = (jnp.arange(DRAWS, dtype=jnp.float32) + jax.random.uniform(position_key, (DRAWS,))) / DRAWS
        return jax.random.randint(baseline_key, (DRAWS,), 0, patterns), along

    return jax.vmap(draw)(index)


@functools.partial(jax.jit, static_argnums=1)
def _draw_noise(index: Int[Array, " B"], length: int) -> Float[Array, "B R L"]:
    """Noise for each pattern, in pairs of opposite sign: odd terms of the gradient's change drop out."""

    def draw(number: Array) -> Array:
        half = jax.random.normal(jax.random.fold_in(jax.random.key(0x57), number), (DRAWS // 2, length))
        return jnp.concatenate([half, -half])

    return jax.vmap(draw)(index)


def occlusion_maps(
    static: StaticArgs, variables: dict[str, Any], x: Float[Array, "B L"], mean: Float[Array, " L"],
    classes: dict[str, Array],
) -> dict[MapKey, Float[Array, "B L"]]:  # fmt: skip
    """Return the loss of what is explained when a window takes its mean value; a channel gets the mean of its windows.

    `classes` are target -> [B] class that the network predicts.
    """
    length = x.shape[1]
    whole = explained_outputs(static, variables, x, classes)
    sums = {target: jnp.zeros_like(x) for target in whole}
    windows_of_channel = np.zeros(length, np.float32)
    for start in range(0, max(length - WINDOW + STRIDE, 1), STRIDE):
        inside = (np.arange(length) >= start) & (np.arange(length) < start + WINDOW)
        windows_of_channel += inside
        without = explained_outputs(static, variables, jnp.where(inside[None, :], mean[None, :], x), classes)
        in_window = inside[None, :].astype(np.float32)
        sums = {t: sums[t] + (whole[t] - without[t])[:, None] * in_window for t in sums}
    return {("occlusion", target): total / windows_of_channel[None, :] for target, total in sums.items()}
