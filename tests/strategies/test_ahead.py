"""Samples that are drawn ahead of need: how likely they are to be needed, and what drawing them changes."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.replay.answers import Question, read_questions
from tt_compute.replay.play import Course, Policy, play
from tt_compute.replay.recording import Recording
from tt_compute.stopping import STOP_RULES, decided, fewest_more, parse_stop_rule, worth_drawing
from tt_compute.stopping.ahead import MOST_FORESEEN, Standing, chances_of_need
from tt_compute.verify.math_process import MathProcess

RULES = ("beta", "beta:0.8", "lead", "agreement", "certain", "sprt")


@cache
def urn(rule: str, counts: tuple[int, ...], abstained: int, budget: int) -> tuple[float, ...]:
    """``chances_of_need`` by all courses of the whole urn, whatever answers overtake others."""
    drawn = sum(counts) + abstained
    if drawn == budget or decided(parse_stop_rule(rule), counts, budget - drawn):
        return ()
    cases = [
        (votes, (*counts[:place], votes + 1, *counts[place + 1 :]), abstained)
        for place, votes in enumerate(counts)
    ]
    cases += [(1, (*counts, 1), abstained), (abstained, counts, abstained + 1)]
    chances = [1.0, *[0.0] * (budget - drawn - 1)]
    for weight, after, silent in cases:
        ordered = tuple(sorted(after, reverse=True))
        for more, chance in enumerate(urn(rule, ordered, silent, budget), 1):
            chances[more] += weight / (drawn + 1) * chance
    return tuple(chances)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("counts", [(), (1,), (1, 1), (2, 1), (3, 2), (2, 1, 1)])
@pytest.mark.parametrize("abstained", [0, 2])
def test_chances_are_those_of_the_urn(rule: str, counts: tuple[int, ...], abstained: int) -> None:
    """But for answers behind the runner-up that catch up, which are few."""
    leader, runner_up, *others = (*counts, 0, 0)
    standing = Standing(leader, runner_up, sum(others), abstained)
    found, wanted = chances_of_need(rule, 9, standing), urn(rule, counts, abstained, 9)
    assert len(found) == len(wanted)
    assert found[:2] == pytest.approx(wanted[:2], abs=1e-9)
    assert found == pytest.approx(wanted, abs=0.12)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("counts", [(), (1,), (2, 1), (3, 3)])
def test_what_is_surely_needed_has_a_chance_of_one(rule: str, counts: tuple[int, ...]) -> None:
    more = fewest_more(parse_stop_rule(rule), counts, 12 - sum(counts))
    assert worth_drawing(rule, counts, 0, 12, 1 - 1e-9) == more


@pytest.mark.parametrize("rule", [*RULES, "dirichlet", "ppr"])
@given(data=st.data())
def test_the_lower_the_chance_the_more_is_worth_drawing(rule: str, data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 4), max_size=4))
    abstained = data.draw(st.integers(0, 3))
    budget = sum(counts) + abstained + data.draw(st.integers(1, 12))
    first, second = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    many = worth_drawing(rule, counts, abstained, budget, first)
    assert 0 <= worth_drawing(rule, counts, abstained, budget, second) <= many
    assert many <= budget - sum(counts) - abstained


def test_nothing_is_foreseen_of_rules_that_see_the_order_nor_far_into_a_large_vote() -> None:
    assert worth_drawing("esc", (), 0, 16, 0.01) == 0
    assert worth_drawing("beta:0.999", (35, 34), 0, 200, 0.01) == 0
    assert 0 < worth_drawing("beta:0.999", (1,), 0, 200, 0.01) < MOST_FORESEEN["top_two"]
    assert worth_drawing("beta", (), 0, 200, 0) == 200


async def _question(answers: list[str | None], tokens: list[int]) -> Question:
    recording = Recording(
        dataset="d",
        question_id="q",
        model="m",
        gold="a",
        samples=tuple(answers),
        tokens=tuple(tokens),
    )
    process = MathProcess(installed=False)
    (question,), _ = await read_questions([recording], "exact", process)
    return question


def played(
    answers: list[str | None], tokens: list[int], rule: str, ahead: float, wave: int
) -> Course:
    async def run() -> Course:
        question = await _question(answers, tokens)
        policy = Policy(
            strategy="majority", stop_rule=rule, budget=len(answers), wave=wave, ahead=ahead
        )
        return await play(question, range(len(answers)), policy)

    return anyio.run(run)


@given(data=st.data())
def test_drawing_ahead_never_changes_the_answer_and_never_takes_longer(data: st.DataObject) -> None:
    """Where the wave has room for all: samples vote in the order of drawing, whenever they were drawn."""
    answers = data.draw(
        st.lists(st.sampled_from(["a", "a", "b", "c", None]), min_size=2, max_size=12)
    )
    tokens = data.draw(st.lists(st.integers(1, 50), min_size=len(answers), max_size=len(answers)))
    rule = data.draw(st.sampled_from(sorted(STOP_RULES)))
    size = len(answers)
    patient = played(answers, tokens, rule, 1.0, size)
    eager = played(answers, tokens, rule, data.draw(st.floats(0, 1)), size)
    assert (eager.right, eager.abstained) == (patient.right, patient.abstained)
    assert eager.steps <= patient.steps
    assert eager.samples >= patient.samples


def test_at_chance_zero_the_whole_budget_is_one_wave() -> None:
    course = played(["a"] * 8, [10, 11, 12, 13, 90, 90, 90, 90], "beta", 0.0, 8)
    assert (course.samples, course.waves, course.steps) == (8, 1, 13)
    assert course.cancelled_tokens == 4 * 13
    assert played(["a"] * 8, [10, 11, 12, 13, 90, 90, 90, 90], "beta", 1.0, 8).samples == 4


def test_the_wave_limits_what_is_drawn_ahead() -> None:
    course = played(["a", "b"] * 8, [10] * 16, "beta", 0.0, 4)
    assert max(rows for rows, _ in course.widths) == 4


def test_samples_needed_are_foreseen_as_often_as_they_are_needed() -> None:
    """Where answers come from the urn itself, a chance of p comes true in p of the cases."""
    rng = random.Random(5)
    told: Counter[int] = Counter()
    came: Counter[int] = Counter()
    for _ in range(4000):
        counts: list[int] = []
        chances = chances_of_need("beta", 10, Standing())
        needed = 0
        while needed < 10 and not decided(parse_stop_rule("beta"), counts, 10 - needed):
            toss = rng.random() * (sum(counts) + 1)
            for place, votes in enumerate(counts):
                toss -= votes
                if toss < 0:
                    counts[place] += 1
                    break
            else:
                counts.append(1)
            needed += 1
        told.update(range(len(chances)))
        came.update(range(needed))
    chances = chances_of_need("beta", 10, Standing())
    for place, chance in enumerate(chances):
        assert came[place] / 4000 == pytest.approx(chance, abs=0.04)
