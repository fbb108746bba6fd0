"""Laws of the text pattern reader: what is written is what is read, and what is broken is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pattern_files import refusal, write_file
from xrd_jax.errors import UserError
from xrd_jax.io import patterns

SETTINGS = settings(deadline=None, derandomize=True, max_examples=60, database=None)
SEPARATORS = (" ", "\t", "   ", ",", ", ", ";", "; ")
HEADERS = (
    "",
    "# two theta, intensity\n# wavelength = 1.5406\n",
    '\'Id: "" Anode: "Mo" Scantype: "Still"\n',
    "/* made by hand\n 5 lines of words\n*/\n",
    "! a\n; b\n",
    "theta,intensity\n",
    "Winkel 2θ\tZählrate\n",
)
COLUMNS = (np.arange(6) * 0.02 + 5, np.array([4, 8.5, 0, 12.25, 7, 6]), np.array([2, 2.9, 1, 3.5, 2.6, 2.4]))


def write(columns, separator=" ", header="", comma=False, end="\n"):
    rows = [separator.join(f"{value:.6f}" for value in row) for row in zip(*columns, strict=True)]
    body = "\n".join(rows).replace(".", ",") if comma else "\n".join(rows)
    return (header + body + "\n").replace("\n", end)


def read(tmp_path, content, name="a.xy", **options):
    return patterns.read_pattern(write_file(tmp_path, content, name), **options)


def refused(tmp_path, content, name="a.xy"):
    return refusal(write_file(tmp_path, content, name))


@SETTINGS
@given(
    rows=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e3)), min_size=2, max_size=30),
    errors=st.booleans(),
    separator=st.sampled_from(SEPARATORS),
    header=st.sampled_from(HEADERS),
    comma=st.booleans(),
    end=st.sampled_from(("\n", "\r\n", "\r")),
    encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "cp1251", "cp932", "latin-1")),
    footer=st.sampled_from(("", "\n\n", "# end\n")),
)
def test_round_trip(tmp_path_factory, rows, errors, separator, header, comma, end, encoding, footer):
    comma = comma and "," not in separator
    columns = (np.arange(len(rows)) * 0.02 + 5, *np.array(rows).T[: 2 if errors else 1])
    content = write(columns, separator, header, comma, end) + footer.replace("\n", end)
    path = tmp_path_factory.getbasetemp() / "round_trip.dat"
    path.write_bytes(content.encode(encoding, errors="replace"))
    read_back = patterns.read_pattern(path)
    np.testing.assert_allclose(read_back.axis, columns[0], atol=1e-6)
    np.testing.assert_allclose(read_back.intensity, columns[1], atol=1e-6)
    assert (read_back.errors is not None) == errors
    if errors:
        np.testing.assert_allclose(read_back.errors, columns[2], atol=1e-6)


@SETTINGS
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.xy"
    path.write_bytes(data)
    try:
        assert np.isfinite(patterns.read_pattern(path).intensity).all()
    except UserError as error:
        assert "\n" not in str(error)


@SETTINGS
@given(cut=st.integers(0, 10**6))
def test_a_cut_file_never_gains_a_wrong_row(tmp_path_factory, cut):
    columns = (np.arange(40) * 0.02 + 5, np.linspace(1, 3, 40))
    content = write(columns)
    path = tmp_path_factory.getbasetemp() / "cut.xy"
    path.write_text(content[: cut % len(content)])
    try:
        pattern = patterns.read_pattern(path)
    except UserError:
        return
    if pattern.axis.size > 20:  # below, too few rows tell what a whole number looks like
        np.testing.assert_allclose(pattern.intensity, columns[1][: pattern.axis.size], atol=1e-6)


def test_chi_has_four_header_lines_and_says_how_many_rows(tmp_path):
    header = "2023 scan 5\n2-Theta Angle (Degrees)\nIntensity\n       6\n"
    np.testing.assert_allclose(read(tmp_path, write(COLUMNS[:2], "  ", header), "a.chi").intensity, COLUMNS[1])
    stopped = read(tmp_path, write(COLUMNS[:2], " ", header.replace("6", "9")), "a.chi")
    assert "announces 9 rows but there are 6: the measurement was stopped, or the file may be cut" in stopped.notes[0]
    longer = read(tmp_path, write(COLUMNS[:2], " ", header.replace("6", "5")), "a.chi")
    assert longer.axis.size == 6 and "announces 5 rows but there are 6: all were taken" in longer.notes[0]


def test_header_becomes_metadata(tmp_path):
    pattern = read(tmp_path, write(COLUMNS[:2], header=HEADERS[2]))
    assert pattern.metadata["Anode"] == "Mo" and pattern.start_time is None and pattern.errors is None
    assert read(tmp_path, write(COLUMNS[:2], header=HEADERS[1])).metadata["wavelength"] == "1.5406"


def test_falling_axis_is_turned_round(tmp_path):
    pattern = read(tmp_path, write([column[::-1] for column in COLUMNS]))
    np.testing.assert_allclose(pattern.axis, COLUMNS[0])
    np.testing.assert_allclose(pattern.errors, COLUMNS[2])
    assert "turned round" in pattern.notes[0]


@pytest.mark.parametrize("header", ["", "# head\n", "theta intensity\n"])
def test_a_block_that_repeats_the_first_is_dropped_and_said(tmp_path, header):
    once = write(COLUMNS[:2], header=header)
    pattern = read(tmp_path, once + "\n" + once)
    np.testing.assert_allclose(pattern.intensity, COLUMNS[1])
    assert "2 times over" in pattern.notes[0]


def test_trailing_separators_are_no_column(tmp_path):
    np.testing.assert_allclose(read(tmp_path, "1.0,2.0,\n2.0,3.0,\n").intensity, [2, 3])


def test_background_may_go_negative_when_allowed(tmp_path):
    assert read(tmp_path, "1 -2\n2 3\n", allow_negative=True).intensity[0] == -2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("# only words\n", "no row with two numbers"),
        (b"\x00\x01\x02binary" * 9, "not a pattern"),
        ("<?xml version='1.0'?>\n<a/>", "not a pattern"),
        ("1.0 2.0\n", "only one row"),
        ("1.0 2.0\n1.5\n2.0 3.0\n", "row 2 has 1 column where the first has 2"),
        ("# c\n1.0 2.0\n1.5 2.0\n2.0\n", "row 4 has 1 column"),
        ("1 2 3\n2 3 4\n3 4\n", "row 3 has 2 columns where the first has 3"),
        ("1 2 3 4\n2 3 4 5\n", "row 1 has 4 columns"),
        ("1,0,2,0\n1,5,3,0\n", "commas both"),
        ("1,0 2.0\n1,5 3.0\n", "both decimal points and commas"),
        ("1.0;2,0\n1.5;3,0\n", "both decimal points and commas"),
        ("1.0 2.0\n1.5 nan\n", "row 2: the intensity is NaN"),
        ("1.0 inf\n1.5 2.0\n", "row 1: the intensity is NaN or infinite"),
        ("nan 1\n1.5 2.0\n", "row 1: the position is NaN"),
        ("1.0 2.0\n1.5 -0.5\n", "row 2: negative intensity -0.5; if a background was subtracted, set allow_negative"),
        ("1 2 1\n2 3 -1\n", "row 2: negative uncertainty"),
        ("1.0 2\n2.0 3\n1.5 4\n", "row 3: position 1.5 follows 2"),
        ("1.0 2\n1.0 3\n1.5 4\n", "row 2: position 1 follows 1"),
        ("1.0 2\n2.0 3\n1.0 2\n2.0 4\n", "row 3 starts a second block that differs"),
        ("1.0 2\n\n2.0 x3\n", "row 3: 'x3' is not a number"),
        ("1.0 2\n2.0 1_000\n", "row 2: '1_000' is not a number"),
        ("1.0 2\nsaved by nobody\n2.0 3\n", "row 2: 'saved' is not a number"),
        ("1.0 abc\n2.0 3\n", "neither numbers nor words"),
        ("1.0,,2.0\n2.0,,3.0\n", "is not a number"),
    ],
)
def test_refusals_name_row_and_reason(tmp_path, content, words):
    assert words in refused(tmp_path, content)


@pytest.mark.parametrize("missing", [3, 7, 10, 13])
def test_a_half_written_last_row_is_left_out_and_said(tmp_path, missing):
    axis, intensity = np.arange(40) * 0.02 + 5, np.linspace(1, 3, 40)
    content = write((axis, intensity))
    assert read(tmp_path, content[:-1]).axis.size == 40
    pattern = read(tmp_path, content[:-missing])
    np.testing.assert_allclose(pattern.intensity, intensity[:39], atol=1e-6)
    assert len(pattern.notes) == 1 and "may be cut, or is still being written" in pattern.notes[0]


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        patterns.read_pattern(tmp_path / "none.xy")
    with pytest.raises(UserError, match=r"cannot be read|no file but a folder"):
        patterns.read_pattern(tmp_path)


def test_numbers_survive_whatever_code_page(tmp_path):
    header = "'Оператор: 日本"
    for encoding in ("cp1251", "cp932"):
        content = (header.encode(encoding, errors="replace")) + b"\r\n" + write(COLUMNS[:2], end="\r\n").encode()
        np.testing.assert_allclose(read(tmp_path, content).intensity, COLUMNS[1])


PYFAI = """# == pyFAI calibration ==
# {
#     "dist": 0.1,
#     "wavelength": 1e-10
# }
# Mask applied: False
#q_nm^-1        I              sigma
"""


def test_integrated_text_gives_kind_unit_and_wavelength_from_metres(tmp_path):
    pattern = read(tmp_path, write(COLUMNS, "   ", PYFAI))
    assert pattern.kind == "q" and pattern.wavelength == pytest.approx(1.0)
    np.testing.assert_allclose(pattern.axis, COLUMNS[0] / 10)
    np.testing.assert_allclose(pattern.errors, COLUMNS[2])
    broken = PYFAI.replace("#q_nm^-1        I              sigma", "#{str(dim1_unit):14s}  {'I':14s}  {'sigma':14s}")
    assert read(tmp_path, write(COLUMNS, "   ", broken)).kind is None


@pytest.mark.parametrize(
    ("line", "wavelength"),
    [
        ("# Wavelength (Å): 0.7107", 0.7107), ("# wavelength = 0.15406 nm", 1.5406),
        ("# lambda: 0.4 Angstrom", 0.4), ("# Wavelength: 4.1e-11", 0.41), ("# Wavelength: 1.5406", None),
        ("# Laser wavelength error: 3 nm", None), ("# Wavelength: -1 nm", None),
    ],
)  # fmt: skip
def test_a_wavelength_needs_its_unit(tmp_path, line, wavelength):
    found = read(tmp_path, write(COLUMNS[:2], header=line + "\n")).wavelength
    assert found == (None if wavelength is None else pytest.approx(wavelength))


def test_headings_choose_the_columns(tmp_path):
    columns = (COLUMNS[0], COLUMNS[2], COLUMNS[1], COLUMNS[2] / 2, COLUMNS[2] / 4)
    header = "2theta,bkg,y_obs,sigma,ycalc\n"
    pattern = read(tmp_path, write(columns, ",", header), "a.csv")
    np.testing.assert_allclose(pattern.intensity, COLUMNS[1], atol=1e-6)
    np.testing.assert_allclose(pattern.errors, COLUMNS[2] / 2, atol=1e-6)
    assert pattern.kind == "two_theta" and "bkg, ycalc were left out" in pattern.notes[0]
    third = read(tmp_path, write(COLUMNS, ",", "2theta,intensity,background\n"), "a.csv")
    assert third.errors is None and "background was left out" in third.notes[0]
    assert read(tmp_path, write(COLUMNS, " ", "# made by hand\n")).errors is not None


def test_the_title_of_a_chi_file_names_its_axis(tmp_path):
    header = "scan 5\n2-Theta Angle (Degrees)\nIntensity\n       6\n"
    assert read(tmp_path, write(COLUMNS[:2], "  ", header), "a.chi").kind == "two_theta"
    assert read(tmp_path, write(COLUMNS[:2], "  ", header.replace("2-Theta Angle", "Angle")), "a.chi").kind is None


def test_times_and_exposure_of_a_header(tmp_path):
    header = "# start: 2024-01-02T03:04:05+01:00\n# end: 2024-01-02T03:05:05+01:00\n# Exposure time (s): 55.5\n"
    pattern = read(tmp_path, write(COLUMNS[:2], header=header))
    assert pattern.start_time.isoformat() == "2024-01-02T03:04:05+01:00" and pattern.exposure == 55.5
    assert (pattern.end_time - pattern.start_time).total_seconds() == 60
    header = "# date: 01/02/2024 03:04:05\n# Time per step (s): 5\n# file saved: 2024-01-02T03:04:05\n"
    pattern = read(tmp_path, write(COLUMNS[:2], header=header))
    assert pattern.start_time is None and pattern.exposure is None


def test_an_end_without_line_end_is_noted(tmp_path):
    assert read(tmp_path, "1 20\n2 30").notes == ("the last line has no end and may be cut, or is still being written",)
    assert read(tmp_path, "1 20\n2 30\n").notes == ()
