"""Experiments written to disk, and where real ones are."""

from __future__ import annotations

import numpy as np

from tests.support.paths import real_file
from xrd_jax.io.experiment.read import read_experiment

AXIS = 5 + np.arange(8) * 0.02
# What follows the patterns of a session whose times are steps of 20 s, with a log.
STEPPED_SESSION = r"""number = 'p_(\d+)'
counts = true
[session.time]
step = 20.0
exposure = 10.0
first = 0.0
[session.cycler]
file = "log.mpt"
tolerance = 15.0
"""


def read_changed(folder, text, changes, extra=""):
    """Write an experiment file with changes (old, new), each of which must apply, and read it."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "e.toml").write_text(text + extra, encoding="utf-8")
    return read_experiment(folder / "e.toml")


def cycler_columns(rows=50):
    """Return the columns of a log with a row every 10 s, charge and then, from half of the rows, discharge."""
    time = np.arange(rows) * 10.0
    current = np.where(np.arange(rows) < rows // 2, 0.1, -0.1)
    charge = np.concatenate([[0], np.cumsum(current[1:] * 10 / 3600)])
    half_cycle = (current < 0) * 1.0
    names = ("mode", "time/s", "Ewe/V", "<I>/mA", "(Q-Qo)/mA.h", "half cycle")
    return dict(zip(names, (np.ones(rows), time, 3 + charge * 100, current, charge, half_cycle), strict=True))


def write_log(folder, columns):
    lines = ["EC-Lab ASCII FILE", "Nb header lines : 4", "Acquisition started on : 02/28/2024 10:27:22.600"]
    lines += ["\t".join(columns)] + ["\t".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    (folder / "log.mpt").write_text("\n".join(lines) + "\n", encoding="latin-1")


def real_data_folder():
    """Return the folder of real data, with the measured cell in it."""
    return real_file("operando-xrd-mo/Operando").parents[1]
