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

from xrd_jax.analysis import vaw as vaw_maps
from xrd_jax.config import Config, from_dict
from xrd_jax.errors import UserError
from xrd_jax.models import Model, build
from xrd_jax.prepare import Statistics, TargetSpec, transform
from xrd_jax.series import PatternSeries
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.step import init_state, over_seeds, plan


def open_run(path: str | os.PathLike[str]) -> Run:
    """Opens a run directory.

    Raises:
      UserError: no run there, or no checkpoint that can be read.

    Warns:
      UserWarning: the newest checkpoint is damaged, and the one before it was taken.
    """
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
    schedule = plan(model, specs, config.prepare, config.train, record["n_train"])
    initialise = over_seeds(lambda seed: init_state(schedule, seed), config.seeds, shared=0)
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
        return self.look(series, maps=False)[0]

    def vaw(self, series: PatternSeries) -> vaw_maps.Vaw:
        """The Visualized Attention Weight of every seed and pattern."""
        return self.look(series)[1]

    def look(
        self, series: PatternSeries, maps: bool = True, chunk: int = 128
    ) -> tuple[dict[str, np.ndarray], vaw_maps.Vaw]:
        """Predictions and VAW in one pass, `chunk` patterns at a time: no more than [chunk, L, L] attention exists."""
        self._check_axis(series)
        forward = _forward(self.model, self.config, self.specs, maps)
        collected: list[list[Any]] = [[] for _ in range(self.config.seeds)]
        for block in _blocks(series.intensity, chunk):
            for seed in range(self.config.seeds):
                collected[seed].append(forward(self._of_seed(seed), self.statistics, block))
        merged = [
            jax.tree.map(lambda *p: np.concatenate(p)[: len(series)], *jax.device_get(parts)) for parts in collected
        ]
        outputs, raw = jax.tree.map(lambda *p: np.stack(p), *merged)
        return outputs, vaw_maps.Vaw(self.axis, raw, self.model.lag)

    def attention(self, series: PatternSeries, seed: int = 0, chunk: int = 32) -> Iterator[np.ndarray]:
        """The attention matrices of one seed, as blocks [at most chunk, L (query), L (key)] in time order."""
        self._check_axis(series)
        variables = self._of_seed(self.config.seed_list().index(seed))
        for begin in range(0, len(series), chunk):
            rows = series.intensity[begin : begin + chunk]
            yield np.asarray(
                _attention(self.model, self.config)(variables, self.statistics, jnp.asarray(rows, jnp.float32))
            )

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


def _blocks(intensity: np.ndarray, size: int) -> Iterator[jax.Array]:
    """Blocks [size, N] of float32; the last one is padded with its last pattern so that one program serves all."""
    for begin in range(0, len(intensity), size):
        rows = intensity[begin : begin + size].astype(np.float32)
        yield jnp.asarray(np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge"))


def _forward(model: Model, config: Config, specs: tuple[TargetSpec, ...], maps: bool):
    def forward(variables, statistics, intensity):
        outputs, aux = model.apply(variables, transform(statistics, config.prepare, intensity))
        values = {}
        for spec in specs:
            if spec.kind == "regression":
                values[spec.name] = outputs[spec.name][:, 0] * spec.deviation + spec.mean
            else:
                values[spec.name] = jax.nn.softmax(outputs[spec.name], axis=-1)
        return values, vaw_maps.max_over_keys(aux["attention"]) if maps else jnp.zeros((intensity.shape[0], 0))

    return jax.jit(forward)


def _attention(model: Model, config: Config):
    return jax.jit(lambda v, s, x: model.apply(v, transform(s, config.prepare, x))[1]["attention"])
