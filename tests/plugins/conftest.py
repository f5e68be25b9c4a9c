"""Installs ``examples/backend-template`` the way an installer does, into a folder of its own."""

from __future__ import annotations

import importlib
import shutil
import sys
import tomllib
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2] / "examples" / "backend-template"

Install = Callable[[str], Path]


@pytest.fixture
def project() -> Path:
    """The source folder of the plugin."""
    return PROJECT


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Install]:
    """A function that installs the project as a distribution of the given name, on ``sys.path``.

    Written out by hand from ``pyproject.toml``: an installer would need a build backend from the
    network for the same three files.
    """

    def put(distribution: str) -> Path:
        target = tmp_path / distribution
        metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
        version = metadata["project"]["version"]
        shutil.copytree(PROJECT / "tt_ngram", target / "tt_ngram")
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
