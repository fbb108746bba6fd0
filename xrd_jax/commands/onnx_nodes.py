"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


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
