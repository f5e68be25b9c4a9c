"""The desk on its own ``ttc.yaml``, with every backend mocked and time of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tt_compute as tt
from homework_desk import CONFIG_FILE, Desk, Rules
from mocks import ALL, RIGHT, Mock
from tt_compute.testing import MockBuilder, MockClient, VirtualClock

MakeDesk = Callable[..., Desk]


@pytest.fixture(scope="session")
def config() -> tt.Config:
    """Read once: the desk's own."""
    return tt.Config.load(CONFIG_FILE)


@pytest.fixture
def make_desk(
    config: tt.Config, ttc_mock: MockBuilder, ttc_client: MockClient, ttc_clock: VirtualClock
) -> MakeDesk:
    """Makes a desk; by deployment, what its mock does otherwise than to be right."""

    def make(mocks: dict[str, Mock] | None = None, rules: Rules | None = None) -> Desk:
        options = {name: (mocks or {}).get(name, RIGHT) for name in ALL}
        ttc_mock.like(config, options)
        return Desk(ttc_client, rules, now=ttc_clock.now)

    return make


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """A desk on a day when all goes well."""
    return make_desk()
