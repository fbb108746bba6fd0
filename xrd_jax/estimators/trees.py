"""Extremely randomised trees of scikit-learn, and the plain arrays that they are."""

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from xrd_jax.estimators.predictor import Trees

TREES = 100
FOLD_TREES = 40  # within a cross-validation, where they only need to be ranked
FOLD_PATTERNS = 1000  # evenly spaced training patterns there
FEATURE_SHARE = 1 / 3  # channels that every split chooses from: as good as all of them, three times as fast
LEAF_PATTERNS = 2  # the fewest training patterns at a leaf, which halves the trees


def fit(
    inputs: Float[np.ndarray, "n L"], outputs: Float[np.ndarray, "n out"], trees: int = TREES, seed: int = 0
) -> Trees:
    """Return trees for a value (one output), or for classes (several: one-hot)."""
    options = {"max_features": FEATURE_SHARE, "min_samples_leaf": LEAF_PATTERNS, "random_state": seed}
    if outputs.shape[1] == 1:
        forest = ExtraTreesRegressor(trees, **options).fit(inputs, outputs[:, 0])
        return _arrays(forest, np.zeros(1, int), 1)
    forest = ExtraTreesClassifier(trees, **options).fit(inputs, outputs.argmax(axis=1))
    return _arrays(forest, forest.classes_, outputs.shape[1])


def _arrays(forest: ExtraTreesClassifier | ExtraTreesRegressor, columns: np.ndarray, size: int) -> Trees:
    """Return the nodes of every tree, padded to those of the largest; a class that is never seen has no share."""
    parts = [estimator.tree_ for estimator in forest.estimators_]
    shape = (len(parts), max(part.node_count for part in parts))
    feature, left, right = (np.full(shape, -1, np.int32) for _ in range(3))
    threshold, value = np.zeros(shape), np.zeros((*shape, size))
    for number, part in enumerate(parts):
        nodes = slice(part.node_count)
        feature[number, nodes] = np.where(part.children_left < 0, -1, part.feature)
        left[number, nodes], right[number, nodes] = part.children_left, part.children_right
        threshold[number, nodes] = part.threshold
        value[number, nodes, columns] = part.value[:, 0, :].T
    return Trees(feature, threshold, left, right, value, max(part.max_depth for part in parts))
