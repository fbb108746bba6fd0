"""Where a training runs: seeds along one axis of a mesh of devices, shares of every batch along the other.

One compiled program takes a group of seeds, so that memory does not grow with their number; groups take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xrd_jax.config.schema import ModelConfig
from xrd_jax.errors import UserError

SEED, BATCH = "seed", "batch"
MOST = 32  # seeds on one accelerator; measured gains are small beyond
SHARE = 16  # patterns of a batch that keep a core busy; with fewer, cores wait for each other


class Group(NamedTuple):
    """Seeds that one compiled call takes together.

    Attributes:
      begin, seeds: the first of them, by position in the list of seeds, and how many.
      local: seeds on each device; where `seeds` is no multiple of the places, copies of the last seed fill up.
      mesh: the devices, [seed, batch]; None for the default device alone.
    """

    begin: int
    seeds: int
    local: int
    mesh: Mesh | None

    @property
    def places(self) -> int:
        """Seeds that the compiled call takes, copies included."""
        return self.local * (self.mesh.shape[SEED] if self.mesh is not None else 1)

    def rows(self) -> np.ndarray:
        """[places] positions in the list of seeds."""
        return self.begin + np.minimum(np.arange(self.places), self.seeds - 1)


def grid(seeds: int, batch_devices: int, batch: int) -> np.ndarray:
    """Devices [seed, batch] for `seeds` networks that learn from `batch` patterns at a time.

    Args:
      batch_devices: devices that share a batch; 0 for as many cores as have `SHARE` patterns each and divide the batch,
        for one accelerator or, with several processes, for all devices that the seeds leave.

    Raises:
      UserError: more devices asked for than there are, or a number that leaves some process without work.
    """
    devices, many = np.asarray(jax.devices()), jax.process_count() > 1
    if batch_devices == 0:
        if many:
            rows = max(n for n in range(1, devices.size + 1) if devices.size % n == 0 and n <= seeds)
            batch_devices = devices.size // rows
        else:
            most = min(devices.size, batch // SHARE) if jax.default_backend() == "cpu" else 1
            batch_devices = max((n for n in range(1, most + 1) if batch % n == 0), default=1)
    if batch_devices < 0 or batch_devices > devices.size or (many and devices.size % batch_devices):
        raise UserError(
            f"train.batch_devices={batch_devices}: there are {devices.size} devices"
            + (", which it must divide" if many else "; on a CPU, JAX_NUM_CPU_DEVICES sets their number")
        )
    rows = devices.size // batch_devices
    rows = rows if many else min(rows, seeds)
    return devices[: rows * batch_devices].reshape(rows, batch_devices)


def groups(seeds: int, devices: np.ndarray, most: int) -> list[Group]:
    """Groups of equal size for `seeds` networks, `most` of them on a device at a time; the last may be smaller.

    Args:
      devices: [seed, batch], as `grid` gives them.
    """
    rows = len(devices)
    turns = -(-seeds // (rows * most))
    local = -(-seeds // (rows * turns))
    found = []
    for begin in range(0, seeds, rows * local):
        own = min(rows * local, seeds - begin)
        # Every process must take part in every group; devices of this process alone may rest.
        used = rows if jax.process_count() > 1 else -(-own // local)
        mesh = Mesh(devices[:used], (SEED, BATCH)) if devices[:used].size > 1 else None
        found.append(Group(begin, own, local, mesh))
    return found


def most_seeds(per_call: int, devices: np.ndarray, model: ModelConfig, length: int, batch: int) -> int:
    """Seeds on one device at a time: `per_call` shared out, or if 0 one on a CPU and what fits on an accelerator."""
    if per_call:
        return max(1, per_call // len(devices))
    if jax.default_backend() == "cpu":
        return 1
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 8 << 30)
    share = -(-batch // devices.shape[1])
    return int(np.clip(0.5 * limit / step_bytes(model, length, share), 1, MOST))


def step_bytes(model: ModelConfig, length: int, batch: int) -> int:
    """What the activations of a step take at most: four per layer and four attention matrices, in float32."""
    return 4 * batch * length * (4 * model.depth * model.width + 4 * model.heads * length)


def shard_jit(stacked: Callable[..., Any], mesh: Mesh | None, shared: int, donate: bool = False) -> Callable[..., Any]:
    """Compiles a function of stacked seeds so that each device takes its rows; the last `shared` arguments are common.

    No device waits for another, unless `stacked` itself says so along the batch axis.
    """

    def placed(*args):
        if mesh is None:
            return stacked(*args)
        specs = (P(SEED),) * (len(args) - shared) + (P(),) * shared
        return jax.shard_map(stacked, mesh=mesh, in_specs=specs, out_specs=P(SEED), check_vma=False)(*args)

    return jax.jit(placed, donate_argnums=0 if donate else ())


def rows(size: int) -> Mesh | None:
    """This process's devices for `size` patterns that need nothing of each other; None for the default device alone."""
    local = jax.local_devices()
    return Mesh(np.asarray(local), (BATCH,)) if len(local) > 1 and size % len(local) == 0 else None


def device_put(tree: Any, mesh: Mesh | None, spec: P) -> Any:
    """Arrays that every process has alike, laid over the devices of `mesh`; cores share one copy of what they share."""
    if mesh is None:
        return jax.device_put(tree)
    sharding = NamedSharding(mesh, spec)
    if jax.process_count() == 1:
        # A NumPy view of an array on the processor is taken as it is, where a JAX array would be copied for each core.
        host = jax.default_backend() == "cpu"
        return jax.device_put(jax.tree.map(np.asarray, tree) if host else tree, sharding)

    def one(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(one, tree)


def split(state: Any, group: Group) -> Any:
    """The rows of a group out of a state [S, …], on its devices."""
    rows = group.rows()
    if jax.process_count() == 1 or group.mesh is None:
        if len(jax.tree.leaves(state)[0]) != group.places:
            state = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], state)
        return device_put(state, group.mesh, P(SEED))
    sharding = NamedSharding(group.mesh, P(SEED))
    return jax.jit(lambda whole: jax.tree.map(lambda leaf: leaf[rows], whole), out_shardings=sharding)(state)


def merge(states: Sequence[Any], parts: Sequence[Group]) -> Any:
    """The state [S, …] of all seeds: on the first device or, with several processes, shared out among them."""

    def joined(*all_: Any) -> Any:
        def one(*leaves: jax.Array) -> jax.Array:
            return jnp.concatenate([leaf[: group.seeds] for leaf, group in zip(leaves, parts, strict=True)])

        return jax.tree.map(one, *all_)

    if jax.process_count() > 1:
        return jax.jit(joined, out_shardings=state_sharding(sum(group.seeds for group in parts), parts[0].mesh))(
            *states
        )
    alone, pairs = jax.local_devices()[0], zip(states, parts, strict=True)
    gathered = [own if group.mesh is None else jax.device_put(own, alone) for own, group in pairs]
    if len(parts) == 1 and parts[0].seeds == parts[0].places:
        return gathered[0]
    return jax.jit(joined)(*gathered)


def state_sharding(seeds: int, mesh: Mesh | None) -> jax.sharding.Sharding:
    """How a state of all seeds lies: rows shared out where they divide, else everywhere the same."""
    if mesh is None or jax.process_count() == 1:
        return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return NamedSharding(mesh, P(SEED) if seeds % mesh.shape[SEED] == 0 else P())


def everywhere(tree: Any, mesh: Mesh | None) -> Any:
    """`tree` so that every process can read it: as it is or, with several processes, gathered into NumPy arrays."""
    if mesh is None or jax.process_count() == 1:
        return tree
    return jax.device_get(jax.jit(lambda own: own, out_shardings=NamedSharding(mesh, P()))(tree))


def history(collected: Sequence[dict[str, jax.Array]], group: Group) -> dict[str, np.ndarray]:
    """Metrics [places, steps] of consecutive calls, fetched once, as tag -> [seeds of the group, all steps]."""
    if jax.process_count() == 1 or group.mesh is None:
        fetched = jax.device_get(list(collected))
        whole = {name: np.concatenate([part[name] for part in fetched], axis=1) for name in fetched[0]}
    else:
        whole = everywhere({name: _joined([part[name] for part in collected]) for name in collected[0]}, group.mesh)
    return {name: values[: group.seeds] for name, values in whole.items()}


def _joined(parts: Sequence[jax.Array]) -> jax.Array:
    """Arrays [places, k] with rows in several processes, joined along their columns without any exchange."""
    local: dict[int, list[np.ndarray]] = {}
    for part in parts:
        for begin, rows in {_begin(shard.index): shard.data for shard in part.addressable_shards}.items():
            local.setdefault(begin, []).append(np.asarray(rows))
    size = parts[0].shape[0], sum(part.shape[1] for part in parts)
    return jax.make_array_from_callback(
        size, parts[0].sharding, lambda index: np.concatenate(local[_begin(index)], axis=1)
    )


def _begin(index: Any) -> int:
    """The first row of a shard."""
    return index[0].start or 0
