"""What is known of a simulated cell, on the channels that a network sees."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xrd_jax.config.schema import Config
from xrd_jax.information import fisher, posterior
from xrd_jax.information import shapley as information_shapley


class Truth(NamedTuple):
    """What is known of a simulated cell, on the network's channels.

    Attributes:
      curves: target -> [L] share of the information.
      carriers: target -> bool [L], the fewest channels with 90 % of it.
      windows: name -> bool [L], 'rest' last; shapley: target -> window -> what it adds to the exact posterior.
    """

    curves: dict[str, np.ndarray]
    carriers: dict[str, np.ndarray]
    windows: dict[str, np.ndarray]
    shapley: dict[str, dict[str, float]]


def of_run(config: Config, axis: np.ndarray) -> Truth | None:
    """The truth about a simulated cell; None for measured data and for channels that it is not computed on."""
    if config.data:
        return None
    of = fisher.information(config.cell, config.prepare)
    if of.centres.size != axis.size or np.abs(of.centres - axis).max() > 1e-3:
        return None
    windows = information_shapley.default_windows(config.cell)
    masks = {name: (axis >= low) & (axis <= high) for name, (low, high) in windows.items()}
    masks[posterior.REST] = ~np.any(list(masks.values()), axis=0)
    values = information_shapley.shapley(config.cell, windows)
    return Truth(
        {target: fisher.curve(of, target) for target in of.per_frame},
        {target: fisher.carriers(of, target) for target in of.per_frame}, masks, values,
    )  # fmt: skip
