"""Quotas, places, waits, caps, and the one decision after a failure."""

from __future__ import annotations

import math
import random
from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.dispatch.backoff import backoff_s
from tt_compute.dispatch.bulkhead import Bulkhead, Waiter
from tt_compute.dispatch.decide import MAX_ATTEMPTS, Standing, decide, first_choice
from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.quota import FanOutQuota, HedgeBudget, RetryBudget
from tt_compute.dispatch.spend import Cap, SpendGuard, cost_usd
from tt_compute.dispatch.window import Window
from tt_compute.errors import (
    AuthenticationError,
    BackendError,
    Overloaded,
    RateLimitError,
    RequestRefused,
    ServerError,
    SpendCapReached,
)
from tt_compute.profiles.schema import Fact, Price, PricePerMtok
from tt_compute.testing import deployment_spec
from tt_compute.types import DeploymentSpec, Sample, Usage

# --- quotas ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "extra"), [(1, 1), (9, 1), (20, 2), (64, 6)])
def test_a_tenth_of_the_samples_may_be_drawn_again_and_always_one(samples: int, extra: int) -> None:
    quota = FanOutQuota()
    quota.grow(samples)
    assert sum(quota.take() for _ in range(100)) == extra


def test_with_everything_down_a_client_makes_a_tenth_more_calls_than_requests() -> None:
    budget, extra = RetryBudget(), 0
    for _ in range(1000):
        budget.on_sample()
        extra += budget.take()
    assert extra <= 0.1 * 1000 + 10


def test_hedges_stay_below_their_share() -> None:
    hedges, sent = HedgeBudget(0.05), 0
    for _ in range(1000):
        hedges.on_attempt()
        sent += hedges.take()
    assert sent <= 0.05 * 1000 + 1
    assert not HedgeBudget(0).take()


# --- places ------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from(["enter", "leave", "give_up"]), max_size=300), st.integers(1, 4))
def test_no_order_of_steps_loses_a_place(steps: list[str], places: int) -> None:
    bulkhead, inside, waiting = Bulkhead(places, "d"), [0], list[Waiter]()

    def granted() -> None:
        inside[0] += 1

    for step in steps:
        if step == "enter":
            if bulkhead.try_enter():
                inside[0] += 1
            else:
                try:
                    waiting.append(bulkhead.enqueue(granted, left_s=None))
                except Overloaded:
                    continue
        elif step == "leave" and inside[0]:
            inside[0] -= 1
            bulkhead.leave()
        elif step == "give_up" and waiting:
            bulkhead.give_up(waiting.pop())
        waiting = [waiter for waiter in waiting if waiter.active]
        assert bulkhead.taken == inside[0] <= places
        assert not waiting or inside[0] == places


def test_the_newest_waiter_is_first() -> None:
    bulkhead, order = Bulkhead(1, "d"), list[str]()
    assert bulkhead.try_enter()
    bulkhead.enqueue(lambda: order.append("old"), left_s=None)
    bulkhead.enqueue(lambda: order.append("new"), left_s=None)
    bulkhead.leave()
    bulkhead.leave()
    assert order == ["new", "old"]


def test_one_whose_time_is_shorter_than_the_queue_is_refused_at_once() -> None:
    bulkhead = Bulkhead(1, "d")
    bulkhead.try_enter()
    bulkhead.leave(4.0)
    bulkhead.try_enter()
    with pytest.raises(Overloaded) as caught:
        bulkhead.enqueue(lambda: None, left_s=0.5)
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s > 0.5


def test_a_full_queue_refuses() -> None:
    bulkhead = Bulkhead(1, "d")
    bulkhead.try_enter()
    for _ in range(32):
        bulkhead.enqueue(lambda: None, left_s=None)
    with pytest.raises(Overloaded, match="queue is full"):
        bulkhead.enqueue(lambda: None, left_s=None)


# --- waits and decisions -------------------------------------------------------------------------------


@given(st.floats(0, 1e6), st.integers(0, 2000), st.integers())
def test_retry_after_is_never_undercut(asked_s: float, attempt: int, seed: int) -> None:
    error = RateLimitError("x", retry_after_s=asked_s)
    assert backoff_s(error, attempt, random.Random(seed)) >= asked_s


@pytest.mark.parametrize("asked_s", [None, -1.0, math.nan, math.inf])
def test_what_is_no_time_to_wait_is_jitter_of_ours(asked_s: float | None) -> None:
    error = ServerError("x", retry_after_s=asked_s)
    waits = [backoff_s(error, attempt, random.Random(attempt)) for attempt in range(30)]
    assert all(0 <= wait <= 20 for wait in waits)


def standing(route: int, wait_s: float = 0.0, least_s: float = 0.0) -> Standing:
    return Standing(route=route, wait_s=wait_s, least_s=least_s)


def decided(
    error: BackendError, *others: Standing, attempts: int = 1, left_s: float = math.inf
) -> int | None:
    following = decide(
        error,
        attempts=attempts,
        failed=standing(0),
        others=others,
        left_s=left_s,
        max_wait_s=60,
        rng=random.Random(1),
    )
    return None if following is None else following.route


def test_a_failed_attempt_goes_to_another_deployment_that_is_free() -> None:
    assert decided(ServerError("x"), standing(1, 9.0), standing(2)) == 2


def test_it_comes_back_where_no_other_could_begin_sooner() -> None:
    assert decided(ServerError("x"), standing(1, 30.0)) == 0


def test_a_wrong_key_is_not_tried_again_where_it_was_wrong() -> None:
    assert decided(AuthenticationError("x")) is None
    assert decided(AuthenticationError("x"), standing(1)) == 1


def test_a_refused_request_is_carried_nowhere() -> None:
    assert decided(RequestRefused("x"), standing(1)) is None


def test_a_sample_is_attempted_three_times_at_most() -> None:
    assert decided(ServerError("x"), standing(1), attempts=MAX_ATTEMPTS) is None


@pytest.mark.parametrize(("left_s", "route"), [(100.0, 0), (5.0, None)])
def test_a_wait_beyond_the_deadline_is_not_begun(left_s: float, route: int | None) -> None:
    assert decided(RateLimitError("x", retry_after_s=7.0), left_s=left_s) == route


def test_a_wait_beyond_the_longest_is_not_begun() -> None:
    assert decided(RateLimitError("x", retry_after_s=90.0)) is None


def test_nothing_is_begun_that_cannot_have_a_first_token_in_time() -> None:
    assert decided(ServerError("x"), standing(1, 0.0, least_s=2.0), left_s=1.0) in {0, None}
    assert first_choice([standing(0, 0.0), standing(1)], left_s=1.0) is not None


def test_a_short_wait_as_planned_is_better_than_another_deployment() -> None:
    short = first_choice([standing(0, 0.2), standing(1)], left_s=10)
    long = first_choice([standing(0, 3.0), standing(1)], left_s=10)
    assert (short is not None and short.route, long is not None and long.route) == (0, 1)


# --- caps ----------------------------------------------------------------------------------------------


def priced(usd_input: float | None, usd_output: float | None) -> DeploymentSpec:
    spec = deployment_spec("mock")
    price = Price(
        usd_per_mtok=PricePerMtok(input=Fact(value=usd_input), output=Fact(value=usd_output))
    )
    return msgspec.structs.replace(
        spec, deployment=msgspec.structs.replace(spec.deployment, price=price)
    )


ATTEMPT = Usage(input_tokens=1000, output_tokens=1000)


def test_what_is_under_way_counts_against_the_cap() -> None:
    guard, spec = SpendGuard((Cap("in a test", 0.01),)), priced(1.0, 2.0)
    held = [guard.reserve(spec, ATTEMPT) for _ in range(3)]
    with pytest.raises(SpendCapReached, match=r"0\.01 USD in a test"):
        guard.reserve(spec, ATTEMPT)
    guard.settle(held[0], spec, Usage(input_tokens=10, output_tokens=10))
    guard.reserve(spec, ATTEMPT)


def test_an_attempt_that_passes_one_cap_takes_from_none() -> None:
    wide, narrow = Cap("wide", 1.0), Cap("narrow", 0.001)
    with pytest.raises(SpendCapReached, match="narrow"):
        SpendGuard((wide, narrow)).reserve(priced(1.0, 2.0), ATTEMPT)
    for _ in range(333):
        SpendGuard((wide,)).reserve(priced(1.0, 2.0), ATTEMPT)


def test_no_cap_can_hold_what_nobody_knows_the_price_of() -> None:
    with pytest.raises(SpendCapReached, match="not known"):
        SpendGuard((Cap("x", 1.0),)).reserve(priced(1.0, None), ATTEMPT)


def test_a_cap_of_a_day_is_free_again_after_it() -> None:
    clock = [0.0]
    guard = SpendGuard((Cap("of a day", 0.003, Window(0.003, 86_400), lambda: clock[0]),))
    guard.reserve(priced(1.0, 2.0), ATTEMPT)
    with pytest.raises(SpendCapReached):
        guard.reserve(priced(1.0, 2.0), ATTEMPT)
    clock[0] = 90_000.0
    guard.reserve(priced(1.0, 2.0), ATTEMPT)


def test_cached_tokens_cost_their_own_price_or_that_of_input() -> None:
    spec = priced(1.0, 2.0)
    usage = Usage(input_tokens=1_000_000, cached_tokens=500_000, output_tokens=0)
    assert cost_usd(spec, usage) == pytest.approx(1.0)
    price = Price(usd_per_mtok=PricePerMtok(input=Fact(value=1.0), cached_input=Fact(value=0.5)))
    cheaper = msgspec.structs.replace(
        spec, deployment=msgspec.structs.replace(spec.deployment, price=price)
    )
    assert cost_usd(cheaper, usage) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("as_of", "known"), [("2026-11-01", True), ("2026-01-01", False), (None, True)]
)
def test_a_price_that_is_too_old_makes_the_cost_unknown_with_a_warning(
    as_of: str | None, known: bool
) -> None:
    fact = Fact(value=1.0, as_of=as_of)
    price = Price(usd_per_mtok=PricePerMtok(input=fact, output=fact))
    spec = deployment_spec("mock")
    spec = msgspec.structs.replace(
        spec, deployment=msgspec.structs.replace(spec.deployment, price=price)
    )
    ledger = Ledger(0.0, today=date(2026, 11, 26))
    ledger.book(
        spec, Sample(index=0, text="", finish_reason="stop", usage=ATTEMPT), drawn_at=0, ended_at=1
    )
    assert (ledger.cost_usd(1.0) is not None) == known
    assert (ledger.price_warnings() == ()) == known


def test_an_unknown_price_is_told() -> None:
    ledger = Ledger(0.0)
    ended = Sample(index=0, text="", finish_reason="stop", usage=ATTEMPT)
    ledger.book(priced(1.0, None), ended, drawn_at=0, ended_at=1)
    assert ledger.cost_usd(1.0) is None
    assert "not known" in ledger.price_warnings()[0]
