"""The simulated cell's facts: configuration, electrochemistry, lattice and angles."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrd_jax.config.cell import GRAPHITE, K_ALPHA, NMC532, NMC811, PRESETS, Cell
from xrd_jax.config.overrides import from_dict
from xrd_jax.errors import UserError
from xrd_jax.physics import crystal, trajectories
from xrd_jax.physics.windows import aluminium_position, layer_positions, named_windows, reflection_positions

CELL = Cell()


def nmc_angle(x_li: float, hkl: tuple[int, int, int], cell: Cell = CELL) -> float:
    a, c = crystal.lattice(cell, jnp.array([x_li]))
    return float(crystal.two_theta(crystal.d_hexagonal(a, c, jnp.array([hkl])), cell.wavelength)[0, 0])


def test_configuration_needs_no_jax():
    code = "import sys, xrd_jax.config.cell; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    cell = PRESETS[name]
    assert from_dict(Cell, json.loads(json.dumps(dataclasses.asdict(cell)))) == cell
    hash(cell)


@pytest.mark.parametrize(
    ("field", "value"),
    [("source", "Fe"), ("channels", 0), ("exposure_s", -1.0), ("hysteresis", 1.5), ("flux_sigma", float("nan")),
     ("rates", ()), ("rates", ("1C", "1C")), ("session_offset_deg", (0.01,)), ("lattice", NMC811[::-1]),
     ("start_deg", 170.0)],
)  # fmt: skip
def test_bad_fields_are_named_in_one_line(field, value):
    with pytest.raises(UserError) as caught:
        dataclasses.replace(CELL, **{field: value})
    assert "\n" not in str(caught.value)
    assert field in str(caught.value) or field == "start_deg"


# Electrochemistry of the shipped file: greatest mean stoichiometry of graphite, median spread of the stoichiometries
# (negative, positive), median |V - OCV|. From rest, without the formation cycle, the last is 0.131 V at 1C.
@pytest.mark.parametrize(
    ("rate", "cycles", "full", "spread_negative", "spread_positive", "overpotential"),
    [("1C", 3, 0.715, 0.068, 0.036, 0.130), ("0.2C", 2, 0.807, 0.014, 0.007, 0.031)],
)
def test_shipped_trajectory(rate, cycles, full, spread_negative, spread_positive, overpotential):
    run = trajectories.load("mohtat2020", rate)
    assert run.voltage.shape == (4000,)
    assert run.negative.shape == run.positive.shape == (4000, 24)
    assert run.half_cycle.max() == 2 * cycles - 1
    assert run.edges.size == 2 * cycles + 1
    assert run.negative.mean(axis=1).max() == pytest.approx(full, abs=1e-3)
    assert np.median(run.negative.std(axis=1)) == pytest.approx(spread_negative, rel=0.03)
    assert np.median(run.positive.std(axis=1)) == pytest.approx(spread_positive, rel=0.03)
    assert np.median(np.abs(run.voltage - run.open_circuit)) == pytest.approx(overpotential, abs=1e-3)
    assert run.voltage.min() >= 2.8
    assert run.voltage.max() <= 4.2 + 1e-5


@pytest.mark.parametrize("name", ["mohtat2020", "chen2020"])
@pytest.mark.parametrize("rate", ["1C", "0.2C"])
def test_trajectory_laws(name, rate):
    run = trajectories.load(name, rate)
    charging = run.half_cycle % 2 == 0
    assert (run.current[charging] < 0).all()
    assert (run.current[~charging] > 0).all()
    # Quantiles rise; lithium moves from one electrode to the other in proportion to the charge passed.
    assert (np.diff(run.negative, axis=1) >= 0).all()
    assert (np.diff(run.positive, axis=1) >= 0).all()
    negative, positive = run.negative.mean(axis=1), run.positive.mean(axis=1)
    for number in range(run.edges.size - 1):
        frames = run.half_cycle == number
        for mean, sign in ((negative, 1), (positive, -1)):
            slope, start = np.polyfit(run.time[frames], mean[frames], 1)
            assert slope * sign * (1 if number % 2 == 0 else -1) > 0
            assert np.abs(mean[frames] - start - slope * run.time[frames]).max() < 2e-3
    assert trajectories.path_of(name).stat().st_size < 200e3


def test_unknown_trajectory_and_rate_are_refused():
    with pytest.raises(UserError, match="mohtat2020"):
        trajectories.load("nowhere", "1C")
    with pytest.raises(UserError, match=r"0\.2C, 1C"):
        trajectories.load("mohtat2020", "5C")


@pytest.mark.parametrize(
    ("hkl", "full", "empty"),
    [((0, 0, 3), 18.69, 18.39), ((1, 0, 1), 36.70, 37.34), ((0, 0, 6), 37.91, 37.28), ((0, 1, 2), 38.36, 38.92)],
)
def test_nmc_positions_with_copper(hkl, full, empty):
    assert nmc_angle(1.0, hkl) == pytest.approx(full, abs=0.015)
    assert nmc_angle(0.4, hkl) == pytest.approx(empty, abs=0.015)


def test_012_crosses_aluminium():
    aluminium = aluminium_position(CELL)
    assert aluminium == pytest.approx(38.5, abs=0.02)
    assert nmc_angle(1.0, (0, 1, 2)) < aluminium < nmc_angle(0.4, (0, 1, 2))


@pytest.mark.parametrize(
    ("stage", "first", "last"),
    [("1'", 26.5, 26.4), ("4L", 26.0, 25.9), ("3L", 25.8, 25.7), ("2L", 25.5, 25.4), ("2", 25.3, 25.3),
     ("1", 24.0, 24.0)],
)  # fmt: skip
def test_graphite_positions_with_copper(stage, first, last):
    assert layer_positions(CELL)[stage] == pytest.approx((first, last), abs=0.1)


def test_nmc811_collapses_as_published():
    # Kondrakov et al. 2017: c falls from 14.467 to 14.030 Å at the end of charge.
    c = np.array(NMC811)[:, 2]
    assert c.max() == pytest.approx(14.467, abs=0.01)
    assert c[0] == pytest.approx(14.030)


@given(x=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
@settings(max_examples=20, deadline=None)
def test_stage_fractions_conserve_graphite(x):
    padded = jnp.array((x * 20)[:20])
    for without in ("", "2L"):
        fractions = np.asarray(crystal.stage_fractions(CELL, padded, without))
        assert fractions.min() >= 0
        assert np.abs(fractions.sum(axis=0) - 1).max() < 1e-5


def test_stages_are_pure_in_their_ranges_and_follow_the_lever_rule_between():
    middles = jnp.array([0.5 * (row[1] + row[2]) for row in GRAPHITE])
    assert np.allclose(crystal.stage_fractions(CELL, middles), np.eye(len(GRAPHITE)), atol=1e-6)
    quarter = jnp.array([0.53 + 0.25 * (0.95 - 0.53)])  # between stage 2 and stage 1
    assert np.allclose(crystal.stage_fractions(CELL, quarter)[-2:, 0], [0.75, 0.25], atol=1e-5)


def test_lattice_table_is_met_and_held_beyond_its_ends():
    x, a, c = (np.array(column) for column in zip(*NMC532, strict=True))
    got_a, got_c = crystal.lattice(CELL, jnp.array(x))
    assert np.allclose(got_a, a, atol=1e-5)
    assert np.allclose(got_c, c, atol=1e-4)
    assert float(crystal.lattice(CELL, jnp.array([0.1]))[1][0]) == pytest.approx(c[0], abs=1e-4)
    ends = crystal.lithium_content(CELL, jnp.array([0.0335, 0.8907]))
    assert np.allclose(ends, [0.40, 0.93], atol=1e-5)


def test_texture_weakens_the_basal_reflection_and_strengthens_the_others():
    hkl = jnp.array([[0, 0, 3], [1, 0, 1]])
    a, c = crystal.lattice(CELL, jnp.array([0.8]))
    d = crystal.d_hexagonal(a, c, hkl)
    random, plates = (
        np.asarray(crystal.march_dollase(dataclasses.replace(CELL, texture=r), d, c, hkl))[:, 0] for r in (1.0, 1.2)
    )
    assert np.allclose(random, 1.0, atol=1e-5)
    assert plates[0] == pytest.approx(1.2**-3, rel=1e-4)
    assert plates[1] > 1.2


@pytest.mark.parametrize("source", K_ALPHA)
def test_sine_of_the_angle_is_proportional_to_the_wavelength(source):
    other = dataclasses.replace(CELL, source=source)
    sine = np.sin(np.radians(nmc_angle(0.7, (1, 0, 1), other) / 2))
    copper = np.sin(np.radians(nmc_angle(0.7, (1, 0, 1)) / 2))
    assert sine / copper == pytest.approx(other.wavelength / CELL.wavelength, rel=1e-5)
    back = crystal.d_spacing(crystal.two_theta(jnp.array(2.338), other.wavelength), other.wavelength)
    assert float(back) == pytest.approx(2.338, rel=1e-5)


OTHER_SOURCES = (Cell(source="Mo", start_deg=5.0, step_deg=0.01), Cell(source="Co", start_deg=14.0, step_deg=0.025))


@pytest.mark.parametrize("cell", [*PRESETS.values(), *OTHER_SOURCES])
def test_windows_do_not_overlap_and_hold_their_reflections(cell):
    windows = named_windows(cell)
    spans = sorted(windows.values())
    assert all(low < high for low, high in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    names = list(windows)
    assert names[0] == "low end"
    assert names[-1] == "high end"
    ticks = reflection_positions(cell)
    held = {"NMC 003": "NMC 003", "C 002": "graphite", "LiC6": "graphite", "LiC12": "graphite"}
    held |= {"NMC 101": "NMC 101+006", "NMC 006": "NMC 101+006", "Al 111": "Al 111 + NMC 012"}
    for label, name in held.items():
        if label in ticks:
            low, high = windows[name]
            assert low < ticks[label] < high
    for name, (low, high) in windows.items():
        if name.startswith("empty"):
            assert not any(low - 0.3 < tick < high + 0.3 for tick in ticks.values())


def test_default_windows():
    windows = named_windows(CELL)
    assert {"empty 12-17", "NMC 003", "graphite", "NMC 101+006", "Al 111 + NMC 012"} < set(windows)
    assert "NMC 003" not in named_windows(PRESETS["paper_literal"])
