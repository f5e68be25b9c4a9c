"""Votes that weigh, as a client's requests use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tt_compute.client import Client
from tt_compute.errors import InvalidRequestError, UnsupportedError
from tt_compute.planning.types import Objective

Connect = Callable[..., Client]
SCRIPT = {"rules": [{"pattern": ".", "script": ["It is 41.", "It is 42.", "It is 41."]}]}
THREE = Objective(max_samples=3)


def liking(answer: str) -> Callable[[str, str], float]:
    def score(_prompt: str, text: str) -> float:
        return 0.9 if answer in text else 0.2

    return score


@pytest.mark.parametrize("weight", ["logprob", "logprob:0.5", "certainty", "tail", "tail:1"])
def test_samples_bring_what_their_votes_weigh_by(connect: Connect, weight: str) -> None:
    result = connect(**SCRIPT).solve("6 * 7 = ?", weight=weight, objective=THREE)
    assert result.receipt.samples_drawn == 3
    assert result.answer in ("41", "42")
    assert result.warnings == ()


def test_a_verifiers_scores_are_summed_over_the_samples_of_an_answer(connect: Connect) -> None:
    result = connect(**SCRIPT).solve(
        "6 * 7 = ?", weight="verifier", verifier=liking("42"), objective=THREE
    )
    assert result.answer == "42"
    assert [one.score for one in result.samples] == [0.2, 0.9, 0.2]
    assert result.confidence is None


def test_a_plan_keeps_its_weight_and_asks_for_the_verifier_again(connect: Connect) -> None:
    client = connect(**SCRIPT)
    plan = client.plan("6 * 7 = ?", weight="verifier", verifier=liking("42"), objective=THREE)
    with pytest.raises(InvalidRequestError, match="needs a verifier"):
        client.solve("6 * 7 = ?", plan=plan)
    assert client.solve("6 * 7 = ?", plan=plan, verifier=liking("42")).answer == "42"


def test_a_deployment_without_the_logprobs_is_refused_before_a_sample_is_drawn(
    connect: Connect,
) -> None:
    client = connect(**SCRIPT, capabilities={"max_logprobs": 1})
    client.solve("6 * 7 = ?", weight="logprob", objective=THREE)
    with pytest.raises(UnsupportedError, match="logprobs=2"):
        client.solve("6 * 7 = ?", weight="tail", objective=THREE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": "logprob", "strategy": "best_of_n"}, "holds none"),
        ({"weight": "logprob", "verifier": "exact=42"}, "ask none"),
        ({"weight": "verifier"}, "needs a verifier"),
        ({"weight": "logprob", "stop": "beta"}, "counts votes"),
        ({"weight": "tail", "stop": "certain"}, "no upper bound"),
        ({"weight": "logprob:zero"}, "temperature"),
        ({"weight": "logprob", "temperature": 0}, "nothing to vote on"),
    ],
)
def test_what_does_not_go_with_weights_is_refused(
    connect: Connect, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        connect(**SCRIPT).solve("6 * 7 = ?", **options)
