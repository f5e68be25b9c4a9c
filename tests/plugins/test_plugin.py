"""A distribution that somebody else wrote is found, loaded, checked and refused like our own."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tt_compute.errors import BackendConflict, BackendUnavailable
from tt_compute.registry import Registration, Registry

Install = Callable[[str], Path]


def test_an_installed_plugin_is_listed_without_being_imported(install: Install) -> None:
    """The plugin stands beside the built-in backends, and its module was not touched."""
    install("tt-ngram")
    registry = Registry()
    assert {"ngram", "mock", "openvino"} <= set(registry.names())
    listed = Registration(
        name="ngram", distribution="tt-ngram 1.2.0", target="tt_ngram:NgramBackend"
    )
    assert listed in registry.describe()
    assert "tt_ngram" not in sys.modules


def test_an_uninstalled_plugin_is_not_listed() -> None:
    """The plugin is known through its installation alone."""
    assert "ngram" not in Registry().names()


def test_an_installed_plugin_is_probed(install: Install) -> None:
    """Its own probe answers."""
    install("tt-ngram")
    probe = Registry().probe("ngram")
    assert probe.available
    assert probe.version == "1.2.0"


def test_the_tests_of_an_installed_plugin_pass(
    install: Install, project: Path, tmp_path: Path
) -> None:
    """They run in a process and a folder of their own, with no plugin of pytest."""
    target = install("tt-ngram")
    tests = shutil.copytree(project / "tests", tmp_path / "tests")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:anyio", "-p", "no:cacheprovider", tests],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys([str(target), *sys.path]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 skipped" in done.stdout


def test_two_distributions_with_one_name_are_both_named(install: Install) -> None:
    """Neither of two claims wins: the error and the probe name both distributions."""
    install("tt-ngram")
    install("ngram-models")
    registry = Registry()
    with pytest.raises(BackendConflict) as caught:
        registry.load("ngram")
    for distribution in ("tt-ngram 1.2.0", "ngram-models 1.2.0"):
        assert distribution in caught.value.message
        assert distribution in registry.probe("ngram").reason
    assert registry.names().count("ngram") == 1
    assert [entry.distribution for entry in registry.describe() if entry.name == "ngram"] == [
        "ngram-models 1.2.0",
        "tt-ngram 1.2.0",
    ]
    assert "tt_ngram" not in sys.modules


def test_a_plugin_that_cannot_be_imported_says_why(install: Install) -> None:
    """The reason of the failed import reaches the caller; the other backends stay usable."""
    target = install("tt-ngram")
    (target / "tt_ngram" / "__init__.py").write_text("import libngram_missing\n", encoding="utf-8")
    registry = Registry()
    with pytest.raises(BackendUnavailable, match="No module named 'libngram_missing'"):
        registry.load("ngram")
    probe = registry.probe("ngram")
    assert not probe.available
    assert "libngram_missing" in probe.reason
    assert registry.load("mock").name == "mock"


@pytest.mark.parametrize(
    "command",
    [["mypy", "--strict", "--config-file="], ["pyright", "--pythonpath", sys.executable]],
    ids=["mypy", "pyright"],
)
def test_the_plugin_satisfies_the_protocols_by_shape(
    command: list[str], project: Path, tmp_path: Path
) -> None:
    """Strict type checkers accept its classes for the protocols, as its tests state it."""
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "copy" / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = subprocess.run(
        [sys.executable, "-m", *command, "tests/test_backend.py"],
        cwd=tmp_path / "copy",
        env=os.environ | {"MYPY_CACHE_DIR": str(tmp_path / "cache"), "MYPYPATH": "."},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_needs_the_types_and_the_checks_alone(project: Path) -> None:
    """It has no base class of ours, and stays short enough to be read at a sitting."""
    source = (project / "tt_ngram" / "__init__.py").read_text(encoding="utf-8")
    modules: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            whole = [f"{node.module}.{name}" for name in names]
            modules.update(whole if node.module == "tt_compute" else [node.module or ""])
        elif isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
    ours = {name for name in modules if name.startswith("tt_compute")}
    assert ours == {"tt_compute.checks", "tt_compute.types"}
    assert len([line for line in source.splitlines() if line.strip()]) < 150
