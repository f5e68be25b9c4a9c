"""Samples over several deployments, on real sockets: whatever one server does, no sample is lost or told twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest

from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.spend import Cap, SpendGuard
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.errors import (
    AuthenticationError,
    CircuitOpen,
    RateLimitError,
    RequestRefused,
    SpendCapReached,
    Stalled,
    UsageError,
)
from tt_compute.profiles.schema import Fact, Limits
from tt_compute.types import (
    Delta,
    Event,
    Failed,
    GenerateRequest,
    Message,
    Sample,
    SamplingParams,
)
from ttc_servers import ChatServer, Fault, Kind, Script
from ttc_servers.faults import Choose, by_rate, scripted

pytestmark = pytest.mark.anyio

REQUEST = GenerateRequest(
    messages=(Message(role="user", content="hello there"),), sampling=SamplingParams(max_tokens=12)
)
QUICK = Limits(first_token_timeout_s=0.2, stall_timeout_s=0.2)
ALWAYS_DOWN = by_rate(Fault(kind=Kind.STATUS, status=500), 1.0, 0)


class Ran(msgspec.Struct, kw_only=True):
    """A run and its account."""

    events: list[Event]
    ledger: Ledger
    first: ChatServer
    second: ChatServer
    took_s: float

    @property
    def ends(self) -> dict[int, Sample | Failed]:
        return {event.index: event for event in self.events if not isinstance(event, Delta)}

    def error(self, index: int = 0) -> Any:
        end = self.ends[index]
        assert isinstance(end, Failed), end
        return end.error


@pytest.fixture
def run(spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any]) -> Callable[..., Any]:
    """Draws ``n`` samples at a server that goes wrong as told, with another one to go to."""

    async def go(
        faults: Choose | None = None,
        *,
        n: int = 1,
        request: GenerateRequest = REQUEST,
        within_s: float | None = None,
        alone: bool = False,
        script: Script | None = None,
        second_faults: Choose | None = None,
        limits: Limits = QUICK,
        settings: DispatchSettings | None = None,
        caps: SpendGuard | None = None,
        max_usd: float | None = None,
        options: dict[str, object] | None = None,
    ) -> Ran:
        async with (
            ChatServer(faults=faults, script=script) as first,
            ChatServer(faults=second_faults, script=script) as second,
        ):
            dispatcher, pool = dispatcher_of(settings, caps)
            ledger, started = Ledger(time.monotonic()), time.monotonic()
            if within_s is not None:
                request = msgspec.structs.replace(request, deadline=started + within_s)
            others = () if alone else (spec_of("b", second, limits=limits, options=options),)
            try:
                async with dispatcher.open(
                    spec_of("a", first, limits=limits, options=options),
                    request,
                    ledger,
                    alternates=others,
                    cap=None if max_usd is None else Cap("of this request", max_usd),
                ) as generation:
                    generation.draw(n)
                    events = [event async for event in generation]
            finally:
                await pool.aclose()
            return Ran(
                events=events,
                ledger=ledger,
                first=first,
                second=second,
                took_s=time.monotonic() - started,
            )

    return go


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until it is so."""
    with anyio.fail_after(5):
        while not condition():
            await anyio.lowlevel.checkpoint()


SERVED_ELSEWHERE = [
    Kind.RESET_BEFORE_HEAD,
    Kind.RESET_AFTER_HEAD,
    Kind.SILENT,
    Kind.STALL,
    Kind.CUT,
    Kind.NO_FINISH,
    Kind.MALFORMED,
    Kind.ERROR_IN_200,
    Kind.EMPTY_OBJECT,
    Kind.STATUS,
    Kind.HTML,
    Kind.ENDLESS_LINE,
    Kind.GZIP,
    Kind.REDIRECT,
    Kind.ERROR_EVENT,
]


@pytest.mark.parametrize("kind", SERVED_ELSEWHERE)
async def test_a_sample_that_goes_wrong_is_drawn_again_elsewhere(
    run: Callable[..., Any], kind: Kind
) -> None:
    """And every one of the wave ends whole, once, with both attempts on the account."""
    ran = await run(scripted([Fault(kind=kind, status=502)]), n=3)
    assert sorted(ran.ends) == [0, 1, 2]
    assert [end.finish_reason for end in ran.ends.values()] == ["length"] * 3
    assert (ran.ledger.samples_finished, ran.ledger.samples_failed) == (3, 0)
    assert sorted(one.outcome for one in ran.ledger.attempts) == ["failed", "ok", "ok", "ok"]
    assert (ran.first.count, ran.second.count) == (3, 1)
    assert sorted(ran.ledger.served_by.values()) == ["a", "a", "b"]


@pytest.mark.parametrize("kind", [Kind.NO_DONE, Kind.WRONG_USAGE, Kind.NO_USAGE, Kind.DUPLICATE])
async def test_what_does_no_harm_to_the_sample_is_borne(
    run: Callable[..., Any], kind: Kind
) -> None:
    """A text that a service counts as nothing is booked as an upper bound, never as 0."""
    ran = await run(scripted([Fault(kind=kind)]))
    assert ran.ends[0].finish_reason == "length"
    assert ran.second.count == 0
    assert ran.ledger.usage.output_tokens >= 12


async def test_a_whole_deployment_down_costs_no_sample(run: Callable[..., Any]) -> None:
    ran = await run(ALWAYS_DOWN, n=16)
    assert [end.finish_reason for end in ran.ends.values()] == ["length"] * 16
    assert ran.second.count == 16


async def test_with_all_down_a_fan_out_is_not_a_storm(run: Callable[..., Any]) -> None:
    """Each sample once at each deployment, and a tenth more."""
    ran = await run(ALWAYS_DOWN, n=20, second_faults=ALWAYS_DOWN)
    assert all(isinstance(end, Failed) for end in ran.ends.values())
    assert ran.first.count + ran.second.count <= 2 * 20 + 2


async def test_once_it_is_known_to_be_down_nothing_is_sent(
    spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any]
) -> None:
    """A hundred requests one after the other make at most a tenth more calls, and soon none."""
    async with ChatServer(faults=ALWAYS_DOWN) as server:
        dispatcher, pool = dispatcher_of()
        spec, errors = spec_of("a", server), list[str]()
        for _ in range(100):
            async with dispatcher.open(spec, REQUEST, Ledger(0)) as generation:
                generation.draw()
                errors += [type(end.error).__name__ async for end in generation]
        await pool.aclose()
    assert server.count <= 15
    assert errors[-1] == CircuitOpen.__name__


async def test_a_request_that_is_refused_goes_nowhere_else(run: Callable[..., Any]) -> None:
    ran = await run(scripted([Fault(kind=Kind.STATUS, status=400)]))
    assert isinstance(ran.error(), RequestRefused)
    assert (ran.first.count, ran.second.count) == (1, 0)


async def test_a_refused_key_goes_elsewhere_and_is_not_tried_again(
    run: Callable[..., Any],
) -> None:
    ran = await run(by_rate(Fault(kind=Kind.STATUS, status=401), 1.0, 0), n=2)
    assert [end.finish_reason for end in ran.ends.values()] == ["length"] * 2
    alone = await run(by_rate(Fault(kind=Kind.STATUS, status=401), 1.0, 0), alone=True)
    assert isinstance(alone.error(), AuthenticationError)
    assert alone.first.count == 1


async def test_retry_after_is_kept_to_the_end(run: Callable[..., Any]) -> None:
    """By the sample that was refused and by those drawn after it."""
    ran = await run(
        scripted([Fault(kind=Kind.STATUS, status=429, headers={"retry-after": "0.4"})]), alone=True
    )
    first, second = ran.first.seen
    assert second.at - first.at >= 0.4
    assert ran.ends[0].finish_reason == "length"


@pytest.mark.parametrize("asked", ["90", "1e9"])
async def test_a_retry_after_that_is_too_long_fails_at_once_and_says_so(
    run: Callable[..., Any], asked: str
) -> None:
    ran = await run(
        scripted([Fault(kind=Kind.STATUS, status=429, headers={"retry-after": asked})]), alone=True
    )
    error = ran.error()
    assert isinstance(error, RateLimitError)
    assert error.retry_after_s == float(asked)
    assert ran.first.count == 1


@pytest.mark.parametrize("kind", [Kind.SILENT, Kind.STALL])
async def test_at_the_deadline_every_sample_ends(run: Callable[..., Any], kind: Kind) -> None:
    """With what there is of it, and no attempt after it."""
    ran = await run(by_rate(Fault(kind=kind), 1.0, 0), n=3, within_s=0.15, alone=True)
    assert [end.finish_reason for end in ran.ends.values()] == ["deadline"] * 3
    assert ran.ledger.samples_cancelled == 3
    if kind is Kind.STALL:
        assert all(end.text for end in ran.ends.values())


async def test_half_of_the_time_is_kept_for_the_other_deployment(run: Callable[..., Any]) -> None:
    limits = Limits(first_token_timeout_s=30, stall_timeout_s=30)
    ran = await run(by_rate(Fault(kind=Kind.SILENT), 1.0, 0), within_s=0.6, limits=limits)
    assert ran.ends[0].finish_reason == "length"
    assert ran.ledger.attempts[0].status == Stalled.__name__


async def test_deltas_of_a_sample_drawn_again_start_over(run: Callable[..., Any]) -> None:
    """What was shown is void from the delta that says so; those after it make the sample's text."""
    request = msgspec.structs.replace(REQUEST, deltas="text")
    ran = await run(scripted([Fault(kind=Kind.CUT)]), request=request)
    deltas = [event for event in ran.events if isinstance(event, Delta)]
    restart = next(at for at, delta in enumerate(deltas) if delta.restart)
    assert restart == 3
    assert "".join(delta.text for delta in deltas[restart:]) == ran.ends[0].text


async def test_no_deltas_come_unless_asked_for(run: Callable[..., Any]) -> None:
    ran = await run(n=2)
    assert len(ran.events) == 2


async def test_a_cancelled_sample_is_let_go_upstream(
    spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any]
) -> None:
    """Waiting, unanswered or mid-stream: its connection is closed, its end comes once, its tokens are booked."""
    async with ChatServer(script=Script(per_token_s=0.02)) as server:
        dispatcher, pool = dispatcher_of()
        spec, ledger = spec_of("a", server, limits=Limits(max_concurrency=2)), Ledger(0)
        async with dispatcher.open(spec, REQUEST, ledger) as generation:
            generation.draw(4)
            await until(lambda: any(seen.output_tokens > 2 for seen in server.seen))
            generation.cancel()
            ends = {event.index: event async for event in generation}
        await until(lambda: all(seen.ended != "live" for seen in server.seen))
        await pool.aclose()
    assert [ends[index].finish_reason for index in range(4)] == ["cancelled"] * 4
    assert server.count == 2
    written = sum(seen.output_tokens for seen in server.seen)
    assert 0 < written <= ledger.usage.output_tokens
    assert ledger.usage.estimated


async def test_no_more_attempts_run_at_once_than_the_deployment_allows(
    run: Callable[..., Any],
) -> None:
    ran = await run(
        n=12, alone=True, script=Script(per_token_s=0.002), limits=Limits(max_concurrency=3)
    )
    assert [end.finish_reason for end in ran.ends.values()] == ["length"] * 12
    assert ran.first.max_live == 3


async def test_a_rate_limit_of_ours_sends_what_exceeds_it_elsewhere(
    run: Callable[..., Any],
) -> None:
    ran = await run(n=6, limits=Limits(requests_per_minute=4))
    assert (ran.first.count, ran.second.count) == (4, 2)


async def test_a_limit_that_nobody_can_meet_in_time_is_an_error(run: Callable[..., Any]) -> None:
    ran = await run(n=3, alone=True, limits=Limits(requests_per_minute=2), within_s=5.0)
    errors = [end.error for end in ran.ends.values() if isinstance(end, Failed)]
    assert [type(error) for error in errors] == [RateLimitError]
    assert "2 requests per minute" in errors[0].message


async def test_a_request_that_can_never_fit_says_so(run: Callable[..., Any]) -> None:
    ran = await run(alone=True, limits=Limits(tokens_per_minute=10))
    assert "never fits" in ran.error().message


async def test_a_cap_is_never_passed_and_samples_wait_for_what_others_leave(
    run: Callable[..., Any],
) -> None:
    """Set aside per attempt: 3 prompt and 12 new tokens. The cap holds two at once, and five one after the other."""
    ran = await run(n=5, alone=True, max_usd=0.00020)
    assert ran.ledger.cost_usd(0.0) <= 0.00020
    assert ran.first.max_live <= 7
    finished = [end for end in ran.ends.values() if isinstance(end, Sample)]
    capped = [end for end in ran.ends.values() if isinstance(end, Failed)]
    assert len(finished) >= 4
    assert all(isinstance(end.error, SpendCapReached) for end in capped)


async def test_the_cap_of_a_client_holds_over_its_requests(run: Callable[..., Any]) -> None:
    caps = SpendGuard((Cap("of this client", 0.00005),))
    first = await run(alone=True, caps=caps)
    second = await run(alone=True, caps=caps)
    assert first.ends[0].finish_reason == "length"
    assert isinstance(second.error(), SpendCapReached)
    assert second.first.count == 0


async def test_a_slow_attempt_is_hedged_and_the_loser_let_go(
    spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any]
) -> None:
    """Only before its first token, only elsewhere, and once."""
    slow = by_rate(Fault(kind=Kind.SILENT), 1.0, 0)
    async with ChatServer() as first, ChatServer() as second:
        dispatcher, pool = dispatcher_of(DispatchSettings(hedge_share=0.5))
        ledger = Ledger(0)
        limits = Limits(first_token_timeout_s=30)
        one, other = spec_of("a", first, limits=limits), spec_of("b", second, limits=limits)
        async with dispatcher.open(one, REQUEST, ledger, alternates=(other,)) as generation:
            for _ in range(10):
                generation.draw()
                assert [event.finish_reason async for event in generation] == ["length"]
            first.faults = slow
            generation.draw()
            ends = [event async for event in generation]
        await pool.aclose()
    assert [end.finish_reason for end in ends] == ["length"]
    assert ledger.served_by[10] == "b"
    assert second.count == 1
    assert [one.outcome for one in ledger.attempts].count("cancelled") == 1


async def test_a_deployment_that_cannot_be_opened_leaves_the_others(
    spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any]
) -> None:
    async with ChatServer() as server:
        dispatcher, pool = dispatcher_of()
        keyless = spec_of("a", server)
        auth = msgspec.structs.replace(keyless.deployment.auth, env="NOT_GIVEN")
        keyless = msgspec.structs.replace(
            keyless, deployment=msgspec.structs.replace(keyless.deployment, auth=auth)
        )
        ledger = Ledger(0)
        async with dispatcher.open(
            keyless, REQUEST, ledger, alternates=(spec_of("b", server),)
        ) as generation:
            generation.draw()
            ends = [event.finish_reason async for event in generation]
        with pytest.raises(AuthenticationError):
            async with dispatcher.open(keyless, REQUEST, Ledger(0)):
                pass
        await pool.aclose()
    assert ends == ["length"]
    assert ledger.served_by == {0: "b"}


LONG = GenerateRequest(
    messages=(Message(role="user", content="word " * 3000),), sampling=SamplingParams(max_tokens=6)
)


@pytest.mark.parametrize("cached_usd", [0.1, None])
async def test_the_first_sample_leads_where_the_cache_makes_the_others_cheaper(
    spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any], cached_usd: float | None
) -> None:
    """The others go once it has a token; without a price for cached tokens all go at once."""
    script = Script(before_head_s=0.03, per_token_s=0.01)
    async with ChatServer(script=script) as server:
        dispatcher, pool = dispatcher_of()
        spec = spec_of("a", server)
        per_mtok = msgspec.structs.replace(
            spec.deployment.price.usd_per_mtok, cached_input=Fact(value=cached_usd)
        )
        price = msgspec.structs.replace(spec.deployment.price, usd_per_mtok=per_mtok)
        spec = msgspec.structs.replace(
            spec, deployment=msgspec.structs.replace(spec.deployment, price=price)
        )
        async with dispatcher.open(spec, LONG, Ledger(0)) as generation:
            generation.draw(4)
            ends = [event.finish_reason async for event in generation]
        await pool.aclose()
        first, *others = sorted(seen.at for seen in server.seen)
    assert ends == ["length"] * 4
    assert (min(others) - first >= 0.03) == (cached_usd is not None)


async def test_a_wave_is_one_request_where_the_deployment_says_so(run: Callable[..., Any]) -> None:
    ran = await run(n=5, alone=True, options={"server": "openai", "native_n": True})
    assert [end.finish_reason for end in ran.ends.values()] == ["length"] * 5
    assert ran.first.count == 1
    assert ran.ledger.usage.input_tokens == ran.first.seen[0].prompt_tokens


async def test_a_second_reader_is_refused_and_the_first_is_served(
    spec_of: Callable[..., Any], dispatcher_of: Callable[..., Any]
) -> None:
    """It would wait for ever for events that the other one has taken."""
    async with ChatServer() as first, ChatServer() as second:
        dispatcher, pool = dispatcher_of(None, None)
        ends: list[Event] = []
        refused: list[UsageError] = []
        try:
            async with dispatcher.open(
                spec_of("a", first),
                REQUEST,
                Ledger(time.monotonic()),
                alternates=(spec_of("b", second),),
            ) as generation:

                async def read() -> None:
                    try:
                        ends.extend([event async for event in generation])
                    except UsageError as error:
                        refused.append(error)

                generation.draw()
                with anyio.fail_after(10):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(read)
                        tasks.start_soon(read)
        finally:
            await pool.aclose()
    assert len(refused) == 1
    assert [event.index for event in ends if isinstance(event, Sample)] == [0]
