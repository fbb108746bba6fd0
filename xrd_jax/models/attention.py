"""Attention between two layers of the stack, with the weights in plain sight."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import ModelConfig
from xrd_jax.models import attention_kernel


class Attention(nn.Module):
    """Eq. (1) of the paper: A = softmax over keys of Q Kᵀ, output A V with V = K.

    Row i of A weighs every key for query i and sums to 1. Gives the output, A (the mean over heads) and A's maximum
    over keys.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, query: Float[Array, "B L D"], key: Float[Array, "B L D"]
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B L L"], Float[Array, "B L"]]:
        config, length = self.config, query.shape[1]
        value = key
        if config.attention == "off":
            attention = jnp.broadcast_to(jnp.eye(length)[None], (query.shape[0], length, length))
            return value, attention, attention.max(axis=-1)
        if config.projections:
            query, key, value = (
                nn.Dense(config.width, use_bias=False, name=name)(x)
                for name, x in (("query", query), ("key", key), ("value", value))
            )
        if config.attention == "uniform":
            attention = jnp.full((query.shape[0], length, length), 1.0 / length)
            combined = jnp.broadcast_to(value.mean(axis=1, keepdims=True), value.shape)
            return combined, attention, attention.max(axis=-1)
        split = (*query.shape[:2], config.heads, -1)
        query = query * self._factor(config.width // config.heads)
        query, key, value = (_heads_first(x.reshape(split)) for x in (query, key, value))
        combined, attention, peak = attention_kernel.attend(query, key, value, attention_kernel.default_chunk())
        combined = jnp.moveaxis(combined.reshape(-1, config.heads, *combined.shape[1:]), 1, 2)
        attention = attention.reshape(-1, config.heads, length, length).mean(axis=1)
        peak = peak if config.heads == 1 else attention.max(axis=-1)
        return combined.reshape(*combined.shape[:2], -1), attention, peak

    def _factor(self, width: int) -> float:
        return width**-0.5 if self.config.scaled else 1.0


def _heads_first(x: Float[Array, "B L H D"]) -> Float[Array, "B*H L D"]:
    return jnp.moveaxis(x, 2, 1).reshape(-1, x.shape[1], x.shape[3])
