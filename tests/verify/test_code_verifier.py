"""Judging programs by tests: what passes, what fails, and what is no verdict at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tt_compute.errors import InvalidRequestError, VerifierError
from tt_compute.types import Message
from tt_compute.verify.code_tests import CodeTest, CodeTests, load_tests
from tt_compute.verify.code_verifier import CodeVerifier, dual_agreement
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.types import Program, Ran, Sandbox
from tt_compute.verify.tasks import get_task

MESSAGES = (Message(role="user", content="Write a function add."),)
ADD = "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```"


class Scripted:
    """A sandbox where the test says what came of each case."""

    name = "scripted"

    def __init__(self, *ran: Ran, error: VerifierError | None = None) -> None:
        self._ran = ran
        self._error = error
        self.programs: list[Program] = []

    async def ready(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def run(self, program: Program) -> tuple[Ran, ...]:
        await anyio.lowlevel.checkpoint()
        self.programs.append(program)
        if self._error is not None:
            raise self._error
        return self._ran

    def close(self) -> None:
        pass


def judge(tests: Sequence[CodeTest], sandbox: Sandbox, text: str) -> float:
    verifier = CodeVerifier(CodeTests(tests=tuple(tests)), sandbox)
    answer = get_task("code").extract(text, truncated=False)

    async def go() -> float:
        return (await verifier.judge(MESSAGES, text, answer)).score

    return anyio.run(go)


def test_the_score_is_the_share_of_the_tests_that_passed(sandbox: BubblewrapSandbox) -> None:
    tests = [
        CodeTest(call="add", args=(2, 3), expected=5),
        CodeTest(check="assert add(2, 2) == 4"),
        CodeTest(call="add", args=(0.1, 0.2), expected=0.3),
        CodeTest(check="assert add(2, 2) == 5"),
    ]
    assert judge(tests, sandbox, ADD) == 0.75
    assert judge(tests[:3], sandbox, ADD) == 1.0


def test_what_is_printed_counts_but_for_white_space_at_line_ends(
    sandbox: BubblewrapSandbox,
) -> None:
    text = "```python\nn = int(input())\nfor i in range(n): print(i, '')\nprint()\n```"
    right = CodeTest(stdin="2\n", stdout="0\n1")
    assert judge([right, CodeTest(stdin="2\n", stdout="0 1")], sandbox, text) == 0.5


def test_a_sample_without_a_program_is_wrong_and_runs_nothing() -> None:
    sandbox = Scripted()
    assert judge([CodeTest(stdout="1")], sandbox, "I cannot.") == 0.0
    assert sandbox.programs == []


@pytest.mark.parametrize("ended", ["signal", "cpu", "wall", "output", "not_run"])
def test_a_program_that_a_limit_ended_has_failed_its_test(ended: Any) -> None:
    ran = Ran(ended=ended, stdout="1", value="1", checked=True)
    for test in (CodeTest(stdout="1"), CodeTest(call="f", expected=1), CodeTest(check="f()")):
        assert judge([test], Scripted(ran), ADD) == 0.0


def test_a_sandbox_that_fails_is_an_error_and_no_verdict() -> None:
    sandbox = Scripted(error=VerifierError("the sandbox died"))
    with pytest.raises(VerifierError, match="died"):
        judge([CodeTest(stdout="1")], sandbox, ADD)


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ("5", 5, True),
        ("5.0", 5, True),
        ("0.30000000000000004", 0.3, True),
        ("5", 5.1, False),
        ("1", True, False),
        ("true", True, True),
        ("[1, [2]]", [1, [2]], True),
        ("[1]", [1, 2], False),
        ('{"a": 1.0}', {"a": 1}, True),
        ('{"a": 1, "b": 2}', {"a": 1}, False),
        ('"5"', 5, False),
        ("null", None, True),
        ("NaN", 1, False),
        ("[" * 100_000, [], False),
    ],
)
def test_a_returned_value_is_compared_as_json(value: str, expected: object, same: bool) -> None:
    test = CodeTest(call="f", expected=expected)
    assert test.passed(Ran(ended="exit", exit_code=0, value=value, checked=True)) is same


def test_a_script_that_fails_has_not_passed_whatever_it_printed() -> None:
    test = CodeTest(stdout="1")
    assert test.passed(Ran(ended="exit", exit_code=0, stdout="1\n"))
    assert not test.passed(Ran(ended="exit", exit_code=1, stdout="1\n"))


def test_tests_are_read_from_json_with_their_limits(tmp_path: Path) -> None:
    file = tmp_path / "tests.json"
    file.write_text(
        json.dumps(
            {
                "tests": [
                    {"stdin": "1", "stdout": "2"},
                    {"call": "f", "args": [1], "expected": None},
                    {"assert": "assert f"},
                ],
                "limits": {"wall_s": 2},
            }
        )
    )
    read = load_tests(file)
    assert [test.case().check for test in read.tests] == [None, None, "assert f"]
    assert read.tests[1].expected is None
    assert read.limits.wall_s == 2


def test_a_python_file_is_one_test(tmp_path: Path) -> None:
    file = tmp_path / "check.py"
    file.write_text("assert add(1, 1) == 2\n")
    assert [test.check for test in load_tests(file).tests] == ["assert add(1, 1) == 2\n"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Input data was truncated"),
        ("[]", "Expected `object`"),
        ('{"tests": []}', "no test"),
        ('{"tests": [{}]}', "either"),
        ('{"tests": [{"stdout": "1", "assert": "x"}]}', "either"),
        ('{"tests": [{"call": "f"}]}', "either"),
        ('{"tests": [{"stdout": "1", "expected": 1}]}', "either"),
        ('{"tests": [{"stdout": 1}]}', "stdout"),
        ('{"tests": [{"stdot": "1"}]}', "stdot"),
        ('{"tests": [{"stdout": "1"}], "limits": {"wall_s": 0}}', "wall_s"),
        ('{"tests": [{"call": "f", "expected": ' + "[" * 100_000, "recursion"),
    ],
)
def test_tests_that_cannot_be_used_are_refused_with_the_file(
    tmp_path: Path, text: str, reason: str
) -> None:
    file = tmp_path / "tests.json"
    file.write_text(text)
    with pytest.raises(InvalidRequestError, match=reason) as caught:
        load_tests(file)
    assert str(file) in caught.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    for file in (tmp_path / "missing.json", tmp_path, tmp_path / "binary.json"):
        with pytest.raises(InvalidRequestError):
            load_tests(file)


def test_programs_that_agree_on_the_most_tests_outweigh_a_lone_one(
    sandbox: BubblewrapSandbox,
) -> None:
    right, same, wrong = (
        "def add(a, b): return a + b",
        "def add(a, b): return b + a",
        "def add(a, b): return a * b",
    )
    tests = ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(1, 1) == 1"]

    async def go() -> list[tuple[int, int, int]]:
        found = await dual_agreement([right, same, wrong, right], tests, sandbox)
        return [(len(one.passed), one.peers, one.score) for one in found]

    assert anyio.run(go) == [(2, 3, 6), (2, 3, 6), (2, 1, 2), (2, 3, 6)]
