"""Attention over the pattern itself, one map per target, that learns to show what the network draws on.

The attention of the paper weighs features of hidden layers that each see a tenth of the pattern; its map need not tell
where a prediction comes from. Here every target has a query of its own over input channels. What it attends to enters
the prediction, and its map is trained to be the share of each channel in the Fisher information that the network takes
from a noisy pattern, (dy/dx)² var(x): `training/attention_supervision.py`. Kernels are odd, so a map lies where its
pattern lies.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import ModelConfig
from xrd_jax.models.convolution import Convolution

WIDTH, KERNEL, DEPTH = 16, 9, 3  # features and taps (channels) of each convolution, and how many there are


class InputAttention(nn.Module):
    """A = softmax over input channels l of h_l · q + b_l and Σ_l A_l h_l, for every target.

    Attributes:
      targets: their names.
    """

    config: ModelConfig
    targets: Sequence[str]

    @nn.compact
    def __call__(self, x: Float[Array, "B L"]) -> tuple[dict[str, Float[Array, "B L"]], dict[str, Float[Array, "B D"]]]:
        """Return {target: log of its attention} and {target: attended features}."""
        dtype = jnp.dtype(self.config.precision)
        hidden = x[:, :, None].astype(dtype)
        for layer in range(1, DEPTH + 1):
            padding = (KERNEL // 2, KERNEL // 2)
            hidden = jax.nn.relu(Convolution(WIDTH, KERNEL, padding, dtype=dtype, name=f"conv{layer}")(hidden))
        count = len(self.targets)
        # What a channel means depends on where it is: every channel has a bias of its own.
        channel_bias = self.param("place", nn.initializers.zeros_init(), (x.shape[1], count))
        logits = nn.Dense(count, name="query")(hidden.astype(jnp.float32)) + channel_bias[None, :, :]
        log_attention = jax.nn.log_softmax(logits, axis=1)
        attended = jnp.einsum("blt,bld->btd", jnp.exp(log_attention), hidden.astype(jnp.float32))
        return (
            {name: log_attention[:, :, i] for i, name in enumerate(self.targets)},
            {name: attended[:, i] for i, name in enumerate(self.targets)},
        )
