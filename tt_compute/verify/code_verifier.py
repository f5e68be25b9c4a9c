"""Judging programs by running them, in a sandbox and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import anyio
import msgspec

from tt_compute.types import Message
from tt_compute.verify.base import Answer, Judgement
from tt_compute.verify.code_decoys import deceived
from tt_compute.verify.code_tests import CodeTest, CodeTests
from tt_compute.verify.sandbox.types import Case, Limits, Program, Ran, Sandbox

__all__ = ["Agreement", "CodeVerifier", "dual_agreement"]

_DECEIVED = Ran(
    ended="exit",
    stderr="It passes this test whatever is expected of it, and so has not passed it.",
)


class CodeVerifier:
    """Scores a program by the share of the tests that it passes, and accepts it when it passes all.

    A program that hangs, dies or takes too much has failed the test: that is its own doing. So has one that
    passes an ``assert`` whatever that expects (``code_decoys``). When the sandbox fails, that is no verdict
    but an error.

    Args:
        tests: What it must do.
        sandbox: Where it is run; closed by its owner.
    """

    name = "code"
    accepts_at: float = 1.0

    def __init__(self, tests: CodeTests, sandbox: Sandbox) -> None:
        self._tests = tests
        self._sandbox = sandbox

    async def ready(self, messages: Sequence[Message]) -> None:  # noqa: ARG002 - the protocol's
        """See ``base.Readied``."""
        await self._sandbox.ready()

    async def judge(
        self,
        messages: Sequence[Message],  # noqa: ARG002 - the protocol's
        text: str,  # noqa: ARG002 - the protocol's
        answer: Answer | None,
    ) -> Judgement:
        """The share of passed tests; 0.0 for a sample without a program.

        Raises:
            VerifierError: The sandbox could not be used, or failed.
        """
        if answer is None:
            return Judgement(score=0.0, reason="There is no program in the answer.")
        tests = self._tests.tests
        cases = tuple(test.case() for test in tests)
        program = Program(source=answer.text, cases=cases, limits=self._tests.limits)
        ran = await self._sandbox.run(program)
        passed = {at for at, test in enumerate(tests) if test.passed(ran[at])}
        checks = {at: check for at in passed if (check := tests[at].check) is not None}
        lies = await deceived(answer.text, checks, self._tests.limits, self._sandbox)
        failed = [
            (test, _DECEIVED if at in lies else ran[at])
            for at, test in enumerate(tests)
            if at not in passed - lies
        ]
        return Judgement(
            score=1 - len(failed) / len(tests),
            reason=_reason(len(tests), *failed[0], failed=len(failed)) if failed else "",
        )


def _reason(tests: int, test: CodeTest, ran: Ran, *, failed: int) -> str:
    """The first test that failed, and what the program did instead."""
    return f"{failed} of {tests} tests failed. The first of them: {test.told(ran)}"


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """How one program agrees with the tests, and with the other programs on them."""

    passed: frozenset[int]
    """Indices of the tests that it passes."""
    peers: int
    """Programs that pass exactly the same ones, itself included."""

    @property
    def score(self) -> int:
        """Peers x passed tests."""
        return self.peers * len(self.passed)


async def dual_agreement(
    programs: Sequence[str],
    tests: Sequence[str],
    sandbox: Sandbox,
    *,
    limits: Limits | None = None,
) -> tuple[Agreement, ...]:
    """Hold programs against tests that a model wrote as well, neither of which is known to be right.

    CodeT (arXiv 2207.10397): programs that pass the same tests are one consensus; it counts by how many
    programs hold it and how many tests.

    Args:
        programs: The samples' programs.
        tests: ``assert`` statements.
        sandbox: Where they are run.
        limits: Of each run; None = the defaults.

    Raises:
        VerifierError: The sandbox could not be used, or failed.
    """
    cases = tuple(Case(check=test) for test in tests)
    found: dict[str, frozenset[int]] = {}

    async def run(source: str) -> None:
        most = limits or Limits()
        ran = await sandbox.run(Program(source=source, cases=cases, limits=most))
        passed = {at: tests[at] for at, one in enumerate(ran) if _passed(one)}
        found[source] = frozenset(passed) - await deceived(source, passed, most, sandbox)

    async with anyio.create_task_group() as group:
        for source in dict.fromkeys(programs):
            group.start_soon(run, source)
    peers = Counter(found[source] for source in programs)
    return tuple(Agreement(passed=found[source], peers=peers[found[source]]) for source in programs)


def _passed(ran: Ran) -> bool:
    return ran.ended == "exit" and ran.checked
