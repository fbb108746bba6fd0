"""What is known of the cell that a run was trained on."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xrd_jax.config.schema import Config
from xrd_jax.information.fisher import carrier_channels, channel_information, mean_shares
from xrd_jax.information.posterior import REST
from xrd_jax.information.shapley import default_windows, shapley_of_windows


class GroundTruth(NamedTuple):
    """What is known of a simulated cell, on the network's channels."""

    curves: dict[str, np.ndarray]  # target -> [L] share of the information
    carriers: dict[str, np.ndarray]  # target -> bool [L], the fewest channels with 90 % of it
    windows: dict[str, np.ndarray]  # name -> bool [L], 'rest' last
    shapley: dict[str, dict[str, float]]  # target -> window -> what it adds to the exact posterior


def of_run(config: Config, axis: Float[np.ndarray, " L"]) -> GroundTruth | None:
    """Return the truth about a run's cell; None for measured data and for channels that it is not computed on."""
    if config.data:
        return None
    information = channel_information(config.cell, config.prepare)
    if information.centres.size != axis.size or np.abs(information.centres - axis).max() > 1e-3:
        return None
    windows = default_windows(config.cell)
    masks = {name: (axis >= low) & (axis <= high) for name, (low, high) in windows.items()}
    masks[REST] = ~np.any(list(masks.values()), axis=0)
    return GroundTruth(
        curves={target: mean_shares(information, target) for target in information.shares},
        carriers={target: carrier_channels(information, target) for target in information.shares},
        windows=masks,
        shapley=shapley_of_windows(config.cell, windows),
    )
