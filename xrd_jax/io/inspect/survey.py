"""What lies in a folder: which files are patterns, cycler logs, stacks or neither, and what belongs together."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from xrd_jax.errors import UserError, suggest
from xrd_jax.io import cyclers, patterns
from xrd_jax.io.cyclers.log import CyclerLog
from xrd_jax.io.experiment import stack_csv
from xrd_jax.io.experiment.stack import Stack, same_axis, scan_names
from xrd_jax.io.inspect import name_patterns
from xrd_jax.io.parsing import hdf5, text
from xrd_jax.io.patterns.columns import ColumnNames
from xrd_jax.io.patterns.pattern import Pattern
from xrd_jax.io.reading import guard, many_files

MAX_FILES = 200_000  # a folder with more is a mistake in the path


@dataclasses.dataclass(frozen=True)
class SurveyedFile:
    """One file that could be read: `scans` of patterns, a `log`, or a `stack`."""

    path: Path
    format: str  # name of the reader
    scans: tuple[Pattern, ...] = ()
    log: CyclerLog | None = None
    stack: Stack | None = None
    column_glob: str = ""  # of the columns of a csv stack that hold the spectrum


@dataclasses.dataclass(frozen=True)
class PatternGroup:
    """Patterns of one folder on one axis: what a session is made of."""

    files: tuple[SurveyedFile, ...]  # in natural order
    names: tuple[str, ...]  # one for each scan
    scans: tuple[Pattern, ...]
    number: str | None  # regular expression that finds the number in every file name

    @property
    def folder(self) -> Path:
        return self.files[0].path.parent

    @property
    def axis(self) -> Float[np.ndarray, "N"]:
        return self.scans[0].axis

    def intensity(self) -> Float[np.ndarray, "T N"]:
        return np.stack([scan.intensity for scan in self.scans])


@dataclasses.dataclass(frozen=True)
class Survey:
    """All that lies under `root`, which is a folder or one file."""

    root: Path
    files: tuple[SurveyedFile, ...]  # those that could be read
    refused: tuple[tuple[Path, str], ...]  # (file, why in one line)
    groups: tuple[PatternGroup, ...]  # largest first

    @property
    def logs(self) -> list[SurveyedFile]:
        return [file for file in self.files if file.log is not None]

    @property
    def stacks(self) -> list[SurveyedFile]:
        return [file for file in self.files if file.stack is not None]

    @property
    def base(self) -> Path:
        """The folder that paths in an experiment file start from."""
        return self.root if self.root.is_dir() else self.root.parent


def survey_files(root: Path, cache: bool = False, progress: bool = False, columns: ColumnNames = ()) -> Survey:
    """Read every file under a folder, or one file.

    Raises:
      UserError: the path is not there, or holds nothing, or far too much.
    """
    readable: list[SurveyedFile] = []
    refused: list[tuple[Path, str]] = []
    candidates: list[Path] = []
    for path in list(_list_files(root)):
        try:
            guard.check(path)
            if (reader := cyclers.reader_of(path)) is None:
                candidates.append(path)
            else:
                readable.append(SurveyedFile(path, reader.name, log=cyclers.read_cycler(path, reader.name)))
        except UserError as error:
            refused.append((path, str(error)))
        except Exception as error:  # a fault in one reader must not end the survey
            refused.append((path, f"{path}: cannot be read ({type(error).__name__}: {error}); export it again"))
    # Backgrounds that were subtracted leave negative intensities: inspection must not stop there.
    results = many_files.BatchReader(cache, progress).read_all(candidates, True, columns)
    for path, result in zip(candidates, results, strict=True):
        if (stack_file := _read_stack(path, result)) is not None:
            readable.append(stack_file)
        elif isinstance(result, UserError):
            refused.append((path, str(result)))
        else:
            readable.append(SurveyedFile(path, _pattern_format(path), result))
    groups = _group_patterns([file for file in readable if file.scans])
    reasons = sorted((path, " ".join(reason.split())) for path, reason in refused)  # in one line each
    return Survey(root, tuple(readable), tuple(reasons), tuple(groups))


def _list_files(root: Path) -> Iterator[Path]:
    if not root.exists():
        siblings = [path.name for path in root.parent.iterdir()] if root.parent.is_dir() else []
        hint = suggest(root.name, siblings[:20]) if siblings else "; check the name"
        raise UserError(f"{root}: no such file or folder{hint}")
    if not root.is_dir():
        yield root
        return
    count = 0
    seen = {root.resolve()}  # links may lead back to where they came from
    for parent, folders, names in os.walk(root, followlinks=True):
        names_in_order = sorted((name for name in folders if not name.startswith(".")), key=text.natural_key)
        folders.clear()
        for name in names_in_order:
            if (place := Path(parent, name).resolve()) not in seen:
                folders.append(name)
                seen.add(place)
        for name in sorted(names, key=text.natural_key):
            path = Path(parent, name)
            if name.startswith(".") or not path.is_file():
                continue
            count += 1
            if count > MAX_FILES:
                raise UserError(f"{root}: holds more than {MAX_FILES} files; name the folder that holds the patterns")
            yield path
    if not count:
        raise UserError(f"{root}: the folder is empty; name the folder that holds the patterns")


def _pattern_format(path: Path) -> str:
    with contextlib.suppress(UserError):
        if (reader := patterns.reader_of(path)) is not None:
            return reader.name
    return "unknown"


def _read_stack(path: Path, result: many_files.ReadResult) -> SurveyedFile | None:
    """Return a csv with a row per spectrum, or a saved series; None for all else."""
    with contextlib.suppress(UserError, OSError, ValueError):
        if isinstance(result, UserError) and text.is_text(text.read_head(path)):
            glob = name_patterns.spectrum_glob(stack_csv.read_header(path)[0])
            if glob is None:
                return None
            stack = stack_csv.read_stack(path, True, glob, "")
            return SurveyedFile(path, "csv with a row per spectrum", stack=stack, column_glob=glob)
        if not isinstance(result, UserError) and len(result) > 1 and text.read_head(path).startswith(hdf5.SIGNATURE):
            return SurveyedFile(path, "HDF5 stack", stack=stack_csv.read_stack(path, True, "", ""))
    return None


def _group_patterns(files: Sequence[SurveyedFile]) -> Iterator[PatternGroup]:
    """Put together files of one folder, of one suffix, on one axis; largest groups first."""
    by_place: dict[tuple[Path, str], list[list[SurveyedFile]]] = {}
    for file in files:
        axes = [scan.axis for scan in file.scans]
        if any(not same_axis(axes[0], axis) for axis in axes[1:]):
            continue  # scans of different things in one file are no series
        groups = by_place.setdefault((file.path.parent, file.path.suffix.lower()), [])
        for group in groups:
            if same_axis(group[0].scans[0].axis, axes[0]):
                group.append(file)
                break
        else:
            groups.append([file])
    every_group = [group for groups in by_place.values() for group in groups]
    for group in sorted(every_group, key=lambda files: -sum(len(file.scans) for file in files)):
        names = [name for file in group for name in scan_names(file.path, len(file.scans))]
        has_single_scans = all(len(file.scans) == 1 for file in group)
        number = name_patterns.number_pattern([file.path.name for file in group]) if has_single_scans else None
        yield PatternGroup(tuple(group), tuple(names), tuple(scan for file in group for scan in file.scans), number)
