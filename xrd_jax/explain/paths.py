"""Explanations that look at the network in many places: baselines, the lines from them, noise, occluded windows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain import gradients as compiled
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import to_device
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries

PATHS = ("integrated_gradients", "contrast_gradients", "expected_gradients", "smooth_gradient")
COSTLY = (*PATHS, "occlusion")
# Points of the Gauss-Legendre rule along a line; 8 close the sum rule of integrated gradients to a few per cent.
POINTS = 8
DRAWS = 8  # random baselines, and noisy copies
SMOOTH = 0.1  # standard deviation of their noise, in ranges of the pattern
WINDOW, STRIDE = 8, 4  # occluded channels, and channels between windows
OTHER = 0.5  # values of a regression target that differ by more training deviations have another label
MOST = 2048  # reference patterns


class ReferenceStats(NamedTuple):
    """What explanations know of the reference patterns.

    Attributes:
      mean: [L] the mean pattern at the network's input.
      residual: [L] variance about the local mean in time, for data without photon statistics.
      patterns: [n, L] evenly spaced reference patterns at the input.
      labels: target -> [n] their labels; only what is known.
    """

    mean: Float[Array, " L"]
    residual: Float[Array, " L"]
    patterns: Float[Array, "n L"]
    labels: dict[str, Array]


class PathPoint(NamedTuple):
    """A point on a path: the gradient of the targets `names` at `points` counts `weight`."""

    names: tuple[str, ...]
    points: Float[Array, "B L"]
    weight: Float[Array, "B L"]


def known(run: Run, reference: PatternSeries, methods: tuple[str, ...]) -> ReferenceStats:
    """The reference patterns at the network's input.

    Raises:
      UserError: contrast_gradients without labels, or with one label only.
    """
    run._check_axis(reference)
    looked_at = {"contrast_gradients", "expected_gradients"} & set(methods) or not run.config.prepare.centre
    chosen = reference.thinned(MOST) if looked_at else np.zeros(0, int)
    patterns = _at_input(run, reference, chosen) if looked_at else np.zeros((0, run.axis.size), np.float32)
    mean = run.statistics.mean * 0.0 if run.config.prepare.centre else jnp.asarray(patterns.mean(axis=0))
    residual = np.zeros(patterns.shape[1], np.float32)
    if "gradient_noise" in methods and not reference.is_counts:
        residual = residual_variance(run, reference)
    labels = {}
    if "contrast_gradients" in methods:
        for spec in run.specs:
            labels[spec.name] = _labels(spec, reference)[chosen]
            if not other_label(spec, jnp.asarray(labels[spec.name][:1]), jnp.asarray(labels[spec.name])).any():
                raise UserError(
                    f"contrast_gradients: no reference pattern has another {spec.name}; give more patterns or leave "
                    "that method out"
                )
    return ReferenceStats(mean, jnp.asarray(residual), jnp.asarray(patterns), labels)


def _at_input(run: Run, series: PatternSeries, chosen: np.ndarray) -> np.ndarray:
    size, parts = max(min(lazy.BLOCK, len(chosen)), 1), []
    for _, rows in lazy.blocks(series.intensity, size, chosen):
        short = to_device(np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge"))
        parts.append(np.asarray(compiled.inputs(run.config.prepare, False, run.statistics, short)[0])[: len(rows)])
    return np.concatenate(parts)


def residual_variance(run: Run, series: PatternSeries) -> np.ndarray:
    """Noise variance [L] at the network's input from second differences in time, where slow change drops out.

    For independent noise of variance v, x_{t-1} - 2 x_t + x_{t+1} has variance 6 v.
    """
    middle = series.thinned(MOST // 3)
    middle = middle[(middle > 0) & (middle < len(series) - 1)]
    middle = middle[series.session[middle - 1] == series.session[middle + 1]]
    if not middle.size:
        raise UserError("gradient_noise needs counts, or three patterns in a row; leave that method out")
    before, at, after = (_at_input(run, series, middle + shift).astype(np.float64) for shift in (-1, 0, 1))
    return (((before - 2 * at + after) ** 2).mean(axis=0) / 6.0).astype(np.float32)


def _labels(spec: TargetSpec, series: PatternSeries) -> np.ndarray:
    if spec.name not in series.targets:
        raise UserError(f"contrast_gradients needs the labels '{spec.name}' of the patterns; leave that method out")
    values = series.targets[spec.name].values
    return values.astype(np.float32 if spec.kind == "regression" else np.int32)


def other_label(spec: TargetSpec, own: Array, others: Array) -> Bool[Array, "B n"]:
    """Which of `others` [n] have another label than each of `own` [B]."""
    if spec.kind == "regression":
        return jnp.abs(own[:, None] - others[None, :]) > OTHER * spec.deviation
    return own[:, None] != others[None, :]


@functools.partial(jax.jit, static_argnums=0)
def nearest_other(
    spec: TargetSpec, x: Float[Array, "B L"], own: Array, patterns: Float[Array, "n L"], others: Array
) -> Float[Array, "B L"]:
    """For each pattern the nearest (Euclid) of `patterns` with another label; itself where there is none."""
    distance = (patterns**2).sum(axis=1)[None, :] - 2.0 * x @ patterns.T
    allowed = other_label(spec, own, others)
    found = patterns[jnp.where(allowed, distance, jnp.inf).argmin(axis=1)]
    return jnp.where(allowed.any(axis=1, keepdims=True), found, x)


def legs(
    run: Run, series: PatternSeries, known: ReferenceStats, methods: tuple[str, ...], x: Float[Array, "B L"],
    begin: int, count: int,
) -> dict[str, list[PathPoint]]:  # fmt: skip
    """The points that each path method visits for a block, the same for all seeds.

    Random choices belong to the number of the pattern in the series, so that blocks do not matter.
    """
    names, size = tuple(spec.name for spec in run.specs), len(x)
    index = jnp.minimum(begin + jnp.arange(size), begin + count - 1)
    found: dict[str, list[PathPoint]] = {}
    if "integrated_gradients" in methods:
        base = jnp.broadcast_to(known.mean[None, :], x.shape)
        found["integrated_gradients"] = list(_line(names, base, x))
    if "contrast_gradients" in methods:
        found["contrast_gradients"] = []
        for spec in run.specs:
            own = jnp.asarray(_labels(spec, series)[np.asarray(index)])
            base = nearest_other(spec, x, own, known.patterns, jnp.asarray(known.labels[spec.name]))
            found["contrast_gradients"] += _line((spec.name,), base, x)
    if "expected_gradients" in methods:
        chosen, along = _draw_baselines(index, len(known.patterns))
        bases = [known.patterns[chosen[:, i]] for i in range(DRAWS)]
        found["expected_gradients"] = [
            PathPoint(names, base + along[:, i, None] * (x - base), (x - base) / DRAWS) for i, base in enumerate(bases)
        ]
    if "smooth_gradient" in methods:
        spread = SMOOTH * (x.max(axis=1, keepdims=True) - x.min(axis=1, keepdims=True))
        even = jnp.full_like(x, 1.0 / DRAWS)
        noise = _draw_noise(index, x.shape[1])
        found["smooth_gradient"] = [PathPoint(names, x + spread * noise[:, i], even) for i in range(DRAWS)]
    return found


def _line(names: tuple[str, ...], base: Array, x: Array) -> Iterator[PathPoint]:
    """The integral of the gradient along the line from `base` to `x`, times its length, by a Gauss-Legendre rule."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        yield PathPoint(names, base + float(node) * (x - base), float(weight) * (x - base))


@functools.partial(jax.jit, static_argnums=1)
def _draw_baselines(index: Int[Array, " B"], patterns: int) -> tuple[Int[Array, "B draws"], Float[Array, "B draws"]]:
    """Baselines for each pattern, and stratified places on the lines from them."""

    def one(number: Array) -> tuple[Array, Array]:
        which, where = jax.random.split(jax.random.fold_in(jax.random.key(0xE6), number))
        along = (jnp.arange(DRAWS) + jax.random.uniform(where, (DRAWS,))) / DRAWS
        return jax.random.randint(which, (DRAWS,), 0, patterns), along

    return jax.vmap(one)(index)


@functools.partial(jax.jit, static_argnums=1)
def _draw_noise(index: Int[Array, " B"], length: int) -> Float[Array, "B draws L"]:
    """Noise for each pattern, in pairs of opposite sign: odd terms of the gradient's change drop out."""

    def one(number: Array) -> Array:
        half = jax.random.normal(jax.random.fold_in(jax.random.key(0x57), number), (DRAWS // 2, length))
        return jnp.concatenate([half, -half])

    return jax.vmap(one)(index)


def occlusion(
    static: compiled.Static, variables: dict[str, Any], x: Float[Array, "B L"], mean: Float[Array, " L"],
    chosen: dict[str, Array],
) -> dict[tuple[str, str], Float[Array, "B L"]]:  # fmt: skip
    """Loss of what is explained when windows of channels take their mean value; channels get the mean of theirs."""
    length = x.shape[1]
    whole = compiled.scores(static, variables, x, chosen)
    sums = {name: jnp.zeros_like(x) for name in whole}
    cover = np.zeros(length, np.float32)
    for start in range(0, max(length - WINDOW + STRIDE, 1), STRIDE):
        inside = (np.arange(length) >= start) & (np.arange(length) < start + WINDOW)
        cover += inside
        without = compiled.scores(static, variables, jnp.where(inside[None, :], mean[None, :], x), chosen)
        sums = {name: sums[name] + (whole[name] - without[name])[:, None] * inside[None, :] for name in sums}
    return {("occlusion", name): total / cover[None, :] for name, total in sums.items()}
