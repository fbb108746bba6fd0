"""An offset between two clocks is suggested beyond doubt, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.inspect import alignment

TIME = np.arange(0.0, 40_000.0, 10.0)
TAKEN = np.arange(8000.0, 32_000.0, 100.0)
# Half cycles of unlike lengths, as in a real test: no two stretches of it are alike.
TURNS = np.array([0, 3000, 7500, 9500, 15_000, 17_000, 23_500, 26_000, 31_000, 36_500, 40_000.0])
UNEVEN = np.interp(TIME, TURNS, 3.0 + np.arange(TURNS.size) % 2)
EVEN = np.interp(TIME % 8000, [0, 4000, 8000], [3.0, 4.0, 3.0])


def log_of(voltage):
    return CyclerLog(TIME, voltage, np.zeros_like(TIME), np.zeros_like(TIME), None, {})


def offset_of(position, voltage, noise=0.05):
    position = position + noise * np.random.default_rng(0).normal(size=position.size)
    offset = alignment.best_offset(TAKEN, position, log_of(voltage))
    assert offset is not None
    return offset


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("late", [-1500.0, 0.0, 2500.0])
def test_an_offset_beyond_doubt_is_suggested_with_what_speaks_for_it(sign, late):
    offset = offset_of(sign * np.interp(TAKEN + late, TIME, UNEVEN), UNEVEN)
    assert offset.is_suggested and abs(offset.seconds - late) < 50
    assert "turning points agree" in offset.confidence


@pytest.mark.parametrize("late", [0.0, 1000.0, 4000.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_even_cycles_fit_half_a_period_away_with_the_other_sign(sign, late):
    """A centroid may move with the voltage or against it: two offsets are as good, so none is suggested."""
    offset = offset_of(sign * np.interp(TAKEN + late, TIME, EVEN), EVEN)
    assert not offset.is_suggested and offset.confidence


def test_a_material_that_lags_behind_the_voltage_is_no_wrong_clock():
    slow = np.convolve(UNEVEN, np.exp(-np.arange(200) / 40.0), "full")[: TIME.size]
    offset = offset_of(np.interp(TAKEN, TIME, slow / slow.max()), UNEVEN)
    assert abs(offset.seconds) > 200 and not offset.is_suggested
    assert "as they are agree nearly as well" in offset.confidence


def test_a_drift_over_one_half_cycle_tells_no_offset():
    offset = offset_of(TAKEN / 32_000, np.interp(TIME, [0, 20_000, 40_000], [3.0, 4.0, 3.0]))
    assert not offset.is_suggested


def test_clocks_that_state_dates_are_trusted():
    centroid = alignment.Centroid((1.0, 2.0), np.interp(TAKEN + 1500, TIME, UNEVEN))
    _, offset = alignment.best_match(TAKEN, [centroid], log_of(UNEVEN))
    assert offset.is_suggested and abs(offset.seconds - 1500) < 50
    _, offset = alignment.best_match(TAKEN, [centroid], log_of(UNEVEN), clocks_agree=True)
    assert not offset.is_suggested and "both clocks state dates" in offset.confidence
