"""The conformance kit as a pytest class; needs pytest and none of its plugins."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import anyio
import pytest

from tt_compute.testing.conformance import RULE_TIMEOUT_S, RULES, Made, judge, statement
from tt_compute.testing.subject import NotApplicable

__all__ = ["BackendConformance"]


class BackendConformance:
    """Inherit and write ``create``: each rule of the protocol is then a test of its own.

        class TestMine(BackendConformance):
            async def create(self) -> Subject:
                return Subject(backend=await MyBackend.create(spec, env), clock=clock)

    The tests are plain functions that run an asyncio loop each, in which ``create`` runs too.
    """

    may_skip: ClassVar[Collection[str] | None] = None
    """Rules that may say nothing about this backend; any other one that is skipped fails. None = all."""
    timeout_s: ClassVar[float] = RULE_TIMEOUT_S
    """Real seconds after which a rule counts as hanging."""

    def create(self) -> Made:
        """Make a subject with a fresh backend; see ``check_backend`` for the shapes it may have."""
        raise NotImplementedError(f"{type(self).__name__} needs a method create()")

    @pytest.mark.parametrize("rule", RULES)
    def test_keeps(self, rule: str) -> None:
        """The backend keeps the rule, or the rule says nothing about it."""
        __tracebackhide__ = True
        found = anyio.run(self._judge, rule)
        if isinstance(found, NotApplicable):
            if self.may_skip is not None and rule not in self.may_skip:
                pytest.fail(f"{rule} is not in may_skip, and was skipped: {found}", pytrace=False)
            pytest.skip(str(found))
        if found is not None:
            found.add_note(f"{rule}: {statement(rule)}")
            raise found

    async def _judge(self, rule: str) -> Exception | None:
        return await judge(rule, self.create, timeout_s=self.timeout_s)
