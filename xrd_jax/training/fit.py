"""The training loop: many seeds at once, resumable at any instant, fed from the device, watched from outside."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from xrd_jax.config import Config
from xrd_jax.errors import UserError
from xrd_jax.models import Model, build
from xrd_jax.prepare import Prepared, TargetSpec, inputs, target_specs
from xrd_jax.training import augment
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.step import Plan, State, TrainingData, compiled_steps, epoch_order, init_state, over_seeds, plan


@dataclasses.dataclass(frozen=True)
class Fitted:
    """The outcome of a training.

    Attributes:
      variables: {'params', 'batch_stats'} with leading axis S.
      notes: what happened on the way that the user should know (resumed, damaged checkpoints).
      compile_s, train_s: seconds to the end of the first step, and after it.
      patterns_per_s: training patterns per second, all seeds together; NaN when nothing was left to train.
    """

    variables: dict[str, Any]
    specs: tuple[TargetSpec, ...]
    model: Model
    notes: list[str]
    compile_s: float
    train_s: float
    patterns_per_s: float


# Called after each epoch with (step, {tag: [S]}, variables, learning-rate-free epoch number).
Watcher = Callable[[int, dict[str, np.ndarray], dict[str, Any], int], None]


def make_model(config: Config, prepared: Prepared) -> tuple[Model, tuple[TargetSpec, ...]]:
    """The network for `prepared` and the targets that it learns."""
    specs = target_specs(prepared, config.targets)
    length = prepared.statistics.matrix.shape[1]
    return build(config.model, length, tuple((s.name, s.size) for s in specs)), specs


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
        if not series.counts:
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
      watch: called after every epoch with (step, metrics {tag: [S]}, variables, epoch).
      progress: whether to draw a progress bar on standard error.

    Raises:
      UserError: the loss of a seed is not finite; the message names seed and step, the last good checkpoint is kept.
    """
    started = time.perf_counter()
    model, specs = make_model(config, prepared)
    data = training_data(config, prepared, specs)
    schedule = plan(model, specs, config.prepare, config.train, prepared.train.size)
    seeds = config.seed_list()
    initialise = jax.jit(over_seeds(lambda seed: init_state(schedule, seed), len(seeds), shared=0))
    seed_array = jnp.asarray(seeds, jnp.int32)
    store = Checkpoints(checkpoints)
    try:
        state, step, notes = _start(store, initialise, seed_array)
        loop = _Loop(config, schedule, data, store, watch, progress)
        state, compile_s, train_s = loop.run(state, step, started)
    finally:
        store.close()
    done = schedule.steps_per_epoch * config.train.epochs - step
    rate = done * schedule.batch * len(seeds) / train_s if done and train_s else float("nan")
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return Fitted(variables, specs, model, notes, compile_s, train_s, rate)


def _start(store: Checkpoints, initialise: Callable[[Array], State], seeds: Array) -> tuple[State, int, list[str]]:
    found = store.restore(jax.eval_shape(initialise, seeds))
    if found is None:
        return initialise(seeds), 0, []
    state, step, notes = found
    store.discard_after(step)
    return state, step, [*notes, f"resumed from step {step}"]


@dataclasses.dataclass
class _Loop:
    config: Config
    plan: Plan
    data: TrainingData
    store: Checkpoints
    watch: Watcher | None
    progress: bool

    def run(self, state: State, step: int, started: float) -> tuple[State, float, float]:
        """Epoch after epoch from `step` to the end: (state, compile seconds, training seconds)."""
        train, per_epoch = self.config.train, self.plan.steps_per_epoch
        first_epoch, seeds = step // per_epoch, self.config.seeds
        calls: dict[int, Callable[..., Any]] = {}
        patterns = self.data.patterns.shape[0]
        orders = jax.jit(over_seeds(lambda one: epoch_order(self.plan, one, patterns), seeds, shared=0))
        compile_s = train_s = 0.0
        bar = tqdm(
            total=train.epochs, initial=first_epoch, unit="epoch", disable=not self.progress, dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs{postfix} [{elapsed}<{remaining}]",
            desc=self.config.name,
        )  # fmt: skip
        with bar:
            for epoch in range(first_epoch, train.epochs):
                begun, collected, left = time.perf_counter(), [], per_epoch
                order = orders(state)
                while left:
                    count = min(train.steps_per_call, left)
                    fresh = count not in calls
                    call = calls.setdefault(count, compiled_steps(self.plan, seeds, count))
                    state, metrics = call(state, order, self.data)
                    collected.append(metrics)
                    left -= count
                    if fresh and not compile_s:
                        jax.block_until_ready(state)
                        compile_s = time.perf_counter() - started
                        begun = time.perf_counter()
                history = _gather(collected)
                elapsed = time.perf_counter() - begun
                train_s += elapsed
                self._check_finite(history, epoch * per_epoch)
                means = {name: values.mean(axis=1) for name, values in history.items()}
                rate = per_epoch * self.plan.batch * seeds / elapsed
                bar.set_postfix_str(_summary(means, self.plan.specs, rate), refresh=False)
                bar.update(1)
                train_s += self._after_epoch(state, (epoch + 1) * per_epoch, means, epoch + 1)
        return state, compile_s, train_s

    def _after_epoch(self, state: State, step: int, means: dict[str, np.ndarray], epoch: int) -> float:
        begun = time.perf_counter()
        last = epoch == self.config.train.epochs
        if last or epoch % self.config.train.checkpoint_every == 0:
            self.store.save(step, state, {"loss": float(means["loss"].mean())})
        if self.watch is not None:
            self.watch(step, means, {"params": state.params, "batch_stats": state.batch_stats}, epoch)
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


def _gather(collected: list[dict[str, Array]]) -> dict[str, np.ndarray]:
    """Metrics of an epoch, fetched once: tag -> [S, steps]."""
    fetched = jax.device_get(collected)
    return {name: np.concatenate([part[name] for part in fetched], axis=1) for name in fetched[0]}


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
