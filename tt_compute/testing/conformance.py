"""The conformance kit: whether a backend keeps the protocol, shown on the backend itself.

    async def make() -> ...: ...   # an async context manager that yields a Subject

    report = await check_backend(make)

It needs nothing of the backend but the protocol: no base class, no hooks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import cast

import anyio
import msgspec

from tt_compute.testing import (
    rules_abilities,
    rules_events,
    rules_refusals,
    rules_resources,
    rules_stopping,
)
from tt_compute.testing.subject import NotApplicable, RuleBroken, Subject

__all__ = ["CLOSING_RULES", "RULES", "ConformanceError", "Report", "check_backend", "check_rule"]

Rule = Callable[[Subject], Awaitable[None]]

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        name: getattr(module, name)
        for module in (
            rules_events,
            rules_stopping,
            rules_refusals,
            rules_abilities,
            rules_resources,
        )
        for name in module.__all__
    }
)
"""Every rule by its name; its docstring states it."""

CLOSING_RULES = frozenset({"closes_twice"})
"""Rules that leave the backend closed: they want one of their own."""

RULE_TIMEOUT_S = 120.0
"""Real seconds after which a rule counts as hanging."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each rule."""

    passed: tuple[str, ...]
    skipped: dict[str, str]
    """Rules that say nothing about this backend, with the reason."""
    failed: dict[str, str]
    """Rules that are broken, and how."""

    def __str__(self) -> str:
        total = len(self.passed) + len(self.skipped) + len(self.failed)
        lines = [f"{len(self.failed)} of {total} rules are broken"]
        for name, reason in self.failed.items():
            lines += [f"  {name}: {reason}", f"    {_statement(name)}"]
        return "\n".join(lines)


class ConformanceError(AssertionError):
    """Rules are broken; the message lists them all.

    Args:
        report: What became of each rule.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


async def check_backend(
    factory: Callable[[], AbstractAsyncContextManager[Subject]],
    *,
    rules: Iterable[str] | None = None,
    timeout_s: float = RULE_TIMEOUT_S,
) -> Report:
    """Run the rules, each on a subject of its own.

    Args:
        factory: Makes a subject with a fresh backend, and closes it.
        rules: Names out of ``RULES``; None = all.
        timeout_s: Real seconds after which a rule counts as hanging.

    Raises:
        ConformanceError: At least one rule is broken.
    """
    passed: list[str] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in RULES if rules is None else rules:
        try:
            async with factory() as subject:
                await check_rule(name, subject, timeout_s=timeout_s)
        except NotApplicable as exc:
            skipped[name] = str(exc)
        except RuleBroken as exc:
            failed[name] = str(exc)
        else:
            passed.append(name)
    report = Report(passed=tuple(passed), skipped=skipped, failed=failed)
    if failed:
        raise ConformanceError(report)
    return report


async def check_rule(name: str, subject: Subject, *, timeout_s: float = RULE_TIMEOUT_S) -> None:
    """Run one rule.

    Args:
        name: One of ``RULES``.
        subject: What to run it on.
        timeout_s: Real seconds after which it counts as hanging.

    Raises:
        RuleBroken: The backend does not keep it, hangs, or raises what it should not.
        NotApplicable: It says nothing about this backend.
    """
    with anyio.move_on_after(timeout_s):
        try:
            await RULES[name](subject)
        except Exception as exc:
            # Whatever the backend raises is the finding; groups come from the rules' own tasks.
            cause = _innermost(exc)
            if isinstance(cause, RuleBroken | NotApplicable):
                raise cause from exc
            raise RuleBroken(f"raised {type(cause).__name__}: {cause}") from exc
        return
    raise RuleBroken(f"did not end within {timeout_s:g} s")


def _innermost(exc: Exception) -> Exception:
    if isinstance(exc, ExceptionGroup):
        return _innermost(cast("ExceptionGroup[Exception]", exc).exceptions[0])
    return exc


def _statement(name: str) -> str:
    return " ".join((RULES[name].__doc__ or "").split())
