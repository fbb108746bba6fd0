"""Real files of every maker, against what the files themselves, pandas and NewareNDA say of them."""

from __future__ import annotations

import csv
import datetime

import numpy as np
import pytest

from tests.support.cycler_files import NDAX, real_cycler_file
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers
from xrd_jax.io.cyclers.log import half_cycles

OPERANDO, NEWARE_CSV = "operando-xrd-mo/Operando/TD_O2.mpt", "operando-xrd-mo/extra_neware_csv/B443.csv"
ARBIN_XLSX = "arbin_xlsx/bs542_004_gr_li_50ua_50mv_1v_191020_Channel_11.xlsx"
# File: reader, rows, first and last s, lowest and highest V, then A, charge at the end in A h, start, half cycles.
READ = {
    "arbin_csv/sample_data_arbin.csv": (
        ("arbin-csv", 13, 30.0005, 301.214, 3.534552, 3.599601, 0, 2.650138, 0.0003804011),
        ("2024-09-20 08:32:04.5575", "c"),
    ),
    ARBIN_XLSX: (
        ("xlsx", 4526, 1.001, 1204815.81068, 0.0499935, 2.640909, -5.00268e-5, 5.2616e-5, 0.005703 - 0.011055),
        ("2020-10-19 11:31:45.581", "dcd"),
    ),
    "basytec/sample_data_basytec.txt": (
        ("basytec", 74, 0, 70.2358036666668, 3.5255631284671, 3.53285012323902, 0, 0.45350566, 0.001248916998009),
        ("2023-06-19 17:56:53", "c"),
    ),
    "bdf_csv/arbin_example.bdf.csv": (
        ("bdf-csv", 2150, 0.0725954, 345739.076, 2.9999201, 4.300055, -8.6583874e-8, 8.653391e-8, None),
        ("2023-07-24 18:49:59.927405", "cdcdcdcd"),
    ),
    "biologic_mpt/Sample_data_biologic_no_header.mpt": (
        ("biologic-mpt", 13, 281672.3801174285, 281792.502129958, 2.9343958, 2.9814022, 0, 0, 0),
        (None, ""),
    ),
    "biologic_mpt/Sample_data_biologic_timestamped.txt": (
        ("biologic-mpt", 8, 0, 12.464, 4.1465597, 4.154593, 0, 0.45001691, 7.501638655090332e-4),
        ("2024-11-20 11:38:41.707", "c"),
    ),
    "custom_csv/custom_data_001.csv": (("csv", 2442, 120, 142455.05, 1.14, 3.4, 0, 0, 0), (None, "")),
    "gamry_dta/chronoa_data.dta": (
        ("gamry-dta", 10, 0, 270, -5.4e-4, 0.499669, -2.34197e-8, 1.40441e-8, None),
        (None, "c"),
    ),
    "gamry_dta/cv_data.dta": (
        ("gamry-dta", 50, 0.1, 601.1, 0.49, 0.897987, -2.41658e-9, 6.57772e-7, None),
        (None, "c"),
    ),
    "gamry_dta/ocp_data.dta": (("gamry-dta", 21, 5.00833, 105.175, 0.0201501, 0.0345678, 0, 0, 0), (None, "")),
    "gamry_dta/ocvcurve_data.dta": (
        ("gamry-dta", 11, 0.3, 3.3, 0.250361, 0.398788, -4.2422e-5, 6.55358e-7, None),
        (None, "d"),
    ),
    "maccor/PredictionDiagnostics_000151_test.052": (
        ("maccor", 333, 769267.24, 769270.57, 3.86251621, 3.86823835, -4.8409246967, -4.8393224994, -0.0044769309),
        ("2019-10-13 02:18:51.76", "d"),
    ),
    # Its test time stands still during an impedance spectrum of 321 s; its dates go on.
    "maccor/maccor_test_file_4267-66-6519.041": (("maccor", 74, 0, 331, 3.90806439, 3.91172656, 0, 0, 0), (None, "")),
    "maccor/sample_data_maccor.csv": (
        ("maccor", 15, 0, 13.06, 3.668, 3.716, 0, 28.844, 0.024),
        ("2023-11-23 15:56:11", "c"),
    ),
    # Steps of -0.000065, +0.000697 and -0.007009 mA h, by NewareNDA.
    "neware_nda/test.nda": (
        ("neware-nda", 439, 0, 721.6, -0.101, -0.0849, -5.05e-5, 5.05e-5, -6.377e-6),
        ("2020-03-25 11:16:50", "dcd"),
    ),
    NDAX: (("neware-ndax", 301, 0, 300, 2.982697, 2.983053, 0, 0, 0), ("2024-11-18 12:43:45.422", "")),
    "novonix/sample_data_novonix.csv": (
        ("novonix", 207, 0, 3.4131889 * 3600, 3.84318331, 4.12864581, 0, 0.49999475, 1.70652976),
        ("2025-07-19 15:26:20", "c"),
    ),
    "pec_csv/Test25195.csv": (("pec", 19, 0.002, 162.363, 3.5688556, 3.5690308, -8e-6, 0, 0), (None, "d")),
    # 150 charges and 150 discharges by the column of steps; the sums of their charges by pandas.
    NEWARE_CSV: (
        # Its test time is 42:44:07, its dates go on for 39 s longer.
        ("neware-csv", 5572, 0, 153886, 0.9838, 3.0143, -0.002892, 0.002893, 9.82e-5),
        ("2025-09-19 15:41:57", "cd" * 150),
    ),
    OPERANDO: (
        ("biologic-mpt", 4029, 0.0482, 167165.136, 0.999664, 3.00026, -1.000024e-4, 1.000462e-4, None),
        ("2024-02-28 10:27:22.6", "cdc"),
    ),
}
REFUSED = {
    "arbin_res/arbin_example.res": "an Arbin result file (.res, an Access database); export the channel as csv or xlsx",
    "biologic_mpr/00_test_01_OCV_C01.mpr": "a BioLogic binary file (.mpr); export it in EC-Lab as text (.mpt)",
    "gamry_dta/exampleDataGamry.DTA": "an impedance spectrum (tables: OCVCURVE, ZCURVE); name the file of the charge",
    "gamry_dta/squarewave_data.dta": "no log of voltage over time: it has no columns T and Vf",
    "neware_xlsx/Experiment_Record.xlsx": "no sheet holds a log with columns of time, voltage and current",
}


@pytest.mark.parametrize("name", READ)
def test_real_files_are_read_as_they_stand(name):
    if name.startswith("neware_nda"):
        pytest.importorskip("fastnda", reason="the extra 'cycler' is not installed")
    (reader, rows, *numbers, charge), (start, directions) = READ[name]
    log = cyclers.read_cycler(real_cycler_file(name))
    assert log.format == reader and log.time.size == rows
    ends = [log.time[0], log.time[-1], log.voltage.min(), log.voltage.max(), log.current.min(), log.current.max()]
    np.testing.assert_allclose(ends, numbers, rtol=2e-6, atol=1e-12)
    if charge is not None:
        # The start of the first counter is part of it where the file counts from before its first row.
        np.testing.assert_allclose(log.capacity[-1], charge, rtol=1e-3, atol=3e-7 if "arbin" in name else 1e-9)
    assert (log.start is None) == (start is None)
    if start is not None:
        assert log.start.tzinfo is None
        assert abs((log.start - datetime.datetime.fromisoformat(start)).total_seconds()) < 1e-3
    is_charge = half_cycles(log.time, log.current).is_charge if np.any(log.current) else []
    assert "".join("c" if charge else "d" for charge in is_charge) == directions


@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_are_no_log_are_refused_in_one_line(name):
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl", reason="the extra 'cycler' is not installed")
    with pytest.raises(UserError) as error:
        cyclers.read_cycler(real_cycler_file(name))
    assert REFUSED[name] in str(error.value) and "\n" not in str(error.value) and name in str(error.value)


def test_every_real_file_has_its_line_here():
    folder = real_cycler_file("pec_csv/Test25195.csv").parents[1]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {name for name in (*READ, *REFUSED) if "operando" not in name}


def test_time_and_current_of_each_row_are_those_of_the_csv_module():
    """An independent look at three tables with different separators, units and clocks."""
    for name, separator, names, scale in (
        ("novonix/sample_data_novonix.csv", ",", ("Run Time (h)", "Current (A)"), (3600, 1)),
        ("maccor/PredictionDiagnostics_000151_test.052", "\t", ("Test (Sec)", "Amps"), (1, 1)),
        (NEWARE_CSV, ",", ("DataPoint", "Current(mA)"), (None, 1e-3)),
    ):
        path = real_cycler_file(name)
        lines = path.read_text(encoding="utf-8").splitlines()
        first = next(i for i, line in enumerate(lines) if names[0] in line and names[1] in line)
        rows = [row for row in csv.DictReader(lines[first:], delimiter=separator) if row[names[1]]]
        log = cyclers.read_cycler(path)
        np.testing.assert_allclose(log.current, [float(row[names[1]]) * scale[1] for row in rows])
        if scale[0] is not None:
            np.testing.assert_allclose(log.time, [float(row[names[0]]) * scale[0] for row in rows])
        else:
            written = [datetime.datetime.fromisoformat(row["Date"]) for row in rows]
            np.testing.assert_allclose(log.time, [(date - written[0]).total_seconds() for date in written], atol=3)


def test_doubts_are_said():
    """Columns that contradict each other, and dates that can be read two ways, are no secret."""
    notes = " ".join(cyclers.read_cycler(real_cycler_file("bdf_csv/arbin_example.bdf.csv")).notes)
    assert "'Current' reaches 8.66e-05 but 'Current / A', which was taken, 8.66e-08" in notes
    assert "1/6/2026 for one" in " ".join(cyclers.read_cycler(real_cycler_file("pec_csv/Test25195.csv")).notes)
    assert "rounded to 864 s" in " ".join(cyclers.read_cycler(real_cycler_file("custom_csv/custom_data_001.csv")).notes)
    notes = " ".join(cyclers.read_cycler(real_cycler_file("maccor/sample_data_maccor.csv")).notes)
    assert "does not tell charge from discharge" in notes and "'Current' as A" in notes
    notes = " ".join(cyclers.read_cycler(real_cycler_file("gamry_dta/ocvcurve_data.dta")).notes)
    assert "began at 2019-08-15 11:50:33" in notes


def test_neware_binaries_leave_the_process_as_it_was():
    import zlib

    pytest.importorskip("fastnda", reason="the extra 'cycler' is not installed")
    before = zlib.decompress, zlib.decompressobj
    cyclers.read_cycler(real_cycler_file(NDAX))
    assert (zlib.decompress, zlib.decompressobj) == before


def test_a_neware_file_is_known_by_its_content(tmp_path):
    pytest.importorskip("fastnda", reason="the extra 'cycler' is not installed")
    copy = tmp_path / "renamed.bin"
    copy.write_bytes(real_cycler_file("neware_nda/test.nda").read_bytes())
    assert cyclers.read_cycler(copy).time.size == 439
    copy.write_bytes(real_cycler_file(NDAX).read_bytes())
    assert cyclers.read_cycler(copy, format="neware-ndax").time.size == 301
