"""Seeds in groups that one compiled program takes, and the programs that move them on."""

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from xrd_jax.errors import UserError
from xrd_jax.models import Variables
from xrd_jax.training import sharding
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.step import State, StepConfig, TrainingData, compiled_steps, epoch_order, init_state, over_seeds

# Calls that may wait for their turn on the devices. Emulated devices that exchange something stand still for good when
# more than some tens of calls wait: the runtime starts them on one device, then on the other, and runs out of places.
MAX_WAITING_CALLS = 8


class SeedGroups:
    """The seeds of a training in their groups, with the programs that move them on."""

    def __init__(self, step_config: StepConfig, groups: list[sharding.Group], data: TrainingData, seeds: list[int]):
        self.step_config, self.groups, self._seeds = step_config, groups, jnp.asarray(seeds, jnp.int32)
        self._train_patterns = data.patterns.shape[0]
        self._data = {mesh: sharding.device_put(data, mesh, sharding.P()) for mesh in {group.mesh for group in groups}}
        self._waiting: collections.deque[dict[str, Array]] = collections.deque()
        # Programs by what they do and by what a group looks like: groups of one size share one.
        self._programs: dict[tuple[Any, ...], Callable[..., Any]] = {}

    def restore_or_init(self, checkpoints: Checkpoints) -> tuple[list[State], int, list[str]]:
        """Return (states, step, notes) of the newest checkpoint or, where there is none, of the beginning."""
        restored = self._restore(checkpoints)
        if restored is None:
            return self.init(), 0, []
        states, step, notes = restored
        checkpoints.discard_damaged(step)
        return states, step, [*notes, f"resumed from step {step}"]

    def restore_best(self, checkpoints: Checkpoints) -> tuple[list[State], int, list[str]]:
        """Return (states, step, notes) of the checkpoint that was saved with the lowest loss."""
        restored = self._restore(checkpoints, best=True)
        if restored is None:
            raise UserError("no checkpoint was written; lower train.checkpoint_every")
        return restored

    def _restore(self, checkpoints: Checkpoints, best: bool = False) -> tuple[list[State], int, list[str]] | None:
        templates = next(iter(self._data.values())).templates
        initialise = over_seeds(lambda seed: init_state(self.step_config, seed, templates), len(self._seeds), shared=0)
        layout = sharding.state_sharding(len(self._seeds), self.groups[0].mesh)
        restored = checkpoints.restore(jax.eval_shape(initialise, self._seeds), layout, best)
        if restored is None:
            return None
        state, step, notes = restored
        return [sharding.split_state(state, group) for group in self.groups], step, notes

    def init(self) -> list[State]:
        """Return the states of all groups before their first step."""
        seeds, states = np.asarray(self._seeds), []
        for group in self.groups:
            program = self._program(
                "init", group, lambda seed, data: init_state(self.step_config, seed, data.templates), shared=1
            )
            rows = sharding.device_put(seeds[group.rows()], group.mesh, sharding.P(sharding.SEED))
            states.append(program(rows, self._data[group.mesh]))
        return states

    def order(self, group: sharding.Group, state: State) -> Array:
        """Return the order [rows, n] of the epoch that each seed of the group stands in."""
        return self._program("order", group, lambda seed: epoch_order(self.step_config, seed, self._train_patterns))(
            state
        )

    def advance(self, group: sharding.Group, state: State, order: Array, count: int) -> tuple[State, dict[str, Array]]:
        """Take `count` steps of a group; returns before they are done, but waits for earlier calls if many wait."""
        key = count, group.per_device, group.mesh
        if key not in self._programs:
            self._programs[key] = compiled_steps(self.step_config, group.size, count, group.mesh)
        state, metrics = self._programs[key](state, order, self._data[group.mesh])
        self._waiting.append(metrics)
        if len(self._waiting) > MAX_WAITING_CALLS:
            jax.block_until_ready(self._waiting.popleft())
        return state, metrics

    def patterns(self, steps: int) -> int:
        """Return how many patterns all seeds together see in so many steps."""
        return steps * self.step_config.batch * len(self._seeds)

    def _program(
        self, name: str, group: sharding.Group, function: Callable[..., Any], shared: int = 0
    ) -> Callable[..., Any]:
        key = name, group.per_device, group.mesh
        if key not in self._programs:
            stacked = over_seeds(function, group.per_device, shared, unroll=jax.default_backend() == "cpu")
            self._programs[key] = sharding.shard_jit(stacked, group.mesh, shared)
        return self._programs[key]

    def merged(self, states: list[State]) -> State:
        """Return the state of all seeds, one row each."""
        return sharding.merge_states(states, self.groups)

    def variables(self, state: State) -> Variables:
        """Return the variables of all seeds where this process can work with them; every process must take part."""
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return jax.tree.map(jnp.asarray, sharding.gather(variables, self.groups[0].mesh))
