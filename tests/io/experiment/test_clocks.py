"""Patterns and log on one clock: over summer time, through pauses, by tables of scan numbers."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np
import pytest

from tests.support.cycler_files import write_table
from tests.support.experiment_files import read_changed
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import paths

BERLIN, UTC = zoneinfo.ZoneInfo("Europe/Berlin"), datetime.UTC
TOML = r"""
version = 2
[axis]
kind = "two_theta"
wavelength = 1.5406
[[session]]
name = "a"
patterns = "p_*.xy"
number = 'p_(\d+)'
[session.time]
files = true
exposure = 60.0
[session.cycler]
file = "log.csv"
tolerance = 120.0
[targets.voltage]
column = "voltage"
"""


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    """Relative paths start beside the experiment file, wherever the user keeps real data."""
    monkeypatch.delenv(paths.DATA_ROOT, raising=False)


def write_patterns(folder, dates):
    """Write a pattern for each date, which it states; None states none."""
    rng = np.random.default_rng(0)
    for number, date in enumerate(dates, 1):
        head = "" if date is None else f"# Start time: {date}\n"
        rows = "\n".join(f"{10 + x / 2:.2f} {y}" for x, y in enumerate(rng.integers(0, 90, 40)))
        (folder / f"p_{number:03}.xy").write_text(f"{head}{rows}\n")


def write_log(folder, time, **columns):
    """Write a log whose voltage is 3 V and a microvolt for each second of its clock."""
    table = {"Test Time (s)": time, **columns, "Voltage (V)": 3 + 1e-6 * time, "Current (A)": time * 0 + 0.1}
    write_table(folder, list(table), list(table.values()))


def read(folder, *changes, extra=""):
    return read_changed(folder, TOML, changes, extra)


def seconds(experiment):
    """Return when the log says the patterns were taken, by its voltage."""
    return 1e6 * (experiment.series.targets["voltage"].values - 3)


def shown(begin, time, zone=BERLIN):
    """Return what a clock on the wall shows `time` s after a moment in UTC."""
    moments = [(begin + datetime.timedelta(seconds=float(value))).replace(tzinfo=UTC) for value in time]
    return [moment.astimezone(zone).replace(tzinfo=None).isoformat(" ") for moment in moments]


ZONED = (
    ("files = true", 'files = true\nzone = "Europe/Berlin"'),
    ('file = "log', 'zone = "Europe/Berlin"\nfile = "log'),
)


@pytest.mark.parametrize("begin", [datetime.datetime(2024, 10, 26, 20), datetime.datetime(2024, 3, 30, 20)])
@pytest.mark.parametrize("log", ["states its start", "is given its start", "states dates"])
def test_no_hour_is_lost_with_summer_time(tmp_path, begin, log):
    taken, time = np.arange(60) * 600.0, np.arange(900) * 60.0
    write_patterns(tmp_path, shown(begin, taken))
    changes = [*ZONED]
    if log == "states dates":
        write_log(tmp_path, time, Date=shown(begin, time))
    else:
        write_log(tmp_path, time)
        changes.append(("tolerance", f'start = "{shown(begin, [0])[0]}"\ntolerance'))
    if log == "states its start":
        changes.pop()
        path = tmp_path / "log.csv"
        path.write_text(f"Started: {shown(begin, [0])[0]}\n" + path.read_text())
    experiment = read(tmp_path, *changes)
    np.testing.assert_allclose(seconds(experiment), taken + 30, atol=1e-3)
    is_said = any("lie in the hour that occurs twice in Europe/Berlin" in line for line in experiment.report)
    assert is_said == (begin.month == 10)


def test_a_log_in_utc_and_patterns_in_local_time(tmp_path):
    taken, time = np.arange(60) * 600.0, np.arange(900) * 60.0
    begin = datetime.datetime(2024, 10, 26, 20)
    write_patterns(tmp_path, shown(begin, taken))
    write_log(tmp_path, time, **{"Unix Time / s": time + begin.replace(tzinfo=UTC).timestamp()})
    np.testing.assert_allclose(seconds(read(tmp_path, ZONED[0])), taken + 30, atol=1e-3)


def test_dates_from_the_first_pattern_know_their_zone_too(tmp_path):
    taken, begin = np.arange(60) * 600.0, datetime.datetime(2024, 10, 26, 20)
    write_patterns(tmp_path, shown(begin, taken))
    write_log(tmp_path, np.arange(900) * 60.0)
    experiment = read(tmp_path, ZONED[0], ("files = true", "files = true\nrelative = true\nfirst = 100.0"))
    np.testing.assert_allclose(seconds(experiment), taken + 130, atol=1e-3)


def test_a_pattern_in_either_hour_is_refused_and_the_remedy_works(tmp_path):
    dates = ["2024-10-27 01:10:00", "2024-10-27 02:15:00", "2024-10-27 05:00:00"]
    write_patterns(tmp_path, dates)
    write_log(tmp_path, np.arange(900) * 60.0)
    start = ("tolerance", 'start = "2024-10-26T20:00:00+02:00"\ntolerance')
    with pytest.raises(UserError, match=r"02:15:00 occurs twice in Europe/Berlin, .* or exclude it"):
        read(tmp_path, *ZONED, start)
    experiment = read(tmp_path, *ZONED, start, ("number =", 'exclude = ["p_002.xy"]\nnumber ='))
    np.testing.assert_allclose(seconds(experiment), [5 * 3600 + 630, 10 * 3600 + 30], atol=1e-3)
    write_patterns(tmp_path, [dates[0], dates[1] + "+01:00", dates[2]])
    assert len(read(tmp_path, *ZONED, start).series) == 3


def test_patterns_of_a_pause_are_left_out_and_those_after_it_are_not_late(tmp_path):
    elapsed, begin = np.arange(600) * 60.0, datetime.datetime(2024, 3, 4, 9)
    time = elapsed + np.where(elapsed > 9000, 7200.0, 0.0)
    taken = np.arange(60) * 700.0
    write_patterns(tmp_path, shown(begin, taken, UTC))
    write_log(tmp_path, elapsed, Date=shown(begin, time, UTC))
    is_out = (taken + 30 > 9000) & (taken + 30 < 16260)
    taken = taken[~is_out & (taken + 30 <= time[-1])]
    expected = taken + 30 - np.where(taken > 9000, 7200, 0)
    np.testing.assert_allclose(seconds(read(tmp_path)), expected, atol=1e-3)


TABLE = ("files = true", 'table = "scans.csv"')


@pytest.mark.parametrize("key", ["number", "scan_number", "Scan No.", "file"])
@pytest.mark.parametrize(
    "style", ["%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "seconds", "unix"]
)
def test_tables_of_scans(tmp_path, key, style):
    """By number or name, with ends or an exposure, in seconds or dates however they are written."""
    taken, begin = np.arange(12) * 600.0, datetime.datetime(2024, 3, 14, 9)
    write_patterns(tmp_path, [None] * 12)
    write_log(tmp_path, np.arange(200) * 60.0)
    label = [f"p_{n:03}.xy" if key == "file" else str(n) for n in range(1, 13)]

    def written(moments):
        if style == "seconds":
            return [str(value) for value in moments]
        moments = [begin + datetime.timedelta(seconds=float(value)) for value in moments]
        return [str(moment.replace(tzinfo=UTC).timestamp()) if style == "unix" else moment.strftime(style)
                for moment in moments]  # fmt: skip

    zone = "" if style != "unix" else "+00:00"
    start = ("tolerance", f'start = "{begin.isoformat()}{zone}"\ntolerance')
    rows = zip(reversed(label), reversed(written(taken)), reversed(written(taken + 90)), strict=True)
    (tmp_path / "scans.csv").write_text(
        f"{key},cell,start_time,end_time\n" + "".join(f"{a},x,{b},{c}\n" for a, b, c in rows)
    )
    np.testing.assert_allclose(seconds(read(tmp_path, TABLE, start)), taken + 45, atol=1e-3)
    experiment = read(tmp_path, TABLE, start, ("exposure = 60.0\n", ""))
    np.testing.assert_allclose(seconds(experiment), taken + 45, atol=1e-3)
    (tmp_path / "scans.csv").write_text(
        f"{key};start\n" + "".join(f"{a};{b}\n" for a, b in zip(label, written(taken), strict=True))
    )
    np.testing.assert_allclose(seconds(read(tmp_path, TABLE, start)), taken + 30, atol=1e-3)
    with pytest.raises(UserError, match=r"states no exposure; give .*time.* exposure in s"):
        read(tmp_path, TABLE, start, ("exposure = 60.0\n", ""))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("number,start_time\n1,2024-03-14\n", "no row for p_002.xy"),
        ("number,began\n1,0\n2,600\n", "has no column 'start_time'"),
        ("number,start_time\n1,03/04/2024 09:00\n2,03/04/2024 09:10\n", "can be read day first or month first"),
        ("number,start_time\n1,0\n01,600\n", "row 3: 1 has a row already"),
        ("cell,start_time\n1,0\n", "needs a column 'file' or 'number'"),
    ],
)
def test_tables_of_scans_are_checked(tmp_path, table, words):
    write_patterns(tmp_path, [None] * 2)
    write_log(tmp_path, np.arange(200) * 60.0)
    (tmp_path / "scans.csv").write_text(table)
    with pytest.raises(UserError) as error:
        read(tmp_path, TABLE, ("tolerance", 'start = "2024-03-14T09:00:00"\ntolerance'))
    assert words in str(error.value) and "\n" not in str(error.value)
