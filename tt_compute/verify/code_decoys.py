"""Tests that no honest program passes, made of tests that it does.

A test that is code runs in the process of the program that it tests, and cannot be hidden from it: the program
may end as one that has passed, look up what is expected of it, or return an object that equals everything. Each
of these works as well when something else is expected. So a program that has passed a test is run once more with
a decoy of it, in a sandbox of its own, and one that passes that too has passed neither.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

import anyio.to_thread

from tt_compute.verify.sandbox.types import Case, Limits, Program, Sandbox

__all__ = ["deceived", "decoy"]

_HELPERS = """
_tt_asserted = []
def _tt_assert(value):
    _tt_asserted.append(bool(value))
    return value
def _tt_end(must):
    if False in _tt_asserted or not (_tt_asserted or must):
        raise AssertionError('a decoy')
"""
"""They hold all constants of their own, so that the code that asserts has only those of the test."""
_NEVER = ast.Constant(value=...)
"""What no program returns."""
_FAR = 7919
_FARTHEST = -1e300
"""Farther from any expected number than a tolerance."""


@lru_cache(maxsize=256)
def decoy(check: str) -> str | None:
    """The same code with something else expected; it runs to its end only for a program that deceives it.

    Returns:
        None where the code cannot be read here.
    """
    try:
        tree = ast.parse(check)
        change = _Change()
        certain = any(isinstance(one, ast.Assert) and change.of(one.test) for one in tree.body)
        change.visit(tree)
        at = sum(map(_comes_first, tree.body))
        tree.body[at:at] = ast.parse(_HELPERS).body
        tree.body += ast.parse(f"_tt_end({certain})").body
        return ast.unparse(ast.fix_missing_locations(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


async def deceived(
    source: str, checks: Mapping[int, str], limits: Limits, sandbox: Sandbox
) -> frozenset[int]:
    """Which of the checks that a program has passed it passes as decoys, too.

    Raises:
        VerifierError: The sandbox could not be used, or failed.
    """
    made = await anyio.to_thread.run_sync(lambda: {at: decoy(checks[at]) for at in checks})
    decoys = {at: check for at, check in made.items() if check is not None}
    if not decoys:
        return frozenset()
    cases = tuple(Case(check=check) for check in decoys.values())
    ran = await sandbox.run(Program(source=source, cases=cases, limits=limits))
    return frozenset(
        at for at, one in zip(decoys, ran, strict=True) if one.ended == "exit" and one.checked
    )


def _comes_first(statement: ast.stmt) -> bool:
    """Only these may stand before anything else, and there they must."""
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


class _Change(ast.NodeTransformer):
    """Has every ``assert`` expect something else, where it says what it expects."""

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        changed = self.of(node.test)
        if changed is not None:
            node.test = _call("_tt_assert", changed)
        return node

    def of(self, test: ast.expr) -> ast.expr | None:
        """The condition with something else expected; None where that cannot be said."""
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return _comparison(test.left, test.ops[0], test.comparators[0])
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            changed = [self.of(value) for value in test.values]
            found = [new or old for new, old in zip(changed, test.values, strict=True)]
            return ast.BoolOp(op=test.op, values=found) if any(changed) else None
        return _closeness(test) if isinstance(test, ast.Call) else None


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr | None:
    if isinstance(op, ast.Eq):
        pair = _either(left, right)
        if pair is not None:
            return ast.Compare(pair[0], [op], [pair[1]])
        return ast.BoolOp(
            op=ast.Or(),
            values=[ast.Compare(left, [op], [_NEVER]), ast.Compare(_NEVER, [op], [right])],
        )
    if isinstance(op, ast.In):
        return ast.Compare(left, [op], [_instead_of(right, ast.Tuple([_NEVER], ast.Load()))])
    if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        near = _distance(left) if isinstance(op, ast.Lt | ast.LtE) else None
        return ast.Compare(near, [op], [right]) if near else ast.Compare(left, [op], [_NEVER])
    return None


def _closeness(call: ast.Call) -> ast.expr | None:
    """``isclose(a, b)`` with another b, or a, unless it calls close whatever is."""
    match call.args:
        case [left, right] if _name(call.func) == "isclose" and not _is_wide(call.keywords):
            pair = _either(left, right, tolerant=True)
            return pair and ast.Call(call.func, [*pair], call.keywords)
        case _:
            return None


def _is_wide(tolerances: list[ast.keyword]) -> bool:
    return not all(
        isinstance(one.value, ast.Constant)
        and isinstance(one.value.value, float | int)
        and (one.arg == "abs_tol" or one.value.value < 0.5)  # noqa: PLR2004 - of what is expected
        for one in tolerances
    )


def _distance(node: ast.expr) -> ast.expr | None:
    """``abs(a - b)`` with another b, or a."""
    if not (isinstance(node, ast.Call) and _name(node.func) == "abs" and len(node.args) == 1):
        return None
    inner = node.args[0]
    if not (isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub)):
        return None
    pair = _either(inner.left, inner.right, tolerant=True)
    return pair and ast.Call(node.func, [ast.BinOp(pair[0], inner.op, pair[1])], [])


def _either(
    left: ast.expr, right: ast.expr, *, tolerant: bool = False
) -> tuple[ast.expr, ast.expr] | None:
    """The two with the one that is written out changed; None when neither is."""
    for first, node in ((False, right), (True, left)):
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            continue
        other = ast.parse(repr(_FARTHEST if tolerant else _other(value)), mode="eval").body
        return (other, right) if first else (left, other)
    return None


def _other(value: Any) -> object:
    """Another value of the same kind, and far from it."""
    other: object = _FAR
    match value:
        case bool():
            other = not value
        case int() | float() | complex():
            # -_FAR / 2 would come back as itself.
            other = -value - _FAR if -value - _FAR != value else _FAR
        case str():
            other = f"{value}{_FAR}"
        case bytes():
            other = value + b"%d" % _FAR
        case dict():
            items = cast("dict[object, object]", value)
            # Another value where the key is there already.
            other = {**items, _FAR: not items.get(_FAR)}
        case set():
            # Where it is among them, as in a set of primes, it is left out.
            other = cast("set[object]", value) ^ {_FAR}
        case tuple():
            other = (*cast("tuple[object, ...]", value), _FAR)
        case list():
            other = [*cast("list[object]", value), _FAR]
        case _:
            pass
    return other


def _instead_of(node: ast.expr, other: ast.expr) -> ast.expr:
    """The other one, with the first evaluated all the same."""
    pair = ast.Tuple([node, other], ast.Load())
    return ast.Subscript(pair, ast.Constant(value=1), ast.Load())


def _call(name: str, argument: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))
