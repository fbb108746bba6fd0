"""Row numbers written as '0-171, 180'."""

from __future__ import annotations

import re

import numpy as np

from xrd_jax.errors import UserError


def numbers_in(text: str, place: str) -> np.ndarray:
    """The numbers of '0-171, 180': sorted, each once.

    Raises:
      UserError: the text is empty or says something else.
    """
    found: list[np.ndarray] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,12})(?:\s*-\s*(\d{1,12}))?\s*", part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not 0 <= high - low < 10**8:
            raise UserError(f"{place} = '{text[:40]}' must name rows such as '0-171, 180', counted from 0")
        found.append(np.arange(low, high + 1))
    return np.unique(np.concatenate(found))


def spans(numbers: np.ndarray) -> str:
    """Sorted numbers as '0-171, 180'; the inverse of `numbers_in`."""
    runs = [run for run in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1) if run.size]
    return ", ".join(f"{run[0]}" if run.size == 1 else f"{run[0]}-{run[-1]}" for run in runs)
