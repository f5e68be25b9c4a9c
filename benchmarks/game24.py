"""The game of 24: whether an expression makes 24 of four numbers, each used once, in exact arithmetic."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction

__all__ = ["solves"]

_TARGET = 24
_MARK = "answer:"
_LONGEST = 200
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
}


def solves(numbers: Sequence[int], text: str) -> bool:
    """Whether a text such as ``Answer: (10 - 6) * (4 + 2) = 24`` is a solution.

    The expression alone counts, not what the text says it comes to, as in the published runs. Nothing is
    evaluated but the four operations on whole numbers.
    """
    expression = text.strip().partition("=")[0]
    if expression.lower().startswith(_MARK):
        expression = expression[len(_MARK) :]
    if len(expression) > _LONGEST:
        return False
    used: list[int] = []
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body, used)
    except (SyntaxError, ZeroDivisionError, ValueError):
        return False
    return value == _TARGET and sorted(used) == sorted(numbers)


def _value(node: ast.expr, used: list[int]) -> Fraction:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, used), _value(node.right, used)
        return _OPERATORS[type(node.op)](left, right)
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    raise ValueError(ast.dump(node))
