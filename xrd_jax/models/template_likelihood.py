"""The posterior over training patterns, given their likelihood: what can be said of a pattern without any training."""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

TEMPLATE = ("inverse_noise", "patterns", "tangents")  # what `posterior` wants, in its order
# Probability that every bin and class keeps, so that no pattern is impossible.
FLOOR = 1e-5


def posterior(
    inverse_noise: Float[Array, " L"], patterns: Float[Array, "M L"], tangents: Float[Array, "M L"],
    x: Float[Array, "B L"],
) -> Float[Array, "B M"]:  # fmt: skip
    """Return the probability of every template, all equally likely beforehand, whatever the zero shift d ~ N(0, 1).

    With x, μ and t in units of the noise,

        log p(j | x) = x·μ_j − |μ_j|²/2 + (t_j·(x − μ_j))² / 2 (1 + |t_j|²) − log(1 + |t_j|²) / 2 + a constant.

    Args:
      inverse_noise: that inputs are multiplied by.
      patterns: expected inputs μ, in units of the noise.
      tangents: their change t with one standard deviation of the zero shift, in the same units.
      x: inputs, not yet in units of the noise.
    """
    x = x * inverse_noise[None, :]
    along = x @ tangents.T - (patterns * tangents).sum(axis=1)[None, :]
    freedom = 1.0 + (tangents**2).sum(axis=1)[None, :]
    logs = x @ patterns.T - 0.5 * (patterns**2).sum(axis=1)[None, :] + 0.5 * (along**2 / freedom - jnp.log(freedom))
    return jax.nn.softmax(logs, axis=1)


class TemplateLikelihood(nn.Module):
    """log p(target | x) = log Σ_j p(j | x) p(target | j), over the expected training patterns j.

    They are statistics of the training patterns: saved with the batch statistics, and not trained.
    """

    outputs: tuple[tuple[str, int], ...]

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L"], templates: Mapping[str, Float[Array, "..."]] | None = None
    ) -> dict[str, Float[Array, "B K"]]:
        """Return the logarithm of the probabilities of every target's bins or classes.

        Args:
          templates: 'inverse_noise' [L], 'patterns' and 'tangents' [M, L] and 'labels_NAME' [M, K]; only to initialise.
        """

        def stored(name: str) -> Array:
            return self.variable("batch_stats", name, lambda: jnp.asarray((templates or {})[name], jnp.float32)).value

        inverse_noise, patterns, tangents = (stored(name) for name in TEMPLATE)
        weights = posterior(inverse_noise, patterns, tangents, x.astype(jnp.float32))
        return {name: jnp.log(weights @ stored(f"labels_{name}") + FLOOR) for name, _ in self.outputs}
