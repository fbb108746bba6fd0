"""Experiment files: sessions, stacks, masks, clocks, targets of any kind, splits."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.experiment_files import (
    AXIS,
    STEPPED_SESSION,
    cycler_columns,
    read_changed,
    real_data_folder,
    write_log,
)
from tests.support.paths import ROOT, real_file
from xrd_jax.config.schema import PrepareConfig
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import exposure_times, expression, paths, schema, stack
from xrd_jax.io.experiment.read import read_experiment
from xrd_jax.preprocessing.splits import split
from xrd_jax.series import lazy
from xrd_jax.series.axis import Axis, Target
from xrd_jax.series.record import PatternSeries

TOML = rf"""
version = 2
[axis]
kind = "two_theta"
wavelength = 1.5406
[[session]]
name = "slow"
c_rate = 0.2
patterns = "a/*.xy"
{STEPPED_SESSION}[[session]]
name = "fast"
c_rate = 1.0
patterns = ["b/p_1.xy", "b/*.xy"]
number = 'p_(\d+)'
counts = true
[session.time]
step = 20.0
exposure = 10.0
first = 100.0
[session.cycler]
file = "log.mpt"
tolerance = 15.0
[targets.voltage]
column = "voltage"
"""


def intensity(number, salt):
    return np.random.default_rng([number, salt]).integers(0, 90, AXIS.size)


@pytest.fixture
def at_home(monkeypatch):
    """Relative paths start beside the experiment file, wherever the user keeps real data."""
    monkeypatch.delenv(paths.DATA_ROOT, raising=False)


@pytest.fixture
def folder(tmp_path, at_home):
    """Twelve patterns in a/ and ten in b/, and one log for both."""
    for salt, (name, count) in enumerate((("a", 24), ("b", 16))):
        (tmp_path / name).mkdir()
        for number in range(1, count + 1):
            rows = [f"{x:.4f} {y}" for x, y in zip(AXIS, intensity(number, salt), strict=True)]
            (tmp_path / name / f"p_{number}.xy").write_text("\n".join(rows) + "\n")
    write_log(tmp_path, cycler_columns())
    return tmp_path


def read(folder, *changes, extra=""):
    return read_changed(folder, TOML, changes, extra)


def refused(folder, *changes, extra=""):
    with pytest.raises(UserError) as error:
        read(folder, *changes, extra=extra)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sessions_follow_each_other_on_one_axis(folder):
    experiment = read(folder, extra='[targets.rate]\nfrom = "c_rate"\n[targets.cell]\nfrom = "session"\n')
    series = experiment.series
    assert series.session_names == ("slow", "fast") and series.session.tolist() == [0] * 24 + [1] * 16
    np.testing.assert_allclose(series.time, [*(np.arange(24) * 20 + 5), *(100 + np.arange(16) * 20 + 5)])
    np.testing.assert_array_equal(series.intensity[24:], [intensity(n, 1) for n in range(1, 17)])
    assert series.is_counts and series.intensity.dtype.kind == "i" and series.targets["voltage"].unit == "V"
    rate = series.targets["rate"]
    assert rate.classes == ("0.2C", "1C") and rate.values.tolist() == series.session.tolist()
    assert series.targets["cell"].classes == ("fast", "slow")
    assert "fast: All 16 patterns were matched to the cycler log." in experiment.report
    rate = read(folder, extra='[targets.rate]\nfrom = "c_rate"\nkind = "regression"\n').series.targets["rate"]
    assert set(rate.values) == {0.2, 1.0}


def test_a_file_of_version_1_is_refused_and_the_remedy_works(folder):
    text = """
version = 1
[axis]
kind = "two_theta"
wavelength = 1.5406
[patterns]
files = "a/*.xy"
number = 'p_(\\d+)'
counts = true
[time]
step = 20.0
exposure = 10.0
first = 0.0
[cycler]
file = "log.mpt"
[targets.mode]
from = "half cycles"
"""
    (folder / "e.toml").write_text(text)
    with pytest.raises(UserError, match="version 1 is no longer read") as error:
        read_experiment(folder / "e.toml")
    assert "\n" not in str(error.value)
    for old, new in (("version = 1", "version = 2"), ("[patterns]", "[[session]]"), ("files =", "patterns ="),
                     ("[time]", "[session.time]"), ("[cycler]", "[session.cycler]")):  # fmt: skip
        assert new in str(error.value)
        text = text.replace(old, new)
    (folder / "e.toml").write_text(text)
    assert len(read_experiment(folder / "e.toml").series) == 24


def test_capacity_and_state_of_charge_follow_the_charge(folder):
    series = read(folder, extra='[targets.q]\nfrom = "capacity"\n[targets.soc]\nfrom = "soc"\n'
             '[targets.way]\nfrom = "direction"\n[targets.half_cycle]\nfrom = "half cycle"\n').series  # fmt: skip
    log = cycler_columns()
    capacity = series.targets["q"]
    np.testing.assert_allclose(capacity.values, np.interp(series.time, log["time/s"], log["(Q-Qo)/mA.h"]) / 1000)
    assert capacity.unit == "Ah"
    charge, soc = series.time <= 240, series.targets["soc"].values
    np.testing.assert_allclose(soc[charge], (series.time[charge] - 10) / 230, atol=0.05)
    np.testing.assert_allclose(soc[~charge], 1 - (series.time[~charge] - 240) / 250, atol=0.05)
    assert series.targets["way"].classes == ("charge", "discharge") and (series.targets["way"].values == ~charge).all()
    assert series.targets["half_cycle"].classes == ("1 charge", "2 discharge")
    train, test = split(series, PrepareConfig(split="half_cycle", half_cycle=0), 0)
    assert charge[test].all() and not charge[train].any()


def test_columns_of_a_log_may_be_named(folder):
    log = cycler_columns()
    rows = zip(log["time/s"] / 60, log["Ewe/V"] * 1e3, log["<I>/mA"], log["(Q-Qo)/mA.h"], strict=True)
    (folder / "own.csv").write_text("when,E1,flow,Q9\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    named = """file = "own.csv"
columns = { time = "when", voltage = "E1", current = "flow", net = "Q9" }
units = { time = "min", voltage = "mV", current = "mA", net = "mAh" }"""
    swap = ('file = "log.mpt"', named)
    both = '[targets.q]\nfrom = "capacity"\n[targets.mode]\nfrom = "half cycles"\n'
    recognised, series = read(folder, extra=both).series, read(folder, swap, swap, extra=both).series
    for name, target in recognised.targets.items():
        np.testing.assert_allclose(series.targets[name].values, target.values, rtol=1e-9, err_msg=name)
    for old, new, words in (
        ("time =", "tiem =", "[session 1.cycler] 'tiem' is no quantity of a cycler log; did you mean 'time'?"),
        ('"mV"', '"parsec"', "[session 1.cycler] 'parsec' is no unit of voltage; use one of v, volt"),
        ('"E1"', "1", "[session 1.cycler.columns] voltage must be text in quotes, not 1"),
        ('columns = { time = "when",', "columns = {", "a unit of time is given, but not its column"),
        ('"E1"', '"E9"', "own.csv: no line names the columns when, E9"),
        ("columns", 'format = "csv"\ncolumns', "format names a reader that knows its columns"),
    ):
        assert words in refused(folder, (swap[0], named.replace(old, new, 1))), old


def test_expressions_are_arithmetic_over_columns(folder):
    series = read(folder, extra='[targets.p]\nexpression = "\'Ewe/V\' * \'<I>/mA\' + voltage ** 2"\nunit = "mW"\n'
             '[targets.high]\nexpression = "voltage > 3.3"\nkind = "classification"\n').series  # fmt: skip
    log = cycler_columns()
    v, i = (np.interp(series.time, log["time/s"], log[name]) for name in ("Ewe/V", "<I>/mA"))
    np.testing.assert_allclose(series.targets["p"].values, v * i + v**2)
    np.testing.assert_array_equal(series.targets["high"].values, v > 3.3)


@given(st.floats(-5, 5), st.floats(0.1, 5))
def test_expressions_agree_with_python(a, b):
    text = "-a * 2 + b ** 2 / (1 + abs(a)) - min(a, b) + clip(a, 0, 1) + sqrt(b)"
    expected = -a * 2 + b**2 / (1 + abs(a)) - min(a, b) + min(max(a, 0), 1) + b**0.5
    tree = expression.parse(text)
    assert sorted(expression.column_names(tree)) == ["a", "b"]
    assert expression.evaluate(tree, {"a": np.array([a]), "b": np.array([b])})[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__import__('os').system('id')", "does not belong"),
        ("().__class__", "does not belong"),
        ("[1, 2]", "does not belong"),
        ("lambda: 1", "does not belong"),
        ("a if b else 1", "does not belong"),
        ("a.b", "does not belong"),
        ("eval('1')", "function 'eval' is not known"),
        ("sqt(a)", "did you mean 'sqrt'"),
        ("min(a)", "min takes 2 values"),
        ("1 +", "cannot be read"),
        ("(" * 230 + "a" + ")" * 230, "cannot be read"),
        ("-" * 490 + "[]", "does not belong"),
        ("a" * 600, "longer than 500"),
        ("f'{a}'", "does not belong"),
        ("True", "does not belong"),
    ],
)
def test_expressions_hold_nothing_else(text, words):
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        expression.parse(text)


def test_towers_of_powers_end_at_once():
    tree = expression.parse("9 ** 9 ** 9 ** 9")
    assert not np.isfinite(expression.evaluate(tree, {}))


def test_a_table_gives_targets_by_file_or_number(folder):
    rows = "".join(f"p_{n}.xy;{20 + n / 10:.1f};{'wet' if n % 2 else 'dry'}\n" for n in range(1, 25) if n != 3)
    (folder / "t.csv").write_text("file;T;state\n" + rows.replace(".", ",").replace(",xy", ".xy"))
    extra = '[targets.T]\ntable = "t.csv"\ncolumn = "T"\nunit = "°C"\n'
    extra += '[targets.state]\ntable = "t.csv"\ncolumn = "state"\nkind = "classification"\n'
    experiment = read(folder, extra=extra)
    assert len(experiment.series) == 23 + 15 and experiment.series.targets["state"].classes == ("dry", "wet")
    np.testing.assert_allclose(experiment.series.targets["T"].values[:3], [20.1, 20.2, 20.4])
    assert "slow: 1 of 24 patterns has no value of T and was left out: p_3.xy." in experiment.report
    (folder / "t.csv").write_text("number,T\n" + "".join(f"{n:03d},{n}\n" for n in range(1, 25)))
    experiment = read(folder, extra='[targets.T]\ntable = "t.csv"\ncolumn = "T"\n')
    assert experiment.series.targets["T"].values[:24].tolist() == list(range(1, 25))


def test_masks_leave_out_channels_or_bridge_them(folder):
    whole = read(folder).series
    cut = read(folder, extra="[mask]\nchannels = [[5.03, 5.07]]\n").series
    np.testing.assert_allclose(cut.axis.values, np.delete(AXIS, [2, 3]))
    np.testing.assert_array_equal(cut.intensity, np.delete(whole.intensity, [2, 3], axis=1))
    filled = read(folder, extra="[mask]\nchannels = [[5.03, 5.07], [5.13, 6.0]]\nfill = true\n").series
    bridge = whole.intensity[:, 1:2] + (whole.intensity[:, 4:5] - whole.intensity[:, 1:2]) * np.array([[1, 2]]) / 3
    np.testing.assert_allclose(filled.intensity[:, 2:4], bridge, atol=0.51)
    np.testing.assert_array_equal(filled.intensity[:, 7], whole.intensity[:, 6])
    assert "hides no channel" in refused(folder, extra="[mask]\nchannels = [[15.0, 16.0]]\n")


def test_patterns_are_excluded_by_number_or_name(folder):
    experiment = read(folder, ("counts = true", 'counts = true\nexclude = [3, "p_1?.xy"]'))
    assert len(experiment.series) == 24 - 11 + 16
    assert experiment.series.time[:3].tolist() == [5, 25, 65]
    assert "slow: 11 of 24 patterns were excluded by the experiment file." in experiment.report
    assert "is none of these patterns" in refused(folder, ("counts = true", 'counts = true\nexclude = ["q.xy"]'))


def test_splits_by_rows_count_patterns_as_listed(folder):
    change = ("counts = true", "counts = true\nexclude = [3]")
    experiment = read(folder, change, extra='[split]\nkind = "rows"\ntrain = "0-11"\ntest = "20-31"\n')
    assert experiment.overrides == {
        "prepare.split": "rows", "prepare.train_rows": "0-10", "prepare.test_rows": "19-30"
    }  # fmt: skip
    train, test = split(experiment.series, PrepareConfig(split="rows", train_rows="0-10", test_rows="19-30"), 0)
    assert experiment.series.session[test].tolist() == [0] * 4 + [1] * 8 and train.size == 11
    assert "but the last is 39" in refused(folder, extra='[split]\nkind = "rows"\ntrain = "0-11"\ntest = "20-50"\n')


MATRIX = "850,860,870,fat,name,start_time\n1,2,3,10,a,2024-01-01T00:00:10\n2,3,4,20,b,2024-01-01T00:00:00\n3,4,5,,a,\n"


def test_a_csv_matrix_is_a_series(tmp_path, at_home):
    (tmp_path / "m.csv").write_text(MATRIX)
    (tmp_path / "e.toml").write_text(
        'version = 2\n[axis]\nkind = "wavelength"\nunit = "nm"\n'
        '[[session]]\nstack = "m.csv"\n[targets.fat]\ncolumn = "fat"\n'
    )
    experiment = read_experiment(tmp_path / "e.toml")
    assert experiment.series.axis.values.tolist() == [850, 860, 870] and experiment.series.time.tolist() == [0, 1]
    assert experiment.series.targets["fat"].values.tolist() == [10, 20]
    assert any("have no value of fat" in line or "has no value of fat" in line for line in experiment.report)
    assert not any("cycler" in line or "battery" in line for line in experiment.report)
    experiment.series.save(tmp_path / "s.h5")
    assert not experiment.series.timed and not PatternSeries.load(tmp_path / "s.h5").timed


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('stack = "m.csv"', 'stack = "m.csv"\ncolumns = "x*"', "matches 0 of its columns"),
        ('stack = "m.csv"', 'stack = "n.csv"', "no such file"),
        ('stack = "m.csv"', 'stack = "m.csv"\npatterns = "*.xy"', "either patterns"),
        ('column = "fat"', 'column = "fet"', "did you mean 'fat'"),
        ('column = "fat"', 'from = "soc"', "needs a cycler log"),
        ('column = "fat"', 'column = "name"', "holds words"),
        ("[targets.fat]", "[session.time]\nfiles = true\nexposure=1.0\n[targets.fat]", "row 2: states no time"),
        ("[targets.fat]", "[split]\nkind = \"half_cycle\"\n[targets.fat]", "needs [targets.half_cycle]"),
        ("[targets.fat]", "[split]\nkind = \"rowss\"\n[targets.fat]", "did you mean 'rows'"),
        ("[targets.fat]", "[split]\nkind = \"rows\"\n[targets.fat]", "[split] train is missing"),
        ("[targets.fat]", "[split]\nkind = \"cycle\"\nseed = 1\n[targets.fat]", "seed does not go with kind"),
        ("[targets.fat]", "[split]\nseed = 1\n[targets.fat]", "[split] kind is missing"),
        ('stack = "m.csv"', 'stack = "m.csv"\nexclude = [1.5]', "exclude 1 must be text in quotes or a whole number"),
        ("[[session]]", "[patterns]\nfiles='a'\n[[session]]", "stands under a session"),
    ],
)  # fmt: skip
def test_mistakes_about_stacks_are_named(tmp_path, at_home, old, new, words):
    (tmp_path / "m.csv").write_text(MATRIX)
    text = 'version = 2\n[axis]\nkind = "wavelength"\nunit = "nm"\n'
    text += '[[session]]\nstack = "m.csv"\n[targets.fat]\ncolumn = "fat"\n'
    (tmp_path / "e.toml").write_text(text.replace(old, new))
    with pytest.raises(UserError) as error:
        read_experiment(tmp_path / "e.toml")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_saved_series_is_a_stack(tmp_path, at_home):
    saved = PatternSeries(
        intensity=np.random.default_rng(0).poisson(50, (20, 8)),
        axis=Axis(AXIS, "two_theta", 1.54),
        time=np.arange(20) * 5.0,
        targets={"voltage": Target(np.linspace(3, 4, 20), "regression", "V")},
        cycle=np.zeros(20, int),
        session=np.zeros(20, int),
    )
    saved.save(tmp_path / "s.h5")
    (tmp_path / "e.toml").write_text('version = 2\n[[session]]\nstack = "s.h5"\n[session.time]\nfiles = true\n'
                                     'exposure = 0.0\n[targets.v]\ncolumn = "voltage"\n')  # fmt: skip
    again = read_experiment(tmp_path / "e.toml").series
    np.testing.assert_array_equal(again.intensity, saved.intensity)
    np.testing.assert_allclose(again.axis.values, AXIS)
    np.testing.assert_array_equal(again.time, saved.time)
    assert again.timed and PatternSeries.load(tmp_path / "s.h5").timed
    np.testing.assert_array_equal(again.targets["v"].values, saved.targets["voltage"].values)
    assert again.axis.kind == "two_theta" and again.axis.wavelength == 1.54
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("x", (1 << 20, 1 << 14), np.float64, chunks=(64, 64), compression="gzip")
    (tmp_path / "e.toml").write_text(
        'version = 2\n[[session]]\nstack = "bomb.h5"\ndataset = "/x"\n[targets.v]\ncolumn = "v"\n'
    )
    with pytest.raises(UserError, match="stores next to none"):
        read_experiment(tmp_path / "e.toml")


STACK = """
version = 2
[axis]
kind = "two_theta"
wavelength = 1.54
[mask]
channels = [[5.03, 5.05]]
[[session]]
stack = "s.h5"
exclude = [4]
counts = true
[session.time]
files = true
exposure = 0.0
[targets.v]
column = "voltage"
"""


def write_stack(folder, dtype=np.uint16, unit="deg", scale=1.0, name="two_theta", falling=False, time=None):
    """Forty patterns of eight channels as another program may write them, some of them out of order in time."""
    counts = np.random.default_rng(0).poisson(50, (40, AXIS.size))
    way = slice(None, None, -1 if falling else 1)
    with h5py.File(folder / "s.h5", "w") as file:
        group = file.create_group("a/b")
        group.attrs.update(signal="I", axes=["time", name])
        group["I"] = counts[:, way].astype(dtype)
        group[name] = AXIS[way] / scale
        group[name].attrs["units"] = unit
        group["time"] = np.roll(np.arange(40) * 5.0, 7) if time is None else time
        group["voltage"] = np.linspace(3, 4, 40)
        file.attrs["default"], file["a"].attrs["default"] = "a", "b"
    return counts


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("falling", [False, True])
def test_a_large_stack_stays_on_disk_and_gives_what_a_small_one_gives(tmp_path, at_home, monkeypatch, dtype, falling):
    write_stack(tmp_path, dtype, falling=falling)
    (tmp_path / "e.toml").write_text(STACK)
    small = read_experiment(tmp_path / "e.toml").series
    monkeypatch.setattr(lazy, "MAX_BYTES_IN_MEMORY", 100)
    read, gather = [], lazy.gather_rows
    monkeypatch.setattr(lazy, "gather_rows", lambda item, where: read.append(where.size) or gather(item, where))
    large = read_experiment(tmp_path / "e.toml").series
    assert isinstance(small.intensity, np.ndarray) and isinstance(large.intensity, lazy.LazyRows)
    assert not read if dtype == np.uint16 else max(read) <= 40  # unsigned numbers need no look before they are used
    read.clear()
    np.testing.assert_array_equal(large.intensity[np.array([3, 1])], small.intensity[[3, 1]])
    np.testing.assert_array_equal(large.subset(np.arange(5, 8)).intensity[:], small.intensity[5:8])
    assert read == [2, 3]
    np.testing.assert_array_equal(np.asarray(large.intensity), small.intensity)
    for name in ("time", "cycle", "session"):
        np.testing.assert_array_equal(getattr(large, name), getattr(small, name))
    np.testing.assert_array_equal(large.axis.values, small.axis.values)
    np.testing.assert_array_equal(large.targets["v"].values, small.targets["v"].values)
    assert len(large) == 39 and large.is_counts and large.axis.values.size < AXIS.size


def test_a_large_stack_is_checked_piece_by_piece(tmp_path, at_home, monkeypatch):
    monkeypatch.setattr(lazy, "MAX_BYTES_IN_MEMORY", 100)
    counts = write_stack(tmp_path, np.float32)
    for value, words in (
        (np.nan, "pattern 9 holds NaN"),
        (-1.0, "row 9: channel 3 is -1"),
        (0.5, "row 9: channel 3 holds 0.5"),
    ):
        with h5py.File(tmp_path / "s.h5", "r+") as file:
            file["a/b/I"][9] = counts[9]
            file["a/b/I"][9, 2] = value
        (tmp_path / "e.toml").write_text(STACK)
        with pytest.raises(UserError, match=words):
            read_experiment(tmp_path / "e.toml")
    write_stack(tmp_path)
    for old, new, words in (
        ("[mask]", "[mask]\nfill = true", "fill = true changes patterns"),
        (
            "[targets.v]",
            '[[session]]\nname = "x"\nstack = "s.h5"\n[session.time]\nfiles = true\nexposure = 0.0\n[targets.v]',
            "stands alone",
        ),
    ):
        (tmp_path / "e.toml").write_text(STACK.replace("[[session]]\n", '[[session]]\nname = "s"\n').replace(old, new))
        with pytest.raises(UserError, match=words):
            read_experiment(tmp_path / "e.toml")


def test_positions_of_a_stack_are_scaled_once(tmp_path, at_home):
    plain = STACK.split("[mask]")[0] + "[[session]]" + STACK.split("[[session]]")[1]
    for name, unit, scale, text in (
        ("two_theta", "rad", np.degrees(1.0), plain),
        ("two_theta", "rad", np.degrees(1.0), plain.replace('"two_theta"', '"two_theta"\nunit = "rad"')),
        ("q", "1/nm", 0.1, plain.replace('"two_theta"', '"q"\nunit = "1/nm"')),
        ("q", "1/nm", 0.1, plain.replace('kind = "two_theta"\n', "")),
        ("x", "", 0.1, plain.replace('"two_theta"', '"q"\nunit = "1/nm"')),  # only the experiment file says it
    ):
        write_stack(tmp_path, unit=unit, scale=scale, name=name)
        (tmp_path / "e.toml").write_text(text)
        axis = read_experiment(tmp_path / "e.toml").series.axis
        assert axis.kind == ("two_theta" if name == "two_theta" else "q")
        np.testing.assert_allclose(axis.values, AXIS, rtol=1e-12)
    write_stack(tmp_path, unit="1/nm", name="q")
    (tmp_path / "e.toml").write_text(plain)
    with pytest.raises(UserError, match="kind = 'two_theta', but row 0 states q"):
        read_experiment(tmp_path / "e.toml")
    write_stack(tmp_path)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["a/wavelength"] = 0.71
        file["a/wavelength"].attrs["units"] = "angstrom"
    experiment = read_experiment(tmp_path / "e.toml")
    assert experiment.series.axis.wavelength == 1.54 and any(
        "1.54 Å is given, but the files state 0.71" in r for r in experiment.report
    )


UTC, PARIS = datetime.UTC, datetime.timezone(datetime.timedelta(hours=1))


def timestamps(zone, **fields):
    begin = datetime.datetime(2024, 2, 28, 10, 0, 0, tzinfo=zone)
    return [stack.Timestamp(begin + datetime.timedelta(seconds=60 * k), **fields) for k in range(3)]


def clocked(stamps, log_start, **fields):
    """Mid-exposures of three patterns for a log that starts at `log_start`."""
    time, cycler = schema.TimeTable(files=True, **fields), schema.CyclerTable("log.mpt")
    session = schema.SessionTable("s", "*", time=time, cycler=cycler, label="session 1")
    experiment = schema.ExperimentFile(2, {}, sessions=(session,), path=Path("e.toml"))
    rows = stack.Stack(["a", "b", "c"], AXIS, np.zeros((3, AXIS.size)), timestamps=stamps)
    return exposure_times.mid_exposures(experiment, session, Path(), rows, log_start, [])


def test_clocks_meet_by_zone():
    start = datetime.datetime(2024, 2, 28, 9, 0, 0, tzinfo=UTC)
    np.testing.assert_allclose(clocked(timestamps(PARIS, exposure=20.0), start), [10, 70, 130])
    np.testing.assert_allclose(clocked(timestamps(None, exposure=20.0), start, zone=PARIS), [10, 70, 130])
    naive = start.replace(tzinfo=None)
    without_zone, in_paris = timestamps(None, exposure=20.0), timestamps(PARIS, exposure=20.0)
    np.testing.assert_allclose(clocked(without_zone, naive, offset=5.0), np.array([10, 70, 130]) + 3605)
    np.testing.assert_allclose(clocked(in_paris, naive, relative=True, first=7.0), [17, 77, 137])
    for stamps, log in ((timestamps(None, exposure=1.0), start), (timestamps(UTC, exposure=1.0), naive)):
        with pytest.raises(UserError, match=r"has no time zone and the other clock has one; give \["):
            clocked(stamps, log)
    with pytest.raises(UserError, match=r"does not say when it started; give \[session.cycler\] start"):
        clocked(timestamps(UTC, exposure=1.0), None)


def test_mid_exposure_is_between_start_and_end():
    start = datetime.datetime(2024, 2, 28, 10, tzinfo=UTC)
    begun = timestamps(UTC)
    ended = [stack.Timestamp(m.start, m.start + datetime.timedelta(seconds=30)) for m in begun]
    np.testing.assert_allclose(clocked(ended, start), [15, 75, 135])
    only_end = [stack.Timestamp(None, m.end, None, 30.0) for m in ended]
    np.testing.assert_allclose(clocked(only_end, start), [15, 75, 135])
    np.testing.assert_allclose(clocked(begun, start, exposure=30.0), [15, 75, 135])
    with pytest.raises(UserError, match="states no exposure"):
        clocked(begun, start)


def test_sessions_that_do_not_fit_are_named(folder):
    for path in (folder / "b").iterdir():
        path.write_text(
            "\n".join(f"{x + 1:.4f} {y}" for x, y in zip(AXIS, intensity(int(path.stem[2:]), 1), strict=True))
        )
    assert "'fast' has 8 channels of two_theta from 6 to 6.14" in refused(folder)
    assert "name 'slow' is taken" in refused(folder, ('name = "fast"', 'name = "slow"'))
    assert "needs c_rate in every [[session]]" in refused(
        folder, ("c_rate = 1.0\n", ""), extra='[targets.r]\nfrom = "c_rate"\n'
    )


def tecator_root():
    return real_file("nir-tecator/tecator.csv").parents[1]


def test_tecator_is_read_as_its_makers_describe_it():
    experiment = read_experiment(ROOT / "experiments" / "nir_tecator.toml", tecator_root())
    series = experiment.series
    assert series.intensity.shape == (240, 100) and series.axis.kind == "wavelength"
    assert series.axis.values[[0, -1]].tolist() == [850.0, 1050.0]
    fat, overrides = series.targets["fat"], experiment.overrides
    assert series.intensity[0, 0] == 2.61776 and fat.values[0] == 22.5 and fat.unit == "%"
    assert overrides["prepare.train_rows"] == "0-171" and overrides["prepare.test_rows"] == "172-214"
    assert not any(word in line for line in experiment.report for word in ("cycler", "cell", "voltage", "battery"))


def test_the_shipped_operando_file_gives_the_series_it_always_gave():
    series = read_experiment(ROOT / "experiments" / "operando_xrd_mo.toml", real_data_folder()).series
    as_before = dataclasses.replace(series, targets={name: series.targets[name] for name in ("voltage", "mode")})
    assert as_before.fingerprint() == "59737cfabab4a0b40f0c127920fee5d253f3835dc5fd49aefd3f86e3e049355e"
    capacity = series.targets["capacity"].values
    assert series.targets["half_cycle"].classes == ("1 charge", "2 discharge", "3 charge") and capacity.max() > 1.0
    assert series.targets["soc"].values.min() < 0.01 and series.targets["soc"].values.max() > 0.99


ALTERNATING = """
version = 2
[axis]
kind = "q"
unit = "1/angstrom"
KEEP
[[session]]
name = "cell"
patterns = "*.xy"
place = 'pos(\\d)'
number = 'scan_(\\d+)'
[session.time]
step = 10.0
exposure = 0.0
first = 0.0
[targets.voltage]
table = "t.csv"
column = "voltage"
[split]
kind = "column"
table = "t.csv"
column = "Set"
"""


@pytest.fixture
def alternating(tmp_path, at_home):
    """Forty patterns of two places in turn, on q without a wavelength, and a table that says what each is for."""
    rows = ["file,voltage,Set"]
    for number in range(40):
        name = f"pos{number % 2 + 1}_scan_{number // 2:02d}.xy"
        text = "\n".join(f"{x:.4f} {y}" for x, y in zip(AXIS, intensity(number, 3), strict=True))
        (tmp_path / name).write_text(text + "\n")
        rows.append(f"{name},{3 + number / 100},{('Train', 'Train', 'Validate', 'Test')[number // 2 % 4]}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def read_alternating(folder, keep="", **changes):
    text = ALTERNATING.replace("KEEP", keep)
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "e.toml").write_text(text)
    return read_experiment(folder / "e.toml")


def test_places_in_the_names_of_files_are_sessions(alternating):
    series = read_alternating(alternating).series
    assert series.session_names == ("cell 1", "cell 2") and series.axis.wavelength is None
    np.testing.assert_array_equal(np.bincount(series.session), [20, 20])
    np.testing.assert_allclose(series.time[:20], series.time[20:])
    np.testing.assert_allclose(series.targets["voltage"].values[:20], 3 + np.arange(0, 40, 2) / 100)
    with pytest.raises(UserError, match=r"place = 'spot\(\\d\)' finds nothing in pos1_scan_00.xy"):
        read_alternating(alternating, **{"'pos(": "'spot("})


def test_a_column_says_what_is_held_out(alternating):
    experiment = read_alternating(alternating)
    overrides = experiment.overrides
    assert overrides["prepare.split"] == "rows"
    config = PrepareConfig(**{key.partition(".")[2]: value for key, value in overrides.items()})
    train, test = split(experiment.series, config, 0)
    step = np.arange(40) % 20 % 4
    np.testing.assert_array_equal(train, np.flatnonzero(step < 2))
    np.testing.assert_array_equal(test, np.flatnonzero(step == 3))
    assert any("10 patterns of column Set are neither learnt from nor tested: Validate" in line
               for line in experiment.report)  # fmt: skip
    both = read_alternating(alternating, **{'column = "Set"': 'column = "Set"\ntrain = "Train, Validate"'})
    assert len(split(both.series, PrepareConfig(**{
        key.partition(".")[2]: value for key, value in both.overrides.items()
    }), 0)[0]) == 30  # fmt: skip
    with pytest.raises(UserError, match='it holds Test, Train, Validate: write such as test = "Test"'):
        read_alternating(alternating, **{'column = "Set"': 'column = "Set"\ntest = "none"'})


def test_a_range_of_the_axis_is_kept(alternating):
    series = read_alternating(alternating, "keep = [5.04, 5.10]").series
    np.testing.assert_allclose(series.axis.values, AXIS[(AXIS > 5.035) & (AXIS < 5.105)])
    assert series.intensity.shape == (40, series.axis.values.size)
    with pytest.raises(UserError, match=r"keep = \[9, 10\] leaves 0 channels"):
        read_alternating(alternating, "keep = [9.0, 10.0]")
