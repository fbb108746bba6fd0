"""Networks trained anew without the channels that a map ranks first."""

import dataclasses
import tempfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from xrd_jax.analysis.run import Run
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.explain.perturbation import masked_errors
from xrd_jax.preprocessing.prepare import Prepared, prepare_inputs
from xrd_jax.preprocessing.transform import Statistics
from xrd_jax.series.axis import Axis
from xrd_jax.training.fit import fit


def retrain(
    prepared: Prepared, config: Config, curve: Float[np.ndarray, " L"], fraction: float
) -> dict[str, Float[np.ndarray, " S"]]:
    """Return errors, on the test patterns, of networks that were trained without some channels.

    The highest `fraction` of the channels of `curve` take their training mean, in training and test patterns, and
    `config.seeds` networks learn anew. A true map does more harm than a random one. Photons are not redrawn, because
    channels are deleted after the scaling.

    Source: S. Hooker et al., "A benchmark for interpretability methods in deep neural networks", arXiv:1806.10758.
    """
    patterns = np.array(prepare_inputs(prepared, config.prepare, np.arange(len(prepared.series))))
    order = np.argsort(-np.abs(np.nan_to_num(curve)), kind="stable")
    deleted = order[: round(fraction * order.size)]
    patterns[:, deleted] = patterns[prepared.train].mean(axis=0)[deleted]
    config = dataclasses.replace(
        config,
        prepare=PrepareConfig(scale="none", resize="none", centre=False),
        train=dataclasses.replace(config.train, augment="none", checkpoint_every=config.train.epochs),
    )
    centres = np.asarray(prepared.statistics.centres, np.float64)
    axis = Axis(centres, prepared.series.axis.kind, prepared.series.axis.wavelength)
    series = dataclasses.replace(prepared.series, intensity=patterns, axis=axis, is_counts=False)
    one, channels = jnp.float32(1.0), jnp.asarray(centres, jnp.float32)
    unchanged = Statistics(channels, jnp.eye(centres.size), channels, 0 * one, one, one, jnp.zeros(centres.size), one)
    without = Prepared(series, prepared.train, prepared.test, unchanged)
    with tempfile.TemporaryDirectory() as folder:
        fitted = fit(config, without, Path(folder) / "checkpoints", progress=False)
        run = Run.from_training(Path(folder), config, fitted, without)
        no_mask = np.zeros((1, 1, centres.size), bool)
        errors = masked_errors(run, series.subset(without.test), lambda *_: no_mask, config.targets)
    return {name: error[:, 0] for name, error in errors.items()}
