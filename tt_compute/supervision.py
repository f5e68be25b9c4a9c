"""A seam for tests: whoever supervises a process stands between its clients and their backends.

Outside tests nobody does. It is of the process, not of a client, so that it holds for clients that a program makes
by itself, and for backends of third parties.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

# Only for the checkers: a test plugin loads this in every test run, and must cost the standard library alone.
if TYPE_CHECKING:
    from tt_compute.backend import Backend
    from tt_compute.results import Result
    from tt_compute.types import BackendEnv, DeploymentSpec, Probe, Usage

__all__ = ["Account", "Supervisor", "supervised", "supervisor"]


class Account(Protocol):
    """What was booked of one run, or of the models that judged it."""

    @property
    def samples_drawn(self) -> int: ...
    @property
    def usage(self) -> Usage:
        """Tokens over all deployments."""
        ...

    def cost_usd(self, elapsed_s: float) -> float | None:
        """USD so far; None where a price is not known."""
        ...


class Supervisor(Protocol):
    """Told of what the clients of this process do, from the thread of whichever client it is."""

    @property
    def keeps_runs(self) -> bool:
        """Whether clients read and write their store, where their configuration has one."""
        ...

    @property
    def shares_limits(self) -> bool:
        """Whether limits, and the spend of the day, may be those of all processes of the user."""
        ...

    def admit(self, spec: DeploymentSpec) -> None:
        """Called whenever a deployment is about to be used.

        Raises:
            TTComputeError: It may not be; the caller gets the error as it is.
        """
        ...

    def probe(self, backend: str) -> Probe | None:
        """What to say of a backend without asking it; None = ask it."""
        ...

    async def make(
        self, spec: DeploymentSpec, env: BackendEnv, create: Callable[[], Awaitable[Backend]]
    ) -> Backend:
        """The backend of a deployment: what ``create`` makes, something around it, or something else."""
        ...

    def seed(self) -> int | None:
        """The seed of whatever was given none, so that a test is the same every time; None = a fresh one."""
        ...

    def book(self, account: Account, elapsed_s: float) -> None:
        """Called when a prompt is closed.

        Args:
            account: Of the run; the same object again for its next prompt.
            elapsed_s: Since the run began.
        """
        ...

    def ended(self, result: Result) -> None:
        """Called with what every run came to, also of one that failed after samples were drawn."""
        ...


_standing: list[Supervisor] = []


def supervisor() -> Supervisor | None:
    """Who supervises this process now."""
    return _standing[-1] if _standing else None


@contextmanager
def supervised(by: Supervisor) -> Generator[None]:
    """Put ``by`` in charge until the block ends; whoever was before comes back then."""
    _standing.append(by)
    try:
        yield
    finally:
        _standing.remove(by)
