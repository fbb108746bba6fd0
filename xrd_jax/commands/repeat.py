"""--repeats: the same experiment on several splits, because the errors of one split are one draw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.commands.tables import error_cell, error_headings, markdown
from xrd_jax.commands.train import train_and_report
from xrd_jax.config.overrides import set_field
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.files import write_bytes, write_json
from xrd_jax.preprocessing.prepare import apply_window
from xrd_jax.preprocessing.splits import repeated
from xrd_jax.preprocessing.targets import TargetSpec
from xrd_jax.runtime import distributed
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries

SUMMARY = "repeats.json"


def repeat(
    series: PatternSeries, config: Config, repeats: int, workdir: Path, overwrite: bool, console: Console
) -> str:
    """Train and report on every split, each in a run directory of its own, and sum up over splits.

    Random and block splits are drawn with `split_seed`, `split_seed` + 1, …; of cycles, half cycles and sessions each
    is held out in turn. An interrupted command goes on where it was.

    Returns:
      the Markdown table: network and baselines, mean ± standard deviation over splits; '' where another process
      writes it.

    Raises:
      UserError: fewer than two splits, or a split that is always the same.
    """
    changes = repeated(apply_window(series, config.prepare), config.prepare, config.split_seed, repeats)
    if len(changes) < 2:
        raise UserError(
            f"--repeats={repeats}: split={config.prepare.split} gives {len(changes)} here; at least 2 needed"
        )
    all_metrics: list[dict[str, Any]] = []
    table = ""
    for number, change in enumerate(changes, 1):
        one_split = config
        for key, value in change.items():
            one_split = set_field(one_split, key, value)
        label = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in change.items())
        console.echo(f"[{number}/{len(changes)}] {config.prepare.split} split, {label}")
        folder = workdir / "-".join(label.replace(",", "").split())
        run, result = train_and_report(series, one_split, folder, overwrite, console, time.perf_counter())
        if not distributed.is_primary():
            continue
        all_metrics.append(result.metrics)
        summary = summarise(all_metrics)
        table = markdown(table_rows(run.specs, summary))
        write_json(workdir / SUMMARY, {"split": config.prepare.split, "splits": changes[:number], "errors": summary})
        write_bytes(workdir / "table.md", table.encode())
    return table


def summarise(all_metrics: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Return method -> target -> error on every split: mean absolute error in the target's unit, or accuracy.

    The network's are means over seeds; 'ensemble' is all seeds together.
    """
    errors: dict[str, dict[str, list[float]]] = {}
    for metrics in all_metrics:
        for target, scores in metrics["targets"].items():
            kind = "mae" if scores["kind"] == "regression" else "accuracy"
            asked = f"estimator={metrics['estimator']['asked']}" if "estimator" in metrics else "network"
            methods = {asked: scores[kind]["mean"]}
            if "ensemble" in scores:
                methods["ensemble"] = scores["ensemble"][kind]
            neighbours = metrics["baseline_3nn"].get(metrics["split"], {})
            baselines = metrics.get("baselines") or {"3 nearest neighbours": neighbours}
            methods |= {name: by_target[target][kind] for name, by_target in baselines.items() if target in by_target}
            for name, error in methods.items():
                errors.setdefault(name, {}).setdefault(target, []).append(float(error))
    return errors


def table_rows(specs: Sequence[TargetSpec], errors: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    """Return the cells of the table, header first: a row per method, the mean ± standard deviation over splits."""
    rows = [["", "splits", *error_headings(specs)]]
    for method, by_target in errors.items():
        cells, count = [], 0
        for spec in specs:
            values = np.asarray(by_target.get(spec.name, []))
            count = max(count, values.size)
            cells.append(error_cell(spec, {"mean": float(values.mean()), "std": float(values.std(ddof=1))})
                         if values.size > 1 else "–")  # fmt: skip
        rows.append([method, str(count), *cells])
    return rows
