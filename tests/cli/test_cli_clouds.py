"""The command line over a cloud: a faithful server in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ttc_servers import closed_port
from ttc_servers.chat import KEY

SERVERS = Path(__file__).parents[1] / "servers"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Base URL of a Groq-shaped server; its key is in TEST_KEY."""
    monkeypatch.setenv("TEST_KEY", KEY)
    command = [sys.executable, "-m", "ttc_servers", "--service", "groq"]
    script = json.dumps({"texts": ["The answer is 42."]})
    with subprocess.Popen(
        [*command, "--script", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SERVERS)},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def write(home: Path, url: str, **more: Any) -> None:
    deployment = {
        "id": "cloud",
        "backend": "groq",
        "model": "gpt-oss-20b",
        "remote_model": "model-a",
        "hardware": "groq-lpu-cloud",
        "price": {"usd_per_mtok": {"input": 1, "output": 2}},
        "endpoint": {"base_url": url},
        "auth": {"env": "TEST_KEY"},
        **more,
    }
    (home / "ttc.yaml").write_text(json.dumps({"deployments": [deployment]}), encoding="utf-8")


def checks(done: Any) -> dict[str, Any]:
    found = json.loads(done.out)["checks"]
    return {
        one["name"].removeprefix("cloud: "): one["ok"] for one in found if "cloud" in one["name"]
    }


def test_solve_and_its_receipt(ttc: Any, home: Path, service: str) -> None:
    write(home, service)
    done = ttc("solve", "--json", "--max-samples", "4", "What is 6 times 7?")
    assert done.code == 0
    document = json.loads(done.out)
    assert document["answer"] == "42"
    assert document["receipt"]["cost_usd"] > 0
    assert document["samples"][0]["deployment"] == "cloud"


def test_doctor_finds_all_well_and_says_what_it_did_not_check(
    ttc: Any, home: Path, service: str
) -> None:
    write(home, service)
    done = ttc("doctor", "--json")
    assert done.code == 0
    found = checks(done)
    assert found == {
        "backend": True,
        "reach": True,
        "key": True,
        "model": True,
        "clock": None,
        "limits left": True,
        "completion": None,
    }


def test_doctor_finds_a_wrong_key_and_a_model_that_is_not_there(
    ttc: Any, home: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, service, remote_model="no-such-model")
    assert checks(ttc("doctor", "--json"))["model"] is False
    monkeypatch.setenv("TEST_KEY", "gsk_wrong")
    done = ttc("doctor", "--json")
    assert done.code == 4
    assert checks(done)["key"] is False
    assert "gsk_wrong" not in done.out + done.err


def test_doctor_finds_no_key_and_nobody_there(
    ttc: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home, f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("TEST_KEY", " ")
    assert checks(ttc("doctor", "--json"))["key"] is False
    monkeypatch.setenv("TEST_KEY", KEY)
    done = ttc("doctor", "--json")
    assert done.code == 4
    assert checks(done)["reach"] is False


def test_a_service_that_is_not_there_is_exit_4_in_one_line(
    ttc: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    write(home, f"http://127.0.0.1:{closed_port()}")
    done = ttc("solve", "What is 6 times 7?", "--strategy", "single")
    assert done.code == 4
    assert "127.0.0.1: cannot connect" in done.err


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"hedge_share": 2}, "ttc.yaml:1: dispatch.hedge_share: hedge_share must be 0 to 1"),
        ({"max_usd": 0}, "dispatch.max_usd: max_usd must be above 0"),
        ({"max_usd_per_day": -1}, "dispatch.max_usd_per_day"),
        ({"max_wait_s": -1}, "dispatch.max_wait_s"),
        ({"share_limits": "yes"}, "dispatch.share_limits"),
        ({"retries": 3}, "dispatch.retries"),
    ],
)
def test_a_bad_dispatch_section_is_refused_with_its_place(
    ttc: Any, home: Path, section: dict[str, Any], said: str
) -> None:
    (home / "ttc.yaml").write_text(json.dumps({"dispatch": section}), encoding="utf-8")
    done = ttc("config", "show")
    assert done.code == 2
    assert said in done.err
