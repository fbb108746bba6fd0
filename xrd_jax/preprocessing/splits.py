"""Splits into training and test patterns: by chance, block, part, cycle, half cycle or session, or by rows."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from xrd_jax.config.row_ranges import parse_row_ranges
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.series.axis import HALF_CYCLE_MODES
from xrd_jax.series.record import PatternSeries

MIN_HALF_CYCLES = 4  # from which on half cycles are the groups of an inner split; fewer are cut into blocks
CALIBRATION_BLOCK = 5  # training patterns; measured: with 4 intervals cover 90 %, with 8 they are twice as wide
INNER_BLOCKS = 10  # blocks per session where half cycles are few or not known
TrainTest = tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]
MIN_PATTERNS = 8  # of either part: fewer neither train a network nor test one


def split(series: PatternSeries, config: PrepareConfig, seed: int) -> TrainTest:
    """Return sorted indices (train, test) that share no pattern; all splits but 'rows' cover the series.

    Raises:
      UserError: a split that the series does not allow, or one that leaves too few patterns.
    """
    if not 0.0 < config.train_fraction < 1.0:
        raise UserError(f"prepare.train_fraction={config.train_fraction}: must lie between 0 and 1")
    if config.split == "rows":
        train, test = split_by_rows(config, len(series))
    else:
        is_train = _training_mask(series, config, seed)
        train, test = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    if min(train.size, test.size) < MIN_PATTERNS:
        raise UserError(
            f"split={config.split} leaves {train.size} patterns to train on and {test.size} to test; each needs at "
            f"least {MIN_PATTERNS}: widen the window, add data or change prepare.split"
        )
    return train, test


def _training_mask(series: PatternSeries, config: PrepareConfig, seed: int) -> Bool[np.ndarray, " T"]:
    if config.split == "cycle":
        return _all_but_one(series, series.cycle, config.cycle, "cycle")
    if config.split == "half_cycle":
        return _all_but_one(series, half_cycle_numbers(series), config.half_cycle, "half_cycle")
    if config.split == "session":
        return series.session != _held_out_session(series, config.session)
    if config.split in ("fold", "leave_block"):
        return _all_but_one_part(series, config, seed)
    is_train = np.zeros(len(series), bool)
    if config.split == "random":
        order = np.random.default_rng([seed, 0x5B117]).permutation(len(series))
        is_train[order[: round(len(series) * config.train_fraction)]] = True
        return is_train
    for session in range(len(series.session_names)):  # 'block'
        indices = np.flatnonzero(series.session == session)
        blocks = [block for block in np.array_split(indices, config.blocks) if block.size]
        order = np.random.default_rng([seed, session, 0xB10C]).permutation(len(blocks))
        for number in order[: round(len(blocks) * config.train_fraction)]:
            is_train[blocks[number]] = True
    return is_train


def _all_but_one_part(series: PatternSeries, config: PrepareConfig, seed: int) -> Bool[np.ndarray, " T"]:
    """Return False for one of `blocks` parts: of all patterns in any order, or of every session in that of time."""
    parts, part = config.blocks, config.part
    if parts < 2 or not -parts <= part < parts:
        raise UserError(f"split={config.split}: prepare.part={part} of prepare.blocks={parts}; take at least 2 blocks, "
                        "and a part from 0 to one less")  # fmt: skip
    is_train = np.ones(len(series), bool)
    if config.split == "fold":
        order = np.random.default_rng([seed, 0xF01D]).permutation(len(series))
        is_train[np.array_split(order, parts)[part]] = False
        return is_train
    for session in np.unique(series.session):
        is_train[np.array_split(np.flatnonzero(series.session == session), parts)[part]] = False
    return is_train


def _all_but_one(
    series: PatternSeries, numbers: Int[np.ndarray, " T"], held_out: int, kind: str
) -> Bool[np.ndarray, " T"]:
    """Return False for one cycle or half cycle of every session: the one at `held_out` in time, negative from the end.

    Args:
      numbers: of every pattern's cycle or half cycle, rising with time.
      kind: 'cycle' or 'half_cycle', for messages.
    """
    is_train, name_of_kind = np.ones(len(series), bool), kind.replace("_", " ")
    for session, name in enumerate(series.session_names):
        is_session = series.session == session
        present = np.unique(numbers[is_session])
        if present.size == 0:
            continue
        if present.size == 1:
            which = "the last" if held_out == -1 and kind == "cycle" else "one"
            raise UserError(
                f"split={kind} holds out {which} {name_of_kind} of each session, but '{name}' has one; use block"
            )
        if not -present.size <= held_out < present.size:
            raise UserError(
                f"split={kind} with {kind}={held_out}: '{name}' has {present.size}; choose one of 0 to "
                f"{present.size - 1}"
            )
        is_train &= ~(is_session & (numbers == present[held_out]))
    return is_train


def _held_out_session(series: PatternSeries, wanted: str) -> int:
    present = {name: i for i, name in enumerate(series.session_names) if (series.session == i).any()}
    if len(present) < 2:
        raise UserError("split=session holds out one session, but there is only one; use block, cycle or half_cycle")
    if wanted and wanted not in present:
        raise UserError(f"prepare.session={wanted}: the sessions are {', '.join(present)}")
    return present[wanted] if wanted else max(present.values())


def contiguous_groups(series: PatternSeries, indices: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the group of each of `indices`, for choices and calibration inside the training patterns.

    Neighbours in time are alike, so single patterns are never parted: a group is a half cycle where the patterns show
    `MIN_HALF_CYCLES` or more, otherwise one of `INNER_BLOCKS` stretches of time of a session.
    """
    session = series.session[indices]
    try:
        groups = np.unique(np.stack([session, half_cycle_numbers(series)[indices]]), axis=1, return_inverse=True)[1]
        if np.unique(groups).size >= MIN_HALF_CYCLES:
            return groups
    except UserError:  # the series knows no half cycles
        pass
    groups = np.zeros(len(indices), int)
    for number in np.unique(session):
        rows = np.flatnonzero(session == number)
        for block, part in enumerate(np.array_split(rows, min(INNER_BLOCKS, rows.size))):
            groups[part] = number * INNER_BLOCKS + block
    return np.unique(groups, return_inverse=True)[1]


def hold_out_groups(
    series: PatternSeries, train: Int[np.ndarray, " n"], fraction: float, seed: int, length: int = CALIBRATION_BLOCK
) -> TrainTest:
    """Return (training patterns that remain, patterns of whole groups held out), about `fraction` of `train`.

    Blocks of time, drawn by chance within each session: calibration and the choice of a checkpoint need patterns that
    training has not seen, nor their nearest neighbours. Longer blocks leave holes in what is learnt, which the test set
    does not have: errors and intervals would be too large.

    Args:
      length: training patterns per block.

    Raises:
      UserError: a fraction that is not a share, or one that leaves too few patterns on either side.
    """
    if fraction == 0.0:
        return train, train[:0]
    if not 0.0 < fraction < 1.0:
        raise UserError(f"prepare.calibration={fraction}: must be 0 or a share below 1, such as 0.15")
    is_held_out = np.zeros(len(train), bool)
    for number in np.unique(series.session[train]):
        rows = np.flatnonzero(series.session[train] == number)
        blocks = np.array_split(rows, max(1, rows.size // length))
        order = np.random.default_rng([seed, int(number), 0xCA1B]).permutation(len(blocks))
        for block in order[: round(len(blocks) * fraction)]:
            is_held_out[blocks[block]] = True
    if min(is_held_out.sum(), (~is_held_out).sum()) < MIN_PATTERNS:
        raise UserError(
            f"prepare.calibration={fraction} leaves {(~is_held_out).sum()} of {len(train)} training patterns and holds "
            f"out {is_held_out.sum()}; each needs at least {MIN_PATTERNS}: choose another share, or 0"
        )
    return train[~is_held_out], train[is_held_out]


def calibration_block(series: PatternSeries, config: PrepareConfig) -> int:
    """Return the length of blocks for calibration: that of the test blocks where blocks of time are held out."""
    if config.split not in ("block", "leave_block"):
        return CALIBRATION_BLOCK
    sessions = max(1, np.unique(series.session).size)
    return max(CALIBRATION_BLOCK, len(series) // (sessions * config.blocks))


def half_cycle_numbers(series: PatternSeries) -> Int[np.ndarray, " T"]:
    """Return the number of every pattern's half cycle, rising with time in each session.

    From the target 'half_cycle', else from the cycle and the direction that the four classes of the target 'mode' give.

    Raises:
      UserError: the series has neither.
    """
    targets = series.targets
    if "half_cycle" in targets:
        labels = targets["half_cycle"].values
    elif "mode" in targets and len(targets["mode"].classes) == len(HALF_CYCLE_MODES):
        labels = 2 * series.cycle + targets["mode"].values // 2
    else:
        raise UserError(
            'split=half_cycle needs to know the half cycles; add [targets.half_cycle] with from = "half cycle" to the '
            "experiment file"
        )
    numbers = np.zeros(len(series), int)
    for session in range(len(series.session_names)):
        indices = np.flatnonzero(series.session == session)
        _, first, inverse = np.unique(labels[indices], return_index=True, return_inverse=True)
        numbers[indices] = np.argsort(np.argsort(series.time[indices][first]))[inverse]
    return numbers


def repeated(series: PatternSeries, config: PrepareConfig, split_seed: int, repeats: int) -> list[dict[str, Any]]:
    """Return the changes of configuration that make a split again: other seeds, or every part held out in turn.

    Args:
      series: patterns inside the analysed window.
      repeats: how many; of cycles, half cycles or sessions no more than there are.

    Raises:
      UserError: a split that is always the same.
    """
    if config.split in ("random", "block"):
        return [{"split_seed": split_seed + number} for number in range(repeats)]
    if config.split == "rows":
        raise UserError(
            "--repeats: split=rows is always the same; use random, block, fold, leave_block, cycle, half_cycle or "
            "session"
        )
    if config.split in ("fold", "leave_block"):
        return [{"prepare.part": number} for number in range(min(repeats, config.blocks))]
    if config.split == "session":
        names = [name for i, name in enumerate(series.session_names) if (series.session == i).any()]
        return [{"prepare.session": name} for name in names[:repeats]]
    numbers = series.cycle if config.split == "cycle" else half_cycle_numbers(series)
    present = min(np.unique(numbers[series.session == i]).size for i in np.unique(series.session))
    return [{f"prepare.{config.split}": number} for number in range(min(repeats, present))]


def split_by_rows(config: PrepareConfig, count: int) -> TrainTest:
    """Return (train, test) as `train_rows` and `test_rows` name them.

    Raises:
      UserError: a row that is not there, a row in both, or a window, which would change the numbers of rows.
    """
    if config.window_target:
        raise UserError("prepare.split=rows counts patterns of the whole series; leave prepare.window_target empty")
    train, test = (parse_row_ranges(getattr(config, key), f"prepare.{key}") for key in ("train_rows", "test_rows"))
    for key, rows in (("train_rows", train), ("test_rows", test)):
        if rows[-1] >= count:
            raise UserError(f"prepare.{key} names row {rows[-1]}, but the last of the {count} patterns is {count - 1}")
    shared = np.intersect1d(train, test)
    if shared.size:
        raise UserError(f"row {shared[0]} is in prepare.train_rows and in prepare.test_rows; keep it in one")
    return train, test
