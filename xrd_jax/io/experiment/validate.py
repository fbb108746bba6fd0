"""What the types of an experiment file do not say: which keys go together, exclude each other or are needed."""

import dataclasses
from typing import Any

from xrd_jax.errors import UserError, suggest
from xrd_jax.io.cyclers import columns
from xrd_jax.io.experiment import schema

# Where targets come from other than columns, and the kinds that each may be, the usual one first.
SOURCES: dict[str, tuple[str, ...]] = {
    "half cycles": ("classification",),  # direction and half in time, the four classes of the paper
    "direction": ("classification",),  # charge or discharge
    "half cycle": ("classification",),  # which half cycle; what split = "half_cycle" leaves out
    "capacity": ("regression",),  # Ah passed since the log began, positive on charge
    "soc": ("regression",),  # 0 to 1 within each half cycle, by charge
    "c_rate": ("classification", "regression"),
    "session": ("classification",),
}
CYCLER_SOURCES = ("half cycles", "direction", "half cycle", "capacity", "soc")
# Kind of split -> its keys; each stands for a field of the configuration.
SPLIT_KEYS: dict[str, tuple[str, ...]] = {
    "random": ("train_fraction", "seed"),
    "block": ("train_fraction", "blocks", "seed"),
    "cycle": (),
    "half_cycle": ("leave_out",),
    "session": ("session",),
    "fold": ("blocks", "part", "seed"),
    "leave_block": ("blocks", "part"),
    "rows": ("train", "test"),
    "column": ("column", "table", "train", "test"),
}
SPLIT_FIELDS = {
    "train_fraction": "prepare.train_fraction", "blocks": "prepare.blocks", "seed": "split_seed",
    "leave_out": "prepare.half_cycle", "train": "prepare.train_rows", "test": "prepare.test_rows",
    "part": "prepare.part", "session": "prepare.session", "column": "", "table": "",
}  # fmt: skip


def check_experiment(experiment: schema.ExperimentFile) -> schema.ExperimentFile:
    """Return the experiment with what it leaves open filled in: names and labels of sessions, kinds of targets."""
    _check_axis(experiment.axis, experiment.place("axis"))
    for window in experiment.mask.channels:
        _check_window(experiment.place("mask"), "channels", window)
    for name, window in experiment.windows.items():
        _check_window(experiment.place("windows"), name, window)
    experiment = dataclasses.replace(experiment, sessions=_complete_sessions(experiment))
    experiment = dataclasses.replace(experiment, targets=_complete_targets(experiment))
    _check_split(experiment.split, experiment)
    return experiment


def _check_axis(axis: schema.AxisTable, place: str) -> None:
    if axis.kind is None and axis.unit is not None:
        raise UserError(f"{place} unit goes with kind; add kind or remove it")
    if axis.kind is not None:
        if axis.kind not in schema.TO_AXIS_UNIT:
            raise UserError(f"{place} kind '{axis.kind}' is not known{suggest(axis.kind, schema.TO_AXIS_UNIT)}")
        units = schema.TO_AXIS_UNIT[axis.kind]
        # q is written in 1/nm as often as in 1/Å: only where one unit is usual is it a default.
        if axis.unit is None and axis.kind != "two_theta" and len(units) > 1:
            raise UserError(f"{place} unit is missing; add one of {', '.join(units)}")
        if axis.unit is not None and axis.unit not in units:
            raise UserError(f"{place} unit '{axis.unit}' is not known for {axis.kind}{suggest(axis.unit, units)}")
    if axis.keep is not None:
        _check_window(place, "keep", axis.keep)
    if axis.first is not None or axis.last is not None:
        _check_window(place, "first and last", (axis.first, axis.last))
    if axis.wavelength is not None and not 0.01 <= axis.wavelength <= 20:
        raise UserError(f"{place} wavelength = {axis.wavelength:g} Å is no X-ray or neutron wavelength; give it in Å")


def _check_window(place: str, name: str, window: tuple[float | None, float | None]) -> None:
    low, high = window
    if low is None or high is None or not low < high:
        raise UserError(f"{place} {name} must be [low, high] on the axis, not {list(window)}")


def _complete_sessions(experiment: schema.ExperimentFile) -> tuple[schema.SessionTable, ...]:
    if not experiment.sessions:
        raise UserError(f'{experiment.path}: names no session; add [[session]] with patterns = "folder/*.xy"')
    only_name = experiment.title if len(experiment.sessions) == 1 else None
    sessions: list[schema.SessionTable] = []
    for number, session in enumerate(experiment.sessions, 1):
        label = f"session {number}"
        name = only_name if session.name is None else session.name
        if name is None:
            raise UserError(f"{experiment.place(label)} name is missing; add it")
        if any(name == other.name for other in sessions):
            raise UserError(f"{experiment.place(label)} name '{name}' is taken; give every session its own")
        _check_session(session, experiment.place(label))
        if session.time is not None:
            _check_time(session.time, experiment.place(label, "time"))
        if session.cycler is not None:
            _check_cycler(session.cycler, experiment.place(label, "cycler"))
        sessions.append(dataclasses.replace(session, name=name, label=label))
    return tuple(sessions)


def _check_session(session: schema.SessionTable, place: str) -> None:
    if any(not glob for glob in session.globs):
        raise UserError(f"{place} patterns must be a text such as 'folder/*.xy', or a list of them")
    if bool(session.globs) == bool(session.stack):
        raise UserError(f'{place} needs either patterns = "folder/*.xy" or stack = "file"; give one')
    if session.dataset and not session.stack:
        raise UserError(f"{place} dataset goes with stack; remove it")
    if session.columns and isinstance(session.columns, str) != bool(session.stack):
        raise UserError(f'{place} columns is a glob such as "I_*" for a stack, and for pattern files a list of two or '
                        'three headings or places from 1, such as ["2theta", "counts"] or [2, 3]; mend it')  # fmt: skip
    if session.place is not None and session.stack:
        raise UserError(f"{place} place is found in the names of pattern files, and a stack has none; remove it")
    if session.counts and session.allow_negative:
        raise UserError(f"{place} counts = true and allow_negative = true exclude each other; photon counts are ≥ 0")
    if session.c_rate is not None and session.c_rate <= 0:
        raise UserError(f"{place} c_rate must be above 0, not {session.c_rate:g}")
    if session.cycler is not None and session.time is None:
        raise UserError(f"{place} has a cycler, but no times to match; add [session.time] with step, table or files")


def _check_time(time: schema.TimeTable, place: str) -> None:
    if (time.step is not None) + (time.table is not None) + time.files != 1:
        raise UserError(f"{place} needs either step (constant, in s) or table (a csv of file,start_time) or files = "
                        "true (the pattern files say it); give one")  # fmt: skip
    if time.relative and not time.files:
        raise UserError(f"{place} relative goes with files = true; remove it")
    if time.exposure is None and time.step is not None:
        raise UserError(f"{place} exposure is missing; add it, in s")
    if time.first is None and (time.step is not None or time.relative):
        raise UserError(f"{place} first is missing; add it, in s on the log's clock")
    exposure = time.exposure or 0.0
    if exposure < 0 or (time.step is not None and (time.step <= 0 or exposure > time.step)):
        raise UserError(f"{place} step must be positive and exposure between 0 and step, both in s; mend them")
    if time.step is None and (time.first_number is not None or (time.first is not None and not time.relative)):
        raise UserError(f"{place} first and first_number go with step, not with table or files; remove them")
    if time.zone is not None and time.step is not None:
        raise UserError(f"{place} zone goes with dates, not with step; remove it")


def _check_cycler(cycler: schema.CyclerTable, place: str) -> None:
    columns.check_choice(cycler.columns, cycler.units, place)
    if (cycler.columns or cycler.units) and cycler.format is not None:
        raise UserError(f"{place} format names a reader that knows its columns; remove it, or columns and units")
    if cycler.tolerance <= 0:
        raise UserError(f"{place} tolerance must be above 0 s, not {cycler.tolerance:g}")


def _complete_targets(experiment: schema.ExperimentFile) -> dict[str, schema.TargetTable]:
    place = experiment.place("targets")
    if not experiment.targets:
        raise UserError(f'{place} names no target; add one such as [targets.voltage] with column = "Ewe/V"')
    targets = {}
    for name, target in experiment.targets.items():
        place = experiment.place("targets", name)
        kinds = _possible_kinds(target, place)
        targets[name] = dataclasses.replace(target, name=name, kind=target.kind or kinds[0])
        if targets[name].kind not in kinds:
            raise UserError(f"{place} kind must be {' or '.join(kinds)}, not '{target.kind}'")
        needs = f'{place} from = "{target.source}" needs'
        for session in experiment.sessions:
            if target.source in CYCLER_SOURCES and session.cycler is None:
                raise UserError(f"{needs} a cycler log; add [session.cycler] to '{session.name}'")
            if target.source == "c_rate" and session.c_rate is None:
                raise UserError(f"{needs} c_rate in every [[session]]; add it to '{session.name}'")
    return targets


def _possible_kinds(target: schema.TargetTable, place: str) -> tuple[Any, ...]:
    if (target.column is not None) + (target.source is not None) + (target.expression is not None) != 1:
        raise UserError(f'{place} needs one of column = "…", expression = "…" and from = "half cycles"; give one')
    if target.table is not None and target.column is None:
        raise UserError(f'{place} table needs column = "…", which names one of its columns; add it')
    if target.source is None:
        return "regression", "classification"
    if target.source not in SOURCES:
        raise UserError(f"{place} from = '{target.source}' is not known{suggest(target.source, SOURCES)}")
    return SOURCES[target.source]


def _check_split(split: schema.SplitTable, experiment: schema.ExperimentFile) -> None:
    place, keys = experiment.place("split"), _given_keys(split)
    if split.kind is None:
        if keys:
            raise UserError(f"{place} kind is missing; add it")
        return
    for key in keys:
        if key not in SPLIT_KEYS[split.kind]:
            raise UserError(f'{place} {key} does not go with kind = "{split.kind}"; remove it')
    if split.kind == "column" and split.column is None:
        raise UserError(f'{place} column is missing; name the one that says "train" or "test" of every pattern')
    for key in ("train", "test"):
        if split.kind == "rows" and getattr(split, key) is None:
            raise UserError(f'{place} {key} is missing; add it, such as {key} = "0-171"')
    if split.kind == "half_cycle" and not {"half_cycle", "mode"} & set(experiment.targets):
        raise UserError(f'{place} kind = "half_cycle" needs [targets.half_cycle] with from = "half cycle"; add it')


def _given_keys(split: schema.SplitTable) -> list[str]:
    return [key for key in SPLIT_FIELDS if getattr(split, key) is not None]


def split_settings(split: schema.SplitTable) -> dict[str, Any]:
    """Return the fields of the configuration that [split] stands for, such as {'prepare.split': 'block'}."""
    if split.kind in (None, "column"):  # the values of a column are not known here
        return {}
    settings: dict[str, Any] = {"prepare.split": split.kind}
    if split.kind == "half_cycle":
        settings["prepare.half_cycle"] = -1  # the last, unless the table says otherwise
    return settings | {SPLIT_FIELDS[key]: getattr(split, key) for key in _given_keys(split)}
