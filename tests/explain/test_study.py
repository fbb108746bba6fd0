"""A finished run explained: what is written, what is left out where nothing is known, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import shutil

import numpy as np
import pytest

from tests.support import runs
from xrd_jax.commands.explain import explain
from xrd_jax.config.cell import Cell
from xrd_jax.errors import UserError
from xrd_jax.explain import scorecard
from xrd_jax.explain.importance import strongest_ranges
from xrd_jax.explain.peak_windows import ELSEWHERE
from xrd_jax.explain.study import Study, series_with_decoy
from xrd_jax.information import ground_truth
from xrd_jax.physics.simulate import simulate

METHODS = ("vaw", "gradient_noise", "ensemble_noise", "occlusion")
# A tenth of the channels five times as wide.
CELL = Cell(rates=("1C",), step_deg=0.1, channels=280, start_deg=12.0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Two small networks, with their data beside them."""
    return shutil.copytree(runs.trained().path, tmp_path_factory.mktemp("explained") / "run")


@pytest.fixture(scope="module")
def study(workdir) -> Study:
    return explain(workdir, METHODS)


def test_everything_is_written(study, workdir):
    record = json.loads((workdir / "explain.json").read_text())
    assert set(record["targets"]) == {"voltage", "mode", "rate"} and record["seeds"] == 2
    for target in record["targets"].values():
        assert set(target["methods"]) == {*METHODS, "random", "intensity", "variance"}
        for scores in target["methods"].values():
            assert scores["auprc_fisher"] is None and scores["mass_in_truth"] is None  # nothing is known: absent, not 0
            assert -1.0 <= scores["stability"] <= 1.0 and 0.0 <= scores["decoy_mass"] <= 1.0
            assert scores["verdict"] and scores["reason"] and "\n" not in scores["reason"]
            assert scores["insertion_auc"] is None or math.isfinite(scores["insertion_auc"])
        assert set(target["knock_out"]) == {window.label for window in study.windows}
        assert all(math.isfinite(harm["mean"]) and harm["std"] >= 0 for harm in target["knock_out"].values())
    for name in ("curves", "deletion", "insertion", "scores", "importance", "maps_voltage_1C"):
        assert (workdir / "figures" / f"explain_{name}.png").stat().st_size > 5000
    with open(workdir / "explain_curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    curve = [float(row["mean"]) for row in rows if (row["method"], row["target"]) == ("vaw", "mode")]
    assert len(curve) == 32 and math.isclose(sum(curve), 1.0, rel_tol=1e-4)
    raw = {method: {row["raw"] for row in rows if row["method"] == method} for method in METHODS}
    assert len(raw["vaw"]) > 16 and raw["gradient_noise"] == {""}  # only hidden layers had to be moved


def test_shares_of_named_peaks_sum_to_one(study, workdir):
    with open(workdir / "importance.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for target in ("voltage", "mode", "rate"):
        of_target = [row for row in rows if row["target"] == target]
        assert of_target[-1]["peak"] == ELSEWHERE
        assert math.isclose(sum(float(row["share"]) for row in of_target), 1.0, abs_tol=1e-3)
    assert any("static" in row["peak"] for row in rows)


def test_masses_follow_the_maps(study):
    """Shares summed block by block while maps are made equal those of the mean curves for windows that stand still."""
    for window in study.windows:
        if (window.mask == window.mask[:1]).all():
            for key in (("gradient_noise", "voltage"), ("occlusion", "mode")):
                share = study.explained.shares[key][window.label]
                if len(study.explained.indices[key[0]]) == len(study.series):
                    curves = study.explained.curves[key]
                    np.testing.assert_allclose(share, curves[:, window.mask[0]].sum(axis=1), atol=1e-4)


@pytest.mark.parametrize(("shares", "score"), [((0.7, 0.2, 0.1), 1.0), ((0.1, 0.2, 0.7), -1.0), ((0.7, 0.3), None)])
def test_a_map_that_ranks_windows_as_their_loss_harms_agrees_with_knock_out(study, shares, score):
    """Harms of both seeds count; with fewer than three windows there is no rank correlation."""
    key, names = ("vaw", "voltage"), ("a", "b", "c")[: len(shares)]
    by_window = {name: np.array([share, share]) for name, share in zip(names, shares, strict=True)}
    explained = dataclasses.replace(study.explained, shares={**study.explained.shares, key: by_window})
    harms = dict(zip("abc", (0.3, 0.2, -0.1), strict=True))
    knocked = {name: {"voltage": np.array([harm - 0.02, harm + 0.02])} for name, harm in harms.items()}
    perturbed = study.perturbed._replace(knocked_out=knocked)
    _, decoy = series_with_decoy(study.run, study.series)
    row, _ = scorecard.score(key, explained, study.untrained, study.explained, decoy, perturbed, None)
    assert row["spearman_knockout"] == score and set(row) == {*scorecard.SCORES, "verdict"}


def test_decoy_is_added_where_the_data_have_none(study):
    with_decoy, decoy = series_with_decoy(study.run, study.series)
    assert with_decoy is not study.series and with_decoy.intensity.sum() > study.series.intensity.sum()
    assert decoy.shape == (len(study.series), 32) and decoy.any(axis=1).all() and decoy.mean() < 0.3


def test_decoy_of_the_cell_is_followed(study):
    """Its window moves with it: in every pattern it holds the highest channel of what the decoy adds."""
    cell = dataclasses.replace(CELL, decoy=True)
    cells = (dataclasses.replace(cell, decoy=False), cell)
    without, series = (simulate(cell).subset(slice(0, None, 400)) for cell in cells)
    config = dataclasses.replace(study.run.config, data="", cell=cell)
    statistics = study.run.statistics._replace(centres=series.axis.values)
    run = dataclasses.replace(study.run, config=config, statistics=statistics)
    with_decoy, decoy = series_with_decoy(run, series)
    added = series.intensity.astype(float) - without.intensity
    assert with_decoy is series
    assert decoy[np.arange(len(series)), added.argmax(axis=1)].all() and decoy.mean() < 0.1


def test_bad_requests_are_one_line(workdir, tmp_path):
    with pytest.raises(UserError, match="method 'shap' is not known"):
        explain(workdir, ("shap",))
    with pytest.raises(UserError, match="--importance=occlusion: not among"):
        explain(workdir, ("vaw",), importance_method="occlusion")
    with pytest.raises(UserError, match="not a run directory"):
        explain(tmp_path)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_map_that_shows_nothing_is_not_scored(study, value):
    """All zeros, or anything that is no number: no score, no verdict on its merits, no line in importance.csv."""
    key = ("gradient_noise", "voltage")
    curves = {**study.explained.curves, key: np.full((2, 32), value)}
    explained = dataclasses.replace(study.explained, curves=curves)
    _, decoy = series_with_decoy(study.run, study.series)
    row, reason = scorecard.score(key, explained, study.untrained, study.explained, decoy, study.perturbed, None)
    assert row == dict.fromkeys(scorecard.SCORES) | {"verdict": "no map"} and "zero" in reason


def test_a_target_that_was_not_learnt_has_nothing_to_explain(study):
    """The networks of the fixture have not been trained."""
    for target, by_method in study.scores.items():
        verdicts = {method: row["verdict"] for method, row in by_method.items()}
        assert verdicts.pop("intensity") == "control"
        if "of the training patterns" in study.reasons[target]["vaw"]:
            assert verdicts["vaw"] == verdicts["gradient_noise"] == "nothing to explain"
    assert "mae" in study.reasons["voltage"]["vaw"]


def test_without_named_peaks_the_strongest_ranges_are_listed():
    """Two ranges of a map with the share that they hold; what is even has none."""
    axis = np.linspace(10.0, 20.0, 101)
    curve = np.full(101, 0.2)
    curve[20:25], curve[60:63] = 4.0, 8.0
    curves = np.stack([curve, curve]) / curve.sum()
    rows = strongest_ranges("voltage", axis, curves, 2, "supported")
    assert [row.label for row in rows] == ["15.95 to 16.25", "11.95 to 12.45", "elsewhere"]
    assert rows[0].share == pytest.approx(24 / curve.sum()) and sum(row.share for row in rows) == pytest.approx(1.0)
    (only,) = strongest_ranges("voltage", axis, np.full((1, 101), 1 / 101), 1, "supported")
    assert only.label == ELSEWHERE


def test_truth_is_for_simulated_cells_alone(study):
    assert ground_truth.of_run(study.run.config, study.run.axis) is None
    simulated = dataclasses.replace(study.run.config, data="", cell=CELL)
    assert ground_truth.of_run(simulated, study.run.axis) is None  # other channels than the cell's
