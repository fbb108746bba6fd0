"""An experiment file becomes the records of `schema`."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import parse_session, parse_targets
from xrd_jax.io.experiment.schema import TO_AXIS_UNIT, AxisPlan, Plan, SessionPlan
from xrd_jax.io.parsing import toml_table
from xrd_jax.series import axis as series_axis
from xrd_jax.series.axis import DIFFRACTION

VERSIONS = (1, 2)


def read_plan(path: Path) -> Plan:
    """Reads and checks an experiment file of version 1 (one session) or 2.

    Raises:
      UserError: the file is missing or not TOML, a key is unknown, missing or of the wrong type.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such experiment file; check the name") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: not a TOML file in UTF-8 ({error}); mend that place") from None
    top = toml_table.Section(values, "", path)
    version = top.take("version", int)
    if version not in VERSIONS:
        raise UserError(f"{path}: version = {version} is not known; this program reads versions 1 and 2")
    title = top.take("title", str, path.stem)
    if version == 1:
        _refuse_newer(values, path)
        axis = _axis(top.section("axis"), required=True)
        sessions: tuple[SessionPlan, ...] = (parse_session.only(top, title),)
    else:
        _refuse_older(values, path)
        axis = _masked(_axis(top.section("axis", {}), required=False), top.section("mask", {}))
        sessions = parse_session.several(top, title)
    windows, reflections = top.section("windows", {}), top.section("reflections", {})
    plan = Plan(
        path=path,
        title=title,
        axis=axis,
        sessions=sessions,
        targets=parse_targets.targets(top.section("targets"), version),
        windows={name: span(windows.place, name, windows.values[name], axis.scale) for name in list(windows.values)},
        reflections={name: axis.scale * reflections.take(name, float) for name in list(reflections.values)},
        split=parse_targets.split(top.section("split", {})) if version > 1 else {},
        overrides=dict(top.section("set", {}).values),
    )
    top.done()
    parse_targets.check(plan)
    return plan


def _refuse_newer(values: dict[str, Any], path: Path) -> None:
    for key in ("session", "split", "mask"):
        if key in values:
            raise UserError(f"{path}: [{key}] came with version 2; set version = 2 and move [patterns], [time] and "
                            "[cycler] under [[session]]")  # fmt: skip


def _refuse_older(values: dict[str, Any], path: Path) -> None:
    for key in ("patterns", "time", "cycler"):
        if key in values:
            remedy = 'write [[session]] with patterns = "…"' if key == "patterns" else f"write [session.{key}]"
            raise UserError(f"{path}: [{key}] stands under a session in version 2; {remedy}, or set version = 1")


def _axis(table: toml_table.Section, required: bool) -> AxisPlan:
    kind = table.take("kind", str) if required else table.take("kind", str, None)
    if kind is not None and kind not in TO_AXIS_UNIT:
        raise UserError(f"{table.place} kind '{kind}' is not known{toml_table.suggest(kind, TO_AXIS_UNIT)}")
    scale = 1.0 if kind is None else _scale(table, kind)
    wavelength = table.take("wavelength", float, None)
    ends = None
    if not required and ("first" in table.values or "last" in table.values):
        ends = span(table.place, "first and last", [table.values.get("first"), table.values.get("last")], scale)
        table.take("first", float), table.take("last", float)
    table.done()
    if wavelength is None and kind in DIFFRACTION and required:
        raise UserError(
            f"{table.place} wavelength is missing; give it in Å, such as wavelength = 1.5406: none is assumed"
        )
    if wavelength is not None and not 0.01 <= wavelength <= 20:
        raise UserError(f"{table.place} wavelength = {wavelength:g} Å is no X-ray or neutron wavelength; give it in Å")
    return AxisPlan(kind, scale, wavelength, ends)


def _scale(table: toml_table.Section, kind: str) -> float:
    units = TO_AXIS_UNIT[kind]
    # q is written in 1/nm as often as in 1/Å: only where one unit is usual is it a default.
    usual = kind == "two_theta" or len(units) == 1
    unit = table.take("unit", str, *([series_axis.AXIS_UNITS[kind]] if usual else []))
    if unit not in units:
        raise UserError(f"{table.place} unit '{unit}' is not known for {kind}{toml_table.suggest(unit, units)}")
    return units[unit]


def _masked(axis: AxisPlan, table: toml_table.Section) -> AxisPlan:
    ranges = table.take("channels", list, [])
    fill = table.take("fill", bool, False)
    table.done()
    masks = tuple(span(table.place, "channels", value, axis.scale) for value in ranges)
    return dataclasses.replace(axis, masks=masks, fill=fill)


def span(place: str, name: str, value: Any, scale: float) -> tuple[float, float]:
    """[low, high] on the axis, in the unit of `series.AXIS_UNITS`."""
    numbers = (
        isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) and math.isfinite(v) for v in value)
    )
    if not numbers or not value[0] < value[1]:
        raise UserError(f"{place} {name} must be [low, high] on the axis, not {value!r}")
    return value[0] * scale, value[1] * scale
