"""Chosen estimators as ONNX nodes, as `xrd_jax.estimators.predictor` has them; in double precision."""

from __future__ import annotations

import numpy as np

from xrd_jax.commands.onnx_nodes import FLOAT, Graph
from xrd_jax.estimators.predictor import GaussianProcess, Linear, Predictor, Trees, bounds

ML = "ai.onnx.ml"  # the domain of the operator for trees


def predicted(graph: Graph, predictor: Predictor, size: int, x: str) -> str:
    """[b, L] -> [b], or [b, size] for as many classes: `Predictor.predict`."""
    function = predictor.function
    if isinstance(function, Linear):
        y = _linear(graph, function, x)
    else:
        y = _trees(graph, function, x) if isinstance(function, Trees) else _gaussian_process(graph, function, x)
    if predictor.kind == "classification":
        return _probabilities(graph, y, size)
    low, high = (graph.constant(end) for end in bounds(predictor.low, predictor.high))
    return graph.add("Clip", graph.reshape(y, [-1]), low, high)


def _linear(graph: Graph, function: Linear, x: str) -> str:
    y = graph.add("MatMul", x, graph.constant(function.coefficients))
    return graph.add("Add", y, graph.constant(function.intercept[None]))


def _gaussian_process(graph: Graph, function: GaussianProcess, x: str) -> str:
    z = graph.add("MatMul", x, graph.constant(function.components))
    z = graph.add("Sub", z, graph.constant(function.offset[None]))
    products = graph.add("MatMul", z, graph.constant(function.scores.T))
    squares = graph.add("Add", graph.reduce("ReduceSum", graph.add("Mul", z, z)),
                        graph.constant((function.scores**2).sum(axis=1)[None]))  # fmt: skip
    squares = graph.add("Sub", squares, graph.add("Mul", products, graph.constant(2.0)))
    exponent = graph.add("Mul", graph.add("Max", squares, graph.constant(0.0)),
                         graph.constant(-0.5 / function.length**2))  # fmt: skip
    radial = graph.add("Mul", graph.add("Exp", exponent), graph.constant(function.radial))
    kernel = graph.add("Add", radial, graph.add("Mul", products, graph.constant(function.linear)))
    y = graph.add("MatMul", kernel, graph.constant(function.weights))
    return graph.add("Add", y, graph.constant(function.intercept[None]))


def _trees(graph: Graph, function: Trees, x: str) -> str:
    """[b, L] -> [b, out]; the operator sums in single precision, so that it gets deviations from a mean."""
    is_node = _reachable(function)
    tree, node = np.nonzero(is_node)
    feature, is_leaf = function.feature[is_node], function.feature[is_node] < 0
    mean = function.value[is_node][is_leaf].mean(axis=0)
    leaf_tree, leaf_node, size = tree[is_leaf], node[is_leaf], mean.size
    y = graph.add(
        "TreeEnsembleRegressor",
        graph.add("Cast", x, to=FLOAT),
        domain=ML,
        n_targets=size,
        aggregate_function="AVERAGE",
        nodes_treeids=tree.tolist(),
        nodes_nodeids=node.tolist(),
        nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=np.maximum(feature, 0).tolist(),
        nodes_values=_rounded_down(np.where(is_leaf, 0.0, function.threshold[is_node])).tolist(),
        nodes_truenodeids=np.where(is_leaf, 0, function.left[is_node]).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, function.right[is_node]).tolist(),
        target_treeids=np.repeat(leaf_tree, size).tolist(),
        target_nodeids=np.repeat(leaf_node, size).tolist(),
        target_ids=np.tile(np.arange(size), leaf_tree.size).tolist(),
        target_weights=(function.value[is_node][is_leaf] - mean).ravel().tolist(),
    )
    return graph.add("Add", graph.cast(y), graph.constant(mean[None]))


def _reachable(function: Trees) -> np.ndarray:
    """Return [trees, nodes] which are nodes, and do not merely fill a tree up to the size of the largest."""
    is_node = np.zeros(function.feature.shape, bool)
    is_node[:, 0] = True
    for children in (function.left, function.right):
        tree, node = np.nonzero(children >= 0)
        is_node[tree, children[tree, node]] = True
    return is_node


def _rounded_down(threshold: np.ndarray) -> np.ndarray:
    """Return the largest single-precision numbers not above: inputs of that precision are on the same side of them."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _probabilities(graph: Graph, y: str, classes: int) -> str:
    positive = graph.add("Max", y, graph.constant(0.0))
    total = graph.reduce("ReduceSum", positive)
    is_any = graph.add("Greater", total, graph.constant(0.0))
    shares = graph.add("Div", positive, graph.add("Where", is_any, total, graph.constant(1.0)))
    return graph.add("Where", is_any, shares, graph.constant(1.0 / classes))
