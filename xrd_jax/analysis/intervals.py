"""Split-conformal intervals and sets of a run: patterns that training has not seen say how wide they must be.

Patterns of one stretch of time err together, so their groups are counted too, and too few promise nothing. Where a run
has targets with classes, each combination of predicted classes that has enough patterns and groups has a radius of its
own (Mondrian categories).
"""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from xrd_jax import files
from xrd_jax.analysis import conformal
from xrd_jax.analysis.blocks import evenly_spaced
from xrd_jax.preprocessing.prepare import Prepared
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.workdir import directory_identity

FILE = "calibration.npz"
LEVELS = (0.8, 0.9, 0.95)  # that reports give
LEVEL = 0.9  # of the intervals that come with predictions
MIN_GROUPS = 5  # groups below which nothing is promised: patterns of one group err together
MIN_CLASS_PATTERNS = 30  # calibration patterns below which a class has no quantile of its own
MAX_PATTERNS = 20_000  # calibration patterns used; evenly spaced ones where there are more


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Predictions of patterns whose truth is known."""

    outputs: Mapping[str, np.ndarray]  # target -> [S, T] values or [S, T, K] probabilities
    distributions: Mapping[str, np.ndarray]  # target learnt as a distribution -> [T, bins], mean over seeds
    truth: Mapping[str, np.ndarray]  # target -> [T]
    groups: np.ndarray  # [T] group of each pattern: neighbours in time, which err together

    @classmethod
    def at(
        cls, rows: Int[np.ndarray, " n"], groups: Int[np.ndarray, " n"], series: PatternSeries,
        outputs: Mapping[str, np.ndarray], distributions: Mapping[str, np.ndarray],
    ) -> "Labelled":  # fmt: skip
        """Return the patterns at `rows` of a series, at most `MAX_PATTERNS`, from the predictions of all of them."""
        chosen = evenly_spaced(rows.size, MAX_PATTERNS)
        rows = rows[chosen]
        return cls(
            {name: values[:, rows] for name, values in outputs.items()},
            {name: values[rows] for name, values in distributions.items()},
            {name: series.targets[name].values[rows] for name in outputs},
            groups[chosen],
        )


def held_out_groups(prepared: Prepared) -> tuple[Int[np.ndarray, " calibration"], Int[np.ndarray, " test"]]:
    """Return the group of each calibration and of each test pattern: stretches of time of about the same length.

    A group of calibration patterns is a stretch without a training pattern in it. The test set, which may lie between
    training patterns everywhere, is cut into stretches as long as the median of those.
    """
    session, train = prepared.series.session, prepared.train
    position, passed = np.empty(session.size, int), np.empty(session.size, int)
    for number in np.unique(session):
        rows = np.flatnonzero(session == number)
        position[rows] = np.arange(rows.size)
        passed[rows] = np.searchsorted(train[session[train] == number], rows)  # training patterns before each
    groups = _numbered(session[prepared.calibration], passed[prepared.calibration])
    stretches = [position[prepared.calibration[groups == group]] for group in np.unique(groups)]
    length = max(int(np.median([np.ptp(stretch) + 1 for stretch in stretches])), 1)
    return groups, _numbered(session[prepared.test], position[prepared.test] // length)


def _numbered(*labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return a number from 0 for each combination of labels."""
    return np.unique(np.stack(labels), axis=1, return_inverse=True)[1].reshape(-1)


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Scores of calibration patterns."""

    groups: np.ndarray  # [n] group of each pattern
    class_targets: tuple[str, ...]  # targets with classes; the predicted ones together are a pattern's category
    categories: np.ndarray  # [n] of each pattern
    scores: dict[str, np.ndarray]  # target -> [n]; infinite where a prediction was no number
    # Target -> what is added to the spread over seeds to make a scale, in the target's unit; 0: there is no scale.
    floors: dict[str, float]

    @property
    def group_count(self) -> int:
        return int(np.unique(self.groups).size)

    def refusal(self, level: float) -> str | None:
        """Return why no interval can be promised at a level; None where it can."""
        needed = math.ceil(level / (1.0 - level) - 1e-9)
        if self.group_count < MIN_GROUPS:
            count = f"the calibration patterns are of {self.group_count} groups, and at least {MIN_GROUPS} are needed"
        elif self.groups.size < needed:
            count = f"there are {self.groups.size} calibration patterns, and at least {needed} are needed"
        else:
            return None
        return f"{count}; raise prepare.calibration"

    def interval(
        self, spec: TargetSpec, outputs: Mapping[str, np.ndarray], distributions: Mapping[str, np.ndarray],
        level: float = LEVEL,
    ) -> tuple[Float[np.ndarray, " T"], Float[np.ndarray, " T"]] | None:  # fmt: skip
        """Return the lower and upper ends of a regression target's intervals, in its unit; None where refused."""
        if self.refusal(level):
            return None
        radius = self._radius(spec.name, level, categories(self.class_targets, outputs))
        predicted = outputs[spec.name]
        return conformal.bounds(spec, predicted, distributions.get(spec.name), radius, self.floors[spec.name])

    def label_sets(
        self, spec: TargetSpec, outputs: Mapping[str, np.ndarray], level: float = LEVEL
    ) -> Bool[np.ndarray, "T K"] | None:
        """Return [T, K] which classes may be the true one of a target with classes; None where refused."""
        if self.refusal(level):
            return None
        radius = conformal.quantile(self.scores[spec.name], level)
        return conformal.label_sets(outputs[spec.name], radius)

    def _radius(self, name: str, level: float, wanted: Int[np.ndarray, " T"]) -> Float[np.ndarray, " T"]:
        """Return the radius for patterns of the `wanted` categories: their own, or that of all patterns."""
        radius = np.full(wanted.size, conformal.quantile(self.scores[name], level))
        for category in np.unique(wanted):
            is_member = self.categories == category
            # What holds of all patterns holds of a class: too few groups err together.
            if is_member.sum() >= MIN_CLASS_PATTERNS and np.unique(self.groups[is_member]).size >= MIN_GROUPS:
                own = conformal.quantile(self.scores[name][is_member], level)
                radius[wanted == category] = own if math.isfinite(own) else radius[wanted == category]
        return radius


def calibrate(specs: Sequence[TargetSpec], labelled: Labelled) -> Calibration:
    """Return the scores of patterns that neither training nor the test has seen."""
    class_targets = tuple(spec.name for spec in specs if spec.kind != "regression")
    scores: dict[str, np.ndarray] = {}
    floors: dict[str, float] = {}
    for spec in specs:
        predicted, truth = labelled.outputs[spec.name], labelled.truth[spec.name]
        distribution = labelled.distributions.get(spec.name)
        floors[spec.name] = 0.0
        if spec.kind == "regression" and not spec.is_distribution and len(predicted) > 1:
            floors[spec.name] = conformal.floor_of_scale(predicted, truth)
        scores[spec.name] = conformal.score(spec, predicted, distribution, truth, floors[spec.name])
    return Calibration(labelled.groups, class_targets, categories(class_targets, labelled.outputs), scores, floors)


def categories(class_targets: Sequence[str], outputs: Mapping[str, np.ndarray]) -> Int[np.ndarray, " T"]:
    """Return a number for each pattern that stands for its predicted classes; 0 for all where there are none."""
    numbers = np.zeros(next(iter(outputs.values())).shape[1], int)
    for name in class_targets:
        numbers = numbers * outputs[name].shape[-1] + outputs[name].mean(axis=0).argmax(axis=-1)
    return numbers


def save(path: Path, calibration: Calibration) -> None:
    """Write the calibration of the run in a directory into it."""
    names = list(calibration.scores)
    files.write_npz(
        path / FILE,
        identity=directory_identity(path),
        groups=calibration.groups,
        class_targets=np.asarray(calibration.class_targets, np.str_),
        categories=calibration.categories,
        targets=np.asarray(names, np.str_),
        scores=np.stack([calibration.scores[name] for name in names]),
        floors=np.asarray([calibration.floors[name] for name in names]),
    )


def load(path: Path) -> Calibration | None:
    """Return the calibration of a run; None where it is missing, of another training or, with a warning, damaged."""
    try:
        file = files.read_npz(path / FILE)
        if str(file["identity"]) != directory_identity(path):
            return None
        names = [str(name) for name in file["targets"]]
        scores = dict(zip(names, file["scores"], strict=True))
        floors = {name: float(floor) for name, floor in zip(names, file["floors"], strict=True)}
        class_targets = tuple(str(name) for name in file["class_targets"])
        return Calibration(file["groups"], class_targets, file["categories"], scores, floors)
    except OSError:
        return None
    except (KeyError, ValueError) as error:
        warnings.warn(f"no intervals are given: {error}", stacklevel=2)
        return None
