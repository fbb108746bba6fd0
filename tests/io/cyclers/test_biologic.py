"""Laws of cycler logs: read back what was written, half cycles robust to rests, no match across gaps."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.experiment_files import cycler_columns
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers.log import half_cycles
from xrd_jax.io.experiment import clock
from xrd_jax.io.parsing.text import natural_key

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60, database=None)
CAPACITANCE = "Capacitance charge/µF"


def log_text(columns, header=True, comma=False):
    """Return a file such as the instrument writes; `columns` is name -> values."""
    lines = []
    if header:
        lines = ["EC-Lab ASCII FILE", "Nb header lines : 6    ", "Acquisition started on : 02/28/2024 10:27:22.600",
                 "Electrode surface area : 0.001 cm²", ""]  # fmt: skip
    lines.append("\t".join(columns) + "\t")
    for row in zip(*columns.values(), strict=True):
        line = "\t".join(value if isinstance(value, str) else f"{value:.9E}" for value in row)
        lines.append(line.replace(".", ",") if comma else line)
    return "\r\n".join(lines) + "\r\n"


def every_column(rows=50):
    return cycler_columns(rows) | {CAPACITANCE: np.zeros(rows)}


def read(tmp_path, content, **options):
    path = tmp_path / "log.mpt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("latin-1"))
    return cyclers.read_cycler(path, **options)


def refusal(tmp_path, content):
    with pytest.raises(UserError) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value) and "log.mpt" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("comma", [True, False])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_round_trip(tmp_path, header, comma, encoding):
    columns = every_column()
    log = read(tmp_path, log_text(columns, header, comma).encode(encoding))
    np.testing.assert_allclose(log.time, columns["time/s"])
    np.testing.assert_allclose(log.voltage, columns["Ewe/V"])
    np.testing.assert_allclose(log.current, columns["<I>/mA"] / 1e3)
    np.testing.assert_allclose(log.capacity, columns["(Q-Qo)/mA.h"] / 1e3, atol=1e-15)
    assert log.half_cycle.tolist() == columns["half cycle"].tolist()
    assert set(log.columns) == set(columns)
    assert log.start == (datetime.datetime(2024, 2, 28, 10, 27, 22, 600000) if header else None)


def test_current_and_charge_are_made_from_each_other(tmp_path):
    columns = every_column()
    without = {k: v for k, v in columns.items() if k not in ("<I>/mA", "half cycle")}
    log = read(tmp_path, log_text(without))
    np.testing.assert_allclose(log.current[1:], columns["<I>/mA"][1:] / 1e3, rtol=1e-6)
    assert log.half_cycle is None and "derived from the charge" in log.notes[0]
    without = {k: v for k, v in columns.items() if k != "(Q-Qo)/mA.h"}
    np.testing.assert_allclose(
        read(tmp_path, log_text(without)).capacity[:25], columns["(Q-Qo)/mA.h"][:25] / 1e3, atol=1e-12
    )


def test_rows_at_the_same_moment_do_not_break_the_current(tmp_path):
    columns = every_column()
    columns["time/s"][25] = columns["time/s"][24]
    columns["(Q-Qo)/mA.h"][25] = columns["(Q-Qo)/mA.h"][24]
    del columns["<I>/mA"]
    assert np.isfinite(read(tmp_path, log_text(columns)).current).all()


def test_dates_in_the_time_column_count_from_the_start(tmp_path):
    columns = every_column(4)
    columns["time/s"] = [
        "02/28/2024 10:27:22.600",
        "02/28/2024 10:27:32.600",
        "02/28/2024 23:59:59.600",
        "02/29/2024 00:00:00.100",
    ]
    np.testing.assert_allclose(read(tmp_path, log_text(columns)).time, [0, 10, 48757, 48757.5])


def test_columns_that_hold_words_are_left_out(tmp_path):
    log = read(tmp_path, log_text(every_column(3) | {"I Range": ["1 mA", "1 mA", "10 mA"]}))
    assert "I Range" not in log.columns and "I Range" in log.notes[0]


def without(*names):
    return log_text({k: v for k, v in every_column().items() if k not in names})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("EC-Lab ASCII FILE\r\nNb header lines : 70\r\n\r\n", "70 header lines announced but the file ends"),
        ("EC-Lab ASCII FILE\r\nNb header lines : 3\r\nmode\tEwe/V\r\n1\t3\r\n", "line 3 names no column 'time/s'"),
        (log_text(every_column())[:-30] + "\r\n", "row 56 is cut or damaged (6 of 7 columns)"),
        (log_text({name: [] for name in every_column()}), "followed by no row"),
        (without("Ewe/V"), "no voltage column (Ecell/V or Ewe/V)"),
        (log_text(every_column() | {"time/s": np.arange(50)[::-1]}), "row 8: time runs backwards"),
        (log_text(every_column(2) | {"Ewe/V": ["3.1", "nan"]}), "row 8: column 'Ewe/V' holds no number"),
        (log_text(every_column(2) | {"time/s": ["02/28/2024 10:27:22.600", "10:28"]}), "row 8: '10:28' is not a date"),
        ("time,voltage\n1,2\n", "not a cycler log"),
        (b"BIO-LOGIC MODULAR FILE\x1a\x00", "export it in EC-Lab as text (.mpt), or install a plug-in"),
    ],
)
def test_refusals_name_row_or_column(tmp_path, content, words):
    assert words in refusal(tmp_path, content)


@pytest.mark.parametrize("missing", [10, 30, 60])
def test_a_last_row_that_is_being_written_is_left_out(tmp_path, missing):
    whole = read(tmp_path, log_text(every_column()))
    log = read(tmp_path, log_text(every_column())[:-missing])
    np.testing.assert_array_equal(log.voltage, whole.voltage[:-1])
    assert any("row 56, the last, is half written and was left out" in note for note in log.notes)


def test_a_log_without_current_and_charge_says_nothing_of_half_cycles(tmp_path):
    log = read(tmp_path, without("<I>/mA", "(Q-Qo)/mA.h"))
    assert np.isnan(log.current).all() and np.isnan(log.capacity).all() and np.isfinite(log.voltage).all()
    assert "neither current nor charge" in " ".join(log.notes)
    with pytest.raises(UserError, match="no current"):
        half_cycles(log.time, log.current)


@pytest.mark.parametrize("says", ["technique", "mode"])
def test_at_open_circuit_no_current_flows(tmp_path, says):
    columns = {k: v for k, v in every_column().items() if k not in ("<I>/mA", "(Q-Qo)/mA.h")}
    content = log_text(columns | {"mode": np.full(50, 3.0 if says == "mode" else 1.0)})
    if says == "technique":
        content = content.replace("Electrode surface area : 0.001 cm²", "Open Circuit Voltage")
    log = read(tmp_path, content)
    assert not log.current.any() and not log.capacity.any() and "open circuit" in " ".join(log.notes)


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ("02/28/2024 10.27.22.600", datetime.datetime(2024, 2, 28, 10, 27, 22, 600000)),
        ("04.03.2024 10:27:22", datetime.datetime(2024, 4, 3, 10, 27, 22)),
        ("12.31.2024 10:27:22", datetime.datetime(2024, 12, 31, 10, 27, 22)),
        ("31.12.2024 10:27:22", datetime.datetime(2024, 12, 31, 10, 27, 22)),
        ("04/03/2024 10:27:22", datetime.datetime(2024, 4, 3, 10, 27, 22)),
    ],
)
def test_the_start_however_it_is_written(tmp_path, written, start):
    """Month first is this program's habit, which is said; a number over 12 goes before habits."""
    log = read(tmp_path, log_text(every_column()).replace("02/28/2024 10:27:22.600", written))
    assert log.start == start
    is_open = written.startswith("04")
    assert any("month first, as this program writes dates" in note for note in log.notes) == is_open
    if is_open:
        told = written + "\r\nModify on : " + written.replace("03", "23")
        content = log_text(every_column()).replace("02/28/2024 10:27:22.600", told).replace("lines : 6", "lines : 7")
        log = read(tmp_path, content)
        assert log.start == start and not log.notes


def test_which_voltage_is_taken_where_there_are_three(tmp_path):
    columns = every_column() | {"Ece/V": np.full(50, -0.2)}
    columns["Ewe-Ece/V"] = columns["Ewe/V"] + 0.2
    log = read(tmp_path, log_text(columns))
    np.testing.assert_allclose(log.voltage, columns["Ewe/V"])
    assert any("'Ewe/V' was taken for the voltage; the file has 'Ewe-Ece/V' too" in note for note in log.notes)
    log = read(tmp_path, log_text(columns | {"Ecell/V": columns["Ewe/V"] + 0.3}))
    np.testing.assert_allclose(log.voltage, columns["Ewe/V"] + 0.3)
    braces = {"<Ewe/V>" if name == "Ewe/V" else name: values for name, values in every_column().items()}
    np.testing.assert_allclose(read(tmp_path, log_text(braces)).voltage, columns["Ewe/V"])


def test_unknown_format_is_refused_with_a_suggestion(tmp_path):
    with pytest.raises(UserError, match="did you mean 'biologic-mpt'"):
        read(tmp_path, log_text(every_column()), format="biologic_mpt")


def current_of(signs, rows):
    return np.repeat(np.array(signs, float), rows), np.arange(len(signs) * rows) * 10.0


@SETTINGS
@given(
    pulses=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    rest_rows=st.integers(0, 5),
    first=st.sampled_from((1.0, -1.0)),
    stub=st.booleans(),
    noise=st.floats(0, 5e-4),
)
def test_rests_neither_split_nor_join_half_cycles(pulses, rest_rows, first, stub, noise):
    """Half cycles alternate in direction however many rests, stubs and how much noise at rest there are."""
    current = [-first] if stub else []
    for k, count in enumerate(pulses):
        for _ in range(count):
            current += [first * (-1) ** k] * 5 + [noise, -noise] * rest_rows
    current = np.array(current)
    time = np.arange(current.size) * 10.0
    half = half_cycles(time, current)
    assert half.is_charge.tolist() == [(k % 2 == 0) == (first > 0) for k in range(len(pulses))]
    assert (half.begin <= half.end).all() and (half.begin[1:] >= half.end[:-1]).all()
    flowing = np.flatnonzero(np.abs(current) == 1)[2 if stub else 1 :]
    assert (half.index(time[flowing]) >= 0).all()


def test_halves_are_halves_in_time_and_cycles_are_pairs():
    current, time = current_of([1, 0, -1, 1], 10)
    half = half_cycles(time, current)
    moments = np.array([-5.0, 0, 44, 46, 90, 95, 150, 200, 244, 246, 290, 292, 390, 391])
    #                   before |  charge    | rest   |  discharge       | charge, from where the discharge ended
    assert half.mode(moments).tolist() == [-1, 0, 0, 1, 1, -1, -1, 2, 2, 3, 0, 0, 1, -1]
    assert half.cycle(moments).tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


def test_a_long_gap_in_the_log_is_no_part_of_a_half_cycle():
    current, time = current_of([1, -1], 10)
    time[10:] += 1e5
    assert half_cycles(time, current).begin[1] == time[9]
    assert half_cycles(time, current, longest_gap=60.0).begin[1] == time[10]


def test_stub_of_one_row_is_ignored():
    current, time = current_of([1, -1], 10)
    half = half_cycles(np.concatenate([[-0.01], time]), np.concatenate([[-0.5], current]))
    assert half.is_charge.tolist() == [True, False]


def test_no_current_has_no_half_cycles():
    with pytest.raises(UserError, match="no current"):
        half_cycles(np.arange(5.0), np.zeros(5))


@SETTINGS
@given(
    steps=st.lists(st.floats(0, 300), min_size=1, max_size=30),
    shares=st.lists(st.floats(-0.2, 1.2), min_size=1, max_size=30),
    tolerance=st.floats(1, 200),
    seed=st.integers(0, 9),
)
def test_matches_lie_between_near_neighbours(steps, shares, tolerance, seed):
    log = np.concatenate([[0.0], np.cumsum(steps)])
    time = np.array(shares) * max(log[-1], 1.0)
    voltage = np.random.default_rng(seed).uniform(2, 4, log.size)
    match = clock.match_to_log(log, time, tolerance)
    interpolated, nearest = match.interpolate(voltage), match.nearest(voltage)
    assert not match.is_matched[(time < log[0]) | (time > log[-1])].any()
    for t, is_matched, v, n in zip(time, match.is_matched, interpolated, nearest, strict=True):
        if not is_matched:
            continue
        left, right = np.flatnonzero(log <= t)[-1], np.flatnonzero(log >= t)[0]
        if left < right:
            assert log[right] - log[left] <= tolerance
        around = voltage[min(left, right) : max(left, right) + 1]
        assert around.min() <= v <= around.max() and n in around


def test_never_matches_across_a_gap_however_near_to_its_edge():
    log = np.array([0.0, 10, 20, 500, 510])
    time = np.array([0.0, 15, 20, 20.001, 260, 499.999, 500, 510, 510.1])
    is_matched = clock.match_to_log(log, time, 60.0).is_matched
    assert is_matched.tolist() == [True, True, True, False, False, False, True, True, False]


def test_interpolation_is_linear():
    match = clock.match_to_log(np.array([0.0, 10, 10, 30]), np.array([0.0, 2.5, 10, 20, 30]), 60.0)
    np.testing.assert_allclose(match.interpolate(np.array([1.0, 2, 4, 8])), [1, 1.25, 4, 6, 8])


def test_a_log_of_one_row_is_refused():
    with pytest.raises(UserError, match="one row only"):
        clock.match_to_log(np.array([1.0]), np.array([1.0]), 60.0)


@SETTINGS
@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True))
def test_natural_order_is_the_order_of_numbers(numbers):
    names = sorted((f"a_{n}_b.xy" for n in numbers), key=natural_key)
    assert names == [f"a_{n}_b.xy" for n in sorted(numbers)]
