"""Each local backend keeps every rule of the conformance kit, on the real model."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest

from tt_compute.clock import SystemClock
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.registry import Registry
from tt_compute.testing import Subject, backend_env, check_backend
from tt_compute.types import GenerateRequest, Message

pytestmark = [pytest.mark.anyio, pytest.mark.model, pytest.mark.timeout(600)]

NOT_FORCED = {"one_failure_spares_the_others"}
"""Needs a sample that fails beside good ones; the mock and the engine's own tests force one."""
LIBRARIES = {"openvino": "openvino_genai", "onnxruntime": "onnxruntime", "torch": "torch"}
CPU = [pytest.param(name, {}, id=name) for name in LIBRARIES]
CUDA = [
    pytest.param(
        "torch", {"options": {"dtype": dtype}}, id=f"torch-cuda-{dtype}", marks=pytest.mark.cuda
    )
    for dtype in ("bf16", "fp16", "fp32", "int8")
] + [
    pytest.param("onnxruntime", {}, id="onnxruntime-cuda", marks=pytest.mark.cuda),
]
PROMPT = (Message(role="user", content="Write a long story about a lighthouse and the sea."),)


def has_cuda(name: str) -> bool:
    """Whether the library has a GPU here."""
    if name == "torch":
        return bool(importlib.import_module("torch").cuda.is_available())
    providers: list[str] = importlib.import_module("onnxruntime").get_available_providers()
    return "CUDAExecutionProvider" in providers


@pytest.mark.parametrize(("name", "override"), [*CPU, *CUDA])
async def test_it_keeps_every_rule(
    name: str,
    override: dict[str, object],
    embedded_model: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All rules, on backends that share one engine, as deployments of one model do."""
    # Threads that spin for work starve each other where the machine has other work too.
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    if find_spec(LIBRARIES[name]) is None:
        pytest.skip(f"{LIBRARIES[name]} is not installed")
    if request.node.get_closest_marker("cuda") is not None:
        if not has_cuda(name):
            pytest.skip(f"{name} has no GPU here")
        override |= {"placement": {"devices": ["cuda:0" if name == "torch" else "cuda"]}}
    entry = {
        "id": f"local/smollm2-135m-{name}",
        "override": {"id": f"test/{name}", "source": {"path": str(embedded_model)}, **override},
    }
    spec = ProfileLibrary().resolve(entry)
    kind = Registry().load(name)
    clock = SystemClock()
    env = backend_env(clock=clock, models=LocalModelStore(tmp_path, offline=True))

    @asynccontextmanager
    async def make() -> AsyncGenerator[Subject, None]:
        backend = await kind.create(spec, env)

        def kill_engine() -> None:
            os.kill(cast("Any", backend)._host.pid, signal.SIGKILL)

        yield Subject(
            backend=backend,
            clock=clock,
            prompt=PROMPT,
            long_tokens=32,
            kill_engine=kill_engine,
            cycles=200,
        )
        await backend.aclose()

    holder = await kind.create(spec, env)
    try:
        async with holder.open(GenerateRequest(messages=PROMPT)) as generation:
            generation.draw()
        report = await check_backend(make)
    finally:
        await holder.aclose()
    assert set(report.skipped) <= NOT_FORCED, report.skipped
