"""The confidence in an answer: Bayes over which answer is right, checked by simulation."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from tt_compute.planning.ability import TaskAbility
from tt_compute.planning.confidence import vote_confidence
from tt_compute.planning.questions import Questions

ABILITY = TaskAbility(
    mean=0.4,
    questions=Questions.stated(mean=0.4, concentration=1.5, agreement=0.4),
    abstain_share=0.25,
)
"""Of the wrong samples 25 % abstain, 30 % give the popular answer, 45 % one of their own."""


def draw_votes(rng: random.Random, n: int) -> tuple[bool, tuple[int, ...], int]:
    """One simulated question: (is the leader right, votes leader first, abstentions)."""
    p = rng.betavariate(0.4 * 1.5, 0.6 * 1.5)
    counts: Counter[str] = Counter()
    for k in range(n):
        if rng.random() < p:
            counts["right"] += 1
        else:
            u = rng.random()
            counts["none" if u < 0.25 else "popular" if u < 0.55 else f"own {k}"] += 1
    abstentions = counts.pop("none", 0)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], rng.random()))
    leader = ranked[0][0] if ranked else ""
    return leader == "right", tuple(count for _, count in ranked), abstentions


def test_it_is_the_share_of_leaders_that_are_right() -> None:
    """Over 60,000 simulated questions of 5 samples, for every outcome seen at least 1,000 times."""
    rng = random.Random(7)
    seen: dict[tuple[tuple[int, ...], int], list[bool]] = defaultdict(list)
    for _ in range(60_000):
        right, votes, abstentions = draw_votes(rng, 5)
        seen[votes, abstentions].append(right)
    frequent = {key: rights for key, rights in seen.items() if len(rights) >= 1000 and key[0]}
    assert len(frequent) >= 8
    for (votes, abstentions), rights in frequent.items():
        confidence = vote_confidence(ABILITY, votes, abstentions)
        assert confidence == pytest.approx(sum(rights) / len(rights), abs=0.05), votes


def test_one_answered_sample_is_the_success_rate_among_those_with_an_answer() -> None:
    assert vote_confidence(ABILITY, (1,)) == pytest.approx(0.4 / (0.4 + 0.6 * 0.75))


def test_more_votes_for_the_leader_raise_it() -> None:
    found = [vote_confidence(ABILITY, (count, 1)) for count in range(1, 9)]
    known = [value for value in found if value is not None]
    assert len(known) == 8
    assert known == sorted(known)


def test_it_is_unknown_without_an_ability_or_votes() -> None:
    assert vote_confidence(TaskAbility(), (3,)) is None
    assert vote_confidence(ABILITY, ()) is None
