"""--ablation: every variant of an ablation in a run directory of its own, one table over all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path

from xrd_jax.commands.tables import markdown
from xrd_jax.commands.train import train_and_report
from xrd_jax.config.cell import Cell
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config
from xrd_jax.datasets import load_for
from xrd_jax.files import write_bytes
from xrd_jax.runtime import distributed
from xrd_jax.runtime.console import Console
from xrd_jax.series.record import PatternSeries


def ablate(variants: Mapping[str, list[str]], base: Config, workdir: Path, overwrite: bool, console: Console) -> str:
    """Train every variant of an ablation, each in its own run directory, and write one table over all.

    Args:
      variants: label -> `key=value` differences from `base`.

    Returns:
      the Markdown table: a row per variant, mean ± standard deviation over seeds; '' where another process writes it.
    """
    rows: list[list[str]] = []
    simulated: tuple[Cell, PatternSeries] | None = None
    for index, (label, differences) in enumerate(variants.items()):
        config = dataclasses.replace(override(base, differences), name=_file_name(label))
        console.echo(f"[{index + 1}/{len(variants)}] {label}")
        started = time.perf_counter()
        if simulated is None or simulated[0] != config.cell:
            simulated = config.cell, load_for(config)[0]
        _, result = train_and_report(simulated[1], config, workdir / config.name, overwrite, console, started)
        if not distributed.is_primary():
            continue
        header, this_run = result.rows[:2]
        rows += [["variant", *header[1:]]] if not rows else []
        rows.append([label, *this_run[1:]])
        write_bytes(workdir / "table.md", markdown(rows).encode())
    return markdown(rows) if rows else ""


def _file_name(label: str) -> str:
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in label).split()).lower()
