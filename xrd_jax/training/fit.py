"""The training loop: many seeds in groups, resumable at any instant, fed from the device, watched from outside."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.models import Model, Variables, build
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.targets import TargetSpec, target_specs
from xrd_jax.preprocessing.templates import make_templates
from xrd_jax.preprocessing.time_average import smooth
from xrd_jax.runtime import compilation
from xrd_jax.runtime.console import Console
from xrd_jax.training import sharding
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.held_out import HeldOut
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
      patterns_per_s: training patterns per second, all seeds together; NaN when nothing was left to train.
      first_step: when the first step was done, on the clock of `time.perf_counter`; NaN when nothing was left to train.
    """

    variables: Variables
    specs: tuple[TargetSpec, ...]
    model: Model
    notes: list[str]
    start_s: float
    compile_s: float
    train_s: float
    patterns_per_s: float
    first_step: float


# Called after each epoch with (step, {tag: [S]}, variables, number of epochs done).
Watcher = Callable[[int, dict[str, np.ndarray], Variables, int], None]


def fit(
    config: Config, prepared: Prepared, checkpoints: Path, watch: Watcher | None = None, progress: bool = True
) -> Fitted:
    """Train `config.seeds` networks side by side, continuing from the newest checkpoint if there is one.

    Args:
      checkpoints: directory of the checkpoints.
      watch: called after every epoch with (step, metrics {tag: [S]}, variables, epoch); in every process or in none.
      progress: whether to draw a progress bar on standard error.

    Raises:
      UserError: the loss of a seed is not finite; the message names seed and step, the last good checkpoint is kept.
    """
    compilation.full_float32()
    clock, train = _Clock(), config.train
    model, specs, groups = _seed_groups(config, prepared)
    validation = _validation(config, prepared, (model, specs))
    store = Checkpoints(checkpoints)
    try:
        states, step, notes = groups.restore_or_init(store)
        steps = groups.step_config.steps_per_epoch
        with _progress_bar(config, step // steps, progress) as bar:
            for epoch in range(step // steps + 1, train.epochs + 1):
                states, history, elapsed_s = _train_epoch(groups, states, train.steps_per_call, clock)
                _refuse_not_finite(config, history, (epoch - 1) * steps, store)
                means = {name: values.mean(axis=1) for name, values in history.items()}
                bar.set_postfix_str(_summary(means, specs, groups.patterns(steps) / elapsed_s), refresh=False)
                bar.update(1)
                is_due = epoch == train.epochs or epoch % train.checkpoint_every == 0
                if is_due or watch is not None:
                    merged = groups.merged(states)
                    if is_due:
                        losses = means["loss"] if validation is None else validation(groups.variables(merged))["loss"]
                        store.save(epoch * steps, merged, {"loss": float(losses.mean())})
                    if watch is not None:
                        watch(epoch * steps, means, groups.variables(merged), epoch)
        timings = clock.timings(groups.patterns(steps * train.epochs - step))
        if validation is not None:
            states, chosen_step, damaged = groups.restore_best(store)
            notes = [
                *notes,
                *damaged,
                f"the checkpoint of epoch {chosen_step // steps} has the least loss on calibration patterns",
            ]
    finally:
        store.close()
    return Fitted(groups.variables(groups.merged(states)), specs, model, notes, *timings)


def _validation(config: Config, prepared: Prepared, network: tuple[Model, tuple[TargetSpec, ...]]) -> HeldOut | None:
    """Return what chooses the checkpoint; None where the last one is taken."""
    if config.train.checkpoint == "last":
        return None
    if not prepared.calibration.size:
        raise UserError("train.checkpoint=best chooses on held-out calibration patterns; add prepare.calibration=0.15")
    return HeldOut(config, prepared, network, prepared.calibration)


def _train_epoch(
    groups: SeedGroups, states: list[State], steps_per_call: int, clock: "_Clock"
) -> tuple[list[State], dict[str, Float[np.ndarray, "S steps"]], float]:
    """Move all groups on by an epoch, one after the other: (states, metrics, seconds after the very first step)."""
    begun, moved, calls = time.perf_counter(), [], []
    for group, state in zip(groups.groups, states, strict=True):
        order, metrics, remaining = groups.order(group, state), [], groups.step_config.steps_per_epoch
        while remaining:
            count = min(steps_per_call, remaining)
            state, latest = groups.advance(group, state, order, count)
            metrics.append(latest)
            remaining -= count
            clock.mark_first_step(state)
        moved.append(state)
        calls.append(metrics)
    parts = [sharding.fetch_metrics(metrics, group) for metrics, group in zip(calls, groups.groups, strict=True)]
    history = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return moved, history, time.perf_counter() - max(begun, clock.first_step)


class _Clock:
    """When a training began and when its first step, with its compilation, was done."""

    def __init__(self):
        self._started, self._compile_clock = time.perf_counter(), compilation.compile_clock()
        self.first_step, self._compile_s = float("nan"), 0.0

    def mark_first_step(self, state: State) -> None:
        if np.isnan(self.first_step):
            jax.block_until_ready(state)
            self.first_step, self._compile_s = time.perf_counter(), self._compile_clock()

    def timings(self, patterns: int) -> tuple[float, float, float, float, float]:
        """Return what `Fitted` says of time, from `start_s` on, after a training on so many patterns."""
        if not patterns:
            return 0.0, 0.0, 0.0, float("nan"), self.first_step
        train_s = time.perf_counter() - self.first_step
        return self.first_step - self._started, self._compile_s, train_s, patterns / train_s, self.first_step


def _seed_groups(config: Config, prepared: Prepared) -> tuple[Model, tuple[TargetSpec, ...], SeedGroups]:
    """Return the network as it is used afterwards, its targets, and the seeds on the devices there are."""
    patterns, length = prepared.train.size, model_length(prepared)
    devices = sharding.device_grid(config.seeds, config.train.batch_devices, min(config.train.batch_size, patterns))
    batch_devices = devices.shape[1]
    model, specs = make_model(config, prepared)
    trained = make_model(config, prepared, sharding.BATCH)[0] if batch_devices > 1 else model
    step_config = make_step_config(trained, specs, config.prepare, config.train, patterns, batch_devices)
    data = training_data(config, prepared, specs)
    if config.model.likelihood:
        templates = make_templates(prepared, config.prepare, config.train, specs)
        data = data._replace(templates={name: jnp.asarray(values) for name, values in templates.items()})
    max_seeds = sharding.max_seeds_per_device(
        config.train.seeds_per_call, devices, config.model, length, step_config.batch
    )
    groups = sharding.make_groups(config.seeds, devices, max_seeds)
    return model, specs, SeedGroups(step_config, groups, data, config.seed_list())


def make_model(
    config: Config, prepared: Prepared, batch_axis: str | None = None
) -> tuple[Model, tuple[TargetSpec, ...]]:
    """Return the network for `prepared` and the targets that it learns; `batch_axis` as `models.build` has it."""
    model = config.model
    specs = target_specs(prepared, config.targets, model.regression, model.bins, config.train.point)
    return build(model, model_length(prepared), tuple((s.name, s.size) for s in specs), batch_axis), specs


def model_length(prepared: Prepared) -> int:
    """Return the number of channels that the network sees."""
    return prepared.statistics.matrix.shape[1]


def training_data(config: Config, prepared: Prepared, specs: tuple[TargetSpec, ...]) -> TrainingData:
    """Return training patterns and targets, on the device.

    Raises:
      UserError: photons cannot be redrawn, because the data are not counts.
    """
    series, train = prepared.series, prepared.train
    targets = {}
    for spec in specs:
        dtype = jnp.float32 if spec.kind == "regression" else jnp.int32
        targets[spec.name] = jnp.asarray(series.targets[spec.name].values[train], dtype)
    if config.train.augment == "none":
        patterns = prepare_inputs(prepared, config.prepare, train)
        return TrainingData(patterns, jnp.zeros(0), prepared.statistics, targets)
    if not series.is_counts:
        raise UserError("train.augment=redraw draws photon counts, but these data are not counts; use augment=none")
    rates = smooth(series, train, config.train.redraw_frames, rank=config.train.redraw_rank)
    slopes = np.zeros_like(rates)
    if config.train.redraw_shift:
        slopes = np.gradient(rates, series.axis.values, axis=1).astype(np.float32)
    return TrainingData(jnp.asarray(rates), jnp.asarray(slopes), prepared.statistics, targets)


def _progress_bar(config: Config, epochs_done: int, progress: bool) -> Any:
    return Console(progress=progress).bar(
        description=config.name, unit="epoch", total=config.train.epochs, initial=epochs_done, leave=True,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} epochs{postfix} [{elapsed}<{remaining}]",
    )  # fmt: skip


def _refuse_not_finite(
    config: Config, history: dict[str, Float[np.ndarray, "S steps"]], first_step: int, store: Checkpoints
) -> None:
    is_bad = ~np.isfinite(history["loss"])
    if not is_bad.any():
        return
    step = int(np.flatnonzero(is_bad.any(axis=0))[0])
    seeds = [config.seed_list()[index] for index in np.flatnonzero(is_bad[:, step])]
    steps = store.steps()
    rest = f"the last good checkpoint (step {steps[-1]}) is kept" if steps else "no checkpoint had been written yet"
    raise UserError(
        f"the loss of seed {', '.join(map(str, seeds))} is not finite at step {first_step + step}; {rest}; "
        "lower train.learning_rate or look for outliers in the data"
    )


def _summary(means: dict[str, Float[np.ndarray, " S"]], specs: tuple[TargetSpec, ...], rate: float) -> str:
    parts = [f"loss {means['loss'].mean():.4f}"]
    for spec in specs:
        if spec.kind == "regression":
            factor, unit = (1e3, "mV") if spec.unit == "V" else (1.0, spec.unit)
            parts.append(f"{spec.name} MAE {means[f'mae/{spec.name}'].mean() * factor:.3g} {unit}")
        else:
            parts.append(f"{spec.name} {means[f'accuracy/{spec.name}'].mean():.3f}")
    return ", ".join([*parts, f"{rate:.0f} patterns/s"])
