"""What a call to a cloud costs on this side: our whole path beside the SDKs, LiteLLM's router and bare aiohttp.

    python benchmarks/wire.py --output docs/figures/wire.md

A server in another process gives one canned answer of 100 tokens at once, so that what is timed is the client.
Our path has limits, breaker, places and ledger on. Rounds are interleaved; each is the median of its calls, and
the table shows the median of rounds. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.metadata
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from clouds import KEY, MESSAGES, dispatcher, request, spec
from report import conditions, markdown, write
from tt_compute.bench.memory import process_tree_bytes
from tt_compute.dispatch.ledger import Ledger
from tt_compute.profiles.schema import Limits
from tt_compute_backends.wire.decode import decode_answer

TOKENS = 100
OURS = "Ours is the whole path: limits, breaker, places, ledger."
CALLS, WARM, WORKERS = 300, 50, 32
SERVERS = Path(__file__).resolve().parents[1] / "tests" / "servers"
SLOW = {"LiteLLM Router"}
"""Peers that run one round: a stream takes them tens of milliseconds."""
Call = Callable[[], Awaitable[object]]
WIDE = Limits(requests_per_minute=1e9, tokens_per_minute=1e12, max_concurrency=256)
ASKED: dict[str, Any] = {"model": "m", "messages": MESSAGES, "max_tokens": TOKENS}


@asynccontextmanager
async def served(service: str, *, stream: bool) -> AsyncGenerator[str, None]:
    """Base URL of a canned server."""
    command = [sys.executable, "-m", "ttc_servers.canned", "--service", service]
    command += [*(["--stream"] if stream else []), "--tokens", str(TOKENS)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=SERVERS
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


# --- contestants -------------------------------------------------------------------------------------


async def ours(stack: AsyncExitStack, backend: str, url: str, *, stream: bool) -> Call:
    """From an open request to its sample, through the dispatcher."""
    made, pool = dispatcher()
    stack.push_async_callback(pool.aclose)
    stack.callback(made.close)
    target = spec("a", url, backend=backend, limits=WIDE, stream=stream)

    async def call() -> None:
        async with made.open(target, request(TOKENS), Ledger(0.0)) as generation:
            generation.draw()
            async for _ in generation:
                pass

    return call


async def bare_aiohttp(stack: AsyncExitStack, _backend: str, url: str, *, stream: bool) -> Call:
    """A session, a body made beforehand, the answer read and left undecoded."""
    session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
    body = msgspec.json.encode(ASKED | {"stream": stream})
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}

    async def call() -> None:
        async with session.post(f"{url}/chat/completions", data=body, headers=headers) as answer:
            await answer.read()

    return call


async def sdk(stack: AsyncExitStack, backend: str, url: str, *, stream: bool) -> Call:
    """The service's own SDK, without retries, its answer in its own models."""
    origin = url.removesuffix("/openai/v1").removesuffix("/v1")
    if backend == "groq":
        client = importlib.import_module("groq").AsyncGroq(
            api_key=KEY, base_url=origin, max_retries=0
        )
    elif backend == "cerebras":
        client = importlib.import_module("cerebras.cloud.sdk").AsyncCerebras(
            api_key=KEY, base_url=origin, max_retries=0, warm_tcp_connection=False
        )
    else:
        client = importlib.import_module("openai").AsyncOpenAI(
            api_key=KEY, base_url=url, max_retries=0
        )
    stack.push_async_callback(client.close)

    async def call() -> None:
        answer = await client.chat.completions.create(**ASKED, stream=stream)
        if stream:
            async for _ in answer:
                pass

    return call


async def litellm_router(_stack: AsyncExitStack, _backend: str, url: str, *, stream: bool) -> Call:
    """One deployment, no retries."""
    library: Any = importlib.import_module("litellm")
    library.suppress_debug_info = True
    params = {"model": "openai/m", "api_base": url, "api_key": KEY}
    router = library.Router(
        model_list=[{"model_name": "m", "litellm_params": params}], num_retries=0
    )

    async def call() -> None:
        answer = await router.acompletion(**ASKED, stream=stream)
        if stream:
            async for _ in answer:
                pass

    return call


def contestants(backend: str) -> dict[str, Callable[..., Awaitable[Call]]]:
    found: dict[str, Callable[..., Awaitable[Call]]] = {"tt_compute": ours}
    module = {"groq": "groq", "cerebras": "cerebras", "openai": "openai"}[backend]
    if find_spec(module):
        found[f"{backend} SDK"] = sdk
    if backend == "openai":
        found["aiohttp"] = bare_aiohttp
        if find_spec("litellm"):
            found["LiteLLM Router"] = litellm_router
    return found


# --- measuring -----------------------------------------------------------------------------------------


async def one_by_one_us(call: Call) -> float:
    times: list[float] = []
    for _ in range(CALLS):
        started = time.perf_counter()
        await call()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e6


async def together_per_s(call: Call) -> tuple[float, float]:
    """Calls/s with 32 at once, and the processor's part of a call in us."""

    async def work() -> None:
        for _ in range(CALLS // 10):
            await call()

    before, started = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
    calls = WORKERS * (CALLS // 10)
    return calls / (time.perf_counter() - started), (time.process_time() - before) / calls * 1e6


async def measure(backend: str, *, stream: bool, rounds: int) -> list[list[object]]:
    found: dict[str, list[tuple[float, float, float]]] = {}
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(served(backend, stream=stream))
        calls = {
            name: await make(stack, backend, url, stream=stream)
            for name, make in contestants(backend).items()
        }
        for call in calls.values():
            for _ in range(WARM):
                await call()
        for number in range(rounds):
            for name, call in calls.items():
                if number and name in SLOW:
                    continue
                alone = await one_by_one_us(call)
                found.setdefault(name, []).append((alone, *await together_per_s(call)))
    rows: list[list[object]] = []
    for name, figures in found.items():
        alone, rate, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        kind = "stream" if stream else "plain"
        rows.append([backend, kind, name, f"{alone:.0f}", f"{rate:.0f}", f"{cpu:.0f}"])
        sys.stderr.write(f"{backend} {kind} {name}\n")
    return rows


def decoding_rows() -> list[list[object]]:
    """Us per streamed chunk, from its bytes to a value whose text can be read."""
    canned: Any = importlib.import_module("ttc_servers.canned")
    rows: list[list[object]] = []
    for service in ("groq", "cerebras", "openai"):
        body = canned.canned_answer(service, stream=True, tokens=TOKENS)
        chunks = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")]
        row: list[object] = [service, f"{per_chunk_us(decode_answer, chunks):.2f}"]
        model = sdk_chunk(service)
        row.append("-" if model is None else f"{per_chunk_us(model, chunks):.1f}")
        rows.append(row)
    return rows


def per_chunk_us(decode: Callable[[bytes], object], chunks: list[bytes]) -> float:
    times: list[float] = []
    for _ in range(20):
        started = time.perf_counter()
        for chunk in chunks:
            decode(chunk)
        times.append((time.perf_counter() - started) / len(chunks))
    return statistics.median(times) * 1e6


def sdk_chunk(service: str) -> Callable[[bytes], object] | None:
    """What the SDK does to a chunk: json, then its own models without validation."""
    places = {
        "groq": ("groq", "groq.types.chat", "ChatCompletionChunk"),
        "cerebras": (
            "cerebras.cloud.sdk",
            "cerebras.cloud.sdk.types.chat.chat_completion",
            "ChatChunkResponse",
        ),
        "openai": ("openai", "openai.types.chat", "ChatCompletionChunk"),
    }
    package, module, name = places[service]
    if not find_spec(package.split(".")[0]):
        return None
    construct: Any = importlib.import_module(f"{package}._models").construct_type
    kind: Any = getattr(importlib.import_module(module), name)
    loads = importlib.import_module("json").loads
    return lambda data: construct(type_=kind, value=loads(data))


async def growth(calls: int) -> str:
    """Resident memory and open files before and after many calls."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(served("openai", stream=True))
        call = await ours(stack, "openai", url, stream=True)

        async def work(count: int) -> None:
            for _ in range(count):
                await call()

        async def run(count: int) -> tuple[float, int]:
            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(work(count // WORKERS))
            return (own_bytes() / 1e6, len(list(Path("/proc/self/fd").iterdir())))

        before = await run(calls // 10)
        after = await run(calls)
    return (
        f"Over {calls:,} streamed calls, after {calls // 10:,} to warm up: resident memory {before[0]:.1f} -> "
        f"{after[0]:.1f} MB, open files {before[1]} -> {after[1]}."
    )


def own_bytes() -> int:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return process_tree_bytes() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def run(options: argparse.Namespace) -> str:
    rows: list[list[object]] = []
    for backend in ("openai", "groq", "cerebras"):
        for stream in (False, True):
            rows += await measure(backend, stream=stream, rounds=options.rounds)
    grown = await growth(options.calls)
    packages = ("aiohttp", "groq", "cerebras-cloud-sdk", "openai", "litellm")
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in packages if _installed(name)
    )
    return "\n\n".join(
        (
            "# The way to a cloud, and what it costs",
            f"`python benchmarks/wire.py --rounds {options.rounds} --calls {options.calls}`: {conditions()}, {versions}.",
            f"Calls over loopback to a canned answer of {TOKENS} tokens; medians of {options.rounds} rounds, of LiteLLM one. {OURS}",
            markdown(
                [
                    "service",
                    "answer",
                    "client",
                    "us a call, one by one",
                    f"calls/s, {WORKERS} at once",
                    "us of CPU a call",
                ],
                rows,
            ),
            "Decoding a streamed chunk, in us.",
            markdown(["service", "tt_compute", "its SDK"], decoding_rows()),
            grown,
        )
    )


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=200_000, help="of the search for growth")
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    write(options.output, asyncio.run(run(options)))


if __name__ == "__main__":
    main()
