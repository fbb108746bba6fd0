"""Explanations of a run by many methods, with controls: maps of every seed for every target, block by block."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrd_jax.analysis import vaw
from xrd_jax.analysis.blocks import PatternBlock, over_patterns
from xrd_jax.analysis.run import Run
from xrd_jax.explain import gradients, methods, paths
from xrd_jax.explain.methods import ENSEMBLE, INPUT_ATTENTION, MapKey
from xrd_jax.explain.outputs import StaticArgs, network_inputs, weighted_gradients
from xrd_jax.models import layer_offset
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import step


class AttributionBlock(NamedTuple):
    """Maps (method, target) -> [S, B, L] of consecutive patterns; signed where the method is.

    What does not depend on the target is the same array for each. The map of `ENSEMBLE` is dy/dx √var(x), from which
    `ensemble.shared_between_seeds` makes the map when the blocks are summed up.
    """

    begin: int  # index of the first pattern in the series
    maps: dict[MapKey, np.ndarray]  # at input channels, 0 where a hidden layer has no feature
    raw: dict[MapKey, np.ndarray]  # of methods of hidden layers, at their own index


class _BlockInputs(NamedTuple):
    """What all seeds share of one block."""

    static: StaticArgs
    x: Float[Array, "B L"]
    centred: Float[Array, "B L"]  # less the mean pattern
    variance: Float[Array, "B L"]  # of the noise
    path_points: Mapping[str, Sequence[paths.PathPoint]]
    mean: Float[Array, " L"]


def untrained(run: Run) -> Run:
    """Return the same networks before their first step: a map that they share owes nothing to what was learnt.

    Where the likelihood of the training patterns is weighed in, every template gets the mean of all labels.
    """
    keys = jnp.stack([jax.random.fold_in(jax.random.key(seed), step.INIT) for seed in run.config.seed_list()])
    initialise = jax.jit(jax.vmap(run.model.init))
    templates = run.variables.get("batch_stats", {}).get("likelihood")
    if templates is None:
        return dataclasses.replace(run, variables=initialise(keys))
    blank = {
        name: jnp.broadcast_to(values.mean(axis=1, keepdims=True), values.shape) if "labels" in name else values
        for name, values in templates.items()
    }
    return dataclasses.replace(run, variables=initialise(keys, blank))


def offset_of_method(run: Run, method: str) -> float:
    """Return how many channels too far left a raw map lies: half a channel per layer, for even kernels."""
    config = run.config.model
    if method not in methods.HIDDEN_LAYER_METHODS:
        return 0.0
    return layer_offset(config, config.query_layer if method == "vaw" else config.key_layer)


def stream(
    run: Run, series: PatternSeries, names: Sequence[str], reference: PatternSeries | None = None,
    chunk: int | None = None, noise: PatternSeries | None = None,
) -> Iterator[AttributionBlock]:  # fmt: skip
    """Yield maps of any number of patterns, in memory that does not grow.

    Args:
      names: of methods and controls.
      reference: patterns that baselines and their labels are taken from; `series` by default.
      chunk: patterns per block.
      noise: patterns that residual noise is taken from; `reference` by default.

    Raises:
      UserError: an unknown method, one that needs attention where there is none, another axis than the training data,
        no labels for contrast_gradients, or noise that is not known.
    """
    names = methods.checked_methods(run, names)
    run.check_axis(series)
    stats = paths.reference_stats(run, series if reference is None else reference, names, noise)

    def function(block: PatternBlock, constants: Any) -> dict[MapKey, np.ndarray]:
        networks, statistics = constants
        static = StaticArgs(run.model, run.config.model, run.specs, block.mesh)
        x, variance, level = network_inputs(run.config.prepare, series.is_counts, statistics, block.intensity)
        if not series.is_counts:
            variance = jnp.broadcast_to(stats.residual[None, :], x.shape)
        points = paths.path_points(run, series, stats, names, x, block.begin, block.count)
        inputs = _BlockInputs(static, x, x - stats.mean[None, :], variance, points, stats.mean)
        per_seed = [_seed_maps(inputs, names, variables) for variables in networks]
        maps = {key: np.stack([seed_maps[key] for seed_maps in per_seed]) for key in per_seed[0]}
        maps |= _control_maps(run, names, np.asarray(level), np.asarray(inputs.centred))
        if ENSEMBLE in names:
            noise = np.sqrt(np.asarray(variance)[None])
            maps |= {(ENSEMBLE, spec.name): maps["gradient", spec.name] * noise for spec in run.specs}
            maps = {key: values for key, values in maps.items() if key[0] in names}
        return maps

    networks = [run.of_seed(index) for index in range(run.config.seeds)]
    constants = networks, run.statistics
    for rows, maps in over_patterns(series.intensity, function, constants, chunk, pattern_axis=1):
        yield _registered(run, rows.start, maps)


def _seed_maps(inputs: _BlockInputs, names: tuple[str, ...], variables: dict[str, Any]) -> dict[MapKey, np.ndarray]:
    """All maps of one seed for one block; a loop in Python because a backward convolution inside one of XLA is slow."""
    static, x = inputs.static, inputs.x
    wanted = {*names, "gradient"} if ENSEMBLE in names else {*names}
    one_pass = tuple(m for m in methods.METHODS if m in wanted and m in methods.ONE_PASS_METHODS)
    needs_classes = bool(inputs.path_points) or "occlusion" in names
    maps = dict(gradients.input_attention_maps(static, variables, x)) if INPUT_ATTENTION in names else {}
    if not one_pass and not needs_classes:
        return jax.device_get(maps)
    constants = (variables, x, inputs.centred, inputs.variance)
    one_pass_maps, classes = gradients.one_pass_maps(static, one_pass, needs_classes, *constants)
    maps = dict(one_pass_maps) | maps
    for method, points in inputs.path_points.items():
        for point in points:
            parts = weighted_gradients(static, point.targets, variables, point.x, point.weight, classes)
            for target, part in parts.items():
                maps[method, target] = maps[method, target] + part if (method, target) in maps else part
    if "occlusion" in names:
        maps |= paths.occlusion_maps(static, variables, x, inputs.mean, classes)
    return jax.device_get(maps)


def _control_maps(run: Run, names: tuple[str, ...], level: np.ndarray, centred: np.ndarray) -> dict[MapKey, np.ndarray]:
    """Maps without a network; '' for the target, because they know none."""
    shape, maps = (run.config.seeds, *centred.shape), {}
    if "random" in names:
        draws = [np.random.default_rng([seed, 0xA77]).random(centred.shape[1]) for seed in run.config.seed_list()]
        maps["random", ""] = np.broadcast_to(np.stack(draws)[:, None, :].astype(np.float32), shape)
    if "intensity" in names:
        maps["intensity", ""] = np.broadcast_to(level - level.min(axis=1, keepdims=True), shape)
    if "variance" in names:
        maps["variance", ""] = np.broadcast_to(centred**2, shape)
    return maps


def _registered(run: Run, begin: int, maps_by_key: dict[MapKey, np.ndarray]) -> AttributionBlock:
    """Maps at input channels; those of no target stand for every target."""
    maps: dict[MapKey, np.ndarray] = {}
    raw: dict[MapKey, np.ndarray] = {}
    for (method, target), values in maps_by_key.items():
        keys = [(method, name) for name in ([target] if target else [spec.name for spec in run.specs])]
        if method in methods.HIDDEN_LAYER_METHODS:
            raw |= dict.fromkeys(keys, values)
            values = np.nan_to_num(vaw.register(values, offset_of_method(run, method))).astype(np.float32)
        maps |= dict.fromkeys(keys, values)
    return AttributionBlock(begin, maps, raw)
