"""Loss and errors of patterns that training does not see, while it runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrd_jax.config.schema import Config
from xrd_jax.models import Model, Variables
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.training.losses import loss_and_metrics

MAX_PATTERNS = 512  # evaluated while training, about; all of them would hold the training up
COVERAGE = 0.9  # nominal level of the intervals whose coverage is followed


class HeldOut:
    """Evenly spaced patterns of a part of the series, prepared once, evaluated by one program.

    Args:
      indices: the patterns of `prepared.series` to take from.
    """

    def __init__(self, config: Config, prepared: Prepared, network: tuple[Model, tuple[TargetSpec, ...]], indices: Any):
        model, specs = network
        rows = np.asarray(indices)[:: max(1, len(indices) // MAX_PATTERNS)]
        self._inputs = prepare_inputs(prepared, config.prepare, rows)
        self._targets: dict[str, Array] = {}
        for spec in specs:
            dtype = jnp.float32 if spec.kind == "regression" else jnp.int32
            self._targets[spec.name] = jnp.asarray(prepared.series.targets[spec.name].values[rows], dtype)

        def evaluate(variables: Variables, inputs: Array, targets: dict[str, Array]) -> dict[str, Array]:
            outputs, _ = model.apply(variables, inputs)
            metrics = loss_and_metrics(outputs, targets, specs, config.train)[1]
            return metrics | _calibration(outputs, targets, specs)

        def evaluate_seeds(variables: Variables, inputs: Array, targets: dict[str, Array]) -> dict[str, Array]:
            return jax.lax.map(lambda seed_variables: evaluate(seed_variables, inputs, targets), variables)

        self._program = jax.jit(evaluate_seeds)

    def __call__(self, variables: Variables) -> dict[str, Float[np.ndarray, " S"]]:
        """Return 'loss' and the parts of it and errors as in training, and how well probabilities are calibrated.

        'coverage90/NAME' is the share of values within the middle 90 % of their distribution; 'overconfidence/NAME' is
        the mean probability of the predicted class less the accuracy.
        """
        return jax.tree.map(np.asarray, self._program(variables, self._inputs, self._targets))


def _calibration(
    outputs: dict[str, Array], targets: dict[str, Array], specs: tuple[TargetSpec, ...]
) -> dict[str, Float[Array, ""]]:
    metrics = {}
    for spec in specs:
        output, target = outputs[spec.name], targets[spec.name]
        if spec.kind == "regression" and not spec.is_distribution:
            continue
        probabilities = jax.nn.softmax(output)
        if spec.is_distribution:
            tails = ((1.0 - COVERAGE) / 2, (1.0 + COVERAGE) / 2)
            low, high = (histogram.quantile(probabilities, spec.low, spec.high, level) for level in tails)
            metrics[f"coverage90/{spec.name}"] = ((target >= low) & (target <= high)).astype(jnp.float32).mean()
        else:
            is_right = (output.argmax(axis=-1) == target).astype(jnp.float32)
            metrics[f"overconfidence/{spec.name}"] = (probabilities.max(axis=-1) - is_right).mean()
    return metrics
