"""Fixtures shared by the whole suite."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The suite runs on asyncio, which the client is built on."""
    return "asyncio"
