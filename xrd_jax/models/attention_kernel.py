"""Softmax attention with a backward pass of its own: the same numbers, less memory traffic.

The plain formula keeps the normalised matrix and lets autodiff walk it several times. Here the exponentials E are kept
unnormalised, with Z their row sums, so that A = E / Z is never written:

    forward   S = Q Kᵀ,  E = exp(S − max S),  O = (E V) / Z
    backward  G = dO / Z,  dS = E ∘ (G Vᵀ − rowsum(dO ∘ O) / Z)
              dQ = dS K,  dK = dSᵀ Q,  dV = Eᵀ G

The contractions over queries are taken as (Qᵀ dS)ᵀ and (Gᵀ E)ᵀ: on a CPU, transposing the small factor costs far less
than walking the [L, L] one across its rows. The batch is cut into chunks whose matrices fit a core's cache.

Source: the identity rowsum(dA ∘ A) = rowsum(dO ∘ O) is that of T. Dao et al., "FlashAttention", 2022, section 3.1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Patterns per chunk on a CPU: four [8, 256, 256] float32 matrices are 8 MiB, what two cores keep in their second-level
# caches and a little more; 8 and 16 were fastest by measurement (docs/benchmarks). Elsewhere the batch stays whole.
CPU_CHUNK = 8


def default_chunk() -> int | None:
    """Patterns per chunk for the default backend; None for the whole batch at once."""
    return CPU_CHUNK if jax.default_backend() == "cpu" else None


def attend(
    query: Float[Array, "B L D"], key: Float[Array, "B L D"], value: Float[Array, "B L D"], chunk: int | None = None
) -> tuple[Float[Array, "B L D"], Float[Array, "B L L"], Float[Array, "B L"]]:
    """softmax over keys of Q Kᵀ times V, the softmax itself, and its maximum over keys.

    The first is differentiable once in all three; the others are for looking at, without gradient, and cost nothing
    in a compiled program that does not return them. The maximum needs no pass over the matrix: the largest entry of E
    is exp(0) = 1, so it is 1 / Z. Products run in the precision of `query`, their sums and the
    exponentials in float32.

    Args:
      chunk: patterns per piece of work; None for the whole batch.
    """
    size = query.shape[0] if chunk is None else chunk
    pieces = [_attend(query[i : i + size], key[i : i + size], value[i : i + size]) for i in range(0, len(query), size)]
    combined, weights, inverse = jax.tree.map(lambda *p: jnp.concatenate(p), *pieces) if len(pieces) > 1 else pieces[0]
    return combined, *jax.lax.stop_gradient((weights * inverse, inverse[..., 0]))


def _over_rows(matrix: Array, factor: Array) -> Array:
    """Aᵀ F for A [B, L, L] and F [B, L, D], as (Fᵀ A)ᵀ.

    The barriers keep XLA from folding the transposes into the product, which would then walk A across its rows.
    """
    turned = jax.lax.optimization_barrier(factor.transpose(0, 2, 1))
    return jax.lax.optimization_barrier(_product("bdq,bqk->bdk", turned, matrix)).transpose(0, 2, 1)


def _product(formula: str, a: Array, b: Array) -> Array:
    """einsum in the precision of `a` with float32 sums."""
    return jnp.einsum(formula, a, b.astype(a.dtype), preferred_element_type=jnp.float32)


@jax.custom_vjp
def _attend(query: Array, key: Array, value: Array) -> tuple[Array, Array, Array]:
    """O, E and 1 / Z; gradients flow through O alone."""
    return _forward(query, key, value)[0]


def _forward(query: Array, key: Array, value: Array):
    logits = _product("bqd,bkd->bqk", query, key)
    weights = jnp.exp(logits - logits.max(axis=-1, keepdims=True))
    inverse = 1.0 / weights.sum(axis=-1, keepdims=True)
    kept = weights.astype(query.dtype)
    combined = (_product("bqk,bkd->bqd", kept, value) * inverse).astype(query.dtype)
    return (combined, weights, inverse), (query, key, value, kept, inverse, combined)


def _backward(kept, gradients: tuple[Array, Array, Array]):
    query, key, value, weights, inverse, combined = kept
    gradient = gradients[0]
    dtype = query.dtype
    scaled = gradient * inverse
    row = (scaled * combined).sum(axis=-1, keepdims=True)
    scaled = scaled.astype(dtype)
    slope = (weights * (_product("bqd,bkd->bqk", scaled, value) - row)).astype(dtype)
    d_query = _product("bqk,bkd->bqd", slope, key)
    d_key, d_value = _over_rows(slope, query), _over_rows(weights, scaled)
    return d_query.astype(dtype), d_key.astype(dtype), d_value.astype(dtype)


_attend.defvjp(_forward, _backward)
