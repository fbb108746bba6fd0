"""--ablation: every variant of an ablation in a run directory of its own, one table over all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrd_jax.commands.tables import markdown
from xrd_jax.commands.train import Echo, train_and_report
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config
from xrd_jax.datasets import load_for
from xrd_jax.files import write_bytes
from xrd_jax.runtime import distributed
from xrd_jax.series.record import PatternSeries


def ablate(
    variants: Mapping[str, list[str]],
    base: Config,
    workdir: Path,
    overwrite: bool = False,
    progress: bool = True,
    say: Echo = lambda line: None,
) -> str:
    """Trains every variant of an ablation, each in its own run directory, and writes one table over all.

    Args:
      variants: label -> `key=value` differences from `base`.

    Returns:
      the Markdown table: a row per variant, mean ± standard deviation over seeds.
    """
    rows: list[list[str]] = []
    made: tuple[Any, PatternSeries] | None = None
    for index, (label, differences) in enumerate(variants.items()):
        config = dataclasses.replace(override(base, differences), name=_slug(label))
        say(f"[{index + 1}/{len(variants)}] {label}")
        begun = time.perf_counter()
        if made is None or made[0] != config.cell:
            made = config.cell, load_for(config)[0]
        _, result = train_and_report(made[1], config, workdir / config.name, overwrite, progress, say, begun)
        if not distributed.is_primary():
            continue
        head, own = result.rows[:2]
        rows += [["variant", *head[1:]]] if not rows else []
        rows.append([label, *own[1:]])
        write_bytes(workdir / "table.md", markdown(rows).encode())
    return markdown(rows)


def _slug(label: str) -> str:
    return "-".join("".join(c if c.isalnum() or c == "." else " " for c in label).split()).lower()
