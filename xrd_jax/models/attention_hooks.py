"""A network opened at its attention, for explanations: what goes in there, and how outputs respond to it."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import ModelConfig
from xrd_jax.errors import UserError
from xrd_jax.models import Model, Variables
from xrd_jax.models.attention import Attention


class Perturbation(NamedTuple):
    """What is added at the attention; the gradient at zero tells how outputs depend on its two ends.

    Attributes:
      key: added to the key layer's features, which are key and value at once.
      combined: added to the attention's output, before anything is done to it.
    """

    key: Float[Array, "B L D"]
    combined: Float[Array, "B L D"]


class AttentionState(NamedTuple):
    """What the attention works with.

    Attributes:
      attention: the weights, the mean over heads.
      max_over_keys: their maximum over keys.
      key: the key layer's features.
      value: what the weights combine, all heads side by side; `key` without projections.
    """

    attention: Float[Array, "B L L"]
    max_over_keys: Float[Array, "B L"]
    key: Float[Array, "B L D"]
    value: Float[Array, "B L D"]


def no_perturbation(x: Float[Array, "B L"], config: ModelConfig) -> Perturbation:
    """Return zeros for patterns `x`."""
    zeros = jnp.zeros((len(x), x.shape[1] // config.stride, config.width), jnp.float32)
    return Perturbation(zeros, zeros)


def apply_perturbed(
    model: Model, variables: Variables, x: Float[Array, "B L"], perturbation: Perturbation
) -> tuple[dict[str, Array], AttentionState]:
    """Return the outputs of `model.apply` with the attention perturbed, and what the attention works with.

    Raises:
      UserError: the network has no attention between two layers.
    """
    states: list[AttentionState] = []

    def intercept(proceed: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if not isinstance(context.module, Attention) or context.method_name != "__call__":
            return proceed(*args, **kwargs)
        query, key = args
        key = key + perturbation.key.astype(key.dtype)
        combined, attention, max_over_keys = proceed(query, key)
        projection = context.module.variables.get("params", {}).get("value")
        value = key if projection is None else key @ projection["kernel"].astype(key.dtype)
        states.append(AttentionState(attention, max_over_keys, key, value))
        return combined + perturbation.combined.astype(combined.dtype), attention, max_over_keys

    with nn.intercept_methods(intercept):
        outputs, _ = model.apply(variables, x)
    if len(states) != 1:
        raise UserError("this network has no attention between two layers to look into; use methods of its input")
    return outputs, states[0]
