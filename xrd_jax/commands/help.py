"""What --help shows: examples first, then the flags, grouped by task."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

HEAD = """Which features of XRD patterns carry the information about voltage, charging state and rate?

Examples:
  {program} --case=3                                  the paper's case 3 on the simulated cell
  {program} --case=1 --seeds=8 --workdir=runs/eight   eight networks side by side: mean and spread
  {program} --case=3 --resize=bin --split=cycle --workdir=runs/unseen   cycles that training never saw
  {program} --case=2 --cell=low_dose --workdir=runs/dim                 a tenth of the photons
  {program} --mode=inspect --data=FOLDER              what is there, in plain words, and an experiment file
  {program} --case=2 --data=EXPERIMENT.toml --workdir=runs/mine         measured patterns with a cycler log
  {program} --mode=predict --workdir=runs/mine --data=FOLDER            a trained run on new patterns
  {program} --case=3 --set model.attention=off --set train.batch_size=32 --workdir=runs/off
  {program} --ablation=list                           named ablations; --ablation=attention --seeds=8 runs one

A run directory holds config.json, metrics.json, table.md, predictions.csv, vaw.npz, figures/, checkpoints/ and
tensorboard/. Interrupt at any time: the same command resumes and ends with the same numbers."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "What to do": ("mode", "case", "ablation"),
    "Which patterns": ("data", "data_root", "cell", "cache"),
    "What is trained": (
        "recipe", "estimator", "seeds", "seed", "epochs", "split", "repeats", "resize", "attention", "precision", "set",
    ),
    "Where results go": ("workdir", "overwrite", "out", "json", "report"),
    "Explain a run": ("methods", "cif", "importance"),
    "Watch a folder, export a run": ("until_idle", "patience", "format"),
    "The machine": (
        "distributed", "coordinator", "process_id", "process_count", "compile_cache", "progress",
    ),
}  # fmt: skip
REST = "Others"  # flags that no group names
WIDTH, INDENT = 118, 23  # columns of a line, and of the name of a flag
HELP_FLAGS = {"help", "h", "helpshort"}


def is_asked(argv: Sequence[str]) -> bool:
    """Return whether help is among the arguments."""
    return any(argument.startswith("-") and argument.lstrip("-") in HELP_FLAGS for argument in argv[1:])


def help_text(values: flags.FlagValues, program_file: str) -> str:
    """Return examples and flags of the command line.

    Args:
      program_file: what was started, the first of the process's arguments.
    """
    last = "--helpfull shows those of libraries as well."
    return "\n".join([HEAD.format(program=program_name(program_file)), *_groups(values), "", last])


def program_name(program_file: str) -> str:
    """Return how the program was started."""
    name = Path(program_file).name
    return {"launch.py": "python launch.py", "__main__.py": "python -m xrd_jax"}.get(name, name)


def flags_of_command(values: flags.FlagValues) -> list[str]:
    """Return the names of the command line's own flags, not those of libraries."""
    return [flag.name for flag in values.flags_by_module_dict()["xrd_jax.cli"]]


def _groups(values: flags.FlagValues) -> list[str]:
    grouped = {name for names in GROUPS.values() for name in names}
    rest = tuple(name for name in flags_of_command(values) if name not in grouped)
    lines = []
    for title, names in {**GROUPS, REST: rest}.items():
        lines += ["", f"{title}:", *(_describe(values[name]) for name in names)] if names else []
    return lines


def _describe(flag: flags.Flag) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    text = flag.help.partition(";\n")[0]  # absl says once more of a list that it may be repeated
    default = "" if flag.default in (None, "", [], False, -1) else f" (default: {flag.default})"
    body = textwrap.wrap(f"{text}{default}", WIDTH - INDENT)
    first = f"  {name:<{INDENT - 3}} {body[0]}"
    return "\n".join([first, *(" " * INDENT + line for line in body[1:])])
