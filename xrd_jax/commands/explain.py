"""--mode=explain: writes and draws what a study of a run found."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.analysis.run import open_run
from xrd_jax.errors import UserError
from xrd_jax.explain import attribution, metrics, scorecard, study
from xrd_jax.explain import importance as explain_importance
from xrd_jax.explain.study import DEFAULT, Study
from xrd_jax.figures import explanations, style
from xrd_jax.files import write_bytes

SUMMARY = "explain.json"


def explain(
    workdir: str | Path, methods: Sequence[str] = (), cifs: Sequence[str] = (), by: str = "",
    say: Callable[[str], None] = lambda line: None, progress: bool = False,
) -> Study:  # fmt: skip
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
    findings = study.run(run, chosen, cifs, by, say, progress)
    write(findings)
    return findings


def write(findings: Study) -> list[Path]:
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
    explain_importance.write(path / "importance.csv", findings.rows)
    write_bytes(path / "explain_curves.csv", _curves_csv(findings))
    files = [path / SUMMARY, path / "importance.csv", path / "explain_curves.csv"]
    for name, figure in drawn(findings):
        files += style.save(figure, path / "figures", f"explain_{name}", write_bytes)
    return files


def _curves_csv(findings: Study) -> bytes:
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


def drawn(findings: Study) -> list[tuple[str, style.Figure]]:
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
    unstable = {key: metrics.unstable_channels(curves) for key, curves in alone.items()} if many else {}
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


def table(findings: Study) -> str:
    """Verdict and reason of every map, markdown."""
    lines = ["| target | map | verdict | because |", "|---|---|---|---|"]
    for target, own in findings.scores.items():
        lines += [f"| {target} | {m} | {r['verdict']} | {findings.reasons[target][m]} |" for m, r in own.items()]
    return "\n".join(lines)
