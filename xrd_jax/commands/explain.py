"""--mode=explain: write and draw what a study of a run found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.analysis.metrics import std_over_seeds
from xrd_jax.analysis.run import open_run
from xrd_jax.commands.tables import markdown
from xrd_jax.errors import UserError
from xrd_jax.explain import importance, metrics, study
from xrd_jax.explain.methods import ENSEMBLE
from xrd_jax.explain.scorecard import BETTER_WHEN_LOWER
from xrd_jax.figures import explanation_scores, explanations, style
from xrd_jax.files import write_bytes, write_csv
from xrd_jax.runtime.console import Console
from xrd_jax.training.workdir import read_config

SUMMARY = "explain.json"


def explain(
    workdir: str | Path, methods: Sequence[str] = (), cifs: Sequence[str] = (), importance_method: str = "",
    console: Console | None = None,
) -> study.Study:  # fmt: skip
    """Explain a run and write explain.json, importance.csv and figures/explain_*.png|svg into its directory.

    Args:
      methods: of `explain.methods.METHODS`; all that the network allows by default.
      cifs: CIF files of the phases whose reflections name the peaks.
      importance_method: the one that importance.csv is of; the one that the study supports by default.

    Raises:
      UserError: no finished run, an unknown method, a CIF that cannot be read or used, data that have gone.
    """
    run = open_run(workdir)
    provenance = read_config(run.path)[0].get("data", {}).get("provenance")
    if not run.config.data and provenance is not None and "cell" not in provenance:
        raise UserError(
            f"{run.path}: was trained on arrays that no file holds; save them (PatternSeries.save('data.h5')) and "
            "train again with --data=data.h5"
        )
    result = study.run(run, methods, cifs, importance_method, console)
    write(result)
    return result


def write(result: study.Study) -> None:
    """Write explain.json, importance.csv, curves and figures into the run's directory."""
    path = result.run.path
    targets = {
        target: {
            "methods": {m: row | {"reason": result.reasons[target][m]} for m, row in by_method.items()},
            "knock_out": {
                name: {"mean": float(increases[target].mean()), "std": float(std_over_seeds(increases[target]))}
                for name, increases in result.perturbed.knocked_out.items()
            },
        }
        for target, by_method in result.scores.items()
    }
    record = {"seeds": result.run.config.seeds, "patterns": len(result.series), "targets": targets}
    write_bytes(path / SUMMARY, (json.dumps(record, indent=1) + "\n").encode())
    importance.write(path / "importance.csv", result.rows)
    write_csv(path / "explain_curves.csv", _curve_rows(result))
    for name, figure in figures(result):
        style.save(figure, path / "figures", f"explain_{name}")


def _curve_rows(result: study.Study) -> Iterator[Sequence[object]]:
    """Mean map and standard deviation over seeds, a row per method, target and channel.

    Maps of hidden layers stand at input channels; `raw` is what they were at that index before.
    """
    yield ["method", "target", "channel", "mean", "std", "raw", "untrained", "information"]
    information = result.truth.curves if result.truth else {}
    missing = np.full((1, result.run.axis.size), np.nan)
    for key, curves in result.explained.curves.items():
        raw, untrained = result.explained.raw_curves.get(key, missing), result.untrained.curves.get(key, missing)
        means = (raw.mean(axis=0), untrained.mean(axis=0), information.get(key[1], missing[0]))
        columns = (result.run.axis, curves.mean(axis=0), std_over_seeds(curves), *means)
        for channel, *numbers in zip(*columns, strict=True):
            yield [*key, f"{channel:.5g}", *("" if math.isnan(x) else f"{x:.6g}" for x in numbers)]


def figures(result: study.Study) -> Iterator[tuple[str, style.Figure]]:
    """Yield the figures with their names."""
    explained, series, axis = result.explained, result.series, result.run.axis
    curves = {key: values for key, values in explained.curves.items() if key[0] not in ("random", "intensity")}
    maps = {key: _spread_rows(explained.maps[key], explained.indices[key[0]], len(series)) for key in curves}
    for target in result.scores:
        for session, name in enumerate(series.session_names):
            if (series.session == session).any():
                figure = explanations.map_panels(series, session, axis, maps, target)
                yield f"maps_{_file_name(target)}_{_file_name(name)}", figure
    unstable = {}
    if result.run.config.seeds > 1:  # one seed cannot disagree, and halves of the ensemble give no interval
        unstable = {key: metrics.unstable_channels(values) for key, values in curves.items() if key[0] != ENSEMBLE}
    information = result.truth.curves if result.truth else {}
    yield "curves", explanations.mean_curves(series, axis, curves, information, unstable)
    units = {s.name: f"MAE ({s.unit})" if not s.classes else "wrong" for s in result.run.specs}
    for name, by_key in (("deletion", result.perturbed.deleted), ("insertion", result.perturbed.inserted)):
        fractions = next(iter(by_key.values())).fractions
        errors = {key: curve.error for key, curve in by_key.items()}
        yield name, explanations.deletion(fractions, errors, units, name == "insertion")
    hidden = ("verdict", "auprc_seed_std")
    numbers = {
        target: {m: {k: v for k, v in row.items() if k not in hidden} for m, row in by_method.items()}
        for target, by_method in result.scores.items()
    }
    verdicts = {t: {m: row["verdict"] for m, row in by_method.items()} for t, by_method in result.scores.items()}
    yield "scores", explanation_scores.score_matrix(numbers, verdicts, BETTER_WHEN_LOWER)
    if result.rows:
        yield "importance", explanation_scores.importance(result.rows)


def _spread_rows(maps: np.ndarray, indices: np.ndarray, count: int) -> np.ndarray:
    """Rows of a map for some patterns, as rows for all: each shows the nearest one that was explained."""
    middles = (indices[1:] + indices[:-1]) / 2
    return maps[np.searchsorted(middles, np.arange(count))]


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)


def table(result: study.Study) -> str:
    """Return the verdict and its reason of every map, as Markdown."""
    rows = [["target", "map", "verdict", "because"]]
    for target, by_method in result.scores.items():
        rows += [[target, m, row["verdict"], result.reasons[target][m]] for m, row in by_method.items()]
    return markdown(rows).rstrip("\n")
