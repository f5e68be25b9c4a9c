"""Tests that no honest program passes, made of tests that it does.

A test that is code runs in the process of the program that it tests, and cannot be hidden from it: the program
may end as one that has passed, look up what is expected of it, or return an object that equals everything. Each
of these works as well when something else is expected. So a program that has passed a test is run once more with
a decoy of it, in a sandbox of its own, and one that passes that too, and then another decoy, has passed none.

What is equal to many things is no deceit where a test is about just that: tests that have comparisons of their own,
or that name a class of the program's which has, have no decoys.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import anyio.to_thread

from tt_compute.verify.sandbox.types import Case, Limits, Program, Sandbox

__all__ = ["deceived", "decoy"]

_HELPERS = """
_tt_asserted = []
def _tt_assert(value):
    _tt_asserted.append(not not value)
    return True
def _tt_end(must):
    if True not in _tt_asserted and (_tt_asserted or not must):
        raise AssertionError('a decoy')
"""
"""They hold all constants of their own, so that the code that asserts has only those of the test, and use nothing
that it or the program may have replaced. What an honest program fails is passed over, as in its test: it may have
been honest there alone."""
_NEVER = ast.Constant(value=...)
"""What no program returns."""
_LEAST_INFINITE = 1e290
"""No tolerance is as wide; one that is excludes nothing."""
_COMPARES = frozenset(
    f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge", "contains", "sub", "rsub", "abs")
)
_LENIENT = _COMPARES | {"ANY", "total_ordering"}
"""Names in tests that compare in a way of their own, ``unittest.mock.ANY`` among them."""


class _Far(NamedTuple):
    """How far what a decoy expects is from what its test does."""

    by: int
    farthest: float
    """Farther from any expected number than a tolerance."""


_FARS = (_Far(7919, -1e300), _Far(7919 + 104729, -3e298))
"""The second asks again whoever has passed the first. By chance an honest program passes one; both only where
numbers are counted modulo the difference, which is a prime."""


@lru_cache(maxsize=256)
def decoy(check: str, number: int = 0) -> str | None:
    """The same code with something else expected; it runs to its end only for a program that deceives it.

    Args:
        check: The code.
        number: 0 or 1; what is expected differs.

    Returns:
        None where the code cannot be read here, or compares in a way of its own.
    """
    try:
        tree = ast.parse(check)
        if not _LENIENT.isdisjoint(_names(tree)):
            return None
        change = _Change(_FARS[number])
        certain = any(isinstance(one, ast.Assert) and change.of(one.test) for one in tree.body)
        change.visit(tree)
        first = [at for at, one in enumerate(tree.body, 1) if _comes_first(one)]
        at = max(first, default=0)
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
    suspects = frozenset(checks)
    for number in range(len(_FARS)):
        asked = [(at, checks[at]) for at in checks if at in suspects]
        decoys = await anyio.to_thread.run_sync(_decoys, source, asked, number)
        if not decoys:
            return frozenset()
        cases = tuple(Case(check=check) for check in decoys.values())
        ran = await sandbox.run(Program(source=source, cases=cases, limits=limits))
        suspects = frozenset(
            at for at, one in zip(decoys, ran, strict=True) if one.ended == "exit" and one.checked
        )
    return suspects


def _decoys(source: str, checks: Sequence[tuple[int, str]], number: int) -> dict[int, str]:
    """By the number of the test, where it has one for this program."""
    compared = _comparing_classes(source)
    made = ((at, check, decoy(check, number)) for at, check in checks)
    return {
        at: found
        for at, check, found in made
        if found is not None and compared.isdisjoint(_asked_for(check))
    }


def _comparing_classes(source: str) -> frozenset[str]:
    """The program's classes that say themselves what they are equal to or less than, or inherit it from such.

    Only those with the name of a class: a function's stands in every test of it.
    """
    try:
        classes = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ClassDef)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    left = [(one.name, frozenset(_names(one))) for one in classes]
    found, newest = set[str](), set(_COMPARES)
    while newest:
        heirs = {name for name, names in left if not names.isdisjoint(newest)}
        left = [(name, names) for name, names in left if name not in heirs]
        found, newest = found | heirs, heirs
    return frozenset(name for name in found if name[:1].isupper())


@lru_cache(maxsize=256)
def _asked_for(check: str) -> frozenset[str]:
    """Names that a test which has a decoy takes from the program."""
    nodes = list(ast.walk(ast.parse(check)))
    names = [one for one in nodes if isinstance(one, ast.Name)]
    own = {one.id for one in names if not isinstance(one.ctx, ast.Load)}
    own |= {one.arg for one in nodes if isinstance(one, ast.arg)}
    own |= {one.name for one in nodes if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    return frozenset(one.id for one in names) - own


def _names(node: ast.AST) -> Iterator[str]:
    """All that occur in it, as what is defined, imported or used."""
    for one in ast.walk(node):
        for field in ("id", "attr", "name"):
            if isinstance(name := getattr(one, field, None), str):
                yield name


def _comes_first(statement: ast.stmt) -> bool:
    """Only these may stand before anything else, and there they must, behind a docstring at most."""
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


class _Change(ast.NodeTransformer):
    """Has every ``assert`` expect something else, where it says what it expects."""

    def __init__(self, far: _Far) -> None:
        self._far = far

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        changed = self.of(node.test)
        if changed is not None:
            node.test = _call("_tt_assert", changed)
        return node

    def of(self, test: ast.expr) -> ast.expr | None:
        """The condition with something else expected; None where that cannot be said."""
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            return self._comparison(test.left, test.ops[0], test.comparators[0])
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            changed = [self.of(value) for value in test.values]
            found = [new or old for new, old in zip(changed, test.values, strict=True)]
            return ast.BoolOp(op=test.op, values=found) if any(changed) else None
        return self._closeness(test) if isinstance(test, ast.Call) else None

    def _comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> ast.expr | None:
        if isinstance(op, ast.Eq):
            pair = self._either(left, right)
            if pair is not None:
                return ast.Compare(pair[0], [op], [pair[1]])
            return ast.BoolOp(
                op=ast.Or(),
                values=[ast.Compare(left, [op], [_NEVER]), ast.Compare(_NEVER, [op], [right])],
            )
        if isinstance(op, ast.In):
            return ast.Compare(left, [op], [_instead_of(right, ast.Tuple([_NEVER], ast.Load()))])
        if isinstance(op, ast.Lt | ast.LtE):
            near = self._distance(left)
            if near is not None:
                return ast.Compare(near, [op, op], [right, ast.Constant(_LEAST_INFINITE)])
        if isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE):
            return ast.Compare(left, [op], [_NEVER])
        return None

    def _closeness(self, call: ast.Call) -> ast.expr | None:
        """``isclose(a, b)`` with another b, or a, unless it calls close whatever is."""
        match call.args:
            case [left, right] if _name(call.func) == "isclose" and not _is_wide(call.keywords):
                pair = self._either(left, right, tolerant=True)
                return pair and ast.Call(call.func, [*pair], call.keywords)
            case _:
                return None

    def _distance(self, node: ast.expr) -> ast.expr | None:
        """``abs(a - b)`` with another b, or a."""
        if not (isinstance(node, ast.Call) and _name(node.func) == "abs" and len(node.args) == 1):
            return None
        inner = node.args[0]
        if not (isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Sub)):
            return None
        pair = self._either(inner.left, inner.right, tolerant=True)
        return pair and ast.Call(node.func, [ast.BinOp(pair[0], inner.op, pair[1])], [])

    def _either(
        self, left: ast.expr, right: ast.expr, *, tolerant: bool = False
    ) -> tuple[ast.expr, ast.expr] | None:
        """The two with the one that is written out changed; None when neither is."""
        for first, node in ((False, right), (True, left)):
            try:
                value = ast.literal_eval(node)
            except (ValueError, TypeError, SyntaxError):
                continue
            changed = self._far.farthest if tolerant else _other(value, self._far.by)
            other = ast.parse(repr(changed), mode="eval").body
            return (other, right) if first else (left, other)
        return None


def _is_wide(tolerances: list[ast.keyword]) -> bool:
    return not all(
        isinstance(one.value, ast.Constant)
        and isinstance(one.value.value, float | int)
        # Of what is expected, where it is no absolute one.
        and one.value.value < (_LEAST_INFINITE if one.arg == "abs_tol" else 0.5)
        for one in tolerances
    )


def _other(value: Any, far: int) -> object:
    """Another value of the same kind, and far from it."""
    other: object = far
    match value:
        case bool():
            other = not value
        case int() | float() | complex():
            # Half of it below 0 would come back to itself.
            other = -value - far if -value - far != value else far
        case str():
            other = f"{value}{far}"
        case bytes():
            other = value + b"%d" % far
        case dict():
            items = cast("dict[object, object]", value)
            # What it is under that key, if it is there, is not equal to its own negation.
            other = {**items, far: not items.get(far)}
        case set():
            # Without it where it is among them: the first of them is the thousandth prime.
            other = cast("set[object]", value) ^ {far}
        case tuple():
            other = (*cast("tuple[object, ...]", value), far)
        case list():
            other = [*cast("list[object]", value), far]
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
