"""A run as an ONNX graph, node by node; opset 17, any number of patterns. Networks compute in
float32, estimators in double precision, as in a run.

Written by hand rather than converted from the compiled program: the operators are few, each is what the network's code
says, and no converter has to follow the framework's releases.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.commands import onnx_estimators, onnx_layers
from xrd_jax.commands.onnx_nodes import FLOAT, Graph
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.estimators.candidates import Choice
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import darkest_sum

OPSET, ML_OPSET, IR_VERSION = 17, 3, 9


def build(run: Run, record: dict[str, Any]) -> bytes:
    """Return the serialised model; `record` goes into its metadata."""
    import onnx
    from onnx import helper

    graph = Graph(np.float32 if run.choice is None else np.float64)
    x = _prepare(graph, run, "patterns" if run.choice is None else graph.cast("patterns"))
    outputs = _of_networks(graph, run, x) if run.choice is None else _of_estimator(graph, run, run.choice, x)
    size = int(run.statistics.axis.shape[0])
    entry = helper.make_tensor_value_info("patterns", FLOAT, ["b", size])
    ends = [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()]
    onnx_graph = helper.make_graph(graph.nodes, "xrd_jax", [entry], ends, graph.constants)
    domains = {"": OPSET} | ({} if run.choice is None else {onnx_estimators.ML: ML_OPSET})
    opsets = [helper.make_opsetid(*domain) for domain in domains.items()]
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="xrd_jax")
    helper.set_model_props(model, {"xrd_jax": json.dumps(record)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _of_estimator(graph: Graph, run: Run, choice: Choice, x: str) -> dict[str, list[Any]]:
    """Add the outputs of a chosen estimator; return the shape of each."""
    outputs: dict[str, list[Any]] = {}
    for spec in run.specs:
        y = onnx_estimators.predicted(graph, choice.predictors[spec.name], spec.size, x)
        value = graph.add("Cast", y, to=FLOAT, name=spec.name)
        graph.add("Cast", graph.add("Mul", y, graph.constant(0.0)), to=FLOAT, name=f"{spec.name}_std")
        shape = ["b"] if spec.kind == "regression" else ["b", spec.size]
        outputs |= {value: shape, f"{spec.name}_std": shape}
    return outputs


def _of_networks(graph: Graph, run: Run, x: str) -> dict[str, list[Any]]:
    """Add what the networks of all seeds say together; return the shape of each output."""
    per_seed = [onnx_layers.network(graph, run.config.model, run.specs, jax.tree.map(np.asarray, run.of_seed(index)), x)
                for index in range(run.config.seeds)]  # fmt: skip
    outputs: dict[str, list[Any]] = {}
    for spec in run.specs:
        values = [seed_outputs[spec.name] for seed_outputs in per_seed]
        shape = ["b"] if spec.kind == "regression" else ["b", spec.size]
        shapes = {spec.name: shape, f"{spec.name}_std": shape}
        mean = graph.add("Mean", *values, name=f"{spec.name}_distribution" if spec.is_distribution else spec.name)
        if spec.is_distribution:
            shapes[mean] = ["b", spec.size]
            graph.add("Identity", _point(graph, spec, mean), name=spec.name)
            values = [_point(graph, spec, value) for value in values]
            mean = graph.add("Mean", *values)
        _deviation(graph, values, mean, f"{spec.name}_std")
        outputs |= shapes
    return outputs


def _point(graph: Graph, spec: TargetSpec, probabilities: str) -> str:
    """[b, K] -> [b]: `TargetSpec.to_point`."""
    width = (spec.high - spec.low) / spec.size
    if spec.point == "mean":
        centres = graph.constant(spec.low + width * (np.arange(spec.size) + 0.5))
        return graph.reshape(graph.reduce("ReduceSum", graph.add("Mul", probabilities, centres)), [-1])
    after = graph.add("CumSum", probabilities, graph.constant(1, np.int64))
    after = graph.add("Div", after, graph.reduce("ReduceMax", after))
    is_before = graph.add("Cast", graph.add("Less", after, graph.constant(0.5)), to=1)  # 1: float32
    index = graph.reduce("ReduceSum", is_before)
    offset = graph.add("Abs", graph.add("Sub", graph.constant(np.arange(spec.size)[None]), index))
    is_at = graph.add("Cast", graph.add("Less", offset, graph.constant(0.5)), to=1)
    share = graph.reduce("ReduceSum", graph.add("Mul", probabilities, is_at))
    before = graph.add("Sub", graph.reduce("ReduceSum", graph.add("Mul", after, is_at)), share)
    share = graph.add("Max", share, graph.constant(graph.tiny))
    fraction = graph.add("Div", graph.add("Sub", graph.constant(0.5), before), share)
    fraction = graph.add("Clip", fraction, graph.constant(0.0), graph.constant(1.0))
    position = graph.add("Mul", graph.add("Add", index, fraction), graph.constant(width))
    return graph.reshape(graph.add("Add", position, graph.constant(spec.low)), [-1])


def _deviation(graph: Graph, values: Sequence[str], mean: str, name: str) -> None:
    """Name the sample standard deviation of values of one shape; 0 for a single one."""
    squares = []
    for value in values:
        difference = graph.add("Sub", value, mean)
        squares.append(graph.add("Mul", difference, difference))
    if len(values) == 1:
        graph.add("Identity", squares[0], name=name)  # the square of an exact zero
        return
    total = graph.add("Sum", *squares)
    graph.add("Sqrt", graph.add("Div", total, graph.constant(len(values) - 1)), name=name)


def _prepare(graph: Graph, run: Run, x: str) -> str:
    """[b, N] -> [b, L]: `preprocessing.transform.transform`."""
    config, statistics = run.config.prepare, run.statistics
    x = _fill(graph, np.asarray(statistics.filled), int(statistics.axis.shape[0]), x)
    matrix = graph.constant(np.asarray(statistics.matrix))
    if config.scale_at == "input":
        x = graph.add("MatMul", _scale(graph, run, config, x), matrix)
    else:
        x = _scale(graph, run, config, graph.add("MatMul", x, matrix))
    x = graph.add("Sub", x, graph.constant(np.asarray(statistics.mean)))
    return graph.add("Div", x, graph.constant(np.asarray(statistics.deviation)))


def _fill(graph: Graph, filled: np.ndarray, size: int, x: str) -> str:
    """[b, N] -> [b, N]: `preprocessing.transform.fill`, every channel taken from one or two others."""
    if not len(filled):
        return x
    left, right, share = np.arange(size), np.arange(size), np.zeros(size)
    channel = filled[:, 0].astype(int)
    left[channel], right[channel], share[channel] = filled[:, 1], filled[:, 2], filled[:, 3]
    ends = (graph.add("Gather", x, graph.constant(index, np.int64), axis=1) for index in (left, right))
    parts = (graph.add("Mul", end, graph.constant(part)) for end, part in zip(ends, (1 - share, share), strict=True))
    return graph.add("Add", *parts)


def _scale(graph: Graph, run: Run, config: PrepareConfig, x: str) -> str:
    statistics, tiny = run.statistics, graph.constant(graph.tiny)
    if config.scale == "none":
        return x
    if config.scale == "snv":
        centred = graph.add("Sub", x, graph.reduce("ReduceMean", x))
        variance = graph.reduce("ReduceMean", graph.add("Mul", centred, centred))
        return graph.add("Div", centred, graph.add("Max", graph.add("Sqrt", variance), tiny))
    if config.scale == "pattern":
        low, high = graph.reduce("ReduceMin", x), graph.reduce("ReduceMax", x)
        return graph.add("Div", graph.add("Sub", x, low), graph.add("Max", graph.add("Sub", high, low), tiny))
    if config.scale == "dataset":
        span = max(float(statistics.high) - float(statistics.low), graph.tiny)
        return graph.add("Div", graph.add("Sub", x, graph.constant(statistics.low)), graph.constant(span))
    total = graph.constant(statistics.total)
    darkest = graph.constant(darkest_sum(statistics))
    factor = graph.add("Div", total, graph.add("Max", graph.reduce("ReduceSum", x), darkest))
    x = graph.add("Mul", x, factor)
    if config.scale == "total":
        return graph.add("Div", x, graph.constant(statistics.total or 1.0))
    x = graph.add("Add", graph.add("Max", x, graph.constant(0.0)), graph.constant(0.375))  # Anscombe's transform
    return graph.add("Mul", graph.constant(2.0), graph.add("Sqrt", x))
