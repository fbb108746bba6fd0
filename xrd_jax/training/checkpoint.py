"""Checkpoints of a training state on disk; the only module that imports Orbax."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from xrd_jax.errors import UserError

# What Orbax logs of a failure comes as pages of tracebacks; the failure itself is raised, and reported in one line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)


class Checkpoints:
    """The last two states and the best one (by the loss that each was saved with) of a run."""

    def __init__(self, directory: str | os.PathLike[str]):
        self._directory, self._has_failed = Path(directory).resolve(), False
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            self._directory,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(
                [policies.LatestN(2), policies.BestN(get_metric_fn=lambda m: m["loss"], reverse=True, n=1)]
            ),
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Write `state` under `step`; a step that is there already is kept."""
        if self._checkpointer.latest is not None and self._checkpointer.latest.step >= step:
            return
        try:
            self._checkpointer.save(step, state, metrics=dict(metrics))
        except OSError as error:
            self._has_failed = True
            raise UserError(
                f"{self._directory}: the checkpoint of step {step} could not be written ({error.strerror or error}); "
                "free some space or choose another --workdir, then run the same command to resume"
            ) from None

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, oldest first."""
        return sorted(item.step for item in self._checkpointer.checkpoints)

    def restore(
        self, abstract: Any, sharding: jax.sharding.Sharding | None = None, best: bool = False
    ) -> tuple[Any, int, list[str]] | None:
        """Return the newest checkpoint, or the one of the lowest loss, that can be read; None where there is none.

        A damaged checkpoint is passed over; `discard_after` removes it, so that its step can be written again.

        Args:
          abstract: the state as `jax.eval_shape` gives it.
          sharding: of its leaves, whatever it was when they were saved; the first device by default.

        Returns:
          (state, step, one line for every damaged checkpoint passed over).

        Raises:
          UserError: there are checkpoints, but none can be read.
        """
        damaged: list[str] = []
        sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract)
        losses = {item.step: (item.metrics or {}).get("loss", np.inf) for item in self._checkpointer.checkpoints}
        for step in sorted(losses, key=lambda step: (losses[step] if best else 0.0, -step)):
            try:
                state = self._checkpointer.load(step, abstract)
                return jax.tree.map(_cast_like, abstract, state), step, damaged
            except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files.
                reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
                damaged.append(f"{self._directory}/{step}: damaged checkpoint passed over ({reason})")
        if damaged:
            raise UserError(f"{self._directory}: none of the {len(damaged)} checkpoints can be read; use --overwrite")
        return None

    def discard_after(self, step: int) -> None:
        """Remove checkpoints newer than `step` (those that `restore` passed over)."""
        for newer in self.steps():
            if newer > step:
                self._checkpointer.delete(newer)

    def close(self) -> None:
        try:
            self._checkpointer.close()
        except OSError:
            if not self._has_failed:  # the same failure once more
                raise


def _cast_like(abstract: jax.ShapeDtypeStruct, leaf: Any) -> Any:
    if np.shape(leaf) != abstract.shape:
        raise ValueError(f"shape {np.shape(leaf)} instead of {abstract.shape}")
    return leaf.astype(abstract.dtype)
