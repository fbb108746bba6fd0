"""Two processes train what one trains; where one dies the other stops in one line; started again, they resume."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xrd_jax
from tests.support.paths import ROOT
from tests.support.series import make_series
from xrd_jax.analysis.run import Run
from xrd_jax.config.overrides import from_dict
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.preprocessing.prepare import prepare
from xrd_jax.runtime import distributed
from xrd_jax.training.fit import fit

SETTINGS = (
    "prepare.channels=16", "depth=2", "width=4", "query_layer=1", "key_layer=2", "norm_layer=2", "batch_size=32",
    "log_maps=1000",
)  # fmt: skip
BOUND_S = 60  # to stop after another one's death: far less, but the machine may be busy
# The command, in whose processes silence means death sooner than a user's network would allow.
LAUNCH = """
import runpy
from xrd_jax.runtime import distributed
distributed.HEARTBEAT_TIMEOUT_S = 4
runpy.run_path("launch.py", run_name="__main__")
"""


def free_port() -> int:
    try:
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            return probe.getsockname()[1]
    except OSError as error:
        pytest.skip(f"no port can be opened here: {error}")


@pytest.fixture
def started():
    """The processes of a test, none of which outlives it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(data: Path, workdir: Path, cache: Path, started: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Two processes that train case 1 together, each with half of every batch."""
    flags = [f"--data={data}", f"--workdir={workdir}", "--case=1", "--epochs=12", "--noprogress", "--distributed"]
    flags += [f"--coordinator=localhost:{free_port()}", "--process_count=2", *(f"--set={s}" for s in SETTINGS)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XRD_JAX_CACHE": str(cache)}
    options = {"cwd": ROOT, "env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", LAUNCH, *flags]
    pair = [subprocess.Popen([*command, f"--process_id={i}"], **options) for i in range(2)]
    started += pair
    return pair


def kill_midway(pair: list[subprocess.Popen[str]], victim: int, checkpoints: Path) -> None:
    """SIGKILL to one after its next checkpoint; the other must say one line and stop."""
    before, deadline = newest(checkpoints), time.monotonic() + 300
    while newest(checkpoints) <= before:
        assert all(process.poll() is None for process in pair), [process.communicate()[1] for process in pair]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    pair[victim].send_signal(signal.SIGKILL)
    begun = time.monotonic()
    errors = pair[1 - victim].communicate(timeout=BOUND_S)[1]
    assert time.monotonic() - begun < BOUND_S
    assert pair[1 - victim].returncode != 0
    # XLA's own remarks about the lost connection, if it makes any, start with a letter and the date.
    lines = [line for line in errors.splitlines() if not re.match(r"[WE]\d{4} ", line)]
    assert lines == [f"error: {distributed.PEER_LOST}"]
    pair[victim].communicate()


def newest(checkpoints: Path) -> int:
    return max((int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()), default=0)


def test_two_processes_train_stop_and_resume_as_one(tmp_path, started):
    series, workdir = make_series(frames=160, channels=48), tmp_path / "run"
    series.save(tmp_path / "data.h5")
    arguments = tmp_path / "data.h5", workdir, tmp_path / "cache", started
    for victim in (1, 0):
        kill_midway(start(*arguments), victim, workdir / "checkpoints")
        assert not (workdir / "metrics.json").exists()
    pair = start(*arguments)
    printed = [process.communicate(timeout=300) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], printed
    assert "resumed from step" in printed[0][0] and "MAE" in printed[0][0]
    assert "resumed" not in printed[1][0] and not printed[0][1] and not printed[1][1]  # only the first one speaks
    config = from_dict(Config, json.loads((workdir / "config.json").read_text())["config"])
    prepared = prepare(series, config.prepare)
    run = Run.from_training(tmp_path, config, fit(config, prepared, tmp_path / "alone", progress=False), prepared)
    together = xrd_jax.open_run(workdir).predict(series)["voltage"]
    np.testing.assert_allclose(together, run.predict(series)["voltage"], atol=1e-3)
    error = np.abs(together[0] - series.targets["voltage"].values)[prepared.test].mean()
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["targets"]["voltage"]["mae"]["mean"] == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (("localhost:1234", -1, 0), "belong together"),
        (("localhost", 0, 2), "HOST:PORT"),
        (("localhost:1234", 2, 2), "ids count from 0"),
    ],
)
def test_flags_that_do_not_fit_are_refused(flags, answer):
    with pytest.raises(UserError, match=answer):
        distributed.start(*flags)
