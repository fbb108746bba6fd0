"""Measurements that run or were stopped: what is whole is read, and what is not is said."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.benchmarks import synthetic_files
from tests.support.pattern_files import refusal, write_file
from xrd_jax.io import patterns

SCANS = [(10.0, 0.02, np.arange(30) % 7 * 13 + i) for i in range(3)]
RAS_END = -len("*RAS_INT_END\r\n*RAS_DATA_END\r\n")
BOTH_LINES = (1.5406 + 0.5 * 1.54439) / 1.5
CUT = "may be cut, or is still being written"


def read(tmp_path, content, name):
    return patterns.read_scans(write_file(tmp_path, content, name))


def test_a_scan_that_has_only_begun_is_left_out(tmp_path):
    begun = b'<scan scanAxis="Gonio" status="Not finished"><header/></scan></xrdMeasurement>'
    content = synthetic_files.xrdml(SCANS).replace(b"</xrdMeasurement>", begun, 1)
    scans = read(tmp_path, content, "a.xrdml")
    assert len(scans) == 3 and "scan 4 has no intensities" in scans[2].notes[-1] and CUT in scans[2].notes[-1]
    assert not scans[0].notes
    only = synthetic_files.xrdml([]).replace(b"</xrdMeasurement>", begun, 1)
    assert "wait until it is measured" in refusal(write_file(tmp_path, only, "b.xrdml"))


def test_a_scan_between_others_that_was_not_measured_is_left_out(tmp_path):
    empty = b'<scan scanAxis="Gonio" status="Aborted"><header/></scan>'
    content = synthetic_files.xrdml(SCANS)
    middle = content.index(b"<scan ", content.index(b"</scan>"))
    scans = read(tmp_path, content[:middle] + empty + content[middle:], "a.xrdml")
    assert [scan.intensity[0] for scan in scans] == [0, 1, 2]


@pytest.mark.parametrize(
    ("form", "end", "held"),
    [("RAW", -4 * 10, 20), ("RAW2", -4 * 10, 20), ("RAW1.01", -4 * 10, 20), ("ras", RAS_END, 30),
     ("SPEC", -60, 26)],
)  # fmt: skip
def test_a_scan_that_was_stopped_is_read_where_it_is_all_there_is(tmp_path, form, end, held):
    suffix, write, _ = synthetic_files.FORMATS[form]
    (scan,) = read(tmp_path, write(SCANS[:1])[:end], "a" + suffix)
    np.testing.assert_array_equal(scan.intensity, SCANS[0][2][:held])
    assert any(CUT in note for note in scan.notes)
    whole = read(tmp_path, write(SCANS)[:end], "b" + suffix)
    assert len(whole) == 2 and CUT in whole[-1].notes[-1] and whole[-1].intensity.size == 30


@pytest.mark.parametrize("form", ["GSAS FXYE", "GSAS ESD"])
def test_one_more_point_than_announced_is_said(tmp_path, form):
    suffix, write, _ = synthetic_files.FORMATS[form]
    (scan,) = read(tmp_path, write(SCANS[:1]).replace(b"BANK 1 30 30", b"BANK 1 29 29"), "a" + suffix)
    if form == "GSAS FXYE":
        assert scan.axis.size == 30 and "announces 29 rows but there are 30: all were taken" in scan.notes[0]
    np.testing.assert_array_equal(scan.intensity[:29], SCANS[0][2][:29])


def test_headers_of_gsas_files_state_start_and_wavelength(tmp_path):
    content = synthetic_files.gsas(SCANS[:1], "FXYE")
    header = b"# Scan time = MAR 14, 2024 09:00:00.5\n# Calibrated wavelength = 0.5 A\n# Run no. = 7\n"
    (scan,) = read(tmp_path, content.replace(b"BANK", header + b"BANK", 1), "a.fxye")
    assert scan.wavelength == 0.5 and scan.start_time.isoformat() == "2024-03-14T09:00:00.500000"
    (scan,) = read(tmp_path, content.replace(b"BANK", header.replace(b" A", b"") + b"BANK", 1), "b.fxye")
    assert scan.wavelength is None and "a wavelength of 0.5 without a unit" in scan.notes[0]


def test_powder_cif_gives_uncertainties_and_leaves_out_points_without_a_value(tmp_path):
    content = """data_a
loop_
_diffrn_radiation_wavelength
_diffrn_radiation_wavelength_wt
1.54056 1.0
1.54439 0.5
loop_
_pd_meas_2theta_scan
_pd_meas_counts_total
_pd_calc_intensity_total
10.0 100(10) 99.1
10.1 1.5E2(3) 99.2
10.2 ? 1
10.3 22.50(15) 99.4
loop_
_atom_site_label
X1
"""
    (scan,) = read(tmp_path, content, "a.cif")
    np.testing.assert_allclose(scan.axis, [10.0, 10.1, 10.3])
    np.testing.assert_allclose(scan.intensity, [100, 150, 22.5])
    np.testing.assert_allclose(scan.errors, [10, 30, 0.15])
    assert scan.wavelength == pytest.approx((1.54056 + 0.5 * 1.54439) / 1.5) and "1 points without" in scan.notes[0]
    assert "without a powder pattern" in refusal(write_file(tmp_path, "data_x\n_cell_length_a 3.6\n", "b.cif"))


@pytest.mark.parametrize("value", ["10.0x10", "1(1)E400", "0/02", "10e99999999(3)"])
def test_a_damaged_number_in_a_cif_is_refused_with_the_name_of_the_file(tmp_path, value):
    content = synthetic_files.cif(SCANS[:1]).replace(b"_min 10.0000", b"_min " + value.encode())
    assert "a.cif: data_scan_0" in refusal(write_file(tmp_path, content, "a.cif"))
    content = synthetic_files.cif(SCANS[:1], listed=True).replace(b"13(7)", value.encode())
    assert "a.cif: data_scan_0" in refusal(write_file(tmp_path, content, "a.cif"))


def test_a_spec_scan_takes_its_columns_by_heading_or_by_place(tmp_path):
    content = synthetic_files.spec(SCANS[:1]).replace(b"Two Theta  Monitor", b"Energy  Diode")
    path = write_file(tmp_path, content, "a.spec")
    assert patterns.read_pattern(path).kind is None and patterns.read_pattern(path).metadata["signal"] == "Detector"
    np.testing.assert_array_equal(patterns.read_scans(path, columns=("Energy", 2))[0].intensity, 1000)


@pytest.mark.parametrize(
    ("header", "wavelength", "said"),
    [
        ("Lambda1 1.5406\nLambda2 1.54439\n2Theta Intensity\n", BOTH_LINES, "2:1"),
        ("#lambda1: 1.5406\n#lambda2: 1.54439\n#I2: 0.46\n", (1.5406 + 0.46 * 1.54439) / 1.46, ""),
        ("K-Alpha1 wavelength,1.5406\nK-Alpha2 wavelength,1.54439\nRatio K-Alpha2/K-Alpha1,0\nx,y\n", 1.5406, ""),
        ("K-Alpha1 wavelength [nm],0.15406\nK-Alpha2 wavelength [nm],0.154439\nx,y\n", BOTH_LINES, "2:1"),
        ("Lambda1 0.5\nLambda2 0.9\n", None, "without a unit"),
        ("# Wave = 0.6199\n# Date = 2024-03-14 09:00:00 Dt = 60\n", None, "a wavelength of 0.6199 without a unit"),
        ("# Wave = 0.06199 nm\n# Date = 2024-03-14 09:00:00 Dt = 60 s\n", 0.6199, ""),
    ],
)  # fmt: skip
def test_two_lines_of_a_tube_are_one_wavelength(tmp_path, header, wavelength, said):
    separator = "," if "," in header else " "
    rows = "".join(f"{x:.2f}{separator}{y}\n" for x, y in zip(np.arange(30) / 50 + 10, SCANS[0][2], strict=True))
    (scan,) = read(tmp_path, header + rows, "a.xy")
    assert scan.wavelength == (None if wavelength is None else pytest.approx(wavelength, abs=1e-6))
    assert said in " ".join(scan.notes) and bool(said) == bool(scan.notes)
    if "Date" in header:
        assert scan.start_time.isoformat() == "2024-03-14T09:00:00"


def test_key_and_value_parted_by_commas_say_what_was_scanned(tmp_path):
    header = '[Conditions]\r\nComment,"Stage=spinner, Created=1/1/2024 6:26:00 PM"\r\nAnode material,Mo\r\n'
    header += "File date and time,14/March/2024 09:00\r\nScan axis,Gonio\r\nScan range,10,11\r\n[Scan points]\r\n"
    (scan,) = read(tmp_path, header + "Angle,Intensity\r\n10.0,1.5\r\n10.5,2.5\r\n11.0,3.5\r\n", "a.csv")
    assert scan.kind == "two_theta" and scan.metadata["Anode"] == "Mo"
    assert scan.start_time.isoformat() == "2024-03-14T09:00:00"
    (scan,) = read(tmp_path, header.replace("Gonio", "Omega") + "Angle,Intensity\r\n10.0,1.5\r\n10.5,2.5\r\n", "b.csv")
    assert scan.kind is None


@pytest.mark.parametrize("title", ["a \x07bell", "\x1b[31mred", "title\x00" * 3, "\x01" * 40])
def test_control_characters_in_a_title_do_no_harm(tmp_path, title):
    (scan,) = read(tmp_path, f"# {title}\n10.0 5\n10.5 6\n11.0 7\n", "a.xy")
    assert scan.intensity.tolist() == [5, 6, 7] and scan.metadata["header"].isprintable()
    assert "is not a number" in refusal(write_file(tmp_path, "10.0 5\n10.5 6\x007\n11.0 7\n12.0 8\n", "b.xy"))


def test_words_between_blocks_part_scans_and_words_within_one_are_refused(tmp_path):
    block = "10.0 5\n10.5 6\n11.0 7\n"
    (scan,) = read(tmp_path, f"{block}Result vector\n{block}", "a.xy")
    assert "2 times over" in scan.notes[0]
    scans = read(tmp_path, f"{block}Result vector\n{block.replace('6', '9')}end of data\n", "b.xy")
    assert len(scans) == 2 and scans[1].intensity[1] == 9
    (scan,) = read(tmp_path, f"{block}Result vector\n1 2 3\n4 5 6\n", "c.xy")
    assert scan.axis.size == 3 and "another table, which was left out" in scan.notes[0]
    assert "row 4: 'Result'" in refusal(write_file(tmp_path, f"{block}Result vector\n12.0 1\n13.0 2\n", "d.xy"))


def test_commas_in_remarks_are_no_decimal_marks(tmp_path):
    (scan,) = read(tmp_path, "10.0 5\n10.5 6\n# beam lost, at 60, degrees\n11.0 7\n", "a.xy")
    assert scan.intensity.tolist() == [5, 6, 7]
    (scan,) = read(tmp_path, "10,0 5\n# 1.5, degrees\n10,5 6\n", "b.xy")
    assert scan.axis.tolist() == [10, 10.5]
