"""What verifiers say is wrong, for whoever tries again."""

from __future__ import annotations

import math

import anyio
import anyio.lowlevel
import pytest

from tt_compute.errors import VerifierError
from tt_compute.types import Message
from tt_compute.verify.base import Judgement, Verifier
from tt_compute.verify.code_tests import CodeTest, CodeTests
from tt_compute.verify.code_verifier import CodeVerifier
from tt_compute.verify.combine import AllOf, AnyOf, Weighted
from tt_compute.verify.sandbox.types import Program, Ran
from tt_compute.verify.tasks import get_task
from tt_compute.verify.verifiers import CallableVerifier, ExactVerifier

MESSAGES = (Message(role="user", content="Write a function add."),)
PROGRAM = "```python\ndef add(a, b):\n    return a - b\n```"


class Scripted:
    """A sandbox where the test says what came of each case."""

    name = "scripted"

    def __init__(self, *ran: Ran) -> None:
        self._ran = ran

    async def ready(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def run(self, program: Program) -> tuple[Ran, ...]:
        await anyio.lowlevel.checkpoint()
        return self._ran[: len(program.cases)]

    def close(self) -> None:
        pass


def judge(verifier: Verifier, text: str = "no") -> Judgement:
    answer = get_task("code").extract(text, truncated=False)

    async def go() -> Judgement:
        return await verifier.judge(MESSAGES, text, answer)

    return anyio.run(go)


def on_code(test: CodeTest, ran: Ran) -> str:
    return judge(CodeVerifier(CodeTests(tests=(test,)), Scripted(ran)), PROGRAM).reason


def test_the_first_test_that_failed_is_told_of_with_what_the_program_did() -> None:
    tests = (
        CodeTest(call="add", args=(0, 0), expected=0),
        CodeTest(call="add", args=(2, 3), expected=5),
        CodeTest(check="assert add(1, 1) == 2"),
    )
    passed, failed = Ran(ended="exit", value="0"), Ran(ended="exit", value="-1")
    said = judge(CodeVerifier(CodeTests(tests=tests), Scripted(passed, failed, failed)), PROGRAM)
    assert said.reason == (
        "2 of 3 tests failed. The first of them: add(2, 3) must return 5\nIt returned -1."
    )


@pytest.mark.parametrize(
    ("test", "ran", "reason"),
    [
        (
            CodeTest(stdin="2", stdout="4"),
            Ran(ended="exit", exit_code=0, stdout="5"),
            "on the input '2' it must print '4'\nIt printed '5'.",
        ),
        (
            CodeTest(check="assert add(1, 1) == 2"),
            Ran(ended="exit", stderr="AssertionError"),
            "assert add(1, 1) == 2\nIt failed with:\nAssertionError",
        ),
        (CodeTest(stdout="4"), Ran(ended="cpu"), "It was ended: it took too much processor time."),
    ],
)
def test_each_kind_of_test_says_what_it_wants(test: CodeTest, ran: Ran, reason: str) -> None:
    assert on_code(test, ran).endswith(reason)


def test_what_is_told_of_a_test_stays_short() -> None:
    assert len(on_code(CodeTest(stdout="4"), Ran(ended="exit", stdout="x" * 10_000))) < 700


def test_a_program_that_passes_or_is_missing_is_told_of_as_such() -> None:
    test = CodeTest(call="add", args=(1, 1), expected=0)
    assert on_code(test, Ran(ended="exit", value="0", checked=True)) == ""
    verifier = CodeVerifier(CodeTests(tests=(test,)), Scripted())
    assert judge(verifier, "I cannot.").reason == "There is no program in the answer."


def test_a_program_that_passes_a_decoy_too_is_told_of_as_such() -> None:
    test = CodeTest(check="assert add(1, 1) == 2")
    said = on_code(test, Ran(ended="exit", checked=True))
    assert said.endswith(
        "It passes this test whatever is expected of it, and so has not passed it."
    )


def test_a_gold_answer_is_never_given_away() -> None:
    assert judge(ExactVerifier(get_task("math"), "42"), "It is 41.").reason == ""


def test_a_callable_may_say_why() -> None:
    said = Judgement(score=0.2, reason="too long")
    assert judge(CallableVerifier(lambda _prompt, _text: said)) == said
    with pytest.raises(VerifierError, match="finite"):
        judge(CallableVerifier(lambda _prompt, _text: Judgement(score=math.nan)))


def test_combined_verifiers_pass_reasons_on() -> None:
    def refuses(reason: str) -> CallableVerifier:
        return CallableVerifier(lambda _prompt, _text: Judgement(score=0.0, reason=reason))

    accepts = CallableVerifier(lambda _prompt, _text: True)
    assert judge(AllOf(accepts, refuses("a"), refuses("b"))).reason == "a"
    assert judge(AnyOf(refuses("a"), refuses("b"))).reason == "a\n\nb"
    assert judge(AnyOf(refuses("a"), accepts)).reason == ""
    assert judge(Weighted((refuses("a"), 1), (accepts, 1))).reason == "a"
