"""How each target is learnt: standardised values, distributions over bins, or classes."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Float

from xrd_jax.errors import UserError
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.prepare import Prepared


@dataclasses.dataclass(frozen=True)
class TargetSpec:
    """How one target is learnt.

    Attributes:
      size: outputs of its head: 1 for a value, K bins of a distribution, or the number of classes.
      mean, deviation: training statistics of a regression target, in `unit`; 0 and 1 for classes.
      low, high: outer edges of the bins of a distribution, in `unit`.
      point: what a distribution is reduced to where one value is asked for: 'median' or 'mean'.
    """

    name: str
    kind: str
    unit: str
    size: int
    classes: tuple[str, ...]
    mean: float
    deviation: float
    low: float = 0.0
    high: float = 0.0
    point: str = "median"

    @property
    def is_distribution(self) -> bool:
        return self.kind == "regression" and self.high > self.low

    def to_point(self, probabilities: Float[Array, "*B K"]) -> Float[Array, "*B"]:
        """Return the one value in `unit` that stands for a distribution over the bins."""
        if self.point == "mean":
            return histogram.mean(probabilities, self.low, self.high)
        return histogram.quantile(probabilities, self.low, self.high, 0.5)

    def standardised(self, output: Float[Array, "B K"]) -> Float[Array, " B"]:
        """Return the value that a regression head gives, in training deviations from the training mean."""
        if not self.is_distribution:
            return output[:, 0]
        return (self.to_point(jax.nn.softmax(output, axis=-1)) - self.mean) / self.deviation

    def to_physical(self, output: Float[Array, "B K"]) -> Float[Array, " B"] | Float[Array, "B K"]:
        """Return what a network's output means: a value, or the softmax over the classes.

        Args:
          output: [B, size] what the head of this target gives.

        Returns:
          [B] in `unit` (regression) or [B, K] probabilities (classification).
        """
        if self.is_distribution:
            return self.to_point(jax.nn.softmax(output, axis=-1))
        if self.kind == "regression":
            return output[:, 0] * self.deviation + self.mean
        return jax.nn.softmax(output, axis=-1)


def target_specs(
    prepared: Prepared, names: tuple[str, ...], regression: str = "value", bins: int = 64, point: str = "median"
) -> tuple[TargetSpec, ...]:
    """Return the specifications of the targets `names`.

    Args:
      regression, bins: as in `ModelConfig`: 'value', or 'histogram' over so many bins.
      point: what a distribution is reduced to.

    Raises:
      UserError: a target that the data lack, one that is constant over the training patterns, or one with too few
        values for a distribution.
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
            spec = TargetSpec(name, target.kind, target.unit, 1, (), mean, deviation, point=point)
            specs.append(_as_distribution(spec, values, bins) if regression == "histogram" else spec)
        else:
            size = max(len(target.classes), int(target.values.max()) + 1)
            classes = target.classes or tuple(str(number) for number in range(size))
            specs.append(TargetSpec(name, target.kind, "", size, classes, 0.0, 1.0))
    return tuple(specs)


def _as_distribution(spec: TargetSpec, values: Float[np.ndarray, " n"], bins: int) -> TargetSpec:
    distinct = np.unique(values).size
    if distinct < histogram.MIN_DISTINCT_VALUES:
        raise UserError(
            f"target '{spec.name}' has {distinct} distinct values in the training patterns, too few for a distribution "
            "over bins; use model.regression=value, or make it a target with classes"
        )
    if bins < 4 * histogram.MARGIN_BINS:
        raise UserError(f"model.bins={bins}: a distribution needs at least {4 * histogram.MARGIN_BINS} bins")
    low, high = histogram.bin_range(values, bins)
    return dataclasses.replace(spec, size=bins, low=low, high=high)
