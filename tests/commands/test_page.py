"""The page and the card of a run say what metrics.json says, and names of patterns stay text."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil

import numpy as np
import pytest

from tests.support import runs
from tests.support.pages import EVIL
from xrd_jax.analysis.run import open_run
from xrd_jax.commands import page, predict
from xrd_jax.commands.explain import explain
from xrd_jax.commands.report import report
from xrd_jax.page import words
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.runtime.console import Console


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A run of two seeds with a calibration set, on patterns with names that would be programs."""
    path = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(runs.trained().path, path)
    run = open_run(path)
    written = (path / "config.json").read_bytes()
    record = json.loads(written)
    record["data"]["provenance"] = {"report": ["two files left out"]}
    (path / "config.json").write_text(json.dumps(record))
    files = [f"{EVIL} {number}.xy" for number in range(len(runs.series()))]
    series = dataclasses.replace(
        runs.series(),
        session_names=(EVIL, "0.2C"),
        provenance={"files": files},
    )
    held_out = dataclasses.replace(run.config.prepare, split="block", calibration=0.4)
    prepared = prepare(series, held_out)
    result = report(run, series, prepared, {"data": 0.0}, 1.0)
    page.write_of_training(run, result)
    (path / "config.json").write_bytes(written)
    return run, result


def test_a_training_leaves_a_page_and_a_card(reported):
    run, result = reported
    text = (run.path / "report.html").read_text()
    assert EVIL not in text and "two files left out" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["names"][3] == f"{EVIL} 3.xy" and [target["name"] for target in data["targets"]] == [
        "voltage",
        "mode",
        "rate",
    ]
    assert set(data["layers"]) == {"VAW (mean over seeds)"} and data["wavelength"] == 1.5418
    assert text.count("<figure>") == len(list((run.path / "figures").glob("*.png")))
    assert result.prepared is not None


def test_every_figure_of_the_card_is_in_the_metrics(reported):
    run, _ = reported
    card, metrics = (run.path / "card.md").read_text(), json.loads((run.path / "metrics.json").read_text())
    error = metrics["targets"]["voltage"]["mae"]
    assert f"mean absolute error {error['mean']:.4g} V ± {error['std']:.2g}" in card
    for name, targets in metrics["baselines"].items():
        assert f"{words.LABELS[name]} {targets['voltage']['mae']:.4g}" in card
    assert f"trained on: {metrics['n_train']} patterns" in card and f"held out: {metrics['n_test']} patterns" in card
    assert f"wavelength: {metrics['axis']['wavelength']} Å" in card
    unknown = metrics | {"axis": {"kind": "two_theta", "wavelength": None}}
    record = json.loads((run.path / "config.json").read_text())
    assert "wavelength: not known" in words.card(record, unknown, [])
    assert "wavelength" not in words.methods(record, unknown)


def test_predictions_have_a_page_only_where_it_is_asked_for(reported, tmp_path):
    run, _ = reported
    runs.series().subset(np.arange(30)).save(tmp_path / f"{EVIL.replace('/', '')}.h5")
    file = next(tmp_path.glob("*.h5"))
    predict.predict(run.path, file, tmp_path / "without")
    assert not (tmp_path / "without" / "report.html").exists()
    lines: list[str] = []
    predict.predict(run.path, file, tmp_path / "with", console=Console(lines.append), page=True)
    text = (tmp_path / "with" / "report.html").read_text()
    assert "<script>alert" not in text and f"to look at: {tmp_path / 'with' / 'report.html'}" in lines


def test_a_study_has_a_layer_for_every_map(reported):
    run, _ = reported
    study = explain(run.path, ("vaw", "gradient"))
    text = page.write_of_study(study).read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    expected = {f"{method}, {target}" for method, target in study.explained.maps} | {"VAW (mean over seeds)"}
    assert set(data["layers"]) == expected and "gradient, voltage" in expected
    assert len(data["names"]) == len(study.series) and study.reasons["voltage"]["gradient"] in html.unescape(text)
    assert [name for name, _ in data["reflections"]] == [window.label for window in study.windows]
