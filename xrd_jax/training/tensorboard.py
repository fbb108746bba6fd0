"""TensorBoard, one directory per seed; the only module that imports tensorboardX."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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

    def scalars(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """`values`: tag -> [S], one point for each seed."""
        for name, per_seed in values.items():
            for writer, value in zip(self._writers, per_seed, strict=True):
                writer.add_scalar(name, float(value), step)

    def image(self, step: int, tag: str, images: np.ndarray) -> None:
        """`images`: [S, rows, columns] within 0–1, drawn in grey."""
        for writer, image in zip(self._writers, images, strict=True):
            writer.add_image(tag, np.asarray(image, np.float32), step, dataformats="HW")

    def picture(self, step: int, tag: str, rgb: np.ndarray) -> None:
        """`rgb`: [rows, columns, 3] uint8, the same for every seed; written once, with the first seed."""
        self._writers[0].add_image(tag, rgb, step, dataformats="HWC")

    def hparams(self, values: Mapping[str, Any], metrics: Sequence[Mapping[str, float]]) -> None:
        """The configuration beside the final metrics of each seed."""
        plain = {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in values.items()}
        for writer, own in zip(self._writers, metrics, strict=True):
            writer.add_hparams(plain, dict(own), name=".")

    def close(self) -> None:
        """Flushes and closes; what a full disk does not take is lost, and the run itself says so."""
        for writer in self._writers:
            with contextlib.suppress(OSError):
                writer.close()
