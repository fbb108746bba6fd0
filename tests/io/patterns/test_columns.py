"""Which columns of a text are read: by heading, by what an experiment file names, and by habit."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pattern_files import refusal, write_file
from xrd_jax.errors import UserError
from xrd_jax.io import patterns
from xrd_jax.io.experiment.read import read_experiment

AXIS = np.arange(41) * 0.05 + 12
SIGNAL = 200 + 700 * np.exp(-(((AXIS - 13) / 0.2) ** 2))
COLUMN = {
    "axis": AXIS, "signal": SIGNAL, "errors": np.sqrt(SIGNAL), "index": np.arange(41), "other": np.cos(AXIS),
    "constant": np.full(41, 25.0), "one": np.arange(1, 42),
}  # fmt: skip


def table(heading, columns, separator=","):
    rows = zip(*(COLUMN[name] for name in columns.split()), strict=True)
    return heading + "".join(separator.join(f"{value:.10g}" for value in row) + "\n" for row in rows)


@pytest.mark.parametrize(
    ("heading", "columns", "kind", "has_errors"),
    [
        (",2theta,intensity\n", "index axis signal", "two_theta", False),
        ('"","2theta","intensity"\n', "index axis signal", "two_theta", False),
        ("Unnamed: 0,tth,counts,sigma\n", "index axis signal errors", "two_theta", True),
        ("point,2theta,counts\n", "one axis signal", "two_theta", False),
        ("counts,2theta\n", "signal axis", "two_theta", False),
        ("counts,error,2theta\n", "signal errors axis", "two_theta", True),
        (",energy_keV,two_theta,I_norm\n", "index constant axis signal", "two_theta", False),
        ("angle,intensity,transmission\n", "axis signal other", None, False),
        ("energy (eV),mu,normalized\n", "axis signal other", "energy", False),
        ("energy,I0,mutrans\n", "axis other signal", None, False),
        ("# q(A^-1),I(q),err(q)\n", "axis signal errors", "q", True),
        ("E (eV),I0,It,mu\n", "axis other other signal", "energy", False),
        ("voltage,tth,counts\n", "constant axis signal", "two_theta", False),
        ("E,xmu,i0,der\n", "axis signal other other", None, False),
        ("q_A^-1,I,sig_q,sig_I\n", "axis signal other errors", "q", True),
        ("2theta,counts per second,time\n", "axis signal index", "two_theta", False),
        ("2theta,intensity\ndeg,a.u.\n", "axis signal", "two_theta", False),
        ("d,intensity\nnm,counts\n", "axis signal", "d", False),
        ("# 2theta counts\n#--------------\n", "axis signal", "two_theta", False),
        ("wavenumber,absorbance,baseline\n", "axis signal other", "wavenumber", False),
        ("first,second,third\n", "axis signal errors", None, False),
        ("", "index axis signal", None, False),
        ("", "axis signal errors", None, True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("separator", [",", "\t"])
def test_headings_decide_which_columns_are_read(tmp_path, heading, columns, kind, has_errors, separator):
    content = table(heading.replace(",", separator), columns, separator)
    pattern = patterns.read_pattern(write_file(tmp_path, content, "a.csv"))
    np.testing.assert_allclose(pattern.axis, AXIS * (10 if kind == "d" else 1), rtol=1e-9)
    np.testing.assert_allclose(pattern.intensity, SIGNAL, rtol=1e-9)
    assert pattern.kind == kind and (pattern.errors is not None) == has_errors
    if has_errors:
        np.testing.assert_allclose(pattern.errors, np.sqrt(SIGNAL), rtol=1e-9)
    if columns.split().index("axis"):
        assert any("the positions are its column" in note or "counts the rows" in note for note in pattern.notes)


def test_a_data_frame_printed_with_its_index_is_read(tmp_path):
    content = table("    2theta  intensity\n", "index axis signal", "  ")
    pattern = patterns.read_pattern(write_file(tmp_path, content, "a.txt"))
    np.testing.assert_allclose(pattern.axis, AXIS)
    assert pattern.errors is None and pattern.kind == "two_theta"


def test_quoted_numbers_are_numbers(tmp_path):
    rows = "".join(
        f'"{i}";"{x:.2f}";"{y:.1f}"\n'.replace(".", ",") for i, (x, y) in enumerate(zip(AXIS, SIGNAL, strict=True))
    )
    pattern = patterns.read_pattern(write_file(tmp_path, '"";"2theta";"intensity"\n' + rows, "a.csv"))
    np.testing.assert_allclose(pattern.axis, AXIS)
    np.testing.assert_allclose(pattern.intensity, SIGNAL, atol=0.051)


def test_energies_without_a_unit_are_electronvolts_where_nothing_else_is_possible(tmp_path):
    rows = "".join(f"{8060 + 5 * i:8.0f} {y:.6f} {y / 3:.6f}\n" for i, y in enumerate(np.cos(3 * AXIS)))
    pattern = patterns.read_pattern(write_file(tmp_path, "# shifted energy\tnormalized\treference\n" + rows, "a.txt"))
    assert pattern.kind == "energy" and pattern.axis[-1] == 8260 and pattern.intensity.min() < 0
    assert pattern.metadata["signal"] == "normalized" and any("were taken for eV" in note for note in pattern.notes)
    low = patterns.read_pattern(write_file(tmp_path, "# energy\tnormalized\n1 2\n2 3\n", "b.txt"))
    assert low.kind is None


@pytest.mark.parametrize(
    ("heading", "is_read"),
    [("energy (eV),derivative", True), ("wavenumber,absorbance", True), ("2theta,difference", True),
     ("2theta,intensity", False), ("energy (eV),counts", False), ("x,y", False)],
)  # fmt: skip
def test_negative_values_are_in_the_nature_of_some_signals(tmp_path, heading, is_read):
    path = write_file(tmp_path, f"{heading}\n1,2\n2,-1\n3,4\n", "a.csv")
    if is_read:
        assert patterns.read_pattern(path).intensity.min() == -1
    else:
        assert "allow_negative = true under [[session]]" in refusal(path)


def test_columns_are_named_by_heading_or_by_place(tmp_path):
    path = write_file(tmp_path, table("a,b,tth (deg),det,s\n", "index other axis signal errors"), "a.csv")
    assert "columns = [1, 2] under [[session]]" in refusal(write_file(tmp_path, table("", "axis one one one"), "b.csv"))
    for columns in (("tth (deg)", "det", "s"), (3, 4, 5), ("tth", 4, "s")):
        pattern = patterns.read_scans(path, False, columns)[0]
        np.testing.assert_allclose(pattern.axis, AXIS)
        np.testing.assert_allclose(pattern.intensity, SIGNAL, rtol=1e-9)
        assert pattern.errors is not None and pattern.kind == "two_theta"
    for columns, words in (
        (("tth", "none"), "'none'"),
        ((0, 1), "0"),
        ((3,), "two or three"),
        ((3, 3), "two or three"),
    ):
        with pytest.raises(UserError, match=words):
            patterns.read_scans(path, False, columns)
    with pytest.raises(UserError, match="columns under"):
        patterns.read_scans(write_file(tmp_path, b"RAW1.01\x00" + bytes(800), "a.raw"), False, (1, 2))


def test_an_experiment_file_names_columns(tmp_path):
    for number in range(6):
        COLUMN["numbered"] = SIGNAL + number
        write_file(tmp_path, table("", "constant index axis numbered"), f"p_{number}.dat")
    (tmp_path / "values.csv").write_text("file,x\n" + "".join(f"p_{n}.dat,{n}\n" for n in range(6)))
    text = """version = 2
[axis]
kind = "two_theta"
wavelength = 1.5406
[[session]]
name = "a"
patterns = "*.dat"
columns = [3, 4]
[session.time]
step = 60
first = 0
exposure = 10
[targets]
x = { table = "values.csv", column = "x" }
"""
    path = write_file(tmp_path, text, "e.toml")
    series = read_experiment(path).series
    np.testing.assert_allclose(series.axis.values, AXIS)
    np.testing.assert_allclose(series.intensity[3] - series.intensity[0], 3)
    path.write_text(text.replace("[3, 4]", '"I_*"'))
    with pytest.raises(UserError, match="columns is a glob"):
        read_experiment(path)
