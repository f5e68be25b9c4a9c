"""Which answers vote together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tt_compute.errors import InvalidRequestError, ServerError, UnknownNameError, VerifierError
from tt_compute.verify.base import Answer
from tt_compute.verify.equality import SameMeaning, get_equality
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.tasks import get_task

pytestmark = pytest.mark.anyio
PROCESS = MathProcess(installed=False)
"""Without math-verify: numbers are read all the same."""


def answer(text: str) -> Answer:
    return Answer(text=text, key=text.casefold(), explicit=True)


def alike_at_first(first: str, second: str) -> bool:
    return first[0] == second[0]


def one(_first: str, _second: str) -> int:
    return 1


async def same(spec: Any, first: str, second: str) -> bool:
    return await get_equality(spec, process=PROCESS).same(answer(first), answer(second))


@pytest.mark.parametrize(
    ("spec", "first", "second", "wanted"),
    [
        ("exact", "Nairobi", "nairobi", True),
        ("exact", "0.5", "1/2", False),
        ("numeric", "0.5", "1/2", True),
        ("numeric", "1,000", "1000", True),
        ("numeric", "0.5", "0.51", False),
        ("numeric", "half", "0.5", False),
        ("numeric", "half", "Half", True),
        ("math", "0.5", "1/2", True),
        ("math", "0.5", "0.51", False),
        (alike_at_first, "abc", "axe", True),
        (alike_at_first, "abc", "bc", False),
    ],
)
async def test_answers_are_the_same_as_the_equality_has_it(
    spec: Any, first: str, second: str, wanted: bool
) -> None:
    assert await same(spec, first, second) is wanted
    assert await same(spec, second, first) is wanted


async def test_an_asynchronous_function_is_awaited() -> None:
    async def always(_first: str, _second: str) -> bool:
        return True

    assert await same(always, "a", "b")


async def test_a_function_that_fails_or_says_neither_is_an_error() -> None:
    def broken(_first: str, _second: str) -> bool:
        raise KeyError("gone")

    with pytest.raises(VerifierError, match="KeyError"):
        await same(broken, "a", "b")
    with pytest.raises(VerifierError, match="not a bool"):
        await same(one, "a", "b")


async def test_for_a_vote_what_could_not_be_found_out_is_no_with_a_warning() -> None:
    def broken(_first: str, _second: str) -> bool:
        raise KeyError("gone")

    task = get_task("open")
    task.equality = get_equality(broken, process=PROCESS)
    assert not await task.equivalent(answer("a"), answer("b"))
    assert await task.equivalent(answer("a"), answer("A"))
    assert len(task.warnings) == 1


async def test_meanings_are_the_same_from_a_cosine_on_and_each_text_is_embedded_once() -> None:
    vectors = {"car": (1.0, 0.0), "auto": (0.8, 0.6), "tree": (0.0, 2.0)}
    asked: list[str] = []

    async def embed(texts: Sequence[str]) -> Sequence[Sequence[float]]:
        asked.extend(texts)
        return [vectors[text] for text in texts]

    meaning = SameMeaning(embed, 0.8)
    assert await meaning.same(answer("car"), answer("auto"))
    assert not await meaning.same(answer("auto"), answer("tree"))
    assert not await meaning.same(answer("car"), answer("tree"))
    assert sorted(asked) == ["auto", "car", "tree"]


async def test_an_embedding_that_fails_is_a_verifiers_error() -> None:
    async def embed(_texts: Sequence[str]) -> Sequence[Sequence[float]]:
        raise ServerError("down")

    with pytest.raises(VerifierError, match="down"):
        await SameMeaning(embed, 0.8).same(answer("a"), answer("b"))


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("exakt", UnknownNameError, "no equality 'exakt'"),
        ("exact=1", UnknownNameError, "no equality"),
        ("nowhere:f", UnknownNameError, "cannot be found"),
        ("semantic", InvalidRequestError, "threshold"),
        ("semantic=mock", InvalidRequestError, "threshold"),
        ("semantic=mock,high", InvalidRequestError, "threshold"),
        ("semantic=mock,0.9", InvalidRequestError, "no deployments"),
        (5, InvalidRequestError, "no int"),
    ],
)
def test_what_names_no_equality_is_refused(spec: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        get_equality(spec, process=PROCESS)


@pytest.mark.parametrize("threshold", [0.0, 1.5, -1.0, float("nan")])
def test_a_threshold_is_that_of_a_cosine(threshold: float) -> None:
    async def embed(_texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return ()

    with pytest.raises(InvalidRequestError, match="threshold"):
        SameMeaning(embed, threshold)
