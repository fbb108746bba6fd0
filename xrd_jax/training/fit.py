"""The training loop: many seeds in groups, resumable at any instant, fed from the device, watched from outside."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.models import Model, build
from xrd_jax.preprocessing.prepare import Prepared, inputs
from xrd_jax.preprocessing.targets import TargetSpec, target_specs
from xrd_jax.runtime import compilation
from xrd_jax.training import augment, sharding
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.seed_groups import SeedGroups
from xrd_jax.training.step import State, TrainingData, make_step_config


@dataclasses.dataclass(frozen=True)
class Fitted:
    """The outcome of a training.

    Attributes:
      variables: {'params', 'batch_stats'} with leading axis S.
      notes: what happened on the way that the user should know (resumed, damaged checkpoints).
      start_s, train_s: seconds to the end of the first step, and after it.
      compile_s: seconds of `start_s` that the compiler took, or reading what it had made before.
      first_step: when the first step was done, on the clock of `time.perf_counter`; NaN when nothing was left to train.
      patterns_per_s: training patterns per second, all seeds together; NaN when nothing was left to train.
    """

    variables: dict[str, Any]
    specs: tuple[TargetSpec, ...]
    model: Model
    notes: list[str]
    start_s: float
    compile_s: float
    train_s: float
    patterns_per_s: float
    first_step: float


# Called after each epoch with (step, {tag: [S]}, variables, learning-rate-free epoch number).
Watcher = Callable[[int, dict[str, np.ndarray], dict[str, Any], int], None]


def make_model(
    config: Config, prepared: Prepared, batch_axis: str | None = None
) -> tuple[Model, tuple[TargetSpec, ...]]:
    """The network for `prepared` and the targets that it learns; `batch_axis` as `models.build` has it."""
    specs = target_specs(prepared, config.targets)
    return build(config.model, model_length(prepared), tuple((s.name, s.size) for s in specs), batch_axis), specs


def model_length(prepared: Prepared) -> int:
    """Channels that the network sees."""
    return prepared.statistics.matrix.shape[1]


def training_data(config: Config, prepared: Prepared, specs: tuple[TargetSpec, ...]) -> TrainingData:
    """Training patterns and targets, on the device."""
    series, train = prepared.series, prepared.train
    targets = {}
    for spec in specs:
        dtype = jnp.float32 if spec.kind == "regression" else jnp.int32
        targets[spec.name] = jnp.asarray(series.targets[spec.name].values[train], dtype)
    if config.train.augment == "none":
        patterns, slopes = inputs(prepared, config.prepare, train), jnp.zeros(0)
    else:
        if not series.is_counts:
            raise UserError("train.augment=redraw draws photon counts, but these data are not counts; use augment=none")
        rates = augment.smooth(series, train, config.train.redraw_frames)
        patterns, slopes = jnp.asarray(rates), jnp.asarray(augment.slopes(rates, series.axis.values, config.train))
    return TrainingData(patterns, slopes, prepared.statistics, targets)


def fit(
    config: Config, prepared: Prepared, checkpoints: Path, watch: Watcher | None = None, progress: bool = True
) -> Fitted:
    """Trains `config.seeds` networks side by side, continuing from the newest checkpoint if there is one.

    Args:
      checkpoints: directory of the checkpoints.
      watch: called after every epoch with (step, metrics {tag: [S]}, variables, epoch); in every process or in none.
      progress: whether to draw a progress bar on standard error.

    Raises:
      UserError: the loss of a seed is not finite; the message names seed and step, the last good checkpoint is kept.
    """
    compilation.full_float32()
    started, compiler_s = time.perf_counter(), compilation.compiler_s()
    batch = min(config.train.batch_size, prepared.train.size)
    grid = sharding.grid(config.seeds, config.train.batch_devices, batch)
    shares = grid.shape[1]
    model, specs = make_model(config, prepared)
    trained = make_model(config, prepared, sharding.BATCH)[0] if shares > 1 else model
    step_config = make_step_config(trained, specs, config.prepare, config.train, prepared.train.size, shares)
    data = training_data(config, prepared, specs)
    most = sharding.most_seeds(
        config.train.seeds_per_call, grid, config.model, model_length(prepared), step_config.batch
    )
    seed_groups = SeedGroups(step_config, sharding.groups(config.seeds, grid, most), data, config.seed_list())
    store = Checkpoints(checkpoints)
    try:
        states, step, notes = seed_groups.start(store)
        loop = _Loop(config, seed_groups, store, watch, progress, compiler_s)
        states, train_s = loop.run(states, step)
    finally:
        store.close()
    done = step_config.steps_per_epoch * config.train.epochs - step
    rate = done * step_config.batch * config.seeds / train_s if done and train_s else float("nan")
    start_s, compile_s = (loop.first_step - started, loop.compile_s) if done else (0.0, 0.0)
    variables = seed_groups.variables(seed_groups.merged(states))
    return Fitted(variables, specs, model, notes, start_s, compile_s, train_s, rate, loop.first_step)


@dataclasses.dataclass
class _Loop:
    config: Config
    seed_groups: SeedGroups
    store: Checkpoints
    watch: Watcher | None
    progress: bool
    compiler_s: Callable[[], float]
    first_step: float = float("nan")
    compile_s: float = 0.0

    def run(self, states: list[State], step: int) -> tuple[list[State], float]:
        """Epoch after epoch from `step` to the end: (states, training seconds)."""
        train, step_config = self.config.train, self.seed_groups.step_config
        per_epoch, first_epoch = step_config.steps_per_epoch, step // step_config.steps_per_epoch
        train_s = 0.0
        bar = tqdm(
            total=train.epochs, initial=first_epoch, unit="epoch", disable=not self.progress, dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs{postfix} [{elapsed}<{remaining}]",
            desc=self.config.name,
        )  # fmt: skip
        with bar:
            for epoch in range(first_epoch, train.epochs):
                states, history, elapsed = self._epoch(states)
                train_s += elapsed
                self._check_finite(history, epoch * per_epoch)
                means = {name: values.mean(axis=1) for name, values in history.items()}
                rate = per_epoch * step_config.batch * self.config.seeds / elapsed
                bar.set_postfix_str(_summary(means, step_config.specs, rate), refresh=False)
                bar.update(1)
                train_s += self._after_epoch(states, (epoch + 1) * per_epoch, means, epoch + 1)
        return states, train_s

    def _epoch(self, states: list[State]) -> tuple[list[State], dict[str, np.ndarray], float]:
        """One epoch of all groups, one after the other: (states, metrics [S, steps], seconds after the first step)."""
        begun, moved, collected = time.perf_counter(), [], []
        for group, state in zip(self.seed_groups.groups, states, strict=True):
            order, metrics, left = (
                self.seed_groups.order(group, state),
                [],
                self.seed_groups.step_config.steps_per_epoch,
            )
            while left:
                count = min(self.config.train.steps_per_call, left)
                state, latest = self.seed_groups.advance(group, state, order, count)
                metrics.append(latest)
                left -= count
                if np.isnan(self.first_step):
                    jax.block_until_ready(state)
                    self.first_step = begun = time.perf_counter()
                    self.compile_s = self.compiler_s()
            moved.append(state)
            collected.append(metrics)
        parts = [sharding.history(m, group) for m, group in zip(collected, self.seed_groups.groups, strict=True)]
        history = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return moved, history, time.perf_counter() - begun

    def _after_epoch(self, states: list[State], step: int, means: dict[str, np.ndarray], epoch: int) -> float:
        begun = time.perf_counter()
        due = epoch == self.config.train.epochs or epoch % self.config.train.checkpoint_every == 0
        if not due and self.watch is None:
            return 0.0
        state = self.seed_groups.merged(states)
        if due:
            self.store.save(step, state, {"loss": float(means["loss"].mean())})
        if self.watch is not None:
            self.watch(step, means, self.seed_groups.variables(state), epoch)
        return time.perf_counter() - begun

    def _check_finite(self, history: dict[str, np.ndarray], first: int) -> None:
        bad = ~np.isfinite(history["loss"])
        if not bad.any():
            return
        step = int(np.flatnonzero(bad.any(axis=0))[0])
        seeds = [self.config.seed_list()[s] for s in np.flatnonzero(bad[:, step])]
        kept = self.store.steps()
        where = f"the last good checkpoint (step {kept[-1]}) is kept" if kept else "no checkpoint had been written yet"
        raise UserError(
            f"the loss of seed {', '.join(map(str, seeds))} is not finite at step {first + step}; {where}; "
            "lower train.learning_rate or look for outliers in the data"
        )


def _summary(means: dict[str, np.ndarray], specs: tuple[TargetSpec, ...], rate: float) -> str:
    parts = [f"loss {means['loss'].mean():.4f}"]
    for spec in specs:
        if spec.kind == "regression":
            milli = spec.unit == "V"
            value = means[f"mae/{spec.name}"].mean() * (1e3 if milli else 1.0)
            parts.append(f"{spec.name} MAE {value:.3g} {'mV' if milli else spec.unit}")
        else:
            parts.append(f"{spec.name} {means[f'accuracy/{spec.name}'].mean():.3f}")
    return ", ".join([*parts, f"{rate:.0f} patterns/s"])
