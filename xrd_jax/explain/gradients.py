"""Compiled parts of explanations: maps of one seed for one block, slopes along paths, noise at the network's input.

What is explained. A regression target: its scalar output, in training deviations. A class target: the log-odds of the
class that the network predicts, z_c - log Σ_{j≠c} exp z_j, which is the logit margin for two classes. A logit alone
may move with all others and change nothing; log p saturates at confident patterns, its log-odds do not.

Gradients of all K - 1 logit contrasts come from one forward pass. They serve the gradient, its products with input and
noise, and the methods that need gradients at the attention.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int

from xrd_jax.config.schema import ModelConfig, PrepareConfig
from xrd_jax.models import Model, attention_hooks
from xrd_jax.preprocessing import noise
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, transform
from xrd_jax.training import sharding

ATTENTION = ("vaw", "attention_received", "attention_norm", "attention_gradient")
OWN = "own_attention"
HIDDEN = (*ATTENTION, "grad_cam")
GRADIENT = ("attention_gradient", "gradient", "gradient_noise", "gradient_input", "grad_cam")
Maps = dict[tuple[str, str], Array]


class Static(NamedTuple):
    """What programs are compiled for.

    Attributes:
      mesh: devices that share the patterns of a block; None for the default device alone.
    """

    model: Model
    config: ModelConfig
    specs: tuple[TargetSpec, ...]
    mesh: Mesh | None


def over_rows(mesh: Mesh | None, function: Callable[..., Any], fixed: Any, *rows: Any) -> Any:
    """function(fixed, *rows) with every device taking its patterns of `rows`; all results lead with the batch axis."""
    if mesh is None:
        return function(fixed, *rows)
    into, out = (P(), *(P(sharding.BATCH) for _ in rows)), P(sharding.BATCH)
    return jax.shard_map(function, mesh=mesh, in_specs=into, out_specs=out, check_vma=False)(fixed, *rows)


def log_odds(logits: Float[Array, "B K"], chosen: Int[Array, " B"]) -> Float[Array, " B"]:
    """log p_c / (1 - p_c) of the chosen class c: its logit less the log-sum-exp of the others."""
    own = chosen[:, None] == jnp.arange(logits.shape[1])[None, :]
    others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), axis=1)
    return jnp.where(own, logits, 0.0).sum(axis=1) - others


def score(spec: TargetSpec, output: Float[Array, "B K"], chosen: Int[Array, " B"]) -> Float[Array, " B"]:
    """The number that is explained: a regression output, or the log-odds of the class `chosen`."""
    return output[:, 0] if spec.kind == "regression" else log_odds(output, chosen)


@functools.partial(jax.jit, static_argnums=0)
def scores(
    static: Static, variables: dict[str, Any], x: Float[Array, "B L"], chosen: dict[str, Array]
) -> dict[str, Float[Array, " B"]]:
    """The number that is explained, for every target, of one seed."""

    def local(variables, x, chosen):
        outputs, _ = static.model.apply(variables, x)
        return {spec.name: score(spec, outputs[spec.name], chosen[spec.name]) for spec in static.specs}

    return over_rows(static.mesh, local, variables, x, chosen)


@functools.partial(jax.jit, static_argnums=(0, 1))
def slopes(
    static: Static, names: tuple[str, ...], variables: dict[str, Any], x: Array, weight: Array, chosen: dict[str, Array]
) -> dict[str, Float[Array, "B L"]]:
    """`weight` times the gradient of what is explained at `x`, for the targets `names`, of one seed."""

    def local(variables, x, weight, chosen):
        def explained(x):
            outputs, _ = static.model.apply(variables, x)
            return {s.name: score(s, outputs[s.name], chosen[s.name]).sum() for s in static.specs if s.name in names}

        _, pull = jax.vjp(explained, x)
        return {name: weight * pull({other: jnp.float32(other == name) for other in names})[0] for name in names}

    return over_rows(static.mesh, local, variables, x, weight, chosen)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def direct(
    static: Static, methods: tuple[str, ...], classes: bool, variables: dict[str, Any], x: Float[Array, "B L"],
    centred: Float[Array, "B L"], variance: Float[Array, "B L"],
) -> tuple[Maps, dict[str, Int[Array, " B"]]]:  # fmt: skip
    """Maps of one seed that need one forward pass and its gradients, and the classes that it predicts.

    Args:
      methods: of `HIDDEN` and `GRADIENT`.
      classes: whether the predicted classes are wanted; without them nothing after the attention need be computed.
      centred: `x` less the mean pattern.
      variance: of the noise in `x`.

    Returns:
      ({(method, target): [B, L]}, {target: [B] predicted class; zeros for regression}); hidden layers at their index,
      and '' for the target where the map does not depend on it.
    """

    def local(variables, x, centred, variance):
        if set(methods) & set(GRADIENT):
            maps, outputs = _with_gradients(static, methods, variables, x, centred, variance)
        elif methods:
            outputs, inside = attention_hooks.apply(
                static.model, variables, x, attention_hooks.none(x, static.config.width)
            )
            maps = {(method, ""): _of_attention(method, inside) for method in methods}
        else:
            maps, outputs = {}, static.model.apply(variables, x)[0]
        return maps, {spec.name: outputs[spec.name].argmax(axis=1) for spec in static.specs if classes}

    return over_rows(static.mesh, local, variables, x, centred, variance)


def _with_gradients(
    static: Static, methods: tuple[str, ...], variables: dict[str, Any], x: Array, centred: Array, variance: Array
) -> tuple[Maps, dict[str, Array]]:
    """The maps of `direct`, and the outputs, from one forward pass that gradients are pulled through."""

    def opened(
        x: Array, nudges: attention_hooks.Perturbation
    ) -> tuple[dict[str, Array], attention_hooks.AttentionState | None]:
        if set(methods) & set(HIDDEN):
            return attention_hooks.apply(static.model, variables, x, nudges)
        return static.model.apply(variables, x)[0], None

    nudges = attention_hooks.none(x, static.config.width)
    both: Any = jax.vjp(opened, x, nudges, has_aux=True)
    outputs, pull, inside = both
    maps = {(method, ""): _of_attention(method, inside) for method in methods if method not in GRADIENT}
    for spec in static.specs:
        gradients = _contrasts(outputs, pull, spec)
        for method in methods:
            if method in GRADIENT:
                made = _of_gradient(method, spec, outputs[spec.name], gradients, inside, centred, variance)
                maps[method, spec.name] = made.astype(jnp.float32)
    return maps, outputs


class Gradients(NamedTuple):
    """Gradients of the K outputs of a target, less those of the first for classes.

    Only differences of logits matter, so the first class's may be zero, and costs no pass.
    """

    x: Float[Array, "K B L"]
    key: Float[Array, "K B L D"]
    combined: Float[Array, "K B L D"]


def _contrasts(outputs: dict[str, Array], pull: Callable[..., Any], spec: TargetSpec) -> Gradients:
    blank, own = jax.tree.map(jnp.zeros_like, outputs), outputs[spec.name]
    one, rows = jnp.eye(spec.size, dtype=own.dtype), []
    for k in range(0 if spec.kind == "regression" else 1, spec.size):
        direction = one[k] if spec.kind == "regression" else one[k] - one[0]
        pulled_x, nudges = pull(blank | {spec.name: jnp.broadcast_to(direction[None, :], own.shape)})
        rows.append(Gradients(pulled_x, *nudges))
    if spec.kind == "classification":
        rows.insert(0, jax.tree.map(jnp.zeros_like, rows[0]))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def _of_explained(spec: TargetSpec, output: Float[Array, "B K"], per_output: Float[Array, "K B *rest"]) -> Array:
    """The gradient of `score` from those of the outputs: linear in them."""
    if spec.kind == "regression":
        return per_output[0]
    chosen = output.argmax(axis=1)
    weights = jax.grad(lambda z: log_odds(z, chosen).sum())(output)
    return jnp.einsum("bk,kb...->b...", weights, per_output)


def _of_gradient(
    method: str, spec: TargetSpec, output: Array, gradients: Gradients, inside: attention_hooks.AttentionState,
    centred: Array, variance: Array,
) -> Float[Array, "B L"]:  # fmt: skip
    """One map from gradients.

    gradient_noise is the diagonal of the Fisher information that an efficient reading of the noisy input would use:
    (dy/dx)² var(x) and, for classes, Σ_k p_k (d log p_k/dx)² var(x), which asks for no label.
    """
    if method == "gradient_noise":
        return _fisher(spec, output, gradients.x) * variance
    if method == "grad_cam":  # Selvaraju et al., arXiv:1610.02391: channels weighed by their mean gradient
        slope = _of_explained(spec, output, gradients.key)
        return jax.nn.relu(jnp.einsum("bd,bld->bl", slope.mean(axis=1), inside.key))
    if method == "attention_gradient":  # Chefer et al., arXiv:2103.15679, eq. 5, summed over queries
        slope = _of_explained(spec, output, gradients.combined)
        response = jnp.einsum("bqd,bkd->bqk", slope, inside.value.astype(slope.dtype))
        return (inside.attention * jax.nn.relu(response)).sum(axis=1)
    slope = _of_explained(spec, output, gradients.x)
    return slope * centred if method == "gradient_input" else slope


def _fisher(spec: TargetSpec, output: Float[Array, "B K"], slope: Float[Array, "K B L"]) -> Float[Array, "B L"]:
    if spec.kind == "regression":
        return slope[0] ** 2
    p = jax.nn.softmax(output, axis=1)
    mean = jnp.einsum("bk,kbl->bl", p, slope)
    return jnp.einsum("bk,kbl->bl", p, (slope - mean[None]) ** 2)


def _of_attention(method: str, inside: attention_hooks.AttentionState) -> Float[Array, "B L"]:
    """One map of the attention alone: at query index for VAW, at key index for the others."""
    if method == "vaw":
        low, high = inside.peak.min(axis=1, keepdims=True), inside.peak.max(axis=1, keepdims=True)
        return (inside.peak - low) / jnp.where(high > low, high - low, 1.0)
    received = inside.attention.mean(axis=1)
    if method == "attention_received":
        return received
    return received * jnp.linalg.norm(inside.value.astype(jnp.float32), axis=-1)  # Kobayashi et al., arXiv:2004.10102


@functools.partial(jax.jit, static_argnums=(0, 1))
def inputs(
    prepare: PrepareConfig, counts: bool, statistics: Statistics, intensity: Float[Array, "B N"]
) -> tuple[Float[Array, "B L"], Float[Array, "B L"], Float[Array, "B L"]]:
    """Network inputs, the variance of their photon noise (zeros unless `counts`), and resized intensities."""
    intensity = intensity.astype(jnp.float32)
    x = transform(statistics, prepare, intensity)
    variance = noise.variance(statistics, prepare, intensity) if counts else jnp.zeros_like(x)
    return x, variance, intensity @ statistics.matrix


@functools.partial(jax.jit, static_argnums=0)
def own(static: Static, variables: dict[str, Any], x: Float[Array, "B L"]) -> Maps:
    """The maps that a network with faithful attention draws itself, of one seed."""

    def local(variables, x):
        return {
            (OWN, name): jnp.exp(log) for name, log in static.model.apply(variables, x)[1]["input_attention"].items()
        }

    return over_rows(static.mesh, local, variables, x)
