"""Splits that ask more than chance: a half cycle never seen, or rows that somebody else has chosen."""

from __future__ import annotations

import numpy as np

from xrd_jax.config.row_ranges import numbers_in
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.series.record import PatternSeries


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


def split(series: PatternSeries, config: PrepareConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sorted index arrays (train, test) that share no pattern; all but 'rows' cover the series."""
    total = len(series)
    if not 0.0 < config.train_fraction < 1.0:
        raise UserError(f"prepare.train_fraction={config.train_fraction}: must lie between 0 and 1")
    chosen = np.zeros(total, bool)
    if config.split == "random":
        order = np.random.default_rng([seed, 0x5B117]).permutation(total)
        chosen[order[: round(total * config.train_fraction)]] = True
    elif config.split == "cycle":
        for session, name in enumerate(series.session_names):
            cycles = np.unique(series.cycle[series.session == session])
            if cycles.size == 1:
                raise UserError(
                    f"split=cycle holds out the last cycle of each session, but '{name}' has one; use block"
                )
            if cycles.size:
                chosen |= (series.session == session) & (series.cycle < cycles[-1])
    elif config.split == "half_cycle":
        chosen = all_but_half_cycle(series, config.half_cycle)
    elif config.split == "block":
        for session in range(len(series.session_names)):
            where = np.flatnonzero(series.session == session)
            blocks = [b for b in np.array_split(where, config.blocks) if b.size]
            order = np.random.default_rng([seed, session, 0xB10C]).permutation(len(blocks))
            for block in order[: round(len(blocks) * config.train_fraction)]:
                chosen[blocks[block]] = True
    train, test = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if config.split == "rows":
        train, test = by_rows(config, total)
    if min(train.size, test.size) < 8:
        raise UserError(
            f"split={config.split} leaves {train.size} patterns to train on and {test.size} to verify; each needs at "
            "least 8: widen the window, add data or change prepare.split"
        )
    return train, test
