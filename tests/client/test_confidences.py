"""The confidence of a run: votes, and log-probabilities where judged runs taught what they are worth."""

from __future__ import annotations

import msgspec
import pytest

from tt_compute.confidences import Asked, confidence_in
from tt_compute.planning.estimates import Estimates
from tt_compute.planning.observations import Observation
from tt_compute.planning.types import Candidate, Prediction, Stage
from tt_compute.profiles.schema import (
    Ability,
    DeploymentProfile,
    DeploymentSpec,
    Fact,
    HardwareProfile,
    ModelProfile,
)
from tt_compute.strategies.base import Ended, Outcome
from tt_compute.strategies.single import Single
from tt_compute.types import FinishReason, Sample, SamplingParams, TokenLogprob
from tt_compute.verify.base import Answer

SURE, UNSURE = -0.1, -0.6
SEEN = tuple(
    Observation(right=1, right_logprob=SURE)
    if right
    else Observation(wrong=(1,), wrong_logprob=UNSURE)
    for right in (True, False) * 20
)


def spec(name: str) -> DeploymentSpec:
    ability = Ability(
        success_rate=Fact(value=0.5),
        concentration=Fact(value=2.0),
        wrong_agreement=Fact(value=0.4),
        abstain_rate=Fact(value=0.0),
    )
    model = ModelProfile(id=f"model of {name}", abilities={"math": ability})
    hardware = HardwareProfile(id="h", device="cpu", local=True)
    deployment = DeploymentProfile(id=name, backend="b", model=model.id, hardware="h")
    return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)


FIRST, SECOND = spec("first"), spec("second")
CHOSEN = Candidate(
    deployment="first",
    backend="b",
    model=FIRST.model.id,
    strategy="majority",
    stop_rule="beta",
    max_samples=4,
    wave=4,
    feasible=True,
    violates=(),
    predicted=Prediction(),
    sampling=SamplingParams(temperature=0.8),
)
LEARNED = Estimates(observations={(FIRST.model.id, "math"): SEEN})


def ended(
    index: int, answer: str | None, logprob: float | None, reason: FinishReason = "stop"
) -> Ended:
    tokens = () if logprob is None else (TokenLogprob(token="x", logprob=logprob),)
    return Ended(
        event=Sample(index=index, text="t", finish_reason=reason, logprobs=tokens),
        answer=None if answer is None else Answer(key=answer, text=answer, explicit=True),
    )


def outcome(*samples: Ended, votes: tuple[tuple[str, int], ...], stage: int = 0) -> Outcome:
    first = next(one for one in samples if one.answer is not None)
    return Outcome(
        answer=first.answer,
        text="t",
        winner=first.index,
        stop_reason="settled",
        stop_posterior=None,
        ended=samples,
        votes=votes,
        stage=stage,
        own_votes=(1,) if stage else None,
    )


def confidence(
    found: Outcome,
    estimates: Estimates = LEARNED,
    *,
    chosen: Candidate = CHOSEN,
    served_by: dict[int, str] | None = None,
    prompt_tokens: int = 20,
) -> float:
    asked = Asked(task="math", prompt_tokens=prompt_tokens, estimates=estimates)
    specs = [FIRST] if chosen.then is None else [FIRST, SECOND]
    told = confidence_in(Single(), chosen, asked, specs)(found, served_by or {})
    assert told is not None
    return told


def of_one(logprob: float | None) -> Outcome:
    return outcome(ended(0, "42", logprob), votes=(("42", 1),))


def test_an_answer_that_the_model_was_sure_of_is_likelier_right() -> None:
    votes_alone = confidence(of_one(None))
    assert confidence(of_one(UNSURE)) < votes_alone < confidence(of_one(SURE))


def test_where_nothing_was_learned_votes_alone_count() -> None:
    for nothing in (Estimates(), Estimates(observations={(SECOND.model.id, "math"): SEEN})):
        assert confidence(of_one(SURE), nothing) == confidence(of_one(None), nothing)


def test_greedy_samples_and_varied_ones_teach_nothing_of_each_other() -> None:
    greedy = msgspec.structs.replace(CHOSEN, sampling=SamplingParams(temperature=0.0))
    assert confidence(of_one(SURE), chosen=greedy) == confidence(of_one(None), chosen=greedy)
    other = Estimates(greedy={(FIRST.model.id, "math"): SEEN})
    assert confidence(of_one(SURE), other) == confidence(of_one(None), other)
    told = confidence(of_one(UNSURE), other, chosen=greedy)
    assert told < confidence(of_one(SURE), other, chosen=greedy)


@pytest.mark.parametrize(
    "other",
    [
        ended(1, "7", UNSURE),
        ended(1, None, UNSURE),
        ended(1, "42", UNSURE, reason="cancelled"),
        ended(1, "42", None),
        ended(1, "42", float("-inf")),
        ended(1, "42", -1e308),
    ],
    ids=["another answer", "no answer", "cancelled", "unknown", "infinite", "no log-probability"],
)
def test_only_the_answers_own_finished_samples_count(other: Ended) -> None:
    votes = (("42", 1), ("7", 1))
    silent = ended(1, None if other.answer is None else other.answer.text, None)
    alone = outcome(ended(0, "42", SURE), silent, votes=votes)
    assert confidence(outcome(ended(0, "42", SURE), other, votes=votes)) == confidence(alone)


def test_samples_of_one_answer_count_by_their_mean() -> None:
    votes = (("42", 2),)
    mixed = outcome(ended(0, "42", SURE), ended(1, "42", UNSURE), votes=votes)
    middle = (SURE + UNSURE) / 2
    both = outcome(ended(0, "42", middle), ended(1, "42", middle), votes=votes)
    assert confidence(mixed) == pytest.approx(confidence(both))


def test_what_another_model_was_sure_of_says_nothing() -> None:
    """One that stood in, or the second of a cascade, whose questions are harder than those it was judged on."""
    stood_in = confidence(of_one(SURE), served_by={0: "second"})
    assert stood_in == confidence(of_one(None))
    then = Stage(
        deployment="second",
        backend="b",
        model=SECOND.model.id,
        strategy="single",
        stop_rule=None,
        max_samples=1,
        wave=1,
        sampling=SamplingParams(temperature=0.8),
    )
    cascade = msgspec.structs.replace(CHOSEN, strategy="cascade", then=then)
    both = Estimates(observations={(one.model.id, "math"): SEEN for one in (FIRST, SECOND)})
    told = [
        confidence(
            outcome(ended(1, "42", logprob), votes=(("42", 1),), stage=1),
            both,
            chosen=cascade,
            served_by={1: "second"},
        )
        for logprob in (SURE, UNSURE)
    ]
    assert told[0] == told[1]


def test_prompts_about_as_long_share_their_figures() -> None:
    """As in plans, so that no figures have to be made for each length of its own."""
    seen = tuple(
        msgspec.structs.replace(one, prompt_tokens=20 if one.right else 400) for one in SEEN
    )
    learned = Estimates(observations={(FIRST.model.id, "math"): seen})
    told = [confidence(of_one(None), learned, prompt_tokens=tokens) for tokens in (20, 21, 400)]
    assert told[0] == told[1] > told[2]


def test_what_a_vote_drew_for_nothing_does_not_count() -> None:
    """Neither its silence nor its log-probability."""
    voted = (ended(0, "42", SURE), ended(1, "42", SURE))
    ahead = (ended(2, None, UNSURE), ended(3, "42", UNSURE))
    alone = outcome(*voted, votes=(("42", 2),))
    more = outcome(*voted, *ahead, votes=(("42", 2),))
    besides = msgspec.structs.replace(more, uncounted=frozenset({2, 3}))
    assert confidence(besides) == confidence(alone) != confidence(more)
