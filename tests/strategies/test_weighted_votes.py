from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from tt_compute.errors import InvalidRequestError, UsageError, VerifierError
from tt_compute.stopping import certain_by_weight, fewest_until_certain_by_weight
from tt_compute.strategies.base import Outcome
from tt_compute.verify.base import Judgement

pytestmark = pytest.mark.anyio

Stage = Callable[..., Any]


def _sums(
    lines: list[str | None], logprobs: list[float | None], temperature: float
) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for line, logprob in zip(lines, logprobs, strict=True):
        if line is not None and logprob is not None:
            sums[line] += math.exp(logprob / temperature)
    return sums


async def test_the_answer_with_the_largest_sum_of_weights_wins(stage: Stage) -> None:
    """Against brute force, on random votes with abstentions, waves and orders of ends."""
    rng = random.Random(1)
    for _ in range(500):
        lines = [rng.choice(["a", "b", "c", None]) for _ in range(rng.randint(1, 12))]
        logprobs: list[float | None] = [-2 * rng.random() for _ in lines]
        temperature = rng.choice([0.1, 0.5, 1, 4])
        outcome: Outcome = await stage(
            "majority",
            lines,
            logprobs=logprobs,
            weight=f"logprob:{temperature}",
            stop_rule=None,
            wave=rng.choice([1, 3, len(lines)]),
            ranks=[rng.random() for _ in lines],
        ).play()
        sums = _sums(lines, logprobs, temperature)
        best = max(sums, key=sums.__getitem__, default=None)
        assert (outcome.answer and outcome.answer.text) == best
        assert len(outcome.ended) == len(lines)
        assert [answer for answer, _ in outcome.votes] == sorted(
            sums, key=sums.__getitem__, reverse=True
        )


async def test_certain_never_changes_the_answer_and_never_draws_more(stage: Stage) -> None:
    rng = random.Random(2)
    saved = 0
    for _ in range(500):
        lines = [rng.choice(["a", "a", "a", "b", None]) for _ in range(rng.randint(2, 16))]
        script = {
            "logprobs": [-0.6 * rng.random() for _ in lines],
            "ranks": [rng.random() for _ in lines],
            "weight": "logprob",
        }
        whole: Outcome = await stage("majority", lines, stop_rule=None, **script).play()
        early: Outcome = await stage("majority", lines, stop_rule="certain", **script).play()
        assert early.answer == whole.answer
        assert early.stop_reason in ("settled", "budget")
        saved += len(whole.ended) - len(early.ended)
    assert saved > 0


async def test_no_more_than_could_make_it_certain_is_in_flight(stage: Stage) -> None:
    """Of eight at weight 1, five decide; at weight e^-1 none decide before the eighth."""
    sure = stage("majority", ["7"] * 8, logprobs=[0.0] * 8, weight="logprob", stop_rule="certain")
    outcome = await sure.play()
    assert sure.generation.draws == [(0, 5)]
    assert outcome.stop_reason == "settled"
    unsure = stage(
        "majority", ["7"] * 8, logprobs=[-1.0] * 8, weight="logprob", stop_rule="certain"
    )
    assert len((await unsure.play()).ended) == 6


def test_certainty_by_weight_is_that_of_votes_where_all_weigh_one() -> None:
    assert certain_by_weight([3.0, 1.0], 1)
    assert not certain_by_weight([3.0, 1.0], 2)
    assert not certain_by_weight([], 0)
    assert fewest_until_certain_by_weight([], 8) == 5
    assert fewest_until_certain_by_weight([3.0, 1.0], 1) == 0
    for remaining in range(12):
        for ahead in (0.0, 0.4, 1.0, 2.5):
            brute = next(k for k in range(20) if certain_by_weight([ahead + k], remaining - k))
            assert fewest_until_certain_by_weight([ahead], remaining) == brute


async def test_a_sample_whose_confidence_is_unknown_weighs_nothing(stage: Stage) -> None:
    outcome: Outcome = await stage(
        "majority",
        ["a", "a", "b"],
        logprobs=[None, None, -1.0],
        weight="logprob",
        stop_rule=None,
    ).play()
    assert outcome.answer is not None
    assert outcome.answer.text == "b"
    assert outcome.warnings == ("2 of 3 votes weigh nothing: 'logprob' is unknown of them",)


async def test_without_any_confidence_all_votes_count_alike(stage: Stage) -> None:
    outcome: Outcome = await stage(
        "majority", ["a", "b", "a"], weight="tail", stop_rule=None
    ).play()
    assert outcome.votes == (("a", 2), ("b", 1))
    assert outcome.warnings == ("no vote has a weight by 'tail': all counted alike",)


async def test_samples_without_an_answer_are_no_part_of_the_weights(stage: Stage) -> None:
    """Four silent ones between would lift the surest sample's rank above those of the three others together."""
    outcome: Outcome = await stage(
        "majority",
        ["a", None, None, None, None, "b", "b", "b"],
        certainties=[9, 8, 8, 8, 8, 3, 2, 1],
        weight="certainty",
        stop_rule=None,
    ).play()
    assert outcome.votes == (("b", 3), ("a", 1))
    assert outcome.warnings == ()


async def test_equal_sums_are_a_tie_that_the_seed_decides(stage: Stage) -> None:
    found = set[str]()
    for seed in range(20):
        outcome: Outcome = await stage(
            "majority",
            ["a", "b", "a", "b"],
            logprobs=[-0.1, -0.7, -0.7, -0.1],
            weight="logprob",
            stop_rule=None,
            seed=seed,
        ).play()
        assert outcome.answer is not None
        assert outcome.tied == (0, 1)
        assert outcome.votes[0][0] == outcome.answer.text
        found.add(outcome.answer.text)
    assert found == {"a", "b"}


async def test_scores_are_summed_over_the_samples_of_an_answer(stage: Stage) -> None:
    """Weighted best-of-n: the best single sample loses to two good ones."""
    it = stage(
        "majority",
        ["a", "A", "b", None],
        weight="verifier",
        stop_rule=None,
        scores={"a": 0.5, "A": 0.4, "b": 0.8},
    )
    outcome = await it.play()
    assert outcome.answer.key == "a"
    assert outcome.verifier_tokens == 30
    assert [one.score for one in outcome.ended] == [0.5, 0.4, 0.8, None]
    assert sorted(it.verifier.judged) == ["A", "a", "b"]


async def test_a_verifier_that_refuses_everything_leaves_a_plain_vote(stage: Stage) -> None:
    outcome = await stage(
        "majority", ["a", "b", "b"], weight="verifier", stop_rule=None, scores={"a": 0.0, "b": 0.0}
    ).play()
    assert outcome.answer.text == "b"
    assert outcome.warnings == ("no vote has a weight by 'verifier': all counted alike",)


async def test_no_more_are_judged_at_once_than_the_wave_is_wide(stage: Stage) -> None:
    """Though samples end faster than they are judged."""
    released = anyio.Event()
    it = stage("majority", ["a"] * 9, weight="verifier", stop_rule=None, scores={}, wave=3)
    judging: list[int] = []
    most: list[int] = []

    class Patient:
        name = "patient"
        accepts_at = 1.0

        async def judge(self, *_material: object) -> Judgement:
            judging.append(1)
            most.append(len(judging))
            await released.wait()
            judging.pop()
            return Judgement(score=1.0)

    it.adjust(verifier=Patient())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(it.play)
        await anyio.wait_all_tasks_blocked()
        assert it.generation.live == []
        assert max(most) == 3
        released.set()
    assert (max(most), len(most)) == (3, 9)


async def test_what_could_not_be_judged_weighs_nothing_and_is_told(stage: Stage) -> None:
    outcome = await stage(
        "majority", ["a", "a", "b"], weight="verifier", stop_rule=None, scores={"b": 0.1}
    ).play()
    assert outcome.answer.text == "b"
    assert len(outcome.warnings) == 3


async def test_when_every_judgement_fails_so_does_the_vote(stage: Stage) -> None:
    with pytest.raises(VerifierError, match="no sample could be judged"):
        await stage("majority", ["a", "b"], weight="verifier", stop_rule=None, scores={}).play()


async def test_the_deadline_ends_judging_and_what_was_judged_decides(stage: Stage) -> None:
    passed = anyio.Event()
    it = stage(
        "majority",
        ["a", "a", "b"],
        weight="verifier",
        stop_rule=None,
        scores={"b": 1.0, "a": 1.0},
        slow=["a"],
        until_deadline=passed.wait,
    )

    async def pass_on() -> None:
        while it.verifier.judged != ["b"]:
            await anyio.lowlevel.checkpoint()
        passed.set()

    outcomes: list[Outcome] = []

    async def play() -> None:
        outcomes.append(await it.play())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(play)
        tasks.start_soon(pass_on)
    assert outcomes[0].stop_reason == "deadline"
    assert outcomes[0].votes == (("b", 1), ("a", 2))


async def test_after_the_deadline_no_judgement_begins(stage: Stage) -> None:
    """It would have no end; what was cut with a certain answer votes all the same."""
    it = stage(
        "majority",
        ["a!", "b!", "b!"],
        weight="verifier",
        stop_rule=None,
        scores={},
        slow=["a!", "b!"],
        deadline_after=1,
    )
    with anyio.fail_after(5):
        outcome = await it.play()
    assert it.verifier.asked == []
    assert outcome.stop_reason == "deadline"
    assert outcome.votes == (("b", 2), ("a", 1))


async def test_a_rule_that_counts_votes_is_refused(stage: Stage) -> None:
    for rule, weight in (("beta", "logprob"), ("certain", "tail"), ("certain", "verifier")):
        with pytest.raises(InvalidRequestError):
            await stage("majority", ["a"], weight=weight, stop_rule=rule).play()


async def test_weights_of_a_verifier_need_one(stage: Stage) -> None:
    with pytest.raises(UsageError, match="needs a verifier"):
        await stage("majority", ["a"], weight="verifier", stop_rule=None).play()
