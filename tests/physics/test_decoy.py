"""Laws of the decoy: it moves, says nothing, and leaves all else as it is without."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from xrd_jax.config.cell import PRESETS, Cell
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.physics import profile, simulate
from xrd_jax.physics.forward_model import expected_series
from xrd_jax.physics.sessions import draw_decoy, draw_session, random_streams
from xrd_jax.physics.windows import channel_angles, named_windows

CELL = PRESETS["decoy"]


def test_states_are_those_of_the_cell_without():
    for rate in CELL.rates:
        plain, with_decoy = (draw_session(cell, rate) for cell in (Cell(), CELL))
        assert plain.decoy is None
        assert np.array_equal(plain.flux, with_decoy.flux)
        assert np.array_equal(plain.shift, with_decoy.shift)
    first, second = (random_streams(cell, "1C").photons.poisson(500.0, 50) for cell in (Cell(), CELL))
    assert np.array_equal(first, second)


def test_no_decoy_no_trace():
    # The programs and their inputs are those of a cell that never heard of decoys, so its bits are too.
    assert profile.dictionaries(Cell()).decoy is None
    states = draw_session(Cell(), "1C").states(np.arange(10))
    assert len(jax.tree.leaves(states)) == 6
    assert "decoy" not in named_windows(Cell())


def test_expected_counts_differ_by_one_peak_where_the_state_says():
    dictionaries = profile.dictionaries(CELL)
    axis, session, frames = channel_angles(CELL), draw_session(CELL, "1C"), np.arange(0, 4000, 400)
    states = session.states(frames)
    peak = expected_series(dictionaries, states)
    peak = np.asarray(peak - expected_series(dictionaries, states._replace(decoy=None)))
    low, high = CELL.decoy_deg
    centre = low + (high - low) * session.decoy[frames]
    assert np.abs(axis[peak.argmax(axis=1)] - centre).max() < 0.05  # Kα2 draws the top along
    assert np.allclose(peak.max(axis=1), CELL.decoy_counts, rtol=0.06)
    start, end = named_windows(CELL)["decoy"]
    inside = (axis >= start) & (axis <= end)
    assert (peak[:, inside].sum(axis=1) / peak.sum(axis=1)).min() > 0.95


def test_position_is_uniform_smooth_and_alike_at_every_rate():
    rng = np.random.default_rng(0)
    path = draw_decoy(rng, 200_000, 25.0)
    assert np.allclose(np.histogram(path, 5, (0, 1))[0] / path.size, 0.2, atol=0.01)
    assert np.abs(np.diff(path)).max() < 0.1
    assert abs(np.corrcoef(path[:-200], path[200:])[0, 1]) < 0.05
    fresh = draw_decoy(rng, 200_000, 0.0)
    assert np.allclose(np.histogram(fresh, 5, (0, 1))[0] / fresh.size, 0.2, atol=0.01)
    assert abs(np.corrcoef(fresh[:-1], fresh[1:])[0, 1]) < 0.01
    paces = [np.abs(np.diff(draw_session(CELL, rate).decoy)).mean() for rate in CELL.rates]
    assert paces[0] == pytest.approx(paces[1], rel=0.15)


def test_a_streamed_series_has_the_same_bits(tmp_path):
    cell = dataclasses.replace(CELL, rates=("1C",), channels=400, start_deg=26.0)
    series = simulate.simulate(cell)
    assert simulate.simulate_to_file(cell, tmp_path / "series.h5").fingerprint() == series.fingerprint()
    assert "decoy" in series.windows


def test_the_command_line_can_switch_it_on():
    assert override(Config(), ["cell.decoy=true"]).cell == CELL


@pytest.mark.parametrize("changes", [{"decoy_deg": (33.0, 28.0)}, {"decoy_frames": -1.0}, {"decoy_counts": -1.0}])
def test_impossible_decoys_are_refused(changes):
    with pytest.raises(UserError):
        Cell(decoy=True, **changes)
