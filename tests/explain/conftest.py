"""What tests of explanations share."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.networks import make_run
from tests.support.series import make_series
from xrd_jax.analysis.run import Run
from xrd_jax.series.record import PatternSeries


@pytest.fixture(scope="session")
def sparse() -> PatternSeries:
    """Every twelfth pattern."""
    return make_series().subset(np.arange(0, 240, 12))


@pytest.fixture(scope="session")
def run() -> Run:
    return make_run(make_series())
