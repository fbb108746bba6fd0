"""Row numbers written as '0-171, 180'."""

import re

import numpy as np
from jaxtyping import Int

from xrd_jax.errors import UserError

MAX_ROWS_PER_RANGE = 10**8  # beyond any series: a slip of the finger must not fill the memory

MAX_TEXT = 200_000  # characters, far beyond what is written by hand


def parse_row_ranges(text: str, place: str) -> Int[np.ndarray, " rows"]:
    """Return the row numbers of '0-171, 180': sorted, each once.

    Args:
      place: what to name in a complaint, such as 'prepare.train_rows'.

    Raises:
      UserError: the text is empty or is no such list.
    """
    if len(text) > MAX_TEXT:
        raise UserError(f"{place}: is longer than {MAX_TEXT} characters; join rows to ranges such as '0-171'")
    ranges: list[np.ndarray] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,12})(?:\s*-\s*(\d{1,12}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not 0 <= last - first < MAX_ROWS_PER_RANGE:
            raise UserError(f"{place} = '{text[:40]}' must name rows such as '0-171, 180', counted from 0")
        ranges.append(np.arange(first, last + 1))
    return np.unique(np.concatenate(ranges))


def format_row_ranges(rows: Int[np.ndarray, " rows"]) -> str:
    """Return sorted row numbers as '0-171, 180'; the inverse of `parse_row_ranges`."""
    runs = [run for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if run.size]
    return ", ".join(f"{run[0]}" if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs)
