"""One test, as its supervisor sees it: what it may use, what it spent, what its runs came to.

Loaded in every test run, so that it imports the standard library alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tt_compute.errors import UsageError

# Only for the checkers, as is said above.
if TYPE_CHECKING:
    from tt_compute.backend import Backend
    from tt_compute.results import Result
    from tt_compute.supervision import Account
    from tt_compute.types import BackendEnv, DeploymentSpec, Probe

__all__ = ["MOCK", "Deck", "RealBackendRefused", "Spent", "Trial"]

MOCK = "mock"
"""Name of the backend that asks nobody."""
_SEED_BYTES = 6


class RealBackendRefused(UsageError):
    """A test was about to use a backend that is not a mock, and was not allowed to."""


class Spent(NamedTuple):
    """What the runs of a test took, those of judging models included."""

    samples: int
    tokens: int
    """Input and output."""
    usd: float | None
    """None as soon as one price is not known."""


class Deck(Protocol):
    """Stands in for backends: a cassette."""

    @property
    def replays(self) -> bool:
        """Whether no backend is asked at all."""
        ...

    def probe(self, backend: str) -> Probe | None:
        """As ``Supervisor.probe``."""
        ...

    async def make(
        self, spec: DeploymentSpec, env: BackendEnv, create: Callable[[], Awaitable[Backend]]
    ) -> Backend:
        """As ``Supervisor.make``."""
        ...

    def finish(self) -> None:
        """Called once the test has passed.

        Raises:
            UsageError: What it did was not what is recorded, or cannot be recorded.
        """
        ...


class Trial:
    """Satisfies ``tt_compute.supervision.Supervisor``.

    Args:
        name: Of the test; what it draws depends on it.
        live: Whether real backends may be used.
        allowed: Names of backends that may be used in any case.
        how: What to do to be allowed, the hint of a refusal.
    """

    def __init__(self, *, name: str, live: bool, allowed: Iterable[str], how: str) -> None:
        self._name = name
        self._seeds = 0
        self.live = live
        self.allowed: frozenset[str] = frozenset({MOCK, *allowed})
        self.how = how
        self.deck: Deck | None = None
        self._accounts: dict[int, tuple[Account, float]] = {}
        self.results: list[Result] = []
        self.refusals: list[str] = []

    def begin(self) -> None:
        """Forget what an earlier try of the same test did."""
        self._seeds = 0
        self._accounts.clear()
        self.results.clear()
        self.refusals.clear()

    @property
    def spent(self) -> Spent:
        """So far, over all clients."""
        accounts = list(self._accounts.values())
        costs = [account.cost_usd(elapsed_s) for account, elapsed_s in accounts]
        known = [cost for cost in costs if cost is not None]
        usages = [account.usage for account, _ in accounts]
        return Spent(
            samples=sum(account.samples_drawn for account, _ in accounts),
            tokens=sum(usage.input_tokens + usage.output_tokens for usage in usages),
            usd=sum(known) if len(known) == len(costs) else None,
        )

    # --- tt_compute.supervision.Supervisor ------------------------------------------------------------

    @property
    def keeps_runs(self) -> bool:
        """Not beside a cassette: what is learned changes plans, and with them the prompts that are asked."""
        return self.deck is None

    @property
    def shares_limits(self) -> bool:
        """Where a service is asked; what mocks and replays take is nobody else's."""
        return self.live and (self.deck is None or not self.deck.replays)

    def admit(self, spec: DeploymentSpec) -> None:
        if self.live or spec.backend in self.allowed:
            return
        if self.deck is not None and self.deck.replays:
            return
        what = f"deployment {spec.id!r} was about to be used, and its backend {spec.backend!r} is not a mock"
        self.refusals.append(what)
        raise RealBackendRefused(what, hint=self.how)

    def probe(self, backend: str) -> Probe | None:
        return None if self.deck is None else self.deck.probe(backend)

    async def make(
        self, spec: DeploymentSpec, env: BackendEnv, create: Callable[[], Awaitable[Backend]]
    ) -> Backend:
        return await (create() if self.deck is None else self.deck.make(spec, env, create))

    def seed(self) -> int | None:
        if self.live:
            return None
        self._seeds += 1
        digest = hashlib.sha256(f"{self._name}:{self._seeds}".encode()).digest()
        return int.from_bytes(digest[:_SEED_BYTES], "big")

    def book(self, account: Account, elapsed_s: float) -> None:
        self._accounts[id(account)] = (account, elapsed_s)

    def ended(self, result: Result) -> None:
        self.results.append(result)
