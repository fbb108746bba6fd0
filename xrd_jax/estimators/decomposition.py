"""Principal components of training inputs, on which linear models and Gaussian processes are computed."""

import dataclasses

import numpy as np
from jaxtyping import Float

EXACT_SIZE = 512  # channels or patterns up to which nothing is left out
KEPT_COMPONENTS = 256  # of larger inputs: what comes after them is noise
BASIS_PATTERNS = 1024  # evenly spaced patterns that they are computed from
# Squared singular values below this share of the largest are rounding errors of a product in double precision.
RELATIVE_RANK = 1e-12


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """Centred inputs as scores on orthonormal components, the strongest first.

    Attributes:
      components: [L, D], offset: [D]: scores = inputs · components − offset.
      scores: [n, D] of the inputs that it was computed from; their columns are orthogonal.
      squares: [D] squared lengths of those columns.
    """

    components: np.ndarray
    offset: np.ndarray
    scores: np.ndarray
    squares: np.ndarray

    def project(self, inputs: Float[np.ndarray, "B L"]) -> Float[np.ndarray, "B D"]:
        """Return the scores of any inputs."""
        return inputs @ self.components - self.offset


def decompose(inputs: Float[np.ndarray, "n L"], basis: Float[np.ndarray, "L R"] | None = None) -> Decomposition:
    """Return the principal components of inputs, by the eigenvectors of the smaller matrix of products.

    Args:
      basis: orthonormal columns within whose span they are sought.
    """
    mean = inputs.mean(axis=0)
    centred = inputs - mean if basis is None else (inputs - mean) @ basis
    if centred.shape[1] <= centred.shape[0]:
        squares, components = _strongest(centred.T @ centred)
    else:
        squares, vectors = _strongest(centred @ centred.T)
        components = centred.T @ (vectors / np.sqrt(squares))
    scores = centred @ components
    components = components if basis is None else basis @ components
    return Decomposition(components, mean @ components, scores, squares)


def _strongest(products: Float[np.ndarray, "D D"]) -> tuple[np.ndarray, np.ndarray]:
    squares, vectors = np.linalg.eigh(products)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    rank = max(int((squares > RELATIVE_RANK * max(squares[0], np.finfo(float).tiny)).sum()), 1)
    return np.maximum(squares[:rank], np.finfo(float).tiny), vectors[:, :rank]


def small_basis(inputs: Float[np.ndarray, "n L"]) -> Float[np.ndarray, "L D"] | None:
    """Return orthonormal columns that make large inputs small; None where there is nothing to gain.

    Exact, a mere rotation, for few patterns; otherwise the strongest `KEPT_COMPONENTS`.
    """
    count, channels = inputs.shape
    if channels <= EXACT_SIZE:
        return None
    if count <= EXACT_SIZE:
        return decompose(inputs).components
    return decompose(inputs[:: -(-count // BASIS_PATTERNS)]).components[:, :KEPT_COMPONENTS]
