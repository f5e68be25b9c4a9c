"""What the benchmarks of the clouds share: deployments on local servers, and dispatchers over them."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import msgspec

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "servers"))

from tt_compute.clock import SystemClock
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.dispatcher import Dispatcher
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
from tt_compute.types import DeploymentSpec, GenerateRequest, Message, SamplingParams
from ttc_servers import ChatServer
from ttc_servers.chat import KEY

__all__ = ["KEY", "MESSAGES", "PRICE", "dispatcher", "request", "spec"]

MESSAGES = [{"role": "user", "content": "Write a story about the sea and its keeper."}]
PRICE = Price(usd_per_mtok=PricePerMtok(input=Fact(value=1.0), output=Fact(value=2.0)))


def spec(
    name: str,
    server: ChatServer | str,
    *,
    backend: str = "openai",
    limits: Limits | None = None,
    **options: Any,
) -> DeploymentSpec:
    """A deployment of a server, or of a base URL, elsewhere than here."""
    made = deployment_spec(backend, options=options, max_context_tokens=None)
    url = server if isinstance(server, str) else server.base_url
    deployment = msgspec.structs.replace(
        made.deployment,
        id=name,
        endpoint=Endpoint(base_url=url),
        auth=Auth(env="TEST_KEY"),
        limits=limits or Limits(),
        price=PRICE,
    )
    hardware = HardwareProfile(id="cloud", device="asic", local=False)
    return msgspec.structs.replace(made, deployment=deployment, hardware=hardware)


def dispatcher(settings: DispatchSettings | None = None) -> tuple[Dispatcher, BackendPool]:
    """A client's, of this process alone."""
    clock = SystemClock()
    pool = BackendPool(Registry(), backend_env(clock=clock, keys={"TEST_KEY": KEY}))
    return Dispatcher(pool, clock, settings=settings, rng=random.Random(1)), pool


def request(max_tokens: int = 100, **fields: Any) -> GenerateRequest:
    text = str(MESSAGES[0]["content"])
    return GenerateRequest(
        messages=(Message(role="user", content=text),),
        sampling=SamplingParams(max_tokens=max_tokens),
        **fields,
    )
