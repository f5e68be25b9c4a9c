"""Deployments to measure, in time that passes only when it is told to."""

from __future__ import annotations

from typing import Any

import pytest

from tt_compute.config import Config
from tt_compute.testing import VirtualClock


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def config() -> Config:
    """Samples of 20 tokens and an end, the first after 1 s and then 10 tokens/s."""
    options: dict[str, Any] = {
        "latency": {"ttft_s": 1.0, "tokens_per_s": 10},
        "answers": [{"text": "a " * 20, "probability": 1}],
    }
    return Config.from_mapping(
        {
            "deployments": [{"id": "mock", "override": {"options": options}}],
            "store": {"enabled": False},
        }
    )
