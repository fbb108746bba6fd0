"""Arithmetic over columns, such as "'Ewe/V' * 1000": parsed and walked, never evaluated as code."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xrd_jax.errors import UserError, suggest

MAX_LENGTH = 500  # characters: parsing recurses once per character at most
# Name -> number of arguments, and the function.
FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "abs": (1, np.abs), "sqrt": (1, np.sqrt), "exp": (1, np.exp), "log": (1, np.log), "log10": (1, np.log10),
    "round": (1, np.round), "min": (2, np.minimum), "max": (2, np.maximum), "clip": (3, np.clip),
}  # fmt: skip
_BINARY: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip
_UNARY: dict[type, Callable[..., Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_COMPARE: dict[type, Callable[..., Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip


def parse(text: str) -> ast.expr:
    """Return the tree of an expression of numbers, columns, + - * / **, one comparison and `FUNCTIONS`.

    A column whose name is no word is written in quotes inside the expression.

    Raises:
      UserError: what does not belong and what may be written; the caller says where it stands.
    """
    if len(text) > MAX_LENGTH:
        raise UserError(f"longer than {MAX_LENGTH} characters; shorten it")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UserError(f"{text!r} cannot be read; write arithmetic over columns, such as \"'Ewe/V' * 1000\"") from None
    _check(tree)
    return tree


def _check(tree: ast.expr) -> None:
    pending = [tree]
    for node in pending:  # which grows meanwhile
        if isinstance(node, ast.Name) or (isinstance(node, ast.Constant) and type(node.value) in (int, float, str)):
            continue
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            pending += [node.left, node.right]
        elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
            pending.append(node.operand)
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
            pending += [node.left, node.comparators[0]]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            _check_call(node.func.id, len(node.args))
            pending += node.args
        else:
            text, functions = ast.unparse(node)[:40], ", ".join(FUNCTIONS)
            raise UserError(f"'{text}' does not belong; write numbers, columns, + - * / ** and {functions}")


def _check_call(name: str, given: int) -> None:
    if name not in FUNCTIONS:
        raise UserError(f"function '{name}' is not known{suggest(name, FUNCTIONS)}")
    if given != FUNCTIONS[name][0]:
        raise UserError(f"{name} takes {FUNCTIONS[name][0]} values, not {given}; mend it")


def column_names(tree: ast.expr) -> list[str]:
    """Return the columns that a parsed expression asks for, in order, each once."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = [
        str(node.value) if isinstance(node, ast.Constant) else node.id
        for node in ast.walk(tree)
        if (isinstance(node, ast.Constant) and isinstance(node.value, str))
        or (isinstance(node, ast.Name) and id(node) not in functions)
    ]
    return list(dict.fromkeys(names))


def evaluate(tree: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the value of a tree that `parse` gave, for columns [T]; NaN or infinite where there is none, as 0 / 0."""
    with np.errstate(all="ignore"):
        return np.asarray(_value(tree, columns), np.float64)


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray | np.number:
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
        is_finite = np.isfinite(left) & np.isfinite(right)
        return np.where(is_finite, _COMPARE[type(node.ops[0])](left, right), np.nan)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return FUNCTIONS[node.func.id][1](*(_value(part, columns) for part in node.args))


def _number(value: Any) -> np.float64:
    """Return float64 from the start: whole numbers of any size would let 9 ** 9 ** 9 run for ever."""
    try:
        return np.float64(value)
    except OverflowError:
        return np.float64(np.inf)
