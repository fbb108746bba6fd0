"""An ONNX graph under construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

FLOAT, DOUBLE = 1, 11  # as ONNX numbers the types


class Graph:
    """Nodes and constants under construction, of one precision; every method returns the name of a value."""

    def __init__(self, dtype: Any = np.float32) -> None:
        import onnx

        self._onnx, self._dtype, self.nodes, self.constants = onnx, np.dtype(dtype), [], []  # type: ignore[var-annotated]
        self.tiny = float(np.finfo(self._dtype).tiny)

    def constant(self, values: Any, dtype: Any = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(self._onnx.numpy_helper.from_array(np.array(values, dtype or self._dtype), name))
        return name

    def cast(self, x: str) -> str:
        """Turn numbers of any kind into those of this graph."""
        return self.add("Cast", x, to=FLOAT if self._dtype == np.float32 else DOUBLE)

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
