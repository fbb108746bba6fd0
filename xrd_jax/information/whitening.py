"""Photon noise after a linear resizing: whitening that keeps channels apart, and what nuisances leave of a signal."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from xrd_jax.errors import UserError

MIN_CORRELATION = 1e-3  # noise of channels that is correlated less is taken to be independent
MAX_CORRELATION = 0.9  # of a channel with all its neighbours together; beyond it whitening is refused


class Noise(NamedTuple):
    """How the noise of photons is carried through a linear resizing."""

    matrix: Float[Array, "N L"]  # the resizing
    bands: Float[
        Array, "D N L"
    ]  # products of matrix columns that lie k apart: λ @ bands[k] is the covariance C[l, l + k]
    series: Float[Array, " M"]  # coefficients of (1 + x)^-1/2


def prepare(matrix: Float[np.ndarray, "N L"]) -> Noise:
    """Prepare the whitening for a resizing.

    Raises:
      UserError: the resized channels overlap so far that they are nearly one and the same.
    """
    covariance = matrix.T @ matrix  # under a flat pattern
    size = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance / size[:, None] / size[None, :]) - np.eye(len(covariance))
    row, column = np.nonzero(correlation > MIN_CORRELATION)
    reach = int(np.max(np.abs(row - column), initial=0))
    strongest = float(correlation.sum(axis=1).max()) if reach else 0.0
    if strongest > MAX_CORRELATION:
        raise UserError(
            f"prepare.channels={matrix.shape[1]}: resized channels would share most of their photons; use "
            f"prepare.resize=none, or at most {matrix.shape[0] // 2} channels"
        )
    bands = [np.pad(matrix[:, : matrix.shape[1] - k] * matrix[:, k:], ((0, 0), (0, k))) for k in range(reach + 1)]
    # Under steep peaks neighbours are correlated otherwise than under a flat pattern, hence the square root.
    terms = math.ceil(math.log(1e-5) / math.log(math.sqrt(strongest))) if strongest > 0 else 1
    series = np.cumprod([1.0, *(-(0.5 + m) / (m + 1.0) for m in range(terms))])
    return Noise(*(jnp.asarray(part, jnp.float32) for part in (matrix, np.stack(bands), series)))


def whitened(noise: Noise, counts: Float[Array, " N"], vectors: Float[Array, "V L"]) -> Float[Array, "V L"]:
    """Return C^-1/2 of the noise of `counts`, applied to `vectors`."""
    covariance = jnp.einsum("n,knl->kl", counts, noise.bands)
    size = jnp.sqrt(covariance[0])
    vectors = vectors / size[None, :]
    total, power = noise.series[0] * vectors, vectors
    if len(covariance) == 1:
        return total
    correlations = [covariance[k] / size / jnp.roll(size, -k) for k in range(1, len(covariance))]
    for factor in noise.series[1:]:
        # What the roll brings round the end is multiplied by the zeros that pad the bands.
        above = [jnp.roll(power, -k, axis=1) * band[None, :] for k, band in enumerate(correlations, 1)]
        below = [jnp.roll(power * band[None, :], k, axis=1) for k, band in enumerate(correlations, 1)]
        power = jnp.sum(jnp.stack(above + below), axis=0)
        total += factor * power
    return total


def profiled(vector: Float[Array, " L"], nuisances: Float[Array, "Z L"]) -> Float[Array, " L"]:
    """Return what is left of `vector` after subtracting the best combination of `nuisances` (least squares)."""
    unit = nuisances / jnp.maximum(jnp.linalg.norm(nuisances, axis=1, keepdims=True), 1e-20)
    gram = unit @ unit.T + 1e-6 * jnp.eye(len(unit))
    for _ in range(2):  # once more, for what rounding and the regularisation left
        vector = vector - jnp.linalg.solve(gram, unit @ vector) @ unit
    return vector
