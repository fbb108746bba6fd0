"""The configuration survives JSON, takes overrides, and answers typos."""

from __future__ import annotations

import json

import pytest

from experiments import case1, case2, case3
from xrd_jax.config.ablations import ABLATIONS
from xrd_jax.config.overrides import from_dict, override, to_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError


@pytest.mark.parametrize("case", [case1, case2, case3])
def test_json_round_trip(case):
    config = override(case.config(), ["train.loss_weights.mode=0.5", "window_low=-inf"])
    text = json.dumps(to_dict(config), allow_nan=False)
    assert from_dict(Config, json.loads(text)) == config


def test_overrides_reach_every_kind_of_field():
    settings = [
        "epochs=7", "model.scaled=true", "prepare.resize=bin", "learning_rate=2e-3", "cell.rates=1C",
        "targets=voltage,mode", "train.loss_weights.mode=0.1", 'train.loss_weights={"rate": 2}',
    ]  # fmt: skip
    config = override(Config(), settings)
    assert config.train.epochs == 7 and config.model.scaled and config.prepare.resize == "bin"
    assert config.train.learning_rate == 2e-3 and config.cell.rates == ("1C",) and config.targets == ("voltage", "mode")
    assert config.train.loss_weights == {"rate": 2.0}


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("model.atention=off", "did you mean 'model.attention'"),
        ("epocs=3", "did you mean 'train.epochs'"),
        ("seed", "write key=value"),
        ("epochs=many", "must be a whole number"),
        ("epochs=1.5", "must be a whole number"),
        ("resize=linear", "did you mean 'spline'"),
        ("scaled=perhaps", "must be true or false"),
    ],
)
def test_typos_are_answered_in_one_line(setting, answer):
    with pytest.raises(UserError, match=answer) as caught:
        override(Config(), [setting])
    assert "\n" not in str(caught.value)


def test_every_ablation_variant_is_a_valid_difference():
    for variants in ABLATIONS.values():
        configs = [override(case3.config(), assignments) for assignments in variants.values()]
        assert len({json.dumps(to_dict(config), sort_keys=True) for config in configs}) == len(configs)


@pytest.mark.parametrize(
    "assignment",
    [
        "train.checkpoint_every=0", "prepare.blocks=0", "model.dropout=1", "model.norm_momentum=2", "train.warmup=nan",
        "train.learning_rate=-1", "train.log_maps=-1", "split_seed=-1", "seed=2147483648", "model.depth=0",
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused_where_they_are_given(assignment):
    with pytest.raises(UserError, match=r"must lie between .* and "):
        override(Config(), [assignment])
