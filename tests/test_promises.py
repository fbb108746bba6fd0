"""The page of promises names tests that are there, and data are never changed."""

from __future__ import annotations

import ast
import hashlib
import re

import pytest

from tests.support.experiment_files import AXIS, cycler_columns, write_log
from tests.support.paths import ROOT
from xrd_jax.commands.inspect import inspect
from xrd_jax.io import new_data

PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_what_holds_a_promise_is_there(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_names_what_holds_it():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "|---"))]
    assert len(rows) > 20 and all("::test_" in row for row in rows)


def test_data_are_left_as_they_are(tmp_path, monkeypatch):
    """Inspecting a folder and reading it for predictions change no byte, no date and no name in it."""
    monkeypatch.setenv("XRD_JAX_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "data"
    home.mkdir()
    for number in range(4):
        (home / f"p_{number}.xy").write_text("\n".join(f"{x:.4f} {number + 1}" for x in AXIS) + "\n")
    write_log(home, cycler_columns())
    (home / "empty.xy").write_text("")

    def state():
        return {file.relative_to(home): (hashlib.sha256(file.read_bytes()).digest(), file.stat().st_mtime_ns)
                for file in home.rglob("*")}  # fmt: skip

    before = state()
    inspect(home, tmp_path / "out")
    new_data.read(home)
    assert state() == before
