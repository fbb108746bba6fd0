"""Where the files of an experiment lie: under one folder, unless the user writes an absolute path."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.experiment.schema import ExperimentFile, SessionTable
from xrd_jax.io.parsing import text

DATA_ROOT = "XRD_JAX_DATA"  # the environment's variable


def data_folder(experiment: ExperimentFile, data_root: str | Path | None) -> Path:
    """Return where relative paths start: `data_root`, else the environment's, else the experiment file's folder."""
    folder = Path(data_root or os.environ.get(DATA_ROOT) or experiment.path.parent)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; set --data_root or {DATA_ROOT} to the folder that holds the data")
    return folder


def pattern_files(experiment: ExperimentFile, session: SessionTable, folder: Path) -> list[Path]:
    """Return the files that the session's globs name, in natural order, each once."""
    place = f"{experiment.place(session.label)} patterns"
    unique: dict[Path, None] = {}
    for pattern in session.globs:
        names = glob.glob(pattern, root_dir=folder, recursive=True)  # an absolute pattern takes no notice of root_dir
        files = [folder / name for name in sorted(names, key=text.natural_key) if (folder / name).is_file()]
        if not files:
            raise UserError(f"{place} = '{pattern}' matches no file under {folder}; check it and --data_root")
        if not os.path.isabs(pattern):
            _refuse_outside(folder, files, place)
        unique |= dict.fromkeys(files)
    return list(unique)


def resolve(folder: Path, name: str, place: str) -> Path:
    """Return the path of one file; `place` says where the experiment file names it."""
    if not os.path.isabs(name):
        _refuse_outside(folder, [folder / name], place)
    return folder / name


def _refuse_outside(folder: Path, files: Sequence[Path], place: str) -> None:
    inside = folder.resolve()
    for file in files:
        if not file.resolve().is_relative_to(inside):
            raise UserError(f"{place}: {file} leads out of {folder}; write an absolute path if that is meant")
