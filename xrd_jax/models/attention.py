"""Attention between two layers of the stack, with the weights in plain sight."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import ModelConfig
from xrd_jax.models import attention_kernel


class Attention(nn.Module):
    """A = softmax over keys of Q Kᵀ; the output is A V with V = K.

    Row i of A weighs every key for query i and sums to 1.

    Source: Kano, Segi, Ozono, "Careful analysis of XRD patterns with Attention", arXiv:2006.01451, eq. (1).
    """

    config: ModelConfig

    @nn.compact
    def __call__(
        self, query: Float[Array, "B L D"], key: Float[Array, "B L D"]
    ) -> tuple[Float[Array, "B L D"], Float[Array, "B L L"], Float[Array, "B L"]]:
        """Return the output, A (the mean over heads) and the maximum of A over keys."""
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
        heads, head_width = config.heads, config.width // config.heads
        query = query * (head_width**-0.5 if config.scaled else 1.0)
        query, key, value = (_split_heads(x, heads) for x in (query, key, value))
        combined, attention, max_over_keys = attention_kernel.attend(
            query, key, value, attention_kernel.default_chunk()
        )
        combined = jnp.moveaxis(combined.reshape(-1, heads, *combined.shape[1:]), 1, 2)
        attention = attention.reshape(-1, heads, length, length).mean(axis=1)
        if heads > 1:
            max_over_keys = attention.max(axis=-1)
        return combined.reshape(*combined.shape[:2], -1), attention, max_over_keys


def _split_heads(x: Float[Array, "B L D"], heads: int) -> Float[Array, "BH L d"]:
    """[B, L, H · d] -> [B · H, L, d]."""
    x = jnp.moveaxis(x.reshape(*x.shape[:2], heads, -1), 2, 1)
    return x.reshape(-1, *x.shape[2:])
