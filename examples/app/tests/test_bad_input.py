"""What is no question is refused, and nobody is asked."""

from __future__ import annotations

import json

import pytest

from homework_desk import Desk
from homework_desk.web import respond
from mocks import QUESTION
from tt_compute.testing import Faults

GOOD = {"pupil": "ann", "question": QUESTION}


@pytest.mark.ttc_budget(samples=0)
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[1]", "no JSON object"),
        ({"question": QUESTION}, "must be texts"),
        ({**GOOD, "question": ["why?"]}, "must be texts"),
        ({**GOOD, "question": "  \n"}, "empty"),
        ({**GOOD, "question": "?" * 5000}, "5000 characters"),
        ({**GOOD, "exam": "yes"}, "true or false"),
        ({**GOOD, "model": "best"}, "unknown: model"),
    ],
)
def test_bad_input_is_refused(desk: Desk, body: bytes | dict[str, object], error: str) -> None:
    response = respond(desk, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert response.status == 400
    assert error in str(response.body["error"])


def test_a_question_is_answered(desk: Desk) -> None:
    response = respond(desk, json.dumps({**GOOD, "exam": True}).encode())
    assert response.status == 200
    assert (response.body["answer"], response.body["sure"]) == ("160", True)


def test_a_spent_allowance_says_when_to_come_again(desk: Desk) -> None:
    desk.allowance.book("ann", 1)
    response = respond(desk, json.dumps(GOOD).encode())
    assert (response.status, response.body["again_in_s"]) == (429, 86_400)


def test_a_closed_desk_says_so(desk: Desk, ttc_faults: Faults) -> None:
    ttc_faults("server_error")
    assert respond(desk, json.dumps(GOOD).encode()).status == 503
