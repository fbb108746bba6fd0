"""The network of the paper: a stack of 1-D convolutions, attention between two of its layers, one output per target."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xrd_jax.config.schema import ModelConfig
from xrd_jax.models.attention import Attention
from xrd_jax.models.convolution import Convolution
from xrd_jax.models.input_attention import InputAttention
from xrd_jax.models.template_likelihood import TemplateLikelihood


class ConvStack(nn.Module):
    """`depth` convolutions of equal width with ReLU, all outputs returned.

    An even kernel pads (kernel − 1) // 2 channels on the left and kernel // 2 on the right, as 'SAME' does, so that
    every layer sees half a channel further to the right: feature i of layer n is centred on input channel i + n / 2.
    With a stride, feature i of the first layer is centred on its block of `stride` channels.

    Attributes:
      batch_axis: name of the device axis that the batch is divided over, which batch normalisation averages over.
    """

    config: ModelConfig
    batch_axis: str | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "B L"], train: bool) -> list[Float[Array, "B positions D"]]:
        config = self.config
        init = getattr(nn.initializers, config.init)()
        margins = ((config.kernel - 1) // 2, config.kernel // 2)
        pads_zeros = config.padding == "zeros"  # the convolution pads with zeros itself, without a copy
        dtype = jnp.dtype(config.precision)
        hidden, layers = x[:, :, None].astype(dtype), []
        for layer in range(1, config.depth + 1):
            stride = config.stride if layer == 1 else 1
            kernel, pads = (2 * stride, (stride // 2, stride - stride // 2)) if stride > 1 else (config.kernel, margins)
            padded = hidden if pads_zeros else jnp.pad(hidden, ((0, 0), pads, (0, 0)), mode=config.padding)
            padding = pads if pads_zeros else (0, 0)
            hidden = Convolution(config.width, kernel, padding, init, dtype, stride, name=f"conv{layer}")(padded)
            if layer == config.norm_layer:
                norm = nn.BatchNorm(
                    use_running_average=not train,
                    momentum=config.norm_momentum,
                    axis_name=self.batch_axis if train else None,
                    dtype=dtype,
                    name=f"norm{layer}",
                )
                with jax.numpy_dtype_promotion("standard"):  # float32 statistics of bfloat16 features
                    hidden = norm(jax.nn.relu(hidden)) if config.norm_place == "after" else jax.nn.relu(norm(hidden))
            else:
                hidden = jax.nn.relu(hidden)
            layers.append(hidden)
        return layers


class Dropout(nn.Module):
    """Zero a share `rate` of the features; the mask is that of the undivided batch, also where devices share it."""

    rate: float
    batch_axis: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "B F"], train: bool) -> Float[Array, "B F"]:
        if not train or self.rate == 0.0:
            return x
        size = len(x)
        devices = 1 if self.batch_axis is None else jax.lax.axis_size(self.batch_axis)
        mask = jax.random.bernoulli(self.make_rng("dropout"), 1.0 - self.rate, (devices * size, x.shape[1]))
        if self.batch_axis is not None:
            mask = jax.lax.dynamic_slice_in_dim(mask, jax.lax.axis_index(self.batch_axis) * size, size)
        return jnp.where(mask, x / (1.0 - self.rate), 0.0)


class DenseLayers(nn.Module):
    """Two dense layers with layer normalisation and GELU, over the whole pattern at once."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "B L"]) -> Float[Array, "B F"]:
        for layer in (1, 2):
            x = jax.nn.gelu(nn.LayerNorm(name=f"norm{layer}")(nn.Dense(self.width, name=f"dense{layer}")(x)))
        return x


class Network(nn.Module):
    """Pattern in, predictions and attention out.

    Attributes:
      outputs: (target name, size) pairs: size 1 for a regression target, the number of classes K otherwise.
      batch_axis: name of the device axis that the batch is divided over, if it is.
    """

    config: ModelConfig
    outputs: tuple[tuple[str, int], ...]
    batch_axis: str | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "B L"], train: bool = False, templates: Mapping[str, Array] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return the outputs {target: [B, K]} and the intermediates by name.

        With `likelihood` the outputs are weighted means of log-probabilities, its own and those of the training
        patterns. It takes no part in training: a training pattern is its own template.

        These are 'attention' [B, L, L], 'max_over_keys' [B, L] of it, and 'query', 'key', 'combined' [B, L, D]; with a
        stride, blocks of channels have one position in the last three, and equal values in the others. With faithful
        attention there is 'input_attention' as well: {target: logarithm of its map over input channels [B, L]}. Outputs
        and attention are float32 whatever the precision of the products inside.
        """
        config = self.config
        layers = ConvStack(config, self.batch_axis, name="stack")(x, train)
        query, key = layers[config.query_layer - 1], layers[config.key_layer - 1]
        combined, attention, max_over_keys = Attention(config, name="attention")(query, key)
        if config.combination == "tanh":
            combined = jnp.tanh(combined)
        flat = combined.mean(axis=1) if config.pooling == "mean" else combined.reshape(combined.shape[0], -1)
        flat = Dropout(config.dropout, self.batch_axis)(flat, train)
        if config.stride > 1:
            attention = attention.repeat(config.stride, axis=1).repeat(config.stride, axis=2) / config.stride
            max_over_keys = max_over_keys.repeat(config.stride, axis=1)
        intermediates: dict[str, Any] = {
            "attention": attention, "max_over_keys": max_over_keys, "query": query, "key": key, "combined": combined,
        }  # fmt: skip
        flat, attended = flat.astype(jnp.float32), {}
        if config.attention == "faithful":
            targets = [name for name, _ in self.outputs]
            intermediates["input_attention"], attended = InputAttention(config, targets, name="own")(x)
        if config.dense:
            flat = jnp.concatenate([flat, DenseLayers(config.dense, name="dense")(x)], axis=1)
        heads = {}
        for name, size in self.outputs:
            features = jnp.concatenate([flat, attended[name]], axis=1) if attended else flat
            heads[name] = nn.Dense(size, name=f"head_{name}")(features)
        if config.likelihood and (not train or self.is_initializing()):
            known = TemplateLikelihood(self.outputs, name="likelihood")(x, templates)
            share = config.likelihood
            heads = {name: (1 - share) * nn.log_softmax(heads[name]) + share * known[name] for name in heads}
        return heads, intermediates
