"""Which column is which: one table of the names that vendors give to a quantity, and of the units behind them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import toml_table

_TIME = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6}
_TIME |= {"min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0, "d": 86400.0, "day": 86400.0, "days": 86400.0}
_TIME |= {"h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0}
_VOLTAGE = {"v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3, "uv": 1e-6, "millivolt": 1e-3}
_CURRENT = {"a": 1.0, "amp": 1.0, "amps": 1.0, "ampere": 1.0, "amperes": 1.0, "ka": 1e3, "ma": 1e-3, "ua": 1e-6}
_CURRENT |= {"na": 1e-9, "pa": 1e-12, "milliampere": 1e-3}
_CHARGE = {"ah": 1.0, "amphr": 1.0, "amperehour": 1.0, "amphour": 1.0, "mah": 1e-3, "uah": 1e-6, "nah": 1e-9}
_CHARGE |= {"as": 1 / 3600, "c": 1 / 3600, "coulomb": 1 / 3600, "coulombs": 1 / 3600, "mc": 1e-3 / 3600}
_BARE: dict[str, float] = {}

# Role: units, and names in order of preference. A name is in small letters, without its unit and punctuation.
_NAMES: dict[str, tuple[dict[str, float], str]] = {
    "time": (_TIME, "testtime totaltime runtime elapsedtime timeelapsed test time t 测试时间 总时间 累计时间 时间"),
    "step_time": (_TIME, "steptime relativetime tstep step 工步时间 相对时间"),
    "date": (
        _BARE,
        "datetime dateandtime dpttime realtime timestamp absolutetime systemtime systime datestamp date "
        "绝对时间 系统时间 日期",
    ),
    "unix_time": (_TIME, "unixtime unixtimestamp epochtime epoch"),
    "voltage": (
        _VOLTAGE,
        "ecell cellvoltage voltage potential batteryvoltage terminalvoltage eweece ewe volts volt vf u v e 电压",
    ),
    "current": (_CURRENT, "current i amps amp im cellcurrent batterycurrent 电流"),
    # Charge passed since the start, with a sign.
    "net": (_CHARGE, "qqo netcapacity netcharge ah"),
    "charge_capacity": (
        _CHARGE,
        "chargecapacity chargingcapacity chgcap chgcapacity capacitancechg chargecap qcharge 充电容量",
    ),
    "discharge_capacity": (
        _CHARGE,
        "dischargecapacity dischargingcapacity dchgcap dischgcap dchgcapacity capacitancedchg dischargecap qdischarge "
        "放电容量",
    ),
    "capacity": (_CHARGE, "capacity cap stepcapacity amphr q 容量"),
    "increment": (_CHARGE, "dq"),
    "state": (_BARE, "state md steptype stepname status command stepstate instructionname 工步类型 工步名称 状态"),
    "step": (_BARE, "stepindex stepid stepnumber step stepcount ns line 工步号 工步序号"),
    "half_cycle": (_BARE, "halfcycle"),
}
ROLES = {role: (units, tuple(names.split())) for role, (units, names) in _NAMES.items()}
# Names that say their unit by themselves.
_SPEAKING = frozenset(("volts", "volt", "amps", "amp", "amphr", "ah"))
_BRACKETS = re.compile(r"^(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]$")
_SLASH = re.compile(r"^(.*\S)\s*/\s*([^/]+)$")
_LONGEST_NAME = 120
_SUFFIX = re.compile(r"^(.*?)[_,\s]+([A-Za-zµμ]+)$")


@dataclasses.dataclass(frozen=True)
class Column:
    """One column that has a role: its place, its name in the file, its factor to s, V, A or Ah.

    Attributes:
      stated: False where the file names no unit, so that the SI one (or Ah) is taken and noted.
    """

    index: int
    name: str
    scale: float
    stated: bool


def split(name: str) -> tuple[str, str]:
    """Label (small letters and digits only) and unit ('' if none) of a column's name.

    'Voltage(V)', 'Voltage / V', 'U[V]', 'voltage_V' and '<I>/mA' all come apart.
    """
    name = name.strip().lstrip("~").strip()
    if len(name) > _LONGEST_NAME:  # no name, and the patterns take their time over such
        return "", ""
    for pattern in (_BRACKETS, _SLASH, _SUFFIX):
        found = pattern.match(name)
        if found and found.group(1) and (pattern is not _SUFFIX or _is_unit(found.group(2))):
            return _plain(found.group(1)), found.group(2)
    return _plain(name), ""


def factor(unit: str, role: str) -> float | None:
    """Factor from `unit` to the role's own unit, or None where the unit is not one of that quantity."""
    known = ROLES[role][0]
    if ":" in unit and known is _TIME:
        return 1.0
    unit = re.sub(r"^(m?V) vs.*", r"\1", unit.strip())
    return known.get(re.sub(r"[.·*\s\-]", "", unit.replace("µ", "u").replace("μ", "u").lower()))


def match(names: Sequence[str]) -> dict[str, Column]:
    """The column for each role that some name fills: one with its unit first, then by the table's preference."""
    found: dict[str, tuple[tuple[bool, int, int], Column]] = {}
    for index, name in enumerate(names):
        label, unit = split(name)
        for role, (units, aliases) in ROLES.items():
            if label not in aliases:
                continue
            scale = factor(unit, role) if unit else 1.0
            # 'Step (s)' is a time but 'Step' is a number, and 'Test (s)' a time but 'Test' a name.
            if scale is None or (units is _BARE and unit) or (not unit and label in ("step", "test") and units):
                if not (role == "date" and ":" in unit):
                    continue
                scale = 1.0
            stated = bool(unit) or label in _SPEAKING or units is _BARE
            rank = (not stated, aliases.index(label), index)
            if role not in found or rank < found[role][0]:
                found[role] = rank, Column(index, name, scale, stated)
    return {role: column for role, (_, column) in found.items()}


def check(columns: Mapping[str, str], units: Mapping[str, str], place: str) -> None:
    """Refuses what cannot be true of any file.

    Args:
      place: where the caller wrote it.

    Raises:
      UserError: a role or unit is not known, or a unit is given without its column.
    """
    for role in (*columns, *units):
        if role not in ROLES:
            raise UserError(f"{place} '{role}' is no quantity of a cycler log{toml_table.suggest(role, ROLES)}")
    for role, unit in units.items():
        if role not in columns:
            raise UserError(f"{place} a unit of {role} is given, but not its column; name it too")
        if factor(unit, role) is None:
            known = ", ".join(ROLES[role][0]) or "none"
            raise UserError(f"{place} '{unit}' is no unit of {role}; use one of {known}")


def chosen(names: Sequence[str], columns: Mapping[str, str], units: Mapping[str, str], path: Path) -> dict[str, Column]:
    """The columns that the user names, role by role; a unit that is not given is taken from the column's name.

    Raises:
      UserError: a role, a column or a unit is not known.
    """
    check(columns, units, f"{path}:")
    picked = {}
    for role, name in columns.items():
        if name not in names:
            raise UserError(f"{path}: no column '{name}' (asked for as {role}){toml_table.suggest(name, names)}")
        unit = units.get(role) or split(name)[1]
        scale = factor(unit, role) if unit else 1.0
        picked[role] = Column(names.index(name), name, scale or 1.0, bool(unit) and scale is not None)
    return picked


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", "", label.lower())


def _is_unit(word: str) -> bool:
    return any(factor(word, role) is not None for role in ("time", "voltage", "current", "capacity"))
