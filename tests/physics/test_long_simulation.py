"""A simulation of any length: written block by block, it is the one in memory; its cycles follow each other."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.physics.sessions import draw_session, half_cycle_modes
from xrd_jax.physics.simulate import draw_photons, simulate, simulate_to_file

CELL = Cell(channels=40, start_deg=24.0, rates=("1C",), repeats=2)


def test_simulated_file_holds_the_simulated_bits(tmp_path):
    memory = simulate(CELL)
    disk = simulate_to_file(CELL, tmp_path / "cell.h5")
    assert disk.fingerprint() == memory.fingerprint() and disk.provenance["cell"]["repeats"] == 2
    assert disk.intensity.dtype == np.uint16 and len(disk) == 8000


def test_blocks_of_photons_are_the_photons_of_the_whole():
    expected = np.random.default_rng(0).uniform(1, 900, (60, 40))
    whole = draw_photons(np.random.default_rng(5), expected)
    rng = np.random.default_rng(5)
    parts = [draw_photons(rng, part) for part in np.split(expected, [7, 30, 31])]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_repeated_cycles_go_on_where_they_ended():
    once, twice = (draw_session(dataclasses.replace(CELL, repeats=n), "1C") for n in (1, 2))
    run, again = once.trajectory, twice.trajectory
    frames = run.time.size
    np.testing.assert_array_equal(twice.flux[:frames], once.flux)  # drifts are drawn frame after frame
    np.testing.assert_allclose(np.diff(again.time), run.time[1] - run.time[0], rtol=1e-6)
    np.testing.assert_array_equal(again.voltage[frames:], run.voltage)
    assert np.array_equal(np.unique(again.half_cycle), np.arange(2 * (run.edges.size - 1)))
    assert (np.diff(again.half_cycle) >= 0).all() and (np.diff(again.edges) > 0).all()
    np.testing.assert_array_equal(half_cycle_modes(again)[frames:], half_cycle_modes(run))
    state = twice.states(np.arange(frames - 1, frames + 1))
    jump = np.abs(np.diff(np.asarray(state.negative).mean(axis=1)))
    assert jump < 5 * np.abs(np.diff(run.negative.mean(axis=1))).max()
    np.testing.assert_array_equal(state.negative[1], run.negative[0])


def test_repeats_must_be_positive():
    with pytest.raises(UserError, match="repeats is 0"):
        Cell(repeats=0)
