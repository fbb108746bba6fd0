"""A run as an ONNX graph, node by node; opset 17, float32, any number of patterns.

Written by hand rather than converted from the compiled program: the operators are few, each is what the network's code
says, and no converter has to follow the framework's releases. Layers run as [b, channel, position].
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import ModelConfig, PrepareConfig
from xrd_jax.models import input_attention
from xrd_jax.preprocessing.targets import TargetSpec

OPSET, IR_VERSION = 17, 9
EPSILON = 1e-5  # of Flax's batch normalisation
TINY = float(np.finfo(np.float32).tiny)


class Graph:
    """Nodes and constants under construction; every method returns the name of a value."""

    def __init__(self) -> None:
        import onnx

        self._onnx, self.nodes, self.constants = onnx, [], []  # type: ignore[var-annotated]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"n{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        """Reshape; 0 keeps a dimension, -1 is what is left."""
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def reduce(self, kind: str, x: str, axis: int = -1) -> str:
        """Reduce along one axis, which stays with length 1."""
        if kind == "ReduceSum":  # the only one that takes its axes as an input in this opset
            return self.add(kind, x, self.constant([axis], np.int64), keepdims=1)
        return self.add(kind, x, axes=[axis], keepdims=1)


def build(run: Run, record: dict[str, Any]) -> bytes:
    """Return the serialised model; `record` goes into its metadata."""
    import onnx
    from onnx import helper

    graph = Graph()
    x = _prepare(graph, run, "patterns")
    per_seed = [_network(graph, run.config.model, run.specs, jax.tree.map(np.asarray, run.of_seed(index)), x)
                for index in range(run.config.seeds)]  # fmt: skip
    outputs = []
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
        for name, output_shape in shapes.items():
            outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, output_shape))
    size = int(run.statistics.axis.shape[0])
    entry = helper.make_tensor_value_info("patterns", onnx.TensorProto.FLOAT, ["b", size])
    onnx_graph = helper.make_graph(graph.nodes, "xrd_jax", [entry], outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="xrd_jax")
    helper.set_model_props(model, {"xrd_jax": json.dumps(record)})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


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
    share = graph.add("Max", share, graph.constant(TINY))
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
    matrix = graph.constant(np.asarray(statistics.matrix))
    if config.scale_at == "input":
        x = graph.add("MatMul", _scale(graph, run, config, x), matrix)
    else:
        x = _scale(graph, run, config, graph.add("MatMul", x, matrix))
    x = graph.add("Sub", x, graph.constant(np.asarray(statistics.mean)))
    return graph.add("Div", x, graph.constant(np.asarray(statistics.deviation)))


def _scale(graph: Graph, run: Run, config: PrepareConfig, x: str) -> str:
    statistics, tiny = run.statistics, graph.constant(TINY)
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
        span = max(float(statistics.high - statistics.low), TINY)
        return graph.add("Div", graph.add("Sub", x, graph.constant(statistics.low)), graph.constant(span))
    total = graph.constant(statistics.total)
    factor = graph.add("Div", total, graph.add("Max", graph.reduce("ReduceSum", x), tiny))
    x = graph.add("Mul", x, factor)
    if config.scale == "total":
        return graph.add("Div", x, total)
    x = graph.add("Add", graph.add("Max", x, graph.constant(0.0)), graph.constant(0.375))  # Anscombe's transform
    return graph.add("Mul", graph.constant(2.0), graph.add("Sqrt", x))


def _network(
    graph: Graph, config: ModelConfig, specs: Sequence[TargetSpec], variables: dict[str, Any], x: str
) -> dict[str, str]:
    """[b, L] -> target -> [b] or [b, K], for one seed."""
    params = variables["params"]
    layers = _stack(graph, config, params["stack"], variables["batch_stats"].get("stack", {}), x)
    query, key = (layers[n - 1] for n in (config.query_layer, config.key_layer))
    combined = _attention(graph, config, params.get("attention", {}), query, key)
    if config.combination == "tanh":
        combined = graph.add("Tanh", combined)
    if config.pooling == "mean":
        combined = graph.reduce("ReduceMean", combined, 1)
    flat = graph.reshape(combined, [0, -1])
    is_faithful = config.attention == "faithful"
    gathered = _input_attention(graph, params["own"], len(specs), x) if is_faithful else [""] * len(specs)
    outputs = {}
    for spec, target_features in zip(specs, gathered, strict=True):
        head = params[f"head_{spec.name}"]
        features = graph.add("Concat", flat, target_features, axis=1) if target_features else flat
        y = graph.add("Gemm", features, graph.constant(head["kernel"]), graph.constant(head["bias"]))
        if spec.kind == "regression" and not spec.is_distribution:  # as `TargetSpec.to_physical`
            y = graph.add("Mul", graph.reshape(y, [-1]), graph.constant(spec.deviation))
            outputs[spec.name] = graph.add("Add", y, graph.constant(spec.mean))
        else:
            outputs[spec.name] = graph.add("Softmax", y, axis=-1)
    return outputs


def _input_attention(graph: Graph, params: Any, targets: int, x: str) -> list[str]:
    """[b, L] -> what faithful attention gathers for each target, [b, D]."""
    hidden = graph.add("Unsqueeze", x, graph.constant([1], np.int64))
    for number in range(1, input_attention.DEPTH + 1):
        layer = params[f"conv{number}"]
        weights, bias = graph.constant(np.transpose(layer["kernel"], (2, 1, 0))), graph.constant(layer["bias"])
        pads = [input_attention.KERNEL // 2, input_attention.KERNEL // 2]
        convolved = graph.add("Conv", hidden, weights, bias, kernel_shape=[input_attention.KERNEL], pads=pads)
        hidden = graph.add("Relu", convolved)
    rows, query = graph.add("Transpose", hidden, perm=[0, 2, 1]), params["query"]
    logits = graph.add("MatMul", rows, graph.constant(query["kernel"]))
    logits = graph.add("Add", logits, graph.constant(query["bias"] + params["place"]))
    weights = graph.add("Transpose", graph.add("Softmax", logits, axis=1), perm=[0, 2, 1])
    gathered = graph.add("MatMul", weights, rows)
    return [graph.add("Gather", gathered, graph.constant(k, np.int64), axis=1) for k in range(targets)]


def _stack(graph: Graph, config: ModelConfig, params: Any, averages: Any, x: str) -> list[str]:
    """[b, L] -> outputs [b, D, L] of every layer."""
    before, after = (config.kernel - 1) // 2, config.kernel // 2  # channels of padding
    hidden, layers = graph.add("Unsqueeze", x, graph.constant([1], np.int64)), []
    for number in range(1, config.depth + 1):
        layer = params[f"conv{number}"]
        pads = [before, after]
        if config.padding != "zeros":
            widths = graph.constant([0, 0, before, 0, 0, after], np.int64)
            hidden, pads = graph.add("Pad", hidden, widths, mode=config.padding), [0, 0]
        weights = graph.constant(np.transpose(layer["kernel"], (2, 1, 0)))  # [k, in, out] -> [out, in, k]
        bias = graph.constant(layer["bias"])
        hidden = graph.add("Conv", hidden, weights, bias, kernel_shape=[config.kernel], pads=pads)
        has_norm = number == config.norm_layer
        if not has_norm or config.norm_place == "after":
            hidden = graph.add("Relu", hidden)
        if has_norm:
            norm, average = params[f"norm{number}"], averages[f"norm{number}"]
            moments = [graph.constant(v) for v in (norm["scale"], norm["bias"], average["mean"], average["var"])]
            hidden = graph.add("BatchNormalization", hidden, *moments, epsilon=EPSILON)
            if config.norm_place == "before":
                hidden = graph.add("Relu", hidden)
        layers.append(hidden)
    return layers


def _attention(graph: Graph, config: ModelConfig, params: Any, query: str, key: str) -> str:
    """[b, D, L] twice -> combined values [b, L, D]."""
    query, key = (graph.add("Transpose", x, perm=[0, 2, 1]) for x in (query, key))
    value = key
    if config.attention == "off":
        return value
    if config.projections:
        query, key, value = (
            graph.add("MatMul", x, graph.constant(params[name]["kernel"]))
            for name, x in (("query", query), ("key", key), ("value", value))
        )
    if config.attention == "uniform":
        # The same mean at every position: zero times the values gives it their shape.
        zeros = graph.add("Mul", value, graph.constant(0.0))
        return graph.add("Add", zeros, graph.reduce("ReduceMean", value, 1))
    heads, width = config.heads, config.width // config.heads
    if config.scaled:
        query = graph.add("Mul", query, graph.constant(width**-0.5))
    query, key, value = (graph.reshape(x, [0, 0, heads, width]) for x in (query, key, value))
    query, value = (graph.add("Transpose", x, perm=[0, 2, 1, 3]) for x in (query, value))
    logits = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 3, 1]))
    combined = graph.add("MatMul", graph.add("Softmax", logits, axis=-1), value)
    return graph.reshape(graph.add("Transpose", combined, perm=[0, 2, 1, 3]), [0, 0, config.width])
