"""Laws of cycler tables: units, clocks, dates and counters come out the same however a maker writes them."""

from __future__ import annotations

import datetime
import importlib.metadata
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cycler_files import charge_rest_discharge, write_table
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers import columns
from xrd_jax.io.cyclers.log import CyclerLog, half_cycles
from xrd_jax.io.parsing import dates, plugins, timestamps

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60, database=None)
UNITS = {
    "time": {"s": 1, "sec": 1, "min": 60, "h": 3600, "ms": 1e-3, "Sec": 1, "hours": 3600},
    "voltage": {"V": 1, "mV": 1e-3, "volt": 1},
    "current": {"A": 1, "mA": 1e-3, "µA": 1e-6, "uA": 1e-6, "ampere": 1},
    "capacity": {"Ah": 1, "mAh": 1e-3, "mA.h": 1e-3, "A h": 1, "C": 1 / 3600},
}
NAMES = {
    "time": ("Test Time", "Test_Time", "Total Time", "Run Time", "time", "Elapsed Time"),
    "voltage": ("Voltage", "Potential", "Ecell", "Cell_Voltage", "U"),
    "current": ("Current", "I", "<I>", "current"),
    "capacity": ("Net Capacity", "(Q-Qo)"),
}
STYLES = ("{}({})", "{} ({})", "{}[{}]", "{} [{}]", "{} / {}")


@SETTINGS
@given(st.data())
def test_units_names_and_separators_do_not_matter(tmp_path_factory, data):
    table, names = charge_rest_discharge(), []
    scaled = []
    for role, values in zip(UNITS, table, strict=True):
        unit = data.draw(st.sampled_from(sorted(UNITS[role])), role)
        name = data.draw(st.sampled_from(NAMES[role]))
        names.append(data.draw(st.sampled_from(STYLES)).format(name, unit))
        scaled.append(values / UNITS[role][unit])
    order = data.draw(st.permutations(range(4)))
    separator = data.draw(st.sampled_from("\t;,"))
    path = write_table(
        tmp_path_factory.mktemp("units"),
        [names[k] for k in order],
        [scaled[k] for k in order],
        separator,
        comma=separator != "," and data.draw(st.booleans()),
        preamble=data.draw(st.sampled_from(("", "a cell of mine\n\n", "Cell:;7;A\noperator;me\n"))),
        encoding=data.draw(st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "latin-1"))),
    )
    log = cyclers.read_cycler(path)
    for role, values in zip(UNITS, table, strict=True):
        np.testing.assert_allclose(getattr(log, role), values, rtol=1e-9, atol=1e-12)
    assert set(log.columns) == set(names) and log.start is None and not log.notes


@SETTINGS
@given(
    st.floats(0, 9e6),
    st.sampled_from(
        (
            "{h}:{m:02}:{s:06.3f}",
            "{d}.{H:02}:{m:02}:{s:06.3f}",
            " {d}d {H:02}:{m:02}:{s:06.3f}",
            "{d}-{H:02}:{m:02}:{s:06.3f}",
        )
    ),
)
def test_durations(seconds, style):
    milli = round(seconds * 1000)
    s, m, h = milli % 60000 / 1000, milli // 60000 % 60, milli // 3600000
    assert dates.parse_duration(style.format(h=h, d=h // 24, H=h % 24, m=m, s=s)) == pytest.approx(
        milli / 1000, abs=1e-6
    )


@SETTINGS
@given(
    st.datetimes(datetime.datetime(1975, 1, 1), datetime.datetime(2060, 1, 1)),
    st.sampled_from(
        ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%d-%b-%y %I:%M:%S %p", "%d-%b-%Y %H:%M")
    ),
)
def test_dates_that_say_which_part_is_the_day(moment, style):
    written = moment.strftime(style)
    assert timestamps.read_header_date(written) == datetime.datetime.strptime(written, style)


@SETTINGS
@given(
    st.datetimes(datetime.datetime(1975, 1, 1), datetime.datetime(2060, 1, 1)),
    st.sampled_from(("%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m-%d-%Y %H:%M:%S")),
)
def test_dates_that_do_not_say_are_left_open(moment, style):
    moment = moment.replace(microsecond=0)
    date = timestamps.read_header_date(moment.strftime(style))
    assert date == (moment if moment.day > 12 or moment.day == moment.month else None)
    order = "day" if style.startswith("%d") else "month"
    assert timestamps.read_header_date(moment.strftime(style), order=order) == moment


@pytest.mark.parametrize("zone", ["Z", "+01:00", "-0530"])
def test_a_zone_that_is_stated_is_kept(tmp_path, zone):
    time, voltage, current, _ = charge_rest_discharge(5)
    stamps = [f"2024-03-01T23:59:{50 + k:02}{zone}" for k in range(5)]
    log = cyclers.read_cycler(
        write_table(tmp_path, ["DateTime", "Voltage(V)", "Current(A)"], [stamps, voltage, current])
    )
    assert log.start == datetime.datetime.fromisoformat(stamps[0]) and log.start.utcoffset() is not None
    assert log.time.tolist() == [0, 1, 2, 3, 4]
    names = ["Unix Time / s", "Voltage / V", "Current / A"]
    log = cyclers.read_cycler(write_table(tmp_path, names, [1.7e9 + time, voltage, current]))
    assert log.start == datetime.datetime.fromtimestamp(1.7e9, datetime.UTC)


@pytest.mark.parametrize(
    "wrong",
    ["2024-02-30 00:00:00", "2024-13-01", "31/04/2024", "12:61:00", "2024-01-01 25:00", "2024-01-01+99:00", "x"],
)
def test_no_such_moment(wrong):
    assert timestamps.read_header_date(wrong) is None and dates.parse_duration(wrong) is None


def test_a_log_of_days_tells_day_from_month(tmp_path):
    """The third to the fifth of June, or the sixth of March to May: the test time knows."""
    time = np.arange(50) * 3600.0
    stamps = [f"{3 + int(t // 86400):02}/06/2024 {int(t % 86400 // 3600):02}:00:00" for t in time]
    table = [time, stamps, time * 0 + 3.5, time * 0 + 0.1]
    log = cyclers.read_cycler(
        write_table(tmp_path, ["Test Time (s)", "Date Time", "Voltage (V)", "Current (A)"], table)
    )
    assert log.start == datetime.datetime(2024, 6, 3)
    log = cyclers.read_cycler(write_table(tmp_path, ["Date Time", "Voltage (V)", "Current (A)"], table[1:]))
    np.testing.assert_array_equal(log.time, time)


def test_spreadsheet_serials_and_pauses(tmp_path):
    time, voltage, current, _ = charge_rest_discharge(30)
    serial = 45131.78472222222 + (time + np.where(time > 150, 600.0, 0)) / 86400
    names = ["Test_Time(s)", "DateTime", "Voltage(V)", "Current(A)"]
    log = cyclers.read_cycler(write_table(tmp_path, names, [time, serial, voltage, current]))
    assert abs((log.start - datetime.datetime(2023, 7, 24, 18, 50)).total_seconds()) < 1e-3
    np.testing.assert_allclose(log.time, time + np.where(time > 150, 600.0, 0), atol=1e-3)
    assert any("paused once, for 600 s in all" in note for note in log.notes)


@SETTINGS
@given(
    runs=st.lists(st.tuples(st.sampled_from((1, -1, 0)), st.integers(2, 8)), min_size=1, max_size=8),
    style=st.sampled_from(("pair by step", "pair", "counted by step", "signed by step", "net")),
)
def test_counters_that_start_again_add_up(tmp_path_factory, runs, style):
    """Net charge is the same whether a maker counts over the test, over each step, with a sign or without."""
    step, current, counted = [], [], []
    for k, (sign, rows) in enumerate(runs):
        step += [k + 1] * rows
        current += [0.5 * sign] * rows
        counted += [abs(sign) * 0.5 * 10 * r / 3600 for r in range(rows)]
    step, current, counted = np.array(step), np.array(current), np.array(counted)
    # A step begins at the moment that the one before it ended, as in real logs.
    time = np.concatenate([[0.0], np.cumsum(np.where(np.diff(step) != 0, 0.0, 10.0))])
    signed = counted * np.sign(current)
    gain = np.where(np.diff(step, prepend=1) != 0, signed, np.diff(signed, prepend=0.0))
    table = {"Step Index": step, "Test Time (s)": time, "Voltage (V)": time * 0 + 3.0, "Current (A)": current}
    if style == "net":
        table |= {"Net Capacity (Ah)": np.cumsum(gain)}
    elif style == "pair":
        table |= {"Charge Capacity (Ah)": np.cumsum(np.maximum(gain, 0))}
        table |= {"Discharge Capacity (Ah)": np.cumsum(np.maximum(-gain, 0))}
    elif style == "pair by step":
        table |= {"Chg. Cap.(mAh)": 1e3 * np.maximum(signed, 0), "DChg. Cap.(mAh)": 1e3 * np.maximum(-signed, 0)}
    else:
        table |= {"Capacity (Ah)": counted if style.startswith("counted") else signed}
    log = cyclers.read_cycler(write_table(tmp_path_factory.mktemp("counters"), list(table), list(table.values())))
    np.testing.assert_allclose(log.capacity, np.cumsum(gain), atol=1e-12)
    assert not any("integral" in note for note in log.notes)


def test_time_within_steps_runs_on(tmp_path):
    """Neware's plain 'Time' starts again with each step, in the first column as in the last."""
    within = [f"0:00:{s:02}" for s in (0, 10, 20, 0, 10, 0, 30)]
    step = [1, 1, 1, 2, 2, 3, 3]
    for name in ("Time(h:min:s.ms)", "Step Time"):
        table = [step, within, [3.0] * 7, [0, 0, 0, 1.0, 1.0, -1.0, -1.0]]
        log = cyclers.read_cycler(write_table(tmp_path, ["Step ID", name, "Voltage(V)", "Current(mA)"], table))
        assert log.time.tolist() == [0, 10, 20, 20, 30, 30, 60] and "put one after another" in log.notes[0]
    path = write_table(tmp_path, ["Time (s)", "Voltage(V)", "Current(mA)"], [[0, 10, 0, 10], [3.0] * 4, [1.0] * 4])
    with pytest.raises(UserError, match="row 4: time runs backwards"):
        cyclers.read_cycler(path)


@pytest.mark.parametrize(
    ("charging", "discharging"),
    [("C", "D"), ("CC Chg", "CC DChg"), ("Charge", "Discharge"), ("Laden", "Entladen"), ("Charge", "Décharge")],
)
def test_a_current_without_sign_takes_it_from_the_state(tmp_path, charging, discharging):
    time, voltage, current, charge = charge_rest_discharge()
    state = [{1: charging, 0: "R", -1: discharging}[int(np.sign(i))] for i in current]
    table = [time, voltage, np.abs(current), state]
    log = cyclers.read_cycler(write_table(tmp_path, ["Test (Sec)", "Volts", "Amps", "State"], table))
    np.testing.assert_array_equal(log.current, current)
    assert half_cycles(log.time, log.current).is_charge.tolist() == [True, False]
    assert "taken from column 'State'" in log.notes[0] and abs(log.capacity[-1] - charge[-1]) < 1e-3


def test_a_wrong_unit_shows(tmp_path):
    time, voltage, current, charge = charge_rest_discharge()
    names = ["Test Time (s)", "Voltage (V)", "Current (mA)", "Net Capacity (Ah)"]
    notes = cyclers.read_cycler(write_table(tmp_path, names, [time, voltage, current, charge])).notes
    assert any("check the units of both columns" in note for note in notes)


def test_a_row_of_units_below_the_names(tmp_path):
    time, voltage, current, _ = charge_rest_discharge(5)
    table = [["min", *(time / 60)], ["mV", *(voltage * 1e3)], ["mA", *(current * 1e3)], ["", *(["x"] * 5)]]
    log = cyclers.read_cycler(write_table(tmp_path, ["Time", "Voltage", "Current", "Note"], table))
    np.testing.assert_allclose(log.voltage, voltage)
    np.testing.assert_allclose(log.current, current)
    np.testing.assert_allclose(log.time, time)


def test_chinese_names_in_their_own_code_page(tmp_path):
    time, voltage, current, _ = charge_rest_discharge(9)
    names = ["测试时间(s)", "电压(V)", "电流(mA)", "工步类型"]
    table = [time, voltage, np.abs(current) * 1e3, ["恒流充电"] * 5 + ["恒流放电"] * 4]
    for encoding in ("utf-8", "gb18030"):
        log = cyclers.read_cycler(write_table(tmp_path, names, table, encoding=encoding))
        np.testing.assert_allclose(np.abs(log.current), np.abs(current))
        assert (log.current[5:] <= 0).all() and log.current[0] > 0


def test_columns_that_the_caller_names(tmp_path):
    time, voltage, current, _ = charge_rest_discharge()
    path = write_table(tmp_path, ["when", "E1", "E2", "flow"], [time / 60, voltage * 1e3, voltage, current])
    with pytest.raises(UserError, match="not a cycler log"):
        cyclers.read_cycler(path)
    wanted = {"time": "when", "voltage": "E1", "current": "flow"}
    log = cyclers.read_table(path, wanted, {"time": "min", "voltage": "mV", "current": "A"})
    np.testing.assert_allclose(log.time, time)
    np.testing.assert_allclose(log.voltage, voltage)
    np.testing.assert_array_equal(log.current, current)
    assert log.format == "csv" and not log.notes
    assert "'flow' as A" in cyclers.read_table(path, wanted, {"time": "min", "voltage": "mV"}).notes[0]
    for named, units, words in (
        ({"time": "whem"}, {}, "no line names the columns whem"),
        ({"tiem": "when"}, {}, "'tiem' is no quantity of a cycler log; did you mean 'time'?"),
        (wanted, {"time": "parsec"}, "'parsec' is no unit of time; use one of s, sec"),
        ({"time": "when"}, {"voltage": "mV"}, "a unit of voltage is given, but not its column"),
    ):
        with pytest.raises(UserError) as error:
            cyclers.read_table(path, named, units)
        assert words in str(error.value)


def test_named_columns_above_a_row_of_units(tmp_path):
    time, voltage, current, _ = charge_rest_discharge()
    rows = [f"{t};{100 * v};{v};{i}" for t, v, i in zip(time, voltage, current, strict=True)]
    (tmp_path / "log.csv").write_text("\n".join(["Time;Vref;Voltage;Current", "s;mV;V;A", *rows]) + "\n")
    log = cyclers.read_table(tmp_path / "log.csv", {"voltage": "Vref"})
    np.testing.assert_allclose(log.voltage, voltage / 10)
    in_volts = cyclers.read_table(tmp_path / "log.csv", {"voltage": "Vref"}, {"voltage": "V"})
    np.testing.assert_allclose(in_volts.voltage, 100 * voltage)


def test_named_columns_go_before_known_ones(tmp_path):
    time, voltage, current, _ = charge_rest_discharge()
    names = ["Test Time (s)", "Voltage (V)", "Vref (mV)", "Current (A)"]
    path = write_table(tmp_path, names, [time, voltage, 100 * voltage, current])
    np.testing.assert_allclose(cyclers.read_table(path, {"voltage": "Vref (mV)"}).voltage, voltage / 10)


@pytest.mark.parametrize(
    ("name", "label", "unit"),
    [
        ("Voltage(V)", "voltage", "V"),
        ("Cap. [Ah]", "cap", "Ah"),
        ("<Ewe-Ece>/V", "eweece", "V"),
        ("(Q-Qo)/mA.h", "qqo", "mA.h"),
        ("test_time_second", "testtime", "second"),
        ("Total Time (Hours in hh:mm:ss.xxx)", "totaltime", "Hours in hh:mm:ss.xxx"),
        ("~Time[s]", "time", "s"),
        ("Charge_Capacity", "chargecapacity", ""),
        ("Spec. Cap.(mAh/g)", "speccap", "mAh/g"),
    ],
)
def test_names_come_apart(name, label, unit):
    assert columns.split_unit(name) == (label, unit)


def test_no_specific_quantity_is_taken_for_an_absolute_one():
    roles = columns.match_roles(["Time(s)", "Capacity(mAh/g)", "Current(mA/cm2)", "Voltage(V)", "Capacity(mAh)"])
    assert roles["capacity"].name == "Capacity(mAh)" and "current" not in roles


class Point:
    """An entry point as importlib.metadata gives it."""

    value = "my_package:READER"

    def __init__(self, name, thing):
        self.name, self.thing = name, thing

    def load(self):
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


@pytest.fixture
def added(monkeypatch):
    def add(*points):
        monkeypatch.setattr(
            importlib.metadata, "entry_points", lambda group: points if group == cyclers.PLUGIN_GROUP else ()
        )
        plugins.load_readers.cache_clear()

    yield add
    plugins.load_readers.cache_clear()


def test_readers_of_other_packages_come_first(added, tmp_path, caplog):
    path = tmp_path / "a.mpr"
    path.write_bytes(b"BIO-LOGIC MODULAR FILE\x1a")
    time, voltage, current, charge = charge_rest_discharge()
    log = CyclerLog(time, voltage, current, charge, None, {})
    reader = cyclers.Reader("mpr", lambda head, _: head.startswith(b"BIO"), lambda _: log)
    added(Point("broken", ImportError("no such thing")), Point("odd", object()), Point("mpr", reader))
    log = cyclers.read_cycler(path)
    assert log.format == "mpr" and log.voltage is voltage
    assert "'broken'" in caplog.text and "'odd'" in caplog.text
    added(Point("mpr", reader._replace(read=lambda _: 1 / 0)))
    with pytest.raises(UserError, match=r"the added reader 'mpr' failed \(division by zero\)"):
        cyclers.read_cycler(path)
    added(Point("mpr", reader._replace(recognises=lambda *_: 1 / 0)))
    with pytest.raises(UserError, match="export it in EC-Lab as text"):
        cyclers.read_cycler(path)
    for wrong, words in ((time[::-1], "backwards"), (time[:3], "3 of time"), (time * np.nan, "time of row 1")):
        added(Point("mpr", reader._replace(read=lambda _, t=wrong: CyclerLog(t, voltage, current, charge, None, {}))))
        with pytest.raises(UserError, match=words):
            cyclers.read_cycler(path)


@pytest.fixture
def openpyxl():
    return pytest.importorskip("openpyxl", reason="the extra 'cycler' is not installed")


def save(openpyxl, path, sheets):
    book = openpyxl.Workbook(write_only=True)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_workbooks(openpyxl, tmp_path):
    """Sheets that go on are joined; dates and durations are cells of their own kind."""
    time, voltage, current, charge = charge_rest_discharge()
    names = ["Date_Time", "Test_Time", "Voltage(V)", "Current(A)", "Net Capacity(Ah)"]
    begin = datetime.datetime(2024, 5, 6, 7, 8, 9)
    clock = [datetime.timedelta(seconds=float(t)) for t in time]
    rows = [[begin + c, c, *map(float, v)] for c, *v in zip(clock, voltage, current, charge, strict=True)]
    sheets = {"Info": [["TEST REPORT"], ["Channel", 3]], "Channel_3_1": [names, *rows[:40]]}
    path = save(openpyxl, tmp_path / "a.xlsx", sheets | {"Channel_3_2": [names, *rows[40:]]})
    log = cyclers.read_cycler(path)
    for role, values in (("time", time), ("voltage", voltage), ("current", current), ("capacity", charge)):
        np.testing.assert_allclose(getattr(log, role), values, atol=1e-9)
    assert log.start == begin and log.format == "xlsx"
    save(openpyxl, path, sheets | {"Channel_4_1 b": [names, *rows[40:]]})
    with pytest.raises(UserError, match=r"several sheets hold a log \(Channel_3_1, Channel_4_1 b\); keep one"):
        cyclers.read_cycler(path)
    save(openpyxl, path, {"mine": [["when", "E1", "flow"], *([row[1], row[2], row[3]] for row in rows)]})
    log = cyclers.read_table(path, {"time": "when", "voltage": "E1", "current": "flow"}, {"voltage": "mV"})
    np.testing.assert_allclose(log.voltage, voltage / 1e3)


@pytest.mark.parametrize(("module", "head"), [("openpyxl", b"PK\x03\x04"), ("fastnda", b"NEWARE\x00")])
def test_a_missing_extra_is_named(monkeypatch, tmp_path, module, head):
    path = tmp_path / "log.xlsx"
    path.write_bytes(head + b"\x00" * 100)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(UserError, match=rf"needs {module}: pip install 'xrd_jax\[cycler\]'"):
        cyclers.read_cycler(path)


def test_memory_follows_the_file(tmp_path):
    """Text costs its numbers, not an object a cell: below four times the file and a block of rows."""
    rows = 20_000
    time = np.arange(rows) * 1.0
    table = [time, time * 0 + 3.5, np.where(time < 9000, 0.1, -0.1), *([time * 0] * 9)]
    names = ["Test Time (s)", "Voltage (V)", "Current (A)", *(f"aux {k}" for k in range(9))]
    path = write_table(tmp_path, names, table)
    tracemalloc.start()
    try:
        assert cyclers.read_cycler(path).time.size == rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * path.stat().st_size + 5e6
