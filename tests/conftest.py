"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import hypothesis
import pytest

from tt_compute.errors import ModelLoadError, ModelNotFound
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.paths import cache_dir
from tt_compute.profiles.library import ProfileLibrary

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and its children with it; the tests of Ctrl-C cannot.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# How long an example takes says nothing here: the machine may be busy.
hypothesis.settings.register_profile("tt_compute", deadline=None)
hypothesis.settings.load_profile("tt_compute")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--live`` asks the real services, which costs a little; without it nothing leaves this machine."""
    parser.addoption(
        "--live", action="store_true", help="ask the live services, keys in the environment"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs a live service unless it was asked for."""
    if config.getoption("--live"):
        return
    skip = pytest.mark.skip(reason="asks a live service; pytest --live")
    for item in items:
        if item.get_closest_marker("live") is not None:
            item.add_marker(skip)


@pytest.fixture
def anyio_backend() -> str:
    """The suite runs on asyncio, which the client is built on."""
    return "asyncio"


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """The real weights in the user's cache, fetched if need be; skipped without them, never in CI."""
    store = LocalModelStore(cache_dir(os.environ))
    try:
        return anyio.run(store.pull, ProfileLibrary().model("smollm2-135m-instruct"), "gguf")
    except (ModelNotFound, ModelLoadError) as exc:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the embedded model is needed in CI: {exc}")
        pytest.skip(f"the embedded model cannot be had: {exc}")
