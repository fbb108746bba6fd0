"""Seeds in groups that one compiled program takes, and the programs that move them on."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from xrd_jax.training import sharding
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.step import State, StepConfig, TrainingData, compiled_steps, epoch_order, init_state, over_seeds

# Calls that may wait for their turn on the devices. Emulated devices that exchange something stand still for good when
# more than some tens of calls wait: the runtime starts them on one device, then on the other, and runs out of places.
AHEAD = 8


class SeedGroups:
    """The seeds of a training in their groups, with the programs that move them on."""

    def __init__(self, step_config: StepConfig, groups: list[sharding.Group], data: TrainingData, seeds: list[int]):
        self.step_config, self.groups, self._seeds = step_config, groups, jnp.asarray(seeds, jnp.int32)
        self._patterns = data.patterns.shape[0]
        self._data = {mesh: sharding.device_put(data, mesh, sharding.P()) for mesh in {group.mesh for group in groups}}
        self._running: collections.deque[dict[str, Array]] = collections.deque()
        # Programs by name and by what a group looks like: groups of one size share one.
        self._programs: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def start(self, store: Checkpoints) -> tuple[list[State], int, list[str]]:
        """(states, step, notes) from the newest checkpoint or, where there is none, from the beginning."""
        initialise = over_seeds(lambda seed: init_state(self.step_config, seed), len(self._seeds), shared=0)
        placed = sharding.state_sharding(len(self._seeds), self.groups[0].mesh)
        found = store.restore(jax.eval_shape(initialise, self._seeds), placed)
        if found is None:
            return self.begin(), 0, []
        state, step, notes = found
        store.discard_after(step)
        return [sharding.split(state, group) for group in self.groups], step, [*notes, f"resumed from step {step}"]

    def begin(self) -> list[State]:
        """The states of all groups before their first step."""

        def one(group: sharding.Group) -> State:
            initialise = self._program("init", group, lambda seed: init_state(self.step_config, seed))
            return initialise(
                sharding.device_put(np.asarray(self._seeds)[group.rows()], group.mesh, sharding.P(sharding.SEED))
            )

        return [one(group) for group in self.groups]

    def _program(self, name: str, group: sharding.Group, function: Callable[..., Any]) -> Callable[..., Any]:
        key = name, group.local, group.mesh
        if key not in self._programs:
            unroll = jax.default_backend() == "cpu"
            stacked = over_seeds(function, group.local, shared=0, unroll=unroll)
            self._programs[key] = sharding.shard_jit(stacked, group.mesh, shared=0)
        return self._programs[key]

    def merged(self, states: list[State]) -> State:
        """The state of all seeds, one row each."""
        return sharding.merge(states, self.groups)

    def variables(self, state: State) -> dict[str, Any]:
        """The variables of all seeds where this process can work with them; a matter of all processes."""
        own = {"params": state.params, "batch_stats": state.batch_stats}
        return jax.tree.map(jnp.asarray, sharding.everywhere(own, self.groups[0].mesh))

    def order(self, group: sharding.Group, state: State) -> Array:
        """The order of the epoch that each seed of the group stands in."""
        return self._program("order", group, lambda one: epoch_order(self.step_config, one, self._patterns))(state)

    def advance(self, group: sharding.Group, state: State, order: Array, count: int) -> tuple[State, dict[str, Array]]:
        """`count` steps of one group; returns before they are done, but waits for those of `AHEAD` calls ago."""
        key = count, group.local, group.mesh
        if key not in self._programs:
            self._programs[key] = compiled_steps(self.step_config, group.places, count, group.mesh)
        state, metrics = self._programs[key](state, order, self._data[group.mesh])
        self._running.append(metrics)
        if len(self._running) > AHEAD:
            jax.block_until_ready(self._running.popleft())
        return state, metrics
