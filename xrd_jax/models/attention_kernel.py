"""Softmax attention with a backward pass of its own: the same numbers, less memory traffic.

The exponentials E are kept unnormalised, with their row sums Z, so that the normalised matrix A = E / Z is not written:

    forward   S = Q Kᵀ,  E = exp(S − max S),  O = (E V) / Z
    backward  G = dO / Z,  dS = E ∘ (G Vᵀ − rowsum(G ∘ O))
              dQ = dS K,  dK = dSᵀ Q,  dV = Eᵀ G

The contractions over queries are taken as (Qᵀ dS)ᵀ and (Gᵀ E)ᵀ: on a CPU, transposing the small factor costs far less
than walking the [L, L] one across its rows. The batch is cut into chunks whose matrices fit a core's cache.

Source: the identity rowsum(dA ∘ A) = rowsum(dO ∘ O) is that of T. Dao et al., "FlashAttention", 2022, section 3.1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Patterns per chunk on a CPU: four [8, 256, 256] float32 matrices are 8 MiB, what two cores keep in their second-level
# caches and a little more; 8 and 16 were fastest by measurement (docs/benchmarks). Elsewhere the batch stays whole.
CPU_CHUNK = 8


def default_chunk() -> int | None:
    """Return the patterns per chunk for the default backend; None for the whole batch at once."""
    return CPU_CHUNK if jax.default_backend() == "cpu" else None


def attend(
    query: Float[Array, "B L D"], key: Float[Array, "B L D"], value: Float[Array, "B L D"], chunk: int | None = None
) -> tuple[Float[Array, "B L D"], Float[Array, "B L L"], Float[Array, "B L"]]:
    """Return softmax over keys of Q Kᵀ times V, the softmax itself, and its maximum over keys.

    The first is differentiable once in all three arguments; the others have no gradient, and cost nothing in a program
    that does not return them. The largest entry of E is exp(0) = 1, so the maximum is 1 / Z. Products run in the
    precision of `query`, their sums and the exponentials in float32.

    Args:
      chunk: patterns per piece of work; None for the whole batch.
    """
    size = query.shape[0] if chunk is None else chunk
    parts = [_attend(query[i : i + size], key[i : i + size], value[i : i + size]) for i in range(0, len(query), size)]
    combined, exponentials, inverse_sum = (
        jax.tree.map(lambda *p: jnp.concatenate(p), *parts) if len(parts) > 1 else parts[0]
    )
    return combined, *jax.lax.stop_gradient((exponentials * inverse_sum, inverse_sum[..., 0]))


@jax.custom_vjp
def _attend(query: Array, key: Array, value: Array) -> tuple[Array, Array, Array]:
    """Return O, E and 1 / Z; gradients flow through O alone."""
    return _forward(query, key, value)[0]


def _forward(query: Array, key: Array, value: Array) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    logits = _product("bqd,bkd->bqk", query, key)
    exponentials = jnp.exp(logits - logits.max(axis=-1, keepdims=True))
    inverse_sum = 1.0 / exponentials.sum(axis=-1, keepdims=True)
    rounded = exponentials.astype(query.dtype)
    combined = (_product("bqk,bkd->bqd", rounded, value) * inverse_sum).astype(query.dtype)
    return (combined, exponentials, inverse_sum), (query, key, value, rounded, inverse_sum, combined)


def _backward(residuals: tuple[Array, ...], gradients: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    query, key, value, exponentials, inverse_sum, combined = residuals
    dtype = query.dtype
    scaled = gradients[0].astype(jnp.float32) * inverse_sum  # G
    row_sum = (scaled * combined.astype(jnp.float32)).sum(axis=-1, keepdims=True)
    scaled = scaled.astype(dtype)
    weights = exponentials.astype(jnp.float32)
    d_logits = (weights * (_product("bqd,bkd->bqk", scaled, value) - row_sum)).astype(dtype)
    d_query = _product("bqk,bkd->bqd", d_logits, key)
    d_key, d_value = _transposed_product(d_logits, query), _transposed_product(exponentials, scaled)
    return d_query.astype(dtype), d_key.astype(dtype), d_value.astype(dtype)


_attend.defvjp(_forward, _backward)


def _product(formula: str, a: Array, b: Array) -> Array:
    """Return the einsum in the precision of `a` with float32 sums."""
    return jnp.einsum(formula, a, b.astype(a.dtype), preferred_element_type=jnp.float32)


def _transposed_product(matrix: Float[Array, "B L L"], factor: Float[Array, "B L D"]) -> Float[Array, "B L D"]:
    """Return Aᵀ F as (Fᵀ A)ᵀ.

    The barriers keep XLA from folding the transposes into the product, which would then walk A across its rows.
    """
    transposed = jax.lax.optimization_barrier(factor.transpose(0, 2, 1))
    return jax.lax.optimization_barrier(_product("bdq,bqk->bdk", transposed, matrix)).transpose(0, 2, 1)
