"""A distribution that somebody else wrote is found, loaded, checked and refused like our own."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tt_compute.errors import BackendConflict, BackendUnavailable
from tt_compute.registry import Registration, Registry
from tt_compute.testing.conformance import check_backend
from tt_compute.testing.environment import backend_env, deployment_spec
from tt_compute.testing.subject import Subject
from tt_compute.testing.time import VirtualClock
from tt_compute.types import Message

Install = Callable[[str], Path]


def test_an_installed_plugin_is_listed_without_being_imported(install: Install) -> None:
    """The plugin stands beside the built-in backends, and its module was not touched."""
    install("tt-acme")
    registry = Registry()
    assert {"acme", "mock", "openvino"} <= set(registry.names())
    assert registry.describe()[0] == Registration(
        name="acme", distribution="tt-acme 1.2.0", target="tt_acme:AcmeBackend"
    )
    assert "tt_acme" not in sys.modules


def test_an_uninstalled_plugin_is_not_listed() -> None:
    """The plugin is known through its installation alone."""
    assert "acme" not in Registry().names()


def test_an_installed_plugin_is_probed(install: Install) -> None:
    """Its own probe answers."""
    install("tt-acme")
    probe = Registry().probe("acme")
    assert probe.available
    assert probe.version == "1.2.0"


@pytest.mark.anyio
async def test_an_installed_plugin_keeps_the_protocol(install: Install) -> None:
    """It passes every rule that speaks of what it claims, without a base class of ours."""
    install("tt-acme")

    @asynccontextmanager
    async def make() -> AsyncGenerator[Subject, None]:
        clock = VirtualClock()
        spec = deployment_spec("acme", options={"words_per_s": 20})
        backend = await Registry().load("acme").create(spec, backend_env(clock=clock))
        prompt = (Message(role="user", content="Tell me a story."),)
        yield Subject(backend=backend, clock=clock, prompt=prompt)
        await backend.aclose()

    report = await check_backend(make)
    assert set(report.skipped) == {
        "a_lost_engine_fails_every_sample",
        "continues_the_assistant",
        "keeps_json_schemas",
        "one_failure_spares_the_others",
        "stop_strings_cut_exactly",
        "tells_logprobs",
    }


def test_two_distributions_with_one_name_are_both_named(install: Install) -> None:
    """Neither of two claims wins: the error and the probe name both distributions."""
    install("tt-acme")
    install("acme-models")
    registry = Registry()
    with pytest.raises(BackendConflict) as caught:
        registry.load("acme")
    for distribution in ("tt-acme 1.2.0", "acme-models 1.2.0"):
        assert distribution in caught.value.message
        assert distribution in registry.probe("acme").reason
    assert registry.names().count("acme") == 1
    assert [entry.distribution for entry in registry.describe() if entry.name == "acme"] == [
        "acme-models 1.2.0",
        "tt-acme 1.2.0",
    ]
    assert "tt_acme" not in sys.modules


def test_a_plugin_that_cannot_be_imported_says_why(install: Install) -> None:
    """The reason of the failed import reaches the caller; the other backends stay usable."""
    target = install("tt-acme")
    (target / "tt_acme" / "__init__.py").write_text("import libacme_missing\n", encoding="utf-8")
    registry = Registry()
    with pytest.raises(BackendUnavailable, match="No module named 'libacme_missing'"):
        registry.load("acme")
    probe = registry.probe("acme")
    assert not probe.available
    assert "libacme_missing" in probe.reason
    assert registry.load("mock").name == "mock"


@pytest.mark.parametrize(
    "command",
    [["mypy", "--strict", "--config-file="], ["pyright", "--pythonpath", sys.executable]],
    ids=["mypy", "pyright"],
)
def test_the_plugin_satisfies_the_protocols_by_shape(
    command: list[str], project: Path, tmp_path: Path
) -> None:
    """Strict type checkers accept the plugin's classes for the protocols."""
    done = subprocess.run(
        [sys.executable, "-m", *command, "shape.py"],
        cwd=project,
        env=os.environ | {"MYPY_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_imports_only_the_types(project: Path) -> None:
    """Of tt_compute the plugin needs ``tt_compute.types`` and nothing else."""
    tree = ast.parse((project / "tt_acme" / "__init__.py").read_text(encoding="utf-8"))
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    assert {name for name in modules if name.startswith("tt_")} == {"tt_compute.types"}
