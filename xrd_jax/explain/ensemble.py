"""What many networks share: second moments of a slope over seeds, without what each seed does by chance."""

import numpy as np
from jaxtyping import Float


def shared_between_seeds(values: Float[np.ndarray, "S B L"]) -> Float[np.ndarray, "B L"]:
    """Return the mean of v_i v_j over all pairs of different seeds, 0 where it is negative; of one seed v².

    Without bias for (E v)², where the square of the mean over seeds is too large by var(v) / S.
    """
    return _mean_over_pairs(values.sum(axis=0), (values**2).sum(axis=0), len(values))


def _mean_over_pairs(total: np.ndarray, squares: np.ndarray, seeds: int) -> np.ndarray:
    return squares if seeds == 1 else np.maximum(total**2 - squares, 0.0) / (seeds * (seeds - 1))


def shared_in_halves(values: Float[np.ndarray, "S B L"]) -> Float[np.ndarray, "R B L"]:
    """Return what the even and what the odd seeds share; of one seed its own square."""
    return np.stack([shared_between_seeds(values[first::2]) for first in range(min(2, len(values)))])


def leave_one_out(values: Float[np.ndarray, "S B L"]) -> Float[np.ndarray, "S B L"]:
    """Return what all seeds but one share; of one seed its own square."""
    if len(values) == 1:
        return values**2
    total, squares = values.sum(axis=0), (values**2).sum(axis=0)
    return np.stack([_mean_over_pairs(total - seed, squares - seed**2, len(values) - 1) for seed in values])


def jackknife_pseudo_values(estimates: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """Return the pseudo-values of estimates with one seed left out: they have their mean, and the spread of seeds.

    Source: B. Efron, The Jackknife, the Bootstrap and Other Resampling Plans (SIAM, 1982), chapter 3.
    """
    mean = estimates.mean()
    return mean + (len(estimates) - 1) * (mean - estimates)
