"""A finished run explained: every map, what it is worth, and the named peaks that the supported one points at."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from xrd_jax.analysis.run import Run, open_run
from xrd_jax.commands import train
from xrd_jax.errors import UserError
from xrd_jax.explain import attribution, metrics, peak_windows, perturbation, scorecard
from xrd_jax.explain.attribution import CONTROLS, Explained
from xrd_jax.figures import explanations
from xrd_jax.figures import run as figures_run
from xrd_jax.information.ground_truth import Truth, known
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.series.record import PatternSeries
from xrd_jax.training.workdir import write_bytes

DEFAULT = (attribution.ENSEMBLE, "gradient_noise")  # what experiments/studies/faithfulness.py supports, of many networks and of one
MAPPED = 2000  # evenly spaced verification patterns that are explained
# Pairs of pattern and seed that costly methods explain, that untrained networks see, and that lose channels.
COSTLY, BARE, DELETED = 2048, 1024, 512
FEWEST, MOST = 32, 512  # patterns that these are for however many seeds
SUMMARY = "explain.json"


@dataclasses.dataclass(frozen=True)
class Findings:
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
    harm: scorecard.Harm
    scores: dict[str, dict[str, dict[str, Any]]]
    reasons: dict[str, dict[str, str]]
    rows: list[peak_windows.Row]


def explain(
    workdir: str | Path, methods: Sequence[str] = (), cifs: Sequence[str] = (), by: str = "",
    say: Callable[[str], None] = lambda line: None, progress: bool = False,
) -> Findings:  # fmt: skip
    """Explains a run and writes explain.json, importance.csv and figures/explain_*.png|svg into its directory.

    Args:
      methods: of `attribution.METHODS`; all that the network allows by default.
      cifs: CIF files of the phases whose reflections name the peaks.
      by: the method that importance.csv is of; the one that the study supports by default.

    Raises:
      UserError: no finished run, an unknown method, a CIF that cannot be read or used, data that have gone.
    """
    run = open_run(workdir)
    chosen = tuple(methods) or tuple(
        name for name in attribution.available(run) if name != attribution.ENSEMBLE or run.config.seeds > 1
    )
    by = by or next((name for name in DEFAULT if name in chosen), chosen[0])
    if by not in chosen:
        raise UserError(f"--importance={by}: not among the methods that are explained ({', '.join(chosen)})")
    findings = look(run, chosen, cifs, by, say, progress)
    write(findings)
    return findings


def look(
    run: Run, methods: Sequence[str], cifs: Sequence[str], by: str, say: Callable[[str], None], progress: bool = False
) -> Findings:
    """Everything but the writing."""
    part = verification(run)
    found = peak_windows.windows(part, run.axis, _reflections(cifs, part))
    say(f"explaining {len(part)} verification patterns by {len(methods)} methods, {run.config.seeds} seed(s)")
    masks = {one.label: one.mask for one in found}
    everything = (*methods, *CONTROLS)
    costly, unlearnt, deleted = (min(MOST, max(FEWEST, of // run.config.seeds)) for of in (COSTLY, BARE, DELETED))
    words = [word if progress else "" for word in ("explaining", "untrained", "decoy", "deleting", "giving back")]
    explained = attribution.collect(run, part, everything, masks, None, costly, progress=words[0])
    say("the same of untrained networks, and with a decoy")
    some = part.subset(part.thinned(unlearnt))
    bare = attribution.collect(attribution.untrained(run), some, methods, reference=part, progress=words[1])
    lure, inside = decoy(run, part)
    lured = explained
    if lure is not part:
        lured = attribution.collect(run, lure, everything, None, part, costly, progress=words[2])
    truth = known(run.config, run.axis)
    say("deleting channels in the order of every map, and giving them back")
    harm = tested(run, part, part.thinned(deleted), explained, masks, words[3:])
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for method, target in explained.curves:
        row, reason = scorecard.judged((method, target), explained, bare, lured, inside, harm, truth)
        scores.setdefault(target, {})[method] = row
        reasons.setdefault(target, {})[method] = reason
    verdicts = {target: own[by]["verdict"] for target, own in scores.items()}
    shares = {target: _with_rest(explained.shares[by, target]) for target in scores}
    rows = peak_windows.importance(shares, found, verdicts)
    return Findings(run, part, found, truth, explained, bare, lured, harm, scores, reasons, rows)


def tested(
    run: Run, part: PatternSeries, rows: np.ndarray, explained: Explained, masks: Mapping[str, np.ndarray],
    words: Sequence[str],
) -> scorecard.Harm:  # fmt: skip
    """What the networks do without some channels of the patterns `rows`; `words`: what two progress bars say."""
    some = part.subset(rows)
    ranked = {k: c if len(c) == run.config.seeds else c.mean(axis=0) for k, c in explained.curves.items()}
    erased, restored = (
        perturbation.deletions(run, some, ranked, insertion=back, progress=word)
        for back, word in zip((False, True), words, strict=True)
    )
    knocked = perturbation.knock_out(run, some, {name: mask[rows] for name, mask in masks.items()}) if masks else {}
    return scorecard.Harm(erased, restored, knocked)


def verification(run: Run, most: int = MAPPED) -> PatternSeries:
    """The verification patterns of a run, at most `most`, evenly spaced.

    Raises:
      UserError: its data are no longer there.
    """
    series, _, _ = train.acquire(run.config)
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
    lure = perturbation.inject(part)
    return lure.series, lure.inside(run.axis)


def _with_rest(shares: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Shares of the windows and, last, of what lies in none."""
    rest = 1.0 - sum(shares.values(), np.zeros_like(next(iter(shares.values()), np.zeros(1))))
    return {**shares, peak_windows.ELSEWHERE: rest}


def write(findings: Findings) -> list[Path]:
    """explain.json, importance.csv, curves and figures, into the run's directory."""
    path = findings.run.path
    targets = {
        target: {
            "methods": {m: row | {"reason": findings.reasons[target][m]} for m, row in own.items()},
            "knock_out": {
                name: {"mean": float(taken[target].mean()), "std": float(taken[target].std())}
                for name, taken in findings.harm.knocked.items()
            },
        }
        for target, own in findings.scores.items()
    }
    record = {"seeds": findings.run.config.seeds, "patterns": len(findings.part), "targets": targets}
    write_bytes(path / SUMMARY, (json.dumps(record, indent=1) + "\n").encode())
    peak_windows.write(path / "importance.csv", findings.rows)
    write_bytes(path / "explain_curves.csv", _curves_csv(findings))
    files = [path / SUMMARY, path / "importance.csv", path / "explain_curves.csv"]
    for name, figure in drawn(findings):
        files += figures_run.save(figure, path / "figures", f"explain_{name}", write_bytes)
    return files


def _curves_csv(findings: Findings) -> bytes:
    """Mean map and standard deviation over seeds, a row per method, target and channel.

    Maps of hidden layers stand at input channels; `raw` is what they were at that index before.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "target", "channel", "mean", "std", "raw", "untrained", "information"])
    known_curves = findings.truth.curves if findings.truth else {}
    nothing = np.full((1, findings.run.axis.size), np.nan)
    for key, curves in findings.explained.curves.items():
        raw, bare = findings.explained.raw_curves.get(key, nothing), findings.bare.curves.get(key, nothing)
        means = (raw.mean(axis=0), bare.mean(axis=0), known_curves.get(key[1], nothing[0]))
        columns = (findings.run.axis, curves.mean(axis=0), curves.std(axis=0), *means)
        for place, *numbers in zip(*columns, strict=True):
            writer.writerow([*key, f"{place:.5g}", *("" if math.isnan(x) else f"{x:.6g}" for x in numbers)])
    return text.getvalue().encode()


def drawn(findings: Findings) -> list[tuple[str, Figure]]:
    """The figures by name."""
    own, part, axis = findings.explained, findings.part, findings.run.axis
    shown = {key: values for key, values in own.curves.items() if key[0] not in ("random", "intensity")}
    found = {key: _on_all(values, own.frames[key[0]], len(part)) for key, values in own.maps.items() if key in shown}
    result = []
    for target in findings.scores:
        for session, name in enumerate(part.session_names):
            if (part.session == session).any():
                figure = explanations.map_panels(part, session, axis, found, target)
                result.append((f"maps_{_plain(target)}_{_plain(name)}", figure))
    many = findings.run.config.seeds > 1  # one seed cannot disagree
    alone = {key: curves for key, curves in shown.items() if key[0] != attribution.ENSEMBLE}  # halves tell no interval
    unstable = {key: metrics.unsettled(curves) for key, curves in alone.items()} if many else {}
    known_curves = findings.truth.curves if findings.truth else {}
    result.append(("curves", explanations.mean_curves(part, axis, shown, known_curves, unstable)))
    units = {s.name: f"MAE ({s.unit})" if not s.classes else "wrong" for s in findings.run.specs}
    for name, curves in (("deletion", findings.harm.erased), ("insertion", findings.harm.restored)):
        fractions = next(iter(curves.values())).fractions
        errors = {key: one.error for key, one in curves.items()}
        result.append((name, explanations.deletion(fractions, errors, units, name == "insertion")))
    hidden = ("verdict", "auprc_seed_std")
    numbers = {
        t: {m: {k: v for k, v in r.items() if k not in hidden} for m, r in o.items()}
        for t, o in findings.scores.items()
    }
    words = {t: {m: r["verdict"] for m, r in o.items()} for t, o in findings.scores.items()}
    result.append(("scores", explanations.score_matrix(numbers, words, scorecard.LOWER)))
    result.append(("importance", explanations.importance(findings.rows)))
    return result


def _on_all(values: np.ndarray, frames: np.ndarray, count: int) -> np.ndarray:
    """Rows of a map for some patterns, as rows for all: each shows the nearest one that was explained."""
    middles = (frames[1:] + frames[:-1]) / 2
    return values[np.searchsorted(middles, np.arange(count))]


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def table(findings: Findings) -> str:
    """Verdict and reason of every map, markdown."""
    lines = ["| target | map | verdict | because |", "|---|---|---|---|"]
    for target, own in findings.scores.items():
        lines += [f"| {target} | {m} | {r['verdict']} | {findings.reasons[target][m]} |" for m, r in own.items()]
    return "\n".join(lines)
