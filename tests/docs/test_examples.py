"""Every example in the documentation runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIG = """\
version: 1
deployments: [mock]
"""
NOT_RUN = "not-run"
"""Behind the language of a block that needs what a test may not use; the reason stands behind it."""


def blocks(language: str) -> list[ParameterSet]:
    found: list[ParameterSet] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            if match[1] == language and NOT_RUN not in match[2]:
                name = f"{page.relative_to(ROOT)}:{line}"
                found.append(pytest.param(match[3], id=name))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ttc.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {
        **os.environ,
        "TTC_DATA_DIR": str(folder / "data"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    environ.pop("TTC_CONFIG", None)
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, folder: Path) -> None:
    done = run([sys.executable, "-c", code], folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("session", blocks("console"))
def test_console_examples_run(session: str, folder: Path) -> None:
    commands = [line[2:] for line in session.splitlines() if line.startswith("$ ")]
    assert commands, "a console block shows commands behind `$ `"
    for command in commands:
        done = run(shlex.split(command), folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_links_between_pages_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []
