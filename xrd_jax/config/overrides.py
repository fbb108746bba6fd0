"""key=value and JSON become fields of the configuration."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as JSON-able nested dictionaries; infinities become strings."""
    return _plain(dataclasses.asdict(config))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_dict(cls: type, values: Mapping[str, Any]) -> Any:
    """Inverse of `to_dict`. Raises UserError for unknown keys."""
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise UserError(f"unknown configuration key '{key}'{_suggest(key, hints)}")
    return cls(**{key: _coerce(key, value, hints[key]) for key, value in values.items()})


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Applies `key=value` texts.

    A key is a dotted path ('train.epochs', 'cell.exposure_s', 'train.loss_weights.mode') or, where only one field has
    that name, its last part ('epochs').

    Raises:
      UserError: a key or value that does not fit, with the nearest key.
    """
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: write key=value, such as --set train.epochs=20")
        config = set_field(config, key.strip(), value.strip())
    return config


def set_field(config: Config, key: str, value: Any) -> Config:
    """One field replaced; see `override` for the form of `key`."""
    paths = _paths(config)
    known = key in paths or any(key.startswith(path + ".") for path, kind in paths.items() if get_origin(kind) is dict)
    if not known:
        matches = [path for path in paths if path.rsplit(".", 1)[-1] == key]
        if len(matches) != 1:
            hint = f"; it could be {' or '.join(matches)}" if matches else _suggest(key, paths)
            raise UserError(f"unknown configuration key '{key}'{hint}")
        key = matches[0]
    return _replace(config, key.split("."), value, key)


def replace_fields(record: Any, fields: Mapping[str, Any]) -> Any:
    """A configuration dataclass with `fields` replaced. Raises UserError for an unknown one, with the nearest name."""
    known = typing.get_type_hints(type(record))
    for key in fields:
        if key not in known:
            raise UserError(f"unknown field '{key}'{_suggest(key, known)}")
    return dataclasses.replace(record, **fields)


def _replace(node: Any, path: list[str], value: Any, key: str) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(node, dict):
        return node | {head: _coerce(key, value, float)}
    current = getattr(node, head)
    if rest:
        return dataclasses.replace(node, **{head: _replace(current, rest, value, key)})
    return dataclasses.replace(node, **{head: _coerce(key, value, typing.get_type_hints(type(node))[head])})


def _paths(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted path of every settable field -> its type."""
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            found |= _paths(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = hint
    return found


def _coerce(key: str, value: Any, hint: Any) -> Any:
    """`value` (text, JSON value or Python value) as the type that the field declares."""
    if dataclasses.is_dataclass(hint):
        return value if dataclasses.is_dataclass(value) else from_dict(typing.cast(type, hint), value)
    origin = get_origin(hint)
    try:
        if origin is Literal:
            if value not in get_args(hint):
                raise UserError(f"{key}={value}: use one of {', '.join(map(str, get_args(hint)))}")
            return value
        if origin is dict:
            value = json.loads(value) if isinstance(value, str) else value
            return {str(k): float(v) for k, v in value.items()}
        if origin is tuple:
            return _tuple(key, value, get_args(hint))
        if hint is bool:
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if hint is int and float(value) != int(float(value)):
            raise ValueError
        return int(float(value)) if hint is int else hint(value)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{key}={value}: expected {getattr(hint, '__name__', hint)}") from None


def _tuple(key: str, value: Any, kinds: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = (
            json.loads(value) if value.lstrip().startswith("[") else [v.strip() for v in value.split(",") if v.strip()]
        )
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_coerce(key, v, kinds[0]) for v in value)
    if len(kinds) != len(value):
        raise ValueError
    return tuple(_coerce(key, v, kind) for v, kind in zip(value, kinds, strict=True))


def _suggest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    names = {path.rsplit(".", 1)[-1]: path for path in known}
    near = difflib.get_close_matches(key, known, 1) or [
        names[n] for n in difflib.get_close_matches(key.rsplit(".", 1)[-1], list(names), 1)
    ]
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(sorted(names))}"
