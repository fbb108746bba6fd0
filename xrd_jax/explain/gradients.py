"""Maps of one seed for one block that need one forward pass and its gradients, compiled.

Gradients of all K - 1 logit contrasts come from one forward pass. They serve the gradient, its products with input and
noise, and the methods that need gradients at the attention.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xrd_jax.explain.methods import GRADIENT_METHODS, HIDDEN_LAYER_METHODS, INPUT_ATTENTION, MapKey
from xrd_jax.explain.outputs import StaticArgs, log_odds, shard_over_patterns
from xrd_jax.models import attention_hooks
from xrd_jax.preprocessing.targets import TargetSpec


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def one_pass_maps(
    static: StaticArgs, methods: tuple[str, ...], with_classes: bool, variables: dict[str, Any],
    x: Float[Array, "B L"], centred: Float[Array, "B L"], variance: Float[Array, "B L"],
) -> tuple[dict[MapKey, Array], dict[str, Int[Array, " B"]]]:  # fmt: skip
    """Return maps that need one forward pass and its gradients, and the classes that the network predicts.

    Args:
      methods: of `HIDDEN_LAYER_METHODS` and `GRADIENT_METHODS`.
      with_classes: whether classes are wanted; without them nothing after the attention need be computed.
      centred: `x` less the mean pattern.
      variance: of the noise in `x`.

    Returns:
      ({(method, target): [B, L]}, {target: [B] predicted class; zeros for regression}); hidden layers at their index,
      and '' for the target where the map does not depend on it.
    """

    def local(variables, x, centred, variance):
        if set(methods) & set(GRADIENT_METHODS):
            maps, outputs = _maps_with_gradients(static, methods, variables, x, centred, variance)
        elif methods:
            nothing = attention_hooks.no_perturbation(x, static.config)
            outputs, state = attention_hooks.apply_perturbed(static.model, variables, x, nothing)
            maps = {(method, ""): _attention_map(method, state) for method in methods}
        else:
            maps, outputs = {}, static.model.apply(variables, x)[0]
        # A position of a stack with a stride stands for a block of channels.
        maps = {key: value.repeat(x.shape[1] // value.shape[1], axis=1) for key, value in maps.items()}
        return maps, {spec.name: outputs[spec.name].argmax(axis=1) for spec in static.specs if with_classes}

    return shard_over_patterns(static.mesh, local, variables, x, centred, variance)


@functools.partial(jax.jit, static_argnums=0)
def input_attention_maps(
    static: StaticArgs, variables: dict[str, Any], x: Float[Array, "B L"]
) -> dict[MapKey, Float[Array, "B L"]]:
    """Return the maps that a network with input attention draws itself."""

    def local(variables, x):
        log_maps = static.model.apply(variables, x)[1]["input_attention"]
        return {(INPUT_ATTENTION, name): jnp.exp(log_map) for name, log_map in log_maps.items()}

    return shard_over_patterns(static.mesh, local, variables, x)


def _maps_with_gradients(
    static: StaticArgs, methods: tuple[str, ...], variables: dict[str, Any], x: Array, centred: Array, variance: Array
) -> tuple[dict[MapKey, Array], dict[str, Array]]:
    """The maps of `one_pass_maps`, and the outputs, from one forward pass that gradients are pulled through."""

    def forward(x: Array, perturbation: attention_hooks.Perturbation) -> tuple[dict[str, Array], Any]:
        if set(methods) & set(HIDDEN_LAYER_METHODS):
            return attention_hooks.apply_perturbed(static.model, variables, x, perturbation)
        return static.model.apply(variables, x)[0], None

    nothing = attention_hooks.no_perturbation(x, static.config)
    primal_and_pull: Any = jax.vjp(forward, x, nothing, has_aux=True)
    outputs, pull, state = primal_and_pull
    maps = {(method, ""): _attention_map(method, state) for method in methods if method not in GRADIENT_METHODS}
    for spec in static.specs:
        gradients = _output_gradients(outputs, pull, spec)
        for method in methods:
            if method in GRADIENT_METHODS:
                values = _gradient_map(method, spec, outputs[spec.name], gradients, state, centred, variance)
                maps[method, spec.name] = values.astype(jnp.float32)
    return maps, outputs


class Gradients(NamedTuple):
    """Gradients of the value of a regression target (K = 1), or of the K logits of classes less those of the first.

    Only differences of logits matter, so the first class's may be zero, and costs no pass.
    """

    x: Float[Array, "K B L"]  # at the input
    key: Float[Array, "K B L D"]  # at both ends of the attention
    combined: Float[Array, "K B L D"]


def _output_gradients(outputs: dict[str, Array], pull: Callable[..., Any], spec: TargetSpec) -> Gradients:
    zeros, output = jax.tree.map(jnp.zeros_like, outputs), outputs[spec.name]
    if spec.kind == "regression":
        directions = [jax.grad(lambda output: spec.standardised(output).sum())(output)]
    else:
        unit_vectors = jnp.eye(spec.size, dtype=output.dtype)
        directions = [jnp.broadcast_to((unit - unit_vectors[0])[None, :], output.shape) for unit in unit_vectors[1:]]
    pulled = (pull(zeros | {spec.name: direction}) for direction in directions)
    rows = [Gradients(at_input, *at_attention) for at_input, at_attention in pulled]
    if spec.kind == "classification":
        rows.insert(0, jax.tree.map(jnp.zeros_like, rows[0]))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)


def _explained_gradient(spec: TargetSpec, output: Float[Array, "B K"], per_output: Float[Array, "K B *rest"]) -> Array:
    """The gradient of `explained_output` from those of the outputs: linear in them."""
    if spec.kind == "regression":
        return per_output[0]
    classes = output.argmax(axis=1)
    weights = jax.grad(lambda logits: log_odds(logits, classes).sum())(output)
    return jnp.einsum("bk,kb...->b...", weights, per_output)


def _gradient_map(
    method: str, spec: TargetSpec, output: Array, gradients: Gradients, state: Any, centred: Array, variance: Array
) -> Float[Array, "B L"]:
    """One map from gradients; `state` of the attention is None where no method of hidden layers is wanted.

    gradient_noise is the diagonal of the Fisher information that an efficient reading of the noisy input would use:
    (dy/dx)² var(x) and, for classes, Σ_k p_k (d log p_k/dx)² var(x), which asks for no label.
    """
    if method == "gradient_noise":
        return _fisher_diagonal(spec, output, gradients.x) * variance
    if method == "grad_cam":  # Selvaraju et al., arXiv:1610.02391: channels weighed by their mean gradient
        slope = _explained_gradient(spec, output, gradients.key)
        return jax.nn.relu(jnp.einsum("bd,bld->bl", slope.mean(axis=1), state.key))
    if method == "attention_gradient":  # Chefer et al., arXiv:2103.15679, eq. 5, summed over queries
        slope = _explained_gradient(spec, output, gradients.combined)
        response = jnp.einsum("bqd,bkd->bqk", slope, state.value.astype(slope.dtype))
        return (state.attention * jax.nn.relu(response)).sum(axis=1)
    slope = _explained_gradient(spec, output, gradients.x)
    return slope * centred if method == "gradient_input" else slope


def _fisher_diagonal(
    spec: TargetSpec, output: Float[Array, "B K"], slope: Float[Array, "K B L"]
) -> Float[Array, "B L"]:
    if spec.kind == "regression":
        return slope[0] ** 2
    p = jax.nn.softmax(output, axis=1)
    mean = jnp.einsum("bk,kbl->bl", p, slope)
    return jnp.einsum("bk,kbl->bl", p, (slope - mean[None]) ** 2)


def _attention_map(method: str, state: attention_hooks.AttentionState) -> Float[Array, "B L"]:
    """One map of the attention alone: at query index for VAW, at key index for the others."""
    if method == "vaw":
        low, high = state.max_over_keys.min(axis=1, keepdims=True), state.max_over_keys.max(axis=1, keepdims=True)
        return (state.max_over_keys - low) / jnp.where(high > low, high - low, 1.0)
    received = state.attention.mean(axis=1)
    if method == "attention_received":
        return received
    return received * jnp.linalg.norm(state.value.astype(jnp.float32), axis=-1)  # Kobayashi et al., arXiv:2004.10102
