"""Allowances per window: never exceeded in any window, and used nearly whole."""

from __future__ import annotations

import math
import multiprocessing
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.dispatch.limiter import Limiter, Refused, Reservation
from tt_compute.dispatch.shared_window import SharedUse, SharedWindow
from tt_compute.dispatch.spend import Cap
from tt_compute.dispatch.window import SLOTS, Window
from tt_compute.dispatch_setup import SharedLimiters
from tt_compute.errors import SpendCapReached, StoreError
from tt_compute.types import RateLimit

STEPS = st.lists(st.tuples(st.floats(0, 30), st.floats(0.1, 40)), min_size=1, max_size=60)


def most_in_any_window(taken: list[tuple[float, float]], window_s: float) -> float:
    """By brute force: the largest sum over a window that ends with one of the takings."""
    return max(sum(cost for at, cost in taken if end - window_s < at <= end) for end, _ in taken)


@given(STEPS)
def test_no_window_holds_more_than_the_allowance(steps: list[tuple[float, float]]) -> None:
    window, now = Window(100, 60), 0.0
    taken: list[tuple[float, float]] = []
    for pause_s, cost in steps:
        now += pause_s
        if window.wait_s(cost, now) == 0:
            window.take(cost, now)
            taken.append((now, cost))
    if taken:
        assert most_in_any_window(taken, 60) <= 100 + 1e-9


@given(STEPS)
def test_after_the_wait_that_it_names_it_takes(steps: list[tuple[float, float]]) -> None:
    window, now = Window(100, 60), 0.0
    for pause_s, cost in steps:
        now += pause_s
        wait_s = window.wait_s(cost, now)
        now += wait_s
        assert window.wait_s(cost, now + 1e-6) == 0
        window.take(cost, now)


def test_one_who_sends_whenever_it_may_uses_nearly_all_of_it() -> None:
    """Over ten windows at least 93 %; a bucket that refills could not, and forbid a burst beyond it."""
    window, now, sent = Window(1000, 60), 0.0, 0
    while now < 600:
        wait_s = window.wait_s(1, now)
        if wait_s:
            now += wait_s
        else:
            window.take(1, now)
            sent += 1
    assert sent >= 0.93 * 10_000


def test_the_whole_allowance_may_go_at_once() -> None:
    window = Window(30, 60)
    for _ in range(30):
        assert window.wait_s(1, 5.0) == 0
        window.take(1, 5.0)
    assert 60 - 60 / SLOTS <= window.wait_s(1, 5.0) <= 60 + 60 / SLOTS


def test_what_was_not_used_is_free_again_and_what_was_used_beyond_counts() -> None:
    window = Window(100, 60)
    slot = window.take(80, 0.0)
    window.settle(slot, 80, 30, 1.0)
    assert window.used(1.0) == 30
    window.settle(slot, 30, 95, 2.0)
    assert window.used(2.0) == 95


def test_what_is_settled_after_its_window_gives_nothing_back() -> None:
    window = Window(100, 60)
    slot = window.take(80, 0.0)
    window.take(10, 100.0)
    window.settle(slot, 80, 0, 101.0)
    assert window.used(101.0) == 10


def test_a_request_beyond_the_whole_allowance_never_goes() -> None:
    assert math.isinf(Window(100, 60).wait_s(101, 0.0))


def test_the_service_knows_better() -> None:
    """What others used counts; its limit takes the place of the profile's; at 0 left it waits for the reset."""
    window = Window(100, 60)
    window.observe(0.0, limit=50, remaining=10, reset_s=20)
    assert (window.amount, window.used(0.0)) == (50, 40)
    window.observe(1.0, limit=50, remaining=0, reset_s=90)
    assert window.wait_s(1, 1.0) >= 90 - 1e-9


def test_what_the_service_says_never_loosens_what_we_know_we_took() -> None:
    window = Window(100, 60)
    window.take(60, 0.0)
    window.observe(0.5, limit=100, remaining=95, reset_s=1)
    assert window.used(0.5) == 60


def limiter(**amounts: float) -> Limiter:
    return Limiter(
        {
            ("requests", 60.0): Window(amounts["requests"], 60),
            ("tokens", 60.0): Window(amounts["tokens"], 60),
        }
    )


def test_a_refused_reservation_takes_from_no_window() -> None:
    both = limiter(requests=10, tokens=100)
    assert isinstance(both.reserve(90, 0.0), Reservation)
    refused = both.reserve(20, 0.0)
    assert isinstance(refused, Refused)
    assert refused.axis == "tokens"
    assert all(isinstance(both.reserve(0, 0.0), Reservation) for _ in range(9))
    last = both.reserve(0, 0.0)
    assert isinstance(last, Refused)
    assert last.axis == "requests"


def test_settling_gives_back_tokens_and_unsent_requests() -> None:
    both = limiter(requests=1, tokens=100)
    made = both.reserve(100, 0.0)
    assert isinstance(made, Reservation)
    both.settle(made, tokens=10, sent=False, now=0.0)
    assert isinstance(both.reserve(90, 0.0), Reservation)


def test_a_limit_that_no_profile_names_is_learnt_from_the_service() -> None:
    empty = Limiter({})
    assert isinstance(empty.reserve(1e9, 0.0), Reservation)
    empty.observe([RateLimit(axis="requests", window_s=60, limit=5, remaining=0, reset_s=30)], 0.0)
    refused = empty.reserve(1, 0.0)
    assert isinstance(refused, Refused)
    assert refused.wait_s >= 30


def test_of_a_limit_that_nobody_stated_the_service_keeps_the_count() -> None:
    """Ours may be over the wrong window, and must not shut out a service that has plenty left."""
    empty = Limiter({})
    plenty = RateLimit(axis="requests", window_s=86400, limit=100, remaining=90)
    for second in range(500):
        assert isinstance(empty.reserve(1, float(second)), Reservation)
        empty.observe([plenty], float(second))
    little = RateLimit(axis="requests", window_s=86400, limit=100, remaining=0, reset_s=30)
    empty.observe([little], 500.0)
    assert isinstance(empty.reserve(1, 500.0), Refused)


# --- shared between processes ------------------------------------------------------------------------


WINDOWS: dict[str, SharedWindow] = {}


def spend(file: str, now: float) -> int:
    """One process at one moment: it takes whatever it may; how much that was."""
    window = WINDOWS.setdefault(
        file, SharedWindow(200, 60, use=SharedUse(Path(file)), name="account")
    )
    taken = 0
    while window.wait_s(1, now) == 0:
        window.take(1, now)
        taken += 1
    return taken


def test_four_processes_share_one_allowance(tmp_path: Path) -> None:
    """Together they pass it in no window, and use at least 93 % of it over five. Their clock is the same one."""
    file = str(tmp_path / "limits.sqlite3")
    taken: list[tuple[float, float]] = []
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for second in range(300):
            now = 1000.0 + second
            waits = [pool.apply_async(spend, (file, now)) for _ in range(4)]
            taken += [(now, wait.get()) for wait in waits]
    assert most_in_any_window(taken, 60) <= 200
    assert sum(number for _, number in taken) >= 0.93 * 5 * 200


def test_where_the_file_is_no_database_limits_hold_alone_and_caps_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A request is worth more than a shared count of requests, and less than money."""
    file = tmp_path / "limits.sqlite3"
    file.write_bytes(b"not a database" * 100)
    window = SharedWindow(1, 60, use=SharedUse(file), name="a")
    assert window.wait_s(1, 1000.0) == 0
    window.take(1, 1000.0)
    assert window.wait_s(1, 1000.0) > 0
    assert "this process alone" in caplog.text
    cap = SharedWindow(1, 60, use=SharedUse(file), name="usd", leases=False)
    with pytest.raises(StoreError, match="shared limits") as caught:
        cap.used(1000.0)
    assert caught.value.hint is not None
    with pytest.raises(SpendCapReached, match="cannot be checked"):
        Cap("of 24 hours", 1.0, cap, lambda: 1000.0).reserve(0.1)


def spend_money(file: str, rounds: int) -> int:
    """One process that sets aside a 512th of a dollar whenever it may; how often it could."""
    window = SharedWindow(1.0, 86_400, use=SharedUse(Path(file)), name="usd", leases=False)
    cap, reserved = Cap("of 24 hours", 1.0, window, lambda: 1000.0), 0
    for _ in range(rounds):
        with suppress(SpendCapReached):
            cap.reserve(1 / 512)
            reserved += 1
    return reserved


def test_four_processes_at_once_set_no_more_aside_than_the_cap(tmp_path: Path) -> None:
    """None looks, and takes what another took between its look and its taking."""
    file = str(tmp_path / "limits.sqlite3")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        waits = [pool.apply_async(spend_money, (file, 300)) for _ in range(4)]
        assert sum(wait.get() for wait in waits) == 512


def test_what_was_not_spent_is_free_for_other_processes_once_one_has_ended(tmp_path: Path) -> None:
    """Not only what was set aside: a day is long, and a process that asks once is over in a second."""
    limiters = SharedLimiters(tmp_path / "limits.sqlite3")
    window = limiters.shared("usd", 1.0, 86_400, leases=False)
    cap = Cap("of 24 hours", 1.0, window, lambda: 1000.0)
    cap.settle(cap.reserve(0.9), 0.9, 0.01)
    requests = limiters.window("account", "requests", 86_400, 1000)
    assert requests.wait_s(1, 1000.0) == 0
    requests.take(1, 1000.0)
    limiters.close()
    limiters.close()
    other = SharedLimiters(tmp_path / "limits.sqlite3")
    assert other.shared("usd", 1.0, 86_400, leases=False).used(1000.0) == pytest.approx(0.01)
    assert other.window("account", "requests", 86_400, 1000).used(1000.0) == 1
    other.close()


@given(STEPS)
def test_shared_and_own_windows_agree(steps: list[tuple[float, float]]) -> None:
    """One process alone with the file is refused whatever a window of its own refuses."""
    with tempfile.TemporaryDirectory() as folder:
        use = SharedUse(Path(folder) / "limits.sqlite3")
        shared, own, now = (
            SharedWindow(100, 60, use=use, name="a", leases=False),
            Window(100, 60),
            0.0,
        )
        for pause_s, cost in steps:
            now += pause_s
            allowed = own.wait_s(cost, now) == 0
            assert (shared.wait_s(cost, now) == 0) == allowed
            if allowed:
                own.take(cost, now)
                shared.take(cost, now)
        use.close()
