"""A server as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import pytest

from raw_client import ASKED


@contextmanager
def running(*options: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """The process and the URL that it prints."""
    with subprocess.Popen(
        [sys.executable, "-m", "ttc_servers", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def ask(url: str, model: str = "m") -> int:
    """The status of a completion."""
    body = msgspec.json.encode({**ASKED, "model": model})
    request = Request(f"{url}/chat/completions", data=body)
    try:
        with urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as exc:
        exc.close()
        return exc.code


def close_input(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def terminate(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("end", [close_input, terminate])
def test_it_prints_its_url_serves_and_ends_in_good_order(
    end: Callable[[subprocess.Popen[str]], None],
) -> None:
    with running("--service", "groq", "--key", "") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/openai/v1")
        assert ask(url) == 200
        assert ask(url, "fault:status@503") == 503
        end(process)
        assert process.wait(30) == 0


def test_its_faults_are_given_by_name() -> None:
    with running("--key", "", "--faults", "status@529") as (_, url):
        assert ask(url) == 529
