"""Text, JSON and TOML become frozen dataclasses: --set key=value, config.json and the experiment file."""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError, suggest

Record = TypeVar("Record")
Parsers = Mapping[Any, Callable[[Any], Any]]
UNIONS = (types.UnionType, typing.Union)
TYPE_NAMES: dict[Any, str] = {
    str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number", dict: "a table",
    tuple: "a list in square brackets",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Turn the nested tables of one file into dataclasses, whose fields say which keys and types there are.

    A field's metadata may rename its key, as in {"key": "from"}; None keeps the field out of the file.

    Attributes:
      file: opens every message; '' for none.
      parsers: type of a field -> function from the raw value to that type. It raises UserError with the remedy, or
        anything else where the name of the type says enough. Types without a parser must match as they are.
    """

    file: str
    parsers: Parsers

    def record(self, cls: type[Record], values: Mapping[str, Any], table: str = "") -> Record:
        """Return the dataclass `cls` of a table.

        Raises:
          UserError: a key is unknown, missing or of the wrong type; the line names file, table, key and remedy.
        """
        fields = {field.metadata.get("key", field.name): field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        fields.pop(None, None)
        for key in values:
            if key not in fields:
                raise UserError(f"{self._place(table, 'unknown key')} '{key}'{suggest(key, fields)}")
        for key, field in fields.items():
            if key not in values and field.default is field.default_factory is dataclasses.MISSING:
                raise UserError(f"{self._place(table, key)} is missing; add it")
        kinds = typing.get_type_hints(cls)
        names = {key: fields[key].name for key in values}
        return cls(**{names[key]: self.value(kinds[names[key]], values[key], table, key) for key in values})

    def value(self, kind: Any, value: Any, table: str, key: str) -> Any:
        """Return the value of `key` in `table` as the type `kind`; see `record`."""
        base, parts = get_origin(kind) or kind, get_args(kind)
        if base in UNIONS:
            return self._union(kind, value, table, key)
        if base is Literal and value not in parts:
            raise UserError(f"{self._place(table, key)} '{value}' is not known{suggest(str(value), parts)}")
        if base in (Literal, Any):
            return value
        name = f"{table}.{key}" if table else key
        if dataclasses.is_dataclass(base) and isinstance(value, Mapping):
            return self.record(typing.cast(type, base), value, name)
        try:
            parsed = self.parsers[base](value) if base in self.parsers else value
        except UserError as error:
            raise UserError(f"{self._place(table, key)}: {error}") from None
        except (ValueError, TypeError, KeyError, OverflowError):
            raise self._wrong_type(kind, value, table, key) from None
        if base is dict and isinstance(parsed, Mapping):
            return {str(entry): self.value(parts[1], item, name, entry) for entry, item in parsed.items()}
        if base is tuple and isinstance(parsed, (list, tuple)):
            item_types = parts[:1] * len(parsed) if parts[-1] is Ellipsis else parts
            if len(item_types) == len(parsed):
                items = enumerate(zip(item_types, parsed, strict=True), 1)
                return tuple(self.value(part, item, table, f"{key} {number}") for number, (part, item) in items)
        is_scalar = base not in (dict, tuple) and (base is bool or not isinstance(parsed, bool))
        if is_scalar and isinstance(parsed, base):
            return parsed
        raise self._wrong_type(kind, value, table, key)

    def _union(self, kind: Any, value: Any, table: str, key: str) -> Any:
        choices = _choices(kind)
        for choice in choices:
            try:
                return self.value(choice, value, table, key)
            except UserError:
                if len(choices) == 1:
                    raise
        raise self._wrong_type(kind, value, table, key)

    def _wrong_type(self, kind: Any, value: Any, table: str, key: str) -> UserError:
        names = " or ".join(map(_type_name, _choices(kind)))
        return UserError(f"{self._place(table, key)} must be {names}, not {value!r}")

    def _place(self, table: str, key: str) -> str:
        return " ".join(filter(None, (f"{self.file}:" if self.file else "", f"[{table}]" if table else "", key)))


def _choices(kind: Any) -> list[Any]:
    return [part for part in get_args(kind) if part is not types.NoneType] if get_origin(kind) in UNIONS else [kind]


def _type_name(kind: Any) -> str:
    if get_origin(kind) is tuple and get_args(kind)[-1] is not Ellipsis:
        return f"a list of {len(get_args(kind))} values"
    return TYPE_NAMES.get(get_origin(kind) or kind, "a table" if dataclasses.is_dataclass(kind) else "text in quotes")


def _parse_int(value: Any) -> int:
    if float(value) != int(float(value)):
        raise ValueError
    return int(float(value))


def _parse_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [item.strip() for item in value.split(",") if item.strip()]


# The configuration may be written as text: '20', 'true', 'voltage, mode', '{"mode": 0.5}'.
TEXT_PARSERS: Parsers = {
    str: str,
    bool: lambda value: {"true": True, "false": False, "1": True, "0": False}[str(value).lower()],
    int: _parse_int,
    float: float,
    tuple: _parse_list,
    dict: lambda value: json.loads(value) if isinstance(value, str) else value,
}


def to_dict(config: Any) -> dict[str, Any]:
    """Return the configuration as JSON-able nested dictionaries; infinities become strings."""
    return _to_plain(dataclasses.asdict(config))


def _to_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def from_dict(cls: type[Record], values: Mapping[str, Any]) -> Record:
    """Return the configuration of nested dictionaries; the inverse of `to_dict`. Raises UserError, as `Decoder`."""
    return Decoder("configuration", TEXT_PARSERS).record(cls, values)


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Apply `key=value` texts.

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
    """Replace one field; see `override` for the form of `key`."""
    paths = _field_paths(config)
    is_path = key in paths or any(key.startswith(p + ".") for p, kind in paths.items() if get_origin(kind) is dict)
    if not is_path:
        matches = [path for path in paths if path.rpartition(".")[2] == key]
        if len(matches) != 1:
            hint = f"; it could be {' or '.join(matches)}" if matches else _suggest_path(key, paths)
            raise UserError(f"unknown configuration key '{key}'{hint}")
        key = matches[0]
    return _replace(config, key.split("."), value, key)


def replace_fields(record: Record, fields: Mapping[str, Any]) -> Record:
    """Replace `fields` of a dataclass. Raises UserError for an unknown one, with the nearest name."""
    names = [field.name for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    for name in fields:
        if name not in names:
            raise UserError(f"unknown field '{name}'{suggest(name, names)}")
    return dataclasses.replace(record, **fields)  # type: ignore[type-var]


def _replace(node: Any, path: list[str], value: Any, key: str) -> Any:
    head, rest = path[0], path[1:]
    decoder = Decoder("", TEXT_PARSERS)
    if isinstance(node, dict):
        return node | {head: decoder.value(float, value, "", key)}
    if rest:
        return dataclasses.replace(node, **{head: _replace(getattr(node, head), rest, value, key)})
    return dataclasses.replace(node, **{head: decoder.value(typing.get_type_hints(type(node))[head], value, "", key)})


def _field_paths(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the dotted path of every settable field with its type."""
    paths: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        paths |= _field_paths(value, f"{prefix}{name}.") if dataclasses.is_dataclass(value) else {prefix + name: kind}
    return paths


def _suggest_path(key: str, paths: Iterable[str]) -> str:
    """Return the remedy for an unknown key: the nearest path, or that with the nearest last part."""
    paths = list(paths)
    by_last_part = {path.rpartition(".")[2]: path for path in paths}
    nearest = difflib.get_close_matches(key, paths, 1) or [
        by_last_part[part] for part in difflib.get_close_matches(key.rpartition(".")[2], by_last_part, 1)
    ]
    return f"; did you mean '{nearest[0]}'?" if nearest else f"; known: {', '.join(sorted(by_last_part))}"
