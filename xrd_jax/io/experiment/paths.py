"""Where the files of an experiment lie: under one root, unless the user writes an absolute path."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.parsing import text

DATA_ROOT = "XRD_JAX_DATA"


def root(plan: plans.Plan, data_root: str | Path | None) -> Path:
    folder = Path(data_root or os.environ.get(DATA_ROOT) or plan.path.parent)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; set --data_root or {DATA_ROOT} to the folder that holds the data")
    return folder


def pattern_files(plan: plans.Plan, session: plans.SessionPlan, folder: Path) -> list[Path]:
    """The files that the session's globs name, in natural order, each once."""
    label = "[patterns] files" if not session.prefix else f"[{session.prefix.rstrip('.')}] patterns"
    found: dict[Path, None] = {}
    for wanted in session.patterns.files:
        names = glob.glob(wanted, root_dir=folder, recursive=True)  # an absolute pattern takes no notice of root_dir
        files = [folder / name for name in sorted(names, key=text.natural_key) if (folder / name).is_file()]
        if not files:
            raise UserError(
                f"{plan.path}: {label} = '{wanted}' matches no file under {folder}; check it and --data_root"
            )
        if not os.path.isabs(wanted):
            _refuse_outside(plan, folder, files, label)
        found |= dict.fromkeys(files)
    return list(found)


def one_file(plan: plans.Plan, folder: Path, name: str, place: str) -> Path:
    if not os.path.isabs(name):
        _refuse_outside(plan, folder, [folder / name], place)
    return folder / name


def _refuse_outside(plan: plans.Plan, folder: Path, files: Sequence[Path], place: str) -> None:
    inside = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(inside):
            raise UserError(
                f"{plan.path}: {place}: {file} leads out of {folder}; write an absolute path if that is meant"
            )
