"""Attention over the pattern itself, one map per target, that learns to say what the network draws on.

The attention of the paper weighs features of hidden layers that each see a tenth of the pattern; its map need not tell
where a prediction comes from. Here every target has a query of its own over input channels. What it attends to enters
the prediction, and its map is trained to be the share of each channel in the Fisher information that the network takes
from a noisy pattern, (dy/dx)² var(x): `training/own_maps.py`. Kernels are odd, so a map lies where its pattern lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import ModelConfig
from xrd_jax.models.convolution import Convolution

WIDTH, KERNEL, DEPTH = 16, 9, 3


class InputAttention(nn.Module):
    """Maps over input channels and what they gather, per target.

    Attributes:
      targets: their names.
    """

    config: ModelConfig
    targets: Sequence[str]

    @nn.compact
    def __call__(self, x: Float[Array, "B L"]) -> tuple[dict[str, Float[Array, "B L"]], dict[str, Float[Array, "B D"]]]:
        """({target: log of its attention [B, L]}, {target: attended features [B, D]})."""
        dtype = jnp.dtype(self.config.precision)
        hidden = x[:, :, None].astype(dtype)
        for layer in range(1, DEPTH + 1):
            ends = (KERNEL // 2, KERNEL // 2)
            hidden = jax.nn.relu(Convolution(WIDTH, KERNEL, ends, dtype=dtype, name=f"conv{layer}")(hidden))
        count = len(self.targets)
        # What a channel means depends on where it is: every channel has a bias of its own.
        place = self.param("place", nn.initializers.zeros_init(), (x.shape[1], count))
        logits = nn.Dense(count, name="query")(hidden.astype(jnp.float32)) + place[None, :, :]
        logs = jax.nn.log_softmax(logits, axis=1)
        gathered = jnp.einsum("blt,bld->btd", jnp.exp(logs), hidden.astype(jnp.float32))
        names = enumerate(self.targets)
        return {name: logs[:, :, t] for t, name in names}, {name: gathered[:, t] for t, name in enumerate(self.targets)}
