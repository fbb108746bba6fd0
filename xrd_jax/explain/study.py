"""A finished run explained: every map, what it is worth, and the named peaks that the supported one points at."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from xrd_jax import datasets
from xrd_jax.analysis.metrics import scores as score_predictions
from xrd_jax.analysis.run import Run
from xrd_jax.errors import UserError
from xrd_jax.explain import decoy, perturbation, residual_noise, scorecard
from xrd_jax.explain.accumulate import Explained, collect
from xrd_jax.explain.attribution import untrained
from xrd_jax.explain.importance import ImportanceRow, importance_rows, strongest_ranges
from xrd_jax.explain.methods import CONTROLS, ENSEMBLE, available_methods
from xrd_jax.explain.peak_windows import ELSEWHERE, PeakWindow, find_windows
from xrd_jax.information import ground_truth
from xrd_jax.physics import cif
from xrd_jax.preprocessing.prepare import Prepared, prepare
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries

# What experiments/studies/faithfulness.py supports, of many networks and of one.
DEFAULT_METHODS = (ENSEMBLE, "gradient_noise")
NOTHING_LEARNT = "nothing to explain"  # the verdict on maps of a target that a constant predicts as well
MAX_TEST_PATTERNS = 2000  # evenly spaced test patterns that are explained
# Pairs of pattern and seed that costly methods explain, that untrained networks see, and that lose channels …
COSTLY_PAIRS, UNTRAINED_PAIRS, DELETION_PAIRS = 2048, 1024, 512
MIN_PATTERNS, MAX_PATTERNS = 32, 512  # … and the patterns that these are for however many seeds


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything that is said about a run, before it is written."""

    run: Run
    series: PatternSeries  # the patterns that were explained
    windows: list[PeakWindow]  # the named peaks in them
    truth: ground_truth.GroundTruth | None
    explained: Explained  # maps of the networks,
    untrained: Explained  # of untrained ones,
    with_decoy: Explained  # and with a decoy in the patterns
    perturbed: scorecard.Perturbed
    scores: dict[str, dict[str, dict[str, Any]]]  # target -> method -> score -> number, None where there is none
    reasons: dict[str, dict[str, str]]  # target -> method -> one line
    rows: list[ImportanceRow]  # of importance.csv


def run(
    trained: Run, methods: Sequence[str], cifs: Sequence[str], importance_method: str = "",
    console: Console | None = None,
) -> Study:  # fmt: skip
    """Return everything but what is written.

    Args:
      methods: of `explain.methods.METHODS`; by default all that the network and the patterns allow.
      cifs: CIF files whose reflections name the peaks.
      importance_method: the one of `methods` that importance.csv is of; by default the one that the study supports.

    Raises:
      UserError: an unknown method, one that the data do not allow, a CIF that cannot be used, data that have gone.
    """
    console, seeds, prepared = console or Console(), trained.config.seeds, _prepared(trained)
    series = _test_patterns(prepared, MAX_TEST_PATTERNS)
    methods, importance_method = _chosen_methods(trained, prepared.series, methods, importance_method, console)
    windows = find_windows(series, trained.axis, cif.read_all(cifs, series.axis) if cifs else ())
    masks = {window.label: window.mask for window in windows}
    every, costly = (*methods, *CONTROLS), _patterns_for(COSTLY_PAIRS, seeds)
    summed = functools.partial(collect, console=console, noise=prepared.series)
    console.echo(f"explaining {len(series)} test patterns by {len(methods)} methods, {seeds} seed(s)")
    explained = summed(trained, series, every, masks, patterns=costly, description="explaining")
    console.echo("the same of untrained networks, and with a decoy")
    part = series.subset(series.thinned(_patterns_for(UNTRAINED_PAIRS, seeds)))
    of_untrained = summed(untrained(trained), part, methods, reference=series, description="untrained")
    decoy_series, decoy_mask = series_with_decoy(trained, series)
    with_decoy = explained
    if decoy_series is not series:
        with_decoy = summed(trained, decoy_series, every, None, series, costly, description="decoy")
    truth = ground_truth.of_run(trained.config, trained.axis)
    console.echo("deleting channels in the order of every map, and giving them back")
    perturbed = perturb(trained, series, explained, masks, console)
    maps = (explained, of_untrained, with_decoy)
    not_learnt = _not_learnt(trained, prepared, series)
    scores, reasons = _scores(maps, decoy_mask, perturbed, truth, not_learnt)
    rows = _importance(trained, explained, scores, importance_method, windows)
    return Study(trained, series, windows, truth, *maps, perturbed, scores, reasons, rows)


def _scores(
    maps: tuple[Explained, Explained, Explained], decoy_mask: np.ndarray, perturbed: scorecard.Perturbed,
    truth: ground_truth.GroundTruth | None, not_learnt: Mapping[str, str],
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, str]]]:  # fmt: skip
    """Return target -> method -> scores, and the reasons for their verdicts.

    Args:
      maps: of the networks, of untrained ones, and with a decoy in the patterns.
      not_learnt: target -> why there is nothing to explain.
    """
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for method, target in maps[0].curves:
        row, reason = scorecard.score((method, target), *maps, decoy_mask, perturbed, truth)
        if target in not_learnt and method not in CONTROLS:
            row, reason = row | {"verdict": NOTHING_LEARNT}, not_learnt[target]
        scores.setdefault(target, {})[method] = row
        reasons.setdefault(target, {})[method] = reason
    return scores, reasons


def _chosen_methods(
    trained: Run, patterns: PatternSeries, methods: Sequence[str], importance_method: str, console: Console
) -> tuple[tuple[str, ...], str]:
    """Return the methods, those asked for or all that can be had, and the one that importance.csv is of."""
    if not methods:
        methods = tuple(m for m in available_methods(trained) if m != ENSEMBLE or trained.config.seeds > 1)
        if reason := residual_noise.unknown_noise(patterns):
            methods = tuple(m for m in methods if m not in DEFAULT_METHODS)
            console.echo(f"{', '.join(DEFAULT_METHODS)} are left out: {reason}")
    default = next((m for m in (*DEFAULT_METHODS, "gradient") if m in methods), methods[0])
    chosen = importance_method or default
    if chosen not in methods:
        raise UserError(f"--importance={chosen}: not among the methods that are explained ({', '.join(methods)})")
    return tuple(methods), chosen


def _importance(
    trained: Run, explained: Explained, scores: dict[str, dict[str, dict[str, Any]]], method: str,
    windows: Sequence[PeakWindow],
) -> list[ImportanceRow]:  # fmt: skip
    """Return the rows of importance.csv: named peaks, or the strongest ranges where none is named; no map, no rows."""
    rows: list[ImportanceRow] = []
    for target, by_method in scores.items():
        verdict, curves = by_method[method]["verdict"], explained.curves[method, target]
        if verdict == scorecard.NO_MAP:
            continue
        if windows:
            shares = _with_elsewhere(explained.shares[method, target])
            rows += importance_rows({target: shares}, windows, {target: verdict})
        else:
            is_ensemble = method == ENSEMBLE  # halves of the seeds tell no interval
            values = curves.mean(axis=0, keepdims=True) if is_ensemble else curves
            rows += strongest_ranges(target, trained.axis, values, trained.config.seeds, verdict)
    return rows


def _not_learnt(trained: Run, prepared: Prepared, series: PatternSeries) -> dict[str, str]:
    """Return target -> why there is nothing to explain, for those that a constant predicts as well."""
    reasons, outputs = {}, trained.predict(series)
    for spec in trained.specs:
        known, truth = (s.targets[spec.name].values for s in (prepared.series.subset(prepared.train), series))
        kind, what = ("mae", "median") if spec.kind == "regression" else ("accuracy", "commonest class")
        guess = np.full(truth.shape, np.median(known)) if spec.kind == "regression" else np.bincount(known).argmax()
        ours = score_predictions(spec, outputs[spec.name], truth)[kind]["mean"]
        theirs = float(np.abs(truth - guess).mean() if spec.kind == "regression" else (truth == guess).mean())
        if ours >= theirs if spec.kind == "regression" else ours <= theirs:
            reasons[spec.name] = f"{kind} {ours:.3g}, of the {what} of the training patterns {theirs:.3g}"
    return reasons


def _patterns_for(pairs: int, seeds: int) -> int:
    """How many patterns make about `pairs` of pattern and seed."""
    return min(MAX_PATTERNS, max(MIN_PATTERNS, pairs // seeds))


def perturb(
    run: Run, series: PatternSeries, explained: Explained, masks: Mapping[str, np.ndarray], console: Console
) -> scorecard.Perturbed:
    """Return what the networks do without some channels (`masks`: window -> bool [T, L]) of evenly spaced patterns."""
    indices = series.thinned(_patterns_for(DELETION_PAIRS, run.config.seeds))
    part = series.subset(indices)
    # Of the ensemble there are no curves of seeds: their mean ranks the channels for all.
    curves = {k: c if len(c) == run.config.seeds else c.mean(axis=0) for k, c in explained.curves.items()}
    deleted, inserted = (
        perturbation.deletion_curves(run, part, curves, insertion=back, console=console, description=description)
        for back, description in ((False, "deleting"), (True, "giving back"))
    )
    windows = {name: mask[indices] for name, mask in masks.items()}
    return scorecard.Perturbed(deleted, inserted, perturbation.knock_out(run, part, windows) if windows else {})


def select_test_patterns(run: Run, max_patterns: int = MAX_TEST_PATTERNS) -> PatternSeries:
    """Return the test patterns of a run, at most `max_patterns`, evenly spaced.

    Raises:
      UserError: its data are no longer there.
    """
    return _test_patterns(_prepared(run), max_patterns)


def _prepared(run: Run) -> Prepared:
    series, _, _ = datasets.load_for(run.config)
    return prepare(series, run.config.prepare, run.config.split_seed)


def _test_patterns(prepared: Prepared, max_patterns: int) -> PatternSeries:
    test = np.sort(prepared.test)
    chosen = np.unique(np.linspace(0, test.size - 1, min(max_patterns, test.size)).astype(int))
    return prepared.series.subset(test[chosen])


def series_with_decoy(run: Run, series: PatternSeries) -> tuple[PatternSeries, Bool[np.ndarray, "T L"]]:
    """Return patterns with a peak that carries nothing, and its channels: the cell's own decoy, or one added."""
    if not run.config.data and run.config.cell.decoy:
        return series, next(window.mask for window in find_windows(series, run.axis) if window.label == "decoy")
    added = decoy.add_decoy(series)
    return added.series, added.inside(run.axis)


def _with_elsewhere(shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shares of the windows and, last, of what lies in none."""
    return {**shares, ELSEWHERE: np.atleast_1d(1.0 - sum(shares.values()))}
