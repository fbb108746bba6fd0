"""The loss of the paper, a weighted sum of log-cosh and cross-entropies, with the metrics that belong to it."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from xrd_jax.config.schema import TrainConfig
from xrd_jax.preprocessing import histogram
from xrd_jax.preprocessing.targets import TargetSpec

REGRESSION_LOSSES = {
    "log_cosh": lambda residual: optax.log_cosh(residual),
    "huber": lambda residual: optax.huber_loss(residual),
    "squared": lambda residual: 0.5 * residual**2,
}


def loss_and_metrics(
    outputs: dict[str, Float[Array, "B _"]],
    targets: dict[str, Array],
    specs: tuple[TargetSpec, ...],
    config: TrainConfig,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Return the mean loss over a batch, and its parts.

    Regression: f(r / u), r = prediction − target and u = `regression_scale`, both in training standard deviations.
    A distribution: cross-entropy in nat to the label smoothed by `label_width` bins.
    Classification: softmax cross-entropy in nat.

    Args:
      outputs: network outputs; regression values are standardised by the training mean and deviation.
      targets: name -> [B] values in their own unit, or class indices.

    Returns:
      (loss, {'loss/NAME', 'mae/NAME' in the target's unit or 'accuracy/NAME'}).
    """
    loss, metrics = jnp.float32(0.0), {}
    for spec in specs:
        output, target = outputs[spec.name], targets[spec.name]
        if spec.kind == "regression":
            residual = spec.standardised(output) - (target - spec.mean) / spec.deviation
            if spec.is_distribution:
                target_loss = optax.softmax_cross_entropy(output, _smoothed_labels(spec, target, config)).mean()
            else:
                target_loss = REGRESSION_LOSSES[config.regression_loss](residual / config.regression_scale).mean()
            metrics[f"mae/{spec.name}"] = jnp.abs(residual).mean() * spec.deviation
            weight = config.loss_weights.get(spec.name, config.regression_weight)
        else:
            target_loss = optax.softmax_cross_entropy_with_integer_labels(output, target).mean()
            metrics[f"accuracy/{spec.name}"] = (output.argmax(axis=-1) == target).astype(jnp.float32).mean()
            weight = config.loss_weights.get(spec.name, config.class_weight)
        metrics[f"loss/{spec.name}"] = target_loss
        loss = loss + weight * target_loss
    return loss, metrics | {"loss": loss}


def _smoothed_labels(spec: TargetSpec, target: Float[Array, " B"], config: TrainConfig) -> Float[Array, "B K"]:
    edges = jnp.linspace(spec.low, spec.high, spec.size + 1, dtype=target.dtype)
    return histogram.smoothed_labels(target, edges, config.label_width * (spec.high - spec.low) / spec.size)
