"""What regressor and classifier have in common: rows of X become a series, a run is trained, intervals calibrated."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from xrd_jax.analysis import intervals, novelty
from xrd_jax.analysis.collect import as_series
from xrd_jax.analysis.run import Predicted, Run
from xrd_jax.config.cases import case3
from xrd_jax.config.overrides import override
from xrd_jax.config.recipes import RECIPES, recipe_fields
from xrd_jax.config.schema import Config, PrepareConfig
from xrd_jax.errors import UserError, suggest
from xrd_jax.estimators import saved
from xrd_jax.estimators.candidates import choose
from xrd_jax.estimators.methods import METHODS
from xrd_jax.models import build
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.splits import CALIBRATION_BLOCK, hold_out_groups
from xrd_jax.preprocessing.targets import target_specs
from xrd_jax.preprocessing.transform import fit_statistics
from xrd_jax.runtime import compilation
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.fit import fit as train_networks
from xrd_jax.training.fit import make_model
from xrd_jax.training.workdir import create_or_resume, write_preparation

TARGET = "y"
GROUP = "half_cycle"  # the target of patterns that belong together: choices inside the training never part them
MAX_CHANNELS = 256  # the network's; fewer where the patterns have fewer


class SpectrumEstimator(BaseEstimator):
    """What regressor and classifier have in common.

    Args:
      estimator: 'network', or a simpler model: 'ridge', 'pls', 'gp', 'trees', or 'auto', which takes the one that errs
        least on groups left out inside the training patterns.
      recipe: 'paper' or 'best', as on the command line.
      epochs: passes over the training patterns; the recipe's own if None.
      seeds: networks trained side by side, whose predictions are averaged.
      random_state: the first seed, a whole number.
      calibration: share of the patterns (of the groups, where `fit` gets them) that is held out of training for
        intervals; none is where it would be too little for any.
      axis: what the columns of X are: an `Axis`, or [N] increasing positions; their numbers if None.
      is_counts: X holds photon counts, whose noise is known.
      settings: further 'key=value' of the configuration, such as 'model.attention=off'.
      workdir: where the run is written for `xrd_jax.open_run` and the command line. A fit of the same patterns resumes
        it, another is refused: leave it None in cross-validation.
      overwrite: replace the run that `workdir` holds.

    Attributes:
      run_: the `xrd_jax.Run`, on the patterns' axis.
      calibration_: the `Calibration` of its intervals; None where nothing was held out.
    """

    def __init__(  # anything is taken here, and judged by `fit`
        self, estimator: Any = "network", *, recipe: Any = "paper", epochs: Any = None, seeds: Any = 1,
        random_state: Any = 0, calibration: Any = 0.15, axis: Any = None, is_counts: Any = False, settings: Any = (),
        workdir: Any = None, overwrite: Any = False,
    ):  # fmt: skip
        self.estimator = estimator
        self.recipe = recipe
        self.epochs = epochs
        self.seeds = seeds
        self.random_state = random_state
        self.calibration = calibration
        self.axis = axis
        self.is_counts = is_counts
        self.settings = settings
        self.workdir = workdir
        self.overwrite = overwrite

    def fit_series(self, X: np.ndarray, target: Target, groups: Any) -> None:
        """Train on the patterns X [T, N], which have been checked, and calibrate; `groups` [T] are never parted."""
        compilation.full_float32()
        axis = np.arange(X.shape[1]) if self.axis is None else self.axis
        axis = axis if isinstance(axis, Axis) else Axis(np.asarray(axis), "channel")
        targets, zeros = {TARGET: target}, np.zeros(len(X), int)
        if groups is not None:
            check_consistent_length(X, groups)
            targets[GROUP] = Target(np.unique(np.asarray(groups), return_inverse=True)[1])
        series = PatternSeries(X, axis, np.arange(len(X)), targets, zeros, zeros, is_counts=self.is_counts, timed=False)
        config = self._config(X.shape[1], GROUP in targets)
        train, calibration = self._hold_out(series)
        statistics = fit_statistics(series, train, config.prepare)
        prepared = Prepared(series, train, train[:0], statistics, calibration)
        self.run_ = self._train(config, prepared)
        self.calibration_ = self._calibrate(prepared)

    def _config(self, channels: int, is_grouped: bool) -> Config:
        """Return a case's configuration as the recipe, the parameters and the settings change it."""
        if self.recipe not in RECIPES:
            raise UserError(f"recipe='{self.recipe}' is not known{suggest(str(self.recipe), RECIPES)}")
        prepare = PrepareConfig(channels=min(MAX_CHANNELS, channels), calibration=self.calibration)
        base = dataclasses.replace(case3(), name=type(self).__name__, targets=(TARGET,), prepare=prepare)
        # Rows may stand in any order: their neighbours say nothing of them, and their averages would be wrong.
        own = ["train.augment=none", "train.redraw_frames=0", "train.redraw_shift=0"]
        own += [f"train.estimator={self.estimator}", f"seed={self.random_state}", f"seeds={self.seeds}"]
        own += [] if self.is_counts else ["model.likelihood=0"]
        own += [] if self.epochs is None else [f"train.epochs={self.epochs}"]
        own += [] if self.workdir is not None else [f"train.checkpoint_every={10**9}"]  # the last one only
        recipe = recipe_fields(self.recipe, "" if is_grouped else "random")
        return override(base, [*recipe, *own, *self.settings])

    def _hold_out(self, series: PatternSeries) -> tuple[np.ndarray, np.ndarray]:
        """Return the patterns for training and for calibration: stretches of rows, or whole groups."""
        rows, share = np.arange(len(series)), self.calibration
        if not 0.0 <= share < 1.0:
            raise UserError(f"calibration={share}: must be 0 or a share below 1, such as 0.15")
        if GROUP not in series.targets:
            is_too_little = round(len(rows) // CALIBRATION_BLOCK * share) < intervals.MIN_GROUPS
            return hold_out_groups(series, rows, 0.0 if is_too_little else share, self.random_state)
        groups = series.targets[GROUP].values
        names = np.unique(groups)
        count = round(names.size * share)
        drawn = np.random.default_rng([self.random_state, 0xCA1B]).permutation(names)[:count]
        is_held_out = np.isin(groups, drawn if count >= intervals.MIN_GROUPS else drawn[:0])
        return rows[~is_held_out], rows[is_held_out]

    def _train(self, config: Config, prepared: Prepared) -> Run:
        is_network, is_kept = config.train.estimator == "network", self.workdir is not None
        specs = make_model(config, prepared)[1] if is_network else target_specs(prepared, config.targets)
        place = self.workdir, config, prepared, specs, self.overwrite
        path = create_or_resume(*place) if is_kept else Path("memory")
        if is_network:
            home = contextlib.nullcontext(path) if is_kept else tempfile.TemporaryDirectory(prefix="xrd_jax-")
            with home as folder:
                fitted = train_networks(config, prepared, Path(folder) / "checkpoints", progress=False)
            return Run.from_training(path, config, fitted, prepared)
        names = tuple(METHODS) if config.train.estimator == "auto" else (config.train.estimator,)
        choice = choose(prepared, config.prepare, specs, names)
        if is_kept:
            write_preparation(path, choice.statistics)
            saved.save(path, choice)
        return Run.from_choice(path, config, choice, specs)

    def _calibrate(self, prepared: Prepared) -> intervals.Calibration | None:
        rows = prepared.calibration
        if not rows.size:
            return None
        held_out = dataclasses.replace(prepared, test=rows)
        if GROUP in prepared.series.targets:
            groups = prepared.series.targets[GROUP].values[rows].astype(int)
        else:
            groups = intervals.held_out_groups(held_out)[0]
        series, indices = prepared.series.subset(rows), np.arange(rows.size)
        predicted = self.run_.predict_with_maps(series, maps=False)
        labelled = intervals.Labelled.at(indices, groups, series, predicted.outputs, predicted.distributions)
        calibration = intervals.calibrate(self.run_.specs, labelled)
        if self.workdir is not None:
            intervals.save(self.run_.path, calibration)
            novelty.save(self.run_, held_out)
        return calibration

    def series(self, X: Any) -> PatternSeries:
        """Return patterns [T, N] as the record that `run_` takes, such as for `run_.vaw` or an explanation."""
        check_is_fitted(self)
        return as_series(self.run_, validate_data(self, X, reset=False))

    def predict_outputs(self, X: Any) -> Predicted:
        """Return what every seed says of patterns [T, N]; the target is 'y'."""
        series = self.series(X)
        return self.run_.predict_with_maps(series, maps=False)

    def calibration_for(self, level: float) -> intervals.Calibration:
        """Return the calibration that promises intervals of a level.

        Raises:
          UserError: too little was held out, or the level is not between 0 and 1.
        """
        check_is_fitted(self)
        if not 0.0 < level < 1.0:
            raise UserError(f"level={level}: must lie between 0 and 1, such as 0.9")
        if self.calibration_ is None:
            raise UserError(
                f"calibration={self.calibration} held out nothing of so few patterns or groups, and no interval can be "
                "promised; give a larger share or more patterns"
            )
        if reason := self.calibration_.refusal(level):
            raise UserError(f"no interval of level {level}: {reason.replace('prepare.calibration', 'calibration')}")
        return self.calibration_

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the network's functions, which cannot be pickled and are made anew."""
        state = dict(super().__getstate__())
        if "run_" in state:
            run = state["run_"]
            state["run_"] = {f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name != "model"}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "run_" in state:
            compilation.full_float32()
            state = state | {"run_": _with_model(**state["run_"])}
        super().__setstate__(state)


def _with_model(**parts: Any) -> Run:
    """Return the run whose parts, all but the model, are given."""
    if parts["choice"] is not None:
        return Run.from_choice(parts["path"], parts["config"], parts["choice"], parts["specs"])
    outputs = tuple((spec.name, spec.size) for spec in parts["specs"])
    return Run(model=build(parts["config"].model, parts["statistics"].matrix.shape[1], outputs), **parts)
