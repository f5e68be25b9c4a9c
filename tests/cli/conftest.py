"""``ttc`` in this process and in one of its own, each with a home in a folder of the test."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tt_compute.cli.main import main

OTHERS = ("TTC_CONFIG", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "XDG_CONFIG_HOME", "TERM")


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document that standard output must consist of."""
        document: dict[str, Any] = json.loads(self.out)
        assert type(document) is dict
        return document


Ttc = Callable[..., Done]
Spawn = Callable[..., "subprocess.Popen[str]"]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, without any configuration found from outside."""
    for name in OTHERS:
        monkeypatch.delenv(name, raising=False)
    for name in ("DATA_DIR", "CACHE_DIR"):
        monkeypatch.setenv(f"TTC_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """``-v`` sets up logging for the whole process, which is this one."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def ttc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ttc:
    """Runs a command line here; ``stdin`` are the bytes of standard input."""

    def run(*arguments: str, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code: object = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in captured.err
        assert "\x1b" not in captured.out + captured.err
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def spawn(home: Path) -> Iterator[Spawn]:
    """Starts a command line in a process of its own, in the test's folder and environment."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", "from tt_compute.cli.main import main; main()", *arguments]
        pipes: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": {**os.environ, **options.pop("env", {})},
        }
        # With it, what fails at the flush of a buffer would not.
        pipes["env"].pop("PYTHONUNBUFFERED", None)
        process = subprocess.Popen(command, cwd=home, text=True, **{**pipes, **options})
        started.append(process)
        return process

    yield start
    for process in started:
        # Only a test that failed leaves one running.
        process.kill()
        process.communicate()


@pytest.fixture
def scripted(home: Path) -> Write:
    """Writes ``ttc.yaml`` with one mock deployment, ``scripted``; keywords are the mock's options."""

    def write(name: str = "ttc.yaml", *, top: dict[str, Any] | None = None, **options: Any) -> Path:
        deployment = {
            "id": "scripted",
            "backend": "mock",
            "model": "mock",
            "hardware": "mock",
            "options": options,
        }
        file = home / name
        # JSON is YAML.
        file.write_text(json.dumps({"deployments": [deployment], **(top or {})}), encoding="utf-8")
        return file

    return write
