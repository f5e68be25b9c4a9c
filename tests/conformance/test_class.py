"""The conformance kit as a class: shapes of ``create``, what is skipped, what fails and how it is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from tt_compute import testing
from tt_compute.errors import InvalidRequestError
from tt_compute.testing import (
    RULES,
    BackendConformance,
    Subject,
    VirtualClock,
    backend_env,
    check_backend,
    deployment_spec,
)
from tt_compute.testing.subject import RuleBroken
from tt_compute_backends.mock import MockBackend

OPTIONS = {"completion_tokens": 60, "latency": {"ttft_s": 0.3, "tokens_per_s": 40}}
SKIPPED = "keeps_json_schemas"
PASSED = "open_draws_nothing"


class Backend(MockBackend):
    """Counts how often it is closed, and closes with an error when told so."""

    closed = 0
    error: Exception | None = None

    async def aclose(self) -> None:
        type(self).closed += 1
        if self.error is not None:
            raise self.error
        await super().aclose()


@pytest.fixture(autouse=True)
def reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend, "closed", 0)
    monkeypatch.setattr(Backend, "error", None)


async def subject() -> Subject:
    clock = VirtualClock()
    spec = deployment_spec("mock", options=OPTIONS)
    return Subject(backend=await Backend.create(spec, backend_env(clock=clock)), clock=clock)


@asynccontextmanager
async def entered() -> AsyncGenerator[Subject, None]:
    made = await subject()
    yield made
    await made.backend.aclose()


def at_once() -> Subject:
    clock = VirtualClock()
    backend: Any = anyio.run(Backend.create, deployment_spec("mock"), backend_env(clock=clock))
    return Subject(backend=backend, clock=clock)


class Kept(BackendConformance):
    async def create(self) -> Subject:
        return await subject()


class Strict(Kept):
    may_skip = ("tells_logprobs",)


class CannotBeMade(Kept):
    async def create(self) -> Subject:
        raise OSError("no such device")


def test_a_rule_that_says_nothing_is_skipped_with_the_reason() -> None:
    with pytest.raises(pytest.skip.Exception, match="JSON schemas are not claimed"):
        Kept().test_keeps(SKIPPED)
    Kept().test_keeps(PASSED)


def test_a_skip_that_was_not_allowed_fails() -> None:
    """So that a rule does not fall silent when a capability is lost."""
    with pytest.raises(
        (pytest.fail.Exception, pytest.skip.Exception), match="not in may_skip"
    ) as caught:
        Strict().test_keeps(SKIPPED)
    assert caught.type is pytest.fail.Exception


def test_a_broken_rule_fails_and_says_what_it_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend, "api_version", 99)
    with pytest.raises(RuleBroken, match="api_version 99") as caught:
        Kept().test_keeps("describes_itself")
    assert "describes_itself: The class states its name" in caught.value.__notes__[0]


def test_each_rule_is_a_test_of_its_own() -> None:
    (mark,) = BackendConformance.test_keeps.pytestmark  # type: ignore[attr-defined] # pytest's decorators put it there
    assert list(mark.args[1]) == list(RULES)


def test_a_class_without_create_says_so() -> None:
    class Empty(BackendConformance):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs a method create"):
        Empty().test_keeps(PASSED)


def test_what_create_raises_is_not_taken_for_a_broken_rule() -> None:
    with pytest.raises(OSError, match="no such device"):
        CannotBeMade().test_keeps(PASSED)


@pytest.mark.parametrize("factory", [subject, entered])
def test_every_subject_is_closed_once(factory: Callable[[], Any]) -> None:
    """By its own context manager, or by the kit where it has none."""
    report = anyio.run(lambda: check_backend(factory, rules=[PASSED, SKIPPED]))
    assert report.passed == (PASSED,)
    assert Backend.closed == 2


def test_a_factory_may_be_a_plain_function() -> None:
    made = at_once()
    assert anyio.run(lambda: check_backend(lambda: made, rules=[PASSED])).passed == (PASSED,)


@pytest.mark.parametrize("factory", [subject, entered])
def test_an_error_when_closing_breaks_the_rule_that_ran(
    factory: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backend, "error", OSError("still busy"))
    with pytest.raises(testing.ConformanceError, match="closing it afterwards raised OSError: st"):
        anyio.run(lambda: check_backend(factory, rules=[PASSED]))


def test_wrong_usage_is_refused() -> None:
    """A rule that is not there, and a factory of something else."""
    text: Any = "mock"
    with pytest.raises(InvalidRequestError, match="no rule 'no_such_rule'"):
        anyio.run(lambda: check_backend(subject, rules=["no_such_rule"]))
    with pytest.raises(InvalidRequestError, match="made 'mock', not a Subject"):
        anyio.run(lambda: check_backend(lambda: text, rules=[PASSED]))


def test_the_kit_without_the_class_needs_no_pytest() -> None:
    code = "import sys, tt_compute.testing as t; t.check_backend; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert not hasattr(testing, "no_such_name")
