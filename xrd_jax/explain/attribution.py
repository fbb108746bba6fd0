"""Explanations of a run: which input channels its outputs rest on, by many methods, with controls, in one pass.

Methods of hidden layers (`vaw`, `attention_received`, `attention_norm`, `attention_gradient`, `grad_cam`) are
registered to input channels; all others live there. What is explained is said in `attribution_maps`.

  vaw                   largest weight that each query gives, each pattern 0…1
  attention_received    mean weight that each key gets
  attention_norm        that weight times the length of the value (Kobayashi et al. 2020)
  attention_gradient    weights times their positive gradient, summed over queries (Chefer et al. 2021)
  gradient              dy/dx
  gradient_noise        (dy/dx)² var(x), the Fisher information that the network draws from noisy channels
  ensemble_noise        (dy_i/dx) (dy_j/dx) var(x), mean over all pairs of seeds, 0 where negative: the information that
                        networks agree on; what each does by chance drops out
  gradient_input        (dy/dx) (x - mean)
  integrated_gradients  along the line from the mean pattern (Sundararajan et al. 2017)
  contrast_gradients    along the line from the nearest pattern of another label
  expected_gradients    along lines from random patterns (Erion et al. 2021)
  smooth_gradient       mean gradient around the pattern (Smilkov et al. 2017)
  grad_cam              features of the key layer weighed by their mean gradient (Selvaraju et al. 2017)
  occlusion             change of the output when 8 channels become their mean

Controls know no trained network: `random` (one draw per channel and seed), `intensity`, `variance`, and any method on
the run that `untrained` gives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from xrd_jax.analysis import blocks as analysis_blocks
from xrd_jax.analysis import vaw
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain import gradients as compiled
from xrd_jax.explain import paths
from xrd_jax.preprocessing.transform import to_device
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import sharding, step

METHODS: tuple[str, ...] = (
    "vaw", "attention_received", "attention_norm", "attention_gradient", "gradient", "gradient_noise",
    "ensemble_noise", "gradient_input", "integrated_gradients", "contrast_gradients", "expected_gradients",
    "smooth_gradient", "grad_cam", "occlusion",
)  # fmt: skip
CONTROLS: tuple[str, ...] = ("random", "intensity", "variance")
OWN = compiled.OWN  # of networks with faithful attention: the map that is taught to show what they draw on
HIDDEN = compiled.HIDDEN
ENSEMBLE = "ensemble_noise"
# Methods that cost tens of passes through the network: `collect` takes them on some patterns only.
COSTLY = paths.COSTLY


class AttributionBlock(NamedTuple):
    """Maps of consecutive patterns; signed where the method is.

    Attributes:
      begin: index of the first pattern in the series.
      maps: (method, target) -> [S, b, L] at input channels, 0 where a hidden layer has no feature; what does not
        depend on the target is the same array for each. Of `ENSEMBLE` it is dy/dx √var(x), from which
        `ensemble.shared` makes the map when the blocks are summed up.
      raw: the same for methods of hidden layers, at their own index.
    """

    begin: int
    maps: dict[tuple[str, str], np.ndarray]
    raw: dict[tuple[str, str], np.ndarray]


def available(run: Run) -> tuple[str, ...]:
    """The methods that the network of `run` allows: without attention, none of its maps; `OWN` if it has such maps."""
    kind = run.config.model.attention
    methods = tuple(name for name in METHODS if not (kind == "off" and name in compiled.ATTENTION))
    return (OWN, *methods) if kind == "faithful" else methods


def untrained(run: Run) -> Run:
    """The same networks before their first step: a map that they share owes nothing to what was learnt."""
    keys = [jax.random.fold_in(jax.random.key(seed), step.INIT) for seed in run.config.seed_list()]
    begun = [run.model.init(key) for key in keys]
    return dataclasses.replace(run, variables=jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun))


def offset_of_method(run: Run, method: str) -> float:
    """Input channels by which the raw map of a method lies too far left: half a channel per layer for even kernels."""
    config = run.config.model
    layer = {"vaw": config.query_layer}.get(method, config.key_layer) if method in HIDDEN else 0
    return layer * ((config.kernel - 1) % 2) / 2


def stream(
    run: Run, series: PatternSeries, methods: Sequence[str] = METHODS, reference: PatternSeries | None = None,
    chunk: int | None = None,
) -> Iterator[AttributionBlock]:  # fmt: skip
    """Maps of any number of patterns in memory that does not grow, block by block, by every seed, for every target.

    Args:
      methods: of `METHODS` and `CONTROLS`.
      reference: patterns that baselines, their labels and residual noise are taken from; `series` by default.
      chunk: patterns per block.

    Raises:
      UserError: an unknown method, one that needs attention where there is none, another axis than the training data,
        or no labels for contrast_gradients.
    """
    methods = checked_methods(run, methods)
    run._check_axis(series)
    most = analysis_blocks.CHUNK.get(jax.default_backend(), analysis_blocks.CHUNK["gpu"]) * jax.local_device_count()
    size = min(chunk or most, max(len(series), 1))
    known = paths.known(run, series if reference is None else reference, methods)
    mesh = sharding.rows(size)
    static = compiled.Static(run.model, run.config.model, run.specs, mesh)
    seeds = [
        sharding.device_put(jax.tree.map(lambda leaf, at=at: leaf[at], run.variables), mesh, P())
        for at in range(run.config.seeds)
    ]
    statistics = sharding.device_put(run.statistics, mesh, P())
    for begin, rows in lazy.blocks(series.intensity, size):
        short = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")
        put = sharding.device_put(to_device(short), mesh, P(sharding.BATCH))
        x, variance, level = compiled.inputs(run.config.prepare, series.is_counts, statistics, put)
        centred = x - known.mean[None, :]
        if not series.is_counts:
            variance = jnp.broadcast_to(known.residual[None, :], x.shape)
        legs = paths.legs(run, series, known, methods, x, begin, len(rows))
        own = [_by_seed(static, methods, one, x, centred, variance, legs, known) for one in seeds]
        maps = {key: np.stack([one[key][: len(rows)] for one in own]) for key in own[0]}
        maps |= _controls(run, methods, np.asarray(level)[: len(rows)], np.asarray(centred)[: len(rows)])
        if ENSEMBLE in methods:
            noise = np.sqrt(np.asarray(variance)[None, : len(rows)])
            maps |= {(ENSEMBLE, spec.name): maps["gradient", spec.name] * noise for spec in run.specs}
            maps = {key: values for key, values in maps.items() if key[0] in methods}
        yield _registered(run, begin, maps)


def checked_methods(run: Run, methods: Sequence[str]) -> tuple[str, ...]:
    """`methods` in the order of `METHODS` and `CONTROLS`, each once."""
    known = (OWN, *METHODS, *CONTROLS)
    for name in methods:
        if name not in known:
            raise UserError(f"method '{name}' is not known; use some of {', '.join(known)}")
    refused = [name for name in methods if name not in (*available(run), *CONTROLS)]
    if refused:
        kind = run.config.model.attention
        raise UserError(
            f"{', '.join(refused)}: this network has none (model.attention={kind}); use {', '.join(available(run))}"
        )
    return tuple(name for name in known if name in methods)


def _by_seed(
    static: compiled.Static, methods: tuple[str, ...], variables: dict[str, Any], x: jax.Array, centred: jax.Array,
    variance: jax.Array, legs: Mapping[str, Sequence[paths.PathPoint]], known: paths.ReferenceStats,
) -> dict[tuple[str, str], np.ndarray]:  # fmt: skip
    """All maps of one seed for one block; a loop in Python because a backward convolution inside one of XLA is slow."""
    wanted = {*methods, "gradient"} if ENSEMBLE in methods else {*methods}
    direct = tuple(m for m in METHODS if m in wanted and m in (*compiled.HIDDEN, *compiled.GRADIENT))
    further = bool(legs) or "occlusion" in methods
    own = compiled.own(static, variables, x) if OWN in methods else {}
    if not direct and not further:
        return jax.device_get(own)
    maps, chosen = compiled.direct(static, direct, further, variables, x, centred, variance)
    maps = dict(maps) | own
    for method, parts in legs.items():
        for leg in parts:
            for name, part in compiled.slopes(static, leg.names, variables, leg.points, leg.weight, chosen).items():
                maps[method, name] = maps[method, name] + part if (method, name) in maps else part
    if "occlusion" in methods:
        maps |= paths.occlusion(static, variables, x, known.mean, chosen)
    return jax.device_get(maps)


def _controls(
    run: Run, methods: tuple[str, ...], level: np.ndarray, centred: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """Maps without a network; '' for the target, because they know none."""
    shape, maps = (run.config.seeds, *centred.shape), {}
    if "random" in methods:
        draws = [np.random.default_rng([seed, 0xA77]).random(centred.shape[1]) for seed in run.config.seed_list()]
        maps["random", ""] = np.broadcast_to(np.stack(draws)[:, None, :].astype(np.float32), shape)
    if "intensity" in methods:
        maps["intensity", ""] = np.broadcast_to(level - level.min(axis=1, keepdims=True), shape)
    if "variance" in methods:
        maps["variance", ""] = np.broadcast_to(centred**2, shape)
    return maps


def _registered(run: Run, begin: int, found: dict[tuple[str, str], np.ndarray]) -> AttributionBlock:
    maps, raw = {}, {}
    for (method, target), values in found.items():
        names = [target] if target else [spec.name for spec in run.specs]
        placed = (
            np.nan_to_num(vaw.register(values, offset_of_method(run, method))).astype(np.float32)
            if method in HIDDEN
            else values
        )
        for name in names:
            maps[method, name] = placed
            if method in HIDDEN:
                raw[method, name] = values
    return AttributionBlock(begin, maps, raw)
