"""Logs as makers and laboratories write them: quantities come out the same whatever stands around the table."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from tests.support.cycler_files import charge_rest_discharge, write_table
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers.log import half_cycles

TIME, VOLTAGE, CURRENT, CHARGE = charge_rest_discharge()


def check(log, has_current=True):
    np.testing.assert_allclose(log.time, TIME)
    np.testing.assert_allclose(log.voltage, VOLTAGE, atol=1e-6)
    if has_current:
        np.testing.assert_allclose(log.current, CURRENT, atol=1e-9)


def save(folder, text, name="log.txt"):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(("separator", "comma"), [(";", False), ("\t", True)])
def test_nova(tmp_path, separator, comma):
    names = ["Time (s)", "Potential applied (V)", "WE(1).Potential (V)", "WE(1).Current (A)"]
    log = cyclers.read_cycler(write_table(tmp_path, names, [TIME, VOLTAGE * 0, VOLTAGE, CURRENT], separator, comma))
    check(log)
    assert log.format == "nova" and half_cycles(log.time, log.current).is_charge.tolist() == [True, False]


def test_chi_states_no_current_of_a_row(tmp_path):
    rows = "\n".join(f"{t:.3e}, {v:.6f}" for t, v in zip(TIME, VOLTAGE, strict=True))
    header = "March 14, 2024   09:00:00\nChronopotentiometry\nData Source: Experiment\nInstrument Model:  CHI760E\n\n"
    header += "Cathodic Current (A) = 0.1\nAnodic Current (A) = 0.2\n\nTime/sec, Potential/V\n\n"
    log = cyclers.read_cycler(save(tmp_path, header + rows + "\n"))
    check(log, has_current=False)
    assert np.isnan(log.current).all() and log.start == datetime.datetime(2024, 3, 14, 9) and log.format == "chi"
    assert "Cathodic Current (A) = 0.1, Anodic Current (A) = 0.2, but no row" in " ".join(log.notes)
    with pytest.raises(UserError, match="no log of voltage over time"):
        cyclers.read_cycler(save(tmp_path, header.replace("Potential/V", "Current/A") + rows + "\n"))


def par(segments, definition="Segment #, Point #, E(V), I(A), Elapsed Time(s), E Applied(V)"):
    rows = [f"0,{k},{v:.6E},{i:.6E},{t:.6E},0" for k, (t, v, i) in enumerate(zip(TIME, VOLTAGE, CURRENT, strict=True))]
    parts = np.array_split(rows, segments)
    text = "<Application>\nVersion=1\n</Application>\n<Experiment>\nDateAcquired=3/14/2024\nTimeAcquired=9:00:00 AM\n"
    text += "</Experiment>\n" + "X=1\n" * 2000
    for number, part in enumerate(parts, 1):
        text += f"<Segment{number}>\nType=2\nDefinition={definition}\n" + "\n".join(part) + f"\n</Segment{number}>\n"
    return text


@pytest.mark.parametrize("segments", [1, 3])
def test_versastat(tmp_path, segments):
    text = par(segments).replace("X=1\n" * 2000, "X=1\n" * 900)
    log = cyclers.read_cycler(save(tmp_path, text, "a.par"))
    check(log)
    assert log.format == "versastat-par" and log.start == datetime.datetime(2024, 3, 14, 9)
    running = cyclers.read_cycler(save(tmp_path, text[: text.rindex("</Segment") - 12], "a.par"))
    np.testing.assert_allclose(running.voltage, VOLTAGE[:-1], atol=1e-6)
    assert "half written" in " ".join(running.notes)
    with pytest.raises(UserError, match="no segment defines"):
        cyclers.read_cycler(save(tmp_path, par(1, "Segment #, Point #, Z, I(A), Phase, x"), "a.par"))


@pytest.mark.parametrize("quote", ["", '"'])
def test_neware_in_three_levels(tmp_path, quote):
    """Rows of records stand below their step, and their time starts again with it."""
    lines = ["Cycle ID,Cap_Chg(mAh),Cap_DChg(mAh)", ",Step ID,Step Name,Step Time(h:min:s.ms)",
             ",,Record ID,Time(h:min:s.ms),Voltage(V),Current(mA),Density(mAh/g),Realtime", "1,1,1"]  # fmt: skip
    begin, step, step_begin = datetime.datetime(2024, 3, 14, 9), None, 0.0
    for k, (t, v, i) in enumerate(zip(TIME, VOLTAGE, CURRENT, strict=True)):
        if (name := {1: "CC Chg", 0: "Rest", -1: "CC DChg"}[int(np.sign(i))]) != step:
            step, step_begin = name, TIME[max(k - 1, 0)]
            lines.append(f",{k + 1},{name},0:03:20")
        within = datetime.timedelta(seconds=t - step_begin)
        lines.append(f",,{k + 1},{within},{v:.7f},{1e3 * abs(i):.4f},9,{begin + datetime.timedelta(seconds=t)}")
    cells = ("\n".join(",".join(f"{quote}{cell}{quote}" for cell in line.split(",")) for line in lines)) + "\n"
    log = cyclers.read_cycler(save(tmp_path, cells, "a.csv"))
    check(log)
    assert log.format == "neware-levels" and log.start == begin


def test_rows_in_quotes_as_a_whole(tmp_path):
    preamble = "[Summary]\nNovonix UHPC data file\nStarted: 2024-03-14 09:00:00\n[End Summary]\n"
    names = ["Run Time (h)", "Current (A)", "Potential (V)"]
    path = write_table(tmp_path, names, [TIME / 3600, CURRENT, VOLTAGE], preamble=preamble)
    quoted = "\n".join(f'"{line}"' for line in path.read_text().splitlines()) + "\n"
    log = cyclers.read_cycler(save(tmp_path, quoted, "a.csv"))
    check(log)
    assert log.format == "novonix" and log.start == datetime.datetime(2024, 3, 14, 9)


def test_a_table_without_names_is_read_by_place(tmp_path):
    rows = "\n".join(
        f"{datetime.timedelta(seconds=t)};{1e3 * v:.4f};{i};x" for t, v, i in zip(TIME, VOLTAGE, CURRENT, strict=True)
    )
    path = save(tmp_path, "cell of mine\n" + rows.replace(".", ",") + "\n")
    with pytest.raises(UserError, match=r'or name its columns \(or their places\): columns = { time = "1"'):
        cyclers.read_cycler(path)
    log = cyclers.read_table(path, {"time": "1", "voltage": "2", "current": "3"}, {"voltage": "mV", "current": "A"})
    check(log)
    log = cyclers.read_table(path, {"time": "1", "voltage": "2"}, {"voltage": "mV"})
    check(log, has_current=False)
    assert np.isnan(log.current).all()


def test_a_current_without_sign_takes_it_from_counters(tmp_path):
    names = ["Test Time (s)", "Voltage (V)", "Current (A)", "Charge Capacity (Ah)", "Discharge Capacity (Ah)"]
    gain = np.diff(CHARGE, prepend=0.0)
    counters = [np.cumsum(np.maximum(gain, 0)), np.cumsum(np.maximum(-gain, 0))]
    log = cyclers.read_cycler(write_table(tmp_path, names, [TIME, VOLTAGE, np.abs(CURRENT), *counters]))
    check(log)
    assert any("taken from the columns that count charge" in note for note in log.notes)
    log = cyclers.read_cycler(
        write_table(tmp_path, [*names[:3], "Net Capacity (Ah)"], [TIME, VOLTAGE, np.abs(CURRENT), CHARGE])
    )
    check(log)


def test_a_voltage_that_falls_under_charge_is_said(tmp_path):
    """Whoever made the log; the columns of a state are then asked for, and that remedy works."""
    state = np.where(CURRENT < 0, "Discharge", "Charge")
    path = write_table(
        tmp_path, ["Test Time (s)", "Voltage (V)", "Current (A)", "what"], [TIME, VOLTAGE, np.abs(CURRENT), state]
    )
    notes = " ".join(cyclers.read_cycler(path).notes)
    assert "says charge or discharge, so all counts as charge" in notes and "columns = { state = … }" in notes
    check(cyclers.read_table(path, {"state": "what"}))
    path = write_table(tmp_path, ["Test Time (s)", "Voltage (V)", "Current (A)"], [TIME, VOLTAGE, CURRENT])
    assert not cyclers.read_cycler(path).notes


@pytest.mark.parametrize("name", ["Capacity (mAh/g)", "Q / mA.h.g-1", "Current (mA/cm2)"])
def test_no_quantity_of_a_gram_is_taken_for_one_of_the_cell(tmp_path, name):
    path = write_table(tmp_path, ["Test Time (s)", "Voltage (V)", "Current (A)", name], [TIME, VOLTAGE, CURRENT, TIME])
    check(cyclers.read_cycler(path))
    with pytest.raises(UserError, match="is per mass or area"):
        cyclers.read_table(path, {"capacity": name})


@pytest.mark.parametrize(("last", "is_whole"), [("-0.1", False), ("", False), ("-0.100000", True)])
def test_the_last_row_of_a_running_log(tmp_path, last, is_whole):
    lines = ["Test Time (s),Voltage (V),Current (A)"]
    lines += [f"{t:.2f},{v:.6f},{i:.6f}" for t, v, i in zip(TIME, VOLTAGE, CURRENT, strict=True)]
    log = cyclers.read_cycler(save(tmp_path, "\n".join([*lines, f"9999.00,3.100000,{last}"])))
    assert log.time.size == TIME.size + is_whole
    assert any("last" in note for note in log.notes)
    with pytest.raises(UserError, match="row 30 is cut or damaged"):
        cyclers.read_cycler(save(tmp_path, "\n".join([*lines[:29], "1,2", *lines[29:]]) + "\n"))
