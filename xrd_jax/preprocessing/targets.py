"""How each target is learnt: standardised values, or classes."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Float

from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import Prepared


@dataclasses.dataclass(frozen=True)
class TargetSpec:
    """How one target is learnt.

    Attributes:
      size: outputs of its head: 1, or the number of classes.
      mean, deviation: training statistics of a regression target, in `unit`; 0 and 1 for classes.
    """

    name: str
    kind: str
    unit: str
    size: int
    classes: tuple[str, ...]
    mean: float
    deviation: float

    def to_physical(self, output: Float[Array, "B K"]) -> Float[Array, " B"] | Float[Array, "B K"]:
        """Return what a network's output means: output · deviation + mean, or the softmax over the classes.

        Args:
          output: [B, size] what the head of this target gives.

        Returns:
          [B] in `unit` (regression) or [B, K] probabilities (classification).
        """
        if self.kind == "regression":
            return output[:, 0] * self.deviation + self.mean
        return jax.nn.softmax(output, axis=-1)


def target_specs(prepared: Prepared, names: tuple[str, ...]) -> tuple[TargetSpec, ...]:
    """Return the specifications of the targets `names`.

    Raises:
      UserError: a target that the data lack, or one that is constant over the training patterns.
    """
    specs = []
    for name in names:
        if name not in prepared.series.targets:
            names_there = ", ".join(prepared.series.targets) or "none"
            raise UserError(
                f"the data have no target '{name}' (they have: {names_there}); choose another case or add the target"
            )
        target = prepared.series.targets[name]
        values = target.values[prepared.train]
        if np.unique(values).size < 2:
            raise UserError(
                f"target '{name}' has a single value or class in the training patterns; nothing can be learnt"
            )
        if target.kind == "regression":
            mean, deviation = float(values.mean()), float(values.std())
            specs.append(TargetSpec(name, target.kind, target.unit, 1, (), mean, deviation))
        else:
            size = max(len(target.classes), int(target.values.max()) + 1)
            classes = target.classes or tuple(str(number) for number in range(size))
            specs.append(TargetSpec(name, target.kind, "", size, classes, 0.0, 1.0))
    return tuple(specs)
