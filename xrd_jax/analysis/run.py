"""A run on disk: open it, predict and look inside with it."""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from xrd_jax.analysis import vaw as vaw_maps
from xrd_jax.analysis.blocks import CHUNK, PredictionBlock, attention_matrices, fetch_block, forward, pad_block
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.models import Model, build
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.transform import Statistics
from xrd_jax.runtime import compilation
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import sharding
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.step import init_state, make_step_config, over_seeds


def open_run(path: str | os.PathLike[str]) -> Run:
    """Opens a run directory.

    Raises:
      UserError: no run there, or no checkpoint that can be read.

    Warns:
      UserWarning: the newest checkpoint is damaged, and the one before it was taken.
    """
    compilation.full_float32()
    path = Path(path)
    try:
        record = json.loads((path / "config.json").read_text())
        with np.load(path / "preparation.npz", allow_pickle=False) as file:
            statistics = Statistics(**{name: jnp.asarray(file[name]) for name in Statistics._fields})
        config = from_dict(Config, record["config"])
        specs = tuple(TargetSpec(**(spec | {"classes": tuple(spec["classes"])})) for spec in record["targets"])
    except FileNotFoundError as error:
        raise UserError(f"{path}: not a run directory ({Path(error.filename).name} is missing); train first") from None
    except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: config.json or preparation.npz is damaged ({error})") from None
    model = build(config.model, statistics.matrix.shape[1], tuple((s.name, s.size) for s in specs))
    step_config = make_step_config(model, specs, config.prepare, config.train, record["n_train"])
    initialise = over_seeds(lambda seed: init_state(step_config, seed), config.seeds, shared=0)
    store = Checkpoints(path / "checkpoints")
    try:
        found = store.restore(jax.eval_shape(initialise, jnp.asarray(config.seed_list(), jnp.int32)))
    finally:
        store.close()
    if found is None:
        raise UserError(f"{path}: has no checkpoint yet; train first")
    state, _, damaged = found
    for line in damaged:
        warnings.warn(line, stacklevel=2)
    return Run(path, config, specs, statistics, model, {"params": state.params, "batch_stats": state.batch_stats})


@dataclasses.dataclass(frozen=True)
class Run:
    """Trained networks with their preparation.

    Attributes:
      path: the run directory.
      specs: the targets, in the order of the configuration.
      variables: parameters with a leading seed axis S.
    """

    path: Path
    config: Config
    specs: tuple[TargetSpec, ...]
    statistics: Statistics
    model: Model
    variables: dict[str, Any]

    @property
    def axis(self) -> np.ndarray:
        """[L] positions of the network's input channels."""
        return np.asarray(self.statistics.centres, np.float64)

    def predict(self, series: PatternSeries) -> dict[str, np.ndarray]:
        """Predictions of every seed.

        Returns:
          target -> [S, T] in the target's unit (regression) or [S, T, K] probabilities (classification).

        Raises:
          UserError: the series has another axis than the training data.
        """
        return self.predict_with_maps(series, maps=False)[0]

    def vaw(self, series: PatternSeries) -> vaw_maps.Vaw:
        """The Visualized Attention Weight of every seed and pattern."""
        return self.predict_with_maps(series)[1]

    def predict_with_maps(
        self, series: PatternSeries, maps: bool = True, chunk: int | None = None
    ) -> tuple[dict[str, np.ndarray], vaw_maps.Vaw]:
        """Predictions and VAW in one pass over the data, collected from `stream`; a map takes 4 L bytes per seed."""
        raw = np.empty((self.config.seeds, len(series), self.axis.size if maps else 0), np.float32)
        outputs = {s.name: np.empty(raw.shape[:2] + ((s.size,) if s.classes else ()), np.float32) for s in self.specs}
        for block in self.stream(series, maps, chunk):
            here = slice(block.begin, block.begin + block.raw.shape[1])
            raw[:, here] = block.raw
            for name, values in block.outputs.items():
                outputs[name][:, here] = values
        return outputs, vaw_maps.Vaw(self.axis, raw, self.model.receptive_offset)

    def stream(self, series: PatternSeries, maps: bool = True, chunk: int | None = None) -> Iterator[PredictionBlock]:
        """Predictions and VAW of any number of patterns in constant memory, block by block, in time order.

        All seeds see a block before the next one is read, on all devices of this process. No more than [chunk, L, L]
        attention exists, and without `maps` none is returned to be kept.

        Args:
          chunk: patterns per block; by default what measurements found best on this kind of device.

        Raises:
          UserError: the series has another axis than the training data.
        """
        self._check_axis(series)
        most = CHUNK.get(jax.default_backend(), CHUNK["gpu"]) * jax.local_device_count()
        size = min(chunk or most, max(len(series), 1))
        mesh = sharding.rows(size)
        fixed = sharding.device_put((self.variables, self.statistics), mesh, P())
        pending: tuple[int, int, Any] | None = None
        for begin, rows in lazy.blocks(series.intensity, size):
            block = sharding.device_put(pad_block(rows, size), mesh, P(sharding.BATCH))
            found = forward(self.model, self.config.prepare, self.specs, maps, mesh, *fixed, block)
            if pending is not None:  # fetched only now, so that the device has had its next block already
                yield fetch_block(*pending)
            pending = begin, len(rows), found
        if pending is not None:
            yield fetch_block(*pending)

    def attention(self, series: PatternSeries, seed: int = 0, chunk: int = 32) -> Iterator[np.ndarray]:
        """The attention matrices of one seed, as blocks [at most chunk, L (query), L (key)] in time order."""
        self._check_axis(series)
        variables = self._of_seed(self.config.seed_list().index(seed))
        for _, rows in lazy.blocks(series.intensity, chunk):
            yield np.asarray(
                attention_matrices(self.model, self.config.prepare, variables, self.statistics, pad_block(rows, chunk))
            )[: len(rows)]

    def _of_seed(self, index: int) -> dict[str, Any]:
        return jax.tree.map(lambda leaf: leaf[index], self.variables)

    def _check_axis(self, series: PatternSeries) -> None:
        own, axis = np.asarray(self.statistics.axis, np.float64), series.axis.values
        # A tenth of a channel: what float32 and text files lose is far less, a zero offset worth knowing is more.
        if axis.size != own.size or np.abs(axis - own).max() > 0.1 * np.diff(own).min():
            raise UserError(
                f"{self.path}: was trained on {own.size} channels from {own[0]:.4f} to {own[-1]:.4f}, but these "
                f"patterns have {axis.size} from {axis[0]:.4f} to {axis[-1]:.4f}; resample them onto that axis or "
                "train anew"
            )
