from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import ServerError, VerifierError
from tt_compute.strategies.base import Outcome
from tt_compute.strategies.mbr import MBR, token_f1

pytestmark = pytest.mark.anyio

Stage = Callable[..., Any]
TEXTS = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)


@given(TEXTS, TEXTS)
def test_token_f1_is_the_harmonic_mean_of_precision_and_recall(first: str, second: str) -> None:
    words = Counter(first.split()), Counter(second.split())
    common = sum(min(words[0][word], words[1][word]) for word in "abc")
    if not common:
        assert token_f1(first, second) == float(not first and not second)
        return
    precision, recall = common / words[0].total(), common / words[1].total()
    assert token_f1(first, second) == pytest.approx(2 * precision * recall / (precision + recall))


def test_token_f1_knows_no_case_and_no_punctuation() -> None:
    assert token_f1("The cat, sat.", "the cat sat") == 1.0
    assert token_f1("!", "?") == 0.0


async def test_the_sample_most_like_the_others_wins(stage: Stage) -> None:
    """Against brute force, on random texts, waves and orders of ends; equal ones are all named."""
    rng = random.Random(1)
    for _ in range(200):
        lines = [" ".join(rng.choices("abcdef", k=rng.randint(1, 6))) for _ in range(6)]
        outcome: Outcome = await stage(
            "mbr", lines, wave=rng.choice([1, 3, 6]), ranks=[rng.random() for _ in lines]
        ).play()
        risks = [
            round(sum(token_f1(a, b) for j, b in enumerate(lines) if j != i), 9)
            for i, a in enumerate(lines)
        ]
        best = [i for i, value in enumerate(risks) if value == max(risks)]
        assert outcome.winner in best
        assert outcome.tied == (tuple(best) if len(best) > 1 else ())
        assert outcome.votes == ()


async def test_a_users_utility_decides(stage: Stage) -> None:
    """The candidate comes first: one that likes short candidates picks the shortest."""

    async def short(candidate: str, _reference: str) -> float:
        return -len(candidate)

    it = stage("mbr", ["aaa", "b", "cc"])
    outcome = await MBR(short).run(it.run)
    assert outcome.text == "b"


async def test_a_sample_is_not_compared_with_itself(stage: Stage) -> None:
    async def vain(candidate: str, reference: str) -> float:
        return len(candidate) * (10 if candidate == reference else -1)

    outcome = await MBR(vain).run(stage("mbr", ["bb", "a"]).run)
    assert outcome.text == "a"


async def test_samples_without_an_answer_abstain(stage: Stage) -> None:
    outcome = await stage("mbr", ["a b", None, "a b c", ServerError("no"), "x"]).play()
    assert outcome.winner in (0, 2)
    assert any("1 of 5 samples failed" in warning for warning in outcome.warnings)


async def test_one_sample_needs_no_comparison(stage: Stage) -> None:
    assert (await stage("mbr", ["a"]).play()).text == "a"
    assert (await stage("mbr", [None]).play()).answer is None


async def test_a_utility_that_fails_or_gives_no_number_is_an_error(stage: Stage) -> None:
    def broken(_candidate: str, _reference: str) -> float:
        raise KeyError("gone")

    def endless(_candidate: str, _reference: str) -> float:
        return float("inf")

    for utility, message in ((broken, "KeyError"), (endless, "finite")):
        with pytest.raises(VerifierError, match=message):
            await MBR(utility).run(stage("mbr", ["a", "b"]).run)


async def test_at_the_deadline_the_first_whole_sample_stands(stage: Stage) -> None:
    async def never(_candidate: str, _reference: str) -> float:
        await anyio.sleep_forever()
        return 0.0

    it = stage("mbr", ["a", "b"])
    run = msgspec.structs.replace(it.run, until_deadline=anyio.lowlevel.checkpoint)
    outcome = await MBR(never).run(run)
    assert (outcome.text, outcome.stop_reason) == ("a", "deadline")
    assert len(outcome.warnings) == 1
