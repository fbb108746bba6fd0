"""Cycler logs written to disk, and where real ones are."""

from __future__ import annotations

import numpy as np

from tests.support.paths import real_file


def charge_rest_discharge(rows=60, current=0.1):
    """Return time in s, V, A and charge passed in A h of a charge, a rest and a discharge, a row every 10 s."""
    time = np.arange(rows) * 10.0
    sign = np.array([1.0, 0.0, -1.0])[np.minimum(np.arange(rows) * 3 // rows, 2)]
    charge = np.concatenate([[0.0], np.cumsum(sign[1:] * current * 10 / 3600)])
    return time, 3.5 + 100 * charge, sign * current, charge


def write_table(folder, names, table, separator=",", comma=False, preamble="", name="log.csv", encoding="utf-8"):
    def text(value):
        return value if isinstance(value, str) else (repr(float(value)).replace(".", "," if comma else "."))

    lines = [separator.join(names), *(separator.join(map(text, row)) for row in zip(*table, strict=True))]
    path = folder / name
    path.write_text(preamble + "\n".join(lines) + "\n", encoding=encoding)
    return path


def real_cycler_file(name):
    return real_file(f"formats/cycler/{name}", name)


NDAX = "neware_ndax/123456789012_Unit27_Example_Data_File.ndax"
