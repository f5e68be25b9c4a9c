"""Strategies that choose among the whole budget, on the run's own model and on another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import InvalidRequestError, UsageError, VerifierError
from tt_compute.planning.types import Objective
from tt_compute.results import Result
from tt_compute.strategies.mbr import MBR

THREE = Objective(max_samples=3)
ASKED = r"Which answer, 1 to \d"
SAMPLES = ["It is 41.", "It is 42.", "It is 43."]


@pytest.fixture
def connect(environ: dict[str, str]) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(said: str, **more: Any) -> Client:
        """Every deployment says the samples, and ``said`` when it is asked to choose."""
        rules = [{"pattern": ASKED, "script": [said]}, {"pattern": ".", "script": SAMPLES}]
        common = {"backend": "mock", "model": "mock", "hardware": "mock"}
        deployments = [
            {"id": name, "options": {"rules": rules, **more}, **common}
            for name in ("scripted", "grader")
        ]
        config = Config.from_mapping({"deployments": deployments}, environ=environ)
        clients.append(Client(config, environ=environ))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def solve(client: Client, strategy: Any, **options: Any) -> Any:
    return client.solve(
        "6 * 7 = ?", strategy=strategy, deployment="scripted", objective=THREE, **options
    )


@pytest.mark.parametrize(("strategy", "calls"), [("usc", 1), ("listwise", 1), ("knockout", 4)])
def test_without_a_verifier_the_model_chooses_itself_and_it_is_on_the_receipt(
    connect: Callable[..., Client], strategy: str, calls: int
) -> None:
    result = solve(connect("CHOICE: 2"), strategy)
    assert result.answer in ("41", "42", "43")
    assert result.receipt.samples_drawn == 3 + calls
    assert [one.answer for one in result.samples[3:]] == [None] * calls
    assert result.receipt.verifier_tokens == 0
    assert result.confidence is None
    assert result.plan.chosen.predicted.quality is None


@pytest.mark.parametrize("strategy", ["usc", "listwise", "knockout"])
def test_another_model_chooses_and_its_tokens_are_told_apart(
    connect: Callable[..., Client], strategy: str
) -> None:
    result = solve(connect("CHOICE: 1"), strategy, verifier="judge=grader")
    assert result.receipt.samples_drawn == 3
    assert result.receipt.verifier_tokens > 0


def test_a_seed_gives_the_same_choice_again(connect: Callable[..., Client]) -> None:
    client = connect("CHOICE: 1")
    for strategy in ("usc", "listwise", "knockout", "mbr"):
        first, second = (solve(client, strategy, seed=5) for _ in range(2))
        assert (first.answer, len(first.samples)) == (second.answer, len(second.samples))


def test_a_model_that_chooses_none_is_an_error_with_what_was_spent(
    connect: Callable[..., Client],
) -> None:
    with pytest.raises(VerifierError, match="the model chose none of 3") as caught:
        solve(connect("I like them all."), "usc")
    partial = caught.value.partial
    assert isinstance(partial, Result)
    assert partial.receipt.samples_drawn == 5


def test_a_verifier_that_cannot_choose_is_refused(connect: Callable[..., Client]) -> None:
    with pytest.raises(UsageError, match="needs a model that chooses"):
        solve(connect("CHOICE: 1"), "usc", verifier="exact=42")
    with pytest.raises(InvalidRequestError, match="asks none"):
        solve(connect("CHOICE: 1"), "mbr", verifier="exact=42")


def test_a_utility_of_ones_own_comes_with_the_strategy(connect: Callable[..., Client]) -> None:
    def near_42(candidate: str, _reference: str) -> float:
        return float("42" in candidate)

    result = solve(connect(""), MBR(near_42))
    assert result.answer == "42"
    assert result.confidence is None
