"""Checkpoints of a training state on disk; the only module that imports Orbax."""

import functools
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from xrd_jax.errors import UserError
from xrd_jax.runtime import distributed

# What Orbax logs of a failure comes as pages of tracebacks; the failure itself is raised, and reported in one line.
logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)

CHECKSUM = "checksum"  # of arrays and loss, beside the metrics; checkpoints of versions before there was one lack it


class Checkpoints:
    """The last two states and the best one (by the loss that each was saved with) of a run."""

    def __init__(self, directory: str | os.PathLike[str]):
        self._directory, self._has_failed = Path(directory).resolve(), False
        self._run_file = self._directory.parent / "config.json"
        self._had_run_file, self._inode = self._run_file.exists(), 0

    @functools.cached_property
    def _checkpointer(self) -> ocp.training.Checkpointer:
        """What writes, and removes what need not be kept; opening a run does without, and changes nothing."""
        policies = ocp.training.preservation_policies
        checkpointer = ocp.training.Checkpointer(
            self._directory,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(
                [policies.LatestN(2), policies.BestN(get_metric_fn=lambda m: m["loss"], reverse=True, n=1)]
            ),
            cleanup_tmp_directories=True,
        )
        self._inode = self._directory.stat().st_ino
        return checkpointer

    def save(self, step: int, state: Any, metrics: Mapping[str, float]) -> None:
        """Write `state` under `step`; a step that is there already is kept.

        Raises:
          UserError: it cannot be written, or the run directory was removed meanwhile.
        """
        if (steps := self.steps()) and steps[-1] >= step:
            return
        # Waits for the state: no OSError is its own.
        saved: dict[str, float | str] = {**metrics, CHECKSUM: _checksum(state, metrics["loss"])}
        try:
            checkpointer = self._checkpointer
            inode = self._directory.stat().st_ino if self._directory.exists() else 0
            if inode != self._inode or (self._had_run_file and not self._run_file.exists()):
                raise FileNotFoundError("the run directory was removed or replaced during the training")
            checkpointer.save(step, state, metrics=saved)
        except (OSError, ValueError, RuntimeError) as error:  # TensorStore raises ValueError where a disk is full
            if distributed.is_peer_failure(error):
                raise
            self._has_failed = True
            raise UserError(
                f"{self._directory}: the checkpoint of step {step} could not be written ({_reason(error)}); "
                "free some space or choose another --workdir, then run the same command to resume"
            ) from None

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, oldest first."""
        names = os.listdir(self._directory) if self._directory.is_dir() else []
        return sorted(int(name) for name in names if name.isdecimal())

    def restore(
        self, abstract: Any, sharding: jax.sharding.Sharding | None = None, best: bool = False
    ) -> tuple[Any, int, list[str]] | None:
        """Return the newest checkpoint, or the one of the lowest loss, that is whole; None where there is none.

        A damaged checkpoint is passed over; `discard_damaged` removes it, so that its step can be written again.

        Args:
          abstract: the state as `jax.eval_shape` gives it.
          sharding: of its leaves, whatever it was when they were saved; the first device by default.

        Returns:
          (state, step, one line for every damaged checkpoint passed over).

        Raises:
          UserError: there are checkpoints, but none can be read.
        """
        sharding = sharding or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        abstract = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract)
        metrics, damaged = self._metrics()
        losses = {step: values["loss"] if best else 0.0 for step, values in metrics.items()}
        for step in sorted(metrics, key=lambda step: (not math.isfinite(losses[step]), losses[step], -step)):
            try:
                state = jax.tree.map(_cast_like, abstract, ocp.load(self._directory / str(step), abstract))
                if metrics[step].get(CHECKSUM, checksum := _checksum(state, metrics[step]["loss"])) != checksum:
                    raise ValueError("its checksum differs")
                return state, step, [*damaged.values()]
            except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files.
                damaged[step] = self._passed_over(step, error)
        if damaged:
            raise UserError(
                f"{self._directory}: none of the {len(damaged)} checkpoints can be read; train again with --overwrite"
            )
        return None

    def _metrics(self) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
        """Return the metrics of every step, and a line for every step whose metrics are damaged."""
        metrics: dict[int, dict[str, Any]] = {}
        damaged: dict[int, str] = {}
        for step in self.steps():
            try:
                values = json.loads((self._directory / str(step) / "metrics" / "metrics").read_text())
            except (OSError, ValueError):  # a power cut leaves an empty file
                values = None
            if (
                isinstance(values, dict)
                and values.keys() in ({"loss"}, {"loss", CHECKSUM})
                and isinstance(values["loss"], float)
            ):
                metrics[step] = values
            else:
                damaged[step] = self._passed_over(step, ValueError("its metrics are damaged"))
        return metrics, damaged

    def _passed_over(self, step: int, error: Exception) -> str:
        return f"{self._directory}/{step}: damaged checkpoint passed over ({_reason(error)})"

    def discard_damaged(self, step: int) -> None:
        """Remove checkpoints newer than `step`, which `restore` passed over, and those whose metrics are damaged."""
        if distributed.is_primary():
            for other in {*self._metrics()[1], *(newer for newer in self.steps() if newer > step)}:
                shutil.rmtree(self._directory / str(other), ignore_errors=True)
        distributed.barrier("damaged checkpoints")

    def close(self) -> None:
        if "_checkpointer" not in self.__dict__:
            return
        try:
            self._checkpointer.close()
        except (OSError, ValueError, RuntimeError):
            if not self._has_failed:  # the same failure once more
                raise


def _reason(error: Exception) -> str:
    """Return why reading or writing failed, without the pages that TensorStore adds."""
    for known in ("No space left on device", "Disk quota exceeded", "Permission denied", "Read-only file system"):
        if known in str(error):
            return known
    return (str(error).partition("\n")[0] or type(error).__name__)[:120]


def _checksum(state: Any, loss: float) -> str:
    """Return SHA-256 over the types, shapes and values of all leaves, and the loss that they are chosen by."""
    digest = hashlib.sha256(repr(float(loss)).encode())
    for leaf in jax.tree.leaves(state):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        values = np.ascontiguousarray(leaf)
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.view(np.uint8).data)
    return digest.hexdigest()


def _cast_like(abstract: jax.ShapeDtypeStruct, leaf: Any) -> Any:
    if np.shape(leaf) != abstract.shape:
        raise ValueError(f"shape {np.shape(leaf)} instead of {abstract.shape}")
    return leaf.astype(abstract.dtype)
