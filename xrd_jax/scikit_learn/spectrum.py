"""Networks and the simpler models beside them as scikit-learn's regressors and classifiers: rows of X are patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from xrd_jax.analysis.intervals import LEVEL
from xrd_jax.analysis.metrics import ensemble_values
from xrd_jax.scikit_learn.base import TARGET, SpectrumEstimator
from xrd_jax.series.axis import Target


class SpectrumRegressor(RegressorMixin, SpectrumEstimator):
    """Learn a value from patterns; parameters and attributes are those of `SpectrumEstimator`."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> SpectrumRegressor:
        """Fit to patterns X [T, N] and values y [T].

        Args:
          groups: [T] which patterns err together, such as those of one sample; they are never parted inside.

        Raises:
          UserError: parameters or data that do not fit, a `workdir` that holds another run, a loss that is not finite.
        """
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_features=2, ensure_min_samples=2)
        self.fit_series(X, Target(y), groups)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, " T"]:
        """Return the value of every pattern, of all seeds together."""
        predicted = self.predict_outputs(X)
        return ensemble_values(self.run_.specs[0], predicted.outputs[TARGET], predicted.distributions.get(TARGET))

    def predict_interval(self, X: Any, level: float = LEVEL) -> Float[np.ndarray, "T 2"]:
        """Return the lower and upper end of every pattern's interval, which holds the truth with probability `level`.

        That is promised for patterns that are exchangeable with those of the training.

        Raises:
          UserError: too few patterns or groups were held out to promise it.
        """
        calibration, predicted = self.calibration_for(level), self.predict_outputs(X)
        ends = calibration.interval(self.run_.specs[0], predicted.outputs, predicted.distributions, level)
        return np.stack(ends or (), axis=1)


class SpectrumClassifier(ClassifierMixin, SpectrumEstimator):
    """Learn classes from patterns; parameters and attributes are those of `SpectrumEstimator`, and `classes_`."""

    def fit(self, X: Any, y: Any, groups: Any = None) -> SpectrumClassifier:
        """Fit to patterns X [T, N] and labels y [T], as `SpectrumRegressor.fit`."""
        X, y = validate_data(self, X, y, ensure_min_features=2, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        self.fit_series(X, Target(numbers, "classification", "", tuple(map(str, self.classes_))), groups)
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "T K"]:
        """Return the probability of every class of `classes_`, mean over seeds."""
        return self.predict_outputs(X).outputs[TARGET].mean(axis=0)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of every pattern."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def predict_set(self, X: Any, level: float = LEVEL) -> Bool[np.ndarray, "T K"]:
        """Return which classes may be the true one; the set holds it with probability `level`, as `predict_interval`.

        Raises:
          UserError: too few patterns or groups were held out to promise it.
        """
        calibration, predicted = self.calibration_for(level), self.predict_outputs(X)
        return np.asarray(calibration.label_sets(self.run_.specs[0], predicted.outputs, level))
