"""The tables of one session: where its patterns are, when they were taken, what the cell did meanwhile."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Any

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers import columns
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.parsing import toml_table


def only(top: toml_table.Section, title: str) -> plans.SessionPlan:
    """The one session of a version 1 file, whose tables stand at the top."""
    table = top.section("patterns")
    patterns = plans.PatternPlan(
        (table.take("files", str),),
        _number(table),
        table.take("counts", bool),
        table.take("allow_negative", bool, False),
    )
    table.done()
    _exclusive(patterns, table)
    return plans.SessionPlan(title, "", patterns, _time(top.section("time"), 1), _cycler(top.section("cycler"), 1))


def several(top: toml_table.Section, title: str) -> tuple[plans.SessionPlan, ...]:
    """Every [[session]] of a version 2 file."""
    tables = top.take("session", list)
    if not tables or not all(isinstance(table, dict) for table in tables):
        raise UserError(f'{top.path}: names no session; add [[session]] with patterns = "folder/*.xy"')
    sessions = tuple(
        _session(toml_table.Section(table, f"session {number}", top.path), title if len(tables) == 1 else None)
        for number, table in enumerate(tables, 1)
    )
    for number, one in enumerate(sessions, 1):
        if one.name in [other.name for other in sessions[: number - 1]]:
            raise UserError(f"{top.path}: [session {number}] name '{one.name}' is taken; give every session its own")
    return sessions


def _session(table: toml_table.Section, title: str | None) -> plans.SessionPlan:
    name = table.take("name", str) if title is None else table.take("name", str, title)
    files, stack = _globs(table), table.take("stack", str, "")
    if bool(files) == bool(stack):
        raise UserError(f'{table.place} needs either patterns = "folder/*.xy" or stack = "file"; give one')
    for key in ("columns", "dataset"):
        if key in table.values and not stack:
            raise UserError(f"{table.place} {key} goes with stack; remove it")
    patterns = plans.PatternPlan(
        files,
        _number(table),
        table.take("counts", bool, False),
        table.take("allow_negative", bool, False),
        stack,
        table.take("columns", str, ""),
        table.take("dataset", str, ""),
        _excluded(table),
    )
    _exclusive(patterns, table)
    c_rate = table.take("c_rate", float, None)
    time = _time(table.section("time"), 2) if "time" in table.values else None
    cycler = _cycler(table.section("cycler"), 2) if "cycler" in table.values else None
    table.take("time", dict, {}), table.take("cycler", dict, {})
    table.done()
    if c_rate is not None and c_rate <= 0:
        raise UserError(f"{table.place} c_rate must be above 0, not {c_rate:g}")
    if cycler is not None and time is None:
        raise UserError(
            f"{table.place} has a cycler, but no times to match; add [session.time] with step, table or files"
        )
    return plans.SessionPlan(name, table.name + ".", patterns, time, cycler, c_rate)


def _globs(table: toml_table.Section) -> tuple[str, ...]:
    value = table.values.get("patterns", [])
    several = value if isinstance(value, list) else [value]
    if "patterns" in table.values and (not several or not all(isinstance(one, str) and one for one in several)):
        raise UserError(f"{table.place} patterns must be a text such as 'folder/*.xy', or a list of them")
    table.known.append("patterns")
    return tuple(several)


def _excluded(table: toml_table.Section) -> tuple[str | int, ...]:
    value = table.take("exclude", list, [])
    if not all(type(one) in (int, str) for one in value):
        raise UserError(f"{table.place} exclude must list names or numbers of patterns, not {value!r}")
    return tuple(value)


def _number(table: toml_table.Section) -> re.Pattern[str] | None:
    number = table.take("number", str, None)
    try:
        return None if number is None else re.compile(number)
    except re.error as error:
        raise UserError(
            f"{table.place} number is not a regular expression ({error}); write one such as '_(\\d+)'"
        ) from None


def _exclusive(patterns: plans.PatternPlan, table: toml_table.Section) -> None:
    if patterns.counts and patterns.allow_negative:
        raise UserError(
            f"{table.place} counts = true and allow_negative = true exclude each other; photon counts are ≥ 0"
        )


def _time(table: toml_table.Section, version: int) -> plans.TimePlan:
    step, starts = table.take("step", float, None), table.take("table", str, None)
    files = table.take("files", bool, False) if version > 1 else False
    relative = table.take("relative", bool, False) if files else False
    default = [0.0] if step is None and not relative else []
    plan = plans.TimePlan(
        exposure=table.take("exposure", float, None) if files else table.take("exposure", float),
        offset=table.take("offset", float, 0.0),
        step=step,
        first=table.take("first", float, *default),
        first_number=table.take("first_number", int, 1),
        table=starts,
        files=files,
        zone=_zone(table, version),
        relative=relative,
    )
    table.done()
    if (step is not None) + (starts is not None) + files != 1:
        third = " or files = true (the pattern files say it)" if version > 1 else ""
        raise UserError(
            f"{table.place} needs either step (constant, in s) or table (a csv of file,start_time){third}; give one"
        )
    _check_time(table, plan)
    return plan


def _check_time(table: toml_table.Section, plan: plans.TimePlan) -> None:
    exposure = plan.exposure or 0.0
    if exposure < 0 or (plan.step is not None and (plan.step <= 0 or exposure > plan.step)):
        raise UserError(f"{table.place} step must be positive and exposure between 0 and step, both in s; mend them")
    wrong = {"first_number"} | (set() if plan.relative else {"first"})
    if plan.step is None and wrong & set(table.values):
        raise UserError(f"{table.place} first and first_number go with step, not with table or files; remove them")
    if plan.zone is not None and plan.step is not None:
        raise UserError(f"{table.place} zone goes with dates, not with step; remove it")


def _zone(table: toml_table.Section, version: int) -> datetime.tzinfo | None:
    name = table.take("zone", str, None) if version > 1 else None
    if name is None:
        return None
    try:
        if re.fullmatch(r"[+-]\d\d:\d\d", name):
            return datetime.datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise UserError(f"{table.place} zone '{name}' is not known; write +01:00, UTC or Europe/Berlin") from None


def _cycler(table: toml_table.Section, version: int) -> plans.CyclerPlan:
    start = _start(table)
    sign = table.take("positive_current", str, "charge")
    if sign not in ("charge", "discharge"):
        raise UserError(f"{table.place} positive_current must be 'charge' or 'discharge', not '{sign}'")
    plan = plans.CyclerPlan(
        table.take("file", str),
        table.take("format", str, None),
        table.take("tolerance", float, plans.DEFAULT_TOLERANCE),
        start,
        1.0 if sign == "charge" else -1.0,
        _zone(table, version),
        *_columns(table, version),
    )
    table.done()
    if plan.tolerance <= 0:
        raise UserError(f"{table.place} tolerance must be above 0 s, not {plan.tolerance:g}")
    return plan


def _columns(table: toml_table.Section, version: int) -> tuple[dict[str, str], dict[str, str]]:
    """What [session.cycler.columns] and [session.cycler.units] say about a table whose own names do not."""
    if version < 2:
        return {}, {}
    chosen = table.take("columns", dict, {}), table.take("units", dict, {})
    for role, text in (*chosen[0].items(), *chosen[1].items()):
        if not isinstance(text, str):
            raise UserError(f"{table.place} {role} must be a text such as 'Ewe/V' or 'mV', not {text!r}")
    columns.check(*chosen, table.place)
    if any(chosen) and "format" in table.values:
        raise UserError(f"{table.place} format names a reader that knows its columns; remove it, or columns and units")
    return chosen


def _start(table: toml_table.Section) -> datetime.datetime | None:
    start: Any = table.values.get("start")
    table.take("start", datetime.datetime if isinstance(start, datetime.datetime) else str, None)
    if not isinstance(start, str):
        return start
    try:
        return datetime.datetime.fromisoformat(start)
    except ValueError:
        raise UserError(f"{table.place} start '{start}' is not a date; write 2024-02-28T10:27:22+01:00") from None
