"""TensorBoard, one directory per seed; the only module that imports tensorboardX."""

import contextlib
import io
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from xrd_jax.errors import UserError


class Monitor:
    """Curves, maps and figures of every seed under `directory/<seed>/`.

    Args:
      start: first step that will be written; steps from there on that an interrupted run left are hidden.

    Raises:
      UserError: nothing can be written there.
    """

    def __init__(self, directory: str | os.PathLike[str], seeds: Sequence[int], start: int = 0):
        try:
            self._files = [_EventFile(Path(directory) / str(seed), start) for seed in seeds]
        except OSError as error:
            raise UserError(
                f"{directory}: cannot be written ({error.strerror}); free some space or choose another --workdir"
            ) from None

    @property
    def is_cut(self) -> bool:
        """Whether curves were lost because the disk took no more."""
        return any(file.is_cut for file in self._files)

    def add_scalars(self, step: int, values: Mapping[str, Float[np.ndarray, " S"]]) -> None:
        """Write tag -> one point for each seed."""
        for name, per_seed in values.items():
            for file, value in zip(self._files, per_seed, strict=True):
                file.add(step, summary.scalar(name, float(value)))

    def add_images(self, step: int, tag: str, images: Float[np.ndarray, "S rows columns"]) -> None:
        """Write an image for each seed, within 0–1, drawn in grey."""
        for file, image in zip(self._files, images, strict=True):
            file.add(step, summary.image(tag, np.asarray(image, np.float32), dataformats="HW"))

    def add_figure(self, step: int, tag: str, rgb: Float[np.ndarray, "rows columns 3"]) -> None:
        """Write a picture that is the same for every seed once, with the first seed."""
        self._files[0].add(step, summary.image(tag, rgb, dataformats="HWC"))

    def add_hparams(self, values: Mapping[str, Any], metrics: Sequence[Mapping[str, float]]) -> None:
        """Write the configuration beside the final metrics of each seed."""
        plain = {k: v if isinstance(v, (int, float, str, bool)) else str(v) for k, v in values.items()}
        for file, seed_metrics in zip(self._files, metrics, strict=True):
            for part in summary.hparams(plain, dict(seed_metrics)):
                file.add(0, part)
            for name, value in seed_metrics.items():
                file.add(0, summary.scalar(name, float(value)))

    def close(self) -> None:
        """Flush and close."""
        for file in self._files:
            file.close()


class _EventFile:
    """Events written at once: the library's own thread dies of a full disk, and whoever feeds it waits for ever."""

    def __init__(self, directory: Path, start: int):
        directory.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._file: io.FileIO | None = io.FileIO(directory / name, "w")
        self.is_cut = False
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if start:
            self._write(Event(step=start, file_version="brain.Event:2"))
            self._write(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, content: Any) -> None:
        self._write(Event(step=int(step), wall_time=time.time(), summary=content))

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = None

    def _write(self, event: Event) -> None:
        """Append a record; a full disk ends the file, because nothing that follows a torn record can be read."""
        if self._file is None:
            return
        data = event.SerializeToString()
        header = struct.pack("<Q", len(data))
        checks = (struct.pack("<I", masked_crc32c(part)) for part in (header, data))
        record = b"".join((header, next(checks), data, next(checks)))
        try:
            is_whole = self._file.write(record) == len(record)
        except OSError:
            is_whole = False
        if not is_whole:
            self.is_cut = True
            self.close()
