"""Services allow so much a minute: the desk waits where that is soon over, and goes elsewhere where it is not."""

from __future__ import annotations

from collections.abc import Callable

from homework_desk import Desk
from mocks import ALL, BIG, QUESTION, RIGHT, SMALL, SPARE
from tt_compute.testing import (
    MockBuilder,
    MockClient,
    VirtualClock,
    assert_fell_back,
    assert_no_fallback,
)

MakeDesk = Callable[..., Desk]
ONE_A_MINUTE = RIGHT | {"limits": {"requests_per_minute": 1}}


def test_the_limit_of_one_service_sends_the_second_question_elsewhere(make_desk: MakeDesk) -> None:
    desk = make_desk({BIG: ONE_A_MINUTE})
    assert_no_fallback(desk.ask("ann", QUESTION))
    assert_fell_back(desk.ask("bob", QUESTION), source=BIG, because="RateLimitError")


def test_a_minute_later_the_service_is_asked_again(
    make_desk: MakeDesk, ttc_clock: VirtualClock
) -> None:
    desk = make_desk({BIG: ONE_A_MINUTE})
    desk.ask("ann", QUESTION)
    ttc_clock.advance(61)
    assert_no_fallback(desk.ask("bob", QUESTION))


def test_a_rush_is_spread_over_the_services(make_desk: MakeDesk) -> None:
    desk = make_desk(dict.fromkeys(ALL, ONE_A_MINUTE))
    results = [desk.ask(pupil, QUESTION) for pupil in ("ann", "bob", "cid")]
    assert {result.samples[0].deployment for result in results} == {BIG, SMALL, SPARE}


def test_where_there_is_one_service_a_short_wait_is_waited(
    ttc_mock: MockBuilder, ttc_client: MockClient, ttc_clock: VirtualClock
) -> None:
    ttc_mock(**RIGHT, faults=[{"kind": "rate_limit", "requests": [0], "retry_after_s": 5}])
    desk = Desk(ttc_client, now=ttc_clock.now)
    assert desk.answer("ann", QUESTION).answer == "160"
    assert 5 <= ttc_clock.now() < 10
