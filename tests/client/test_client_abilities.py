"""Deployments that score and embed, on a backend that was given these abilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import InvalidRequestError, UnknownNameError, VerifierError
from tt_compute.planning.types import Objective
from tt_compute.registry import Registry
from tt_compute.types import Message
from tt_compute_backends.mock import MockBackend

THREE = Objective(max_samples=3)
SAMPLES = ["It is 41.", "It is 42.", "It is 41."]


@pytest.fixture
def client(environ: dict[str, str]) -> Iterator[Client]:
    rules = {"rules": [{"pattern": ".", "script": SAMPLES}]}
    common = {"backend": "mock", "model": "mock", "hardware": "mock"}
    deployments = [{"id": "scripted", "options": rules, **common}, {"id": "reward", **common}]
    config = Config.from_mapping({"deployments": deployments}, environ=environ)
    with Client(config, environ=environ) as made:
        yield made


class Able(MockBackend):
    """Scores by a liking for 42, and means the same by everything; what it was asked about."""

    asked: ClassVar[list[str]] = []

    async def score(
        self,
        messages: Sequence[Message],
        texts: Sequence[str],
        *,
        deadline: float | None = None,  # noqa: ARG002 - the protocol's
    ) -> Sequence[float]:
        assert not texts or messages[-1].text == "6 * 7 = ?"
        self.asked.extend(texts)
        return [0.9 if "42" in text else 0.3 for text in texts]

    async def embed(
        self,
        texts: Sequence[str],
        *,
        deadline: float | None = None,  # noqa: ARG002 - the protocol's
    ) -> Sequence[Sequence[float]]:
        return [(1.0, 0.0) for _ in texts]


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Gives the backend its abilities; the texts it was asked to score."""
    monkeypatch.setattr(Able, "asked", [])

    def load(_self: Registry, _name: str) -> type[Able]:
        return Able

    monkeypatch.setattr(Registry, "load", load)
    return Able.asked


@pytest.fixture
def solve(client: Client) -> Callable[..., Any]:
    def run(**options: Any) -> Any:
        return client.solve("6 * 7 = ?", deployment="scripted", objective=THREE, **options)

    return run


def test_a_deployments_scores_choose(solve: Callable[..., Any], able: list[str]) -> None:
    result = solve(verifier="scorer=reward")
    assert (result.answer, result.receipt.stop_reason) == ("42", "budget")
    assert sorted(able) == sorted(SAMPLES)
    assert result.confidence is None


@pytest.mark.usefixtures("able")
def test_a_score_that_is_good_enough_ends_the_run(solve: Callable[..., Any]) -> None:
    result = solve(verifier="scorer=reward,0.8")
    assert (result.answer, result.receipt.stop_reason) == ("42", "verifier")


@pytest.mark.usefixtures("able")
def test_votes_weigh_by_a_deployments_scores(solve: Callable[..., Any]) -> None:
    assert solve(verifier="scorer=reward", weight="verifier").answer == "42"


def test_a_deployment_that_cannot_score_is_told_of_before_a_sample_is_drawn(
    solve: Callable[..., Any],
) -> None:
    with pytest.raises(VerifierError, match="does not score") as caught:
        solve(verifier="scorer=reward")
    assert caught.value.partial is None


@pytest.mark.parametrize(
    ("verifier", "error"),
    [
        ("scorer", InvalidRequestError),
        ("scorer=reward,high", InvalidRequestError),
        ("scorer=rewards", UnknownNameError),
    ],
)
def test_a_scorer_that_names_none_is_refused(
    solve: Callable[..., Any], verifier: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        solve(verifier=verifier)


@pytest.mark.usefixtures("able")
def test_answers_of_close_meaning_vote_together(solve: Callable[..., Any]) -> None:
    apart = solve(strategy="majority", stop="certain")
    together = solve(strategy="majority", stop="certain", equal="semantic=reward,0.9")
    assert apart.tally.votes == (2, 1)
    assert together.tally.votes in ((2,), (3,))


def test_a_deployment_that_cannot_embed_is_told_of_before_a_sample_is_drawn(
    solve: Callable[..., Any],
) -> None:
    with pytest.raises(VerifierError, match="does not embed") as caught:
        solve(strategy="majority", stop="certain", equal="semantic=reward,0.9")
    assert caught.value.partial is None


def test_a_users_equality_makes_votes_one(solve: Callable[..., Any]) -> None:
    def both_near(first: str, second: str) -> bool:
        return abs(float(first) - float(second)) <= 1

    result = solve(strategy="majority", stop="certain", equal=both_near)
    assert result.tally.votes in ((2,), (3,))
