"""Whoever supervises a process stands between every client of it and its backends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tt_compute.backend import Backend
from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.dispatch_setup import LIMITS_FILE
from tt_compute.errors import UsageError
from tt_compute.results import Result
from tt_compute.setup import STORE_FILE
from tt_compute.supervision import Account, supervised, supervisor
from tt_compute.types import BackendEnv, DeploymentSpec, Probe

Configure = Callable[..., Config]
Connect = Callable[..., Client]


class Watching:
    """Notes what it is told, and refuses on demand."""

    keeps_runs = True
    shares_limits = True

    def __init__(self) -> None:
        self.refuses = False
        self.made: list[str] = []
        self.accounts: dict[int, tuple[Account, float]] = {}
        self.results: list[Result] = []

    def admit(self, spec: DeploymentSpec) -> None:
        if self.refuses:
            raise UsageError(f"{spec.id} may not be used")

    def probe(self, backend: str) -> Probe | None:
        return Probe(available=False, reason="it was said so") if backend == "openvino" else None

    async def make(
        self, spec: DeploymentSpec, env: BackendEnv, create: Callable[[], Awaitable[Backend]]
    ) -> Backend:
        assert env.clock.now() > 0
        self.made.append(spec.id)
        return await create()

    def seed(self) -> int | None:
        return 7

    def book(self, account: Account, elapsed_s: float) -> None:
        self.accounts[id(account)] = (account, elapsed_s)

    def ended(self, result: Result) -> None:
        self.results.append(result)


def test_every_use_of_a_backend_is_admitted_or_refused(connect: Connect) -> None:
    """Also of one that was made before; the caller gets the refusal as it is."""
    watching = Watching()
    with supervised(watching):
        client = connect(answers=["The answer is 7."])
        assert client.solve("What is 3 plus 4?").answer == "7"
        watching.refuses = True
        with pytest.raises(UsageError, match="scripted may not be used"):
            client.generate("What is 3 plus 4?", deployment="scripted")
        with pytest.raises(UsageError, match="scripted may not be used"):
            client.warm("scripted")
    assert watching.made == ["scripted"]
    client.generate("What is 3 plus 4?", deployment="scripted")


def test_what_runs_took_is_told_in_full(connect: Connect) -> None:
    """Runs with a strategy and without one; the first also as its result."""
    watching = Watching()
    with supervised(watching):
        client = connect(answers=["The answer is 7."])
        result = client.solve("What is 3 plus 4?")
        client.generate("What is 3 plus 4?", deployment="scripted", n=3)
    assert watching.results == [result]
    drawn = [account.samples_drawn for account, _ in watching.accounts.values()]
    assert drawn == [result.receipt.samples_drawn, 3]


def test_a_run_without_a_seed_gets_the_supervisors(connect: Connect) -> None:
    """One with a seed keeps it."""
    with supervised(Watching()):
        client = connect(answers=["The answer is 7."])
        assert client.solve("What is 3 plus 4?").receipt.seed == 7
        assert client.solve("What is 3 plus 4?", seed=5).receipt.seed == 5


def test_what_is_said_of_a_backend_counts(environ: dict[str, str]) -> None:
    """A backend that is said to be missing is not planned with, whatever is installed."""
    config = Config.from_mapping({"deployments": ["mock", "local/smollm2-135m-openvino"]})
    with supervised(Watching()), Client(config, environ=environ) as client:
        plan = client.plan("What is 3 plus 4?")
    reasons = {one.deployment: one.reason for one in plan.rejected}
    assert "it was said so" in reasons["local/smollm2-135m-openvino"]


@pytest.mark.parametrize(
    ("attribute", "file"), [("keeps_runs", STORE_FILE), ("shares_limits", LIMITS_FILE)]
)
def test_what_the_user_keeps_is_left_alone_where_it_is_said_so(
    configure: Configure, environ: dict[str, str], attribute: str, file: str
) -> None:
    """Runs are not kept and teach nothing, limits and the day's spend are those of the client alone."""
    config = configure(
        deployment={"limits": {"requests_per_minute": 60}},
        top={"store": {"enabled": True}, "dispatch": {"share_limits": True, "max_usd_per_day": 1}},
        answers=["The answer is 7."],
    )
    kept = Path(environ["TTC_DATA_DIR"]) / file
    for allowed in (False, True):
        watching = Watching()
        setattr(watching, attribute, allowed)
        with supervised(watching), Client(config, environ=environ) as client:
            assert client.solve("What is 3 plus 4?").answer == "7"
        assert kept.exists() == allowed


def test_supervisors_come_back_in_turn() -> None:
    """Whoever is in charge inside of another gives way to it; outside nobody is."""
    outer, inner = Watching(), Watching()
    before = supervisor()
    with supervised(outer):
        with supervised(inner):
            assert supervisor() is inner
        assert supervisor() is outer
    assert supervisor() is before
