"""Does a run survive whatever happens to it? Random histories of a run directory, against one uninterrupted training.

A history is any order of: train, train and be killed, train on a full disk, train anew, damage a file, predict. After
each step the run is, bit for bit, the one of a training that nobody disturbed, or one line says what is wrong and
nothing more is lost than that line says; and at its end the same command gives the same bits again.

Here every step is a process of its own that is killed for good, at any moment (SIGKILL). `tests/test_histories.py`
plays few and short histories in one process, where a step ends instead at any of its writes.

Expected: no history fails; 200 take half an hour on two cores.

  python -m experiments.studies.histories --count=200
"""

from __future__ import annotations

import argparse
import errno
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from xrd_jax.analysis import novelty
from xrd_jax.analysis.run import Run, open_run
from xrd_jax.config.schema import Config, ModelConfig, PrepareConfig, TrainConfig
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries
from xrd_jax.training import fit, workdir

CONFIG = Config(
    name="history",
    targets=("voltage",),
    prepare=PrepareConfig(channels=16),
    model=ModelConfig(depth=2, width=4, query_layer=1, key_layer=2, norm_layer=2),
    train=TrainConfig(epochs=4, batch_size=40, log_maps=0),
)
DAMAGES = ("truncate", "zero", "bit", "empty", "remove")
Action = Callable[[], str]


def train(path: Path, series: PatternSeries, overwrite: bool = False) -> str:
    """Train to the end, as the command does without its report, and return what the run is (hex)."""
    prepared = prepare(series, CONFIG.prepare, CONFIG.split_seed)
    workdir.repair(path)
    workdir.create_or_resume(path, CONFIG, prepared, fit.make_model(CONFIG, prepared)[1], overwrite)
    fitted = fit.fit(CONFIG, prepared, path / "checkpoints", progress=False)
    novelty.save(Run.from_training(path, CONFIG, fitted, prepared), prepared)
    return identify(path, series)


def identify(path: Path, series: PatternSeries) -> str:
    """Return what a run is: SHA-256 over its parameters, its preparation, its predictions and its distances (hex)."""
    run = open_run(path)
    reference = novelty.read_reference(run)
    digest = hashlib.sha256(repr(run.config).encode())
    parts = [run.variables, run.statistics, run.predict(series.subset(slice(0, 8)))]
    for leaf in jax.tree.leaves([*parts, None if reference is None else reference.patterns]):
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def damage(file: Path, how: str, position: int) -> None:
    """Do to a file what disks and people do."""
    content = bytearray(file.read_bytes())
    if how == "remove":
        file.unlink()
        return
    if how == "bit" and content:
        content[position % len(content)] ^= 1 << position % 8
    changed: dict[str, bytes | bytearray] = {
        "truncate": content[: len(content) // 2],
        "zero": bytes(len(content)),
        "bit": content,
        "empty": b"",
    }
    file.write_bytes(changed[how])


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


class Histories:
    """The steps of histories of one run directory, and what has to hold after each.

    Args:
      attempt: performs an action that may be stopped after a share (0 to 1) of its work, None: not; it returns the
        result, '' for an action that was stopped, and 'error: …' for a refusal.
    """

    def __init__(self, folder: Path, series: PatternSeries, expected: str, attempt: Callable[..., str]):
        self.path, self.series, self.expected = folder / "run", series, expected
        self._attempt, self.is_damaged = attempt, False

    def train(self, stop: float | None = None, overwrite: bool = False) -> None:
        result = self._attempt(lambda: train(self.path, self.series, overwrite), stop)
        if result.startswith("error: "):
            # Only what was damaged may be refused, and what is done anew is right.
            assert self.is_damaged and "\n" not in result, result
            shutil.rmtree(self.path)
            result = self._attempt(lambda: train(self.path, self.series), None)
        assert result in (self.expected, "") and (result or stop is not None), result
        self.is_damaged = self.is_damaged and not result

    def fill_disk(self, share: float) -> None:
        result = self._attempt(lambda: train(self.path, self.series), share, full=True)
        assert result in (self.expected, "") or (result.startswith("error: ") and "\n" not in result), result

    def damage(self, number: int, how: str, position: int) -> None:
        if present := files_of(self.path):
            damage(present[number % len(present)], how, position)
            self.is_damaged = True

    def predict(self) -> None:
        """Open the run: it is that of the training, or an earlier checkpoint of it, or refused."""
        before = {file: file.read_bytes() for file in files_of(self.path)}
        result = self._attempt(lambda: identify(self.path, self.series), None)
        assert "\n" not in result
        assert before == {file: file.read_bytes() for file in files_of(self.path)}

    def finish(self) -> None:
        """Whatever happened, the same command ends with the same bits."""
        self.train()


def in_child(action: Action, stop: float | None, full: bool = False, typical_s: float = 5.0) -> str:
    """Perform an action in a process of its own, killed after a share of the seconds that a training takes.

    JAX is imported before, but meets its devices only there.
    """
    read_end, write_end = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read_end)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if full:
                    fail_writes(int(40 * (stop or 0.0)))
                result = action()
            except UserError as error:
                result = f"error: {error}"
            except BaseException as error:  # which is what a history looks for
                result = f"{type(error).__name__}: {error}"
        os.write(write_end, result.encode()[:4000])
        os._exit(0)
    os.close(write_end)
    if stop is not None and not full:
        time.sleep(stop * typical_s)
        os.kill(process, signal.SIGKILL)
    with os.fdopen(read_end, "rb") as result_of:
        text = result_of.read().decode()
    os.waitpid(process, 0)
    return text


def fail_writes(after: int) -> None:
    """Let the disk be full after so many files were brought to it, in this process."""
    calls, fsync = [0], os.fsync

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    os.fsync = full  # type: ignore[assignment]


def play(random_source: random.Random, history: Histories, steps: int) -> list[str]:
    """Play a random history and return what its steps were."""
    played = []
    for _ in range(steps):
        kind = random_source.choice(["train", "kill", "kill", "overwrite", "damage", "damage", "predict", "full disk"])
        played.append(kind)
        if kind == "train":
            history.train()
        elif kind == "kill":
            history.train(random_source.random())
        elif kind == "overwrite":
            history.train(random_source.choice([None, random_source.random()]), overwrite=True)
        elif kind == "damage":
            history.damage(
                random_source.randrange(10**6), random_source.choice(DAMAGES), random_source.randrange(10**6)
            )
        elif kind == "predict":
            history.predict()
        else:
            history.fill_disk(random_source.random())
    history.finish()
    return played


def main() -> None:
    parser = argparse.ArgumentParser(description="random histories of a run directory")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    series, steps = simulated(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(folder) / "compiled")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        expected = in_child(lambda: train(Path(folder) / "first" / "run", series), None)
        started = time.perf_counter()
        again = in_child(lambda: train(Path(folder) / "second" / "run", series), None)
        assert again == expected and len(expected) == 64, expected
        attempt = functools.partial(in_child, typical_s=time.perf_counter() - started)
        for number in range(arguments.seed, arguments.seed + arguments.count):
            home = Path(folder) / str(number)
            steps.update(play(random.Random(number), Histories(home, series, expected, attempt), arguments.steps))
            shutil.rmtree(home, ignore_errors=True)
            print(f"{number + 1 - arguments.seed} of {arguments.count}", file=sys.stderr)
    print(json.dumps({"histories": arguments.count, "steps": steps, "bit-equal at the end": arguments.count}))


def simulated(frames: int = 240, channels: int = 48) -> PatternSeries:
    """Return a peak that moves with the voltage, with photon noise."""
    axis, phase = np.linspace(20.0, 30.0, channels), np.linspace(0.0, 4.0, frames)
    voltage = 3.6 + 0.6 * (1.0 - np.abs(phase % 2.0 - 1.0))
    centre = 22.0 + 8.0 * (voltage - 3.6)
    rates = 30.0 + 400.0 * np.exp(-0.5 * ((axis[None] - centre[:, None]) / 0.5) ** 2)
    intensity = np.random.default_rng(0).poisson(rates).astype(np.uint16)
    targets = {"voltage": Target(voltage, "regression", "V")}
    label = np.zeros(frames, int)
    return PatternSeries(intensity, Axis(axis), 10.0 * np.arange(frames), targets, label, label, is_counts=True)


if __name__ == "__main__":
    main()
