"""Where the files of an experiment lie: relative paths start at one folder, and may lead out of it."""

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
    return matching_files(folder, session.globs, f"{experiment.place(session.label)} patterns")


def matching_files(folder: Path, globs: Sequence[str], place: str) -> list[Path]:
    """Return the files that globs name, in natural order, each once; links are followed wherever they lead.

    Args:
      place: says where the experiment file names them.
    """
    unique: dict[Path, None] = {}
    for pattern in globs:
        if pattern.count("**") > 1:  # each multiplies the folders that are searched
            raise UserError(f"{place} = '{pattern}': ** may stand once; name the folders")
        if (folder / pattern).is_file():  # a name may hold brackets
            unique[folder / pattern] = None
            continue
        names = glob.glob(pattern, root_dir=folder, recursive=True)  # an absolute pattern takes no notice of root_dir
        files = [folder / name for name in sorted(names, key=text.natural_key) if (folder / name).is_file()]
        if not files:
            raise UserError(f"{place} = '{pattern}' matches no file under {folder}; check it and --data_root")
        unique |= dict.fromkeys(files)
    return list(unique)


def resolve(folder: Path, name: str, place: str) -> Path:
    """Return the path of one file; what is there and is no file, such as a pipe, is never opened."""
    path = folder / name
    if path.exists() and not path.is_file():
        raise UserError(f"{place} = '{name}' is no file; name one")
    return path
