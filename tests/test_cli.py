"""The command line teaches, and answers bad input with one line and a non-zero exit code."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from xrd_jax import cli, completion
from xrd_jax.commands import help as help_page


def launch(*flags: str, program: tuple[str, ...] = ("launch.py",)) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *program, *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


def test_help_teaches_without_importing_jax():
    code = (
        "import sys; sys.path.insert(0, '.'); import launch, xrd_jax.cli; "
        "sys.exit('jax' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    shown = launch("--help")
    assert shown.returncode == 0
    for word in ("Examples", "--case", "--data", "--set", "--ablation", "overwrite", "resumes"):
        assert word in shown.stdout


def test_help_has_every_flag_in_one_group():
    grouped = [name for names in help_page.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(help_page.flags_of_command(cli.FLAGS))


@pytest.mark.parametrize(
    ("file", "name"),
    [("launch.py", "python launch.py"), ("a/xrd_jax/__main__.py", "python -m xrd_jax"), ("bin/xrd-jax", "xrd-jax")],
)
def test_help_names_the_program_as_it_was_started(file, name):
    assert help_page.program_name(file) == name


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "replies"),
    [
        ("xrd-jax --mo", "--mode="),
        ("xrd-jax --case=1 --noprog", "--noprogress"),
        ("xrd-jax --mode = ex", "export explain"),  # as bash parts it
        ("xrd-jax --mode=ex", "--mode=export --mode=explain"),  # as zsh does
        ("xrd-jax --recipe =", "paper best"),
        ("xrd-jax --data = laun", "launch.py"),
        ("xrd-jax --seeds = ", ""),
    ],
)
def test_the_shell_completes_flags_values_and_files(words, replies):
    parts = words.split(" ")
    state = f"COMP_WORDS=({' '.join(map(shlex.quote, parts))}); COMP_CWORD={len(parts) - 1}"
    script = f'{completion.bash_script(cli.FLAGS)}\n{state}\n_xrd_jax\necho "${{COMPREPLY[*]}}"'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert shell.stdout.split() == replies.split() and not shell.stderr


@pytest.mark.parametrize("program", [("launch.py",), ("-m", "xrd_jax")], ids=" ".join)
def test_ablations_are_listed(program):
    shown = launch("--ablation=list", program=program)
    assert shown.returncode == 0 and "attention: paper, off, uniform" in shown.stdout


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        (["--case=4"], "the cases are 1, 2 and 3"),
        (["--case=three"], "three"),
        (["--epoch=3"], "did you mean: epochs"),
        (["--set", "model.atention=off"], "did you mean 'model.attention'"),
        (["--split=time"], "use one of random, cycle, block"),
        (["--cell=nmc9"], "the presets are default"),
        (["--mode=sing"], "train"),
        (["--estimator=svm"], "network|pls|ridge|gp|trees|auto"),
        (["--seeds=0"], "at least 1"),
        (["--ablation=atention"], "the ablations are"),
        (["case=3"], "flags start with --"),
        (["--data=missing.toml"], "missing.toml"),
        (["--data=missing.h5"], "no such file"),
        (["--data=README.md"], "experiment file (.toml)"),
    ],
)
def test_bad_input_is_answered_in_one_line(flags, answer, tmp_path):
    done = launch(*flags, f"--workdir={tmp_path / 'run'}")
    lines = [line for line in done.stderr.splitlines() if line]
    assert done.returncode == 2
    assert len(lines) == 1 and lines[0].startswith("error: ") and answer.lower() in lines[0].lower()
    assert not (tmp_path / "run").exists()
