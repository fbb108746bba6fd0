"""Arithmetic over columns, such as "'Ewe/V' * 1000": parsed and walked, never evaluated as code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

import numpy as np

from xrd_jax.errors import UserError
from xrd_jax.io.parsing import toml_table

LONGEST = 500
FUNCTIONS: dict[str, tuple[int, Callable[..., np.ndarray]]] = {
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "exp": (1, np.exp),
    "log": (1, np.log),
    "log10": (1, np.log10),
    "round": (1, np.round),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "clip": (3, np.clip),
}
_BINARY: dict[type, Callable[..., np.ndarray]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_UNARY: dict[type, Callable[..., np.ndarray]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARE: dict[type, Callable[..., np.ndarray]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


def parse(text: str, place: str) -> ast.expr:
    """The tree of an expression that holds nothing but numbers, columns, + - * / **, one comparison and `FUNCTIONS`.

    A column whose name is no word is written in quotes inside the expression.

    Raises:
      UserError: with `place`, what does not belong and what may be written.
    """
    if len(text) > LONGEST:
        raise UserError(f"{place} expression is longer than {LONGEST} characters; shorten it")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(
            f"{place} expression {text!r} cannot be read; write arithmetic over columns, such as \"'Ewe/V' * 1000\""
        ) from None
    _check(tree, place)  # at most as deep as the text is long
    return tree


def _check(node: ast.expr, place: str) -> None:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
        return
    if isinstance(node, ast.Name):
        return
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        parts = [node.operand]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        parts = [node.left, node.comparators[0]]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        _check_call(node.func.id, len(node.args), place)
        parts = node.args
    else:
        raise UserError(
            f"{place} expression: '{ast.unparse(node)[:40]}' does not belong; write numbers, columns, + - * / ** and "
            f"{', '.join(FUNCTIONS)}"
        )
    for part in parts:
        _check(part, place)


def _check_call(name: str, given: int, place: str) -> None:
    if name not in FUNCTIONS:
        raise UserError(f"{place} expression: function '{name}' is not known{toml_table.suggest(name, FUNCTIONS)}")
    if given != FUNCTIONS[name][0]:
        raise UserError(f"{place} expression: {name} takes {FUNCTIONS[name][0]} values, not {given}; mend it")


def names(tree: ast.expr) -> list[str]:
    """The columns that a parsed expression asks for, in order, each once."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [
        str(node.value) if isinstance(node, ast.Constant) else node.id
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, str))
        or (isinstance(node, ast.Name) and id(node) not in functions)
    ]
    return list(dict.fromkeys(found))


def evaluate(tree: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The value of a tree that `parse` gave, for columns [T]; NaN or infinite where there is none, as for 0 / 0."""
    with np.errstate(all="ignore"):
        return np.asarray(_value(tree, columns), np.float64)


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    if isinstance(node, ast.Constant):
        return columns[node.value] if isinstance(node.value, str) else _number(node.value)
    if isinstance(node, ast.Name):
        return columns[node.id]
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_value(node.left, columns), _value(node.right, columns))
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, columns))
    if isinstance(node, ast.Compare):
        left, right = _value(node.left, columns), _value(node.comparators[0], columns)
        known = np.isfinite(left) & np.isfinite(right)
        return np.where(known, _COMPARE[type(node.ops[0])](left, right), np.nan)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return FUNCTIONS[node.func.id][1](*(_value(part, columns) for part in node.args))


def _number(value: object) -> np.ndarray:
    """As float64 from the start: whole numbers of any size would let 9 ** 9 ** 9 run for ever."""
    try:
        return np.float64(value)  # type: ignore[return-value, arg-type]
    except OverflowError:
        return np.float64(np.inf)  # type: ignore[return-value]
