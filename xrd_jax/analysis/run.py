"""A run on disk: open it, predict, and see its attention."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from xrd_jax.analysis import blocks
from xrd_jax.analysis.vaw import Vaw
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.estimators import program, saved
from xrd_jax.estimators.candidates import Choice
from xrd_jax.models import Model, Variables, build
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.preprocessing.templates import blank_templates
from xrd_jax.preprocessing.transform import Statistics
from xrd_jax.runtime import compilation
from xrd_jax.series import lazy
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.checkpoint import Checkpoints
from xrd_jax.training.fit import Fitted
from xrd_jax.training.step import init_state, make_step_config, over_seeds
from xrd_jax.training.workdir import read_config, read_preparation


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a run directory.

    Raises:
      UserError: no run there, or no checkpoint that can be read.

    Warns:
      UserWarning: the newest checkpoint is damaged, and the one before it was taken.
    """
    compilation.full_float32()
    path = Path(path)
    try:
        record, lines = read_config(path)
        statistics = Statistics(**{name: jnp.asarray(values) for name, values in read_preparation(path).items()})
        config = from_dict(Config, record["config"])
        specs = tuple(TargetSpec(**(spec | {"classes": tuple(spec["classes"])})) for spec in record["targets"])
        n_train = int(record["n_train"])
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path}: config.json or preparation.npz is damaged ({error}); train again") from None
    for line in lines:
        warnings.warn(line, stacklevel=2)
    if config.train.estimator != "network":
        return Run.from_choice(path, config, saved.load(path, statistics), specs)
    return _open_networks(path, config, specs, statistics, n_train)


def _open_networks(
    path: Path, config: Config, specs: tuple[TargetSpec, ...], statistics: Statistics, n_train: int
) -> Run:
    length, outputs = statistics.matrix.shape[1], tuple((s.name, s.size) for s in specs)
    model = build(config.model, length, outputs)
    step_config = make_step_config(model, specs, config.prepare, config.train, n_train)
    blank = blank_templates(length, outputs, n_train) if config.model.likelihood else None
    initialise = over_seeds(lambda seed: init_state(step_config, seed, blank), config.seeds, shared=0)
    checkpoints = Checkpoints(path / "checkpoints")
    try:
        abstract = jax.eval_shape(initialise, jnp.asarray(config.seed_list(), jnp.int32))
        restored = checkpoints.restore(abstract, best=config.train.checkpoint == "best")
    finally:
        checkpoints.close()
    if restored is None:
        raise UserError(f"{path}: has no checkpoint yet; train first")
    state, _, damaged = restored
    for message in damaged:
        warnings.warn(message, stacklevel=2)
    return Run(path, config, specs, statistics, model, {"params": state.params, "batch_stats": state.batch_stats})


class Predicted(NamedTuple):
    """What networks say of a series.

    Attributes:
      outputs: target -> [S, T] in its unit (regression) or [S, T, K] probabilities (classification).
      vaw: the maps of all seeds; without channels where none were asked for.
      distributions: target learnt as a distribution -> [T, K] probabilities of its bins, mean over seeds.
    """

    outputs: dict[str, np.ndarray]
    vaw: Vaw
    distributions: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """Trained networks with their preparation.

    Attributes:
      path: the run directory.
      specs: the targets, in the order of the configuration.
      variables: parameters with a leading seed axis S.
      choice: the estimator that stands in place of the network (`model` is for its explanations); None for a network.
    """

    path: Path
    config: Config
    specs: tuple[TargetSpec, ...]
    statistics: Statistics
    model: Model
    variables: Variables
    choice: Choice | None = None

    @classmethod
    def from_training(cls, path: Path, config: Config, fitted: Fitted, prepared: Prepared) -> Run:
        """Return the run of a training that has just ended, with the data it was prepared from."""
        return cls(path, config, fitted.specs, prepared.statistics, fitted.model, fitted.variables)

    @classmethod
    def from_choice(cls, path: Path, config: Config, choice: Choice, specs: tuple[TargetSpec, ...]) -> Run:
        """Return the run of an estimator, with the configuration that its scaling makes of `config`."""
        prepare = dataclasses.replace(config.prepare, scale=choice.scaling)  # type: ignore[arg-type]
        model, variables = program.as_model(choice, specs), program.variables(choice)
        config = dataclasses.replace(config, prepare=prepare)
        return cls(path, config, specs, choice.statistics, model, variables, choice)

    @property
    def map_axis(self) -> Float[np.ndarray, " M"]:
        """Positions of the channels of VAW: `axis`, or none where there is no attention because there is no network."""
        return self.axis if self.choice is None else self.axis[:0]

    @property
    def axis(self) -> Float[np.ndarray, " L"]:
        """Positions of the network's input channels."""
        return np.asarray(self.statistics.centres, np.float64)

    def predict(self, series: PatternSeries) -> dict[str, np.ndarray]:
        """Return the predictions of every seed.

        Returns:
          target -> [S, T] in the target's unit (regression) or [S, T, K] probabilities (classification).

        Raises:
          UserError: the series has another axis than the training data.
        """
        return self.predict_with_maps(series, maps=False)[0]

    def vaw(self, series: PatternSeries) -> Vaw:
        """Return the Visualized Attention Weight of every seed and pattern."""
        return self.predict_with_maps(series)[1]

    def predict_with_maps(self, series: PatternSeries, maps: bool = True, chunk: int | None = None) -> Predicted:
        """Return predictions and VAW in one pass over the data; a map takes 4 L bytes per seed and pattern."""
        raw = np.empty((self.config.seeds, len(series), self.map_axis.size if maps else 0), np.float32)
        outputs, distributions = self.empty_outputs(len(series)), self.empty_distributions(len(series))
        for block in self.stream(series, maps, chunk):
            rows = slice(block.begin, block.begin + block.raw.shape[1])
            raw[:, rows] = block.raw
            for name, values in block.outputs.items():
                outputs[name][:, rows] = values
            for name, values in block.distributions.items():
                distributions[name][rows] = values
        return Predicted(outputs, Vaw(self.map_axis, raw, self.model.receptive_offset), distributions)

    def empty_outputs(self, count: int) -> dict[str, np.ndarray]:
        """Return room for the predictions of `count` patterns, as `predict` gives them."""
        shape = self.config.seeds, count
        return {s.name: np.empty((*shape, s.size) if s.classes else shape, np.float32) for s in self.specs}

    def empty_distributions(self, count: int) -> dict[str, np.ndarray]:
        """Return room for the distributions of `count` patterns, for the targets that are learnt as such."""
        return {s.name: np.empty((count, s.size), np.float32) for s in self.specs if s.is_distribution}

    def stream(
        self, series: PatternSeries, maps: bool = True, chunk: int | None = None
    ) -> Iterator[blocks.PredictionBlock]:
        """Yield predictions and VAW of any number of patterns in constant memory, block by block, in time order.

        All seeds see a block before the next one is read, on all devices of this process. No more than [chunk, L, L]
        attention exists, and without `maps` none is returned to be kept.

        Args:
          chunk: patterns per block; `blocks.default_size`, but no more than there are, by default.

        Raises:
          UserError: the series has another axis than the training data.
        """
        self.check_axis(series)
        if self.choice is not None:
            yield from self._stream_estimates(self.choice, series, chunk)
            return

        def function(block: blocks.PatternBlock, constants: Any) -> Any:
            return blocks.forward(
                self.model, self.config.prepare, self.specs, maps, block.mesh, *constants, block.intensity
            )

        constants = self.variables, self.statistics
        results = blocks.over_patterns(series.intensity, function, constants, chunk, pattern_axis=1)
        for rows, (outputs, raw, distributions) in results:
            means = {name: values[0] for name, values in distributions.items()}
            yield blocks.PredictionBlock(rows.start, outputs, raw, means)

    def _stream_estimates(
        self, choice: Choice, series: PatternSeries, chunk: int | None
    ) -> Iterator[blocks.PredictionBlock]:
        size = chunk or max(min(lazy.PATTERNS_PER_BLOCK, len(series)), 1)
        for begin, rows in lazy.read_blocks(series.intensity, size):
            padded = np.pad(rows, ((0, size - len(rows)), (0, 0)), mode="edge")  # so that one program serves all blocks
            outputs = program.predict(choice, self.config.prepare, padded)
            seeds = {name: values[None, : len(rows)] for name, values in outputs.items()}
            yield blocks.PredictionBlock(begin, seeds, np.zeros((1, len(rows), 0), np.float32), {})

    def attention(self, series: PatternSeries, seed: int = 0, chunk: int = 32) -> Iterator[np.ndarray]:
        """Yield the attention matrices of one seed, as blocks [at most chunk, L (query), L (key)] in time order.

        Raises:
          UserError: another axis than the training data, or no network.
        """
        self.check_axis(series)
        if self.choice is not None:
            raise UserError(f"{self.path}: {self.choice.estimator} has no attention; train with --estimator=network")

        def function(block: blocks.PatternBlock, constants: Any) -> Any:
            return blocks.attention_matrices(self.model, self.config.prepare, *constants, block.intensity)

        constants = self.of_seed(self.config.seed_list().index(seed)), self.statistics
        for _, matrices in blocks.over_patterns(series.intensity, function, constants, chunk, shared=False):
            yield matrices

    def of_seed(self, index: int) -> Variables:
        """Return the variables of the seed at `index` of the list of seeds, without the axis S."""
        return jax.tree.map(lambda leaf: leaf[index], self.variables)

    def check_axis(self, series: PatternSeries) -> None:
        """Raise UserError where the patterns have another axis than the training data."""
        trained, axis = np.asarray(self.statistics.axis, np.float64), series.axis.values
        # A tenth of a channel: what float32 and text files lose is far less, a zero offset worth knowing is more.
        if axis.size != trained.size or np.abs(axis - trained).max() > 0.1 * np.diff(trained).min():
            raise UserError(
                f"{self.path}: was trained on {trained.size} channels from {trained[0]:.4f} to {trained[-1]:.4f}, but "
                f"these patterns have {axis.size} from {axis[0]:.4f} to {axis[-1]:.4f}; resample them onto that axis "
                "or train anew"
            )
