"""The sample application's own test suite passes, by itself and beside the plugins that people use."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "examples" / "app"
LEAST_TESTS = 30


def run_suite(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a user would run it, but for a proxy at which nobody listens: what asks the network fails."""
    nowhere = "http://127.0.0.1:9"
    keys = dict.fromkeys(("GROQ_API_KEY", "CEREBRAS_API_KEY"), "")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), nowhere)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tt_compute.testing.plugin"]
    return subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:asyncio", *arguments],
        cwd=folder,
        env={**os.environ, **keys, **proxies, "TTC_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The application where nothing else of ours lies."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    return shutil.copytree(APP, tmp_path / "app", ignore=ignored)


@pytest.mark.parametrize(
    ("needs", "arguments"),
    [
        (None, ("-p", "no:randomly")),
        ("xdist", ("-n", "2")),
        ("pytest_randomly", ("-p", "randomly")),
        ("random_order", ("--random-order",)),
    ],
)
def test_the_suite_passes(app: Path, needs: str | None, arguments: tuple[str, ...]) -> None:
    """In any order and in several processes; it keeps nothing in the user's folders."""
    if needs is not None and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    done = run_suite(app, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= LEAST_TESTS
    assert not (app / "data").exists()


def test_the_suite_sees_a_change_of_the_configuration(app: Path) -> None:
    """A model that is worse is not chosen any more, and a test says so."""
    config = app / "src" / "homework_desk" / "ttc.yaml"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("success_rate: 0.92", "success_rate: 0.6"), encoding="utf-8")
    done = run_suite(app, "tests/test_choice.py", "-p", "no:randomly")
    assert done.returncode == 1
    assert "not 'groq/gpt-oss-120b'" in done.stdout
