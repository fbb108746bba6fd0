"""Histories of a run directory: trained, stopped, damaged, opened in any order, it ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from experiments.studies import histories
from xrd_jax.errors import UserError

SHARES = st.floats(0.0, 1.0)
WRITES = 8  # of a training, about


@functools.cache
def expected() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return histories.train(Path(folder) / "run", histories.simulated())


def attempt(action, stop, full=False):
    """Perform an action in this process; it ends at one of its writes where it is to be stopped."""
    calls, fsync = [0], os.fsync
    last = WRITES if stop is None else int(stop * WRITES)

    def limited(descriptor):
        calls[0] += 1
        if stop is not None and calls[0] > last:
            raise OSError(28, os.strerror(28)) if full else KeyboardInterrupt
        fsync(descriptor)

    with mock.patch.object(os, "fsync", limited), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an earlier checkpoint or a copy was taken
        with contextlib.suppress(KeyboardInterrupt):
            try:
                return action()
            except UserError as error:
                return f"error: {error}"
    return ""


class RunDirectory(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.history = histories.Histories(self.folder, histories.simulated(), expected(), attempt)

    @rule()
    def train(self):
        self.history.train()

    @rule(share=SHARES)
    def stop(self, share):
        self.history.train(share)

    @rule(share=SHARES)
    def fill_disk(self, share):
        self.history.fill_disk(share)

    @rule()
    def train_anew(self):
        self.history.train(overwrite=True)

    @rule(number=st.integers(0, 999), how=st.sampled_from(histories.DAMAGES), position=st.integers(0, 10**6))
    def damage(self, number, how, position):
        self.history.damage(number, how, position)

    @rule()
    def predict(self):
        self.history.predict()

    def teardown(self):
        self.history.finish()
        shutil.rmtree(self.folder)


TestRunDirectory = RunDirectory.TestCase
TestRunDirectory.settings = settings(
    max_examples=2, stateful_step_count=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
