"""Where this project is, and where real data may be: $XRD_JAX_DATA, or a folder `data` beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xrd_jax.io.experiment import paths

ROOT = Path(__file__).resolve().parents[2]


def real_file(*names: str) -> Path:
    """The first of `names` that is below a folder of real data; the test is skipped where none is."""
    for folder in (os.environ.get(paths.DATA_ROOT), *ROOT.parent.glob("*/data")):
        for name in names:
            if folder and (Path(folder) / name).exists():
                return Path(folder) / name
    return pytest.skip(f"{names[0]} is not here; set {paths.DATA_ROOT} to the folder that holds it")
