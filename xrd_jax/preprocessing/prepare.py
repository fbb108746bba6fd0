"""Window → scale → resize → split: from a series to network inputs; every statistic comes from training patterns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.splits import calibration_block, hold_out_groups, split
from xrd_jax.preprocessing.transform import Statistics, fit_statistics, to_device, transform
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A windowed series with its split and the statistics of its training part.

    Attributes:
      series: patterns inside the window, in time order.
      train, test: index arrays into `series`.
      calibration: patterns of whole groups that neither training nor the test sees; empty unless asked for.
    """

    series: PatternSeries
    train: np.ndarray
    test: np.ndarray
    statistics: Statistics
    calibration: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))


def prepare(series: PatternSeries, config: PrepareConfig, split_seed: int = 0) -> Prepared:
    """Apply the window, split, and learn the statistics from the training patterns.

    Raises:
      UserError: an empty window, or fewer patterns than the split needs.
    """
    series = apply_window(series, config)
    train, test = split(series, config, split_seed)
    length = calibration_block(series, config)
    train, calibration = hold_out_groups(series, train, config.calibration, split_seed, length)
    if config.shuffle_labels:
        series = shuffle_labels(series, train, split_seed)
    return Prepared(series, train, test, fit_statistics(series, train, config), calibration)


def shuffle_labels(series: PatternSeries, train: np.ndarray, seed: int) -> PatternSeries:
    """Permute the targets' values among the training patterns, those of a pattern together."""
    order = np.arange(len(series))
    order[train] = np.random.default_rng([seed, 0x5FF1E]).permutation(train)
    targets = {
        name: dataclasses.replace(target, values=target.values[order]) for name, target in series.targets.items()
    }
    return dataclasses.replace(series, targets=targets)


def apply_window(series: PatternSeries, config: PrepareConfig) -> PatternSeries:
    """Keep only the patterns whose `window_target` lies within [window_low, window_high]."""
    if not config.window_target:
        return series
    if config.window_target not in series.targets:
        raise UserError(f"prepare.window_target='{config.window_target}': the data have {', '.join(series.targets)}")
    values = series.targets[config.window_target].values
    keep = (values >= config.window_low) & (values <= config.window_high)
    if not keep.any():
        raise UserError(
            f"no pattern has {config.window_target} within {config.window_low}–{config.window_high}; the data span "
            f"{values.min():.4g}–{values.max():.4g}: change prepare.window_low and prepare.window_high"
        )
    return series.subset(keep)


def prepare_inputs(
    prepared: Prepared, config: PrepareConfig, indices: np.ndarray, chunk: int = 1024
) -> Float[Array, "B L"]:
    """Return prepared patterns of `prepared.series` at `indices`; beside them only `chunk` are on the device."""
    count = len(indices)
    size = max(min(chunk, count), 1)
    # Every block has the same shape: the last one begins earlier, and does some patterns twice.
    last = indices[-size:] if count % size else indices[:0]
    rows = np.concatenate([indices[: count - count % size], last])
    inputs = jnp.zeros((count, prepared.statistics.centres.size), jnp.float32)
    for begin, block in lazy.read_blocks(prepared.series.intensity, size, rows):
        inputs = _fill(config, inputs, min(begin, count - size), prepared.statistics, to_device(block))
    return inputs


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _fill(config: PrepareConfig, inputs: Array, begin: Array | int, statistics: Statistics, rows: Array) -> Array:
    """Write the transformed `rows` into `inputs` [n, L] from row `begin` on, in place."""
    return jax.lax.dynamic_update_slice(inputs, transform(statistics, config, rows.astype(jnp.float32)), (begin, 0))
