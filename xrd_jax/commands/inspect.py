"""`--mode=inspect`: reads a folder, a file or an experiment, says what it is, draws it, and writes where to start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.figures import inspection as drawings
from xrd_jax.figures import run, style
from xrd_jax.files import write_bytes, write_json
from xrd_jax.io.cyclers import log as logs
from xrd_jax.io.experiment import read as experiment_read
from xrd_jax.io.inspect import alignment, findings, sentences, survey, template
from xrd_jax.series import axis as series_axis
from xrd_jax.series import lazy
from xrd_jax.series import record as series_record

Echo = Callable[[str], None]
EXPERIMENT = "experiment.toml"
MOST = 2000  # patterns of a stack on disk that are looked at


def inspect(
    path: str | Path,
    workdir: str | Path | None = None,
    json: str | Path | None = None,
    data_root: str | Path | None = None,
    cache: bool = True,
    progress: bool = False,
    say: Echo = lambda line: None,
) -> dict[str, Any]:
    """Looks at data before anything is learnt from them.

    Args:
      path: a folder, a pattern file, a cycler log, a stack file, or an experiment file.
      workdir: where figures and the experiment file go; runs/inspect-<name> by default. Nothing there is overwritten
        but figures.
      json: where to write the findings for programs.
      say: takes lines for the user.

    Returns:
      the findings: {'read': […], 'refused': […], 'sessions': […], 'said': […], 'written': […]}.

    Raises:
      UserError: a path that is not there, or an experiment file at fault.
    """
    path = _existing(Path(path), data_root)
    home = Path(workdir) if workdir else Path("runs") / f"inspect-{path.resolve().stem}"
    if home.is_file():
        raise UserError(f"{home}: is a file; choose another --workdir")
    if path.suffix.lower() == ".toml":
        found = _experiment(path, home, data_root, cache, progress, say)
    else:
        found = _survey(path, home, cache, progress, say)
    if json:
        write_json(Path(json), found)
        say(f"findings: {json}")
    return found


def _existing(path: Path, data_root: str | Path | None) -> Path:
    """The path as given, else under --data_root."""
    if path.exists() or not data_root or path.is_absolute():
        return path
    under = Path(data_root) / path
    return under if under.exists() else path


def _survey(path: Path, home: Path, cache: bool, progress: bool, say: Echo) -> dict[str, Any]:
    found = survey.survey(path, cache, progress)
    sessions = [findings.examine(found, group) for group in found.groups[: sentences.SHOWN]]
    parts = [sentences.overview(found)]
    parts += [sentences.session(one, found.base) for one in sessions]
    parts += [sentences.stacked(one, found.base) for one in found.stacks]
    told = {id(one.log) for one in sessions}
    alone = [one for one in found.logs if id(one) not in told]
    parts += [sentences.cycler(one, found.base) for one in alone[: sentences.SHOWN]]
    said = sentences.lines(parts)
    for line in said:
        say(line)
    written = [str(file) for file in _draw(found, sessions, home)]
    title = path.resolve().stem
    if (text := _start(found, sessions, title)) is not None:
        written.append(str(_write_once(home / EXPERIMENT, text, say)))
    last = f"figures and experiment file: {home}" if written else "No patterns were read: nothing to learn from."
    say(last)
    return {
        "read": [findings.record(one) for one in found.read],
        "refused": [{"file": str(file), "why": why} for file, why in found.refused],
        "sessions": [_session(one) for one in sessions],
        "said": said,
        "written": written,
    }


def _start(found: survey.Survey, sessions: Sequence[findings.Session], title: str) -> str | None:
    """The experiment file for the largest thing that was found."""
    several = [one for one in sessions if len(one.group.scans) > 1]
    largest = max((len(one.group.scans) for one in several), default=0)
    stack = max(found.stacks, key=lambda one: len(one.rows.names) if one.rows else 0, default=None)
    if stack is not None and stack.rows is not None and len(stack.rows.names) > largest:
        return template.for_stack(stack, found.base, title)
    chosen = several or list(sessions)
    return template.for_sessions(chosen, found.base, title) if chosen else None


def _write_once(path: Path, text: str, say: Echo) -> Path:
    """Writes the experiment file, under another name where there is one already."""
    free, number = path, 1
    while free.exists():
        if free.read_text(encoding="utf-8") == text:
            return free
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    if free != path:
        say(f"{path} is there already and was left as it is; the new one is {free.name}.")
    write_bytes(free, text.encode())
    return free


def _draw(found: survey.Survey, sessions: Sequence[findings.Session], home: Path) -> list[Path]:
    files: list[Path] = []
    several = [one for one in sessions if len(one.group.scans) > 1]
    for number, one in enumerate(several or sessions[:1], 1):
        picture = _picture(one)
        name = "patterns" if number == 1 else f"patterns_{number}"
        files += style.save(drawings.heat_map(picture), home / "figures", name, write_bytes)
        if one.offset is not None and one.moving is not None:
            name = "alignment" if number == 1 else f"alignment_{number}"
            files += _aligned(picture, one.moving, one.offset, home, name)
    for number, stacked in enumerate(found.stacks[: sentences.SHOWN], 1):
        rows = stacked.rows
        assert rows is not None
        label = series_axis.AXIS_LABELS[rows.kind] if rows.kind else "Channel" if stacked.columns else "Position"
        picture = drawings.Picture(
            stacked.path.name, np.arange(len(rows.names), dtype=float), rows.axis, np.asarray(rows.intensity, float),
            label, timed=False,
        )  # fmt: skip
        files += style.save(drawings.heat_map(picture), home / "figures", f"stack_{number}", write_bytes)
    return files


def _aligned(
    picture: drawings.Picture, moving: alignment.Moving, offset: alignment.Offset, home: Path, name: str
) -> list[Path]:
    drawn = drawings.alignment(picture, moving.position, moving.window, offset.lags, offset.curve, offset.seconds,
                               offset.against, offset.told)  # fmt: skip
    return style.save(drawn, home / "figures", name, write_bytes)


def _picture(one: findings.Session) -> drawings.Picture:
    group, clocks = one.group, one.clocks
    kind = group.scans[0].kind
    curve = None
    if one.log is not None and one.log.log is not None and clocks.kind in ("absolute", "filled"):
        curve = drawings.Curve(one.log.log.time, one.log.log.voltage)
    notes = {"filled": "times assumed: equal steps that fill the log"}
    notes["none"] = "" if len(group.scans) < 2 else "no times"
    time = clocks.time
    if np.any(np.diff(time) <= 0):  # scans with one date: keep their order
        time, clocks = np.arange(time.size, dtype=float), dataclasses.replace(clocks, kind="none")
        curve = None
    return drawings.Picture(
        title=group.folder.name or group.names[0],
        time=time,
        axis=group.axis,
        intensity=group.intensity()[one.order],
        label=series_axis.AXIS_LABELS[kind] if kind else "Position (the files do not say of what)",
        timed=clocks.kind != "none",
        curve=curve,
        note=notes.get(clocks.kind, ""),
    )


def _session(one: findings.Session) -> dict[str, Any]:
    """A group for programs."""
    offset = one.offset and {
        "seconds": one.offset.seconds, "correlation": one.offset.correlation, "as_is": one.offset.unmoved,
        "against": one.offset.against, "suggested": one.offset.told, "applied": False,
    }  # fmt: skip
    return {
        "folder": str(one.group.folder),
        "patterns": len(one.group.scans),
        "points": int(one.group.axis.size),
        "number": one.group.number,
        "cycler": str(one.log.path) if one.log else None,
        "times": one.clocks.kind,
        "unmatched": list(one.unmatched),
        "duplicates": [list(pair) for pair in one.duplicates],
        "dead_channels": one.group.axis[one.dead].tolist(),
        "saturated_channels": one.group.axis[one.saturated].tolist(),
        "offset": offset or None,
    }


def _experiment(
    path: Path, home: Path, data_root: str | Path | None, cache: bool, progress: bool, say: Echo
) -> dict[str, Any]:
    """An experiment file is read as a training would read it, and drawn."""
    made = experiment_read.read_experiment(path, data_root, cache, progress)
    data, said = made.series, list(made.report)
    for name, target in data.targets.items():
        if target.kind == "regression":
            low, high = target.values.min(), target.values.max()
            said.append(f"Target {name}: {low:.5g} to {high:.5g} {target.unit}".rstrip() + ".")
    axis = data.axis
    ends = f"{axis.values[0]:g} to {axis.values[-1]:g} {axis.unit}".rstrip()
    said.append(f"Axis: {axis.values.size} channels of {axis.kind} from {ends}.")
    shown = data.subset(data.thinned(MOST)) if isinstance(data.intensity, lazy.LazyRows) else data
    said += _doubts(shown)
    for line in said:
        say(line)
    files = style.save(run.patterns_and_curves(shown), home / "figures", "patterns", write_bytes)
    offsets = []
    for number, name in enumerate(data.session_names):
        own = shown.subset(np.flatnonzero(shown.session == number))
        if "voltage" not in shown.targets:
            continue
        voltage = own.targets["voltage"].values
        log = logs.CyclerLog(own.time, voltage, np.zeros_like(voltage), np.zeros_like(voltage), None, {})
        candidates = alignment.moving(axis.values, np.asarray(own.intensity, np.float64))
        if (pair := alignment.best(own.time, candidates, log)) is None:
            continue
        moved, offset = pair
        offsets.append({"session": name, "seconds": offset.seconds, "correlation": offset.correlation,
                        "suggested": offset.told, "applied": False})  # fmt: skip
        said.append(f"{name}:{sentences.moved(offset, moved)[1:]}")
        say(said[-1])
        picture = drawings.Picture(name, own.time, axis.values, np.asarray(own.intensity), axis.label,
                                   curve=drawings.Curve(own.time, voltage))  # fmt: skip
        files += _aligned(picture, moved, offset, home, f"alignment_{number + 1}")
    say(f"figures: {home / 'figures'}")
    return {
        "read": [{"file": str(path), "format": "experiment file", "scans": len(data), "points": int(axis.values.size),
                  "axis": axis.kind, "unit": axis.unit, "wavelength": axis.wavelength, "start": None}],
        "refused": [], "offsets": offsets, "targets": list(data.targets), "said": said,
        "written": [str(file) for file in files],
    }  # fmt: skip


def _doubts(data: series_record.PatternSeries) -> list[str]:
    dead, saturated = findings.channels_at_fault(np.asarray(data.intensity))
    found = [f"Problem: {dead.size} channels never change; hide them under [mask] channels."] if dead.size else []
    if saturated.size:
        found.append(f"Problem: {saturated.size} channels may be saturated; if so, hide them under [mask] channels.")
    return found
