"""The breaker: one probe at a time, a ramp without jumps, and nothing of it for the caller's own faults."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tt_compute.dispatch.breaker import Breaker, error_class
from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    CircuitOpen,
    ConnectionFailed,
    EngineDied,
    ModelNotFound,
    OutOfMemory,
    Overloaded,
    PaymentRequired,
    RateLimitError,
    RequestRefused,
    ServerError,
    Stalled,
)

RNG = random.Random(0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServerError("x"), "server"),
        (EngineDied("x"), "server"),
        (ConnectionFailed("x"), "connection"),
        (Stalled("x"), "stall"),
        (AuthenticationError("x"), "account"),
        (PaymentRequired("x"), "account"),
        (ModelNotFound("x"), "account"),
        (RequestRefused("x"), None),
        (RateLimitError("x"), None),
        (Overloaded("x"), None),
        (OutOfMemory("x"), None),
        (CircuitOpen("x"), None),
        (BackendError("x"), None),
    ],
)
def test_what_an_error_says_of_the_deployment(error: BackendError, kind: str | None) -> None:
    assert error_class(error) == kind


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        assert breaker.admit(now, RNG) == "yes"
        breaker.record(now, ok=False)
    assert breaker.state(now) == "open"
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    assert opened().admit(4.9, RNG) == "no"


def test_half_of_twenty_within_ten_seconds_open_it() -> None:
    breaker = Breaker()
    for call in range(19):
        breaker.record(call * 0.4, ok=call % 2 == 1)
    assert breaker.state(8.0) == "closed"
    breaker.record(8.0, ok=False)
    assert breaker.state(8.0) == "open"


def test_failures_far_apart_do_not_open_it() -> None:
    breaker = Breaker()
    for call in range(40):
        breaker.record(call * 11.0, ok=call % 2 == 1)
    assert breaker.state(440.0) == "closed"


def test_a_refused_key_opens_at_once() -> None:
    breaker = Breaker(at_once=True)
    breaker.record(0.0, ok=False)
    assert breaker.admit(1.0, RNG) == "no"


def test_one_probe_goes_when_the_time_is_over() -> None:
    breaker = opened()
    assert breaker.admit(5.1, RNG) == "probe"
    assert breaker.admit(5.2, RNG) == "no"
    breaker.release()
    assert breaker.admit(5.3, RNG) == "probe"


def test_each_failed_probe_doubles_the_time_up_to_a_minute() -> None:
    breaker, now, spans = opened(), 0.0, list[float]()
    for _ in range(6):
        assert breaker.retry_at is not None
        spans.append(breaker.retry_at - now)
        now = breaker.retry_at
        assert breaker.admit(now, RNG) == "probe"
        breaker.record(now, ok=False, probe=True)
    assert spans == [5, 10, 20, 40, 60, 60]


def test_after_a_good_probe_a_tenth_then_half_then_all_comes_back() -> None:
    breaker, rng = opened(), random.Random(7)
    assert breaker.admit(6.0, rng) == "probe"
    breaker.record(6.0, ok=True, probe=True)
    shares: list[float] = []
    for _ in range(3):
        shares.append(sum(breaker.admit(6.0, rng) == "yes" for _ in range(4000)) / 4000)
        for _ in range(3):
            breaker.record(6.0, ok=True)
    assert shares == pytest.approx([0.1, 0.5, 1.0], abs=0.03)
    assert breaker.state(6.0) == "closed"


def test_a_failure_on_the_way_back_opens_it_again_for_longer() -> None:
    breaker = opened()
    assert breaker.admit(6.0, RNG) == "probe"
    breaker.record(6.0, ok=True, probe=True)
    breaker.record(6.5, ok=False)
    assert breaker.state(6.5) == "open"
    assert breaker.retry_at == pytest.approx(16.5)


def test_a_call_that_began_before_it_opened_does_not_close_it() -> None:
    breaker = opened()
    breaker.record(7.0, ok=True)
    assert breaker.state(7.0) == "half_open"


class Machine(RuleBasedStateMachine):
    """Any calls in any order: never two probes at once, and open times only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.rng = random.Random(3)
        self.now = 0.0
        self.probes = 0
        self.plain = 0
        self.retry_at = 0.0

    @rule(seconds=st.floats(0, 30))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        before = self.breaker.state(self.now)
        admitted = self.breaker.admit(self.now, self.rng)
        if before == "open":
            assert admitted == "no"
        self.probes += admitted == "probe"
        self.plain += admitted == "yes"

    @rule(ok=st.booleans())
    def end_plain(self, ok: bool) -> None:
        if self.plain:
            self.plain -= 1
            self.breaker.record(self.now, ok=ok)

    @rule(ok=st.booleans())
    def end_probe(self, ok: bool) -> None:
        if self.probes:
            self.probes -= 1
            self.breaker.record(self.now, ok=ok, probe=True)

    @rule()
    def give_probe_up(self) -> None:
        if self.probes:
            self.probes -= 1
            self.breaker.release()

    @invariant()
    def at_most_one_probe(self) -> None:
        assert self.probes <= 1

    @invariant()
    def open_time_only_grows(self) -> None:
        if self.breaker.retry_at is not None:
            assert self.breaker.retry_at >= self.retry_at
            self.retry_at = self.breaker.retry_at


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=40)
