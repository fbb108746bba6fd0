"""Splits that ask more than chance: a half cycle never seen, or rows that somebody else has chosen."""

from __future__ import annotations

import re

import numpy as np

from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.series.record import PatternSeries


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


def by_rows(config: PrepareConfig, total: int) -> tuple[np.ndarray, np.ndarray]:
    """(train, test) as `train_rows` and `test_rows` say.

    Raises:
      UserError: a row that is not there, a row in both, or a window, which would change the numbers of rows.
    """
    if config.window_target:
        raise UserError("prepare.split=rows counts patterns of the whole series; leave prepare.window_target empty")
    parts = []
    for name, text in (("train_rows", config.train_rows), ("test_rows", config.test_rows)):
        rows = numbers_in(text, f"prepare.{name}")
        if rows[-1] >= total:
            raise UserError(f"prepare.{name} names row {rows[-1]}, but the last of the {total} patterns is {total - 1}")
        parts.append(rows)
    both = np.intersect1d(parts[0], parts[1])
    if both.size:
        raise UserError(f"row {both[0]} is in prepare.train_rows and in prepare.test_rows; keep it in one")
    return parts[0], parts[1]


def half_cycles(series: PatternSeries) -> np.ndarray:
    """[T] a number per half cycle, rising with time in each session.

    From the target 'half_cycle', else from the cycle and the direction that the four classes of the target 'mode' give.

    Raises:
      UserError: the series has neither.
    """
    if "half_cycle" in series.targets:
        group = series.targets["half_cycle"].values
    elif "mode" in series.targets and len(series.targets["mode"].classes) == 4:
        group = 2 * series.cycle + series.targets["mode"].values // 2
    else:
        raise UserError(
            'split=half_cycle needs to know the half cycles; add [targets.half_cycle] with from = "half cycle" to the '
            "experiment file"
        )
    order = np.zeros(len(series), int)
    for session in range(len(series.session_names)):
        where = np.flatnonzero(series.session == session)
        _, first, own = np.unique(group[where], return_index=True, return_inverse=True)
        order[where] = np.argsort(np.argsort(series.time[where][first]))[own]
    return order


def all_but_half_cycle(series: PatternSeries, which: int) -> np.ndarray:
    """[T] False for one half cycle of every session: `which` of them in time, negative from the end.

    Raises:
      UserError: a session that has too few half cycles.
    """
    number, chosen = half_cycles(series), np.ones(len(series), bool)
    for session, name in enumerate(series.session_names):
        own = series.session == session
        if not own.any():
            continue
        count = int(number[own].max()) + 1
        if count < 2 or not -count <= which < count:
            raise UserError(
                f"split=half_cycle with half_cycle={which}: '{name}' has {count}; choose one of 0 to {count - 1}"
                if count > 1
                else f"split=half_cycle holds out one half cycle of each session, but '{name}' has one; use block"
            )
        chosen &= ~(own & (number == which % count))
    return chosen
