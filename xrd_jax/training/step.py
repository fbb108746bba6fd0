"""One seed, one optimisation step: a pure function of a state and the data; many seeds are one vmap."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from xrd_jax.config.schema import PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.models import Model
from xrd_jax.preprocessing.noise import input_variance
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics, transform
from xrd_jax.training import attention_supervision, sharding
from xrd_jax.training.augment import RedrawScales, redraw
from xrd_jax.training.losses import loss_and_metrics

# Names of the random streams of a seed, folded into its key.
INIT, SHUFFLE, DROPOUT, REDRAW, SUPERVISION = range(5)


class State(NamedTuple):
    """Everything that training changes, for one seed (leaves gain a leading axis S for many)."""

    params: Any
    batch_stats: Any
    opt_state: Any
    step: Int[Array, "*S"]
    seed: Int[Array, "*S"]


class TrainingData(NamedTuple):
    """The training patterns on the device.

    Attributes:
      patterns: [n, L] network inputs or, with redrawing, [n, N] expected counts.
      slopes: [n, N] derivative of the expected counts along the axis; [0] without redrawing.
      statistics: of the preparation, used by redrawing.
      targets: name -> [n].
      templates: of the training patterns, for a model with `likelihood`.
    """

    patterns: Array
    slopes: Array
    statistics: Statistics
    targets: dict[str, Array]
    templates: dict[str, Array] | None = None


class StepConfig(NamedTuple):
    """The static part of a training: what the compiled step closes over.

    Attributes:
      batch: patterns per step.
      batch_devices: devices along the mesh axis `sharding.BATCH` that share a batch; 1 where there is no such axis.
    """

    model: Model
    specs: tuple[TargetSpec, ...]
    prepare: PrepareConfig
    train: TrainConfig
    batch: int
    steps_per_epoch: int
    schedule: Callable[[Array], Array]
    optimiser: optax.GradientTransformation
    batch_devices: int


def make_step_config(
    model: Model, specs: tuple[TargetSpec, ...], prepare: PrepareConfig, train: TrainConfig,
    patterns: int, batch_devices: int = 1,
) -> StepConfig:  # fmt: skip
    """Return batch size, steps per epoch, learning-rate schedule and optimiser for `patterns` training patterns.

    Args:
      model: built with `batch_axis=sharding.BATCH` if `batch_devices` > 1.
      batch_devices: devices that share a batch.

    Raises:
      UserError: settings that cannot be, or a batch that cannot be shared out evenly.
    """
    if train.epochs < 1 or train.batch_size < 2 or train.steps_per_call < 1:
        raise UserError("train.epochs and train.steps_per_call must be at least 1, train.batch_size at least 2")
    batch = min(train.batch_size, patterns)
    if batch % batch_devices:
        reason = " (there are no more training patterns)" if batch < train.batch_size else ""
        raise UserError(
            f"train.batch_size={batch}{reason}: {batch_devices} devices cannot share such a batch evenly; choose a "
            f"multiple of {batch_devices}, or another train.batch_devices"
        )
    steps_per_epoch = patterns // batch
    total = steps_per_epoch * train.epochs
    if train.schedule == "onecycle":
        warmup, peak = max(1, round(total * train.warmup)), train.learning_rate
        schedule = optax.warmup_cosine_decay_schedule(peak / 25, peak, warmup, max(total, warmup + 1), peak * 1e-4)
    else:
        schedule = optax.constant_schedule(train.learning_rate)
    optimiser = {
        "adam": lambda: optax.adam(schedule),
        "adamw": lambda: optax.adamw(schedule, weight_decay=train.weight_decay),
        "sgd": lambda: optax.sgd(schedule, momentum=0.9, nesterov=True),
    }[train.optimiser]()
    return StepConfig(model, specs, prepare, train, batch, steps_per_epoch, schedule, optimiser, batch_devices)


def init_state(step_config: StepConfig, seed: Int[Array, ""], templates: Mapping[str, Array] | None = None) -> State:
    """Return the state of one seed before its first step; `templates` as in `TrainingData`."""
    variables = step_config.model.init(jax.random.fold_in(jax.random.key(seed), INIT), templates)
    opt_state = step_config.optimiser.init(variables["params"])
    return State(variables["params"], variables["batch_stats"], opt_state, jnp.int32(0), jnp.int32(seed))


def epoch_order(step_config: StepConfig, state: State, patterns: int) -> Int[Array, " n"]:
    """Return the order in which the epoch that `state` stands in sees the `patterns` training patterns.

    Drawn from (seed, epoch) once per epoch, so that a step costs the same however many patterns there are.
    """
    key = jax.random.fold_in(jax.random.key(state.seed), SHUFFLE)
    return jax.random.permutation(jax.random.fold_in(key, state.step // step_config.steps_per_epoch), patterns)


def train_step(
    step_config: StepConfig, state: State, order: Int[Array, " n"], data: TrainingData
) -> tuple[State, dict[str, Array]]:
    """Return the state after one step on the part of `order` that its own step number selects, and the metrics.

    The order is `epoch_order` of the state, so the state alone decides everything that follows: a restored state
    continues bit for bit.
    """
    patterns, noise, targets = _draw_batch(step_config, state, order, data)
    dropout_key = _step_key(state, DROPOUT)

    def objective(params: Any) -> tuple[Array, tuple[dict[str, Array], Any]]:
        variables = {"params": params, "batch_stats": state.batch_stats}
        outputs, intermediates, batch_stats = step_config.model.apply_train(variables, patterns, dropout_key)
        loss, metrics = loss_and_metrics(outputs, targets, step_config.specs, step_config.train)
        if "input_attention" in intermediates:
            count = max(1, attention_supervision.MAX_PATTERNS // step_config.batch_devices)
            maps = attention_supervision.fisher_target(
                step_config.model, step_config.specs, variables, patterns[:count], noise[:count],
                _step_key(state, SUPERVISION),
            )  # fmt: skip
            metrics["loss/own"] = attention_supervision.loss(intermediates["input_attention"], maps)
            loss = loss + step_config.train.own_weight * metrics["loss/own"]
        return loss, (metrics, batch_stats)

    gradients, (metrics, batch_stats) = jax.grad(objective, has_aux=True)(state.params)
    if step_config.batch_devices > 1:
        # As one vector: devices wait for each other once, not once per leaf.
        flat, unravel = ravel_pytree((gradients, metrics))
        gradients, metrics = unravel(jax.lax.pmean(flat, sharding.BATCH))
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to the number of the step
        updates, opt_state = step_config.optimiser.update(gradients, state.opt_state, state.params)
        learning_rate = jnp.asarray(step_config.schedule(state.step))
    metrics |= {
        "gradient_norm": optax.tree.norm(gradients),
        "learning_rate": learning_rate,
    }
    params = optax.apply_updates(state.params, updates)
    return State(params, batch_stats, opt_state, state.step + 1, state.seed), metrics


def _step_key(state: State, stream: int) -> Array:
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(state.seed), stream), state.step)


def _draw_batch(
    step_config: StepConfig, state: State, order: Int[Array, " n"], data: TrainingData
) -> tuple[Float[Array, "B L"], Float[Array, "B L"], dict[str, Array]]:
    """Return this device's inputs, the variance of their noise, and targets.

    They are drawn in whole on every device and cut afterwards, so that no draw depends on the number of devices.
    """
    position = state.step % step_config.steps_per_epoch
    indices = jax.lax.dynamic_slice(order, (position * step_config.batch,), (step_config.batch,))
    patterns = data.patterns[indices]
    noise = jnp.ones_like(patterns)
    if step_config.train.augment == "redraw":
        scales = RedrawScales(step_config.train.redraw_flux, step_config.train.redraw_shift)
        slopes = data.slopes[indices] if step_config.train.redraw_shift else jnp.zeros_like(patterns)
        counts = redraw(_step_key(state, REDRAW), patterns, slopes, scales)
        patterns = transform(data.statistics, step_config.prepare, counts)
        noise = input_variance(data.statistics, step_config.prepare, counts)
    targets = {name: values[indices] for name, values in data.targets.items()}
    if step_config.batch_devices == 1:
        return patterns, noise, targets
    size = step_config.batch // step_config.batch_devices
    begin = jax.lax.axis_index(sharding.BATCH) * size
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, begin, size), (patterns, noise, targets))


def over_seeds(function: Callable[..., Any], seeds: int, shared: int, unroll: bool = False) -> Callable[..., Any]:
    """Return `function` of one seed as a function of stacked seeds [S, …]; its last `shared` arguments are common.

    For a single seed the axis is peeled off, because a vmap over convolution weights is a grouped convolution, which is
    slower; with `unroll` so it is for many, one after the other, which is faster on a CPU.
    """
    if seeds > 1 and not unroll:
        return lambda *args: jax.vmap(function, in_axes=(0,) * (len(args) - shared) + (None,) * shared)(*args)

    def unrolled(*args: Any) -> Any:
        stacked, common = args[: len(args) - shared], args[len(args) - shared :]
        results = [function(*jax.tree.map(lambda leaf, i=i: leaf[i], stacked), *common) for i in range(seeds)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

    return unrolled


def compiled_steps(
    step_config: StepConfig, seeds: int, count: int, mesh: Mesh | None = None
) -> Callable[[State, Int[Array, "S n"], TrainingData], tuple[State, dict[str, Array]]]:
    """Return `count` steps within one epoch, of all seeds, as one call with donated state; metrics are [S, count].

    Args:
      mesh: devices [seed, batch] that share the seeds; None for the default device alone.
    """

    def take_steps(state: State, order: Array, data: TrainingData) -> tuple[State, dict[str, Array]]:
        if count == 1:
            state, metrics = train_step(step_config, state, order, data)
            return state, jax.tree.map(lambda value: value[None], metrics)
        return jax.lax.scan(lambda carry, _: train_step(step_config, carry, order, data), state, length=count)

    seeds_per_device = seeds if mesh is None else seeds // mesh.shape[sharding.SEED]
    stacked = over_seeds(take_steps, seeds_per_device, shared=1, unroll=jax.default_backend() == "cpu")
    return sharding.shard_jit(stacked, mesh, shared=1, donate=True)
