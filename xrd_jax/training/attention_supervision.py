"""What a network's own maps are taught: the shares of the channels in the information that it draws from a pattern."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from xrd_jax.models import Model, Variables
from xrd_jax.preprocessing.targets import TargetSpec

PATTERNS = 16  # of a batch that are looked at in a step


def fisher_target(
    model: Model,
    specs: tuple[TargetSpec, ...],
    variables: Variables,
    x: Float[Array, "B L"],
    variance: Float[Array, "B L"],
    key: PRNGKeyArray,
) -> dict[str, Float[Array, "B L"]]:
    """(dy/dx)² var(x) per target, each pattern's map with sum 1, without gradient.

    For classes dy is the slope of log p of a class drawn from the prediction, whose mean square is the Fisher
    information of the classes.

    Args:
      variance: of the noise at the network's input.
    """
    fixed = jax.lax.stop_gradient(variables)
    outputs, pull = jax.vjp(lambda inputs: model.apply(fixed, inputs)[0], x)
    maps = {}
    for place, spec in enumerate(specs):
        nothing = jax.tree.map(jnp.zeros_like, outputs)
        if spec.kind == "regression":
            along = jnp.ones_like(outputs[spec.name])
        else:
            logits = outputs[spec.name]
            drawn = jax.random.categorical(jax.random.fold_in(key, place), logits)
            along = jax.nn.one_hot(drawn, logits.shape[1]) - jax.nn.softmax(logits)
        information = pull(nothing | {spec.name: along})[0] ** 2 * variance
        total = information.sum(axis=1, keepdims=True)
        maps[spec.name] = information / jnp.maximum(total, jnp.finfo(total.dtype).tiny)
    return jax.lax.stop_gradient(maps)


def loss(own: dict[str, Float[Array, "B L"]], maps: dict[str, Float[Array, "B L"]]) -> Array:
    """Mean over targets and patterns of the cross-entropy, in nat, of the maps under the logarithms `own`."""
    parts = [-(values * own[name][: len(values)]).sum(axis=1).mean() for name, values in maps.items()]
    return jnp.stack(parts).mean()
