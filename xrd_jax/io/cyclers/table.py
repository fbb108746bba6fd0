"""Rows of cells to arrays, block by block, so that memory follows the numbers and not their text."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from xrd_jax.errors import UserError
from xrd_jax.io.cyclers.columns import Column
from xrd_jax.io.cyclers.text_rows import Rows
from xrd_jax.io.parsing import dates
from xrd_jax.io.parsing.timestamps import Timestamps

_CELLS_PER_BLOCK = 20_000
_NUMERIC_ROLES = ("time", "voltage", "current")  # without a number in each of their rows there is no log
# Words in the state column of any vendor: Maccor's single letters, Neware's step types, Basytec's commands.
_DISCHARGE_WORDS = ("dchg", "discharg", "dischg", "dis", "entlad", "décharg", "decharg", "放电")
_CHARGE_WORDS = ("chg", "charg", "laden", "充电")


@dataclasses.dataclass(frozen=True)
class Table:
    """What the rows [R] of a file hold."""

    numbers: dict[str, np.ndarray]  # every column that holds a number or duration in every row, by name; as written
    roles: Mapping[str, Column]  # the columns that have a role
    dates: np.ndarray | None  # of `dates.RECORD`, from the column of dates
    direction: np.ndarray | None  # +1 charge, -1 discharge, 0 neither, from a column of states
    lines: np.ndarray  # where each row stands in the file, counted from 1
    not_numeric: tuple[str, ...] = ()  # names of the columns that do not hold a number in every row
    duration_roles: frozenset[str] = frozenset()  # roles whose cells are h:mm:ss, hence already in s
    clock: Timestamps | None = None  # dates of the rows that the file holds as numbers

    def values(self, role: str) -> Float[np.ndarray, "R"] | None:
        """Return the column of a role in s, V, A or A h, or None where there is none."""
        column = self.roles.get(role)
        if column is None or column.name not in self.numbers:
            return None
        values = self.numbers[column.name]
        return values if role in self.duration_roles or column.scale == 1.0 else values * column.scale

    def with_column(self, role: str, name: str, values: Float[np.ndarray, "R"]) -> "Table":
        """Return the table with a further column, in the unit of its role."""
        roles = {**self.roles, role: Column(-1, name, 1.0, True)}
        return dataclasses.replace(self, numbers=self.numbers | {name: values}, roles=roles)

    def begins_step(self) -> Bool[np.ndarray, "steps"]:
        """Return, for all rows but the first, where a row belongs to another step than the row before it."""
        step = self.values("step")
        return np.zeros(len(self.lines) - 1, bool) if step is None else np.diff(step) != 0


def from_rows(rows: Rows, names: Sequence[str], roles: Mapping[str, Column], path: Path, decimal_comma: bool) -> Table:
    """Turn rows, each as long as `names`, into arrays of 8 bytes a cell; `decimal_comma`: numbers may have one."""
    first = next(rows, None)
    if first is None:
        raise UserError(f"{path}: the header is followed by no row; export the file again")
    builder = _TableBuilder(names, dict(roles), first[1], path, decimal_comma)
    rows, block_size = itertools.chain([first], rows), max(20, _CELLS_PER_BLOCK // len(names))
    while block := list(itertools.islice(rows, block_size)):
        builder.add(block)
    return builder.table()


class _TableBuilder:
    """The columns so far: a list of arrays each, or None once a cell held no number."""

    def __init__(
        self, names: Sequence[str], roles: dict[str, Column], first_row: list[str], path: Path, decimal_comma: bool
    ):
        self.names, self.path, self.decimal_comma = names, path, decimal_comma
        time = roles.get("time")
        if time is not None and dates.is_date(first_row[time.index]):
            roles["date"] = roles.pop("time")
            roles.pop("step_time", None)
        self.roles = roles
        times = {role: first_row[roles[role].index] for role in ("time", "step_time") if role in roles}
        self.duration_roles = {role for role, cell in times.items() if ":" in cell}
        self.duration_columns = {roles[role].index for role in self.duration_roles}
        text_columns = {roles[role].index for role in ("date", "state") if role in roles}
        self.numbers: dict[int, list[np.ndarray] | None] = {i: [] for i in range(len(names)) if i not in text_columns}
        self.dates: list[np.ndarray] | None = [] if "date" in roles else None
        self.directions: list[np.ndarray] = []
        self.lines: list[np.ndarray] = []

    def add(self, block: list[tuple[int, list[str]]]) -> None:
        lines = np.fromiter((number for number, _ in block), np.int64, len(block))
        self.lines.append(lines)
        columns = list(zip(*(row for _, row in block), strict=True))
        for index, cells in enumerate(columns):
            if index in self.numbers:
                self._add_numbers(index, cells, lines)
        if self.dates is not None:
            self._add_dates(columns[self.roles["date"].index], lines)
        if "state" in self.roles:
            cells = columns[self.roles["state"].index]
            direction_of = {word: _direction(word) for word in set(cells)}
            self.directions.append(np.fromiter((direction_of[word] for word in cells), np.int8, len(cells)))

    def _add_numbers(self, index: int, cells: Sequence[str], lines: np.ndarray) -> None:
        arrays = self.numbers[index]
        if arrays is None:
            return
        values = self._parse(index, cells)
        if values is not None:
            arrays.append(values)
            return
        if index in {self.roles[role].index for role in _NUMERIC_ROLES if role in self.roles}:
            row = next(i for i, cell in enumerate(cells) if self._parse(index, [cell]) is None)
            location = f"{self.path}: row {lines[row]}: column '{self.names[index]}'"
            raise UserError(f"{location} holds no number; mend or delete the row")
        self.numbers[index] = None

    def _parse(self, index: int, cells: Sequence[str]) -> np.ndarray | None:
        if index not in self.duration_columns:
            return _parse_numbers(cells, self.decimal_comma)
        values = [dates.parse_duration(cell) for cell in cells]
        return None if None in values else np.array(values, float)

    def _add_dates(self, cells: Sequence[str], lines: np.ndarray) -> None:
        assert self.dates is not None
        parsed = [dates.parse_date(cell) for cell in cells]
        if None not in parsed:
            self.dates.append(np.array(parsed, dtype=dates.RECORD))
            return
        if not {"time", "step_time", "unix_time"} & set(self.roles):
            row = parsed.index(None)
            location = f"{self.path}: row {lines[row]}: '{cells[row][:40].strip()}'"
            raise UserError(f"{location} is not a date and time; export times in seconds")
        self.dates = None

    def table(self) -> Table:
        text_roles = {"state"} & set(self.roles) | ({"date"} if self.dates is not None else set())
        text_columns = {self.roles[role].index for role in text_roles}
        left_out = {i for i in range(len(self.names)) if self.numbers.get(i) is None} - text_columns
        numbers = {}
        for index, name in enumerate(self.names):
            arrays = self.numbers.pop(index, None)  # freed one by one
            if arrays is not None and name:
                numbers[name] = np.concatenate(arrays)
        roles = {role: column for role, column in self.roles.items() if column.name in numbers or role in text_roles}
        written_dates = np.concatenate(self.dates) if self.dates is not None else None
        direction = np.concatenate(self.directions) if self.directions else None
        not_numeric = tuple(self.names[i] for i in sorted(left_out) if self.names[i])
        lines = np.concatenate(self.lines)
        return Table(numbers, roles, written_dates, direction, lines, not_numeric, frozenset(self.duration_roles))


def _parse_numbers(cells: Sequence[str], decimal_comma: bool) -> np.ndarray | None:
    """[R] finite numbers, or None."""
    try:
        values = np.fromiter(map(float, cells), float, len(cells))
    except ValueError:
        return _parse_numbers([cell.replace(",", ".") for cell in cells], False) if decimal_comma else None
    return values if np.isfinite(values).all() else None


def _direction(state: str) -> int:
    """Return +1 for a word that says charge, -1 for discharge, else 0."""
    state = state.strip().lower()
    if state in ("d", "c"):
        return 1 if state == "c" else -1
    if any(word in state for word in _DISCHARGE_WORDS):
        return -1
    return 1 if any(word in state for word in _CHARGE_WORDS) else 0
