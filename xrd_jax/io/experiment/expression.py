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
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip


def parse(text: str) -> ast.expr:
    """Return the tree of an expression of numbers, columns, + - * / **, one comparison and `FUNCTIONS`.

    A column whose name is no word is written in quotes inside the expression. `UserError` says what does not belong and
    what may be written; the caller says where it stands.
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
        match node:
            case ast.Name():
                continue
            case ast.Constant(value) if type(value) in (int, float, str):
                continue
            case ast.BinOp(left, sign, right) | ast.Compare(left, [sign], [right]) if type(sign) in _OPERATORS:
                pending += [left, right]
            case ast.UnaryOp(sign, operand) if type(sign) in _OPERATORS:
                pending.append(operand)
            case ast.Call(ast.Name(name), arguments, []):
                if name not in FUNCTIONS:
                    raise UserError(f"function '{name}' is not known{suggest(name, FUNCTIONS)}")
                if len(arguments) != FUNCTIONS[name][0]:
                    raise UserError(f"{name} takes {FUNCTIONS[name][0]} values, not {len(arguments)}; mend it")
                pending += arguments
            case _:
                text, functions = ast.unparse(node)[:40], ", ".join(FUNCTIONS)
                raise UserError(f"'{text}' does not belong; write numbers, columns, + - * / ** and {functions}")


def column_names(tree: ast.expr) -> list[str]:
    """Return the columns that a parsed expression asks for, in order, each once."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names: dict[str, None] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(str(name)) | ast.Name(name) if id(node) not in functions:
                names[name] = None
    return list(names)


def evaluate(tree: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the value of a tree that `parse` gave, for columns [T]; NaN or infinite where there is none, as 0 / 0."""
    with np.errstate(all="ignore"):
        return np.asarray(_value(tree, columns), np.float64)


def _value(node: ast.expr, columns: Mapping[str, np.ndarray]) -> np.ndarray | np.number:
    match node:
        case ast.Constant(str(name)) | ast.Name(name):
            return columns[name]
        case ast.Constant(int() | float() as number):
            # As float64 from the start: whole numbers of any size would let 9 ** 9 ** 9 run for ever.
            try:
                return np.float64(number)
            except OverflowError:
                return np.float64(np.inf)
        case ast.BinOp(left, sign, right):
            return _OPERATORS[type(sign)](_value(left, columns), _value(right, columns))
        case ast.UnaryOp(sign, operand):
            return _OPERATORS[type(sign)](_value(operand, columns))
        case ast.Compare(left, [sign], [right]):
            values = _value(left, columns), _value(right, columns)
            is_finite = np.isfinite(values[0]) & np.isfinite(values[1])
            return np.where(is_finite, _OPERATORS[type(sign)](*values), np.nan)
        case ast.Call(ast.Name(name), arguments):
            return FUNCTIONS[name][1](*(_value(argument, columns) for argument in arguments))
    raise AssertionError(f"{ast.unparse(node)} was not checked")
