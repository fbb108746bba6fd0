"""What the maps over the input are taught: the shares of the channels in the information that predictions draw on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from xrd_jax.models import Model, Variables
from xrd_jax.preprocessing.targets import TargetSpec

MAX_PATTERNS = 16  # of a batch whose maps are taught in a step; each costs a backward pass per target


def fisher_target(
    model: Model, specs: tuple[TargetSpec, ...], variables: Variables,
    x: Float[Array, "B L"], variance: Float[Array, "B L"], key: PRNGKeyArray,
) -> dict[str, Float[Array, "B L"]]:  # fmt: skip
    """Return (dy/dx)² var(x) per target, each pattern's map with sum 1, without gradient.

    For classes dy is the slope of log p of a class drawn from the prediction, whose mean square is the Fisher
    information of the classes.

    Args:
      variance: of the noise at the network's input.
    """
    fixed = jax.lax.stop_gradient(variables)
    outputs, pull_back = jax.vjp(lambda inputs: model.apply(fixed, inputs)[0], x)
    maps = {}
    for index, spec in enumerate(specs):
        zeros = jax.tree.map(jnp.zeros_like, outputs)
        if spec.kind == "regression":
            cotangent = jax.grad(lambda output, spec=spec: spec.standardised(output).sum())(outputs[spec.name])
        else:
            logits = outputs[spec.name]
            drawn = jax.random.categorical(jax.random.fold_in(key, index), logits)
            cotangent = jax.nn.one_hot(drawn, logits.shape[1]) - jax.nn.softmax(logits)
        information = pull_back(zeros | {spec.name: cotangent})[0] ** 2 * variance
        total = information.sum(axis=1, keepdims=True)
        maps[spec.name] = information / jnp.maximum(total, jnp.finfo(total.dtype).tiny)
    return jax.lax.stop_gradient(maps)


def loss(log_attention: dict[str, Float[Array, "B L"]], maps: dict[str, Float[Array, "b L"]]) -> Float[Array, ""]:
    """Return the cross-entropy (nat) of the maps of the first b patterns, mean over targets and patterns."""
    parts = [-(target * log_attention[name][: len(target)]).sum(axis=1).mean() for name, target in maps.items()]
    return jnp.stack(parts).mean()
