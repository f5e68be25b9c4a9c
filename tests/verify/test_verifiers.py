"""Judging samples by a gold answer or by a callable of the user's."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import cast

import anyio
import pytest

from tt_compute.errors import InvalidRequestError, UnknownNameError, VerifierError
from tt_compute.types import Message
from tt_compute.verify.answer_task import AnswerTask
from tt_compute.verify.base import Judgement, Verifier
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.specs import get_verifier
from tt_compute.verify.tasks import get_task
from tt_compute.verify.verifiers import CallableVerifier, ExactVerifier

MESSAGES = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="What is 6 * 7?"),
)


def _judge(verifier: Verifier, text: str, task: AnswerTask | None = None) -> float:
    answer = (task or get_task("math")).extract(text, truncated=False)

    async def judge() -> Judgement:
        return await verifier.judge(MESSAGES, text, answer)

    return anyio.run(judge).score


@pytest.mark.parametrize(
    ("gold", "text", "score"),
    [
        ("42", "The answer is 42.", 1.0),
        ("42", "The answer is 42.0 apples", 1.0),
        ("42", "The answer is 43.", 0.0),
        ("42", "I do not know", 0.0),
        ("3/4", r"\boxed{0.75}", 1.0),
        ("$1,000", "#### 1000", 1.0),
        ("6 * 7 is 42\n#### 42\n", "So 42", 1.0),
        (r"\text{Evelyn}", r"\boxed{Evelyn}", 1.0),
    ],
)
def test_exact_accepts_the_answers_that_the_task_holds_equal(
    gold: str, text: str, score: float
) -> None:
    task = get_task("math")
    verifier = get_verifier(f"exact={gold}", task)
    assert _judge(verifier, text, task) == score
    assert (verifier.name, verifier.accepts_at) == ("exact", 1.0)


def test_exact_takes_its_gold_answer_from_the_name_or_beside_it() -> None:
    task = get_task("open")
    assert _judge(get_verifier("exact", task, gold="Paris"), "paris.", task) == 1.0
    assert _judge(get_verifier("exact=a=b", task), "a=b", task) == 1.0
    with pytest.raises(InvalidRequestError, match="right answer"):
        get_verifier("exact", task)


def test_a_gold_answer_that_cannot_be_read_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidRequestError, match="Paris, je t"):
        get_verifier("exact=Paris, je t'aime", get_task("json"))
    task = get_task("math", math_process=MathProcess(installed=False))
    with pytest.raises(InvalidRequestError) as caught:
        ExactVerifier(task, r"\sqrt{2}")
    assert "math-verify is not installed" in (caught.value.hint or "")


def test_a_comparison_that_fails_is_an_error_and_no_verdict() -> None:
    lost = MathProcess(command=(sys.executable, "-c", "pass"), installed=True)
    task = get_task("math", math_process=lost)
    with pytest.raises(VerifierError, match="did not start"):
        _judge(ExactVerifier(task, r"\sqrt{2}"), r"\boxed{\sqrt{3}}", task)


@pytest.mark.parametrize(
    ("verdict", "score"), [(True, 1.0), (False, 0.0), (0.25, 0.25), (3, 3.0), (-1.5, -1.5)]
)
def test_a_callable_gives_a_score_or_a_verdict(verdict: float, score: float) -> None:
    seen: list[tuple[str, str]] = []

    def check(prompt: str, text: str) -> float:
        seen.append((prompt, text))
        return verdict

    assert _judge(CallableVerifier(check), "42") == score
    assert seen == [("What is 6 * 7?", "42")]


@pytest.mark.parametrize("verdict", [math.nan, math.inf, None, "yes", 1 + 2j])
def test_a_result_that_is_no_finite_number_is_an_error_that_names_the_callable(
    verdict: object,
) -> None:
    def my_check(prompt: str, text: str) -> float:
        return cast("float", verdict)

    with pytest.raises(VerifierError, match="my_check"):
        _judge(CallableVerifier(my_check), "42")


def test_what_a_callable_raises_is_an_error_that_names_it() -> None:
    def my_check(prompt: str, text: str) -> float:
        raise KeyError(text)

    with pytest.raises(VerifierError, match=r"my_check.*KeyError"):
        _judge(CallableVerifier(my_check), "42")


def test_a_plain_callable_runs_beside_the_loop_and_an_async_one_on_it() -> None:
    threads: list[int] = []

    def plain(prompt: str, text: str) -> bool:
        threads.append(threading.get_ident())
        return True

    async def on_loop(prompt: str, text: str) -> bool:
        await anyio.lowlevel.checkpoint()
        threads.append(threading.get_ident())
        return True

    class Checker:
        async def __call__(self, prompt: str, text: str) -> bool:
            return await on_loop(prompt, text)

    def deferred(prompt: str, text: str) -> Awaitable[bool]:
        return on_loop(prompt, text)

    for check in (plain, on_loop, Checker(), deferred):
        assert _judge(CallableVerifier(check), "42") == 1.0
    main = threading.get_ident()
    assert [thread == main for thread in threads] == [False, True, True, True]


def test_a_callable_that_hangs_is_left_behind_when_the_run_is_cancelled() -> None:
    started, release = threading.Event(), threading.Event()

    def hang(prompt: str, text: str) -> bool:
        started.set()
        return release.wait(60)

    async def cancel_in_the_middle() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(CallableVerifier(hang).judge, MESSAGES, "42", None)
            while not started.is_set():  # noqa: ASYNC110 - a thread sets it
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        assert not release.is_set()
        release.set()

    anyio.run(cancel_in_the_middle)


def test_a_function_of_the_users_is_imported_from_the_current_directory_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_checks.py").write_text(
        "class Group:\n"
        "    @staticmethod\n"
        "    def has_42(prompt, text):\n"
        "        return '42' in text\n"
        "number = 5\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    task = get_task("open")
    verifier = get_verifier("my_checks:Group.has_42", task)
    assert verifier.name == "my_checks:Group.has_42"
    assert _judge(verifier, "it is 42") == 1.0
    for missing in ("my_checks:nothing", "my_checks:number", "no_such_module_x:check"):
        with pytest.raises(UnknownNameError, match=missing):
            get_verifier(missing, task)
    monkeypatch.delitem(sys.modules, "my_checks")


def test_a_module_that_raises_on_import_is_a_verifier_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_checks.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(VerifierError, match="ZeroDivisionError"):
        get_verifier("broken_checks:check", get_task("open"))


@pytest.mark.parametrize("name", ["", "exakt", "exact:42", "a b:c", ":f", "m:"])
def test_an_unknown_name_is_refused_with_the_syntax(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_verifier(name, get_task("math"))
    assert "exact=ANSWER" in (caught.value.hint or "")


def test_a_callable_is_wrapped_and_a_verifier_is_taken_as_it_is() -> None:
    task = get_task("math")
    verifier = ExactVerifier(task, "42")
    assert get_verifier(verifier, task) is verifier
    wrapped = get_verifier(lambda _prompt, _text: True, task)
    assert isinstance(wrapped, CallableVerifier)
