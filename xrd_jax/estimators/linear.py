"""Ridge regression and partial least squares for all their settings at once, on principal components.

Both are unchanged by a rotation of the inputs. On principal components the matrix of products is diagonal, so that one
decomposition serves every penalty, every number of components and every target.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from xrd_jax.estimators.decomposition import Decomposition
from xrd_jax.estimators.predictor import Linear

# Penalties as shares of the inputs' total square, half a decade apart: from none to one that leaves the mean alone.
RIDGE_SHARES = tuple(float(share) for share in 10.0 ** np.arange(-9.0, 0.6, 0.5))
MAX_COMPONENTS = 25  # of partial least squares


def ridge_coefficients(
    decomposition: Decomposition, outputs: Float[np.ndarray, "n out"], penalties: Float[np.ndarray, " P"]
) -> Float[np.ndarray, "P D out"]:
    """Return w = (ZᵀZ + α)⁻¹ Zᵀ(y − ȳ) on the scores Z for every penalty α.

    References:
      Hoerl, Kennard. Technometrics 12 (1970) 55.
    """
    products = decomposition.scores.T @ (outputs - outputs.mean(axis=0))
    return products[None] / (decomposition.squares[None, :] + penalties[:, None])[:, :, None]


def ridge_penalties(decomposition: Decomposition, shares: Sequence[float]) -> Float[np.ndarray, " P"]:
    """Return penalties that are shares of the total square of the centred inputs."""
    return np.asarray(shares) * decomposition.squares.sum()


def pls_coefficients(
    decomposition: Decomposition, outputs: Float[np.ndarray, "n out"], components: int = MAX_COMPONENTS
) -> Float[np.ndarray, "P D out"]:
    """Return the coefficients of partial least squares on the scores with 1, 2, … P ≤ `components` components.

    The kernel algorithm: each weight is the leading left singular vector of ZᵀY, from which the part that a component
    explains is taken away. It needs no iteration that may not converge, and gives what NIPALS converges to.

    References:
      Dayal, MacGregor. J. Chemometrics 11 (1997) 73, algorithm 2.
    """
    squares = decomposition.squares
    products = decomposition.scores.T @ (outputs - outputs.mean(axis=0))
    floor = 1e-12 * np.linalg.norm(products)
    rotations, loadings, path = np.zeros((0, squares.size)), np.zeros((0, squares.size)), []
    coefficients = np.zeros_like(products)
    for _ in range(min(components, squares.size)):
        if np.linalg.norm(products) <= floor:  # everything is explained
            break
        left = products / np.linalg.norm(products) if outputs.shape[1] == 1 else np.linalg.svd(products, False)[0]
        weight = left[:, 0]
        rotation = weight - (loadings @ weight) @ rotations
        length = rotation @ (squares * rotation)
        loading, explained = squares * rotation / length, products.T @ rotation / length
        products = products - length * np.outer(loading, explained)
        rotations, loadings = np.vstack([rotations, rotation]), np.vstack([loadings, loading])
        coefficients = coefficients + np.outer(rotation, explained)
        path.append(coefficients)
    return np.stack(path) if path else coefficients[None]


def on_inputs(
    decomposition: Decomposition, coefficients: Float[np.ndarray, "D out"], outputs: Float[np.ndarray, "n out"]
) -> Linear:
    """Return the linear function of the inputs that `coefficients` of their scores stand for."""
    intercept = outputs.mean(axis=0) - decomposition.offset @ coefficients
    return Linear(decomposition.components @ coefficients, intercept)
