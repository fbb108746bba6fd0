"""Where a training runs: seeds along one axis of a mesh of devices, shares of every batch along the other.

One compiled program takes a group of seeds, so that memory does not grow with their number; groups take turns.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Int

from xrd_jax.config.schema import ModelConfig
from xrd_jax.errors import UserError

SEED, BATCH = "seed", "batch"
MAX_SEEDS_PER_DEVICE = 32  # on an accelerator; measured gains are small beyond
MIN_PATTERNS_PER_CORE = 16  # of a batch; with fewer, cores wait for each other


class Group(NamedTuple):
    """Seeds that one compiled call takes together.

    Attributes:
      begin, seeds: the first of them, by position in the list of seeds, and how many.
      per_device: seeds on each device; where they do not divide, copies of the last seed fill up.
      mesh: the devices, [seed, batch]; None for the default device alone.
    """

    begin: int
    seeds: int
    per_device: int
    mesh: Mesh | None

    @property
    def size(self) -> int:
        """Seeds that the compiled call takes, copies included."""
        return self.per_device * (self.mesh.shape[SEED] if self.mesh is not None else 1)

    def rows(self) -> Int[np.ndarray, " size"]:
        """Return the positions of the group's seeds, copies included, in the list of seeds."""
        return self.begin + np.minimum(np.arange(self.size), self.seeds - 1)


def device_grid(seeds: int, batch_devices: int, batch: int) -> np.ndarray:
    """Return the devices [seed, batch] for `seeds` networks that learn from `batch` patterns at a time.

    Args:
      batch_devices: devices that share a batch; 0 for as many cores as have `MIN_PATTERNS_PER_CORE` each and divide
        the batch, for one accelerator or, with several processes, for all devices that the seeds leave.

    Raises:
      UserError: more devices asked for than there are, or a number that leaves some process without work.
    """
    devices, is_distributed = np.asarray(jax.devices()), jax.process_count() > 1
    if batch_devices == 0:
        if is_distributed:
            rows = max(n for n in range(1, devices.size + 1) if devices.size % n == 0 and n <= seeds)
            batch_devices = devices.size // rows
        else:
            limit = min(devices.size, batch // MIN_PATTERNS_PER_CORE) if jax.default_backend() == "cpu" else 1
            batch_devices = max((n for n in range(1, limit + 1) if batch % n == 0), default=1)
    if batch_devices < 0 or batch_devices > devices.size or (is_distributed and devices.size % batch_devices):
        raise UserError(
            f"train.batch_devices={batch_devices}: there are {devices.size} devices"
            + (", which it must divide" if is_distributed else "; on a CPU, JAX_NUM_CPU_DEVICES sets their number")
        )
    rows = devices.size // batch_devices
    rows = rows if is_distributed else min(rows, seeds)
    return devices[: rows * batch_devices].reshape(rows, batch_devices)


def make_groups(seeds: int, devices: np.ndarray, max_per_device: int) -> list[Group]:
    """Return groups of equal size for `seeds` networks; the last may be smaller.

    Args:
      devices: [seed, batch], as `device_grid` gives them.
      max_per_device: seeds that a device takes at a time.
    """
    rows = len(devices)
    turns = -(-seeds // (rows * max_per_device))
    per_device = -(-seeds // (rows * turns))
    groups = []
    for begin in range(0, seeds, rows * per_device):
        count = min(rows * per_device, seeds - begin)
        # Every process must take part in every group; devices of this process alone may rest.
        used = devices[: rows if jax.process_count() > 1 else -(-count // per_device)]
        groups.append(Group(begin, count, per_device, Mesh(used, (SEED, BATCH)) if used.size > 1 else None))
    return groups


def max_seeds_per_device(per_call: int, devices: np.ndarray, model: ModelConfig, length: int, batch: int) -> int:
    """Return the seeds on one device at a time.

    `per_call` is shared out among the rows of `devices`; 0 means one on a CPU and what fits on an accelerator.
    """
    if per_call:
        return max(1, per_call // len(devices))
    if jax.default_backend() == "cpu":
        return 1
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit", 8 << 30)
    batch_share = -(-batch // devices.shape[1])
    return int(np.clip(0.5 * limit / step_bytes(model, length, batch_share), 1, MAX_SEEDS_PER_DEVICE))


def step_bytes(model: ModelConfig, length: int, batch: int) -> int:
    """Return what the activations of a step take at most: four per layer and four attention matrices, in float32."""
    return 4 * batch * length * (4 * model.depth * model.width + 4 * model.heads * length)


def shard_jit(stacked: Callable[..., Any], mesh: Mesh | None, shared: int, donate: bool = False) -> Callable[..., Any]:
    """Compile a function of stacked seeds so that each device takes its rows; the last `shared` arguments are common.

    No device waits for another, unless `stacked` itself says so along the batch axis.
    """

    def sharded(*args: Any) -> Any:
        if mesh is None:
            return stacked(*args)
        specs = (P(SEED),) * (len(args) - shared) + (P(),) * shared
        return jax.shard_map(stacked, mesh=mesh, in_specs=specs, out_specs=P(SEED), check_vma=False)(*args)

    return jax.jit(sharded, donate_argnums=0 if donate else ())


def pattern_mesh(size: int) -> Mesh | None:
    """Return this process's devices for blocks of `size` patterns; None for the default device alone."""
    local = jax.local_devices()
    return Mesh(np.asarray(local), (BATCH,)) if len(local) > 1 and size % len(local) == 0 else None


def device_put(tree: Any, mesh: Mesh | None, spec: P) -> Any:
    """Lay arrays that every process has alike over the devices of `mesh`; cores share one copy of what they share."""
    if mesh is None:
        return jax.device_put(tree)
    sharding = NamedSharding(mesh, spec)
    if jax.process_count() == 1:
        # A NumPy view of an array on the processor is taken as it is, where a JAX array would be copied for each core.
        is_host = jax.default_backend() == "cpu"
        return jax.device_put(jax.tree.map(np.asarray, tree) if is_host else tree, sharding)

    def put(leaf: Any) -> jax.Array:
        host = np.asarray(leaf)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree)


def split_state(state: Any, group: Group) -> Any:
    """Return the rows of a group out of a state [S, …], on its devices."""
    rows = group.rows()
    if jax.process_count() == 1 or group.mesh is None:
        if len(jax.tree.leaves(state)[0]) != group.size:
            state = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], state)
        return device_put(state, group.mesh, P(SEED))
    sharding = NamedSharding(group.mesh, P(SEED))
    return jax.jit(lambda whole: jax.tree.map(lambda leaf: leaf[rows], whole), out_shardings=sharding)(state)


def merge_states(states: Sequence[Any], groups: Sequence[Group]) -> Any:
    """Return the state [S, …] of all seeds: on the first device or, with several processes, shared out among them."""

    def merge(*parts: Any) -> Any:
        def join(*leaves: jax.Array) -> jax.Array:
            return jnp.concatenate([leaf[: group.seeds] for leaf, group in zip(leaves, groups, strict=True)])

        return jax.tree.map(join, *parts)

    if jax.process_count() > 1:
        layout = state_sharding(sum(group.seeds for group in groups), groups[0].mesh)
        return jax.jit(merge, out_shardings=layout)(*states)
    first, pairs = jax.local_devices()[0], zip(states, groups, strict=True)
    gathered = [state if group.mesh is None else jax.device_put(state, first) for state, group in pairs]
    if len(groups) == 1 and groups[0].seeds == groups[0].size:
        return gathered[0]
    return jax.jit(merge)(*gathered)


def state_sharding(seeds: int, mesh: Mesh | None) -> jax.sharding.Sharding:
    """Return how a state of all seeds lies: rows shared out where they divide, else everywhere the same."""
    if mesh is None or jax.process_count() == 1:
        return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return NamedSharding(mesh, P(SEED) if seeds % mesh.shape[SEED] == 0 else P())


def gather(tree: Any, mesh: Mesh | None) -> Any:
    """Return `tree` so that every process can read it: as it is or, with several processes, as NumPy arrays."""
    if mesh is None or jax.process_count() == 1:
        return tree
    return jax.device_get(jax.jit(lambda leaves: leaves, out_shardings=NamedSharding(mesh, P()))(tree))


def fetch_metrics(calls: Sequence[dict[str, jax.Array]], group: Group) -> dict[str, np.ndarray]:
    """Fetch metrics [size, steps] of consecutive calls at once, as tag -> [seeds of the group, all steps]."""
    if jax.process_count() == 1 or group.mesh is None:
        fetched = jax.device_get(list(calls))
        history = {name: np.concatenate([metrics[name] for metrics in fetched], axis=1) for name in fetched[0]}
    else:
        history = gather({name: _join_columns([metrics[name] for metrics in calls]) for name in calls[0]}, group.mesh)
    return {name: values[: group.seeds] for name, values in history.items()}


def _join_columns(parts: Sequence[jax.Array]) -> jax.Array:
    """Join arrays [size, k], whose rows are in several processes, along their columns without any exchange."""

    def begin(index: Any) -> int:
        return index[0].start or 0

    blocks: dict[int, list[np.ndarray]] = {}  # by their first row
    for part in parts:
        for row, block in {begin(shard.index): shard.data for shard in part.addressable_shards}.items():
            blocks.setdefault(row, []).append(np.asarray(block))
    shape = parts[0].shape[0], sum(part.shape[1] for part in parts)
    return jax.make_array_from_callback(
        shape, parts[0].sharding, lambda index: np.concatenate(blocks[begin(index)], axis=1)
    )
