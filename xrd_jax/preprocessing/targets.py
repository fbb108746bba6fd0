"""How each target is learnt: standardised values, or classes."""

from __future__ import annotations

import dataclasses

import numpy as np

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


def target_specs(prepared: Prepared, names: tuple[str, ...]) -> tuple[TargetSpec, ...]:
    """Specifications of the targets `names`.

    Raises:
      UserError: a target that the data lack, or one that is constant over the training patterns.
    """
    specs = []
    for name in names:
        if name not in prepared.series.targets:
            known = ", ".join(prepared.series.targets) or "none"
            raise UserError(
                f"the data have no target '{name}' (they have: {known}); choose another case or add the target"
            )
        target = prepared.series.targets[name]
        values = target.values[prepared.train]
        if np.unique(values).size < 2:
            raise UserError(
                f"target '{name}' has a single value or class in the training patterns; nothing can be learnt"
            )
        if target.kind == "regression":
            moments = float(values.mean()), float(values.std())
            specs.append(TargetSpec(name, target.kind, target.unit, 1, (), *moments))
        else:
            size = max(len(target.classes), int(target.values.max()) + 1)
            classes = target.classes or tuple(str(i) for i in range(size))
            specs.append(TargetSpec(name, target.kind, "", size, classes, 0.0, 1.0))
    return tuple(specs)
