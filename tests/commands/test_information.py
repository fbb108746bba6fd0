"""--mode=information: files for people, and where a network stands between nearest neighbours and the posterior."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xrd_jax.commands.information import describe_errors, report, target_errors
from xrd_jax.config.cell import Cell
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.information.fisher import carrier_channels, channel_information, mean_shares

# A tenth of the channels five times as wide, and only the top of the charge: the same physics in a second.
CELL = Cell(rates=("1C",), step_deg=0.1, channels=280, start_deg=12.0, shift_sigma_deg=0.01)
PREPARE = PrepareConfig(window_target="voltage", window_low=3.95, resize="bin", channels=64)


def test_what_is_known_is_written_for_people(tmp_path):
    messages: list[str] = []
    folder = report(Config(cell=CELL, prepare=PREPARE), str(tmp_path), messages.append)
    assert {"curves.csv", "table.md", "information.json", "figures"} == {path.name for path in folder.iterdir()}
    assert {"information.png", "information.svg"} == {path.name for path in (folder / "figures").iterdir()}
    rows = np.genfromtxt(folder / "curves.csv", delimiter=",", names=True)
    information = channel_information(CELL, PREPARE)
    assert np.allclose(rows["voltage_share"], mean_shares(information, "voltage"), rtol=1e-5)
    assert rows["mode_in_90_percent"].sum() == carrier_channels(information, "mode").sum()
    assert any(line.startswith("voltage, error: exact posterior") for line in messages)
    standing = json.loads((folder / "information.json").read_text())["standing"]
    assert list(standing["voltage"]) == ["lookup", "network", "posterior", "bound", "way"]
    assert standing["voltage"]["network"] is None


def test_a_network_stands_between_the_nearest_neighbours_and_the_posterior():
    scores = {"voltage": {"mae": {"mean": 0.006}}, "mode": {"accuracy": {"mean": 0.97}}}
    baseline = {"random": {"voltage": {"mae": 0.010}, "mode": {"accuracy": 0.95}}}
    metrics = {"split": "random", "targets": scores, "baseline_3nn": baseline}
    information = channel_information(CELL, PREPARE)
    errors = target_errors(information, {"voltage": 0.002, "mode": 0.99}, metrics)
    assert errors["voltage"][:3] == pytest.approx((10.0, 6.0, 2.0))
    assert errors["voltage"].progress == pytest.approx(0.5)
    assert errors["mode"].progress == pytest.approx(0.5)
    assert errors["voltage"].bound == pytest.approx(1e3 * np.nanmean(information.bound))
    assert "50 % of the way" in describe_errors("mode", errors["mode"])
    assert target_errors(information, {"mode": 0.99}, None)["mode"].progress is None


def test_a_run_that_is_not_finished_or_measured_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"config": {"data": "cell.toml"}}))
    with pytest.raises(UserError, match="finish"):
        report(Config(), str(tmp_path), print)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match="simulated"):
        report(Config(), str(tmp_path), print)
