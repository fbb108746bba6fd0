"""What is installed is what is here: data files, dependencies, the command, the version."""

from __future__ import annotations

import fnmatch
import importlib
import re
import tomllib

import xrd_jax
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=~!\[ ]", line)[0].lower() for line in requirements if line and line[0] not in "#-"}


def test_every_data_file_of_the_package_is_in_the_wheel():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["xrd_jax"]
    files = [file.relative_to(ROOT / "xrd_jax") for file in (ROOT / "xrd_jax").rglob("*") if file.is_file()]
    data = [file.as_posix() for file in files if file.suffix not in (".py", ".pyc")]
    left_out = [file for file in data if not any(fnmatch.fnmatch(file, pattern) for pattern in patterns)]
    assert "py.typed" in data and not left_out


def test_the_pinned_requirements_are_those_that_the_wheel_declares():
    pinned = (ROOT / "requirements.txt").read_text().splitlines()
    assert names(pinned) == names(PROJECT["project"]["dependencies"]) | {"jaxlib"}  # which jax brings along


def test_the_command_is_there():
    module, _, function = PROJECT["project"]["scripts"]["xrd-jax"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_one_version_everywhere():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited and cited[1] == PROJECT["project"]["version"] == xrd_jax.__version__


def test_everything_at_the_front_door_is_there():
    assert all(callable(getattr(xrd_jax, name)) for name in xrd_jax.__all__)
