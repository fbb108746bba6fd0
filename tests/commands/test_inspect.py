"""Inspection says what is there, suggests no more than it can tell, and writes a file that loads."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.experiment_files import made_up, real_data, write_log
from tests.support.paths import ROOT, real_file
from xrd_jax.commands import inspect as commands_inspect
from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import paths, read
from xrd_jax.io.inspect import alignment, findings, survey

AXIS = 10 + np.arange(120) * 0.05


def made(position, noise=1.0, seed=0):
    """[T, N] a peak at `position` on a background, and one that stays."""
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
    log = made_up()
    voltage = np.interp((np.array(numbers) - 1) * 20 + 5, log["time/s"], log["Ewe/V"])
    for number, row in zip(numbers, made(12 + 3 * (voltage - voltage.min())), strict=True):
        rows = "\n".join(f"{x:.3f} {y}" for x, y in zip(AXIS, row, strict=True))
        (home / "scans" / f"cell_{number}_x.xy").write_text(rows + "\n")
    write_log(home / "scans", log)
    (home / "README.md").write_text("Measured by somebody.\n")
    (home / "empty.xy").write_text("")
    return home


def look(path, tmp_path, **options):
    said: list[str] = []
    found = commands_inspect.inspect(path, tmp_path / "out", tmp_path / "f.json", say=said.append, **options)
    assert json.loads((tmp_path / "f.json").read_text())["read"] == json.loads(json.dumps(found["read"]))
    return found, "\n".join(said)


def test_a_folder_is_described(folder, tmp_path):
    found, said = look(folder, tmp_path)
    assert len(found["read"]) == 24 and {Path(one["file"]).name for one in found["refused"]} == {
        "README.md",
        "empty.xy",
    }
    pattern = found["read"][-1]
    assert (
        pattern["points"] == 120
        and pattern["scans"] == 1
        and pattern["wavelength"] is None
        and pattern["format"] == "text"
    )
    assert "23 patterns in scans (text): cell_1_x.xy to cell_24_x.xy." in said
    assert "Numbers in names: 1 to 24; missing: 5." in said and "120 channels from 10 to 15.95" in said
    assert "Half cycles: 2 (charge, discharge)" in said and "begun 2024-02-28 10:27:22" in said
    assert "times are not known; give step and first" in said
    for name in ("patterns", "alignment"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").stat().st_size > 10_000


def fill(text):
    """What a user does: takes the # from the settings below a line marked NEEDED."""
    lines, needed = [], False
    for line in text.split("\n"):
        if "NEEDED" in line:
            needed = True
        setting = re.match(r"# ([a-z_]+ = .*)", line)
        needed = needed and bool(line)
        lines.append(setting[1] if needed and setting and not setting[1].startswith("offset") else line)
    return "\n".join(lines)


def test_the_experiment_file_loads_once_it_is_filled(folder, tmp_path):
    found, _ = look(folder, tmp_path)
    path = tmp_path / "out" / "experiment.toml"
    assert str(path) in found["written"]
    with pytest.raises(UserError, match=r"\[session 1.time\] exposure is missing|needs either step"):
        read.read_experiment(path)
    text = path.read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(fill(text), encoding="utf-8")
    series = read.read_experiment(tmp_path / "mine.toml").series
    assert series.intensity.shape == (23, 120) and {"voltage", "mode", "capacity", "half_cycle"} == set(series.targets)
    path.write_text("# mine\n")
    look(folder, tmp_path)
    assert (
        path.read_text() == "# mine\n" and (tmp_path / "out" / "experiment-2.toml").read_text(encoding="utf-8") == text
    )
    found, said = look(tmp_path / "mine.toml", tmp_path)
    assert found["read"][0]["scans"] == 23 and "All 23 patterns were matched to the cycler log." in said


def test_faults_are_found(folder, tmp_path):
    scans = folder / "scans"
    rows = {n: (scans / f"cell_{n}_x.xy").read_text().split("\n") for n in [*range(1, 5), *range(6, 25)]}
    for number, lines in rows.items():
        lines[40] = "12.000 7.00"
        lines[100:103] = [f"{15 + k * 0.05:.3f} 999.0" for k in range(3)]
        (scans / f"cell_{number}_x.xy").write_text("\n".join(lines))
    (scans / "cell_7_x.xy").write_bytes((scans / "cell_3_x.xy").read_bytes())
    found, said = look(folder, tmp_path)
    assert "cell_7_x.xy holds the same intensities as cell_3_x.xy" in said
    assert "channels that never change: 12" in said and "3 channels may be saturated" in said
    assert found["sessions"][0]["saturated_channels"] == pytest.approx([15, 15.05, 15.1])
    text = (tmp_path / "out" / "experiment.toml").read_text(encoding="utf-8")
    assert 'exclude = ["cell_7_x.xy"]' in text


@pytest.mark.parametrize("late", [-900.0, 0.0, 600.0])
def test_an_offset_is_found_where_the_patterns_tell_it(late):
    time = np.arange(0, 40000, 10.0)
    voltage = 3.5 + 0.4 * np.sin(time / 1500) + 0.2 * np.sin(time / 377 + 1)
    log = logs.CyclerLog(time, voltage, np.zeros_like(time), np.zeros_like(time), None, {})
    taken = np.arange(8000, 32000, 60.0)
    patterns = made(12.5 + np.interp(taken + late, time, voltage) - 3.5)
    moving, offset = alignment.best(taken, alignment.moving(AXIS, patterns), log)
    assert 9.9 < moving.window[0] <= 13 < moving.window[1] < 15
    assert offset.told and offset.against == "voltage" and abs(offset.seconds - late) < 30
    still = alignment.best(taken, alignment.moving(AXIS, made(np.full(taken.size, 12.5))), log)
    assert still is None or not still[1].told


@pytest.mark.parametrize(
    ("names", "pattern"),
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
def test_numbers_in_names(names, pattern):
    found = survey.number_pattern(names)
    assert (found and [int(re.search(found, name)[1]) for name in names]) == pattern


def test_columns_of_spectra():
    assert survey.spectrum_glob([f"absorbance_{k}" for k in range(20)] + ["PC1", "fat"]) == "absorbance_*"
    assert survey.spectrum_glob([f"{850 + 2 * k}" for k in range(20)] + ["fat"]) == ""
    assert survey.spectrum_glob(["time/s", "Ewe/V", "I/mA"]) is None


def test_channels_at_fault_are_only_those():
    values = np.random.default_rng(0).poisson(50.0, (30, 40)).astype(float)
    dead, saturated = findings.channels_at_fault(values)
    assert not dead.size and not saturated.size
    values[:, 3], values[:, 10:12] = 0.0, 500.0
    dead, saturated = findings.channels_at_fault(values)
    assert dead.tolist() == [3, 10, 11] and saturated.tolist() == [10, 11]


@pytest.mark.parametrize("path", ["nowhere", "data/scns", "data/none.xy"])
def test_wrong_paths_are_one_line(folder, tmp_path, path):
    with pytest.raises(UserError, match="no such file or folder") as error:
        look(tmp_path / path, tmp_path)
    assert "\n" not in str(error.value)
    if path == "data/scns":
        assert "did you mean 'scans'" in str(error.value)


def formats():
    return real_file("formats")


def test_every_folder_of_real_formats_is_read_or_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    seen = 0
    for home in sorted(one for kind in ("xrd", "cycler") for one in (formats() / kind).iterdir()):
        if home.name in ("arbin_xlsx", "bdf_csv"):
            continue  # the largest: their own tests read them
        files = {str(file) for file in home.rglob("*") if file.is_file()}
        found = commands_inspect.inspect(home, tmp_path / home.name)
        assert {one["file"] for one in (*found["read"], *found["refused"])} == files
        assert all("\n" not in one["why"] and one["file"] in one["why"] for one in found["refused"])
        seen += len(files)
    assert seen > 35


def test_real_operando_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XRD_JAX_CACHE", "off")
    found, said = look(real_data() / "operando-xrd-mo", tmp_path)
    session = found["sessions"][0]
    assert session["patterns"] == 502 and session["cycler"].endswith("TD_O2.mpt") and not session["unmatched"]
    assert "missing: 5" in said and "the anode is Mo" in said and not session["offset"]["suggested"]
    mine = tmp_path / "mine.toml"
    mine.write_text(fill((tmp_path / "out" / "experiment.toml").read_text(encoding="utf-8")), encoding="utf-8")
    series = read.read_experiment(mine).series
    assert series.intensity.shape == (502, 1021) and series.axis.wavelength == 0.7107


def test_spectra_in_a_csv(tmp_path):
    path = formats().parent / "nir-tecator" / "tecator.csv"
    found, said = look(path, tmp_path)
    assert "240 spectra" in said and "absorbance_*" in said and "fat" in said
    assert not re.search("batter|cycler|voltage", said)
    text = (tmp_path / "out" / "experiment.toml").read_text(encoding="utf-8")
    assert not re.search("batter|cycler|voltage", text)
    (tmp_path / "mine.toml").write_text(fill(text), encoding="utf-8")
    series = read.read_experiment(tmp_path / "mine.toml").series
    assert series.intensity.shape == (240, 100) and "fat" in series.targets and found["read"][0]["scans"] == 240


def test_the_command(folder, tmp_path):
    command = [
        sys.executable,
        "launch.py",
        "--mode=inspect",
        f"--workdir={tmp_path / 'run'}",
        f"--json={tmp_path / 'j'}",
    ]
    done = subprocess.run([*command, f"--data={folder}"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "23 patterns" in done.stdout and json.loads((tmp_path / "j").read_text())["read"]
    done = subprocess.run([*command, "--data=none"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: none: no such file") and done.stderr.count("\n") == 1
