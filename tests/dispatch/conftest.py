"""Deployments on local servers, and a dispatcher over them."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest

from tt_compute.clock import SystemClock
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.spend import SpendGuard
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.profiles.schema import (
    Auth,
    Endpoint,
    Fact,
    HardwareProfile,
    Limits,
    Price,
    PricePerMtok,
)
from tt_compute.registry import Registry
from tt_compute.testing import backend_env, deployment_spec
from tt_compute.types import DeploymentSpec
from ttc_servers import ChatServer
from ttc_servers.chat import KEY

PRICE = Price(usd_per_mtok=PricePerMtok(input=Fact(value=1.0), output=Fact(value=2.0)))


def make_spec(
    name: str,
    server: ChatServer | str,
    *,
    limits: Limits | None = None,
    options: dict[str, object] | None = None,
    backend: str = "openai",
) -> DeploymentSpec:
    """A deployment of a server, or of a base URL."""
    spec = deployment_spec(backend, options=options, max_context_tokens=None)
    url = server if isinstance(server, str) else server.base_url
    deployment = msgspec.structs.replace(
        spec.deployment,
        id=name,
        endpoint=Endpoint(base_url=url),
        auth=Auth(env="TEST_KEY"),
        limits=limits or Limits(),
        price=PRICE,
    )
    hardware = HardwareProfile(id="cloud", device="asic", local=False)
    return msgspec.structs.replace(spec, deployment=deployment, hardware=hardware)


def make_dispatcher(
    settings: DispatchSettings | None = None, caps: SpendGuard | None = None
) -> tuple[Dispatcher, BackendPool]:
    """Of this process alone, with a seeded jitter."""
    clock = SystemClock()
    pool = BackendPool(Registry(), backend_env(clock=clock, keys={"TEST_KEY": KEY}))
    rng = random.Random(1)
    return Dispatcher(pool, clock, settings=settings, caps=caps, rng=rng), pool


@pytest.fixture
def spec_of() -> Callable[..., DeploymentSpec]:
    return make_spec


@pytest.fixture
def dispatcher_of() -> Callable[..., tuple[Dispatcher, BackendPool]]:
    return make_dispatcher
