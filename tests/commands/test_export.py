"""An exported run gives the run's numbers without the package, for any number of patterns."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import subprocess
import sys
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support import runs
from xrd_jax.commands import export, onnx_graph
from xrd_jax.config.schema import ModelConfig, PrepareConfig
from xrd_jax.errors import UserError

FRESH = """
import sys
sys.modules["xrd_jax"] = None  # as on a machine that does not have it
import json
import jax, jax.export, numpy as np
folder = sys.argv[1]
program = jax.export.deserialize(bytearray(open(folder + "/model.jax_export", "rb").read()))
patterns = np.load(folder + "/patterns.npy")
for count in (1, 5, len(patterns)):
    np.savez(f"{folder}/out{count}.npz", **program.call(patterns[:count]))
"""


def expected(run, patterns):
    """name -> mean and sample standard deviation over seeds of the run's own predictions."""
    outputs, predicted = {}, run.predict_with_maps(patterns, maps=False)
    for name, values in predicted.outputs.items():
        outputs[name] = values.mean(axis=0)
        outputs[f"{name}_std"] = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
    for name, distribution in predicted.distributions.items():
        spec = next(spec for spec in run.specs if spec.name == name)
        outputs[f"{name}_distribution"] = distribution
        outputs[name] = np.asarray(spec.to_point(jnp.asarray(distribution)))
    return outputs


def test_jax_artefact_in_a_fresh_process_without_the_package(tmp_path):
    run, series = runs.trained(), runs.series().subset(np.arange(0, 240, 6))
    file = export.export(run.path, "jax", tmp_path)
    np.save(tmp_path / "patterns.npy", np.asarray(series.intensity, np.float32))
    command = [sys.executable, "-c", FRESH, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for count in (1, 5, len(series)):
        wanted = expected(run, series.subset(np.arange(count)))
        with np.load(tmp_path / f"out{count}.npz", allow_pickle=False) as exported:
            assert set(exported) == set(wanted)
            for name in wanted:
                assert exported[name].dtype == np.float32
                np.testing.assert_allclose(exported[name], wanted[name], atol=1e-5, err_msg=name)
    record = json.loads((tmp_path / "model.jax.json").read_text())
    assert record["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert record["axis"]["kind"] == "two_theta" and record["axis"]["wavelength_angstrom"] == 1.5418
    np.testing.assert_allclose(record["axis"]["values"], series.axis.values, atol=1e-5)
    assert [output["name"] for output in record["outputs"]][:2] == ["voltage", "voltage_std"]
    assert record["outputs"][0]["unit"] == "V" and record["outputs"][2]["classes"] == ["c1", "c2", "d1", "d2"]


def test_onnx_artefact_and_what_it_says_of_itself(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    run, series = runs.trained(), runs.series()
    file = export.export(run.path, "onnx", tmp_path)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for count in (1, 7, 240):
        sample = series.subset(np.arange(count))
        exported = dict(zip(names, session.run(names, {"patterns": sample.intensity.astype(np.float32)}), strict=True))
        wanted = expected(run, sample)
        assert set(exported) == set(wanted)
        for name in wanted:
            np.testing.assert_allclose(exported[name], wanted[name], atol=1e-5, err_msg=name)
    inside = json.loads(session.get_modelmeta().custom_metadata_map["xrd_jax"])
    beside = json.loads((tmp_path / "model.onnx.json").read_text())
    assert inside["seeds"] == [3, 4] and {**beside, **inside} == beside


VARIANTS = {
    "edge, norm before, scaled heads": (
        {"padding": "edge", "norm_place": "before", "heads": 4, "scaled": True},
        {"scale": "total", "resize": "bin"},
    ),
    "reflect, projections, mean": (
        {"padding": "reflect", "projections": True, "pooling": "mean", "combination": "identity", "heads": 2},
        {"scale": "sqrt", "resize": "bin", "scale_at": "input"},
    ),
    "uniform, no norm": ({"attention": "uniform", "norm_layer": 0}, {"scale": "snv"}),
    "uniform projections": ({"attention": "uniform", "projections": True}, {"scale": "dataset", "centre": False}),
    "off, odd kernel": (
        {"attention": "off", "kernel": 5},
        {"scale": "snv", "savgol": 7, "derivative": 1, "scale_at": "input"},
    ),
    "faithful": ({"attention": "faithful"}, {"scale": "pattern"}),
    "every channel": ({"dropout": 0.3}, {"scale": "none", "resize": "none"}),
    "histogram": ({"regression": "histogram", "bins": 24}, {"scale": "sqrt"}),
    "histogram, mean": ({"regression": "histogram", "bins": 24}, {"scale": "sqrt"}),
    "stride, dense": (
        {"stride": 4, "dense": 8, "regression": "histogram", "bins": 12},
        {"scale": "sqrt", "resize": "bin"},
    ),
    "likelihood": ({"regression": "histogram", "bins": 12, "likelihood": 0.6}, {"scale": "sqrt", "resize": "bin"}),
    "stride, reflect": ({"stride": 2, "padding": "reflect"}, {}),
    "min–max at input": ({}, {"scale": "pattern", "scale_at": "input", "savgol": 5}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_onnx_of_every_kind_of_network(name):
    pytest.importorskip("onnxruntime")
    model, prepared = VARIANTS[name]
    config = dataclasses.replace(
        runs.TINY,
        seeds=1 if "off" in name else 2,
        model=dataclasses.replace(runs.TINY.model, **model),
        prepare=dataclasses.replace(runs.TINY.prepare, **prepared),
        train=dataclasses.replace(runs.TINY.train, point="mean" if "histogram, mean" in name else "median"),
    )
    run = runs.untrained(runs.series(), config)
    sample = runs.series().subset(np.arange(0, 240, 40))
    exported = export.load_artefact("onnx", onnx_graph.build(run, {}))(sample.intensity.astype(np.float32))
    for output, values in expected(run, sample).items():
        scale = max(1.0, float(np.abs(values).max()))
        tolerance = 1e-4 if model.get("likelihood") else 1e-5  # a log-likelihood is a difference of large numbers
        np.testing.assert_allclose(exported[output], values, atol=tolerance * scale, err_msg=output)


def test_jax_artefact_holds_the_templates():
    fields, prepared = VARIANTS["likelihood"]
    model = dataclasses.replace(runs.TINY.model, **fields)
    config = dataclasses.replace(runs.TINY, model=model, prepare=dataclasses.replace(runs.TINY.prepare, **prepared))
    run = runs.untrained(runs.series(), config)
    run = dataclasses.replace(run, variables=jax.tree.map(jnp.asarray, run.variables))
    sample = runs.series().subset(np.arange(0, 240, 5))
    exported = export.load_artefact("jax", export.build(run, "jax", {}))(sample.intensity.astype(np.float32))
    for output, values in expected(run, sample).items():
        np.testing.assert_allclose(exported[output], values, atol=1e-4, err_msg=output)


def test_every_choice_of_network_is_covered():
    """A new option of the network or of preparation must be taught to the ONNX graph, and then be added here."""
    model = {field.name for field in dataclasses.fields(ModelConfig)}
    assert model == {
        "depth", "width", "kernel", "padding", "norm_layer", "norm_place", "norm_momentum", "attention", "query_layer",
        "key_layer", "scaled", "projections", "heads", "combination", "pooling", "init", "dropout", "precision",
        "regression", "bins", "stride", "dense", "likelihood",
    }  # fmt: skip
    hints = typing.get_type_hints(PrepareConfig)
    assert typing.get_args(hints["scale"]) == ("pattern", "dataset", "total", "sqrt", "snv", "none")
    hints = typing.get_type_hints(ModelConfig)
    assert typing.get_args(hints["padding"]) == ("zeros", "edge", "reflect")
    assert typing.get_args(hints["attention"]) == ("softmax", "faithful", "uniform", "off")


def test_one_seed_is_that_seed(tmp_path):
    run, sample = runs.trained(), runs.series().subset(np.arange(9))
    alone = export.select_seed(run, 4)
    exported = export.program(alone)(jnp.asarray(sample.intensity, jnp.float32))
    for name, values in run.predict(sample).items():
        np.testing.assert_allclose(exported[name], values[1], atol=1e-5)
        np.testing.assert_array_equal(exported[f"{name}_std"], 0.0)
    with pytest.raises(UserError, match=r"--seed=7: .* trained with seeds 3, 4"):
        export.export(run.path, "jax", tmp_path, seed=7)


def test_an_artefact_that_differs_is_refused():
    run, sample = runs.trained(), runs.series().subset(np.arange(9))
    patterns = sample.intensity.astype(np.float32)
    right = expected(run, sample)
    assert max(export.largest_differences(run, lambda x: right, patterns).values()) < 1e-6
    for name in right:
        wrong = right | {name: right[name] + np.float32(1e-4)}
        with pytest.raises(UserError, match=rf"exported {name} differs"):
            export.largest_differences(run, lambda x, wrong=wrong: wrong, patterns)
        holes = right | {name: np.full_like(right[name], np.nan)}
        with pytest.raises(UserError, match=rf"exported {name} differs"):
            export.largest_differences(run, lambda x, holes=holes: holes, patterns)


def test_refusals_are_one_line(tmp_path, monkeypatch):
    run = runs.trained()
    (tmp_path / "model.onnx").write_bytes(b"years of work")
    with pytest.raises(UserError, match=r"model\.onnx: is there already; choose another --out or add --overwrite"):
        export.export(run.path, "onnx", tmp_path)
    assert (tmp_path / "model.onnx").read_bytes() == b"years of work"
    with pytest.raises(UserError, match="not a run directory"):
        export.export(tmp_path, "jax")
    with pytest.raises(UserError, match="is a file"):
        export.export(run.path, "jax", tmp_path / "model.onnx")
    for part, message in (
        ({"prepare": PrepareConfig(baseline="snip")}, "baseline=snip .* cannot leave Python"),
        ({"model": ModelConfig(precision="bfloat16")}, "use --format=jax"),
    ):
        with pytest.raises(UserError, match=message):
            export.refuse_unsupported(dataclasses.replace(run, config=dataclasses.replace(run.config, **part)), "onnx")

    def without(name, *rest):
        if name == "onnxruntime":
            raise ImportError(name)
        return importlib.__import__(name, *rest)

    monkeypatch.setattr(export.importlib, "import_module", without)
    with pytest.raises(UserError, match=r"needs onnxruntime; pip install 'xrd_jax\[export\]'"):
        export.export(run.path, "onnx", tmp_path)
