"""An experiment file becomes the records of `schema`."""

import ast
import dataclasses
import datetime
import math
import re
import tomllib
import zoneinfo
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xrd_jax.config.overrides import Decoder, Parsers
from xrd_jax.errors import UserError
from xrd_jax.io.experiment import expression, validate
from xrd_jax.io.experiment.schema import ExperimentFile
from xrd_jax.io.parsing.text import read_whole

VERSION = 2
MAX_INT = 10**15  # beyond any number of a pattern or row


def parse_experiment_file(path: Path) -> ExperimentFile:
    """Read and check an experiment file; `UserError` names a key that is unknown, missing or contradicts another."""
    if not path.exists():
        raise UserError(f"{path}: no such experiment file; check the name")
    content = read_whole(path)
    try:
        tables = tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # also of numbers too long, of tables too deep
        raise UserError(f"{path}: not a TOML file in UTF-8 ({error}); mend that place") from None
    _refuse_other_versions(tables, path)
    experiment = Decoder(str(path), PARSERS).record(ExperimentFile, tables)
    title = path.stem if experiment.title is None else experiment.title
    experiment = validate.check_experiment(dataclasses.replace(experiment, path=path, title=title))
    return _in_axis_units(experiment)


def _refuse_other_versions(tables: Mapping[str, Any], path: Path) -> None:
    version = tables.get("version", VERSION)
    if version == 1:
        raise UserError(
            f"{path}: version 1 is no longer read; write version = 2, turn [patterns] into [[session]] and its files = "
            "into patterns =, and below it [time] into [session.time] and [cycler] into [session.cycler]"
        )
    if version != VERSION:
        raise UserError(f"{path}: version = {version!r} is not known; this program reads version {VERSION}")
    for key in ("patterns", "time", "cycler"):
        if key in tables:
            remedy = 'write [[session]] with patterns = "…"' if key == "patterns" else f"write [session.{key}]"
            raise UserError(f"{path}: [{key}] stands under a session; {remedy}")


def _in_axis_units(experiment: ExperimentFile) -> ExperimentFile:
    """Return the experiment with masks, windows and reflections in the unit of `AXIS_UNITS`."""
    scale = experiment.axis.scale
    low, high = experiment.axis.keep or (0.0, 0.0)
    keep = None if experiment.axis.keep is None else (low * scale, high * scale)
    masks = tuple((low * scale, high * scale) for low, high in experiment.mask.channels)
    return dataclasses.replace(
        experiment,
        axis=dataclasses.replace(experiment.axis, keep=keep),
        mask=dataclasses.replace(experiment.mask, channels=masks),
        windows={name: (low * scale, high * scale) for name, (low, high) in experiment.windows.items()},
        reflections={name: scale * position for name, position in experiment.reflections.items()},
    )


def _parse_float(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _parse_int(value: Any) -> int:
    if type(value) is not int or abs(value) > MAX_INT:
        raise ValueError
    return value


def _parse_regular_expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(f"not a regular expression ({error}); write one such as '_(\\d+)'") from None


def _parse_date(value: str | datetime.datetime) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.datetime.fromisoformat(value)
    except ValueError:
        raise UserError(f"'{value}' is not a date; write 2024-02-28T10:27:22+01:00") from None


def _parse_zone(name: str) -> datetime.tzinfo | None:
    try:
        if re.fullmatch(r"[+-]\d\d:\d\d", name):
            return datetime.datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise UserError(f"'{name}' is not known; write +01:00, UTC or Europe/Berlin") from None


PARSERS: Parsers = {
    float: _parse_float,
    int: _parse_int,
    re.Pattern: _parse_regular_expression,
    datetime.datetime: _parse_date,
    datetime.tzinfo: _parse_zone,
    ast.expr: expression.parse,
}
