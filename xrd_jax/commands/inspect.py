"""`--mode=inspect`: reads a folder, a file or an experiment, says what it is, draws it, and writes where to start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.figures import inspection, style
from xrd_jax.figures.run import patterns_and_curves
from xrd_jax.files import write_bytes, write_json
from xrd_jax.io.experiment.read import read_experiment
from xrd_jax.io.inspect.alignment import match_series
from xrd_jax.io.inspect.findings import examine
from xrd_jax.io.inspect.nearest_logs import with_logs_beside
from xrd_jax.io.inspect.records import experiment_record, file_record, session_record
from xrd_jax.io.inspect.sentences import MAX_LISTED, describe_offset, describe_series, describe_survey
from xrd_jax.io.inspect.survey import survey_files
from xrd_jax.io.inspect.template import experiment_file
from xrd_jax.runtime.console import SILENT, Console
from xrd_jax.series.lazy import LazyRows

EXPERIMENT_FILE = "experiment.toml"
MAX_PATTERNS = 2000  # of a stack on disk: a figure shows no more, and all would not fit into memory


def inspect(
    path: str | Path,
    workdir: str | Path | None = None,
    json: str | Path | None = None,
    data_root: str | Path | None = None,
    cache: bool = True,
    console: Console = SILENT,
) -> dict[str, Any]:
    """Say what data are before anything is learnt from them.

    Args:
      path: a folder, a pattern file, a cycler log, a stack file, or an experiment file.
      workdir: where figures and the experiment file go; runs/inspect-<name> by default. Nothing there is overwritten
        but figures.
      json: where to write the findings for programs.
      console: takes lines for the user; whether to draw progress bars.

    Returns:
      the findings: {'read': […], 'refused': […], 'sessions': […], 'said': […], 'written': […]}.

    Raises:
      UserError: a path that is not there, or an experiment file at fault.
    """
    path = _below_data_root(Path(path), data_root)
    workdir = Path(workdir) if workdir else Path("runs") / f"inspect-{path.resolve().stem}"
    if workdir.is_file():
        raise UserError(f"{workdir}: is a file; choose another --workdir")
    if path.suffix.lower() == ".toml":
        findings = _inspect_experiment(path, workdir, data_root, cache, console)
    else:
        findings = _inspect_files(path, workdir, cache, console)
    if json:
        write_json(Path(json), findings)
        console.echo(f"findings: {json}")
    return findings


def _below_data_root(path: Path, data_root: str | Path | None) -> Path:
    """Return the path as given, else under --data_root."""
    if path.exists() or not data_root or path.is_absolute():
        return path
    below = Path(data_root) / path
    return below if below.exists() else path


def _inspect_files(path: Path, workdir: Path, cache: bool, console: Console) -> dict[str, Any]:
    survey = with_logs_beside(survey_files(path, cache, console.progress))
    sessions = [examine(survey, group) for group in survey.groups[:MAX_LISTED]]
    messages = list(describe_survey(survey, sessions))
    for line in messages:
        console.echo(line)
    written: list[Path] = []
    for name, figure in inspection.survey_figures(sessions, survey.stacks[:MAX_LISTED]):
        written += style.save(figure, workdir / "figures", name)
    if (text := experiment_file(survey, sessions, path.resolve().stem)) is not None:
        file = _write_experiment_file(workdir / EXPERIMENT_FILE, text, console)
        written.append(_tried(file, cache, console))
    console.echo(
        f"figures and experiment file: {workdir}" if written else "No patterns were read: nothing to learn from."
    )
    return {
        "read": [file_record(file) for file in survey.files],
        "refused": [{"file": str(file), "why": reason} for file, reason in survey.refused],
        "sessions": [session_record(session) for session in sessions],
        "said": messages,
        "written": [str(file) for file in written],
    }


def _write_experiment_file(path: Path, text: str, console: Console) -> Path:
    """Write the experiment file, under another name where there is one already."""
    free_path, number = path, 1
    while free_path.exists():
        if free_path.read_text(encoding="utf-8") == text:
            return free_path
        number += 1
        free_path = path.with_name(f"{path.stem}-{number}{path.suffix}")
    if free_path != path:
        console.echo(f"{path} is there already and was left as it is; the new one is {free_path.name}.")
    write_bytes(free_path, text.encode())
    return free_path


def _tried(file: Path, cache: bool, console: Console) -> Path:
    """Read an experiment file that leaves nothing open; a target that these patterns do not allow becomes a comment."""
    text = file.read_text(encoding="utf-8")
    while "# NEEDED" not in text:
        try:
            read_experiment(file, cache=cache)
        except UserError as error:
            table = re.search(r"\[targets\.(\w+)\]", str(error))
            if table is None or not (lines := re.search(rf"(?m)^\[targets\.{table[1]}\]\n(?:.+\n)*", text)):
                console.echo(f"Problem: {error}")
                break
            reason = str(error).partition("] ")[2].split(":")[0]
            commented = "".join(f"# {line}\n" for line in lines[0].splitlines())
            text = text.replace(lines[0], f"# Not of use here: {reason}\n{commented}")
            write_bytes(file, text.encode())
            continue
        break
    return file


def _inspect_experiment(
    path: Path, workdir: Path, data_root: str | Path | None, cache: bool, console: Console
) -> dict[str, Any]:
    """Read an experiment file as a training would read it, and draw it."""
    experiment = read_experiment(path, data_root, cache, console.progress)
    series = experiment.series
    loaded = series.subset(series.thinned(MAX_PATTERNS)) if isinstance(series.intensity, LazyRows) else series
    messages = [*experiment.report, *describe_series(series, loaded)]
    for line in messages:
        console.echo(line)
    written = style.save(patterns_and_curves(loaded), workdir / "figures", "patterns")
    offsets = []
    for number, name in enumerate(series.session_names if "voltage" in loaded.targets else ()):
        session = loaded.subset(np.flatnonzero(loaded.session == number))
        if (match := match_series(session)) is None:
            continue
        centroid, offset = match
        offsets.append({"session": name, "seconds": offset.seconds, "correlation": offset.correlation,
                        "suggested": offset.is_suggested, "applied": False})  # fmt: skip
        messages.append(f"{name}: {describe_offset(centroid, offset)}")
        console.echo(messages[-1])
        figure = inspection.series_alignment(name, session, centroid, offset)
        written += style.save(figure, workdir / "figures", f"alignment_{number + 1}")
    console.echo(f"figures: {workdir / 'figures'}")
    return {
        "read": [experiment_record(path, series)], "refused": [], "offsets": offsets, "targets": list(series.targets),
        "said": messages, "written": [str(file) for file in written],
    }  # fmt: skip
