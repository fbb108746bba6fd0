"""Inspection says what is there, suggests no more than it can tell, and writes a file that loads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.experiment_files import cycler_columns, real_data_folder, write_log
from tests.support.paths import ROOT, real_file
from xrd_jax.commands.inspect import inspect
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.experiment import paths, read
from xrd_jax.io.inspect import alignment, findings, name_patterns
from xrd_jax.preprocessing.splits import split
from xrd_jax.runtime.console import Console

AXIS = 10 + np.arange(120) * 0.05


def patterns_with_peak(position, noise=1.0, seed=0):
    """Return [T, N] a peak at `position` on a background, and one that stays."""
    shape = np.exp(-0.5 * ((AXIS[None, :] - np.asarray(position)[:, None]) / 0.15) ** 2)
    shape = 20 + 200 * shape + 100 * np.exp(-0.5 * ((AXIS - 15.0) / 0.1) ** 2)
    return np.round(shape + np.random.default_rng(seed).normal(0, noise, shape.shape), 2)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Patterns 1 to 24 without 5 whose peak follows the voltage, a log, and two files that are neither."""
    monkeypatch.delenv(paths.DATA_ROOT, raising=False)
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    home = tmp_path / "data"
    (home / "scans").mkdir(parents=True)
    numbers = [*range(1, 5), *range(6, 25)]
    log = cycler_columns()
    voltage = np.interp((np.array(numbers) - 1) * 20 + 5, log["time/s"], log["Ewe/V"])
    for number, row in zip(numbers, patterns_with_peak(12 + 3 * (voltage - voltage.min())), strict=True):
        rows = "\n".join(f"{x:.3f} {y}" for x, y in zip(AXIS, row, strict=True))
        (home / "scans" / f"cell_{number}_x.xy").write_text(rows + "\n")
    write_log(home / "scans", log)
    (home / "README.md").write_text("Measured by somebody.\n")
    (home / "empty.xy").write_text("")
    return home


def run_inspect(path, tmp_path):
    """Return the findings, and all lines for the user as one text."""
    lines: list[str] = []
    record = inspect(path, tmp_path / "out", tmp_path / "f.json", console=Console(lines.append))
    assert json.loads((tmp_path / "f.json").read_text())["read"] == json.loads(json.dumps(record["read"]))
    return record, "\n".join(lines)


def test_a_folder_is_described(folder, tmp_path):
    record, report = run_inspect(folder, tmp_path)
    assert len(record["read"]) == 24
    assert {Path(file["file"]).name for file in record["refused"]} == {"README.md", "empty.xy"}
    pattern = record["read"][-1]
    assert [pattern[key] for key in ("points", "scans", "wavelength", "format")] == [120, 1, None, "text"]
    assert "23 patterns in scans (text): cell_1_x.xy to cell_24_x.xy." in report
    assert "Numbers in names: 1 to 24; missing: 5." in report and "120 channels from 10 to 15.95" in report
    assert "Half cycles: 2 (charge, discharge)" in report and "begun 2024-02-28 10:27:22" in report
    assert "times are not known; give step and first" in report
    for name in ("patterns", "alignment"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").stat().st_size > 10_000


def fill_in(template):
    """Take the # from the settings below a line marked NEEDED, as a user does."""
    lines, is_needed = [], False
    for line in template.split("\n"):
        if "NEEDED" in line:
            is_needed = True
        setting = re.match(r"# ([a-z_]+ = .*)", line)
        is_needed = is_needed and bool(line)
        lines.append(setting[1] if is_needed and setting and not setting[1].startswith("offset") else line)
    return "\n".join(lines)


def read_filled_in(tmp_path):
    """Return the series of the experiment file that an inspection wrote, once it is filled in."""
    template = (tmp_path / "out" / "experiment.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(fill_in(template), encoding="utf-8")
    return read.read_experiment(tmp_path / "mine.toml").series


def test_the_experiment_file_loads_once_it_is_filled_in(folder, tmp_path):
    record, _ = run_inspect(folder, tmp_path)
    path = tmp_path / "out" / "experiment.toml"
    assert str(path) in record["written"]
    with pytest.raises(UserError, match=r"\[session 1.time\] exposure is missing|needs either step"):
        read.read_experiment(path)
    template, series = path.read_text(encoding="utf-8"), read_filled_in(tmp_path)
    assert series.intensity.shape == (23, 120) and {"voltage", "mode", "capacity", "half_cycle"} == set(series.targets)
    path.write_text("# mine\n")
    run_inspect(folder, tmp_path)
    assert path.read_text() == "# mine\n"
    assert path.with_name("experiment-2.toml").read_text(encoding="utf-8") == template
    record, report = run_inspect(tmp_path / "mine.toml", tmp_path)
    assert record["read"][0]["scans"] == 23 and "All 23 patterns were matched to the cycler log." in report


def test_faults_are_found(folder, tmp_path):
    scans = folder / "scans"
    for path in scans.glob("cell_*_x.xy"):
        lines = path.read_text().split("\n")
        lines[40] = "12.000 7.00"
        lines[100:103] = [f"{15 + k * 0.05:.3f} 999.0" for k in range(3)]
        path.write_text("\n".join(lines))
    (scans / "cell_7_x.xy").write_bytes((scans / "cell_3_x.xy").read_bytes())
    record, report = run_inspect(folder, tmp_path)
    assert "cell_7_x.xy holds the same intensities as cell_3_x.xy" in report
    assert "channels that never change: 12" in report and "3 channels may be saturated" in report
    assert record["sessions"][0]["saturated_channels"] == pytest.approx([15, 15.05, 15.1])
    assert 'exclude = ["cell_7_x.xy"]' in (tmp_path / "out" / "experiment.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("late", [-900.0, 0.0, 600.0])
def test_an_offset_is_found_where_the_patterns_tell_it(late):
    time = np.arange(0, 40000, 10.0)
    voltage = 3.5 + 0.4 * np.sin(time / 1500) + 0.2 * np.sin(time / 377 + 1)
    log = CyclerLog(time, voltage, np.zeros_like(time), np.zeros_like(time), None, {})
    taken = np.arange(8000, 32000, 60.0)

    def match(position):
        return alignment.best_match(taken, alignment.moving_centroids(AXIS, patterns_with_peak(position)), log)

    centroid, offset = match(12.5 + np.interp(taken + late, time, voltage) - 3.5)
    assert 9.9 < centroid.window[0] <= 13 < centroid.window[1] < 15
    assert offset.is_suggested and offset.against == "voltage" and abs(offset.seconds - late) < 30
    still = match(np.full(taken.size, 12.5))
    assert still is None or not still[1].is_suggested


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["a_1.xy", "a_2.xy", "a_10.xy"], [1, 2, 10]),
        (["S0034_T02_1_x.xy", "S0034_T02_22_x.xy"], [1, 22]),
        (["scan001.dat", "scan002.dat"], [1, 2]),
        (["3.xy", "4.xy"], [3, 4]),
        (["a_1_7.xy", "a_2_9.xy"], None),
        (["a_1.xy", "b_2.xy"], None),
        (["a_1.xy"], None),
    ],
)
def test_numbers_in_names(names, numbers):
    pattern = name_patterns.number_pattern(names)
    assert (pattern and [int(re.search(pattern, name)[1]) for name in names]) == numbers


def test_columns_of_spectra():
    assert name_patterns.spectrum_glob([f"absorbance_{k}" for k in range(20)] + ["PC1", "fat"]) == "absorbance_*"
    assert name_patterns.spectrum_glob([f"{850 + 2 * k}" for k in range(20)] + ["fat"]) == ""
    assert name_patterns.spectrum_glob(["time/s", "Ewe/V", "I/mA"]) is None


def test_faulty_channels_are_only_those():
    values = np.random.default_rng(0).poisson(50.0, (30, 40)).astype(float)
    dead, saturated = findings.faulty_channels(values)
    assert not dead.size and not saturated.size
    values[:, 3], values[:, 10:12] = 0.0, 500.0
    dead, saturated = findings.faulty_channels(values)
    assert dead.tolist() == [3, 10, 11] and saturated.tolist() == [10, 11]


@pytest.mark.parametrize("path", ["nowhere", "data/scns", "data/none.xy"])
def test_wrong_paths_are_one_line(folder, tmp_path, path):
    with pytest.raises(UserError, match="no such file or folder") as error:
        run_inspect(tmp_path / path, tmp_path)
    assert "\n" not in str(error.value)
    if path == "data/scns":
        assert "did you mean 'scans'" in str(error.value)


def test_every_folder_of_real_formats_is_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    count = 0
    for folder in sorted(path for kind in ("xrd", "cycler") for path in (real_file("formats") / kind).iterdir()):
        if folder.name in ("arbin_xlsx", "bdf_csv"):
            continue  # the largest: their own tests read them
        files = {str(file) for file in folder.rglob("*") if file.is_file()}
        record = inspect(folder, tmp_path / folder.name)
        assert {file["file"] for file in (*record["read"], *record["refused"])} == files
        assert all("\n" not in file["why"] and file["file"] in file["why"] for file in record["refused"])
        count += len(files)
    assert count > 35


def test_real_operando_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    record, report = run_inspect(real_data_folder() / "operando-xrd-mo", tmp_path)
    session = record["sessions"][0]
    assert session["patterns"] == 502 and session["cycler"].endswith("TD_O2.mpt") and not session["unmatched"]
    assert "missing: 5" in report and "the anode is Mo" in report and not session["offset"]["suggested"]
    series = read_filled_in(tmp_path)
    assert series.intensity.shape == (502, 1021) and series.axis.wavelength == 0.7107


def test_spectra_in_a_csv(tmp_path):
    record, report = run_inspect(real_file("nir-tecator/tecator.csv"), tmp_path)
    assert "240 spectra" in report and "absorbance_*" in report and "fat" in report
    template = (tmp_path / "out" / "experiment.toml").read_text(encoding="utf-8")
    assert not re.search("batter|cycler|voltage", report + template)
    series = read_filled_in(tmp_path)
    assert series.intensity.shape == (240, 100) and "fat" in series.targets and record["read"][0]["scans"] == 240


def test_the_command(folder, tmp_path):
    flags = ["--mode=inspect", f"--workdir={tmp_path / 'run'}", f"--json={tmp_path / 'j'}"]

    def launch(data):
        command = [sys.executable, "launch.py", *flags, f"--data={data}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)

    done = launch(folder)
    assert done.returncode == 0 and "23 patterns" in done.stdout and json.loads((tmp_path / "j").read_text())["read"]
    done = launch("none")
    assert done.returncode == 2 and done.stderr.startswith("error: none: no such file") and done.stderr.count("\n") == 1


def write_dated(folder, names, starts, axis=AXIS, heading="2theta counts"):
    """Write patterns that state when they began, every one another."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = patterns_with_peak(12 + np.linspace(0, 2, len(names)))
    for name, start, row in zip(names, starts, rows, strict=True):
        text = "\n".join(f"{x:.3f} {y}" for x, y in zip(axis, row, strict=True))
        (folder / name).write_text(f"# Time at start = {start.item():%Y-%m-%d %H:%M:%S}\n# {heading}\n{text}\n")


START = np.datetime64("2024-02-28T10:27:30")


@pytest.mark.parametrize("root", ["data", "data/scans"])
def test_logs_in_sibling_folders_are_found(tmp_path, monkeypatch, root):
    """By inspection of the folder that holds both, and of that of the patterns; the file reads as it was written."""
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    names = [f"s_{number:03d}.xy" for number in range(24)]
    write_dated(tmp_path / "data" / "scans", names, START + 20 * np.arange(24).astype("timedelta64[s]"))
    (tmp_path / "data" / "EC").mkdir()
    write_log(tmp_path / "data" / "EC", cycler_columns())
    record, _ = run_inspect(tmp_path / root, tmp_path)
    assert record["sessions"][0]["cycler"] == str(tmp_path / "data" / "EC" / "log.mpt")
    text = (tmp_path / "out" / "experiment.toml").read_text()
    needed = text.replace("# kind =", "kind =").replace("# wavelength =", "wavelength =")
    (tmp_path / "out" / "mended.toml").write_text(needed)
    series = read.read_experiment(tmp_path / "out" / "mended.toml").series
    assert len(series) == 24 and np.ptp(series.targets["voltage"].values) > 0.1


def test_what_is_understood_trains_as_it_is_written(tmp_path, monkeypatch):
    """Places that alternate become sessions; a target that is the same in every pattern becomes a comment."""
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    names = [f"op{1 + number // 20}_pos{1 + number % 2}_{'a' if number < 20 else 'b'}_{number:03d}.xy"
             for number in range(40)]  # fmt: skip
    starts = START + (2500 * np.arange(40)).astype("timedelta64[ms]")  # within the first half of the charge
    write_dated(tmp_path / "data" / "XAS", names, starts, 7000 + AXIS * 10, "energy(eV) mu")
    (tmp_path / "data" / "EC").mkdir()
    write_log(tmp_path / "data" / "EC", cycler_columns())
    run_inspect(tmp_path / "data", tmp_path)
    text = (tmp_path / "out" / "experiment.toml").read_text()
    assert "NEEDED" not in text.partition("version")[2] and "# [targets.mode]" in text
    experiment = read.read_experiment(tmp_path / "out" / "experiment.toml")
    assert experiment.series.session_names == ("XAS 1", "XAS 2") and len(experiment.series) == 40
    assert "voltage" in experiment.series.targets and "mode" not in experiment.series.targets
    split(experiment.series, PrepareConfig(), 0)


def test_places_in_names_return_again_and_again():
    names = [f"s_pos{1 + number // 2 % 3}_{number:03d}" for number in range(60)]
    assert name_patterns.place_pattern(names) == r"pos(\d+)"
    assert name_patterns.place_pattern([f"op{1 + number // 20}_{number:03d}" for number in range(60)]) is None


def test_a_real_experiment_in_two_folders_reads_as_it_is_suggested(tmp_path, monkeypatch):
    """458 spectra of two places in turn, two logs one after the other, and nothing to be filled in."""
    folder = real_file("perex/SOURCE.txt").parent
    monkeypatch.setenv("XRD_JAX_CACHE", str(tmp_path / "cache"))
    run_inspect(folder, tmp_path)
    experiment = read.read_experiment(tmp_path / "out" / "experiment.toml", cache=True)
    series, voltage = experiment.series, experiment.series.targets["voltage"].values
    assert series.intensity.shape == (458, 1649) and series.axis.kind == "energy"
    assert series.session_names == ("XAS 1", "XAS 2")
    assert voltage.min() == pytest.approx(3.02, abs=0.05) and voltage.max() == pytest.approx(4.301, abs=0.002)
    is_charge = series.targets["mode"].values < 2
    assert is_charge.sum() == pytest.approx(271, abs=3)


def test_linked_folders_are_looked_into_once(folder, tmp_path):
    """A link to a folder elsewhere is followed; one that leads back is not, nor is a folder read twice."""
    (folder / "scans").rename(tmp_path / "raw")
    (folder / "scans").symlink_to(tmp_path / "raw")
    (tmp_path / "raw" / "back").symlink_to(folder)
    (folder / "again").symlink_to(tmp_path / "raw")
    record, _ = run_inspect(folder, tmp_path)
    assert [session["patterns"] for session in record["sessions"]] == [23]
    assert [Path(session["folder"]).name for session in record["sessions"]] == ["again"]
