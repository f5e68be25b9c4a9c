"""The ledger: every token and attempt is booked once, and an unknown price is never 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import ServerError
from tt_compute.profiles.schema import (
    DeploymentProfile,
    DeploymentSpec,
    Fact,
    HardwareProfile,
    ModelProfile,
    Price,
    PricePerMtok,
)
from tt_compute.types import Failed, FinishReason, Sample, Timing, Usage

PER_MTOK = PricePerMtok(
    input=Fact(value=0.5), cached_input=Fact(value=0.25), output=Fact(value=2.0)
)


def spec(price: Price, name: str = "d") -> DeploymentSpec:
    profile = DeploymentProfile(id=name, backend="mock", model="m", hardware="h", price=price)
    return DeploymentSpec(
        deployment=profile, model=ModelProfile(id="m"), hardware=HardwareProfile(id="h")
    )


def sample(reason: FinishReason, usage: Usage, first_token_s: float | None = None) -> Sample:
    timing = Timing(first_token_s=first_token_s, total_s=1.0)
    return Sample(index=0, text="t", finish_reason=reason, usage=usage, timing=timing)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("stop", "length", "cancelled", "deadline", "failed")),
            st.integers(0, 500),
        )
    )
)
def test_every_sample_is_counted_once(ends: list[tuple[str, int]]) -> None:
    ledger = Ledger(0.0)
    for reason, tokens in ends:
        usage = Usage(output_tokens=tokens)
        event = (
            Failed(index=0, error=ServerError("down"), usage=usage)
            if reason == "failed"
            else sample(reason, usage)  # type: ignore[arg-type] # drawn from the literal's values
        )
        ledger.book(spec(Price()), event, drawn_at=0.0, ended_at=1.0)
    wasted = {"cancelled", "deadline", "failed"}
    assert ledger.samples_drawn == len(ends) == len(ledger.attempts)
    assert ledger.samples_failed == sum(reason == "failed" for reason, _ in ends)
    assert ledger.usage.output_tokens == sum(tokens for _, tokens in ends)
    assert ledger.cancelled_tokens == sum(tokens for reason, tokens in ends if reason in wasted)


def test_cost_counts_cached_and_cancelled_tokens() -> None:
    ledger = Ledger(0.0)
    priced = spec(Price(usd_per_mtok=PER_MTOK))
    ledger.book(
        priced, sample("stop", Usage(input_tokens=1000, output_tokens=100)), drawn_at=0, ended_at=1
    )
    ledger.book(
        priced,
        sample("cancelled", Usage(input_tokens=1000, cached_tokens=900, output_tokens=50)),
        drawn_at=0,
        ended_at=1,
    )
    assert ledger.cost_usd(9.0) == pytest.approx((1100 * 0.5 + 900 * 0.25 + 150 * 2.0) / 1e6)


def test_cached_input_without_a_price_is_billed_like_input() -> None:
    ledger = Ledger(0.0)
    price = PricePerMtok(input=Fact(value=0.5), output=Fact(value=2.0))
    usage = Usage(input_tokens=10, cached_tokens=10)
    ledger.book(spec(Price(usd_per_mtok=price)), sample("stop", usage), drawn_at=0, ended_at=1)
    assert ledger.cost_usd(1.0) == pytest.approx(10 * 0.5 / 1e6)


def test_one_unknown_price_makes_the_cost_unknown() -> None:
    ledger = Ledger(0.0)
    known = spec(Price(usd_per_mtok=PER_MTOK), "known")
    ledger.book(known, sample("stop", Usage(output_tokens=10)), drawn_at=0, ended_at=1)
    ledger.book(
        spec(Price(), "unknown"), sample("stop", Usage(output_tokens=1)), drawn_at=0, ended_at=1
    )
    assert ledger.cost_usd(1.0) is None


def test_a_machine_by_the_hour_costs_its_time() -> None:
    ledger = Ledger(0.0)
    ledger.book(
        spec(Price(usd_per_hour=Fact(value=3.6))), sample("stop", Usage()), drawn_at=0, ended_at=1
    )
    assert ledger.cost_usd(2.0) == pytest.approx(0.002)


def test_first_token_counts_from_the_call() -> None:
    """The earliest first token of all samples, the wait before their draw included."""
    ledger = Ledger(started=10.0)
    ledger.book(
        spec(Price()), sample("stop", Usage(), first_token_s=0.5), drawn_at=14.0, ended_at=15.0
    )
    ledger.book(
        spec(Price()), sample("stop", Usage(), first_token_s=0.25), drawn_at=11.0, ended_at=12.0
    )
    assert ledger.first_token_s == pytest.approx(1.25)


def test_a_failed_attempt_has_its_time() -> None:
    ledger = Ledger(0.0)
    ledger.book(spec(Price()), Failed(index=0, error=ServerError("x")), drawn_at=2.0, ended_at=5.0)
    assert [(attempt.status, attempt.latency_s) for attempt in ledger.attempts] == [
        ("ServerError", 3.0)
    ]
