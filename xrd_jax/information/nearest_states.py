"""For every frame the state of another class that is hardest to tell from it when flux and zero shift are unknown."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.information import whitening
from xrd_jax.information.state_path import over_frames
from xrd_jax.information.whitening import Noise
from xrd_jax.physics.forward_model import FrameState, expected_counts, nuisance_derivatives
from xrd_jax.physics.profile import Dictionaries
from xrd_jax.physics.windows import channel_angles
from xrd_jax.preprocessing.resize import resize_matrix

MAX_BINS = 256  # which state is nearest does not depend on finer detail


def nearest_of_other_class(
    cell: Cell, dictionaries: Dictionaries, states: FrameState, labels: Int[np.ndarray, "U C"]
) -> Int[np.ndarray, "U C"]:
    """Return, for each frame and each column of labels, the index of the nearest state of another class."""
    bins = PrepareConfig(resize="bin", channels=max(2, min(MAX_BINS, cell.channels // 2)))
    matrix, _ = resize_matrix(channel_angles(cell), bins)
    noise = whitening.prepare(matrix)
    coordinates, bases = over_frames(functools.partial(_coordinates, dictionaries, noise), states)
    coordinates -= coordinates.mean(axis=0)  # small numbers, so that their differences keep their digits
    candidates = jnp.asarray(coordinates), jnp.asarray(labels, jnp.int32)
    return over_frames(lambda *frames: _nearest(*frames, *candidates), coordinates, bases, labels)


@jax.jit
def _coordinates(
    dictionaries: Dictionaries, noise: Noise, states: FrameState
) -> tuple[Float[Array, "B L"], Float[Array, "B Z L"]]:
    """Channels in which the noise is 1 (2 √counts, without the decoy), and an orthonormal basis of the nuisances."""

    def frame_coordinates(state: FrameState) -> tuple[Array, Array]:
        state = state._replace(decoy=None)
        counts = expected_counts(dictionaries, state)
        channels, variance = counts @ noise.matrix, counts @ noise.bands[0]
        nuisances = nuisance_derivatives(dictionaries, state) @ noise.matrix / jnp.sqrt(variance)[None, :]
        return 2.0 * channels / jnp.sqrt(variance), jnp.linalg.qr(nuisances.T)[0].T

    return jax.vmap(frame_coordinates)(states)


@jax.jit
def _nearest(
    frames: Float[Array, "B L"], bases: Float[Array, "B Z L"], labels: Int[Array, "B C"],
    candidates: Float[Array, "U L"], candidate_labels: Int[Array, "U C"],
) -> Int[Array, "B C"]:  # fmt: skip
    """Index of the candidate of another class at the least distance, but for what nuisances explain."""
    distance = (frames**2).sum(axis=1)[:, None] + (candidates**2).sum(axis=1)[None, :] - 2.0 * frames @ candidates.T
    along = jnp.einsum("bkl,ul->kbu", bases, candidates) - jnp.einsum("bkl,bl->kb", bases, frames)[:, :, None]
    distance -= (along**2).sum(axis=0)
    is_other = labels.T[:, :, None] != candidate_labels.T[:, None, :]
    return jnp.argmin(jnp.where(is_other, distance[None, :, :], jnp.inf), axis=2).T
