"""Every format: what is written is what is read, with kind, wavelength and time, or pattern line that says why not."""

from __future__ import annotations

import datetime
import io

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.benchmarks import synthetic_files
from tests.support.pattern_files import refusal, write_file
from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.parsing import plugins
from xrd_jax.io.patterns import nexus

SETTINGS = settings(deadline=None, derandomize=True, max_examples=25, database=None)
SCAN = (10.0, 0.02, np.arange(30) % 7 * 13)
UTC = datetime.UTC


@st.composite
def scan_lists(draw, max_scans=3):
    """Scans of 20 to 60 points whose start and step have few decimals, as instruments state them."""
    scans = []
    for _ in range(draw(st.integers(1, max_scans))):
        start, step = draw(st.integers(0, 9000)) / 100, draw(st.integers(1, 40)) / 200
        counts = draw(st.lists(st.integers(0, 99_999), min_size=20, max_size=60))
        scans.append((start, step, np.array(counts, float)))
    return scans


@pytest.mark.parametrize("form", synthetic_files.FORMATS)
def test_round_trip(tmp_path_factory, form):
    suffix, write, has_many = synthetic_files.FORMATS[form]
    path = tmp_path_factory.mktemp("trip") / f"a{suffix}"

    @SETTINGS
    @given(scans=scan_lists(3 if has_many else 1))
    def check(scans):
        if form == "columns":  # blocks of text are told apart by positions that start again
            scans = scans[:1]
        path.write_bytes(write(scans))
        for pattern, scan in zip(patterns.read_scans(path), scans, strict=True):
            np.testing.assert_allclose(pattern.axis, synthetic_files.positions(scan), atol=2e-6)
            np.testing.assert_array_equal(pattern.intensity, scan[2])
            assert pattern.kind == (None if form in ("columns", "stepped") else "two_theta")

    check()


@SETTINGS
@given(scans=scan_lists())
def test_many_scans_in_one_text_file_are_parted_by_blank_lines(tmp_path_factory, scans):
    scans = [(5.0, step, counts) for _, step, counts in scans]
    path = write_file(tmp_path_factory.getbasetemp(), synthetic_files.columns(scans, "# number = {}\n"), "many.xy")
    read = patterns.read_scans(path)
    if len(scans) > 1 and all(np.array_equal(scan[2], scans[0][2]) and scan[1] == scans[0][1] for scan in scans):
        assert len(read) == 1 and "times over" in read[0].notes[0]
        return
    assert [pattern.metadata["number"] for pattern in read] == [str(i) for i in range(len(scans))]
    for pattern, scan in zip(read, scans, strict=True):
        np.testing.assert_array_equal(pattern.intensity, scan[2])
    if len(scans) > 1:
        with pytest.raises(UserError, match="where one is expected"):
            patterns.read_pattern(path)


FACTS = {
    "xrdml": (1.540598, datetime.datetime(2024, 3, 8, 17, 13, 20, tzinfo=UTC), 60.0),
    "brml": (1.5418, datetime.datetime(2025, 2, 26, 10, 47, 52, 870879, tzinfo=UTC), 1794.306523),
    "ras": (1.540598, datetime.datetime(2021, 7, 15, 10, 14, 16), None),
    "rasx": (1.540598, datetime.datetime(2021, 5, 5, 10, 35, 31, tzinfo=UTC), 6559.0),
    "RAW": (None, None, None),
    "RAW2": ((1.540598 + 0.5 * 1.544426) / 1.5, datetime.datetime(1997, 12, 19, 21, 57), None),
    "RAW1.01": ((1.540598 + 0.5 * 1.544426) / 1.5, datetime.datetime(2008, 12, 24, 10, 20, 30), None),
    "RAW4.00": ((1.540598 + 0.5 * 1.544426) / 1.5, datetime.datetime(2021, 11, 29, 11, 17, 18), None),
    "NXdata": (0.4, datetime.datetime(2001, 2, 7, 14, 54, 21, tzinfo=UTC), 60.0),
    "uxd": ((1.540598 + 0.5 * 1.544426) / 1.5, datetime.datetime(2009, 8, 12, 17, 4, 5), None),
    "stepped": (None, None, None),
    "Sietronics": (1.540598, None, None),  # a day alone is no start
    "Philips udf": ((1.540598 + 0.5 * 1.544426) / 1.5, None, None),
    "Jade mdi": (1.540598, datetime.datetime(2024, 3, 14, 9), None),
    "Rigaku asc": (1.540598, datetime.datetime(2024, 3, 14, 9), None),
    "powder CIF": (1.540598, None, None),
    "SPEC": (None, datetime.datetime(2024, 3, 14, 9), None),
}


@pytest.mark.parametrize("form", FACTS)
def test_wavelength_and_time_are_what_the_file_says(tmp_path, form):
    suffix, write, _ = synthetic_files.FORMATS[form]
    pattern = patterns.read_pattern(write_file(tmp_path, write([SCAN]), "a" + suffix))
    wavelength, start, exposure = FACTS[form]
    assert pattern.wavelength == (None if wavelength is None else pytest.approx(wavelength, rel=1e-6))
    assert pattern.start_time == start and pattern.exposure == exposure
    assert start is None or (pattern.start_time.tzinfo is None) == (start.tzinfo is None)


@pytest.mark.parametrize("form", synthetic_files.FORMATS)
def test_content_not_name_decides(tmp_path, form):
    _, write, _ = synthetic_files.FORMATS[form]
    np.testing.assert_array_equal(
        patterns.read_pattern(write_file(tmp_path, write([SCAN]), "mislabelled.cif")).intensity, SCAN[2]
    )


@pytest.mark.parametrize(
    ("intended", "wavelength"),
    [
        ("K-Alpha 1", 1.540598), ("K-Alpha 2", 1.544426), ("K-Alpha", (1.540598 + 0.5 * 1.544426) / 1.5),
        ("K-Beta", None),
    ],
)  # fmt: skip
def test_xrdml_takes_the_intended_line(tmp_path, intended, wavelength):
    pattern = patterns.read_pattern(write_file(tmp_path, synthetic_files.xrdml([SCAN], intended=intended), "a.xrdml"))
    assert pattern.wavelength == (None if wavelength is None else pytest.approx(wavelength, abs=1e-9))


def test_attenuation_multiplies_counts_but_not_intensities(tmp_path):
    factors = b"<beamAttenuationFactors>" + b" ".join([b"1"] * 30) + b"</beamAttenuationFactors>"
    other = factors.replace(b"1 1", b"1 10", 1)
    counts = synthetic_files.xrdml([SCAN], counts=True).replace(factors, other)
    pattern = patterns.read_pattern(write_file(tmp_path, counts, "a.xrdml"))
    np.testing.assert_array_equal(pattern.intensity[1:3], [10 * SCAN[2][1], SCAN[2][2]])
    assert "attenuation" in pattern.notes[0]
    corrected = synthetic_files.xrdml([SCAN]).replace(b"<intensities", other + b"<intensities")
    np.testing.assert_array_equal(patterns.read_pattern(write_file(tmp_path, corrected, "b.xrdml")).intensity, SCAN[2])
    short = counts.replace(other, b"<beamAttenuationFactors>1 10 1</beamAttenuationFactors>")
    assert "3 beamAttenuationFactors for 30 counts" in refusal(write_file(tmp_path, short, "c.xrdml"))


def test_ras_attenuator_multiplies(tmp_path):
    pattern = patterns.read_pattern(write_file(tmp_path, synthetic_files.ras([SCAN], 2.5), "a.ras"))
    np.testing.assert_allclose(pattern.intensity, 2.5 * SCAN[2])
    assert pattern.metadata["FILE_OPERATOR"] == "日本"


def test_scans_of_other_axes_have_no_kind(tmp_path):
    rocking = synthetic_files.uxd([SCAN], pairs=True, drive="THETA")
    assert patterns.read_pattern(write_file(tmp_path, rocking, "a.uxd")).kind is None
    ras = synthetic_files.ras([SCAN]).replace(b"TwoThetaTheta", b"Omega")
    assert patterns.read_pattern(write_file(tmp_path, ras, "a.ras")).kind is None
    raw = synthetic_files.raw4([SCAN]).replace(b"Locked Coupled", b"Rocking Curve ")
    assert patterns.read_pattern(write_file(tmp_path, raw, "a.raw")).kind is None


def test_gsas_gives_uncertainties(tmp_path):
    for form in ("ESD", "FXYE"):
        pattern = patterns.read_pattern(write_file(tmp_path, synthetic_files.gsas([SCAN], form), "a.gsas"))
        np.testing.assert_allclose(pattern.errors, 1 + SCAN[2])


@pytest.mark.parametrize("form", synthetic_files.FORMATS)
def test_a_cut_file_is_refused_or_loses_nothing_in_silence(tmp_path, form):
    suffix, write, _ = synthetic_files.FORMATS[form]
    whole = write([SCAN])
    whole_scan = patterns.read_pattern(write_file(tmp_path, whole, "whole" + suffix))
    for cut in range(1, len(whole) - 2, max(7, len(whole) // 300)):
        path = write_file(tmp_path, whole[:-cut], "a" + suffix)
        try:
            pattern = patterns.read_pattern(path)
        except UserError as error:
            assert "\n" not in str(error) and path.name in str(error) and len(str(error)) < 400
            continue
        if any("may be cut" in note for note in pattern.notes):
            continue
        # Rows that were never written cannot be missed, where nothing says how many there should be.
        has_no_count = form in ("columns", "uxd", "uxd pairs", "powder CIF, listed")
        assert has_no_count or pattern.axis.size == whole_scan.axis.size
        np.testing.assert_array_equal(pattern.intensity, whole_scan.intensity[: pattern.axis.size])
        np.testing.assert_allclose(pattern.axis, whole_scan.axis[: pattern.axis.size])


# --- HDF5


def write_hdf5(path, **members):
    with h5py.File(path, "w") as file:
        for key, value in members.items():
            file[key.replace("__", "/")] = value
    return path


def test_a_dataset_by_its_path(tmp_path):
    path = write_hdf5(tmp_path / "a.h5", a__counts=SCAN[2], a__q=np.arange(30) / 10)
    with h5py.File(path, "a") as file:
        file["a/q"].attrs["units"] = "1/nm"
    pattern = patterns.read_pattern(f"{path}::/a/counts,/a/q")
    np.testing.assert_allclose(pattern.axis, np.arange(30) / 100)
    assert pattern.kind == "q" and pattern.wavelength is None
    for inner, words in (("::/a/none", "there is no /a/none"), ("::/a/counts", "after a comma"), ("", "no NXdata")):
        with pytest.raises(UserError, match=words):
            patterns.read_scans(f"{path}{inner}")


def test_a_stack_gives_a_scan_per_row_and_can_be_streamed(tmp_path):
    stack = [(10.0, 0.02, SCAN[2] + i) for i in range(7)]
    path = write_file(tmp_path, synthetic_files.nexus(stack), "a.nxs")
    read = patterns.read_scans(path)
    assert len(read) == 7 and all(pattern.start_time is None for pattern in read)
    np.testing.assert_array_equal([pattern.intensity for pattern in read], [scan[2] for scan in stack])
    assert read[0].axis is read[6].axis
    pieces = list(nexus.rows(path, 3))
    assert [len(piece) for _, piece in pieces] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([piece for _, piece in pieces]), [scan[2] for scan in stack])


def test_a_stack_beyond_memory_is_refused_but_streamed(tmp_path):
    path = tmp_path / "huge.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("counts", (10_000_000, 2000), "u2", chunks=(64, 2000))  # 37 GiB that were never written
        file["two_theta"] = np.arange(2000.0)
    with pytest.raises(UserError, match="in pieces"):
        patterns.read_scans(f"{path}::/counts,/two_theta")
    assert next(nexus.rows(f"{path}::/counts,/two_theta", 10))[1].shape == (10, 2000)


def test_several_groups_need_a_name(tmp_path):
    path = tmp_path / "two.nxs"
    with h5py.File(io.BytesIO(synthetic_files.nexus([SCAN])), "r") as source, h5py.File(path, "w") as file:
        for name in ("one", "two"):
            source.copy("entry", file, name)
            del file[name].attrs["default"]
    assert "holds 2 data groups (/one/data, /two/data)" in refusal(path)
    np.testing.assert_array_equal(patterns.read_pattern(f"{path}::/two/data").intensity, SCAN[2])


def test_links_out_of_the_file_are_not_followed(tmp_path):
    write_hdf5(tmp_path / "secret.h5", counts=SCAN[2])
    path = tmp_path / "link.h5"
    with h5py.File(path, "w") as file:
        file["counts"] = h5py.ExternalLink("secret.h5", "/counts")
        file["x"] = np.arange(30.0)
    with pytest.raises(UserError, match=r"lies in another file \(secret.h5\)"):
        patterns.read_scans(f"{path}::/counts,/x")
    layout = h5py.VirtualLayout((30,), float)
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "counts", (30,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("counts", layout)
        file["x"] = np.arange(30.0)
    with pytest.raises(UserError, match="in other files"):
        patterns.read_scans(f"{path}::/counts,/x")


@pytest.mark.parametrize(
    ("name", "unit", "kind", "factor"),
    [
        ("q", "1/nm", "q", 0.1), ("q", "nm^-1", "q", 0.1), ("q", "1/angstrom", "q", 1.0), ("q", "", None, 1.0),
        ("2th", "deg", "two_theta", 1.0), ("two_theta", "rad", "two_theta", 57.29577951308232),
        ("two_theta", "", None, 1.0), ("energy", "keV", "energy", 1000.0), ("energy", "eV", "energy", 1.0),
        ("time_of_flight", "microseconds", None, 1.0), ("d", "angstrom", "d", 1.0),
        ("wavenumber", "1/cm", "wavenumber", 1.0),
    ],
)  # fmt: skip
def test_axes_of_nexus_by_name_and_unit(tmp_path, name, unit, kind, factor):
    path = tmp_path / "a.nxs"
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(NX_class="NXdata", signal="y", axes=name)
        data["y"], data[name] = np.ones(30), np.arange(1.0, 31)
        if unit:
            data[name].attrs["units"] = unit
    pattern = patterns.read_pattern(path)
    assert pattern.kind == kind
    np.testing.assert_allclose(pattern.axis, np.arange(1, 31) * factor)


# --- plug-ins


class EntryPoint:
    def __init__(self, name, load):
        self.name, self.value, self.load = name, f"made_up:{name}", load


@pytest.fixture
def entry_points(monkeypatch):
    """Puts entry points into place of those installed."""

    def put(*points):
        plugins.load_readers.cache_clear()
        monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: points)

    yield put
    plugins.load_readers.cache_clear()


def test_another_package_adds_a_reader(tmp_path, entry_points):
    pattern = patterns.Pattern(np.arange(3.0), np.ones(3), kind="ppm")
    reader = patterns.Reader("nmr", lambda head, path: head.startswith(b"NMR!"), lambda path, allow: (pattern,))
    entry_points(EntryPoint("nmr", lambda: reader))
    path = write_file(tmp_path, b"NMR!", "a.fid")
    assert patterns.read_pattern(path) is pattern and patterns.reader_of(path).name == "nmr"


def test_a_broken_plug_in_is_reported_and_stops_nothing(tmp_path, entry_points, caplog):
    def broken():
        raise ImportError("no such library")

    def fails(*_):
        raise ZeroDivisionError("oh")

    entry_points(
        EntryPoint("bad", broken),
        EntryPoint("odd", lambda: 5),
        EntryPoint("loud", lambda: patterns.Reader("loud", fails, fails)),
    )
    assert patterns.read_pattern(write_file(tmp_path, b"1 2\n2 3\n", "a.xy")).axis.size == 2
    assert "'bad'" in caplog.text and "'odd'" in caplog.text and "'loud'" in caplog.text
    entry_points(EntryPoint("late", lambda: patterns.Reader("late", lambda head, path: True, fails)))
    assert "the added reader 'late' failed (oh)" in refusal(write_file(tmp_path, b"1 2\n2 3\n", "a.xy"))
