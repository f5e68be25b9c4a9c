"""Runs pytest on small test modules, with the plugin and nothing else of the surroundings."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import pytest

PLUGIN = "tt_compute.testing.plugin"
LOADED = (
    *(
        f"tt_compute.testing.{name}"
        for name in ("assertions", "bench", "cassette", "mocking", "report", "snapshot")
    ),
    "tt_compute_backends.mock",
)
"""What the fixtures load: a run in this process forgets what it loaded itself, and the next would load it again."""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """A function that runs a test module, here in this process, with more arguments for pytest."""
    for module in LOADED:
        import_module(module)

    def start(module: str, *arguments: str, name: str = "test_it") -> pytest.RunResult:
        pytester.makepyfile(**{name: module})
        return pytester.runpytest_inprocess(
            "-p", PLUGIN, "-p", "no:randomly", "-p", "no:cacheprovider", *arguments
        )

    return start
