"""The blocking client where it is used: notebooks, threads, forks, callbacks, under Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.errors import UsageError, VerifierError
from tt_compute.results import Progress
from tt_compute.sync import SyncRun

Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]

RIGHT = "The answer is 42."


def test_it_works_beside_a_running_loop(connect: Connect) -> None:
    """As in a notebook."""
    client = connect(answers=[RIGHT])

    async def notebook() -> str | None:
        with client.stream("6 * 7 = ?") as run:
            for _ in run:
                pass
        assert run.result.answer == client.solve("6 * 7 = ?").answer
        return run.result.answer

    assert asyncio.run(notebook()) == "42"


def test_one_client_serves_many_threads(connect: Connect) -> None:
    client = connect(answers=[RIGHT])
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(client.solve, ["6 * 7 = ?"] * 12))
    assert [result.answer for result in results] == ["42"] * 12


def test_a_verifier_may_use_the_client(connect: Connect) -> None:
    """A plain one runs in a worker thread, so that it may wait."""
    client = connect(answers=[RIGHT])

    def judge(_prompt: str, _text: str) -> bool:
        return client.solve("Is that so?", strategy="single").text == RIGHT

    assert client.solve("6 * 7 = ?", verifier=judge).receipt.stop_reason == "verifier"


def test_from_its_own_loop_it_is_refused(connect: Connect) -> None:
    """An async verifier runs on that loop; waiting there would never end."""
    client = connect()

    async def judge(_prompt: str, _text: str) -> bool:
        return client.solve("Is that so?").answer is not None

    with pytest.raises(VerifierError, match="own event loop"):
        client.solve("6 * 7 = ?", verifier=judge)


def test_closing_from_its_own_loop_is_refused_and_closes_nothing(connect: Connect) -> None:
    client = connect(answers=[RIGHT])

    def close(_place: int, _outcome: object) -> None:
        client.close()

    with pytest.raises(UsageError, match="own event loop"):
        client.solve_many(["6 * 7 = ?"], progress=close)
    assert client.solve("6 * 7 = ?").answer == "42"


def test_a_closed_client_is_refused(connect: Connect) -> None:
    """It would start engines that nobody ends."""
    client = connect()
    client.solve("6 * 7 = ?")
    client.close()
    client.close()
    for use in (lambda: client.solve("6 * 7 = ?"), lambda: client.plan("6 * 7 = ?")):
        with pytest.raises(UsageError, match="closed"):
            use()


@pytest.mark.anyio
async def test_a_closed_asynchronous_client_is_refused(connect_async: ConnectAsync) -> None:
    client = connect_async()
    async with client:
        await client.solve("6 * 7 = ?")
    await client.aclose()
    with pytest.raises(UsageError, match="closed"):
        await client.solve("6 * 7 = ?")
    with pytest.raises(UsageError, match="closed"):
        await client.generate("6 * 7 = ?", deployment="scripted")
    with pytest.raises(UsageError, match="closed"):
        await client.feedback("some-id", correct=True)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signal")
def test_an_interrupt_cancels_the_run(connect: Connect) -> None:
    """And the client goes on: the next request is served."""
    client = connect(answers=[RIGHT], faults=[{"kind": "stall", "pattern": "slow"}])
    caller = threading.get_ident()

    def watch(run: SyncRun) -> None:
        for event in run:
            if isinstance(event, Progress) and event.drawn:
                # Comes while the next event is waited for, as from a terminal.
                threading.Timer(0.05, signal.pthread_kill, (caller, signal.SIGINT)).start()

    with client.stream("slow 6 * 7 = ?") as run, pytest.raises(KeyboardInterrupt):
        watch(run)
    assert run.partial is not None
    receipt = run.partial.receipt
    assert receipt.samples_cancelled == receipt.samples_drawn > 0
    assert client.solve("6 * 7 = ?").answer == "42"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_client_of_its_own(connect: Connect) -> None:
    client = connect(answers=[RIGHT])
    client.solve("6 * 7 = ?")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if client.solve("6 * 7 = ?").answer == "42" else 2
            client.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert client.solve("6 * 7 = ?").answer == "42"


def test_a_program_that_never_closes_ends_all_the_same(environ: dict[str, str]) -> None:
    """Without a complaint on standard error, in Python's strictest mode."""
    program = (
        "import tt_compute as tt\n"
        "client = tt.Client(tt.Config.from_mapping({'deployments': ['mock']}))\n"
        "print(client.solve('6 * 7 = ?', seed=1).answer)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # asyncio tells in that mode, too, how long a callback took: that is the machine's doing.
    said = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]
    assert (done.returncode, done.stdout, said) == (0, "42\n", [])
