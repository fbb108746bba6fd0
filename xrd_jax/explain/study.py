"""A finished run explained: every map, what it is worth, and the named peaks that the supported one points at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xrd_jax import datasets
from xrd_jax.analysis.run import Run
from xrd_jax.explain import accumulate, attribution, peak_windows, perturbation, scorecard
from xrd_jax.explain import decoy as explain_decoy
from xrd_jax.explain import importance as explain_importance
from xrd_jax.explain.accumulate import Explained
from xrd_jax.explain.attribution import CONTROLS
from xrd_jax.information.ground_truth import Truth, of_run
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.series.record import PatternSeries

DEFAULT = (
    attribution.ENSEMBLE,
    "gradient_noise",
)  # what experiments/studies/faithfulness.py supports, of many networks and of one
MAPPED = 2000  # evenly spaced verification patterns that are explained
# Pairs of pattern and seed that costly methods explain, that untrained networks see, and that lose channels.
COSTLY, BARE, DELETED = 2048, 1024, 512
FEWEST, MOST = 32, 512  # patterns that these are for however many seeds


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything that is said about a run, before it is written.

    Attributes:
      part: the patterns that were explained.
      explained, bare, lured: maps of the networks, of untrained ones, and with a decoy in the patterns.
      harm: errors while channels are deleted, or given back, in the order of every map, and without named peaks.
      scores: target -> method -> score -> number, None where there is none; reasons: the same -> one line.
      rows: of importance.csv.
    """

    run: Run
    part: PatternSeries
    found: list[peak_windows.PeakWindow]
    truth: Truth | None
    explained: Explained
    bare: Explained
    lured: Explained
    harm: scorecard.Perturbed
    scores: dict[str, dict[str, dict[str, Any]]]
    reasons: dict[str, dict[str, str]]
    rows: list[explain_importance.Row]


def run(
    run: Run, methods: Sequence[str], cifs: Sequence[str], by: str, say: Callable[[str], None], progress: bool = False
) -> Study:
    """Everything but the writing."""
    part = verification(run)
    found = peak_windows.windows(part, run.axis, _reflections(cifs, part))
    say(f"explaining {len(part)} verification patterns by {len(methods)} methods, {run.config.seeds} seed(s)")
    masks = {one.label: one.mask for one in found}
    everything = (*methods, *CONTROLS)
    costly, unlearnt, deleted = (min(MOST, max(FEWEST, of // run.config.seeds)) for of in (COSTLY, BARE, DELETED))
    words = [word if progress else "" for word in ("explaining", "untrained", "decoy", "deleting", "giving back")]
    explained = accumulate.collect(run, part, everything, masks, None, costly, progress=words[0])
    say("the same of untrained networks, and with a decoy")
    some = part.subset(part.thinned(unlearnt))
    bare = accumulate.collect(attribution.untrained(run), some, methods, reference=part, progress=words[1])
    lure, inside = decoy(run, part)
    lured = explained
    if lure is not part:
        lured = accumulate.collect(run, lure, everything, None, part, costly, progress=words[2])
    truth = of_run(run.config, run.axis)
    say("deleting channels in the order of every map, and giving them back")
    harm = tested(run, part, part.thinned(deleted), explained, masks, words[3:])
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for method, target in explained.curves:
        row, reason = scorecard.score((method, target), explained, bare, lured, inside, harm, truth)
        scores.setdefault(target, {})[method] = row
        reasons.setdefault(target, {})[method] = reason
    verdicts = {target: own[by]["verdict"] for target, own in scores.items()}
    shares = {target: _with_rest(explained.shares[by, target]) for target in scores}
    rows = explain_importance.importance(shares, found, verdicts)
    return Study(run, part, found, truth, explained, bare, lured, harm, scores, reasons, rows)


def tested(
    run: Run, part: PatternSeries, rows: np.ndarray, explained: Explained, masks: Mapping[str, np.ndarray],
    words: Sequence[str],
) -> scorecard.Perturbed:  # fmt: skip
    """What the networks do without some channels of the patterns `rows`; `words`: what two progress bars say."""
    some = part.subset(rows)
    ranked = {k: c if len(c) == run.config.seeds else c.mean(axis=0) for k, c in explained.curves.items()}
    erased, restored = (
        perturbation.deletions(run, some, ranked, insertion=back, progress=word)
        for back, word in zip((False, True), words, strict=True)
    )
    knocked = perturbation.knock_out(run, some, {name: mask[rows] for name, mask in masks.items()}) if masks else {}
    return scorecard.Perturbed(erased, restored, knocked)


def verification(run: Run, most: int = MAPPED) -> PatternSeries:
    """The verification patterns of a run, at most `most`, evenly spaced.

    Raises:
      UserError: its data are no longer there.
    """
    series, _, _ = datasets.load_for(run.config)
    prepared = prepare(series, run.config.prepare, run.config.split_seed)
    test = np.sort(prepared.test)
    return prepared.series.subset(test[np.unique(np.linspace(0, test.size - 1, min(most, test.size)).astype(int))])


def _reflections(cifs: Sequence[str], part: PatternSeries) -> Sequence[Any]:
    if not cifs:
        return ()
    from xrd_jax.physics import cif

    return cif.read_all(cifs, part.axis)


def decoy(run: Run, part: PatternSeries) -> tuple[PatternSeries, np.ndarray]:
    """Patterns with a peak that carries nothing, and where it is, bool [T, L]: the cell's own decoy, or one added."""
    if not run.config.data and run.config.cell.decoy:
        return part, next(one.mask for one in peak_windows.windows(part, run.axis) if one.label == "decoy")
    lure = explain_decoy.inject(part)
    return lure.series, lure.inside(run.axis)


def _with_rest(shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shares of the windows and, last, of what lies in none."""
    rest = 1.0 - sum(shares.values(), np.zeros_like(next(iter(shares.values()), np.zeros(1))))
    return {**shares, peak_windows.ELSEWHERE: rest}
