"""A finished run explained: what is written, what is left out where nothing is known, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from tests.support.series import make_series
from xrd_jax import datasets
from xrd_jax.commands import explain as commands_explain
from xrd_jax.commands import train as commands_train
from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import CASE_TARGETS, Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.explain import importance, peak_windows, scorecard, study
from xrd_jax.information import ground_truth
from xrd_jax.physics.simulate import simulate

METHODS = ("vaw", "gradient_noise", "ensemble_noise", "occlusion")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Two small networks trained on a saved series."""
    folder = tmp_path_factory.mktemp("explained")
    make_series().save(folder / "series.h5")
    config = Config(
        name="tiny",
        data=str(folder / "series.h5"),
        targets=CASE_TARGETS[3],
        seeds=2,
        prepare=PrepareConfig(channels=32),
        model=ModelConfig(depth=4, width=8, query_layer=2, key_layer=4, norm_layer=3),
        train=TrainConfig(epochs=2, batch_size=32, log_maps=0),
    )
    series, _, _ = datasets.load_for(config)
    commands_train.fit(series, config, folder / "run", progress=False)
    return folder / "run"


@pytest.fixture(scope="module")
def findings(workdir):
    return commands_explain.explain(workdir, METHODS)


def test_everything_is_written(findings, workdir):
    record = json.loads((workdir / "explain.json").read_text())
    assert set(record["targets"]) == {"voltage", "mode", "rate"} and record["seeds"] == 2
    for target in record["targets"].values():
        assert set(target["methods"]) == {*METHODS, "random", "intensity", "variance"}
        for scores in target["methods"].values():
            assert scores["auprc_fisher"] is None and scores["mass_in_truth"] is None  # nothing is known: absent, not 0
            assert -1.0 <= scores["stability"] <= 1.0 and 0.0 <= scores["decoy_mass"] <= 1.0
            assert scores["verdict"] and scores["reason"] and "\n" not in scores["reason"]
            assert scores["insertion_auc"] is None or math.isfinite(scores["insertion_auc"])
        assert set(target["knock_out"]) == {one.label for one in findings.found}
        assert all(math.isfinite(harm["mean"]) and harm["std"] >= 0 for harm in target["knock_out"].values())
    for name in ("curves", "deletion", "insertion", "scores", "importance", "maps_voltage_1C"):
        assert (workdir / "figures" / f"explain_{name}.png").stat().st_size > 5000
    with open(workdir / "explain_curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    own = [float(row["mean"]) for row in rows if (row["method"], row["target"]) == ("vaw", "mode")]
    assert len(own) == 32 and math.isclose(sum(own), 1.0, rel_tol=1e-4)
    raw = {method: {row["raw"] for row in rows if row["method"] == method} for method in METHODS}
    assert len(raw["vaw"]) > 16 and raw["gradient_noise"] == {""}  # only hidden layers had to be moved


def test_shares_of_named_peaks_sum_to_one(findings, workdir):
    rows = importance.read(workdir / "importance.csv")
    for target in ("voltage", "mode", "rate"):
        own = [row for row in rows if row.target == target]
        assert own[-1].label == peak_windows.ELSEWHERE and math.isclose(
            sum(row.share for row in own), 1.0, abs_tol=1e-3
        )
    assert any("static" in row.label for row in rows)


def test_masses_follow_the_maps(findings):
    """Shares summed block by block while maps are made equal those of the mean curves for windows that stand still."""
    for window in findings.found:
        if (window.mask == window.mask[:1]).all():
            for key in (("gradient_noise", "voltage"), ("occlusion", "mode")):
                share = findings.explained.shares[key][window.label]
                if len(findings.explained.frames[key[0]]) == len(findings.part):
                    curves = findings.explained.curves[key]
                    np.testing.assert_allclose(share, curves[:, window.mask[0]].sum(axis=1), atol=1e-4)


@pytest.mark.parametrize(("shares", "score"), [((0.7, 0.2, 0.1), 1.0), ((0.1, 0.2, 0.7), -1.0), ((0.7, 0.3), None)])
def test_a_map_that_ranks_windows_as_their_loss_harms_agrees_with_knock_out(findings, shares, score):
    """Harms of both seeds count; with fewer than three windows there is no rank correlation."""
    key, names = ("vaw", "voltage"), ("a", "b", "c")[: len(shares)]
    own = {name: np.array([share, share]) for name, share in zip(names, shares, strict=True)}
    explained = dataclasses.replace(findings.explained, shares={**findings.explained.shares, key: own})
    harms = dict(zip("abc", (0.3, 0.2, -0.1), strict=True))
    knocked = {name: {"voltage": np.array([harm - 0.02, harm + 0.02])} for name, harm in harms.items()}
    harm = findings.harm._replace(knocked=knocked)
    _, inside = study.decoy(findings.run, findings.part)
    row, _ = scorecard.score(key, explained, findings.bare, findings.explained, inside, harm, None)
    assert row["spearman_knockout"] == score and set(row) == {*scorecard.SCORES, "verdict"}


def test_decoy_is_added_where_the_data_have_none(findings):
    lure, inside = study.decoy(findings.run, findings.part)
    assert lure is not findings.part and lure.intensity.sum() > findings.part.intensity.sum()
    assert inside.shape == (len(findings.part), 32) and inside.any(axis=1).all() and inside.mean() < 0.3


def test_decoy_of_the_cell_is_followed(findings):
    """Its window moves with it: in every pattern it holds the highest channel of what the decoy adds."""
    cell = Cell(decoy=True, rates=("1C",))
    bare, series = (simulate(one).subset(slice(0, None, 400)) for one in (dataclasses.replace(cell, decoy=False), cell))
    config = dataclasses.replace(findings.run.config, data="", cell=cell)
    statistics = findings.run.statistics._replace(centres=series.axis.values)
    run = dataclasses.replace(findings.run, config=config, statistics=statistics)
    lure, inside = study.decoy(run, series)
    added = series.intensity.astype(float) - bare.intensity
    assert lure is series and inside[np.arange(len(series)), added.argmax(axis=1)].all() and inside.mean() < 0.1


def test_bad_requests_are_one_line(workdir, tmp_path):
    with pytest.raises(UserError, match="method 'shap' is not known"):
        commands_explain.explain(workdir, ("shap",))
    with pytest.raises(UserError, match="--importance=occlusion: not among"):
        commands_explain.explain(workdir, ("vaw",), by="occlusion")
    with pytest.raises(UserError, match="not a run directory"):
        commands_explain.explain(tmp_path)


def test_truth_is_for_simulated_cells_alone(findings):
    assert ground_truth.of_run(findings.run.config, findings.run.axis) is None
    simulated = dataclasses.replace(findings.run.config, data="")
    assert ground_truth.of_run(simulated, findings.run.axis) is None  # other channels than the cell's
