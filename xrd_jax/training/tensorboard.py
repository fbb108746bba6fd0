"""TensorBoard, one directory per seed; the only module that imports tensorboardX."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tensorboardX import SummaryWriter


class Monitor:
    """Curves, maps and figures of every seed under `directory/<seed>/`.

    Args:
      start: first step that will be written; steps from there on that an interrupted run left are hidden.
    """

    def __init__(self, directory: str | os.PathLike[str], seeds: Sequence[int], start: int = 0):
        self._writers = [
            SummaryWriter(str(Path(directory) / str(seed)), purge_step=start if start else None, flush_secs=10)
            for seed in seeds
        ]

    def add_scalars(self, step: int, values: Mapping[str, Float[np.ndarray, " S"]]) -> None:
        """Write tag -> one point for each seed."""
        for name, per_seed in values.items():
            for writer, value in zip(self._writers, per_seed, strict=True):
                writer.add_scalar(name, float(value), step)

    def add_images(self, step: int, tag: str, images: Float[np.ndarray, "S rows columns"]) -> None:
        """Write an image for each seed, within 0–1, drawn in grey."""
        for writer, image in zip(self._writers, images, strict=True):
            writer.add_image(tag, np.asarray(image, np.float32), step, dataformats="HW")

    def add_figure(self, step: int, tag: str, rgb: Float[np.ndarray, "rows columns 3"]) -> None:
        """Write a picture that is the same for every seed once, with the first seed."""
        self._writers[0].add_image(tag, rgb, step, dataformats="HWC")

    def add_hparams(self, values: Mapping[str, Any], metrics: Sequence[Mapping[str, float]]) -> None:
        """Write the configuration beside the final metrics of each seed."""
        plain = {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in values.items()}
        for writer, seed_metrics in zip(self._writers, metrics, strict=True):
            writer.add_hparams(plain, dict(seed_metrics), name=".")

    def close(self) -> None:
        """Flush and close; what a full disk does not take is lost, and the run itself says so."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                writer.close()
