"""A column of the experiment that says of every pattern whether it is learnt from or held out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xrd_jax.config import row_ranges
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import targets
from xrd_jax.io.experiment.schema import ExperimentFile, TargetTable

# How such columns begin what is learnt from, and what is held out, in lower case; all else is not used.
USUAL = {"train": ("train", "cal", "learn"), "test": ("test", "pred", "hold", "held")}


def rows(
    experiment: ExperimentFile, aligned: Sequence[targets.AlignedPatterns], kept: Sequence[np.ndarray], folder: Path,
    report: list[str],
) -> dict[str, str]:  # fmt: skip
    """Return the settings of a split by rows that the column comes to.

    Args:
      kept: for each session which patterns [T] the series holds.
      report: sentences for the user are added to it.

    Raises:
      UserError: no pattern in one of the parts.
    """
    split, place = experiment.split, experiment.place("split")
    target = TargetTable(split.column, split.table, kind="classification", name="split")
    parts = [targets.target_values(experiment, target, session, folder)[keep]
             for session, keep in zip(aligned, kept, strict=True)]  # fmt: skip
    labels = np.concatenate([part.astype(str) for part in parts])
    settings, is_used = {"prepare.split": "rows"}, np.zeros(labels.size, bool)
    for key, beginnings in USUAL.items():
        named = getattr(split, key)
        wanted = None if named is None else {name.strip().lower() for name in named.split(",")}
        is_part = np.array([
            label.strip().lower() in wanted if wanted is not None else label.strip().lower().startswith(beginnings)
            for label in labels.tolist()
        ])  # fmt: skip
        if not is_part.any():
            shown = ", ".join(sorted(set(labels.tolist()))[:6])
            raise UserError(f"{place} {key}: no pattern of column '{split.column}' is of that part; it holds {shown}: "
                            f'write such as {key} = "{shown.partition(", ")[0]}"')  # fmt: skip
        settings[f"prepare.{key}_rows"] = row_ranges.format_row_ranges(np.flatnonzero(is_part))
        is_used |= is_part
    if not is_used.all():
        names = ", ".join(sorted(set(labels[~is_used].tolist())))
        report.append(f"{np.count_nonzero(~is_used)} patterns of column {split.column} are neither learnt from nor "
                      f"tested: {names}.")  # fmt: skip
    return settings
