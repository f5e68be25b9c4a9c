"""One deployment fails, another answers; when all fail, the pupil hears so and pays for what was drawn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from homework_desk import Desk, DeskClosed
from mocks import BIG, QUESTION
from tt_compute.testing import Faults, assert_fell_back, assert_no_fallback, assert_samples

MakeDesk = Callable[..., Desk]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rate_limit", "RateLimitError"),
        ("server_error", "ServerError"),
        ("connection", "ConnectionFailed"),
        ("authentication", "AuthenticationError"),
        ("payment_required", "PaymentRequired"),
        ("stall", "Stalled"),
    ],
)
def test_another_deployment_answers(desk: Desk, ttc_faults: Faults, fault: str, error: str) -> None:
    ttc_faults(fault, deployment=BIG)
    result = desk.ask("ann", QUESTION)
    assert result.answer == "160"
    assert_fell_back(result, source=BIG, because=error)


def test_a_slip_of_a_service_is_tried_again_there(desk: Desk, ttc_faults: Faults) -> None:
    ttc_faults("server_error", deployment=BIG, requests=[0])
    result = desk.ask("ann", QUESTION)
    assert_samples(result, drawn=1, failed=0)
    assert result.answer == "160"


def test_where_nobody_answers_the_desk_is_closed(desk: Desk, ttc_faults: Faults) -> None:
    ttc_faults("server_error")
    with pytest.raises(DeskClosed, match="nobody answers"):
        desk.answer("ann", QUESTION)


def test_a_cut_answer_is_paid_for(make_desk: MakeDesk, ttc_faults: Faults) -> None:
    desk = make_desk()
    ttc_faults("connection", after_tokens=10)
    before = desk.allowance.left_usd("ann")
    with pytest.raises(DeskClosed):
        desk.answer("ann", QUESTION)
    assert desk.allowance.left_usd("ann") < before


def test_a_private_question_falls_back_to_no_cloud(desk: Desk, ttc_faults: Faults) -> None:
    ttc_faults("server_error", rate=0.5, seed=1)
    assert_no_fallback(desk.ask("ann", QUESTION, private=True))
