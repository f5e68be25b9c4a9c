"""Fixtures shared by the whole suite."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
import tomllib
from collections.abc import Callable, Generator
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


@pytest.fixture
def project() -> Path:
    """The source folder of a backend that somebody else might have written."""
    return Path(__file__).parents[1] / "examples" / "backend-template"


@pytest.fixture
def install(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Callable[[str], Path]]:
    """A function that installs ``examples/backend-template`` under a name, on ``sys.path``; returns where.

    Written out by hand from ``pyproject.toml``: an installer would need a build backend from the
    network for the same three files.
    """

    def put(distribution: str) -> Path:
        target = tmp_path / distribution
        metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
        version = metadata["project"]["version"]
        shutil.copytree(project / "tt_ngram", target / "tt_ngram")
        info = target / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            "".join(
                f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
                for group, entries in metadata["project"]["entry-points"].items()
            ),
            encoding="utf-8",
        )
        monkeypatch.setattr(sys, "path", [str(target), *sys.path])
        importlib.invalidate_caches()
        return target

    yield put
    for name in ("tt_ngram", "tt_ngram.model"):
        sys.modules.pop(name, None)
