"""What the numbers of a configuration may be, whatever the data are."""

from typing import Any

from xrd_jax.errors import UserError

# Field of a section -> (least, most); both are allowed.
LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "prepare": {"blocks": (1, 1e9), "savgol": (0, 1e9), "savgol_order": (0, 1e9)},
    "model": {
        "depth": (1, 1e4), "width": (1, 1e6), "kernel": (1, 1e6), "stride": (1, 1e6), "norm_layer": (0, 1e4),
        "norm_momentum": (0, 1), "heads": (1, 1e6), "dense": (0, 1e6), "dropout": (0, 0.99), "bins": (2, 1e6),
    },
    "train": {
        "epochs": (1, 1e9), "batch_size": (2, 1e9), "learning_rate": (0, 1e30), "warmup": (0, 1),
        "weight_decay": (0, 1e30), "regression_scale": (1e-9, 1e9), "label_width": (1e-9, 1e9),
        "regression_weight": (0, 1e9), "class_weight": (0, 1e9), "own_weight": (0, 1e9), "redraw_frames": (0, 1e6),
        "redraw_shift": (0, 1e6), "redraw_flux": (0, 1e3), "steps_per_call": (1, 1e9), "seeds_per_call": (0, 1e9),
        "batch_devices": (0, 1e9), "checkpoint_every": (1, 1e9), "log_maps": (0, 1e9), "log_test": (0, 1e9),
    },
    "": {"seed": (0, 2**31 - 1), "seeds": (1, 2**20), "split_seed": (0, 2**31 - 1)},
}  # fmt: skip


def check_limits(section: str, record: Any) -> None:
    """Refuse values of fields that cannot be.

    Raises:
      UserError: naming the field and what it may be.
    """
    for name, (low, high) in LIMITS[section].items():
        value = getattr(record, name)
        if not low <= value <= high:  # which NaN is not either
            key = f"{section}.{name}" if section else name
            raise UserError(f"{key}={value}: must lie between {low:g} and {high:g}")
