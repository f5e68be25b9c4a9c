"""Where programs can be run here."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

import anyio
import pytest

from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.text_process import TextProcess

BUBBLEWRAP = sys.platform == "linux" and shutil.which("bwrap") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that run programs need a sandbox, as users do."""
    skip = pytest.mark.skip(reason="bubblewrap is not installed")
    for item in items:
        if "sandbox" in getattr(item, "fixturenames", ()) and not BUBBLEWRAP:
            item.add_marker(skip)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BubblewrapSandbox]:
    made = BubblewrapSandbox(size=2)
    anyio.run(made.ready)
    yield made
    made.close()


@pytest.fixture(scope="module")
def text_process() -> Iterator[TextProcess]:
    made = TextProcess(timeout_s=60)
    yield made
    made.close()
