"""Names and headers of files reach a terminal, a log and a spreadsheet as text, and nothing else."""

from __future__ import annotations

import csv
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xrd_jax.errors import UserError, printable
from xrd_jax.files import csv_bytes, csv_cell
from xrd_jax.runtime import ending
from xrd_jax.runtime.console import Console

NASTY = "a\x1b[31m\x07\u2028\u202e\r\x85b\udcff"
ESCAPED = r"a\x1b[31m\x07\u2028\u202e\r\x85b\udcff"


def test_control_characters_are_shown_and_not_obeyed(capsys):
    lines: list[str] = []
    console = Console(lines.append)
    console.echo(f"{NASTY}\nsecond")
    assert lines == [f"{ESCAPED}\nsecond"]
    assert str(UserError(f"{NASTY}\n: x")) == rf"{ESCAPED}\n: x"
    assert ending.complain(NASTY) == 2 and capsys.readouterr().err == f"error: {ESCAPED}\n"


@given(st.text())
def test_nothing_but_text_is_left_and_twice_is_once(text):
    shown = printable(text)
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-2+3", "@sum", "-0.5C", "=", "-"])
def test_text_is_no_formula(text):
    assert csv_cell(text) == f"'{text}" and csv_cell(csv_cell(text)) == f"'{text}"


@pytest.mark.parametrize("cell", ["-0.25", "+3", "-1e-5", "-inf", "1=2", "", "a-b", -0.5, None, "'=x"])
def test_numbers_and_other_text_stay(cell):
    assert csv_cell(cell) == cell


@given(st.lists(st.text(), min_size=1))
def test_a_row_is_one_line(cells):
    content = csv_bytes([cells])
    assert content.count(b"\n") == 1
    row = next(csv.reader([content.decode("utf-8", "surrogateescape")[:-1]]), [""])
    assert row == [csv_cell(cell) for cell in cells]
