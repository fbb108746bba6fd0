"""What many networks share: second moments of a slope over seeds, without what each seed does by chance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def shared(values: Float[np.ndarray, "S b L"]) -> Float[np.ndarray, "b L"]:
    """Mean of v_i v_j over all pairs of different seeds, 0 where it is negative; of one seed v².

    Without bias for (E v)², where the square of the mean over seeds is too large by var(v) / S.
    """
    return _agreed(values.sum(axis=0), (values**2).sum(axis=0), len(values))


def _agreed(total: np.ndarray, squares: np.ndarray, count: int) -> np.ndarray:
    return squares if count == 1 else np.maximum(total**2 - squares, 0.0) / (count * (count - 1))


def halves(values: Float[np.ndarray, "S b L"]) -> Float[np.ndarray, "R b L"]:
    """What the even and what the odd seeds share; of one seed its own."""
    return np.stack([shared(values[begin::2]) for begin in range(min(2, len(values)))])


def without_one(values: Float[np.ndarray, "S b L"]) -> Float[np.ndarray, "S b L"]:
    """What all seeds but one share; of one seed its own."""
    if len(values) == 1:
        return values**2
    total, squares = values.sum(axis=0), (values**2).sum(axis=0)
    return np.stack([_agreed(total - one, squares - one**2, len(values) - 1) for one in values])


def pseudo(without: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """The jackknife's pseudo-values: independent values, so to speak, of what is known with each seed left out."""
    mean = without.mean()
    return mean + (len(without) - 1) * (mean - without)
