"""Rows of ``reliability.py`` about many requests: limits, breakers, hedges, overload."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from clouds import dispatcher, request, spec
from reliability_faults import at_once, percentile, sample
from tt_compute.dispatch.breaker import Breaker
from tt_compute.dispatch.shared_window import SharedUse, SharedWindow
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.errors import Overloaded
from tt_compute.profiles.schema import Limits
from tt_compute.types import Failed, Sample
from ttc_servers import ChatServer, Fault, Kind, Script

Row = list[object]

# --- R10 -----------------------------------------------------------------------------------------------

WINDOW_S, AMOUNT, PROCESSES, WINDOWS = 4.0, 400, 4, 4


def send_what_may_go(file: str, until: float) -> list[float]:
    """One process, on the real clock: when it was let through."""
    window = SharedWindow(AMOUNT, WINDOW_S, use=SharedUse(Path(file)), name="account")
    sent: list[float] = []
    while (now := time.time()) < until:
        wait_s = window.wait_s(1, now)
        if wait_s > 0:
            time.sleep(min(wait_s, 0.02))
            continue
        window.take(1, now)
        sent.append(now)
    return sent


async def limits(_runs: int) -> list[Row]:
    """Four processes share a limit and send whenever they may."""
    with tempfile.TemporaryDirectory() as folder:
        file, until = str(Path(folder) / "limits.sqlite3"), time.time() + WINDOW_S * WINDOWS + 1
        with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            jobs = [pool.apply_async(send_what_may_go, (file, until)) for _ in range(PROCESSES)]
            found = [await asyncio.to_thread(job.get) for job in jobs]
    sent = sorted(at for one in found for at in one)
    most, start = 0, 0
    for end, at in enumerate(sent):
        while sent[start] <= at - WINDOW_S:
            start += 1
        most = max(most, end - start + 1)
    span_s = sent[-1] - sent[0]
    # Whole windows that fit: the first one may begin with a full allowance.
    share = len(sent) / (AMOUNT * (1 + span_s // WINDOW_S))
    promise = f"{PROCESSES} processes share {AMOUNT} requests per {WINDOW_S:g} s"
    shown = f"{most} in the fullest window, {share:.1%} of the allowance used"
    return [["R10", promise, "tt_compute", len(sent), shown]]


# --- R11 -----------------------------------------------------------------------------------------------


async def breaker(runs: int) -> list[Row]:
    """A deployment that is dead for a minute, 100 requests a second, on a clock of its own."""
    probes = intervals = 0
    back: list[float] = []
    for seed in range(max(runs // 20, 1)):
        made, rng, now = Breaker(), random.Random(seed), 0.0
        opened_at: float | None = None
        while now < 240:
            alive = now >= 60
            admitted = made.admit(now, rng)
            if admitted == "probe":
                probes += 1
            if admitted != "no":
                made.record(now, ok=alive, probe=admitted == "probe")
            if made.retry_at != opened_at and made.retry_at is not None:
                intervals += 1
            opened_at = made.retry_at
            if alive and made.state(now) == "closed":
                back.append(now - 60)
                break
            now += 0.01
    promise = "a dead deployment: probes an open interval; s until all traffic is back"
    shown = f"{probes / intervals:.2f}; p50 {percentile(back, 0.5):.1f} s, most {max(back):.1f} s (an interval is 60 s at most)"
    return [["R11", promise, "tt_compute", len(back), shown]]


# --- R12 -----------------------------------------------------------------------------------------------


async def hedged(share: float, runs: int) -> str:
    """Latency, and how many were sent twice."""
    took, slow = list[float](), random.Random(4)

    def late(_number: int, _body: dict[str, Any]) -> Fault | None:
        return Fault(kind=Kind.SLOW_HEAD, seconds=0.5) if slow.random() < 0.05 else None

    script = Script(before_head_s=0.02)
    async with (
        ChatServer(faults=late, script=script, keep=False) as one,
        ChatServer(script=script, keep=False) as two,
    ):
        made, pool = dispatcher(DispatchSettings(hedge_share=share))
        patient = Limits(first_token_timeout_s=30)
        first, second = spec("a", one, limits=patient), spec("b", two, limits=patient)

        async def ask(_number: int) -> None:
            started = time.monotonic()
            await sample(made, first, request(5), second)
            took.append(time.monotonic() - started)

        await at_once(runs, 4, ask)
        await pool.aclose()
        made.close()
        twice = two.count / runs
    middle, tail = percentile(took, 0.5) * 1e3, percentile(took, 0.99) * 1e3
    return f"p50 {middle:.0f} ms, p99 {tail:.0f} ms, {twice:.1%} sent twice"


async def hedging(runs: int) -> list[Row]:
    """One in twenty answers of the first deployment is half a second late."""
    promise = "5 % of answers half a second late"
    return [
        ["R12", promise, f"tt_compute, hedge_share {share:g}", runs, await hedged(share, runs)]
        for share in (0.0, 0.1)
    ]


# --- R13 -----------------------------------------------------------------------------------------------

PLACES, SERVICE_TOKENS, CAPACITY_PER_S = 8, 10, 110.0


async def offered(rate_per_s: float, span_s: float) -> tuple[float, list[float]]:
    """Answers/s in time, and how long each refusal took."""
    ended, refused = list[float](), list[float]()
    async with ChatServer(script=Script(per_token_s=0.005), keep=False) as server:
        made, pool = dispatcher()
        target = spec("a", server, limits=Limits(max_concurrency=PLACES))

        async def ask() -> None:
            started = time.monotonic()
            asked = msgspec.structs.replace(request(SERVICE_TOKENS), deadline=started + 1.0)
            end = await sample(made, target, asked)
            if isinstance(end, Sample) and end.finish_reason in {"stop", "length"}:
                ended.append(time.monotonic())
            elif isinstance(end, Failed) and isinstance(end.error, Overloaded):
                refused.append(time.monotonic() - started)

        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate_per_s * span_s)):
                group.create_task(ask())
                await asyncio.sleep(max(0.0, begun + number / rate_per_s - time.monotonic()))
        goodput = len(ended) / (max(ended) - begun)
        await pool.aclose()
        made.close()
    return goodput, refused


async def overload(_runs: int) -> list[Row]:
    """Ten times what the deployment can serve arrives for three seconds."""
    peak, _ = await offered(CAPACITY_PER_S, 3.0)
    over, refused = await offered(10 * CAPACITY_PER_S, 3.0)
    promise = "goodput at ten times the capacity, deadline 1 s"
    quick = percentile(refused, 0.5) * 1e3 if refused else 0.0
    shown = (
        f"{over / peak:.0%} of the peak's {peak:.0f}/s; {len(refused)} refused, p50 {quick:.1f} ms"
    )
    return [["R13", promise, "tt_compute", int(10 * CAPACITY_PER_S * 3), shown]]
