from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.errors import DeadlineExceeded, OutOfMemory, ServerError, UnknownNameError
from tt_compute.stopping import beta_posterior
from tt_compute.strategies.base import Outcome

pytestmark = pytest.mark.anyio

Stage = Callable[..., Any]


def _one_by_one(lines: Sequence[str | None]) -> tuple[int, set[str | None]]:
    """Adaptive-Consistency as published, plus the end when no rest could change the answer.

    Returns:
        Samples drawn, and the answers that lead then.
    """
    votes: Counter[str] = Counter()
    drawn = 0
    for drawn, line in enumerate(lines, start=1):
        votes.update([line] if line else [])
        first, second = ([count for _, count in votes.most_common(2)] + [0, 0])[:2]
        if first and (beta_posterior(first, second) >= 0.95 or first - second > len(lines) - drawn):
            break
    most = max(votes.values(), default=0)
    return drawn, {line for line, count in votes.items() if count == most} or {None}


def _random_lines(rng: random.Random) -> list[str | None]:
    """Up to 24 answers, from nearly unanimous to hopeless, some of them missing."""
    weights = [rng.random() ** 3 for _ in range(rng.randint(1, 6))]
    answers: list[str | None] = [*"abcde", None]
    drawn = rng.choices(answers[: len(weights)], weights, k=rng.randint(1, 24))
    silent = rng.choice([0.0, 0.2, 0.9])
    return [None if rng.random() < silent else line for line in drawn]


async def test_the_same_samples_are_drawn_as_one_by_one(stage: Stage) -> None:
    """10,000 random runs, each in a random order of ends and wave: no sample more, the same answer."""
    rng = random.Random(1)
    for _ in range(10_000):
        lines = _random_lines(rng)
        ranks = [rng.random() for _ in lines]
        wave = rng.choice([1, 2, 4, len(lines)])
        outcome: Outcome = await stage("majority", lines, ranks=ranks, wave=wave).play()
        drawn, leaders = _one_by_one(lines)
        assert len(outcome.ended) == drawn
        assert (outcome.answer and outcome.answer.text) in leaders


@settings(deadline=None)
@given(
    lines=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=16), data=st.data()
)
def test_the_order_of_ends_changes_nothing(
    stage: Stage, lines: list[str | None], data: st.DataObject
) -> None:
    """The whole outcome is the same, ties and the text that is shown included."""
    ranks = data.draw(st.permutations(range(len(lines))))
    wave = data.draw(st.integers(1, len(lines)))
    shuffled = anyio.run(stage("majority", lines, ranks=ranks, wave=wave).play)
    assert shuffled == anyio.run(stage("majority", lines).play)


async def test_an_equivalence_that_is_not_transitive_does_not_see_the_order(stage: Stage) -> None:
    """Numbers within a tolerance: 1 ~ 2 and 2 ~ 3, but not 1 ~ 3."""

    def near(first: str, second: str) -> bool:
        return abs(int(first) - int(second)) <= 1

    lines = ["1", "3", "2", "2", "3", "1", "9"]
    orders = [range(7), range(7, 0, -1), [3, 1, 2, 0, 6, 5, 4]]
    outcomes = [await stage("majority", lines, ranks=ranks, same=near).play() for ranks in orders]
    assert outcomes[0].votes == (("1", 4), ("3", 2))
    assert outcomes[1] == outcomes[0]
    assert outcomes[2] == outcomes[0]


async def test_what_was_drawn_too_much_does_not_vote(stage: Stage) -> None:
    """Without transitivity a later look can be wrong: 1 and 3 differ, until 2 makes them one cluster."""

    def near(first: str, second: str) -> bool:
        return abs(int(first) - int(second)) <= 1

    lines = ["2", "1", "3", "2", *["9"] * 12]
    outcome = await stage("majority", lines, ranks=[99, *range(15)], same=near).play()
    assert len(outcome.ended) > 4
    assert (outcome.votes, outcome.stop_reason) == ((("2", 4),), "settled")


async def test_no_more_than_unanimity_needs_is_in_flight(stage: Stage) -> None:
    it = stage("majority", ["7"] * 16)
    outcome = await it.play()
    assert it.generation.draws == [(0, 4)]
    assert outcome.stop_reason == "settled"
    assert outcome.stop_posterior == beta_posterior(4, 0)
    assert outcome.votes == (("7", 4),)


async def test_what_an_ended_sample_rules_out_is_drawn_at_once(stage: Stage) -> None:
    """Sample 0 is slow; the disagreement behind it already tells that four votes will not do."""
    it = stage("majority", ["a", "b", "c", *"a" * 13], ranks=[99, 1, 2, *range(3, 16)])
    await it.play()
    assert it.generation.draws[:2] == [(0, 4), (2, 3)]


async def test_the_wave_limits_what_is_in_flight_and_refills_as_samples_end(stage: Stage) -> None:
    it = stage("majority", ["7"] * 16, wave=2)
    await it.play()
    assert it.generation.most_live == 2
    assert it.generation.draws == [(0, 2), (1, 1), (2, 1)]


async def test_a_short_answer_has_no_advantage(stage: Stage) -> None:
    """Four quick samples agree, but they are not the first in line: they wait for those before them."""
    lines = [*"aaaa", *"bbbb"]
    it = stage("majority", lines, ranks=[9, 9, 9, 9, 0, 0, 0, 0], stop_rule="beta:0.9")
    outcome = await it.play()
    assert outcome.answer.text == "a"
    assert len(outcome.ended) == 3


async def test_without_a_rule_the_whole_budget_votes(stage: Stage) -> None:
    it = stage("majority", ["7"] * 9, stop_rule=None, wave=4)
    outcome = await it.play()
    assert outcome.votes == (("7", 9),)
    assert (outcome.stop_reason, outcome.stop_posterior) == ("budget", None)
    assert it.generation.most_live == 4


async def test_a_lead_that_the_budget_cannot_turn_is_settled(stage: Stage) -> None:
    """And the posterior says honestly that the rule itself was not satisfied."""
    outcome = await stage("majority", ["7"] * 4).play()
    assert outcome.stop_reason == "settled"
    assert outcome.votes == (("7", 3),)
    assert outcome.stop_posterior == beta_posterior(3, 0) < 0.95


@pytest.mark.parametrize("lines", ["a", "abcab", "abcdefgh"])
async def test_a_spent_budget_is_not_called_settled(stage: Stage, lines: str) -> None:
    """A lead of one, once nothing is left to draw, is only what there was money for."""
    outcome = await stage("majority", [*lines]).play()
    assert len(outcome.ended) == len(lines)
    assert outcome.stop_reason == "budget"


async def test_votes_that_settle_with_the_last_sample_are_settled(stage: Stage) -> None:
    outcome = await stage("majority", ["a"], stop_rule="beta:0.7").play()
    assert (outcome.stop_reason, outcome.stop_posterior) == ("settled", 0.75)


async def test_a_sample_without_an_answer_does_not_vote(stage: Stage) -> None:
    """Nine abstentions are outvoted by two that agree; counted as votes they would have won."""
    lines = [None, "5", None, None, None, "5", None, None, None, None, "6", None]
    outcome = await stage("majority", lines).play()
    assert outcome.answer.text == "5"
    assert outcome.votes == (("5", 2), ("6", 1))
    assert outcome.ended[0].answer is None


async def test_nothing_but_abstentions_is_no_answer_and_no_error(stage: Stage) -> None:
    """The text of the first whole sample stands in, so that the reader sees what the model said."""
    outcome = await stage("majority", [("", "length"), None, None], seed=3).play()
    assert outcome.answer is None
    assert (outcome.winner, outcome.stop_reason) == (1, "budget")
    assert (outcome.votes, outcome.stop_posterior) == ((), None)


async def test_failures_beside_abstentions_are_no_error(stage: Stage) -> None:
    """A sample that ended well and holds no answer is still something to show."""
    outcome = await stage("majority", [OutOfMemory("no room"), None, None]).play()
    assert (outcome.answer, outcome.winner, outcome.stop_reason) == (None, 1, "budget")


async def test_a_cut_sample_votes_only_with_an_explicit_answer(stage: Stage) -> None:
    lines = [("4", "length"), ("4", "content_filter"), ("5!", "length"), "6!"]
    outcome = await stage("majority", lines, stop_rule=None).play()
    assert sorted(outcome.votes) == [("5", 1), ("6", 1)]


async def test_equivalent_answers_are_one_candidate(stage: Stage) -> None:
    outcome = await stage("majority", ["x", "Half", "half", "x", "HALF"]).play()
    assert outcome.votes == (("Half", 3), ("x", 2))


async def test_each_pair_of_answers_is_compared_once(stage: Stage) -> None:
    """Symbolic comparison is dear, and equal keys need none."""
    it = stage("majority", list("abcabcabcaabbcca"), ranks=[99, *range(15)])
    await it.play()
    pairs = [tuple(sorted(pair)) for pair in it.task.compared]
    assert sorted(pairs) == [("a", "b"), ("a", "c"), ("b", "c")]


async def test_the_text_shown_is_of_the_first_whole_sample_of_the_winners(stage: Stage) -> None:
    lines = [("7!", "length"), "8", "7", "7", "7"]
    outcome = await stage("majority", lines, stop_rule=None).play()
    assert (outcome.winner, outcome.text) == (2, "7")


async def test_ties_are_broken_by_the_seed(stage: Stage) -> None:
    """The same seed decides the same way, all seeds together both ways, and the winner is named first."""
    lines = ["a", "b", "b", "a"]
    winners: list[str] = []
    for seed in range(20):
        outcome = await stage("majority", lines, seed=seed).play()
        again = await stage("majority", lines, seed=seed, ranks=[3, 2, 1, 0]).play()
        assert again == outcome
        assert outcome.votes[0] == (outcome.answer.text, 2)
        assert outcome.stop_reason == "budget"
        winners.append(outcome.answer.text)
    assert set(winners) == {"a", "b"}


async def test_a_failed_sample_is_replaced_within_the_budget(stage: Stage) -> None:
    lines = [OutOfMemory("no room"), "7", "7", OutOfMemory("no room"), "7", "7", "9", "9"]
    outcome = await stage("majority", lines).play()
    assert outcome.votes == (("7", 4),)
    assert len(outcome.ended) == 6
    assert outcome.warnings == ("2 of 6 samples failed, the first: no room",)


async def test_when_every_sample_fails_the_first_error_is_raised(stage: Stage) -> None:
    """The budget counts what was drawn, so a broken deployment is not asked for ever."""
    it = stage("majority", [OutOfMemory("the first"), *[OutOfMemory("another")] * 5])
    with pytest.raises(OutOfMemory, match="the first"):
        await it.play()
    assert it.generation.drawn == 6
    assert len(it.notes.ended) == 6


async def test_a_lost_engine_leaves_the_answer_that_was_there(stage: Stage) -> None:
    """And nothing more is asked of a dead engine."""
    lines = ["a", "b", "b", "b", "b", "b", "b", "b", "b"]
    it = stage("majority", lines, ranks=[9, 0, 1, 2, 3, 4, 5, 6, 7], lost_after=2)
    outcome = await it.play()
    assert it.generation.drawn == 4
    assert outcome.answer.text == "b"
    assert (outcome.stop_reason, outcome.votes) == ("failed", (("b", 2),))
    assert "the run could not go on: the engine is gone" in outcome.warnings


async def test_a_lost_engine_without_a_vote_is_its_error(stage: Stage) -> None:
    with pytest.raises(ServerError, match="the engine is gone"):
        await stage("majority", [None, "b", "b", "b"], lost_after=1).play()


async def test_a_backend_that_ends_its_events_too_early_is_an_error(stage: Stage) -> None:
    """Silence must not look like an answer, nor hang."""
    it = stage("majority", ["a", "a", "a", "a"])
    it.generation.live = []
    it.generation.draw = range
    with pytest.raises(ServerError, match="3 samples unended"):
        await it.play()


async def test_the_deadline_returns_the_best_answer_so_far(stage: Stage) -> None:
    """All that ended votes then, whether or not those before it did; cut ones by explicit answers."""
    lines = ["a", "b", "b", "c!", *"aaaa"]
    it = stage("majority", lines, ranks=[9, 0, 1, 8, 9, 9, 9, 9], deadline_after=2)
    outcome = await it.play()
    assert outcome.stop_reason == "deadline"
    assert outcome.votes == (("b", 2), ("c", 1))
    assert outcome.answer.text == "b"


async def test_at_the_deadline_nothing_more_is_drawn(stage: Stage) -> None:
    it = stage("majority", ["a", "b", "c", "d", "a", "b"], wave=1, deadline_after=2)
    outcome = await it.play()
    assert it.generation.drawn == 2
    assert outcome.stop_reason == "deadline"


async def test_a_sample_that_beats_the_cancel_of_the_deadline_votes(stage: Stage) -> None:
    """It is complete and in time, so its answer is as good as any."""
    it = stage("majority", ["a", "b", "b", "c"], wave=3, late_cancel=True)
    it.adjust(deadline_passed=lambda: it.generation.ends >= 1)
    outcome = await it.play()
    assert it.notes.stopping == [1, 2]
    assert outcome.votes == (("b", 2), ("a", 1))


async def test_a_deadline_that_passed_before_the_start_draws_nothing(stage: Stage) -> None:
    it = stage("majority", ["a", "a", "a"], deadline_after=0)
    outcome = await it.play()
    assert it.generation.drawn == 0
    assert (outcome.winner, outcome.stop_reason) == (None, "deadline")


async def test_partial_texts_alone_are_no_answer_at_the_deadline(stage: Stage) -> None:
    it = stage("majority", ["a", "a", "a", "a"], ranks=[0, 0, 0, 0])
    it.adjust(deadline_passed=lambda: False)
    it.generation.deadline_after = 0
    outcome = await it.play()
    assert (outcome.answer, outcome.winner, outcome.text) == (None, None, "")
    assert outcome.stop_reason == "deadline"


async def test_a_backend_that_overruns_the_deadline_costs_only_its_own_samples(
    stage: Stage,
) -> None:
    """The dispatcher gives up on it: what never ended is booked there, what ended is the answer."""
    it = stage("majority", ["a", "b", "a", "a", "a"], lost_after=1, silent=True)
    it.generation.lost_with = DeadlineExceeded("it did not end")
    outcome = await it.play(whole=False)
    assert [ended.index for ended in outcome.ended] == [0]
    assert (outcome.answer and outcome.answer.text, outcome.stop_reason) == ("a", "deadline")


async def test_an_interrupt_from_outside_keeps_the_votes(stage: Stage) -> None:
    """Ctrl-C cancels the generation behind the strategy's back."""
    stopped = False

    async def before_event() -> None:
        nonlocal stopped
        if it.generation.ends == 2:
            stopped = True
            it.generation.cancel()

    it = stage("majority", [*"abcabcabc"], before_event=before_event)
    it.adjust(deadline_passed=lambda: stopped)
    outcome = await it.play()
    assert it.generation.ends == it.generation.drawn
    assert sorted(outcome.votes) == [("a", 1), ("b", 1)]


async def test_the_observer_sees_draws_deltas_ends_and_votes(stage: Stage) -> None:
    it = stage("majority", ["7"] * 16, wave=2)
    await it.play()
    assert it.notes.drawn == [0, 1, 2, 3]
    assert [delta.text for delta in it.notes.deltas][:2] == ["delta of 0", "delta of 1"]
    assert it.notes.votes[-1] == ((("7", 4),), beta_posterior(4, 0))
    assert it.notes.stopping == []


async def test_an_unknown_stop_rule_draws_nothing(stage: Stage) -> None:
    it = stage("majority", ["7"] * 4, stop_rule="bet")
    with pytest.raises(UnknownNameError, match="'bet'"):
        await it.play()
    assert it.generation.drawn == 0


@pytest.mark.parametrize("ahead", [0.0, 0.4])
async def test_what_is_drawn_ahead_changes_no_answer_and_is_told_apart(
    stage: Stage, ahead: float
) -> None:
    """1,000 random runs: the votes are those of one by one, and all others are ``uncounted``."""
    rng = random.Random(2)
    besides = 0
    for _ in range(1000):
        lines = _random_lines(rng)
        ranks = [rng.random() for _ in lines]
        outcome: Outcome = await stage("majority", lines, ranks=ranks, ahead=ahead).play()
        counted, leaders = _one_by_one(lines)
        assert (outcome.answer and outcome.answer.text) in leaders
        assert sum(count for _, count in outcome.votes) == sum(map(bool, lines[:counted]))
        assert outcome.uncounted == frozenset(range(counted, len(outcome.ended)))
        besides += len(outcome.uncounted)
    assert besides > 1000


async def test_at_the_deadline_what_was_drawn_ahead_votes_too(stage: Stage) -> None:
    lines = ["a", "b", "b", "b"]
    run = stage("majority", lines, ranks=[9, 0, 1, 2], deadline_after=3, ahead=0.0)
    outcome: Outcome = await run.play()
    assert (outcome.votes, outcome.uncounted) == ((("b", 3),), frozenset())
