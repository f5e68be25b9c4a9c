"""Which deployment answers, by which strategy, and how many samples it takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from homework_desk import Desk
from mocks import ALL, BIG, LOCAL, QUESTION, SILENT, SMALL, SPARE, TORN
from tt_compute.testing import (
    Snapshots,
    assert_cost_at_most,
    assert_no_fallback,
    assert_plan,
    assert_rejected,
    assert_samples,
    assert_stopped_early,
)

MakeDesk = Callable[..., Desk]


def test_an_everyday_question_takes_one_sample_of_the_big_model(desk: Desk) -> None:
    assert_plan(desk.plan(QUESTION), deployment=BIG, strategy="single", why="the least cost")


def test_an_exam_question_takes_a_vote_of_the_small_one(desk: Desk) -> None:
    plan = desk.plan(QUESTION, exam=True)
    assert_plan(plan, deployment=SMALL, strategy="majority", feasible=True, why="the least cost")


def test_the_decision_is_the_one_that_was_reviewed(desk: Desk, ttc_snapshot: Snapshots) -> None:
    """After a change of prices or abilities: pytest --ttc-snapshot=update, and read the difference."""
    ttc_snapshot(desk.plan(QUESTION, exam=True))


def test_a_private_question_stays_on_this_machine(desk: Desk) -> None:
    result = desk.ask("ann", QUESTION, private=True)
    assert_plan(result, deployment=LOCAL, feasible=False)
    assert_no_fallback(result)


@pytest.mark.parametrize("cloud", [SMALL, BIG, SPARE])
def test_no_cloud_is_weighed_for_a_private_question(desk: Desk, cloud: str) -> None:
    assert_rejected(desk.plan(QUESTION, private=True), cloud, why="would leave this machine")


@pytest.mark.ttc_budget(samples=1, usd=0.001)
def test_an_everyday_question_is_cheap(desk: Desk) -> None:
    result = desk.ask("ann", QUESTION)
    assert result.answer == "160"
    assert_cost_at_most(result, desk.rules.max_cost_usd)


@pytest.mark.ttc_budget(samples=4, usd=0.001)
def test_samples_that_agree_end_the_vote(desk: Desk) -> None:
    assert_stopped_early(desk.ask("ann", QUESTION, exam=True), reason="settled")


def test_samples_that_disagree_take_more(make_desk: MakeDesk) -> None:
    torn = make_desk({SMALL: TORN}).ask("ann", QUESTION, exam=True)
    assert_samples(torn, at_least=5)


def test_the_desk_stands_by_what_samples_agree_on(desk: Desk) -> None:
    reply = desk.answer("ann", QUESTION, exam=True)
    assert (reply.answer, reply.sure) == ("160", True)


def test_the_desk_does_not_stand_by_a_torn_vote(make_desk: MakeDesk) -> None:
    assert not make_desk({SMALL: TORN}).answer("ann", QUESTION, exam=True).sure


def test_no_answer_is_nothing_to_stand_by(make_desk: MakeDesk) -> None:
    reply = make_desk(dict.fromkeys(ALL, SILENT)).answer("ann", QUESTION)
    assert (reply.answer, reply.sure) == (None, False)
