"""The network as ONNX nodes, layer by layer as `xrd_jax.models` has it; layers run as [b, channel, position]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xrd_jax.commands.onnx_nodes import Graph
from xrd_jax.config.schema import ModelConfig
from xrd_jax.models import input_attention
from xrd_jax.models.template_likelihood import FLOOR
from xrd_jax.preprocessing.targets import TargetSpec

EPSILON, LAYER_EPSILON = 1e-5, 1e-6  # of Flax's batch and layer normalisation


def network(
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
    if config.dense:
        flat = graph.add("Concat", flat, _dense_layers(graph, params["dense"], x), axis=1)
    known = _likelihood(graph, variables["batch_stats"]["likelihood"], x) if config.likelihood else ""
    for spec, target_features in zip(specs, gathered, strict=True):
        head = params[f"head_{spec.name}"]
        features = graph.add("Concat", flat, target_features, axis=1) if target_features else flat
        y = graph.add("Gemm", features, graph.constant(head["kernel"]), graph.constant(head["bias"]))
        if config.likelihood:
            labels = variables["batch_stats"]["likelihood"][f"labels_{spec.name}"]
            y = _weighed(graph, config.likelihood, y, graph.add("MatMul", known, graph.constant(labels)))
        if spec.kind == "regression" and not spec.is_distribution:  # as `TargetSpec.to_physical`
            y = graph.add("Mul", graph.reshape(y, [-1]), graph.constant(spec.deviation))
            outputs[spec.name] = graph.add("Add", y, graph.constant(spec.mean))
        else:
            outputs[spec.name] = graph.add("Softmax", y, axis=-1)
    return outputs


def _likelihood(graph: Graph, templates: Any, x: str) -> str:
    """[b, L] -> [b, M], the probability of every template; `models.template_likelihood.posterior`."""
    patterns, tangents = (np.asarray(templates[name], np.float64) for name in ("patterns", "tangents"))
    x = graph.add("Mul", x, graph.constant(templates["inverse_noise"]))
    offset = graph.constant(-(patterns * tangents).sum(axis=1))
    along = graph.add("Gemm", x, graph.constant(tangents.T), offset)
    freedom = 1.0 + (tangents**2).sum(axis=1)
    constant = graph.constant(-0.5 * ((patterns**2).sum(axis=1) + np.log(freedom)))
    logs = graph.add("Gemm", x, graph.constant(patterns.T), constant)
    gained = graph.add("Mul", graph.add("Mul", along, along), graph.constant(0.5 / freedom))
    return graph.add("Softmax", graph.add("Add", logs, gained), axis=1)


def _weighed(graph: Graph, share: float, y: str, known: str) -> str:
    """Return the weighted mean of log-probabilities: the network's own and those of the templates."""
    floor = graph.add("Log", graph.add("Add", known, graph.constant(FLOOR)))
    own = graph.add("Mul", graph.add("LogSoftmax", y, axis=-1), graph.constant(1.0 - share))
    return graph.add("Add", own, graph.add("Mul", floor, graph.constant(share)))


def _dense_layers(graph: Graph, params: Any, x: str) -> str:
    """[b, L] -> [b, F]: two dense layers with layer normalisation and GELU (its approximation by tanh)."""
    for number in (1, 2):
        dense, norm = params[f"dense{number}"], params[f"norm{number}"]
        y = graph.add("Gemm", x, graph.constant(dense["kernel"]), graph.constant(dense["bias"]))
        scale, bias = graph.constant(norm["scale"]), graph.constant(norm["bias"])
        y = graph.add("LayerNormalization", y, scale, bias, epsilon=LAYER_EPSILON)
        cube = graph.add("Mul", graph.add("Mul", y, y), graph.add("Mul", y, graph.constant(0.044715)))
        tanh = graph.add("Tanh", graph.add("Mul", graph.add("Add", y, cube), graph.constant(np.sqrt(2 / np.pi))))
        half = graph.add("Mul", y, graph.constant(0.5))
        x = graph.add("Mul", half, graph.add("Add", tanh, graph.constant(1.0)))
    return x


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
    hidden, layers = graph.add("Unsqueeze", x, graph.constant([1], np.int64)), []
    for number in range(1, config.depth + 1):
        layer, stride = params[f"conv{number}"], config.stride if number == 1 else 1
        before, after = (config.kernel - 1) // 2, config.kernel // 2  # channels of padding
        if stride > 1:
            before, after = stride // 2, stride - stride // 2
        pads = [before, after]
        if config.padding != "zeros":
            widths = graph.constant([0, 0, before, 0, 0, after], np.int64)
            hidden, pads = graph.add("Pad", hidden, widths, mode=config.padding), [0, 0]
        weights = graph.constant(np.transpose(layer["kernel"], (2, 1, 0)))  # [k, in, out] -> [out, in, k]
        bias = graph.constant(layer["bias"])
        taps = list(layer["kernel"].shape[:1])
        hidden = graph.add("Conv", hidden, weights, bias, kernel_shape=taps, pads=pads, strides=[stride])
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
