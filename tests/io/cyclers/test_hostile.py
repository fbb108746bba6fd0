"""Damaged and hostile cycler files: one line that names the file, soon, and no number that is none."""

from __future__ import annotations

import io
import time
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cycler_files import NDAX, charge_rest_discharge, real_cycler_file, write_table
from xrd_jax.errors import UserError
from xrd_jax.io import cyclers

SETTINGS = settings(deadline=None, derandomize=True, max_examples=100, database=None)
SPACES = " " * 200_000


def small(kind):
    """Return a small file as each maker's program writes it."""
    t, v, i, q = charge_rest_discharge(30)
    rows = list(zip(t, v, i, q, strict=True))
    if kind == "biologic-mpt":
        lines = ["EC-Lab ASCII FILE", "Nb header lines : 4", "Acquisition started on : 02/28/2024 10:27:22.600"]
        lines += ["time/s\tEwe/V\tI/mA\t(Q-Qo)/mA.h\t"]
        lines += [f"{a:.6E}\t{b:.6E}\t{1e3 * c:.6E}\t{1e3 * d:.6E}\t" for a, b, c, d in rows]
    elif kind == "gamry-dta":
        lines = [
            "EXPLAIN",
            "TAG\tCV",
            "DATE\tLABEL\t8/15/2019\tDate",
            "TIME\tLABEL\t11:50:33\tTime",
            "CURVE\tTABLE\t30",
        ]
        lines += ["\tPt\tT\tVf\tIm\tOver", "\t#\ts\tV vs. Ref.\tA\tbits"]
        lines += [f"\t{k}\t{a:g}\t{b:.5E}\t{c:.5E}\t......" for k, (a, b, c, _) in enumerate(rows)]
    elif kind == "maccor":
        lines = ["Today's Date 10/10/2019", "Rec#\tTest (Sec)\tAmp-hr\tAmps\tVolts\tState\tDPt Time"]
        states = ["C" if c > 0 else "D" if c < 0 else "R" for c in i]
        lines += [
            f"{k}\t{a:.4f}\t{abs(d):.9f}\t{abs(c):.6f}\t{b:.6f}\t{states[k]}\t10/21/2019 23:00:{k:02}"
            for k, (a, b, c, d) in enumerate(rows)
        ]
    else:
        lines = ["DataPoint,Step Type,Total Time,Voltage(V),Current(mA),Date"]
        lines += [
            f"{k},Rest,00:{int(a) // 60:02}:{int(a) % 60:02},{b:.5f},{1e3 * c:.4f},2024-05-06 07:08:{k:02}"
            for k, (a, b, c, _) in enumerate(rows)
        ]
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")


@st.composite
def damaged(draw, content):
    """Return the bytes of a file after one accident."""
    at = draw(st.integers(0, len(content) - 1))
    accident = draw(st.sampled_from(("cut", "flip", "insert", "delete", "zero", "repeat")))
    noise = draw(st.binary(min_size=1, max_size=40))
    return {
        "cut": content[:at],
        "flip": content[:at] + bytes([content[at] ^ (1 << noise[0] % 8)]) + content[at + 1 :],
        "insert": content[:at] + noise + content[at:],
        "delete": content[:at] + content[at + 3 * len(noise) :],
        "zero": content[:at] + bytes(len(noise)) + content[at + len(noise) :],
        "repeat": content + content[at:],
    }[accident]


def outcome(path):
    """Return the log, once each of its numbers is checked, or the one line of its refusal."""
    begin = time.process_time()  # of this process alone: the machine may be busy
    try:
        log = cyclers.read_cycler(path)
    except UserError as error:
        assert "\n" not in str(error) and str(path) in str(error) and len(str(error)) < 2000
        return str(error)
    finally:
        assert time.process_time() - begin < 20
    assert (np.diff(log.time) >= 0).all() and log.time.size
    for values in (log.time, log.voltage, log.current, log.capacity, *log.columns.values()):
        assert values.shape == log.time.shape and np.isfinite(values).all()
    return log


@pytest.mark.parametrize("kind", ["biologic-mpt", "gamry-dta", "maccor", "neware-csv"])
@SETTINGS
@given(data=st.data())
def test_no_accident_gets_past_unseen(tmp_path_factory, kind, data):
    content = small(kind)
    path = tmp_path_factory.getbasetemp() / f"damaged-{kind}.txt"
    path.write_bytes(content)
    whole = outcome(path)
    assert not isinstance(whole, str) and whole.format == kind and whole.time.size == 30
    path.write_bytes(data.draw(damaged(content)))
    outcome(path)


@pytest.mark.parametrize("kind", ["biologic-mpt", "gamry-dta", "maccor", "neware-csv"])
def test_a_file_that_is_cut_is_refused_or_says_so(tmp_path, kind):
    """At every byte of the last three rows: fewer rows, a note or a refusal, but never a row that is not there."""
    content = small(kind)
    path = tmp_path / "cut.txt"
    path.write_bytes(content)
    whole = outcome(path)
    for at in range(len(content) - 200, len(content)):
        path.write_bytes(content[:at])
        log = outcome(path)
        if isinstance(log, str) or any("last row may be cut" in note for note in log.notes):
            continue
        np.testing.assert_array_equal(log.voltage, whole.voltage[: log.time.size])
        np.testing.assert_array_equal(log.current, whole.current[: log.time.size])


@SETTINGS
@given(data=st.data())
def test_damaged_binaries(tmp_path_factory, data):
    pytest.importorskip("fastnda", reason="the extra 'cycler' is not installed")
    name = data.draw(st.sampled_from(("neware_nda/test.nda", NDAX)))
    content = real_cycler_file(name).read_bytes()
    path = tmp_path_factory.getbasetemp() / f"damaged{name[-5:]}"
    path.write_bytes(data.draw(damaged(content)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome(path)


@pytest.mark.parametrize("suffix", [".mpt", ".csv", ".xlsx", ".ndax", ".nda", ".res", ".DTA", ".052", ""])
def test_content_counts_not_the_name(tmp_path, suffix):
    path = tmp_path / f"log{suffix}"
    for kind in ("biologic-mpt", "gamry-dta", "maccor", "neware-csv"):
        path.write_bytes(small(kind))
        assert outcome(path).format == kind
    for content in (
        b"\x00" * 5000,
        b"\xff\xd8\xff\xe0" + bytes(99),
        b"<?xml version='1.0'?><a/>",
        b"\x7fELF" + bytes(99),
    ):
        path.write_bytes(content)
        assert "not a cycler log" in outcome(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n2,1e5,0\n", "voltage of row 2 of the data is 1e+05"),
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n1e300,3,0\n", "time of row 2 of the data is 1e+300"),
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n2,inf,0\n", "row 3: column 'Voltage (V)' holds no number"),
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n2,,0\n", "row 3: column 'Voltage (V)' holds no number"),
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n2,3,0,9\n", "row 3 is cut or damaged (4 of 3 columns)"),
        ("Test Time (s),Voltage (V),Current (A)\n", "followed by no row"),
        ("Test Time (s),Voltage (V),Current (A)\n\n\n5,3,0\n\n4,3,0\n", "row 6: time runs backwards"),
        ("x" * (2 << 20), "not a cycler log"),
        ("," * 900_000 + "\n" + "Test Time (s)," * 20_000, "not a cycler log"),
        ("Time" + SPACES + "(s),Voltage (V),Current (A)\n1,3,0\n", "not a cycler log"),
        ("(" * 500_000 + ",Voltage (V),Current (A)\n", "not a cycler log"),
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n2,3," + "9" * (2 << 20), "line 3 is longer than"),
        ("Test Time (s),Voltage (V),Current (A)\n1,3,0\n2,3," + "9" * 500_000 + "\n", "row 3: column 'Current (A)'"),
        ("Date Time,Voltage (V),Current (A)\n01/01/2024" + SPACES + "x,3,0\n", "row 2: '01/01/2024"),
        ("EC-Lab ASCII FILE\nNb header lines : 999999\ntime/s\tEwe/V\tI/mA\n", "999999 header lines announced"),
        ("EC-Lab ASCII FILE\nNb header lines : " + "9" * 9000 + "\n", "names no column 'time/s'"),
        ("EXPLAIN\nCURVE\tTABLE\n", "has no columns T and Vf"),
        ("EXPLAIN\nCURVE\tTABLE\n\tT\tVf\tIm\n\ts\tV\tA\nCURVE\tTABLE\n", "two tables CURVE"),
        ("EXPLAIN\nCURVE1\tTABLE\n\tT\tVf\n\ts\tV\nCURVE2\tTABLE\n\tT\tIm\n\ts\tA\n", "different columns"),
    ],
)
def test_hostile_text(tmp_path, content, words):
    path = tmp_path / "log.txt"
    path.write_text(content)
    assert words in outcome(path)


SHEET = "xl/worksheets/sheet1.xml"


def workbook(rows, **members):
    """A workbook made by hand, with what no program would write."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" '
        f'ContentType="{kind}.sheet.main+xml"/><Override PartName="/{SHEET}" '
        f'ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" Type='
        f'"{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets><sheet name="S" sheetId="1" '
        'r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        SHEET: f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (parts | members).items():
            archive.writestr(name, text)
    return file.getvalue()


def sheet_row(number, *values):
    cells = "".join(
        f'<c r="{chr(65 + k)}{number}" t="inlineStr"><is><t>{value}</t></is></c>'
        if isinstance(value, str)
        else f'<c r="{chr(65 + k)}{number}"><v>{value}</v></c>'
        for k, value in enumerate(values)
    )
    return f'<row r="{number}">{cells}</row>'


NAMES = sheet_row(1, "Test Time (s)", "Voltage (V)", "Current (A)")
GOOD = NAMES + sheet_row(2, 0, 3.0, 0.1) + sheet_row(3, 10, 3.1, 0.1)
BOMB = b"<row/>" * (20 << 20)
ENTITIES = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "' + "x" * 999 + '"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>'


@pytest.fixture
def read_workbook(tmp_path):
    pytest.importorskip("openpyxl", reason="the extra 'cycler' is not installed")

    def read(content):
        path = tmp_path / "log.xlsx"
        path.write_bytes(content)
        return outcome(path)

    return read


def test_hostile_workbooks(read_workbook):
    good = read_workbook(workbook(GOOD))
    assert good.time.tolist() == [0, 10] and good.voltage.tolist() == [3.0, 3.1]
    for content, words in (
        (workbook(GOOD, **{SHEET: BOMB}), "as only archives built to do harm do"),
        (workbook(GOOD, **{"xl/media/a.bin": bytes(130 << 20)}), "as only archives built to do harm do"),
        (workbook(GOOD, **{"xl/styles.xml": ENTITIES}), "declares entities"),
        (workbook(GOOD, **{"xl/styles.xml": ENTITIES.encode("utf-16")}), "declares entities"),
        (workbook(GOOD, **{"../../etc/passwd": "x"}), "leads out of it"),
        (workbook(GOOD, **{"xl/styles.xml": "<a>" * 3_000_000}), "is no table of rows"),
        (workbook(NAMES + sheet_row(99_999_999, 0, 3.0, 0.1)), "reaches row 1048577"),
        (workbook(NAMES + '<row r="2"><c r="XFD2"><v>1</v></c></row>'), "column 16384"),
        (workbook(NAMES + sheet_row(2, 0, 3.0, "#REF!")), "row 2: column 'Current (A)' holds no number"),
        (workbook(NAMES + sheet_row(2, 0, 3.0, 0.1, 7)), "row 2 has cells beyond the 3 named columns"),
        (workbook(GOOD, **{SHEET: "<worksheet"}), "damaged"),
        (workbook(GOOD)[:-40], "damaged or cut"),
        (workbook(GOOD)[:300], "damaged or cut"),
        (workbook(""), "no sheet holds a log"),
    ):
        assert words in read_workbook(content)


def test_a_sheet_that_claims_to_be_vast_is_not(read_workbook):
    """The stated dimension is not believed: it would make each row 16384 cells wide."""
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    sheet = f'<worksheet {main}><dimension ref="A1:XFD1048576"/><sheetData>{GOOD}</sheetData></worksheet>'
    assert read_workbook(workbook(GOOD, **{SHEET: sheet})).time.size == 2


@pytest.mark.parametrize("claimed", [10, 1 << 40])
def test_sizes_that_lie(read_workbook, claimed):
    """A member that states another size than it has, in either direction."""
    content = bytearray(workbook(GOOD, **{SHEET: b"<row/>" * (1 << 20)}))
    at = content.rindex(SHEET.encode()) - 46  # its entry in the directory at the end
    assert content[at : at + 4] == b"PK\x01\x02"
    content[at + 24 : at + 28] = min(claimed, 0xFFFFFFFF).to_bytes(4, "little")
    assert "damage" in (line := read_workbook(bytes(content))) or "harm" in line


def test_hostile_neware_archives(tmp_path):
    pytest.importorskip("fastnda", reason="the extra 'cycler' is not installed")
    whole = {}
    with zipfile.ZipFile(real_cycler_file(NDAX)) as archive:
        whole = {name: archive.read(name) for name in archive.namelist()}
    path = tmp_path / "log.ndax"
    for change, words in (
        ({"data.ndc": whole["data.ndc"] + bytes(100 << 20)}, "as only archives built to do harm do"),
        ({"data_AUX_1_1_1.ndc": bytes(100 << 20)}, "as only archives built to do harm do"),
        ({"TestInfo.xml": ENTITIES}, "declares entities"),
        ({"C:\\x.ndc": b""}, "leads out of it"),
        ({"data.ndc": b""}, "damaged, or of a version not known"),
        ({"data.ndc": b"\x63" * 8192}, "damaged, or of a version not known"),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in (whole | change).items():
                archive.writestr(name, content)
        assert words in outcome(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("VersionInfo.xml", whole["VersionInfo.xml"])
    assert "lacks data.ndc" in outcome(path)


def test_a_file_that_goes_away_meanwhile(tmp_path, monkeypatch):
    t, v, i, _ = charge_rest_discharge()
    path = write_table(tmp_path, ["Test Time (s)", "Voltage (V)", "Current (A)"], [t, v, i])
    lost = cyclers.READERS[-1]._replace(recognises=lambda head, path: path.unlink() is None)
    monkeypatch.setattr(cyclers, "READERS", (lost,))
    assert "no such file" in outcome(path)
