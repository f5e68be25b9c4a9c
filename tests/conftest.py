"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from tt_compute.errors import ModelLoadError, ModelNotFound
from tt_compute.modelstore.store import LocalModelStore
from tt_compute.paths import cache_dir
from tt_compute.profiles.library import ProfileLibrary

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C, and its children with it; the tests of Ctrl-C cannot.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
