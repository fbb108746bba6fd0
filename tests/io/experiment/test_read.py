"""From experiment file to PatternSeries, on made-up folders and, where it is at hand, on real data."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.experiment_files import AXIS, STEPPED_SESSION, cycler_columns, real_data_folder, write_log
from tests.support.paths import ROOT
from xrd_jax.config.row_ranges import parse_row_ranges
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import clock, parse, paths
from xrd_jax.io.experiment.read import read_experiment
from xrd_jax.series.record import PatternSeries

TOML = rf"""
version = 2
title = "made up"
[axis]
kind = "two_theta"
wavelength = 1.5406
[[session]]
patterns = "patterns/p_*.xy"
{STEPPED_SESSION}[targets.voltage]
column = "Ewe/V"
[targets.mode]
from = "half cycles"
[windows]
peak = [5.0, 5.04]
[reflections]
"(111)" = 5.02
[set]
split = "block"
"""


def intensity(number):
    return np.random.default_rng(number).integers(0, 90, AXIS.size)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Patterns 1 to 24 without number 5, and a log."""
    monkeypatch.delenv(paths.DATA_ROOT, raising=False)
    (tmp_path / "patterns").mkdir()
    for number in [*range(1, 5), *range(6, 25)]:
        rows = [f"{x:.4f} {y}" for x, y in zip(AXIS, intensity(number), strict=True)]
        (tmp_path / "patterns" / f"p_{number}.xy").write_text("\n".join(rows) + "\n")
    write_log(tmp_path, cycler_columns())
    return tmp_path


def read(folder, changes=(), **options):
    text = TOML
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "e.toml").write_text(text, encoding="utf-8")
    return read_experiment(folder / "e.toml", **options)


def refused(folder, *changes):
    with pytest.raises(UserError) as error:
        read(folder, changes)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_end_to_end(folder):
    experiment = read(folder)
    numbers = np.array([*range(1, 5), *range(6, 25)])
    series = experiment.series
    np.testing.assert_allclose(series.time, (numbers - 1) * 20 + 5)
    np.testing.assert_array_equal(series.intensity, [intensity(n) for n in numbers])
    assert series.intensity.dtype.kind == "i" and series.is_counts and series.session_names == ("made up",)
    columns = cycler_columns()
    voltage, mode = series.targets["voltage"], series.targets["mode"]
    np.testing.assert_allclose(voltage.values, np.interp(series.time, columns["time/s"], columns["Ewe/V"]))
    assert voltage.unit == "V" and mode.classes[2] == "discharge 1st half"
    modes = np.where(series.time < 240, 0 + (series.time >= 125), 2 + (series.time >= 365))
    np.testing.assert_array_equal(mode.values, modes)
    assert set(series.cycle) == {0}
    assert series.windows == {"peak": (5.0, 5.04)} and series.reflections == {"(111)": 5.02}
    assert experiment.overrides == {"split": "block"}
    assert "Missing pattern numbers: 5; times follow the numbers." in experiment.report
    assert "All 23 patterns were matched to the cycler log." in experiment.report
    series.save(folder / "s.h5")
    assert PatternSeries.load(folder / "s.h5").fingerprint() == series.fingerprint()


def test_patterns_outside_the_log_are_left_out_and_named(folder):
    experiment = read(folder, [("first = 0.0", "first = 50.0")])
    assert len(experiment.series) == 21
    assert "2 of 23 patterns lie outside the cycler log and were left out: p_23.xy, p_24.xy." in experiment.report
    experiment = read(folder, [("exposure = 10.0", "exposure = 10.0\noffset = 30.0")])
    assert "1 of 23 patterns lies outside the cycler log and was left out: p_24.xy." in experiment.report


def test_patterns_in_gaps_and_rests_are_left_out(folder):
    columns = cycler_columns()
    rows = np.delete(np.arange(50), [5, 6])
    write_log(folder, {name: values[rows] for name, values in columns.items()})
    words = "2 of 23 patterns lie in gaps of the cycler log longer than 15 s and were left out: p_3.xy, p_4.xy."
    assert words in read(folder).report
    columns["<I>/mA"][20:26] = 0
    write_log(folder, columns)
    experiment = read(folder)
    assert any("in rests" in line for line in experiment.report)
    assert not ((experiment.series.time > 190) & (experiment.series.time < 250)).any()


def test_units_become_those_of_the_series(folder):
    changes = [('kind = "two_theta"', 'kind = "q"\nunit = "1/nm"')]
    experiment = read(folder, changes)
    np.testing.assert_allclose(experiment.series.axis.values, AXIS / 10)
    np.testing.assert_allclose(experiment.series.windows["peak"], (0.5, 0.504))
    np.testing.assert_allclose(experiment.series.reflections["(111)"], 0.502)
    assert experiment.series.axis.kind == "q" and experiment.series.axis.wavelength == 1.5406


def test_columns_may_be_classes(folder):
    target = read(folder, [('column = "Ewe/V"', 'column = "half cycle"\nkind = "classification"')]).series.targets[
        "voltage"
    ]
    assert target.classes == ("0", "1") and target.kind == "classification" and target.values.dtype == np.int32


def test_positive_current_may_mean_discharge(folder):
    experiment = read(folder, [('file = "log.mpt"', 'file = "log.mpt"\npositive_current = "discharge"')])
    assert experiment.series.targets["mode"].values[0] == 2


@pytest.mark.parametrize(
    ("start", "log_start"),
    [
        ("{0}", ""),
        ("2024-02-28T10:{1:02d}:{2:02d}.600", ""),
        ("2024-02-28T10:{1:02d}:{2:02d}.600+01:00", 'start = "2024-02-28T09:27:22.600Z"'),
        ("2024-02-28T10:{1:02d}:{2:02d}.600+01:00", "start = 2024-02-28T10:27:22.600+01:00"),
    ],
)
def test_start_times_come_from_a_table(folder, start, log_start):
    rows = ["file,start_time"]
    for number in range(1, 25):
        seconds = (number - 1) * 20
        since_hour = 27 * 60 + 22 + seconds
        rows.append(f"p_{number}.xy," + start.format(seconds, since_hour // 60, since_hour % 60))
    (folder / "t.csv").write_text("\n".join(rows), encoding="utf-8")
    changes = [("step = 20.0", 'table = "t.csv"'), ("first = 0.0\n", ""), ("file =", f"{log_start}\nfile =")]
    np.testing.assert_allclose(read(folder, changes).series.time, read(folder).series.time, atol=1e-6)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("file,start_time\np_1.xy,0\n", "no row for p_2.xy, p_3.xy, p_4.xy and 19 more"),
        ("name,start\np_1.xy,0\n", "needs a column 'file' or 'number' that says which pattern a row belongs to"),
        ("file,start_time\np_1.xy,soon\n", "neither seconds nor a date"),
        ("file,start_time\np_1.xy,0\np_1.xy,0\n", "has a row already"),
        ("file,start_time\np_1.xy,2024-02-28T10:27:22+01:00\n", "the log has no time zone"),
    ],
)
def test_tables_of_start_times_are_checked(folder, table, words):
    if "19 more" not in words:
        table += "".join(f"p_{n}.xy,{n}\n" for n in range(2, 25))
    (folder / "t.csv").write_text(table)
    assert words in refused(folder, ("step = 20.0", 'table = "t.csv"'), ("first = 0.0\n", ""))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("version = 2", "version = 3", "version = 3 is not known"),
        ("version = 2", "version = 2\n[patterns]", "[patterns] stands under a session; write [[session]]"),
        ("version = 2", "version = 2\n[time]", "[time] stands under a session; write [session.time]"),
        ("version = 2", "version = 1", "version 1 is no longer read; write version = 2"),
        ("version = 2", "", "version is missing; add it"),
        ("version = 2", "version = = 2", "not a TOML file"),
        ("exposure = 10.0", "exposur = 10.0", "[session 1.time] unknown key 'exposur'; did you mean 'exposure'?"),
        ("wavelength = 1.5406", "", "[axis] wavelength is missing; give it in Å"),
        ("wavelength", "wavelenght", "unknown key 'wavelenght'; did you mean 'wavelength'?"),
        ("1.5406", "1.5406e-10", "give it in Å"),
        ("1.5406", '"Cu"', "wavelength must be a number"),
        ("1.5406", "nan", "wavelength must be a number"),
        ('"two_theta"', '"twotheta"', "did you mean 'two_theta'?"),
        ('"two_theta"', '"q"', "[axis] unit is missing"),
        ('"two_theta"', '"two_theta"\nunit = "grad"', "did you mean 'rad'?"),
        ("[set]", "[sett]", "unknown key 'sett'; did you mean 'set'?"),
        ("counts = true", 'counts = "yes"', "counts must be true or false"),
        ("counts = true", "counts = true\nallow_negative = true", "exclude each other"),
        ("step = 20.0", "step = true", "step must be a number"),
        ("exposure = 10.0", "", "[session 1.time] exposure is missing"),
        ("first = 0.0", "", "[session 1.time] first is missing"),
        ("first = 0.0", "first = 0.0\nrelative = true", "relative goes with files = true"),
        ("step = 20.0", "step = 5.0", "exposure between 0 and step"),
        ("step = 20.0", "", "either step"),
        ("step = 20.0", 'step = 20.0\ntable = "t.csv"', "either step"),
        ("first = 0.0", "first = 5000.0", "they do not overlap"),
        ("'p_(\\d+)'", "'p_('", "not a regular expression"),
        ("'p_(\\d+)'", "'q_(\\d+)'", "finds no number"),
        ("'p_(\\d+)'", "'p_(\\d)'", "has number 1 like p_1.xy"),
        ('"patterns/p_*.xy"', '"patterns/q_*.xy"', "matches no file"),
        ('"log.mpt"', '"lag.mpt"', "[session 1.cycler] file = 'lag.mpt' matches no file"),
        ('"log.mpt"', '["log.mpt", "patterns"]', "file = 'patterns' matches no file"),
        ('"log.mpt"', '"log.mpt"\nformat = "biologic"', "did you mean 'biologic-mpt'?"),
        ("tolerance = 15.0", "tolerance = 0", "tolerance must be above 0"),
        ('"Ewe/V"', '"ewe/V"', "column 'ewe/V' is not in log.mpt; did you mean 'Ewe/V'?"),
        ('"Ewe/V"', '"mode"', "is 1 in every pattern; there is nothing to learn"),
        ('"Ewe/V"', '"mode"\nkind = "classification"', "is '1' in every pattern"),
        ('"Ewe/V"', '"Ewe/V"\nkind = "classification"', "which is no class"),
        ('"half cycles"', '"cycles"', "[targets.mode] from = 'cycles' is not known; did you mean 'half cycles'?"),
        ('"half cycles"', '"half cycles"\nkind = "regression"', "kind must be classification"),
        ("[5.0, 5.04]", "[5.04, 5.0]", "must be [low, high]"),
        ("[5.0, 5.04]", "[5.0]", "[windows] peak must be a list of 2 values, not [5.0]"),
        ("[5.0, 5.04]", "[25.0, 25.04]", "lies off the axis"),
        ('"(111)" = 5.02', '"(111)" = "x"', "(111) must be a number"),
    ],
)
def test_mistakes_in_the_file_are_named(folder, old, new, words):
    line = refused(folder, (old, new))
    assert words in line and any(name in line for name in ("e.toml", "p_", "log.mpt", "lag.mpt"))


@pytest.mark.parametrize(
    ("row", "line", "words"),
    [
        (3, "5.0650 4", "p_7.xy: channel 4 is at 5.065 where p_1.xy has 5.06"),
        (3, "5.0600 4.5", "p_7.xy: channel 4 holds 4.5, which is no photon count"),
        (3, "5.0600 -4", "p_7.xy: row 4: negative intensity"),
        (3, "5.0600 nan", "p_7.xy: row 4: the intensity is NaN"),
        (3, "", "p_7.xy: has 7 channels where p_1.xy has 8"),
    ],
)
def test_patterns_that_do_not_fit_are_named(folder, row, line, words):
    path = folder / "patterns" / "p_7.xy"
    rows = path.read_text().splitlines()
    rows[row] = line
    path.write_text("\n".join(rows) + "\n")
    assert words in refused(folder)


def test_copies_are_named(folder):
    (folder / "patterns" / "p_7.xy").write_bytes((folder / "patterns" / "p_3.xy").read_bytes())
    assert "p_7.xy: holds the same intensities as p_3.xy" in refused(folder)


def test_one_class_only_is_refused(folder):
    for number in range(6, 25):
        (folder / "patterns" / f"p_{number}.xy").unlink()
    assert "[targets.mode] is 'charge 1st half' in every pattern" in refused(folder)


def test_a_wavelength_of_another_anode_is_doubted(folder):
    for path in (folder / "patterns").iterdir():
        path.write_text('\'Anode: "Mo"\n' + path.read_text())
    assert any("name a Mo anode" in line for line in read(folder).report)


def test_the_root_is_argument_then_environment_then_own_folder(folder, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "e.toml").write_text(TOML)
    with pytest.raises(UserError, match="matches no file"):
        read(folder, data_root=elsewhere)
    monkeypatch.setenv("XRD_JAX_DATA", str(folder))
    assert len(read_experiment(elsewhere / "e.toml").series) == 23
    with pytest.raises(UserError, match="no such folder"):
        read(folder, data_root=folder / "none")


def test_absolute_paths_are_taken_as_they_are(folder, tmp_path_factory):
    (folder / "e.toml").write_text(
        TOML.replace('"patterns/', f'"{folder}/patterns/').replace('"log.mpt"', f'"{folder}/log.mpt"')
    )
    assert len(read_experiment(folder / "e.toml", tmp_path_factory.mktemp("elsewhere")).series) == 23


def test_links_and_relative_paths_are_followed_out_of_the_folder(folder, tmp_path_factory):
    """What the experiment file itself names is meant, as beamlines keep raw data elsewhere; pipes are never opened."""
    outside = tmp_path_factory.mktemp("outside")
    (folder / "patterns" / "p_7.xy").rename(outside / "p_7.xy")
    (folder / "patterns" / "p_7.xy").symlink_to(outside / "p_7.xy")
    (folder / "log.mpt").rename(outside / "log.mpt")
    assert len(read(folder, [('"log.mpt"', f'"../{outside.name}/log.mpt"')]).series) == 23
    os.mkfifo(folder / "pipe.mpt")
    assert "matches no file" in refused(folder, ('"log.mpt"', '"pipe.mpt"'))


def parts_of_log(folder, hole=0):
    """Write the log as a test and its continuation, the clock and the charge of which begin anew at 250 s."""
    columns = cycler_columns()
    second = np.arange(50) >= 25 + hole
    for name, rows in (("a", np.arange(50) < 25), ("b", second)):
        part = {key: values[rows] for key, values in columns.items()}
        begin = part["time/s"][0]
        (folder / name).mkdir()
        part["time/s"] = part["time/s"] - begin
        write_log(folder / name, part)
        text = (folder / name / "log.mpt").read_text(encoding="latin-1")
        start = np.datetime64("2024-02-28T10:27:22.600") + np.timedelta64(int(begin), "s")
        stated = f"{start.item():%m/%d/%Y %H:%M:%S}.600"
        (folder / name / "log.mpt").write_text(text.replace("02/28/2024 10:27:22.600", stated), encoding="latin-1")


@pytest.mark.parametrize("file", ['["b/log.mpt", "a/log.mpt"]', '"?/log.mpt"'])
def test_several_logs_are_joined_on_the_absolute_clock(folder, file):
    whole = read(folder).series
    parts_of_log(folder)
    joined = read(folder, [('"log.mpt"', file)]).series
    np.testing.assert_allclose(joined.targets["voltage"].values, whole.targets["voltage"].values)
    np.testing.assert_array_equal(joined.targets["mode"].values, whole.targets["mode"].values)
    np.testing.assert_array_equal(joined.time, whole.time)


def test_holes_between_logs_are_kept(folder):
    parts_of_log(folder, hole=6)
    report = "\n".join(read(folder, [('"log.mpt"', '"?/log.mpt"')]).report)
    assert "4 of 23 patterns lie in gaps of the cycler log" in report


def test_logs_that_overlap_are_refused(folder):
    parts_of_log(folder)
    (folder / "b" / "log.mpt").write_bytes((folder / "log.mpt").read_bytes())
    assert "begins before" in refused(folder, ('"log.mpt"', '"?/log.mpt"'))


def test_missing_experiment_file():
    with pytest.raises(UserError, match="no such experiment file"):
        parse.parse_experiment_file(Path("none.toml"))


def test_missing_numbers_are_spans():
    assert clock.missing_numbers(np.array([9, 1, 2, 4, 10**15])) == ["3", "5-8", "10-999999999999999"]


def test_real_operando_data_agree_with_labels_made_beside_them():
    root, begin = real_data_folder(), sum(os.times()[:4])
    experiment = read_experiment(ROOT / "experiments" / "operando_xrd_mo.toml", root)
    seconds = sum(os.times()[:4]) - begin  # of this process and of those that it began
    series = experiment.series
    with (root / "operando-xrd-mo" / "labels_derived_assumed_step.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert series.intensity.shape == (502, 1021) and series.provenance["files"] == [row["file"] for row in rows]
    np.testing.assert_allclose(series.time, [float(row["assumed_mid_time_s"]) for row in rows], atol=0.5)
    np.testing.assert_allclose(series.targets["voltage"].values, [float(row["Ewe_V"]) for row in rows], atol=1e-3)
    assert [int(mode) < 2 for mode in series.targets["mode"].values] == [row["state"] == "charge" for row in rows]
    assert series.cycle.tolist() == [int(row["half_cycle"]) // 4 for row in rows]
    assert "Missing pattern numbers: 5; times follow the numbers." in experiment.report
    assert seconds < 10  # a busy machine takes longer, not more of them


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("step = 20.0", "step = 1" + 400 * "0", "step must be a number"),
        ("step = 20.0", "step = 1" + 5000 * "0", "not a TOML file"),
        ("first = 0.0", "first = 0.0\nfirst_number = 9223372036854775808", "first_number must be a whole number"),
        ("peak = [5.0, 5.04]", "peak = " + 3000 * "[" + 3000 * "]", "not a TOML file"),
        ("patterns/p_*.xy", "/**/**/**/p_*.xy", "may stand once"),
    ],
)
def test_numbers_and_nests_beyond_measure_are_one_line(folder, old, new, words):
    assert words in refused(folder, (old, new))


def test_a_list_of_rows_beyond_measure_is_refused():
    with pytest.raises(UserError, match="longer than"):
        parse_row_ranges(200_000 * "1," + "2", "prepare.train_rows")


def test_an_experiment_file_that_is_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "e.toml")
    with pytest.raises(UserError, match="is no file but"):
        read_experiment(tmp_path / "e.toml")
