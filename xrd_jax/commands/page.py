"""report.html and card.md of a run: one file to open anywhere, and one to read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.analysis import intervals
from xrd_jax.analysis.collect import Predictions
from xrd_jax.analysis.run import Run
from xrd_jax.commands import report_intervals, tables
from xrd_jax.commands.report import Report
from xrd_jax.explain.importance import sentences
from xrd_jax.explain.study import Study
from xrd_jax.files import write_bytes
from xrd_jax.page import document, explained, trained, words
from xrd_jax.series.axis import Axis

CARD = "card.md"


def write_of_training(run: Run, report: Report) -> Path:
    """Write report.html and card.md of a training that has just been reported, and return the former's path."""
    assert report.prepared is not None and report.summary is not None, "only the first process reports"
    record, metrics = json.loads((run.path / "config.json").read_text()), report.metrics
    content = trained.of_training(run, report.prepared, report.summary, intervals.load(run.path))
    results = [report.rows]
    if "intervals" in metrics:
        results.append(report_intervals.table_rows(run.specs, metrics["intervals"]))
    page = document.Page(
        title=f"{metrics['name']}: {', '.join(spec.name for spec in run.specs)}",
        summary=[f"On held-out patterns, {line}." for line in words.errors(metrics, beside=False)],
        content=content,
        sections=list(words.sections(record, metrics, [document.Table("", r) for r in results], report.remarks)),
        figures=sorted((run.path / "figures").glob("*.png")),
    )
    write_bytes(run.path / CARD, words.card(record, metrics, [tables.markdown(rows) for rows in results]).encode())
    document.write(run.path / document.FILE, page)
    return run.path / document.FILE


def write_of_study(study: Study) -> Path:
    """Write report.html of the patterns that were explained, with every explanation as a layer, and return its path."""
    run = study.run
    record, metrics = (json.loads((run.path / name).read_text()) for name in ("config.json", "metrics.json"))
    verdicts = [["target", "map", "verdict", "because"]]
    for target, by_method in study.scores.items():
        verdicts += [[target, m, row["verdict"], study.reasons[target][m]] for m, row in by_method.items()]
    results = document.Table("", tables.table_rows(run.config, run.specs, metrics, []))
    found = document.Section("What the network goes by", sentences(study.rows), [document.Table("", verdicts)])
    page = document.Page(
        title=f"{metrics['name']}, explained",
        summary=[f"On held-out patterns, {line}." for line in words.errors(metrics, beside=False)],
        content=explained.of_study(study, intervals.load(run.path)),
        sections=[found, *words.sections(record, metrics, [results], [])],
        figures=sorted((run.path / "figures").glob("*.png")),
    )
    document.write(run.path / document.FILE, page)
    return run.path / document.FILE


def write_of_predictions(
    run: Run, axis: Axis | None, folder: Path, predicted: Predictions, measured: Mapping[str, np.ndarray | None],
    messages: Sequence[str],
) -> Path:  # fmt: skip
    """Write report.html of new patterns into the folder of their predictions and return its path.

    Args:
      axis: that the run was trained with; None where only its positions are known.
      measured: target -> values of the patterns, None where the data have none.
      messages: what the user was told, with what was left out and why.
    """
    record = json.loads((run.path / "config.json").read_text())
    content = trained.of_predictions(run, axis, intervals.load(run.path), predicted, measured)
    page = document.Page(
        title=f"{predicted.batch.title} as seen by {run.path.resolve().name}",
        summary=[f"{int(np.count_nonzero(predicted.is_unusual))} of {len(predicted.batch)} patterns are unlike all "
                 "training patterns; of such patterns no interval is stated."],
        content=content,
        sections=[document.Section("What was found, and what was left out and why", messages), *words.settings(record)],
        figures=sorted((folder / "figures").glob("*.png")),
    )  # fmt: skip
    document.write(folder / document.FILE, page)
    return folder / document.FILE
