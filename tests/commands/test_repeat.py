"""Several splits: each is the run that it would be alone, and the table is their mean and deviation."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tests.support.runs import TINY
from tests.support.series import make_series
from xrd_jax.commands import repeat
from xrd_jax.config.schema import ModelConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.splits import repeated, split
from xrd_jax.runtime.console import SILENT


def test_every_part_is_held_out_once():
    series = make_series()
    for kind in ("cycle", "session"):
        config = dataclasses.replace(TINY.prepare, split=kind)
        changes = repeated(series, config, 0, 99)
        tests = []
        for change in changes:
            fields = {key.removeprefix("prepare."): value for key, value in change.items()}
            train, test = split(series, dataclasses.replace(config, **fields), 0)
            assert np.intersect1d(train, test).size == 0
            tests.append(test)
        assert len(changes) > 1 and np.array_equal(np.sort(np.concatenate(tests)), np.arange(len(series)))
    with pytest.raises(UserError, match="split=rows is always the same"):
        repeated(series, dataclasses.replace(TINY.prepare, split="rows"), 0, 3)
    with pytest.raises(UserError, match="there is only one"):
        split(series.subset(series.session == 0), dataclasses.replace(TINY.prepare, split="session"), 0)
    with pytest.raises(UserError, match="the sessions are"):
        split(series, dataclasses.replace(TINY.prepare, split="session", session="2C"), 0)


def test_repeats_are_the_runs_alone_and_their_summary(tmp_path):
    config = dataclasses.replace(
        TINY,
        targets=("voltage",),
        prepare=dataclasses.replace(TINY.prepare, split="block", blocks=6, channels=16),
        model=ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2),
        train=dataclasses.replace(TINY.train, epochs=1, log_maps=0, log_test=0),
    )
    table = repeat.repeat(make_series(), config, 2, tmp_path, False, SILENT)
    summary = json.loads((tmp_path / "repeats.json").read_text())
    alone = [json.loads((tmp_path / f"split_seed-{seed}" / "metrics.json").read_text()) for seed in (0, 1)]
    assert summary["splits"] == [{"split_seed": 0}, {"split_seed": 1}]
    errors = [metrics["targets"]["voltage"]["mae"]["mean"] for metrics in alone]
    assert summary["errors"]["network"]["voltage"] == errors
    assert f"{1e3 * np.mean(errors):.1f} ± {1e3 * np.std(errors, ddof=1):.1f}" in table
    first = make_series().subset((make_series().session == 0) & (make_series().cycle == 0))
    by_cycle = dataclasses.replace(config, prepare=dataclasses.replace(config.prepare, split="cycle"))
    with pytest.raises(UserError, match="gives 1 here; at least 2 needed"):
        repeat.repeat(first, by_cycle, 3, tmp_path / "b", False, SILENT)
