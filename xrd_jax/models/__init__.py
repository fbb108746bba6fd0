"""The network behind one seam: `build` gives pure functions; Flax stops at this folder's door."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from xrd_jax.config.schema import ModelConfig
from xrd_jax.errors import UserError
from xrd_jax.models.network import Network

Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Model:
    """A network as pure functions.

    Attributes:
      init: (key, templates) -> variables {'params': …, 'batch_stats': …}; the templates are those of
        `template_likelihood`, None where the network has no such part.
      apply: (variables, x [B, L]) -> (outputs {target: [B, K]}, intermediates with 'attention' [B, L, L]).
      apply_train: (variables, x, dropout key) -> (outputs, intermediates, new batch_stats).
      receptive_offset: input channels by which a query of the attention is centred to the right of its index.
    """

    init: Callable[..., Variables]
    apply: Callable[[Variables, Array], tuple[dict[str, Array], dict[str, Any]]]
    apply_train: Callable[[Variables, Array, PRNGKeyArray], tuple[dict[str, Array], dict[str, Any], Variables]]
    receptive_offset: float


@functools.lru_cache(maxsize=16)
def build(
    config: ModelConfig, length: int, outputs: tuple[tuple[str, int], ...], batch_axis: str | None = None
) -> Model:
    """Return the network for patterns of `length` channels; equal arguments give the same object.

    So programs that were compiled for a model serve every later run of this process.

    Args:
      outputs: (target name, size) pairs.
      batch_axis: name of the device axis that training batches are divided over; batch statistics are then those of
        the whole batch. `apply_train` works only under that axis.

    Raises:
      UserError: layers or heads that do not fit.
    """
    for name in ("query_layer", "key_layer"):
        if not 1 <= getattr(config, name) <= config.depth:
            raise UserError(f"model.{name}={getattr(config, name)}: the stack has layers 1 to {config.depth}")
    if config.heads < 1 or config.width % config.heads:
        raise UserError(f"model.heads={config.heads}: must divide model.width={config.width}")
    if config.stride < 1 or length % config.stride:
        raise UserError(f"model.stride={config.stride}: must divide the {length} channels (prepare.channels)")
    if not 0.0 <= config.likelihood <= 1.0:
        raise UserError(f"model.likelihood={config.likelihood}: a share lies between 0 and 1")
    network = Network(config, outputs, batch_axis)

    def init(key: PRNGKeyArray, templates: Mapping[str, Any] | None = None) -> Variables:
        variables = Network(config, outputs).init(key, jnp.zeros((2, length)), train=False, templates=templates)
        return {"params": variables["params"], "batch_stats": variables.get("batch_stats", {})}

    def apply(variables: Variables, x: Float[Array, "B L"]) -> tuple[dict[str, Array], dict[str, Any]]:
        return network.apply(variables, x, train=False)

    def apply_train(
        variables: Variables, x: Float[Array, "B L"], key: PRNGKeyArray
    ) -> tuple[dict[str, Array], dict[str, Any], Variables]:
        (predictions, intermediates), updated = network.apply(
            variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": key}
        )
        return predictions, intermediates, updated.get("batch_stats", {})

    return Model(init, apply, apply_train, layer_offset(config, config.query_layer))


def layer_offset(config: ModelConfig, layer: int) -> float:
    """Return by how many input channels a layer's feature is centred to the right of its own channel, or block of them.

    Every even kernel adds half a position; a first layer with a stride is centred on its block.
    """
    layers = layer - (config.stride > 1)
    return layers * config.stride * ((config.kernel - 1) % 2) / 2
