"""A pupil spends the day's allowance and no more; tomorrow there is a new one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from homework_desk import AllowanceSpent, Desk, Rules
from mocks import ALL, QUESTION, RIGHT
from tt_compute.testing import VirtualClock

MakeDesk = Callable[..., Desk]
DAY_S = 86_400
SMALL_PURSE = Rules(usd_per_day=0.00001)


def test_each_answer_is_paid_for(desk: Desk) -> None:
    before = desk.allowance.left_usd("ann")
    reply = desk.answer("ann", QUESTION)
    assert reply.cost_usd is not None
    assert desk.allowance.left_usd("ann") == pytest.approx(before - reply.cost_usd)


def test_an_allowance_that_is_spent_ends_the_day(make_desk: MakeDesk) -> None:
    desk = make_desk(rules=SMALL_PURSE)
    desk.allowance.book("ann", 0.00001)
    with pytest.raises(AllowanceSpent, match="ann has spent"):
        desk.answer("ann", QUESTION)


def test_one_pupil_does_not_spend_for_another(make_desk: MakeDesk) -> None:
    desk = make_desk()
    desk.allowance.book("ann", 1)
    assert desk.answer("bob", QUESTION).answer == "160"


def test_tomorrow_there_is_a_new_allowance(make_desk: MakeDesk, ttc_clock: VirtualClock) -> None:
    desk = make_desk()
    desk.allowance.book("ann", 1)
    ttc_clock.advance(DAY_S)
    assert desk.answer("ann", QUESTION).answer == "160"


@pytest.mark.ttc_budget(usd=0.001)
def test_no_question_costs_more_than_is_left(make_desk: MakeDesk) -> None:
    """Whatever the models do: long answers are cut off by the cap of the run."""
    desk = make_desk(dict.fromkeys(ALL, RIGHT | {"completion_tokens": 4000}))
    desk.allowance.book("ann", desk.rules.usd_per_day - 0.001)
    desk.ask("ann", QUESTION, exam=True)
