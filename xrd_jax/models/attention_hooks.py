"""A network opened at its attention, for explanations: what goes in there, and how outputs respond to it."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.errors import UserError
from xrd_jax.models import Model
from xrd_jax.models.attention import Attention


class Perturbation(NamedTuple):
    """What is added at the attention; zeros by whose gradient one learns how outputs depend on its two ends.

    Attributes:
      key: to the key layer's features, which are key and value at once.
      combined: to the attention's output, before anything is done to it.
    """

    key: Float[Array, "B L D"]
    combined: Float[Array, "B L D"]


class AttentionState(NamedTuple):
    """What the attention works with.

    Attributes:
      attention: the weights, the mean over heads.
      peak: their maximum over keys.
      key: the key layer's features.
      value: what the weights combine, all heads side by side; `key` without projections.
    """

    attention: Float[Array, "B L L"]
    peak: Float[Array, "B L"]
    key: Float[Array, "B L D"]
    value: Float[Array, "B L D"]


def none(x: Float[Array, "B L"], width: int) -> Perturbation:
    """Nudges that change nothing for patterns `x` and layers of `width` channels."""
    zeros = jnp.zeros((*x.shape, width), jnp.float32)
    return Perturbation(zeros, zeros)


def apply(
    model: Model, variables: dict[str, Any], x: Float[Array, "B L"], nudges: Perturbation
) -> tuple[dict[str, Array], AttentionState]:
    """The outputs of `model.apply` with the attention nudged, and what the attention works with."""
    found: list[AttentionState] = []

    def intercept(proceed, args, kwargs, context):
        if not isinstance(context.module, Attention) or context.method_name != "__call__":
            return proceed(*args, **kwargs)
        query, key = args
        key = key + nudges.key.astype(key.dtype)
        combined, attention, peak = proceed(query, key)
        projection = context.module.variables.get("params", {}).get("value")
        value = key if projection is None else key @ projection["kernel"].astype(key.dtype)
        found.append(AttentionState(attention, peak, key, value))
        return combined + nudges.combined.astype(combined.dtype), attention, peak

    with nn.intercept_methods(intercept):
        outputs, _ = model.apply(variables, x)
    if len(found) != 1:
        raise UserError("this network has no attention between two layers to look into; use methods of its input")
    return outputs, found[0]
