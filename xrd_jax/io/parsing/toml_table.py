"""One table of a TOML file, read key by key, so that every mistake in it has a name and a place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xrd_jax.errors import UserError

_REQUIRED = object()
_WORDS = {str: "text in quotes", bool: "true or false", int: "a whole number", float: "a number", dict: "a table"}
_WORDS |= {list: "a list in square brackets"}


def suggest(name: str, known: Iterable[str]) -> str:
    """'; did you mean …?' where a known name is near, else '; use one of …'."""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1) or [k for k in known if k.lower() == name.lower()]
    return f"; did you mean '{near[0]}'?" if near else f"; use one of {', '.join(known)}"


class Section:
    """One table of the file, which knows its name and which keys were asked for."""

    def __init__(self, values: dict[str, Any], name: str, path: Path):
        self.values, self.name, self.path = values, name, path
        self.known: list[str] = []
        self.place = f"{path}: [{name}]" if name else f"{path}:"

    def take(self, key: str, kind: type, default: Any = _REQUIRED) -> Any:
        self.known.append(key)
        if key not in self.values:
            if default is _REQUIRED:
                near = difflib.get_close_matches(key, self.values, 1)
                raise UserError(f"{self.place} {key} is missing" + (f"; is '{near[0]}' meant?" if near else "; add it"))
            return default
        value = self.values[key]
        fits = isinstance(value, (int, float) if kind is float else kind) and (
            kind is bool or not isinstance(value, bool)
        )
        if not fits or (kind is float and not math.isfinite(value)):
            raise UserError(f"{self.place} {key} must be {_WORDS[kind]}, not {value!r}")
        return float(value) if kind is float else value

    def section(self, key: str, default: Any = _REQUIRED) -> Section:
        return Section(self.take(key, dict, default), f"{self.name}.{key}" if self.name else key, self.path)

    def done(self) -> None:
        """Refuses keys that nobody asked for."""
        for key in self.values:
            if key not in self.known:
                raise UserError(f"{self.place} unknown key '{key}'{suggest(key, self.known)}")
