from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from tt_compute.errors import OutOfMemory, ServerError, UsageError, VerifierError

pytestmark = pytest.mark.anyio

Stage = Callable[..., Any]


async def test_the_highest_score_wins(stage: Stage) -> None:
    outcome = await stage(
        "best_of_n", ["a", "b", "c"], scores={"a": 0.1, "b": 0.9, "c": 0.5}
    ).play()
    assert (outcome.answer.text, outcome.winner, outcome.stop_reason) == ("b", 1, "budget")
    assert [ended.score for ended in outcome.ended] == [0.1, 0.9, 0.5]
    assert outcome.verifier_tokens == 30
    assert (outcome.stop_posterior, outcome.votes, outcome.warnings) == (None, (), ())


@pytest.mark.parametrize("ranks", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
async def test_of_equal_scores_the_lower_index_wins(stage: Stage, ranks: list[int]) -> None:
    scores = {"a": 0.2, "b": 0.5, "c": 0.5}
    outcome = await stage("best_of_n", ["a", "b", "c"], scores=scores, ranks=ranks).play()
    assert outcome.winner == 1


@pytest.mark.parametrize(("answers", "winner"), [([None, "b", "c"], 2), ([None, None], 0)])
async def test_a_sample_without_an_answer_wins_only_where_none_has_one(
    stage: Stage, answers: list[str | None], winner: int
) -> None:
    """However much its words are liked, as they may be by a reward model."""
    outcome = await stage("best_of_n", answers, scores={"": 0.9, "b": 0.1, "c": 0.2}).play()
    assert outcome.winner == winner


async def test_a_verifier_that_likes_a_sample_without_an_answer_has_not_refused_every_one(
    stage: Stage,
) -> None:
    outcome = await stage("best_of_n", [None, "b"], scores={"": 0.9, "b": 0.0}).play()
    assert (outcome.winner, outcome.warnings) == (1, ())


async def test_a_sample_that_the_verifier_accepts_wins_though_no_answer_was_found_in_it(
    stage: Stage,
) -> None:
    outcome = await stage("best_of_n", ["a", None], wave=1, scores={"": 1.0, "a": 0.5}).play()
    assert (outcome.winner, outcome.stop_reason) == (1, "verifier")


async def test_an_accepted_sample_ends_the_run_and_stops_the_rest(stage: Stage) -> None:
    """Samples that end later are read to their end and not judged."""
    it = stage("best_of_n", [*"abcdef"], wave=3, scores={"a": 0.0, "b": 1.0, "c": 1.0})
    outcome = await it.play()
    assert (outcome.answer.text, outcome.stop_reason) == ("b", "verifier")
    reasons = [ended.event.finish_reason for ended in outcome.ended]
    assert reasons[:2] == ["stop", "stop"]
    assert "cancelled" in reasons
    assert it.generation.drawn < 6
    assert it.notes.stopping
    assert all(ended.score is None for ended in outcome.ended if ended.index > 1)


async def test_a_sample_that_beats_the_cancel_is_not_judged(stage: Stage) -> None:
    """It is kept with its own finish reason; the run was over before it."""
    it = stage("best_of_n", ["a", "b", "c"], scores={"a": 1.0, "b": 1.0}, late_cancel=True)
    outcome = await it.play()
    assert outcome.winner == 0
    assert outcome.ended[2].event.finish_reason == "stop"
    assert "c" not in it.verifier.judged


async def test_no_more_than_the_wave_is_live_or_being_judged(stage: Stage) -> None:
    """A slow verifier must not let samples pile up that nobody may need."""
    it = stage("best_of_n", [*"abcdefgh"], wave=2, scores=dict.fromkeys("abcdefgh", 0.0))
    await it.play()
    assert it.generation.most_live == 2
    assert it.verifier.most_judging <= 2
    assert sorted(it.verifier.judged) == [*"abcdefgh"]


async def test_samples_are_judged_several_at_a_time(stage: Stage) -> None:
    async def until_deadline() -> None:
        while it.verifier.judging < 3:
            await anyio.lowlevel.checkpoint()

    it = stage(
        "best_of_n", ["a", "b", "c"], scores={}, slow=[*"abc"], until_deadline=until_deadline
    )
    with anyio.fail_after(5):
        await it.play()
    assert it.verifier.most_judging == 3


async def test_the_verifier_is_given_the_prompt_and_the_answer(stage: Stage) -> None:
    it = stage("best_of_n", ["a!", None], wave=1, scores={"a!": 0.3, "": 0.1})
    await it.play()
    assert it.verifier.asked == [("what?", "a"), ("what?", None)]


async def test_one_at_a_time_draws_nothing_past_the_accepted_one(stage: Stage) -> None:
    it = stage("best_of_n", [*"abcd"], wave=1, scores={"a": 0.0, "b": 0.5, "c": 1.0})
    outcome = await it.play()
    assert it.generation.drawn == 3
    assert outcome.winner == 2


async def test_a_judgement_that_fails_is_a_warning_and_no_verdict(stage: Stage) -> None:
    scores = {"a": VerifierError("it hung"), "b": 0.1}
    outcome = await stage("best_of_n", ["a", "b"], scores=scores).play()
    assert outcome.winner == 1
    assert outcome.ended[0].score is None
    assert outcome.warnings == ("sample 0 could not be judged: it hung",)


async def test_a_score_that_is_no_number_is_no_verdict(stage: Stage) -> None:
    outcome = await stage("best_of_n", ["a", "b"], scores={"a": float("nan"), "b": 0.1}).play()
    assert outcome.winner == 1
    assert "NaN" in outcome.warnings[0]


async def test_when_every_judgement_fails_so_does_the_run(stage: Stage) -> None:
    scores = {"a": VerifierError("it hung", hint="restart it"), "b": VerifierError("it died")}
    with pytest.raises(VerifierError, match="scripted: it hung") as caught:
        await stage("best_of_n", ["a", "b"], scores=scores).play()
    assert caught.value.hint == "restart it"


async def test_without_a_verifier_nothing_is_drawn(stage: Stage) -> None:
    it = stage("best_of_n", ["a"])
    with pytest.raises(UsageError, match="needs a verifier"):
        await it.play()
    assert it.generation.drawn == 0


async def test_a_failed_sample_is_replaced_within_the_budget(stage: Stage) -> None:
    lines = [OutOfMemory("no room"), "a", "b"]
    outcome = await stage("best_of_n", lines, wave=1, scores={"a": 0.1, "b": 0.2}).play()
    assert outcome.winner == 2
    assert outcome.warnings == ("1 of 3 samples failed, the first: no room",)


async def test_when_every_sample_fails_the_first_error_is_raised(stage: Stage) -> None:
    with pytest.raises(OutOfMemory, match="the first"):
        await stage(
            "best_of_n", [OutOfMemory("the first"), OutOfMemory("another")], scores={}
        ).play()


async def test_what_was_judged_survives_a_lost_engine(stage: Stage) -> None:
    it = stage("best_of_n", ["a", "b", "c"], scores={"a": 0.4}, lost_after=1)
    outcome = await it.play()
    assert (outcome.winner, outcome.stop_reason) == (0, "failed")
    assert it.generation.drawn == 3


async def test_a_lost_engine_without_a_sample_is_its_error(stage: Stage) -> None:
    with pytest.raises(ServerError, match="the engine is gone"):
        await stage("best_of_n", ["a", "b"], scores={}, lost_after=0).play()


async def test_the_deadline_returns_the_best_so_far(stage: Stage) -> None:
    scores = {"a": 0.4, "b": 0.6, "c!": 0.9}
    it = stage("best_of_n", ["a", "b", "c!", "d"], wave=1, scores=scores, deadline_after=3)
    outcome = await it.play()
    assert (outcome.answer.text, outcome.stop_reason) == ("b", "deadline")
    assert it.generation.drawn == 3


async def test_a_sample_cut_by_the_deadline_tells_that_time_is_up(stage: Stage) -> None:
    it = stage("best_of_n", ["a", "b!", "c"], wave=1, scores={"a": 0.4, "b!": 1.0})
    it.adjust(deadline_passed=lambda: False)
    it.generation.deadline_after = 1
    outcome = await it.play()
    assert it.generation.drawn == 2
    assert (outcome.winner, outcome.stop_reason) == (0, "deadline")


async def test_a_verifier_that_hangs_does_not_hold_the_deadline(stage: Stage) -> None:
    """No sample is live whose end would tell that time is up."""
    late = anyio.Event()

    async def until_deadline() -> None:
        while not (it.verifier.judged and it.verifier.judging):
            await anyio.lowlevel.checkpoint()
        late.set()

    it = stage(
        "best_of_n", ["a", "b"], scores={"a": 0.4}, slow=["b"], until_deadline=until_deadline
    )
    it.adjust(deadline_passed=late.is_set)
    with anyio.fail_after(5):
        outcome = await it.play()
    assert (outcome.winner, outcome.stop_reason) == (0, "deadline")
    assert it.verifier.judging == 0


async def test_at_the_deadline_an_unjudged_answer_is_better_than_none(stage: Stage) -> None:
    """And says that nobody judged it."""
    late = anyio.Event()

    async def until_deadline() -> None:
        while it.verifier.judging < 2:
            await anyio.lowlevel.checkpoint()
        late.set()

    it = stage("best_of_n", [None, "b"], scores={}, slow=["", "b"], until_deadline=until_deadline)
    it.adjust(deadline_passed=late.is_set)
    with anyio.fail_after(5):
        outcome = await it.play()
    assert (outcome.winner, outcome.stop_reason) == (1, "deadline")
    assert outcome.warnings == ("the deadline passed before a sample was judged",)


async def test_an_unjudged_answer_is_better_than_a_judged_sample_without_one(stage: Stage) -> None:
    """However much that was liked, it is of no use."""
    late = anyio.Event()

    async def until_deadline() -> None:
        while it.verifier.judging < 1 or len(it.verifier.judged) < 1:
            await anyio.lowlevel.checkpoint()
        late.set()

    it = stage(
        "best_of_n", [None, "b"], scores={"": 0.7}, slow=["b"], until_deadline=until_deadline
    )
    it.adjust(deadline_passed=late.is_set)
    with anyio.fail_after(5):
        outcome = await it.play()
    assert (outcome.winner, outcome.stop_reason) == (1, "deadline")
    assert "was not judged" in outcome.warnings[-1]


async def test_a_deadline_that_passed_before_the_start_draws_nothing(stage: Stage) -> None:
    it = stage("best_of_n", ["a"], scores={"a": 1.0}, deadline_after=0)
    outcome = await it.play()
    assert it.generation.drawn == 0
    assert (outcome.winner, outcome.stop_reason) == (None, "deadline")


async def test_a_caller_that_cancels_leaves_no_judge_behind(stage: Stage) -> None:
    it = stage("best_of_n", ["a", "b"], scores={}, slow=["a", "b"])

    async def cancel_when_judging() -> None:
        while it.verifier.judging < 2:
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.play)
            tasks.start_soon(cancel_when_judging)
    assert it.verifier.judging == 0


async def test_a_judged_sample_is_told_of_again_with_its_score(stage: Stage) -> None:
    it = stage("best_of_n", ["a"], scores={"a": 0.3})
    await it.play()
    assert [(ended.index, ended.score) for ended in it.notes.ended] == [(0, None), (0, 0.3)]


async def test_a_sample_that_was_refused_is_handed_back_with_a_warning(stage: Stage) -> None:
    """An answer that the verifier refused must not pass for an accepted one."""
    outcome = await stage("best_of_n", ["a", "b"], scores={"a": 0.0, "b": 0.0}).play()
    assert (outcome.winner, outcome.stop_reason) == (0, "budget")
    assert outcome.warnings == ("scripted refused every sample",)
