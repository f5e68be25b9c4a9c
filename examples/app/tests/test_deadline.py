"""Twenty seconds, of time that takes none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from homework_desk import Desk, DeskClosed, Rules
from mocks import ALL, BIG, LOCAL, QUESTION, RIGHT, SMALL
from tt_compute.testing import VirtualClock, assert_fell_back, assert_plan

MakeDesk = Callable[..., Desk]
NEVER = RIGHT | {"latency": {"ttft_s": 3600}}


def test_no_answer_comes_later_than_promised(make_desk: MakeDesk, ttc_clock: VirtualClock) -> None:
    desk = make_desk(dict.fromkeys(ALL, NEVER))
    with pytest.raises(DeskClosed):
        desk.answer("ann", QUESTION)
    assert ttc_clock.now() <= 20


def test_a_machine_that_is_too_slow_is_stopped_in_time(
    make_desk: MakeDesk, ttc_clock: VirtualClock
) -> None:
    desk = make_desk({LOCAL: NEVER})
    with pytest.raises(DeskClosed, match="no answer within 20 s"):
        desk.answer("ann", QUESTION, private=True)
    assert ttc_clock.now() == pytest.approx(20)


def test_a_service_without_a_first_token_is_left_in_time(make_desk: MakeDesk) -> None:
    result = make_desk({BIG: NEVER}).ask("ann", QUESTION)
    assert_fell_back(result, source=BIG, because="Stalled")
    assert result.receipt.latency_s < 20


def test_the_samples_that_came_in_time_are_the_answer(make_desk: MakeDesk) -> None:
    late = {"latency": {"ttft_s": {"min": 1, "max": 3}, "tokens_per_s": 0.8}}
    desk = make_desk({SMALL: RIGHT | late})
    result = desk.ask("ann", QUESTION, exam=True)
    assert result.answer == "160"
    assert result.receipt.latency_s <= 20


def test_a_promise_that_no_plan_keeps_is_told(make_desk: MakeDesk) -> None:
    desk = make_desk(rules=Rules(max_latency_s=0.5))
    assert_plan(desk.plan(QUESTION), feasible=False)
    assert any("max_latency_s" in one for one in desk.plan(QUESTION).chosen.violates)  # type: ignore[union-attr]  # there is one
