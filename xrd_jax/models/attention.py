"""Attention between two layers of the stack, with the weights in plain sight."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config import ModelConfig


class Attention(nn.Module):
    """Eq. (1) of the paper: A = softmax over keys of Q Kᵀ, output A V with V = K.

    Row i of A weighs every key for query i and sums to 1.
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, query: Float[Array, "B L D"], key: Float[Array, "B L D"]
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B L L"]]:
        config, length = self.config, query.shape[1]
        value = key
        if config.attention == "off":
            return value, jnp.broadcast_to(jnp.eye(length)[None], (query.shape[0], length, length))
        if config.projections:
            query, key, value = (
                nn.Dense(config.width, use_bias=False, name=name)(x)
                for name, x in (("query", query), ("key", key), ("value", value))
            )
        if config.attention == "uniform":
            attention = jnp.full((query.shape[0], length, length), 1.0 / length)
            return jnp.broadcast_to(value.mean(axis=1, keepdims=True), value.shape), attention
        if config.heads == 1:
            attention = jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", query, key) * self._factor(config.width), axis=-1)
            return jnp.einsum("bqk,bkd->bqd", attention, value), attention
        split = (*query.shape[:2], config.heads, -1)
        query, key, value = query.reshape(split), key.reshape(split), value.reshape(split)
        logits = jnp.einsum("bqhd,bkhd->bhqk", query, key) * self._factor(config.width // config.heads)
        attention = jax.nn.softmax(logits, axis=-1)
        combined = jnp.einsum("bhqk,bkhd->bqhd", attention, value)
        return combined.reshape(*combined.shape[:2], -1), attention.mean(axis=1)

    def _factor(self, width: int) -> float:
        return width**-0.5 if self.config.scaled else 1.0
