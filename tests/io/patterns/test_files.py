"""Real files read with the values that other programs give; frames against pyFAI itself; names of axes."""

from __future__ import annotations

import datetime
import xml.etree.ElementTree as ElementTree
import zipfile

import h5py
import numpy as np
import pytest

from tests.support.paths import real_file
from tests.support.pattern_files import refusal
from xrd_jax.io import patterns
from xrd_jax.io.patterns import axes

UTC = datetime.UTC
KALPHA = (1.540598 + 0.5 * 1.544426) / 1.5
BRUKER_KALPHA = (1.5406 + 0.5 * 1.54439) / 1.5

# points, first and last position, sum of intensities: of geddes 1.0, of xylib's layout for RAW and RAW2, and of the
# text itself; wavelength and start as each file states them.
REAL = {
    "brml/23-012-AG_2thomegascan_long.brml": (2001, 44.0, 48.0, 13287743.1, 1.5406, "2023-01-26T15:23:09.837152+01:00"),
    "brml/TiOF.brml": (2469, 9.998839261, 60.012776015, 5856036, 1.54184, "2025-02-26T10:47:52.870879+00:00"),
    "bruker_raw/TiO2.raw": (1647, 10.0, 70.041142, 565823, BRUKER_KALPHA, "2018-07-11T15:55:31"),
    "bruker_raw/brk_raw1.raw": (876, 4.98, 39.98, 550306, None, None),
    "bruker_raw/brk_raw2.raw": (7251, 5.0, 150.0, 1567326, 1.541856, "1997-12-19T21:57:00"),
    "bruker_raw/xrdpattern_CO-2.raw": (3911, 10.0001, 89.97737087, 39619193, BRUKER_KALPHA, "2021-11-29T11:17:18"),
    "bruker_raw/xrdpattern_Spinel.raw": (3911, 10.0001, 89.97737087, 32921639, BRUKER_KALPHA, "2021-11-05T12:47:26"),
    "dat/example_mythen.dat": (730, 2.084, 5.0, 2285176.40426600, None, None),
    "nxs/xrdml_918-16_10_ref.nxs": (5027, 4.00656514, 69.99936587, 3643728, None, None),
    "rasx/Omega-2Theta_scan_high_temperature.rasx": (
        1042,
        44,
        48.9968,
        21844.99623591,
        1.540593,
        "2020-08-03T20:16:09Z",
    ),
    "rasx/TwoTheta_scan_powder.rasx": (2726, 10, 119, 149926.85335922, 1.540593, "2021-05-05T10:35:31Z"),
    "xrdml/HL1-2_5-90_60min.xrdml": (6474, 5.00116514, 89.99348491, 7388773, KALPHA, "2024-03-08T11:13:20-06:00"),
    "xrdml/Scan_C1.xrdml": (7181, 5.00475563, 124.99166689, 2627182, KALPHA, "2020-11-06T18:09:37Z"),
    "xrdml/XRD-918-16_10.xrdml": (5027, 4.00656514, 69.99936587, 3643728, 1.540598, "2021-03-16T13:10:14+03:00"),
    "xy/example_evadiffract.xy": (28, 5.0001, 5.2743, 133.477, None, None),
    "xy/example_ocx.xy": (1876, 5.0, 80.0, 1844.998, None, None),
    "xye/example_bmb.xye": (575, 0.5, 1.073103125, 169493.376844, None, "2017-04-12T01:23:16.472073"),
    "xye/example_mythen.xye": (74, 2.038, 2.33, 4547546.0, None, None),
}


def root():
    return real_file("formats/xrd")


@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    points, first, last, total, wavelength, start = REAL[name]
    pattern = patterns.read_pattern(root() / name)
    assert pattern.axis.size == points
    np.testing.assert_allclose([pattern.axis[0], pattern.axis[-1]], [first, last], atol=1e-8)
    np.testing.assert_allclose(pattern.intensity.sum(), total, rtol=1e-9)
    assert pattern.wavelength == (None if wavelength is None else pytest.approx(wavelength, abs=1e-6))
    assert pattern.start_time == (None if start is None else datetime.datetime.fromisoformat(start))
    assert pattern.kind == (None if "mythen" in name or "ocx" in name else "two_theta")
    assert (pattern.errors is not None) == (name.endswith(".xye") or name.endswith("mythen.dat"))


def test_the_same_measurement_in_two_formats_is_the_same():
    names = ("xrdml/XRD-918-16_10.xrdml", "nxs/xrdml_918-16_10_ref.nxs")
    first, second = (patterns.read_pattern(root() / name) for name in names)
    np.testing.assert_array_equal(first.intensity, second.intensity)
    np.testing.assert_allclose(first.axis, second.axis, atol=1e-9)


def test_brml_against_its_xml():
    path = root() / "brml" / "23-012-AG_2thomegascan_long.brml"
    with zipfile.ZipFile(path) as archive:
        tree = ElementTree.fromstring(archive.read("Experiment0/RawData0.xml"))
    rows = np.array([row.text.split(",") for row in tree.iter("Datum")], float)
    pattern = patterns.read_pattern(path)
    np.testing.assert_array_equal(pattern.axis, rows[:, 2])
    np.testing.assert_array_equal(pattern.intensity, rows[:, 7])
    assert pattern.exposure == pytest.approx(2030.408132)


def test_spectra_over_angles_are_read_row_by_row():
    path = root() / "nxs" / "chopper.nxs"
    scans = patterns.read_scans(path)
    with h5py.File(path) as file:
        np.testing.assert_array_equal([pattern.intensity for pattern in scans], file["entry/data/data"][()])
    assert len(scans) == 148 and scans[0].kind is None and "bin edges" in scans[0].notes[0]


def test_files_without_a_pattern_say_what_they_are():
    assert "/processed/result is empty" in refusal(root() / "nxs" / "i11-1-116482_processed_251003_095210.nxs")
    assert "a Stoe WinXPOW raw file" in refusal(root() / "stoe_raw" / "xrdpattern_stoe.raw")
    assert "negative intensity" in refusal(root() / "bruker_raw" / "nomad_TwoTheta_scan_scrambled.raw")
    scrambled = root() / "bruker_raw" / "nomad_TwoTheta_scan_scrambled.raw"
    assert patterns.read_pattern(scrambled, allow_negative=True).intensity.sum() == pytest.approx(2107237.93820926)


# --- frames


@pytest.fixture
def frame(tmp_path):
    """A frame of rings with its calibration, and the pattern that pyFAI gives."""
    fabio = pytest.importorskip("fabio", reason="frames need the extra beamline")
    integrator = pytest.importorskip("pyFAI.integrator.azimuthal", reason="frames need the extra beamline")
    geometry = integrator.AzimuthalIntegrator(0.1, 0.006, 0.005, 0, 0, 0, 1e-4, 1e-4, wavelength=0.5e-10)
    y, x = np.indices((120, 100))
    counts = (50 + 40 * np.cos(np.hypot(x - 50, y - 60) / 4)).astype(np.int32)
    counts[3, :20] = -1
    geometry.save(str(tmp_path / "geometry.poni"))
    header = {"_array_data.header_contents": "# 2017-09-24T13:15:59.123\r\n# Exposure_time 1.5 s"}
    fabio.cbfimage.CbfImage(data=counts, header=header).write(str(tmp_path / "a.cbf"))
    fabio.edfimage.EdfImage(data=counts).write(str(tmp_path / "a.edf"))
    fabio.tifimage.TifImage(data=counts).write(str(tmp_path / "a.tif"))
    angle = np.degrees(np.arctan(np.hypot(x + 0.5 - 50, y + 0.5 - 60) * 1e-4 / 0.1))
    return tmp_path, counts, angle


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["cbf", "edf", "tif"])
def test_frames_are_integrated(frame, suffix):
    folder, counts, angle = frame
    pattern = patterns.read_pattern(folder / f"a.{suffix}")
    assert pattern.kind == "two_theta" and pattern.wavelength == pytest.approx(0.5) and pattern.errors is not None
    assert pattern.axis[-1] == pytest.approx(angle.max(), rel=0.02)
    good = counts >= 0  # the mean over a ring is the mean of its pixels
    for low in (1.0, 2.0, 3.0):
        ring = good & (angle > low) & (angle < low + 0.3)
        near = (pattern.axis > low) & (pattern.axis < low + 0.3)
        assert pattern.intensity[near].mean() == pytest.approx(counts[ring].mean(), rel=0.06)
    if suffix == "cbf":
        assert pattern.exposure == 1.5 and pattern.start_time == datetime.datetime(2017, 9, 24, 13, 15, 59, 123000)


@pytest.mark.filterwarnings("ignore")
def test_frames_need_one_calibration_that_fits(frame):
    folder, *_ = frame
    (folder / "geometry.poni").rename(folder / "elsewhere.txt")
    assert "no .poni file lies beside it" in refusal(folder / "a.cbf")
    np.testing.assert_allclose(patterns.read_pattern(f"{folder}/a.cbf::elsewhere.txt").intensity.min() > 0, True)
    for name in ("x.poni", "y.poni"):
        (folder / name).write_text("Distance: none\n")
    assert "2 .poni files lie beside it" in refusal(folder / "a.cbf")
    assert "is no pyFAI calibration" in refusal(f"{folder}/a.cbf::x.poni")
    content = (folder / "a.tif").read_bytes()
    (folder / "cut.tif").write_bytes(content[: len(content) // 3])
    (folder / "cut.poni").write_bytes((folder / "elsewhere.txt").read_bytes())
    assert "cut.tif" in refusal(folder / "cut.tif")


# --- headings


@pytest.mark.parametrize(
    ("label", "kind", "factor"),
    [
        ("2th_deg", "two_theta", 1), ("2Theta", "two_theta", 1), ("2θ (°)", "two_theta", 1),
        ("two theta [deg]", "two_theta", 1), ("Pos. [°2Th.]", "two_theta", 1), ("tth", "two_theta", 1),
        ("2th_rad", "two_theta", 57.29577951308232),
        ("2theta (mrad)", "two_theta", 0.05729577951308232), ("E (keV)", "energy", 1000), ("E", None, 1),
        ("theta", None, 1), ("angle", None, 1), ("q_A^-1", "q", 1),
        ("q_nm^-1", "q", 0.1), ("Q (Å⁻¹)", "q", 1), ("q", None, 1), ("d (Å)", "d", 1),
        ("d-spacing [nm]", "d", 10), ("Energy (keV)", "energy", 1000), ("energy/eV", "energy", 1),
        ("energy", None, 1), ("energy (meV)", None, 1), ("Raman shift (cm-1)", "wavenumber", 1),
        ("wavenumber", "wavenumber", 1), ("Wavelength (nm)", "wavelength", 1), ("wavelength", None, 1),
        ("Chemical shift (ppm)", "ppm", 1), ("velocity (mm/s)", "velocity", 1), ("Channel", "channel", 1),
        ("r_mm", None, 1), ("time", None, 1),
    ],
)  # fmt: skip
def test_headings_name_kind_and_unit(label, kind, factor):
    assert axes.kind_of(label) == (kind, pytest.approx(factor))
