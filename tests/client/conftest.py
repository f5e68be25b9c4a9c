"""Clients on scripted deployments, with everything they keep in a folder of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tt_compute.client import AsyncClient, Client
from tt_compute.config import Config
from tt_compute.testing.time import VirtualClock

Configure = Callable[..., Config]
Connect = Callable[..., Client]
ConnectAsync = Callable[..., AsyncClient]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"TTC_DATA_DIR": str(tmp_path / "data"), "TTC_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def configure(environ: dict[str, str]) -> Configure:
    """Makes a configuration with one mock deployment, called ``scripted``.

    Keywords are the mock's options; ``deployment`` adds keys of the deployment, ``top`` keys of the whole.
    """

    def make(
        *,
        deployment: dict[str, Any] | None = None,
        top: dict[str, Any] | None = None,
        **options: Any,
    ) -> Config:
        scripted = {
            "id": "scripted",
            "backend": "mock",
            "model": "mock",
            "hardware": "mock",
            "options": options,
            **(deployment or {}),
        }
        return Config.from_mapping({"deployments": [scripted], **(top or {})}, environ=environ)

    return make


@pytest.fixture
def connect(configure: Configure, environ: dict[str, str]) -> Iterator[Connect]:
    """Makes a client on ``configure(...)`` that is closed when the test ends."""
    clients: list[Client] = []

    def make(**keywords: Any) -> Client:
        client = Client(configure(**keywords), environ=environ)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def connect_async(configure: Configure, environ: dict[str, str]) -> ConnectAsync:
    """Makes an asynchronous client on virtual time, to be used as ``async with``."""

    def make(**keywords: Any) -> AsyncClient:
        return AsyncClient(configure(**keywords), clock=VirtualClock(), environ=environ)

    return make
