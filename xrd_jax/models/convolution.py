"""A 1-D convolution in the form that the device is fastest at, with the parameters of `flax.linen.Conv`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Convolution(nn.Module):
    """y_i = Σ_k x_{i + k} W_k + b over the padded input, in the precision `dtype`.

    Attributes:
      padding: zeros on the left and on the right.
      stride: input positions per output position.
    """

    width: int
    kernel: int
    padding: tuple[int, int]
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    dtype: jnp.dtype | None = None
    stride: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "B L D"]) -> Float[Array, "B M F"]:
        weights = self.param("kernel", self.kernel_init, (self.kernel, x.shape[-1], self.width))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.width,))
        x, weights, bias = (value.astype(self.dtype or value.dtype) for value in (x, weights, bias))
        form = direct if jax.default_backend() == "cpu" else as_product
        return form(x, weights, self.padding, self.stride) + bias[None, None, :]


def direct(
    x: Float[Array, "B L D"], weights: Float[Array, "taps D F"], padding: tuple[int, int], stride: int = 1
) -> Float[Array, "B M F"]:
    """Convolve with XLA: the fastest on a CPU; many networks side by side make it a grouped one, slow on a GPU."""
    return jax.lax.conv_general_dilated(x, weights, (stride,), (padding,), dimension_numbers=("NWC", "WIO", "NWC"))


def as_product(
    x: Float[Array, "B L D"], weights: Float[Array, "taps D F"], padding: tuple[int, int], stride: int = 1
) -> Float[Array, "B M F"]:
    """Convolve by one matrix product over gathered windows, which stays one product per network under `vmap`."""
    padded = jnp.pad(x, ((0, 0), padding, (0, 0)))
    end = padded.shape[1] - len(weights) + 1
    windows = jnp.concatenate([padded[:, k : k + end : stride] for k in range(len(weights))], axis=2)
    return windows @ weights.reshape(-1, weights.shape[2])
