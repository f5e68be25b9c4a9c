"""What the clients of one test share, and the clients themselves."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config
from tt_compute.requests import Requests
from tt_compute.setup import Setup
from tt_compute.sync import BackgroundLoop
from tt_compute.testing.scenario import Scenario
from tt_compute.types import Clock

__all__ = ["DEFAULT", "Bench", "MockAsyncClient", "MockClient"]

DEFAULT = "mock"
"""Id of the deployment of a test that named none."""


class Bench:
    """Configuration, time and clients of one test.

    Args:
        clock: Of all its clients.
        folder: Where they would keep what they keep.
    """

    def __init__(self, *, clock: Clock, folder: Path) -> None:
        self.clock = clock
        folders = {"TTC_DATA_DIR": str(folder / "data"), "TTC_CACHE_DIR": str(folder / "cache")}
        self.environ: dict[str, str] = {**os.environ, **folders}
        self.config: Config = _default_config(**folders)
        self._clients: list[Client] = []
        self._async_clients: list[AsyncClient] = []
        self._ready: list[MockClient | MockAsyncClient] = []

    def use(self, config: Config) -> None:
        """Put the test's ready clients on another configuration."""
        self.config = config
        for client in self._ready:
            client.restart()

    def client(self, config: Config | Path | str | None = None) -> MockClient:
        """A client that is closed with the bench; None = the test's configuration, whatever it becomes."""
        made = MockClient(self, config)
        self._clients.append(made)
        if config is None:
            self._ready.append(made)
        return made

    def async_client(self, config: Config | Path | str | None = None) -> MockAsyncClient:
        """As ``client``."""
        made = MockAsyncClient(self, config)
        self._async_clients.append(made)
        if config is None:
            self._ready.append(made)
        return made

    async def aclose(self) -> None:
        """Close the asynchronous clients."""
        while self._async_clients:
            await self._async_clients.pop().aclose()

    def close(self) -> None:
        """Close every client."""
        while self._clients:
            self._clients.pop().close()
        if self._async_clients:
            loop = BackgroundLoop()
            try:
                loop.run(self.aclose())
            finally:
                loop.close()


@functools.cache
def _default_config(**folders: str) -> Config:
    """Made once for all tests of a run, most of which never look at it."""
    return Scenario.from_mapping({"deployments": [{"id": DEFAULT}]}).ready(environ=folders)


class MockClient(Client):
    """A client of a test.

    Args:
        bench: Of the test.
        config: None = the bench's, whatever it becomes.
    """

    def __init__(self, bench: Bench, config: Config | Path | str | None = None) -> None:
        super().__init__(
            bench.config if config is None else config, clock=bench.clock, environ=bench.environ
        )
        self._bench = bench

    def __call__(self, config: Config | Path | str) -> MockClient:
        """Another client of the same test, on a configuration of its own."""
        return self._bench.client(config)

    def restart(self) -> None:
        """Begin anew on what is the bench's configuration now."""
        bench, config = self._bench, self._bench.config
        self.close()
        self._loop = BackgroundLoop()
        self._make = lambda: AsyncClient(config, clock=bench.clock, environ=bench.environ)
        self._async = self._make()


class MockAsyncClient(AsyncClient):
    """As ``MockClient``.

    Args:
        bench: Of the test.
        config: None = the bench's, whatever it becomes.
    """

    def __init__(self, bench: Bench, config: Config | Path | str | None = None) -> None:
        super().__init__(
            bench.config if config is None else config, clock=bench.clock, environ=bench.environ
        )
        self._bench = bench
        self._former: list[Setup] = []

    def __call__(self, config: Config | Path | str) -> MockAsyncClient:
        """Another client of the same test, on a configuration of its own."""
        return self._bench.async_client(config)

    def restart(self) -> None:
        """Begin anew on what is the bench's configuration now."""
        self._former.append(self._setup)
        bench = self._bench
        self._setup = Setup(bench.config, clock=bench.clock, environ=bench.environ)
        self._requests = Requests(self._setup)

    async def aclose(self) -> None:
        while self._former:
            await self._former.pop().aclose()
        await super().aclose()
