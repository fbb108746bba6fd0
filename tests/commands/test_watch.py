"""A watched folder: every pattern once, whole, in spite of slow writers, bad files, interrupts and kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests.support import runs
from tests.support.paths import ROOT
from xrd_jax.commands import watch, watch_folder
from xrd_jax.errors import UserError
from xrd_jax.runtime.console import Console


def add(folder, *numbers, **options):
    series = runs.series()
    for i in numbers:
        runs.write_pattern(folder / f"p_{i}.xy", series.axis.values, series.intensity[i], **options)


def follow(folder, home, **options):
    messages: list[str] = []
    options = {"until_idle": 0.8, "poll": 0.02, "console": Console(messages.append)} | options
    added = watch.watch(runs.trained().path, folder, home, **options)
    return added, messages


def assert_once_and_right(rows, numbers):
    """Each pattern has one line, with the run's own prediction of it."""
    assert sorted(row["file"] for row in rows) == sorted(f"p_{i}.xy" for i in numbers)
    order = [int(row["file"][2:-3]) for row in rows]
    outputs = runs.trained().predict(runs.series().subset(np.array(order)))["voltage"]
    values = [float(row["voltage_predicted"]) for row in rows]
    np.testing.assert_allclose(values, outputs.mean(axis=0), rtol=1e-5, atol=1e-5)


@pytest.fixture
def places(tmp_path):
    (tmp_path / "live").mkdir()
    return tmp_path / "live", tmp_path / "out"


def test_what_is_there_and_what_comes_is_predicted_once(places):
    folder, home = places
    add(folder, *range(40))
    late = threading.Timer(1.5, add, (folder, 50, 51))
    late.start()
    added, messages = follow(folder, home, until_idle=3.0)
    late.join()
    assert added == 42
    rows = runs.read_predictions(home)
    assert_once_and_right(rows, [*range(40), 50, 51])
    assert [row["file"] for row in rows[:40]] == [f"p_{i}.xy" for i in range(40)]  # in natural order
    assert sum("p_17.xy  voltage" in line for line in messages) == 1 and "Ctrl-C ends" in messages[0]
    assert sum("does not say what its positions are" in line for line in messages) == 1
    for seed in (3, 4):
        assert list((home / "tensorboard" / str(seed)).glob("events*"))
    add(folder, 60)
    added, messages = follow(folder, home)
    assert added == 1 and "42 patterns are in it already" in messages[0]
    assert_once_and_right(runs.read_predictions(home), [*range(40), 50, 51, 60])


def test_a_half_written_line_is_dropped_and_done_again(places):
    folder, home = places
    add(folder, *range(5))
    follow(folder, home)
    path = home / "predictions.csv"
    path.write_bytes(path.read_bytes()[:-25])
    added, messages = follow(folder, home)
    assert added == 1 and "a half-written one was dropped" in messages[0]
    assert_once_and_right(runs.read_predictions(home), range(5))


def test_a_file_is_taken_when_it_is_whole(places):
    """Half of the channels, a pause longer than it takes to settle, then the rest; and a last line without an end."""
    folder, home = places
    series = runs.series()
    lines = [f"{a:.6f} {v}\n" for a, v in zip(series.axis.values, series.intensity[7], strict=True)]

    def slowly():
        with (folder / "p_7.xy").open("w") as file:
            for part in (lines[:50], lines[50:-1], [lines[-1].rstrip()[:-1]], [lines[-1].rstrip()[-1] + "\n"]):
                file.writelines(part)
                file.flush()
                time.sleep(watch_folder.SETTLE_S + 0.4)

    writer = threading.Thread(target=slowly)
    writer.start()
    added, messages = follow(folder, home, until_idle=4.0)
    writer.join()
    assert added == 1 and not any("not read" in line for line in messages)
    assert_once_and_right(runs.read_predictions(home), [7])


def test_a_file_without_a_last_line_end_is_taken_in_the_end(places):
    folder, home = places
    add(folder, 9, end="")
    added, _ = follow(folder, home, until_idle=2.5, patience=1.0)
    assert added == 1
    assert_once_and_right(runs.read_predictions(home), [9])


def test_what_stays_bad_is_told_once(places):
    folder, home = places
    add(folder, 1)
    (folder / "broken.xy").write_text("20.0 1\n20.1 nonsense\n20.2 3\n")
    series = runs.series()
    runs.write_pattern(folder / "short.xy", series.axis.values[:30], series.intensity[0][:30])
    added, messages = follow(folder, home, until_idle=3.0, patience=0.5)
    problems = [line for line in messages if line.startswith("not read: ")]
    assert added == 1 and len(problems) == 2
    assert any("broken.xy" in line for line in problems) and any("do not cover 20 to 30" in line for line in problems)
    runs.write_pattern(folder / "short.xy", series.axis.values, series.intensity[0])
    assert follow(folder, home)[0] == 1


def test_scans_that_are_added_to_a_file_are_added(places):
    folder, home = places
    series = runs.series()

    def grow(*numbers, count=96):
        with (folder / "all.xy").open("a") as file:
            for i in numbers:
                pairs = list(zip(series.axis.values, series.intensity[i], strict=True))[:count]
                file.write("\n" if file.tell() else "")
                file.writelines(f"{a:.6f} {v}\n" for a, v in pairs)

    grow(0, 1)
    assert follow(folder, home)[0] == 2
    grow(2)
    grow(3, count=60)  # not finished yet
    assert follow(folder, home, patience=0.2)[0] == 1
    rows = runs.read_predictions(home)
    assert [(row["file"], row["scan"]) for row in rows] == [("all.xy", "1"), ("all.xy", "2"), ("all.xy", "3")]
    outputs = runs.trained().predict(series.subset(np.arange(3)))["voltage"].mean(axis=0)
    np.testing.assert_allclose([float(row["voltage_predicted"]) for row in rows], outputs, atol=1e-5)


def test_a_file_written_again_keeps_its_line(places):
    folder, home = places
    add(folder, 4)
    series = runs.series()
    messages: list[str] = []

    def write_again(line):
        """The file changes only after its prediction was reported, however slow the machine is."""
        messages.append(line)
        if "p_4.xy  voltage" in line:
            runs.write_pattern(folder / "p_4.xy", series.axis.values, series.intensity[200])

    added, _ = follow(folder, home, until_idle=2.5, console=Console(write_again))
    assert added == 1 and any("written again after it had been predicted" in line for line in messages)
    assert_once_and_right(runs.read_predictions(home), [4])


@pytest.fixture
def interruptible():
    """Ctrl-C as in a shell: a process that was started in the background may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_it_cleanly(places):
    folder, home = places
    add(folder, *range(6))
    messages: list[str] = []

    def echo(line):
        messages.append(line)
        if "p_3.xy" in line:
            signal.raise_signal(signal.SIGINT)

    watch.watch(runs.trained().path, folder, home, poll=0.02, console=Console(echo))
    assert "the same command goes on from here" in messages[-1]
    follow(folder, home)
    assert_once_and_right(runs.read_predictions(home), range(6))


def test_other_runs_folders_and_processes_are_refused(places, tmp_path):
    folder, home = places
    add(folder, 1)
    follow(folder, home)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="another run, another training or another folder; choose another --out"):
        follow(tmp_path / "other", home)
    about = json.loads((home / "watch.json").read_text())
    (home / "watch.json").write_text(json.dumps(about | {"run": "0" * 64}))
    with pytest.raises(UserError, match="another training"):
        follow(folder, home)
    with pytest.raises(UserError, match="no such folder"):
        follow(tmp_path / "nowhere", tmp_path / "out2")
    assert not (tmp_path / "out2").exists()


def test_killed_again_and_again_every_pattern_has_one_line(places):
    """SIGKILL at arbitrary moments while patterns arrive; the same command goes on."""
    folder, home = places
    run = runs.trained().path
    command = [sys.executable, str(ROOT / "launch.py"), "--mode=watch", f"--workdir={run}", f"--data={folder}",
               f"--out={home}", "--until_idle=1.5"]  # fmt: skip
    options = {"env": {**os.environ, "JAX_PLATFORMS": "cpu"}, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    numbers = list(range(0, 240, 3))
    for part in (numbers[:30], numbers[30:60]):
        add(folder, *part[:20])
        process = subprocess.Popen(command, **options)
        before, deadline = len(runs.read_predictions(home)) if home.exists() else 0, time.monotonic() + 300
        while not (home / "predictions.csv").exists() or len(runs.read_predictions(home)) <= before:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        add(folder, *part[20:])
        process.send_signal(signal.SIGKILL)
        process.communicate()
    add(folder, *numbers[60:])
    done = subprocess.run(command, check=False, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    assert_once_and_right(runs.read_predictions(home), numbers)


def test_a_folder_forgets_nothing_and_reports_once(tmp_path):
    """Clock in hand: settling, trying again more and more seldom, reporting once, starting afresh after a change."""
    folder = watch_folder.WatchedFolder(tmp_path, (), patience=60.0)
    path = tmp_path / "a.xy"
    path.write_text("1 2\n")
    assert folder.ready(0.0) == [] and folder.ready(0.3) == []
    (file,) = folder.ready(0.5)
    attempts = []
    for tick in range(5, 1200):
        for ready in folder.ready(tick / 2):
            attempts.append(tick / 2)
            ready.refuse("bad", tick / 2)
    gaps = np.diff(attempts)
    assert gaps[0] == 1.0 and np.all(gaps[1:] >= gaps[:-1]) and len(attempts) <= 12
    assert list(folder.stuck(30.0)) == []
    assert list(folder.stuck(60.0)) == [file] and list(folder.stuck(61.0)) == []
    path.write_text("1 2\n3 4\n")
    assert folder.ready(700.0) == [] and len(folder.ready(701.0)) == 1
    (ready,) = folder.ready(701.0)
    ready.accept()
    assert folder.ready(800.0) == [] and list(folder.stuck(900.0, at_end=True)) == []
    for name in (".hidden.xy", "b.xy.partial", "c.tmp"):
        (tmp_path / name).write_text("1 2\n")
    folder.ready(900.0)
    assert folder.ready(901.0) == []


def test_linked_folders_are_watched_once(tmp_path):
    """A link out of the folder is followed; one back into it, or to what holds it, is not."""
    home, raw = tmp_path / "watched", tmp_path / "raw"
    (home / "own").mkdir(parents=True)
    raw.mkdir()
    for file in (home / "own" / "a.xy", raw / "b.xy"):
        file.write_text("1 2\n")
    for link, place in ((home / "link", raw), (home / "x", home / "own"), (raw / "y", tmp_path), (raw / "z", raw)):
        link.symlink_to(place)
    folder = watch_folder.WatchedFolder(home, (), patience=60.0)
    folder.ready(0.0)
    assert [folder.name(file) for file in folder.ready(1.0)] == ["link/b.xy", "own/a.xy"]
