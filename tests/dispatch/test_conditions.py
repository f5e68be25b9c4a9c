"""What the dispatcher says of a deployment's present state, and that it asks nobody for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tt_compute.backend import Loadable, Warmable
from tt_compute.conditions import Allowance, Conditions
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.bulkhead import Bulkhead
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.gate import Entry, Gate
from tt_compute.dispatch.ledger import Ledger
from tt_compute.dispatch.limiters import Limiters
from tt_compute.dispatch.shared_window import SharedUse, SharedWindow
from tt_compute.dispatch.spend import Cap, SpendGuard
from tt_compute.dispatch.window import Window
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.dispatch_setup import SharedLimiters
from tt_compute.errors import BackendError, RateLimitError, ServerError
from tt_compute.profiles.schema import Fact, Limits, Price, Speed
from tt_compute.registry import Registry
from tt_compute.testing import VirtualClock, backend_env, deployment_spec
from tt_compute.types import DeploymentSpec, GenerateRequest, Message, RateLimit

pytestmark = pytest.mark.anyio

REQUEST = GenerateRequest(messages=(Message(role="user", content="What is 6 times 7?"),))


def spec_with(limits: Limits | None = None, **options: object) -> DeploymentSpec:
    spec = deployment_spec("mock", options=options)
    deployment = msgspec.structs.replace(
        spec.deployment,
        limits=limits or Limits(),
        speed=Speed(load_s=Fact(value=30.0)),
        price=Price(usd_per_hour=Fact(value=0)),
    )
    return msgspec.structs.replace(spec, deployment=deployment)


def dispatcher_on(
    clock: VirtualClock,
    *,
    settings: DispatchSettings | None = None,
    limiters: Limiters | None = None,
    caps: SpendGuard | None = None,
) -> tuple[Dispatcher, BackendPool]:
    pool = BackendPool(Registry(), backend_env(clock=clock))
    return Dispatcher(pool, clock, settings=settings, limiters=limiters, caps=caps), pool


def allowances(dispatcher: Dispatcher, spec: DeploymentSpec) -> tuple[Allowance, ...]:
    found = dispatcher.conditions(spec).allowances
    assert found is not None
    return found


def enter(gate: Gate, now: float, tokens: float = 10) -> Entry:
    assert gate.bulkhead.try_enter()
    made = gate.enter(tokens, now)
    assert isinstance(made, Entry)
    return made


def fail(gate: Gate, now: float, error: BackendError) -> None:
    gate.end(enter(gate, now), now, tokens=0, error=error)


def test_a_deployment_that_nobody_used_is_in_nobodys_way() -> None:
    dispatcher, _ = dispatcher_on(VirtualClock())
    assert dispatcher.conditions(spec_with()) == Conditions(
        wait_s=0.0,
        allowances=(),
        patience_s=DispatchSettings().max_wait_s,
        live_rows=0,
        queued_rows=0,
        load_s=30.0,
    )


async def test_after_failures_it_says_when_it_is_tried_again() -> None:
    """Five in a row leave it alone for 5 s; from then on it may be tried, and is well after three good probes."""
    clock = VirtualClock()
    dispatcher, _ = dispatcher_on(clock)
    spec, gate = spec_with(), dispatcher.gate(spec_with())
    for _ in range(5):
        assert dispatcher.conditions(spec).retry_in_s is None
        fail(gate, clock.now(), ServerError("down"))
    assert dispatcher.conditions(spec).retry_in_s == 5
    await clock.sleep(2)
    assert dispatcher.conditions(spec).retry_in_s == 3
    await clock.sleep(3)
    assert dispatcher.conditions(spec).retry_in_s == 0


async def test_a_service_that_asks_for_rest_gets_it() -> None:
    clock = VirtualClock()
    dispatcher, _ = dispatcher_on(clock)
    spec = spec_with()
    fail(dispatcher.gate(spec), clock.now(), RateLimitError("slow down", retry_after_s=20))
    await clock.sleep(5)
    assert dispatcher.conditions(spec).wait_s == 15


async def test_a_service_that_says_nothing_is_left_is_left_alone() -> None:
    clock = VirtualClock()
    dispatcher, _ = dispatcher_on(clock)
    spec = spec_with()
    gate = dispatcher.gate(spec)
    said = RateLimit(axis="requests", window_s=60, limit=10, remaining=0, reset_s=12)
    gate.end(enter(gate, 0.0), 0.0, tokens=10, limits=(said,))
    await clock.sleep(2)
    assert dispatcher.conditions(spec).wait_s == 10


async def test_what_is_left_of_a_minute_is_known() -> None:
    """Slots are 60/64 s long and leave the window whole: what was taken at 0 s is free again at 60.9375 s."""
    clock = VirtualClock()
    dispatcher, _ = dispatcher_on(clock)
    spec = spec_with(Limits(requests_per_minute=10, tokens_per_minute=1000))
    gate = dispatcher.gate(spec)
    enter(gate, clock.now(), tokens=300)
    await clock.sleep(30)
    enter(gate, clock.now(), tokens=200)
    requests, tokens = allowances(dispatcher, spec)
    assert requests == Allowance(
        axis="requests",
        amount=10,
        window_s=60,
        left=8,
        frees_from_s=30.9375,
        frees_until_s=60.9375,
    )
    assert (tokens.axis, tokens.left) == ("tokens", 500)
    await clock.sleep(61)
    requests, tokens = allowances(dispatcher, spec)
    assert (requests.left, tokens.left, tokens.frees_until_s) == (10, 1000, 0)


def test_deployments_of_one_account_know_of_each_other() -> None:
    dispatcher, _ = dispatcher_on(VirtualClock())
    first = spec_with(Limits(requests_per_minute=10))
    second = msgspec.structs.replace(
        first, deployment=msgspec.structs.replace(first.deployment, id="second")
    )
    enter(dispatcher.gate(first), 0.0)
    (requests,) = allowances(dispatcher, second)
    assert requests.left == 9


def test_how_long_a_place_is_kept_is_unknown_before_one_was() -> None:
    places = Bulkhead(1, "d")
    assert places.service_s is None
    assert places.try_enter()
    places.leave(None)
    assert places.service_s is None
    assert places.try_enter()
    places.leave(11.0)
    assert places.service_s == pytest.approx(1 + 0.1 * 10)


async def test_rows_are_counted_on_the_short_way_too() -> None:
    """Of a deployment of this machine alone, which needs no place; and no longer once they have ended."""
    clock = VirtualClock()
    dispatcher, pool = dispatcher_on(clock)
    spec = spec_with(latency={"ttft_s": 1.0})
    async with dispatcher.open(spec, REQUEST, Ledger(0.0)) as generation:
        generation.draw(3)
        assert dispatcher.conditions(spec).live_rows == 3
        async for _ in generation:
            break
        assert dispatcher.conditions(spec).live_rows == 2
    assert dispatcher.conditions(spec).live_rows == 0
    await pool.aclose()


async def test_rows_that_hold_or_want_a_place_are_counted() -> None:
    clock = VirtualClock()
    dispatcher, pool = dispatcher_on(clock, caps=SpendGuard((Cap("of this client", 1.0),)))
    spec = spec_with(Limits(max_concurrency=2), latency={"ttft_s": 1.0})
    async with dispatcher.open(spec, REQUEST, Ledger(0.0)) as generation:
        generation.draw(3)
        await clock.sleep(0.5)
        now = dispatcher.conditions(spec)
        assert (now.live_rows, now.queued_rows, now.place_s) == (2, 1, None)
        async for _ in generation:
            pass
        now = dispatcher.conditions(spec)
        assert (now.live_rows, now.queued_rows, now.place_s) == (0, 0, 1.0)
    await pool.aclose()


async def test_a_cold_model_is_known_to_be_cold_until_it_is_warm() -> None:
    clock = VirtualClock()
    dispatcher, pool = dispatcher_on(clock)
    spec = spec_with(latency={"load_s": 30.0})
    assert dispatcher.conditions(spec).loaded is None
    backend = await pool.get(spec)
    assert isinstance(backend, Loadable)
    assert isinstance(backend, Warmable)
    assert dispatcher.conditions(spec).loaded is False
    await dispatcher.warm(spec)
    assert clock.now() == 30
    assert dispatcher.conditions(spec).loaded is True
    await pool.aclose()


def test_the_tightest_cap_counts() -> None:
    clock = VirtualClock()
    day = Cap("of 24 hours", 0.5, Window(0.5, 86_400), clock.now)
    caps = SpendGuard((Cap("of this client", 0.4), day))
    dispatcher, _ = dispatcher_on(clock, caps=caps)
    day.reserve(0.2)
    now = dispatcher.conditions(spec_with())
    assert now.spend_cap == "of 24 hours"
    assert now.spend_left_usd == pytest.approx(0.3)


def test_the_dispatchers_patience_is_part_of_it() -> None:
    dispatcher, _ = dispatcher_on(VirtualClock(), settings=DispatchSettings(max_wait_s=7))
    assert dispatcher.conditions(spec_with()).patience_s == 7


# --- what is shared with other processes ---------------------------------------------------------


@pytest.fixture
def window_of(tmp_path: Path) -> Callable[[], SharedWindow]:
    """Each as another process would have it."""
    file = tmp_path / "limits.sqlite3"
    return lambda: SharedWindow(100, 60, use=SharedUse(file), name="a")


def test_a_look_tells_what_other_processes_took(window_of: Callable[[], SharedWindow]) -> None:
    mine, theirs = window_of(), window_of()
    assert theirs.wait_s(30, 1000.0) == 0
    theirs.take(30, 1000.0)
    assert mine.left(1000.0) == 100
    mine.look(1000.0)
    assert mine.left(1000.0) == 70
    assert mine.left(1061.0) == 100


def test_what_was_taken_ahead_is_left(window_of: Callable[[], SharedWindow]) -> None:
    """A process takes a hundredth at once from the file; what it has not used of that is still its own."""
    window = window_of()
    assert window.wait_s(0.25, 1000.0) == 0
    window.take(0.25, 1000.0)
    assert window.left(1000.0) == pytest.approx(99.75)


def test_without_a_file_a_look_makes_none(tmp_path: Path) -> None:
    file = tmp_path / "limits.sqlite3"
    clock = VirtualClock()
    dispatcher, _ = dispatcher_on(clock, limiters=SharedLimiters(file))
    spec = spec_with(Limits(requests_per_minute=10))
    dispatcher.look([spec])
    (requests,) = allowances(dispatcher, spec)
    assert requests.left == 10
    assert not file.exists()


def test_conditions_read_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "limits.sqlite3"
    limiters = SharedLimiters(file)
    day = Cap("of 24 hours", 1.0, limiters.shared("usd", 1.0, 86_400, leases=False), limiters.now)
    dispatcher, _ = dispatcher_on(VirtualClock(), limiters=limiters, caps=SpendGuard((day,)))
    spec = spec_with(Limits(requests_per_minute=10))
    day.reserve(0.25)
    enter(dispatcher.gate(spec), 0.0)

    def refuse(*_: object) -> None:
        raise AssertionError("a file was used")

    for name in ("used", "take", "add"):
        monkeypatch.setattr(SharedUse, name, refuse)
    now = dispatcher.conditions(spec)
    assert now.spend_left_usd == 0.75
    assert [one.left for one in now.allowances or ()] == [9]
