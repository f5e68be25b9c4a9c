"""Rows of ``reliability.py`` about single requests: faults, deadlines, cancellation, money, keys."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from clouds import KEY, MESSAGES, dispatcher, request, spec
from tt_compute.config_trust import check_destination
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.ledger import Ledger
from tt_compute.errors import ConfigError, TTComputeError
from tt_compute.profiles.schema import Limits
from tt_compute.profiles.yaml import load_yaml
from tt_compute.types import Delta, DeploymentSpec, Failed, GenerateRequest, Sample
from ttc_servers import ChatServer, Fault, Kind, Script
from ttc_servers.faults import by_rate

Row = list[object]
QUICK = Limits(first_token_timeout_s=0.15, stall_timeout_s=0.15)
DOWN = by_rate(Fault(kind=Kind.STATUS, status=500), 1.0, 0)
PEER_RUNS = 20
"""Of LiteLLM, whose failed request takes seconds."""


async def sample(
    made: Dispatcher,
    target: DeploymentSpec,
    asked: GenerateRequest,
    *others: DeploymentSpec,
    ledger: Ledger | None = None,
) -> Sample | Failed:
    """One sample, however it ends."""
    async with made.open(target, asked, ledger or Ledger(0.0), alternates=others) as generation:
        generation.draw()
        return [event async for event in generation if not isinstance(event, Delta)][-1]


async def at_once(count: int, width: int, work: Callable[[int], Awaitable[None]]) -> None:
    """``work(0)`` to ``work(count - 1)``, ``width`` at a time."""
    numbers = iter(range(count))

    async def take() -> None:
        for number in numbers:
            await work(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(width):
            group.create_task(take())


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def router(*urls: str, **options: Any) -> Any:
    """LiteLLM's, over the servers; None where it is not installed."""
    if not find_spec("litellm"):
        return None
    library: Any = importlib.import_module("litellm")
    library.suppress_debug_info = True
    models = [
        {
            "model_name": "m",
            "litellm_params": {"model": "openai/m", "api_base": url, "api_key": KEY},
        }
        for url in urls
    ]
    return library.Router(model_list=models, **options)


async def ask_router(peer: Any, **options: Any) -> str:
    """``ok`` or the class of its error."""
    try:
        answer = await peer.acompletion(model="m", messages=MESSAGES, max_tokens=12, **options)
        if options.get("stream"):
            texts = [chunk.choices[0].finish_reason async for chunk in answer]
            return "ok" if texts and texts[-1] else "cut"
    except Exception as error:  # noqa: BLE001 - whatever the peer raises is its answer
        return type(error).__name__
    return "ok"


# --- R2 ------------------------------------------------------------------------------------------------


async def amplification(runs: int) -> list[Row]:
    """Everything is down: how many calls a request makes."""
    promise = "all deployments down: calls a request"
    async with (
        ChatServer(faults=DOWN, keep=False) as one,
        ChatServer(faults=DOWN, keep=False) as two,
    ):
        made, pool = dispatcher()
        first, most = spec("a", one), 0
        for _ in range(runs):
            before = one.count + two.count
            await sample(made, first, request(12), spec("b", two))
            most = max(most, one.count + two.count - before)
        mine = (one.count + two.count) / runs
        await pool.aclose()
        made.close()
    rows: list[Row] = [
        ["R2", promise, "tt_compute", runs, f"{mine:.3f} in the mean, {most} at most"]
    ]
    async with (
        ChatServer(faults=DOWN, keep=False) as one,
        ChatServer(faults=DOWN, keep=False) as two,
    ):
        peer = router(one.base_url, two.base_url, num_retries=2)
        if peer is not None:
            for _ in range(PEER_RUNS):
                await ask_router(peer)
            found = (one.count + two.count) / PEER_RUNS
            rows.append(["R2", promise, "LiteLLM Router", PEER_RUNS, f"{found:.2f} in the mean"])
    return rows


# --- R3 ------------------------------------------------------------------------------------------------

SLOW_KINDS = (
    Kind.SILENT, Kind.STALL, Kind.DRIP, Kind.CUT, Kind.STATUS, Kind.RESET_BEFORE_HEAD, Kind.MALFORMED,
    Kind.NO_FINISH, Kind.HTML, Kind.EMPTY_OBJECT,
)  # fmt: skip
DEADLINE_S = 0.3


async def late_under(kind: Kind, runs: int) -> list[float]:
    """Seconds over the deadline of each request; both deployments have the fault."""
    late: list[float] = []
    fault = by_rate(Fault(kind=kind, seconds=0.05), 1.0, 0)
    async with (
        ChatServer(faults=fault, keep=False) as one,
        ChatServer(faults=fault, keep=False) as two,
    ):
        made, pool = dispatcher()
        patient = Limits(first_token_timeout_s=9)
        first, second = spec("a", one, limits=patient), spec("b", two)

        async def ask(_number: int) -> None:
            deadline = time.monotonic() + DEADLINE_S
            asked = msgspec.structs.replace(request(12), deadline=deadline)
            await sample(made, first, asked, second)
            late.append(max(0.0, time.monotonic() - deadline))

        await at_once(runs, 8, ask)
        await pool.aclose()
        made.close()
    return late


async def overshoot(runs: int) -> list[Row]:
    """How long after its deadline a request still runs, whatever the fault."""
    promise = f"seconds over a deadline of {DEADLINE_S} s, {len(SLOW_KINDS)} faults everywhere"
    late: list[float] = []
    for kind in SLOW_KINDS:
        late += await late_under(kind, max(runs // len(SLOW_KINDS), 1))
    shown = f"p50 {percentile(late, 0.5) * 1e3:.1f} ms, p99 {percentile(late, 0.99) * 1e3:.1f} ms, most {max(late) * 1e3:.1f} ms"
    rows: list[Row] = [["R3", promise, "tt_compute", len(late), shown]]
    silent = by_rate(Fault(kind=Kind.SILENT), 1.0, 0)
    async with (
        ChatServer(faults=silent, keep=False) as one,
        ChatServer(faults=silent, keep=False) as two,
    ):
        peer = router(one.base_url, two.base_url, num_retries=2, timeout=DEADLINE_S)
        if peer is not None:
            over: list[float] = []
            for _ in range(5):
                started = time.monotonic()
                await ask_router(peer)
                over.append(time.monotonic() - started - DEADLINE_S)
            rows.append(
                [
                    "R3",
                    "likewise, silent servers, timeout=0.3",
                    "LiteLLM Router",
                    5,
                    f"p50 {percentile(over, 0.5):.1f} s",
                ]
            )
    return rows


# --- R4 ------------------------------------------------------------------------------------------------


class Reluctant:
    """Answers a share of the requests with 429 and a Retry-After, and counts who comes back too soon."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._closed_until = 0.0
        self.too_soon = 0

    def __call__(self, _number: int, _body: dict[str, Any]) -> Fault | None:
        now = time.monotonic()
        if now < self._closed_until:
            self.too_soon += 1
        elif self._random.random() >= 0.2:
            return None
        wait_s = self._random.uniform(0.02, 0.1)
        self._closed_until = max(self._closed_until, now + wait_s)
        headers = {"retry-after-ms": f"{wait_s * 1000:.1f}"}
        return Fault(kind=Kind.STATUS, status=429, headers=headers)


async def retry_after(runs: int) -> list[Row]:
    """One after the other, so that nothing is under way while a 429 comes."""
    promise = "Retry-After undercut"
    rows: list[Row] = []
    reluctant = Reluctant(1)
    async with ChatServer(faults=reluctant, keep=False) as server:
        made, pool = dispatcher()
        for _ in range(runs):
            await sample(made, spec("a", server), request(2))
        await pool.aclose()
        made.close()
        calls = server.count
    rows.append(["R4", promise, "tt_compute", runs, f"{reluctant.too_soon} of {calls} calls"])
    reluctant = Reluctant(1)
    async with ChatServer(faults=reluctant, keep=False) as server:
        peer = router(server.base_url, num_retries=2)
        if peer is not None:
            for _ in range(PEER_RUNS * 2):
                await ask_router(peer)
            found = f"{reluctant.too_soon} of {server.count} calls"
            rows.append(["R4", promise, "LiteLLM Router", PEER_RUNS * 2, found])
    return rows


# --- R5 ------------------------------------------------------------------------------------------------


async def ends_under(kind: Kind, runs: int) -> list[str]:
    """How each sample ended; half of the first deployment's streams have the fault."""
    found: list[str] = []
    fault = by_rate(Fault(kind=kind), 0.5, 3)
    async with ChatServer(faults=fault, keep=False) as one, ChatServer(keep=False) as two:
        made, pool = dispatcher()
        first, second = spec("a", one, limits=QUICK), spec("b", two, limits=QUICK)

        async def ask(_number: int) -> None:
            end = await sample(made, first, request(12), second)
            whole = isinstance(end, Sample) and len(end.text.split()) == 12
            found.append("raised" if isinstance(end, Failed) else "whole" if whole else "short")

        await at_once(runs, 16, ask)
        await pool.aclose()
        made.close()
    return found


async def cut_streams(runs: int) -> list[Row]:
    """Streams are cut, stall, or end as if they were whole; the second deployment is well."""
    promise = "streams cut or stalled: finished elsewhere / raised / silently short"
    rows: list[Row] = []
    found: list[str] = []
    for kind in (Kind.CUT, Kind.STALL, Kind.NO_FINISH):
        found += await ends_under(kind, runs // 3 + 1)
    ends = {name: found.count(name) for name in ("whole", "raised", "short")}
    shown = f"{ends['whole']} / {ends['raised']} / {ends['short']}"
    rows.append(["R5", promise, "tt_compute", sum(ends.values()), shown])
    fault = by_rate(Fault(kind=Kind.CUT), 1.0, 3)
    async with ChatServer(faults=fault, keep=False) as one, ChatServer(keep=False) as two:
        peer = router(one.base_url, two.base_url, num_retries=2)
        if peer is not None:
            found = [await ask_router(peer, stream=True) for _ in range(PEER_RUNS)]
            cut = [end for end in found if end != "ok"]
            shown = f"{found.count('ok')} / {len(cut) - cut.count('cut')} / {cut.count('cut')}"
            rows.append(
                [
                    "R5",
                    f"{promise}; half of the deployments cut",
                    "LiteLLM Router",
                    PEER_RUNS,
                    shown,
                ]
            )
    return rows


# --- R6, R7 --------------------------------------------------------------------------------------------


async def cancelled_upstream(runs: int) -> list[Row]:
    """Cancelled at a random moment: when the server sees it."""
    rng, waits = random.Random(5), list[float]()
    script = Script(before_head_s=0.02, per_token_s=0.01)
    async with ChatServer(script=script) as server:
        made, pool = dispatcher()

        async def ask(_number: int) -> None:
            async with made.open(spec("a", server), request(50), Ledger(0.0)) as generation:
                generation.draw()
                await asyncio.sleep(rng.uniform(0.001, 0.2))
            left[asyncio.current_task()] = time.monotonic()

        left: dict[Any, float] = {}
        for _ in range(max(runs * 10 // 16, 1)):
            server.seen.clear()
            left.clear()
            async with asyncio.TaskGroup() as group:
                for number in range(16):
                    group.create_task(ask(number))
            ended = time.monotonic()
            while any(seen.ended == "live" for seen in server.seen):
                await asyncio.sleep(0.001)
            waits += [(seen.ended_at or ended) - max(left.values()) for seen in server.seen]
        await pool.aclose()
        made.close()
    late = [max(0.0, wait) for wait in waits]
    shown = f"all of them, p99 {percentile(late, 0.99) * 1e3:.1f} ms after"
    return [
        ["R6", "a cancelled sample's connection is closed upstream", "tt_compute", len(late), shown]
    ]


async def pool_after_cancels(runs: int) -> list[Row]:
    """Waves of 64 of which most are cancelled, then requests that must all be served."""
    waves = max(runs * 100 // 56, 1)
    rows: list[Row] = []
    for name in ("openai", "groq", "cerebras"):
        async with ChatServer(name, script=Script(per_token_s=0.0005), keep=False) as server:
            made, pool = dispatcher()
            target = spec("a", server, backend=name)
            await sample(made, target, request(2))
            before, cancelled = open_files(), 0
            for _ in range(waves if name == "openai" else waves // 20):
                async with made.open(target, request(12), Ledger(0.0)) as generation:
                    generation.draw(64)
                    ended = 0
                    async for event in generation:
                        ended += not isinstance(event, Delta)
                        if ended == 8:
                            break
                cancelled += 56
            served = [await sample(made, target, request(2)) for _ in range(10)]
            ok = sum(isinstance(end, Sample) for end in served)
            why = {type(end.error).__name__ for end in served if isinstance(end, Failed)}
            shown = f"{ok} of 10 requests served{f' {why}' if why else ''}; files open {before} -> {open_files()}"
            rows.append(
                [
                    "R7",
                    "after cancelled samples nothing is lost",
                    f"tt_compute, {name}",
                    cancelled,
                    shown,
                ]
            )
            await pool.aclose()
            made.close()
    return rows


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- R9 ------------------------------------------------------------------------------------------------


async def booked_share(runs: int, *, cancels: bool, cut: float) -> float:
    """What was booked over what was billed."""
    booked, rng = list[float](), random.Random(2)
    fault = by_rate(Fault(kind=Kind.CUT, after_tokens=6), cut, 9)
    script = Script(per_token_s=0.002)
    async with (
        ChatServer(faults=fault, script=script) as one,
        ChatServer(script=script) as two,
    ):
        made, pool = dispatcher()
        first, second = spec("a", one), spec("b", two)

        async def ask(number: int) -> None:
            ledger = Ledger(0.0)
            async with made.open(first, request(40), ledger, alternates=(second,)) as generation:
                generation.draw(3)
                if cancels:
                    await asyncio.sleep(rng.uniform(0.0, 0.08))
                    generation.cancel(number % 3)
                async for _ in generation:
                    pass
            booked.append(ledger.cost_usd(0.0) or 0.0)

        await at_once(max(runs // 3, 1), 8, ask)
        while any(seen.ended == "live" for seen in (*one.seen, *two.seen)):
            await asyncio.sleep(0.01)
        await pool.aclose()
        made.close()
        return sum(booked) / sum(bill(seen) for seen in (*one.seen, *two.seen))


async def money(runs: int) -> list[Row]:
    """What is booked beside what the server bills, over finished, cancelled and broken samples."""
    whole = await booked_share(runs, cancels=False, cut=0.0)
    broken = await booked_share(runs, cancels=True, cut=0.1)
    who = "tt_compute"
    return [
        ["R9", "money booked, all samples finished", who, runs, f"{whole:.4f} of the bill"],
        ["R9", "a third cancelled, a tenth cut", who, runs, f"{broken:.4f} of the bill"],
    ]


def bill(seen: Any) -> float:
    return float(seen.prompt_tokens + 2 * seen.output_tokens) / 1e6


# --- S1 to S3 ------------------------------------------------------------------------------------------

HOSTS = (
    "evil.example", "169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "api.groq.com.evil.example",
    "api.groq.com@evil.example", "evil.example#api.groq.com", "evil.example?api.groq.com", "10.0.0.1", "192.168.0.1",
    "metadata.google.internal", "API.GROQ.COM.evil.example", "api-groq.com", "xn--api.groq-com", "evil.example:443",
)  # fmt: skip
HOSTILE_YAML = {
    "alias bomb": "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "merge bomb": "a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
    "depth 100,000": "a: " + "[" * 100_000,
    "duplicate keys": "id: a\nid: b\n",
    "100 MB line": "a: " + "x" * 100_000_000,
    "NUL": "a: \0\n",
    "tag": "a: !!python/object/apply:os.system [id]\n",
}


async def secrets(runs: int) -> list[Row]:
    """Keys in errors of servers that echo them; hosts that a found config may not name; hostile YAML."""
    rows: list[Row] = []
    async with ChatServer(key=None, faults=DOWN, keep=False) as server:
        made, pool = dispatcher()
        texts: list[str] = []
        for _ in range(min(runs, 100)):
            end = await sample(made, spec("a", server), request(2))
            texts.append(repr(end) + str(getattr(end, "error", "")))
        await pool.aclose()
        made.close()
    leaks = sum(KEY in text for text in texts)
    rows.append(
        [
            "S1",
            "a key that the server echoes, in errors and reprs",
            "tt_compute",
            len(texts),
            f"{leaks} leaks",
        ]
    )
    through = sum(passes(host) for host in HOSTS)
    rows.append(
        [
            "S2",
            "GROQ_API_KEY sent elsewhere by a found config",
            "tt_compute",
            len(HOSTS),
            f"{through} through",
        ]
    )
    times = [refusal_s(text) for text in HOSTILE_YAML.values()]
    rows.append(
        [
            "S3",
            "hostile YAML refused",
            "tt_compute",
            len(times),
            f"all, slowest {max(times) * 1e3:.0f} ms",
        ]
    )
    return rows


def passes(host: str) -> bool:
    target = spec("a", f"https://{host}/v1")
    auth = msgspec.structs.replace(target.deployment.auth, env="GROQ_API_KEY")
    target = msgspec.structs.replace(
        target, deployment=msgspec.structs.replace(target.deployment, auth=auth)
    )
    try:
        check_destination(target)
    except ConfigError:
        return False
    return True


def refusal_s(text: str) -> float:
    file = Path(os.environ.get("TMPDIR", "/tmp")) / f"hostile-{os.getpid()}.yaml"  # noqa: S108 - its own name, removed at once
    file.write_text(text, encoding="utf-8")
    started = time.perf_counter()
    try:
        load_yaml(file)
    except TTComputeError:
        return time.perf_counter() - started
    finally:
        file.unlink()
    raise AssertionError("a hostile file was read")
