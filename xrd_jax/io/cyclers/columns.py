"""Which column is which: one table of the names that vendors give to a quantity, and of the units behind them."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from xrd_jax.errors import UserError, suggest

_TIME = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "us": 1e-6}
_TIME |= {"min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0, "d": 86400.0, "day": 86400.0, "days": 86400.0}
_TIME |= {"h": 3600.0, "hr": 3600.0, "hrs": 3600.0, "hour": 3600.0, "hours": 3600.0}
_VOLTAGE = {"v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3, "uv": 1e-6, "millivolt": 1e-3}
_CURRENT = {"a": 1.0, "amp": 1.0, "amps": 1.0, "ampere": 1.0, "amperes": 1.0, "ka": 1e3, "ma": 1e-3, "ua": 1e-6}
_CURRENT |= {"na": 1e-9, "pa": 1e-12, "milliampere": 1e-3}
_CHARGE = {"ah": 1.0, "amphr": 1.0, "amperehour": 1.0, "amphour": 1.0, "mah": 1e-3, "uah": 1e-6, "nah": 1e-9}
_CHARGE |= {"as": 1 / 3600, "c": 1 / 3600, "coulomb": 1 / 3600, "coulombs": 1 / 3600, "mc": 1e-3 / 3600}
_NO_UNIT: dict[str, float] = {}

# Role: units, and names in order of preference. A name is in small letters, without its unit and punctuation.
_NAMES: dict[str, tuple[dict[str, float], str]] = {
    "time": (_TIME, "testtime totaltime runtime elapsedtime timeelapsed correctedtime hhmmss test time t zeit temps "
             "测试时间 总时间 累计时间 时间"),
    "step_time": (_TIME, "steptime relativetime tstep step 工步时间 相对时间"),
    "date": (_NO_UNIT, "datetime dateandtime dpttime realtime timestamp absolutetime systemtime systime datestamp date "
             "绝对时间 系统时间 日期"),
    "unix_time": (_TIME, "unixtime unixtimestamp epochtime epoch"),
    "voltage": (_VOLTAGE, "ecell cellvoltage voltage potential we1potential batteryvoltage terminalvoltage ewe eweece "
                "volts volt vf u v e spannung tension 电压"),
    "current": (_CURRENT, "current we1current i amps amp im cellcurrent batterycurrent strom courant 电流"),
    "net": (_CHARGE, "qqo netcapacity netcharge ah"),  # charge passed since the start, with a sign
    "charge_capacity": (_CHARGE, "chargecapacity chargingcapacity chgcap chgcapacity capacitancechg chargecap qcharge "
                        "充电容量"),
    "discharge_capacity": (_CHARGE, "dischargecapacity dischargingcapacity dchgcap dischgcap dchgcapacity "
                           "capacitancedchg dischargecap qdischarge 放电容量"),
    "capacity": (_CHARGE, "capacity cap stepcapacity amphr q 容量"),
    "increment": (_CHARGE, "dq"),
    "state": (_NO_UNIT, "state md steptype stepname status command stepstate instructionname operation direction "
              "工步类型 工步名称 状态"),
    "step": (_NO_UNIT, "stepindex stepid stepnumber step stepcount ns line 工步号 工步序号"),
    "half_cycle": (_NO_UNIT, "halfcycle"),
}  # fmt: skip
ROLES = {role: (units, tuple(names.split())) for role, (units, names) in _NAMES.items()}
_NAMES_WITH_UNIT = frozenset(("volts", "volt", "amps", "amp", "amphr", "ah"))  # they say their unit by themselves
_NAMES_WITHOUT_UNIT = ("step", "test")  # 'Step (s)' and 'Test (s)' are times; 'Step' is a number, 'Test' a name
_BRACKETS = re.compile(r"^(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]$")
_SLASH = re.compile(r"^(.*\S)\s*/\s*([^/]+)$")
_SUFFIX = re.compile(r"^(.*?)[_,\s]+([A-Za-zµμ]+)$")
# 'Capacity (mAh/g)', 'Q / mA.h.g-1', 'Current (mA/cm2)': quantities of a gram or an area.
_PER_SOMETHING = re.compile(
    r"(?<=[ah])\s*(?:/|\bper\b|[.·*\s]+(?=\w+\^?[-−⁻]))\s*(?:m?g|kg|cm|m[²2]|mol)", re.IGNORECASE
)
_MAX_NAME_LENGTH = 120  # longer text is no name, and the regular expressions take their time over such


@dataclasses.dataclass(frozen=True)
class Column:
    """One column that has a role."""

    index: int
    name: str  # in the file
    scale: float  # factor to s, V, A or A h
    has_unit: bool  # False where the file names no unit, so that the SI one (or A h) is taken and noted


def split_unit(name: str) -> tuple[str, str]:
    """Split a column's name into label (small letters and digits only) and unit ('' if none).

    'Voltage(V)', 'Voltage / V', 'U[V]', 'voltage_V', '<I>/mA' and '<Ewe/V>' all come apart.
    """
    name = name.strip().lstrip("~").strip()
    if name.startswith("<") and name.endswith(">"):
        name = name[1:-1]
    if len(name) > _MAX_NAME_LENGTH:
        return "", ""
    for pattern in (_BRACKETS, _SLASH, _SUFFIX):
        match = pattern.match(name)
        if match and match.group(1) and (pattern is not _SUFFIX or _is_unit(match.group(2))):
            return _label(match.group(1)), match.group(2)
    return _label(name), ""


def unit_factor(unit: str, role: str) -> float | None:
    """Return the factor from `unit` to the role's own unit, or None where the unit is not one of that quantity."""
    units = ROLES[role][0]
    if ":" in unit and units is _TIME:
        return 1.0
    unit = re.sub(r"^(m?V) vs.*", r"\1", unit.strip())
    return units.get(re.sub(r"[.·*\s\-]", "", unit.replace("µ", "u").replace("μ", "u").lower()))


def match_roles(names: Sequence[str]) -> dict[str, Column]:
    """Return the column for each role that some name fills: one with its unit first, then by the table's preference."""
    best: dict[str, tuple[tuple[bool, int, int], Column]] = {}
    for index, name in enumerate(names):
        label, unit = split_unit(name)
        for role, (units, aliases) in ROLES.items():
            if label not in aliases or (scale := _scale(label, unit, role)) is None:
                continue
            has_unit = bool(unit) or label in _NAMES_WITH_UNIT or units is _NO_UNIT
            rank = (not has_unit, aliases.index(label), index)
            if role not in best or rank < best[role][0]:
                best[role] = rank, Column(index, name, scale, has_unit)
    return {role: column for role, (_, column) in best.items()}


def _scale(label: str, unit: str, role: str) -> float | None:
    """Return the factor of a column of this label and unit, or None where these are not of the role."""
    if role == "date" and ":" in unit:
        return 1.0
    units = ROLES[role][0]
    if (units is _NO_UNIT and unit) or (units and not unit and label in _NAMES_WITHOUT_UNIT):
        return None
    return unit_factor(unit, role) if unit else 1.0


def check_choice(columns: Mapping[str, str], units: Mapping[str, str], location: str) -> None:
    """Refuse a choice of names and units by role that cannot be true of any file; `location` is where it is written."""
    for role in (*columns, *units):
        if role not in ROLES:
            raise UserError(f"{location} '{role}' is no quantity of a cycler log{suggest(role, ROLES)}")
    for role, unit in units.items():
        if role not in columns:
            raise UserError(f"{location} a unit of {role} is given, but not its column; name it too")
        if unit_factor(unit, role) is None:
            choices = ", ".join(ROLES[role][0]) or "none"
            raise UserError(f"{location} '{unit}' is no unit of {role}; use one of {choices}")


def choose_columns(
    names: Sequence[str], columns: Mapping[str, str], units: Mapping[str, str], path: Path
) -> dict[str, Column]:
    """Return the columns of all roles: those that the user names go before those that are known by their names.

    A unit that is not given is taken from the column's name.
    """
    check_choice(columns, units, f"{path}:")
    roles = match_roles(names)
    for role, name in columns.items():
        if name not in names:
            raise UserError(f"{path}: no column '{name}' (asked for as {role}){suggest(name, names)}")
        unit = units.get(role) or split_unit(name)[1]
        scale = unit_factor(unit, role) if unit else 1.0
        if role not in units and _PER_SOMETHING.search(name):
            raise UserError(f"{path}: column '{name}' is per mass or area, not {role}; name one of the whole cell, "
                            f"or leave {role} out")  # fmt: skip
        roles[role] = Column(names.index(name), name, scale or 1.0, bool(unit) and scale is not None)
    return roles


def _label(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())


def _is_unit(word: str) -> bool:
    return any(unit_factor(word, role) is not None for role in ("time", "voltage", "current", "capacity"))
