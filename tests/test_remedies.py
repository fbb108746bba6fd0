"""Every remedy that a message names works: keys, tables, flags and settings exist, and what they say is tried."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.experiment_files import AXIS, STEPPED_SESSION, cycler_columns, write_log
from tests.support.paths import ROOT, real_file
from xrd_jax.cli import FLAGS
from xrd_jax.config.overrides import set_field
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import paths, schema
from xrd_jax.io.experiment.parse import parse_experiment_file
from xrd_jax.io.experiment.read import read_experiment
from xrd_jax.io.reading.many_files import read_file

TABLES = {
    "axis": schema.AxisTable, "mask": schema.MaskTable, "session": schema.SessionTable,
    "session.time": schema.TimeTable, "session.cycler": schema.CyclerTable, "targets": schema.TargetTable,
    "split": schema.SplitTable, "windows": None, "reflections": None, "set": None,
}  # fmt: skip
OLD_TABLES = ("patterns", "time", "cycler")  # of version 1
ABOUT_OLD_TABLES = "xrd_jax/io/experiment/parse.py"  # the message that says what became of them
# Words that follow the name of a table and are no keys.
PROSE = {"with", "of", "and", "or", "to", "say", "states", "has", "is", "alone", "by", "stands", "names",
         "needs"}  # fmt: skip
FILES = ("onnx", "jax_export", "json")  # endings of names of files that begin like a setting


def fields(table):
    return {field.metadata.get("key", field.name) or field.name for field in dataclasses.fields(table)}


KEYS = set().union(*(fields(table) for table in [*TABLES.values(), schema.ExperimentFile] if table)) | {
    *(field.name for part in ("prepare", "model", "train") for field in dataclasses.fields(getattr(Config(), part))),
    *(field.name for field in dataclasses.fields(Config)), *OLD_TABLES, "files", "voltage", "current", "state",
}  # fmt: skip


def texts(file: Path) -> Iterator[str]:
    """Yield every text in a file that is no docstring, '{}' for what is filled in."""
    tree = ast.parse(file.read_text())
    inside = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(value) for value in node.values}
            yield "".join(value.value if isinstance(value, ast.Constant) else "{}" for value in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


@pytest.mark.parametrize("file", sorted((ROOT / "xrd_jax").rglob("*.py")), ids=lambda file: file.name)
def test_what_messages_name_exists(file):
    name = file.relative_to(ROOT).as_posix()
    known_flags = {*FLAGS, "help", "helpfull", "logdir"}  # of absl and of TensorBoard
    for text in texts(file):
        for table, word in re.findall(r"(?<![a-z_])\[\[?([a-z_]+(?:\.[a-z_]+)*)\]\]?(?: ([a-z_]+)\b)?", text):
            assert table not in OLD_TABLES or name == ABOUT_OLD_TABLES, f"{name}: [{table}] is of version 1: {text}"
            record = TABLES.get("targets" if table.startswith("targets.") else table)
            if record is not None and word and word not in PROSE:
                assert word in fields(record), f"{name}: [{table}] has no key {word}: {text}"
        for key in re.findall(r"(?:^|[\s(,`])([a-z_]+) = (?:\"|true|false|\[|…|[\d.]+\b)", text):
            assert key in KEYS, f"{name}: there is no key {key}: {text}"
        for flag in re.findall(r"(?:^|[\s(`])--([a-z_]+)(?![a-z_{])", text):
            assert flag in known_flags, f"{name}: there is no flag --{flag}: {text}"
        for key, value in re.findall(r"\b((?:prepare|train|model)\.[a-z_]+)(?:=([\w.-]*\w))?", text):
            if key.rpartition(".")[2] not in FILES:
                assert key.partition(".")[2] in KEYS, f"{name}: there is no setting {key}: {text}"
                if value and "_" not in value:
                    set_field(Config(), key, value)


def test_the_case_of_an_outdated_remedy():
    folder = real_file("cases/outdated-remedies/negative.xy").parent
    refusal = str(read_file(folder / "negative.xy", allow_negative=False))
    assert "allow_negative" in refusal and "[patterns]" not in refusal


TOML = f"""
version = 2
[axis]
kind = "two_theta"
wavelength = 1.5406
[[session]]
patterns = "p_*.xy"
{STEPPED_SESSION}[targets.voltage]
column = "Ewe/V"
"""
DATES = 'table = "times.csv"\nexposure = 1.0\n'
STEP = "step = 20.0\nexposure = 10.0\nfirst = 0.0\n"
# What is wrong, as replacements; words of the message that names the remedy; the remedy, as replacements.
CASES = {
    "negative": ([("counts = true", "")], "allow_negative = true", [("number", "allow_negative = true\nnumber")]),
    "kind": ([('kind = "two_theta"\n', "")], 'add one such as "two_theta"', [("[axis]", '[axis]\nkind = "two_theta"')]),
    "wavelength": ([("wavelength = 1.5406", "")], "wavelength = 1.5406",
                   [("[axis]", "[axis]\nwavelength = 1.5406")]),
    "exposure": ([("exposure = 10.0\n", "")], "exposure is missing; add it", [("first", "exposure = 10.0\nfirst")]),
    "first": ([("first = 0.0\n", "")], "first is missing; add it", [("step =", "first = 0.0\nstep =")]),
    "counts": ([("p_*", "f_*"), ("'p_", "'f_")], "set counts = false", [("counts = true", "counts = false")]),
    "gap": ([("tolerance = 15.0", "tolerance = 1.0")], "raise [session 1.cycler] tolerance",
            [("tolerance = 1.0", "tolerance = 15.0")]),
    "times": ([(STEP, "")], "needs either step", [("[session.time]", f"[session.time]\n{STEP}")]),
    "no times": ([(f"[session.time]\n{STEP}", "")], "add [session.time] with step", [
        ("[session.cycler]", f"[session.time]\n{STEP}[session.cycler]")]),
    "start": ([(STEP, DATES), ('"log.mpt"', '"undated.csv"'), ("Ewe/V", "voltage")], "give [session.cycler] start",
              [("tolerance", "start = 2024-02-28T10:27:22\ntolerance")]),
    "zone": ([(STEP, DATES.replace("times", "zoned"))], '[session.cycler] zone = "+00:00"',
             [("tolerance", 'zone = "+00:00"\ntolerance')]),
    "rows": ([("[targets", '[split]\nkind = "rows"\ntest = "0-9"\n[targets')], 'train = "0-171"',
             [("test =", 'train = "10-19"\ntest =')]),
    "half cycle": ([("[targets", '[split]\nkind = "half_cycle"\n[targets')], 'with from = "half cycle"',
                   [("[targets.v", '[targets.half_cycle]\nfrom = "half cycle"\n[targets.v')]),
    "words": ([('"Ewe/V"', '"word"\ntable = "times.csv"')], 'use kind = "classification"',
              [("[targets.voltage]", '[targets.voltage]\nkind = "classification"')]),
    "no target": ([('[targets.voltage]\ncolumn = "Ewe/V"\n', "")], '[targets.voltage] with column = "Ewe/V"',
                  [("[session.cycler]", '[targets.voltage]\ncolumn = "Ewe/V"\n[session.cycler]')]),
    "version 1": ([("[[session]]", "[patterns]"), ("[session.", "["), ("version = 2", "version = 1")],
                  "write version = 2, turn [patterns] into [[session]]",
                  [("version = 1", "version = 2"), ("[patterns]", "[[session]]"), ("[time]", "[session.time]"),
                   ("[cycler]", "[session.cycler]")]),
    "top": ([("[session.time]", "[time]")], "write [session.time]", [("[time]", "[session.time]")]),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Patterns, the same with a half count (f_) and with a negative value (p_7), a log, and one that says no date."""
    monkeypatch.delenv(paths.DATA_ROOT, raising=False)
    rows, zoned = ["file,start_time,word"], ["file,start_time"]
    for number in range(1, 24):
        values = np.random.default_rng(number).integers(1, 90, AXIS.size)
        for letter, extra in (("p", 0), ("f", 0.5)):
            text = "\n".join(f"{x:.4f} {y + extra}" for x, y in zip(AXIS, values, strict=True))
            (tmp_path / f"{letter}_{number}.xy").write_text(text + "\n")
        date = f"2024-02-28T10:{27 + (20 * number + 5) // 60}:{(20 * number + 5) % 60:02d}"
        rows.append(f"p_{number}.xy,{date},{('a', 'b')[number % 2]}")
        zoned.append(f"p_{number}.xy,{date}+00:00")
    (tmp_path / "times.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "zoned.csv").write_text("\n".join(zoned) + "\n")
    columns = cycler_columns()
    write_log(tmp_path, columns)
    undated = ["time/s,voltage/V,current/mA"]
    undated += [f"{t},{v},{i}" for t, v, i in zip(columns["time/s"], columns["Ewe/V"], columns["<I>/mA"], strict=True)]
    (tmp_path / "undated.csv").write_text("\n".join(undated) + "\n")
    return tmp_path


def replaced(text, changes):
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("name", CASES)
def test_a_remedy_that_is_followed_works(folder, name):
    wrong, words, remedy = CASES[name]
    if name == "negative":
        text = (folder / "p_7.xy").read_text().splitlines()
        (folder / "p_7.xy").write_text("\n".join([*text[:3], text[3].split()[0] + " -4", *text[4:]]) + "\n")
    broken = replaced(TOML, wrong)
    file = folder / "e.toml"
    file.write_text(broken)
    with pytest.raises(UserError) as error:
        read_experiment(file)
    assert words in str(error.value)
    file.write_text(replaced(broken, remedy))
    assert len(read_experiment(file).series) >= 20


def test_the_example_of_the_documentation_parses(tmp_path):
    page = (ROOT / "docs" / "experiment_file.md").read_text(encoding="utf-8")
    (tmp_path / "e.toml").write_text(page.split("```toml")[1].split("```")[0], encoding="utf-8")
    assert parse_experiment_file(tmp_path / "e.toml").targets
