"""The conformance kit: whether a backend keeps the protocol, shown on the backend itself.

    async def make() -> Subject:
        return Subject(backend=await MyBackend.create(spec, env), clock=clock)

    report = await check_backend(make)

It needs nothing of the backend but the protocol: no base class, no hooks. ``BackendConformance`` is the same
for pytest, one test for each rule.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import cast

import anyio
import msgspec

from tt_compute.errors import InvalidRequestError
from tt_compute.testing import (
    rules_abilities,
    rules_events,
    rules_refusals,
    rules_resources,
    rules_stopping,
)
from tt_compute.testing.subject import NotApplicable, RuleBroken, Subject

__all__ = [
    "RULES",
    "RULE_TIMEOUT_S",
    "ConformanceError",
    "Made",
    "Report",
    "check_backend",
    "check_rule",
    "judge",
    "statement",
]

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

RULE_TIMEOUT_S = 120.0
"""Real seconds after which a rule counts as hanging."""

Made = Subject | Awaitable[Subject] | AbstractAsyncContextManager[Subject]
"""What a factory may return; a context manager closes what it made, else the backend alone is closed."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each rule; as text, a line for each, the broken ones first."""

    passed: tuple[str, ...]
    skipped: dict[str, str]
    """Rules that say nothing about this backend, with the reason."""
    failed: dict[str, str]
    """Rules that are broken, and how."""

    def __str__(self) -> str:
        total = len(self.passed) + len(self.skipped) + len(self.failed)
        lines = [f"{len(self.failed)} of {total} rules are broken"]
        for name, reason in self.failed.items():
            lines += [f"  FAIL {name}: {reason}", f"       {statement(name)}"]
        lines += [f"  skip {name}: {reason}" for name, reason in self.skipped.items()]
        lines += [f"  pass {name}" for name in self.passed]
        return "\n".join(lines)


class ConformanceError(AssertionError):
    """Rules are broken; the message is the whole report.

    Args:
        report: What became of each rule.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(str(report))
        self.report = report


async def check_backend(
    factory: Callable[[], Made],
    *,
    rules: Iterable[str] | None = None,
    timeout_s: float = RULE_TIMEOUT_S,
) -> Report:
    """Run the rules, each on a subject of its own.

    Args:
        factory: Makes a subject with a fresh backend: a function, an ``async`` one, or one that returns an
            async context manager, which then closes the backend itself.
        rules: Names out of ``RULES``; None = all.
        timeout_s: Real seconds after which a rule counts as hanging.

    Raises:
        ConformanceError: At least one rule is broken.
        InvalidRequestError: There is no such rule, or the factory makes something other than a subject.
    """
    names = list(RULES if rules is None else rules)
    for name in names:
        _known(name)
    passed: list[str] = []
    skipped: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in names:
        found = await judge(name, factory, timeout_s=timeout_s)
        if found is None:
            passed.append(name)
        elif isinstance(found, NotApplicable):
            skipped[name] = str(found)
        else:
            failed[name] = str(found)
    report = Report(passed=tuple(passed), skipped=skipped, failed=failed)
    if failed:
        raise ConformanceError(report)
    return report


async def judge(
    name: str, factory: Callable[[], Made], *, timeout_s: float = RULE_TIMEOUT_S
) -> RuleBroken | NotApplicable | None:
    """Run one rule on a subject of its own; None = it holds.

    What was found is returned, not raised, so that it does not pass through the factory's own scopes.
    """
    judged, found = False, None
    try:
        async with _subject(factory, timeout_s) as subject:
            found = await _found(name, subject, timeout_s)
            judged = True
    except Exception as exc:
        # What the factory raises is its author's; what closing raises is a finding like any other.
        if not judged:
            raise
        closing = RuleBroken(f"closing it afterwards raised {type(exc).__name__}: {exc}")
        return found if isinstance(found, RuleBroken) else closing
    return found


async def _found(
    name: str, subject: Subject, timeout_s: float
) -> RuleBroken | NotApplicable | None:
    try:
        await check_rule(name, subject, timeout_s=timeout_s)
    except (RuleBroken, NotApplicable) as found:
        return found
    return None


async def check_rule(name: str, subject: Subject, *, timeout_s: float = RULE_TIMEOUT_S) -> None:
    """Run one rule.

    Args:
        name: One of ``RULES``.
        subject: What to run it on.
        timeout_s: Real seconds after which it counts as hanging.

    Raises:
        RuleBroken: The backend does not keep it, hangs, or raises what it should not.
        NotApplicable: It says nothing about this backend.
        InvalidRequestError: There is no such rule.
    """
    rule = _known(name)
    with anyio.move_on_after(timeout_s):
        try:
            await rule(subject)
        except Exception as exc:
            # Whatever the backend raises is the finding; groups come from the rules' own tasks.
            cause = _innermost(exc)
            if isinstance(cause, RuleBroken | NotApplicable):
                raise cause from exc
            raise RuleBroken(f"raised {type(cause).__name__}: {cause}") from exc
        return
    raise RuleBroken(f"did not end within {timeout_s:g} s")


def statement(name: str) -> str:
    """What a rule says, in one line."""
    return " ".join((RULES[name].__doc__ or "").split())


@asynccontextmanager
async def _subject(factory: Callable[[], Made], timeout_s: float) -> AsyncGenerator[Subject, None]:
    made: object = factory()
    if isinstance(made, AbstractAsyncContextManager):
        async with cast("AbstractAsyncContextManager[object]", made) as entered:
            yield _checked(entered)
        return
    subject = _checked(await made if isinstance(made, Awaitable) else made)
    try:
        yield subject
    finally:
        with anyio.move_on_after(timeout_s, shield=True):
            await subject.backend.aclose()


def _checked(made: object) -> Subject:
    if isinstance(made, Subject):
        return made
    raise InvalidRequestError(
        f"the factory made {made!r}, not a Subject",
        hint="return Subject(backend=..., clock=...), or an async context manager that yields it",
    )


def _known(name: str) -> Rule:
    if name in RULES:
        return RULES[name]
    raise InvalidRequestError(
        f"there is no rule {name!r}", hint=f"tt_compute.testing.RULES holds {', '.join(RULES)}"
    )


def _innermost(exc: Exception) -> Exception:
    if isinstance(exc, ExceptionGroup):
        return _innermost(cast("ExceptionGroup[Exception]", exc).exceptions[0])
    return exc
