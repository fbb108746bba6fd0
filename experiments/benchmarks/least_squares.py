"""How many components partial least squares needs, by cross-validation; scikit-learn does the fitting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def choose_components(
    inputs: np.ndarray, values: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]], max_components: int,
    error: Callable[[np.ndarray], float],
) -> tuple[int, float]:  # fmt: skip
    """Return the number of components with the least error of all residuals together, and that error.

    Args:
      inputs: [T, L]; values: [T]; folds: (rows to fit, rows held out).
    """
    from sklearn.cross_decomposition import PLSRegression

    errors = {}
    for components in range(1, max_components + 1):
        residuals = []
        for train, held_out in folds:
            model = PLSRegression(components, scale=False).fit(inputs[train], values[train])
            residuals.append(model.predict(inputs[held_out]).ravel() - values[held_out])
        errors[components] = error(np.concatenate(residuals))
    best = min(errors, key=errors.__getitem__)
    return best, errors[best]
