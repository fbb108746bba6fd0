"""What lies in a folder: which files are patterns, cycler logs, stacks or neither, and what belongs together."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io import cyclers, patterns
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.experiment import stack, stack_csv
from xrd_jax.io.parsing import hdf5, text, toml_table
from xrd_jax.io.parsing import text as parsing_text
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import many_files

MOST = 200_000  # files; a folder with more is a mistake in the path
ALIKE = 0.01  # of a channel: axes that differ by less are one axis
LEAST_COLUMNS = 8  # columns named alike that make a csv a stack


@dataclasses.dataclass(frozen=True)
class Found:
    """One file that could be read: `scans` of patterns, a `log`, or `rows` of a stack.

    Attributes:
      format: name of the reader.
      columns: for a csv stack, the glob of the columns that hold the spectrum.
    """

    path: Path
    format: str
    scans: tuple[Pattern, ...] = ()
    log: logs.CyclerLog | None = None
    rows: stack.Stack | None = None
    columns: str = ""


@dataclasses.dataclass(frozen=True)
class Group:
    """Patterns of one folder on one axis: what a session is made of.

    Attributes:
      files: in natural order.
      names: [T], one for each scan.
      number: regular expression that finds the number in every file name, or None.
    """

    files: tuple[Found, ...]
    names: tuple[str, ...]
    scans: tuple[Pattern, ...]
    number: str | None

    @property
    def folder(self) -> Path:
        return self.files[0].path.parent

    @property
    def axis(self) -> np.ndarray:
        return self.scans[0].axis

    def intensity(self) -> np.ndarray:
        return np.stack([one.intensity for one in self.scans])


@dataclasses.dataclass(frozen=True)
class Survey:
    """All that was found under `root`, which is a folder or one file.

    Attributes:
      refused: (file, why in one line).
    """

    root: Path
    read: tuple[Found, ...]
    refused: tuple[tuple[Path, str], ...]
    groups: tuple[Group, ...]
    logs: tuple[Found, ...]
    stacks: tuple[Found, ...]

    @property
    def base(self) -> Path:
        """The folder that paths in an experiment file start from."""
        return self.root if self.root.is_dir() else self.root.parent


def survey(root: Path, cache: bool = False, progress: bool = False) -> Survey:
    """Reads every file under a folder, or one file.

    Raises:
      UserError: the path is not there, or holds nothing, or far too much.
    """
    files = list(_files(root))
    read: list[Found] = []
    refused: list[tuple[Path, str]] = []
    candidates: list[Path] = []
    for file in files:
        try:
            log = _log(file)
        except UserError as error:
            refused.append((file, _line(error)))
            continue
        if log is not None:
            read.append(log)
        else:
            candidates.append(file)
    # Backgrounds that were subtracted leave negative intensities: looking must not stop there.
    results = many_files.Reading(cache, progress).read_all(candidates, allow_negative=True)
    for file, result in zip(candidates, results, strict=True):
        if (table := _stack(file, result)) is not None:
            read.append(table)
        elif isinstance(result, UserError):
            refused.append((file, _line(result)))
        else:
            read.append(Found(file, _format(file), result))
    groups = tuple(_groups([one for one in read if one.scans]))
    logged = tuple(one for one in read if one.log is not None)
    stacks = tuple(one for one in read if one.rows is not None)
    return Survey(root, tuple(read), tuple(sorted(refused)), groups, logged, stacks)


def _files(root: Path) -> Iterator[Path]:
    if not root.exists():
        near = [one.name for one in root.parent.iterdir()] if root.parent.is_dir() else []
        hint = toml_table.suggest(root.name, near[:20]) if near else "; check the name"
        raise UserError(f"{root}: no such file or folder{hint}")
    if not root.is_dir():
        yield root
        return
    count = 0
    for home, folders, names in os.walk(root):
        folders[:] = sorted((one for one in folders if not one.startswith(".")), key=parsing_text.natural_key)
        for name in sorted(names, key=parsing_text.natural_key):
            file = Path(home, name)
            if name.startswith(".") or not file.is_file():
                continue
            count += 1
            if count > MOST:
                raise UserError(f"{root}: holds more than {MOST} files; name the folder that holds the patterns")
            yield file
    if not count:
        raise UserError(f"{root}: the folder is empty; name the folder that holds the patterns")


def _log(file: Path) -> Found | None:
    """The cycler log in a file; None where no reader of logs knows it."""
    head = text.head(file)
    for reader in (*cyclers.plugins.installed(), *cyclers.READERS):
        if reader.recognises(head, file):
            try:
                return Found(file, reader.name, log=cyclers.read_cycler(file, reader.name))
            except UserError:
                raise
            except Exception as error:  # a fault in one reader must not end the survey
                raise UserError(f"{file}: cannot be read ({type(error).__name__}: {error}); export it again") from None
    return None


def _line(error: UserError) -> str:
    return " ".join(str(error).split())


def _format(file: Path) -> str:
    try:
        reader = patterns.reader_of(file)
    except UserError:
        return "unknown"
    return "unknown" if reader is None else reader.name


def _stack(file: Path, result: many_files.Result) -> Found | None:
    """A csv with a row per spectrum, or a saved series; None for all else."""
    try:
        if isinstance(result, UserError) and text.is_text(text.head(file)):
            columns = spectrum_glob(stack_csv.header(file)[0])
            if columns is None:
                return None
            plan = plans.PatternPlan((), None, False, True, str(file), columns)
            return Found(file, "csv with a row per spectrum", rows=stack_csv.load(plan, file), columns=columns)
        if not isinstance(result, UserError) and len(result) > 1 and text.head(file).startswith(hdf5.SIGNATURE):
            plan = plans.PatternPlan((), None, False, True, str(file))
            return Found(file, "HDF5 stack", rows=stack_csv.load(plan, file))
    except (UserError, OSError, ValueError):
        return None
    return None


def spectrum_glob(names: Sequence[str]) -> str | None:
    """What the columns of a spectrum are called: '' for numbers, 'absorbance_*' for a stem with numbers, else None."""
    if sum(stack_csv.position(name) is not None for name in names) >= LEAST_COLUMNS:
        return ""
    stems: dict[str, int] = {}
    for name in names:
        if match := re.fullmatch(r"(.*?[^\d.])\d+(\.\d+)?", name):
            stems[match[1]] = stems.get(match[1], 0) + 1
    best = max(stems, key=lambda stem: stems[stem], default=None)
    return None if best is None or stems[best] < LEAST_COLUMNS else best.replace("[", "[[]") + "*"


def _groups(files: Sequence[Found]) -> Iterator[Group]:
    """Files of one folder, of one suffix, on one axis; largest groups first."""
    found: dict[tuple[Path, str], list[list[Found]]] = {}
    for file in files:
        axes = [one.axis for one in file.scans]
        if any(not same_axis(axes[0], axis) for axis in axes[1:]):
            continue  # scans of different things in one file are no series
        homes = found.setdefault((file.path.parent, file.path.suffix.lower()), [])
        for home in homes:
            if same_axis(home[0].scans[0].axis, axes[0]):
                home.append(file)
                break
        else:
            homes.append([file])
    groups = [group for homes in found.values() for group in homes]
    for group in sorted(groups, key=lambda one: -sum(len(file.scans) for file in one)):
        names = [
            f"{file.path.name}#{k}" if len(file.scans) > 1 else file.path.name
            for file in group
            for k in range(1, len(file.scans) + 1)
        ]
        scans = tuple(one for file in group for one in file.scans)
        alone = all(len(file.scans) == 1 for file in group)
        number = number_pattern([file.path.name for file in group]) if alone else None
        yield Group(tuple(group), tuple(names), scans, number)


def same_axis(one: np.ndarray, other: np.ndarray) -> bool:
    if one is other:
        return True
    return one.shape == other.shape and bool(np.abs(one - other).max() <= ALIKE * np.median(np.diff(other)))


def number_pattern(names: Sequence[str]) -> str | None:
    """A regular expression for the number that tells file names apart; None where names differ in more than one."""
    if len(names) < 2:
        return None
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(part) for part in parts}) > 1 or len({tuple(part[::2]) for part in parts}) > 1:
        return None
    moving = [i for i in range(1, len(parts[0]), 2) if len({part[i] for part in parts}) > 1]
    if len(moving) != 1 or len({int(part[moving[0]]) for part in parts}) < len(names):
        return None
    at = moving[0]
    # As little of the name as tells the number from the others in it.
    before = re.escape(re.sub(r"^.*?(?=[^\w]|_[^_]*$|[^_]*$)", "", parts[0][at - 1][-12:]))
    for pattern in (rf"{before}(\d+)", "".join(re.escape(part) for part in parts[0][:at]) + r"(\d+)"):
        found = [re.search(pattern, name) for name in names]
        if all(match and match[1] == part[at] for match, part in zip(found, parts, strict=True)):
            return pattern
    return None
