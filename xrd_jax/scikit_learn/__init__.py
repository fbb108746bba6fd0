"""The package's models as scikit-learn's estimators, for pipelines and cross-validation."""

from xrd_jax.scikit_learn.spectrum import SpectrumClassifier as SpectrumClassifier
from xrd_jax.scikit_learn.spectrum import SpectrumRegressor as SpectrumRegressor
