"""Laws of a log's clock: dates of the rows count, through pauses, units and summer time; local time is no clock."""

from __future__ import annotations

import dataclasses
import datetime
import zoneinfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cycler_files import charge_rest_discharge, write_table
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers.assemble import cycler_log
from xrd_jax.io.cyclers.columns import Column
from xrd_jax.io.cyclers.header import Stated
from xrd_jax.io.cyclers.row_clock import in_zone
from xrd_jax.io.cyclers.table import Table
from xrd_jax.io.parsing import dates, timestamps

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60, database=None)
BERLIN, UTC = zoneinfo.ZoneInfo("Europe/Berlin"), datetime.UTC
BEGIN = datetime.datetime(2024, 3, 4, 9)


def read(folder, time, moments, name="Test Time (s)", style="%Y-%m-%d %H:%M:%S"):
    """Read a log of test times (or None) and of dates."""
    size = len(moments)
    table = {} if time is None else {name: time}
    table |= {"Date Time": [moment.strftime(style) for moment in moments]}
    table |= {"Voltage (V)": np.linspace(3, 4, size), "Current (A)": np.full(size, 0.1)}
    return cyclers.read_cycler(write_table(folder, list(table), list(table.values())))


def later(seconds, begin=BEGIN):
    return [begin + datetime.timedelta(seconds=float(value)) for value in seconds]


@SETTINGS
@given(
    step=st.sampled_from((1.0, 20.0, 60.0, 300.0, 1800.0)),
    pauses=st.lists(st.tuples(st.integers(2, 58), st.integers(10, 20_000)), max_size=3, unique_by=lambda pair: pair[0]),
)
def test_a_pause_is_in_the_dates_and_not_in_the_charge(tmp_path_factory, step, pauses):
    """However sparse the rows are and however often the test stood still."""
    elapsed = np.arange(60) * step
    time = elapsed + sum((np.where(np.arange(60) >= row, length, 0) for row, length in pauses), start=0.0)
    log = read(tmp_path_factory.mktemp("pause"), elapsed, later(time))
    np.testing.assert_allclose(log.time, time, atol=1e-6)
    assert log.start == BEGIN and ("paused" in " ".join(log.notes)) == bool(pauses)
    assert log.capacity[-1] == pytest.approx(0.1 * elapsed[-1] / 3600)
    if pauses:
        times = "once" if len(pauses) == 1 else f"{len(pauses)} times"
        assert f"paused {times}, for {sum(length for _, length in pauses)} s in all" in " ".join(log.notes)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("TestTime", 60.0), ("TestTime", 3600.0), ("Test Time (s)", 1e-3), ("Test Time (min)", 3600.0)],
)
@pytest.mark.parametrize("pause", [0.0, 5400.0])
def test_dates_tell_the_unit_of_the_test_time(tmp_path, name, unit, pause):
    elapsed = np.arange(60) * 60.0
    time = elapsed + np.where(elapsed > 900, pause, 0.0)
    log = read(tmp_path, elapsed / unit, later(time), name)
    np.testing.assert_allclose(log.time, time)
    assert log.start == BEGIN and log.capacity[-1] == pytest.approx(0.1 * elapsed[-1] / 3600)
    assert any("by the dates of the rows, which were believed" in note for note in log.notes)
    assert not any("without a unit" in note and "TestTime" in note for note in log.notes)


def test_a_clock_that_runs_a_little_faster_is_followed(tmp_path):
    elapsed = np.arange(3000) * 10.0
    log = read(tmp_path, elapsed, later(np.floor(elapsed * 1.001)))
    np.testing.assert_allclose(log.time, elapsed * 1.001, atol=1.5)
    assert log.start == BEGIN and any("part little by little, by 29 s" in note for note in log.notes)


@pytest.mark.parametrize("pause", [0.0, 7200.0])
def test_dates_without_seconds_give_a_start(tmp_path, pause):
    elapsed = np.arange(200) * 37.0
    time = elapsed + np.where(elapsed > 4000, pause, 0.0)
    log = read(tmp_path, elapsed, later(time, BEGIN.replace(second=21)), style="%d.%m.%Y %H:%M")
    np.testing.assert_allclose(log.time, time, atol=3)
    assert abs((log.start - BEGIN.replace(second=21)).total_seconds()) < 3
    assert any("cut to 60 s" in note for note in log.notes)


def local(utc, zone=BERLIN):
    return [moment.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None) for moment in utc]


@pytest.mark.parametrize("begin", [datetime.datetime(2024, 10, 26, 22), datetime.datetime(2024, 3, 30, 22)])
@pytest.mark.parametrize("has_test_time", [True, False])
def test_a_log_over_a_change_of_clocks(tmp_path, begin, has_test_time):
    """With its zone every row lies where it was; without, the test time tells an hour from a pause."""
    time = np.arange(600) * 60.0
    log = read(tmp_path, time if has_test_time else None, local(later(time, begin)))
    if has_test_time:
        np.testing.assert_allclose(log.time, time)
        assert any("as with summer time" in note for note in log.notes)
    zoned = in_zone(log, BERLIN, "log")
    np.testing.assert_allclose(zoned.time, time)
    assert zoned.start == begin.replace(tzinfo=UTC)
    assert not any("summer time" in note for note in zoned.notes)
    assert any("occurs twice" in note for note in zoned.notes) == (begin.month == 10)


def test_a_pause_over_the_end_of_summer_time(tmp_path):
    elapsed = np.arange(600) * 60.0
    time = elapsed + np.where(np.arange(600) > 100, 5400.0, 0.0)
    log = in_zone(read(tmp_path, elapsed, local(later(time, datetime.datetime(2024, 10, 26, 22)))), BERLIN, "log")
    np.testing.assert_allclose(log.time, time)


@SETTINGS
@given(
    begin=st.datetimes(datetime.datetime(2024, 10, 26, 12), datetime.datetime(2024, 10, 27, 3)),
    step=st.integers(30, 3300), zone=st.sampled_from(("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")),
)  # fmt: skip
def test_local_time_in_order_is_utc_or_refused(begin, step, zone):
    """Even steps longer than a few minutes come back exactly; what could be either hour is refused, never guessed."""
    utc = np.arange(60) * float(step) + (begin - timestamps.EPOCH).total_seconds()
    shown = np.array([(moment - timestamps.EPOCH).total_seconds()
                      for moment in local(later(utc, timestamps.EPOCH), zoneinfo.ZoneInfo(zone))])  # fmt: skip
    try:
        back, _ = timestamps.local_to_utc(shown, zoneinfo.ZoneInfo(zone))
    except UserError as error:
        assert "occurs twice" in str(error) and "write that date with its offset" in str(error)
    else:
        np.testing.assert_allclose(back, utc)


def test_one_date_in_the_repeated_hour_is_refused():
    shown = np.array([(datetime.datetime(2024, 10, 27, 2, 30) - timestamps.EPOCH).total_seconds()])
    with pytest.raises(UserError, match="2024-10-27 02:30:00 occurs twice in Europe/Berlin"):
        timestamps.local_to_utc(shown, BERLIN)
    with pytest.raises(UserError, match=r'2024-03-31 02:30:00 does not exist .* give zone = "\+01:00"'):
        timestamps.local_to_utc(shown - (27 + 31 + 30 + 31 + 31 + 30 + 31 - 1) * 86400.0 + 0.0, BERLIN)


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("name", ["time", "Timestamp", "Unix Time / s", "epoch"])
def test_numbers_that_stand_for_dates(tmp_path, name, scale):
    time, voltage, current, _ = charge_rest_discharge()
    cells = [str(int((1.71e9 + value) * scale)) for value in time]
    log = cyclers.read_cycler(write_table(tmp_path, [name, "Voltage (V)", "Current (A)"], [cells, voltage, current]))
    np.testing.assert_allclose(log.time, time, atol=1e-3)
    assert log.start == datetime.datetime.fromtimestamp(1.71e9, UTC)


def test_numbers_of_other_epochs():
    def moment(text):
        date = dates.parse_date(text)
        return datetime.datetime(date.year, date.first, date.second) + datetime.timedelta(seconds=date.seconds)

    expected = datetime.datetime(2024, 3, 14, 9)
    seconds = (expected - datetime.datetime(1904, 1, 1)).total_seconds()
    assert moment(f"{seconds:.1f}") == expected  # LabVIEW
    assert moment("739325.375") == expected  # MATLAB
    assert moment("45365.375") == expected  # spreadsheets


@pytest.mark.parametrize("hours", ["%H:%M:%S", "%I:%M:%S %p"])
def test_a_day_and_a_time_of_day_in_two_columns(tmp_path, hours):
    time, voltage, current, _ = charge_rest_discharge()
    moments = later(time * 1000, datetime.datetime(2024, 3, 14, 22))
    table = [[moment.strftime(style) for moment in moments] for style in ("%d/%m/%Y", hours)]
    log = cyclers.read_cycler(
        write_table(tmp_path, ["Date", "Time", "Voltage (V)", "Current (A)"], [*table, voltage, current])
    )
    np.testing.assert_allclose(log.time, time * 1000)
    assert log.start == moments[0]
    log = cyclers.read_cycler(
        write_table(tmp_path, ["Time", "Voltage (V)", "Current (A)"], [table[1], voltage, current])
    )
    np.testing.assert_allclose(log.time - log.time[0], time * 1000)
    assert any("starts again at midnight" in note for note in log.notes)


@pytest.mark.parametrize(("order", "example"), [("day", "25/03/2024"), ("month", "03/25/2024")])
def test_any_date_of_the_file_tells_the_order_of_all(tmp_path, order, example):
    """A header with a number over 12 settles ambiguous rows, and rows of several days an ambiguous header."""
    time, voltage, current, _ = charge_rest_discharge()
    style = "%d/%m/%Y %H:%M:%S" if order == "day" else "%m/%d/%Y %H:%M:%S"
    names = ["Test Time (s)", "Date Time", "Voltage (V)", "Current (A)"]
    table = [time, [moment.strftime(style) for moment in later(time)], voltage, current]
    log = cyclers.read_cycler(write_table(tmp_path, names, table, preamble=f"Exported on {example}\n"))
    assert log.start == BEGIN and not log.notes
    assert cyclers.read_cycler(write_table(tmp_path, names, table)).start is None
    begun = f"Started: {BEGIN.strftime(style)}\n"
    log = cyclers.read_cycler(write_table(tmp_path, names[:1] + names[2:], table[:1] + table[2:], preamble=begun))
    assert log.start is None and any("day first or month first" in note for note in log.notes)
    preamble = f"Exported on {example}\n{begun}"
    log = cyclers.read_cycler(write_table(tmp_path, names[:1] + names[2:], table[:1] + table[2:], preamble=preamble))
    assert log.start == BEGIN


@pytest.mark.parametrize("damage", [np.inf, 1e300, -5.0])
def test_dates_that_damage_made_are_no_clock(tmp_path, damage):
    """A binary log with both clocks: the dates count if they can be dates, else the test's own time."""
    elapsed = np.arange(30) * 60.0
    time = 1.7e9 + elapsed + np.where(elapsed > 600, 3600.0, 0.0)
    numbers = {"time_s": elapsed, "voltage_V": elapsed * 0 + 3, "current_A": elapsed * 0 + 0.1}
    roles = {name.split("_")[0]: Column(0, name, 1.0, True) for name in numbers}
    table = Table(numbers, roles, None, None, np.arange(30), clock=timestamps.Timestamps(time.copy(), True, None))
    log = cycler_log(table, tmp_path, Stated(), [])
    np.testing.assert_allclose(log.time, time - 1.7e9)
    assert log.start == timestamps.EPOCH + datetime.timedelta(seconds=1.7e9) and "paused once" in log.notes[0]
    time[7] = damage
    log = cycler_log(dataclasses.replace(table, clock=timestamps.Timestamps(time, True, None)), tmp_path, Stated(), [])
    np.testing.assert_allclose(log.time, elapsed)
    assert log.start is None
