"""``ttc mock serve``: its one line, its end, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]
Spawn = Callable[..., "subprocess.Popen[str]"]

unix = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
SCENARIO = "deployments:\n  - id: mine\n    faults: [{kind: stall, after_tokens: 1}]\n"


@pytest.fixture
def scenario(home: Path) -> Path:
    file = home / "scenario.yaml"
    file.write_text(SCENARIO, encoding="utf-8")
    return file


def models_at(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/models", timeout=30) as response:
        return [model["id"] for model in json.load(response)["data"]]


@unix
def test_it_says_where_and_serves_until_ctrl_c(spawn: Spawn, scenario: Path) -> None:
    process = spawn("mock", "serve", str(scenario))
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert models_at(url) == ["mine"]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    with pytest.raises(OSError, match="refused"):
        models_at(url)


@unix
def test_it_ends_though_a_request_is_under_way(spawn: Spawn, scenario: Path) -> None:
    process = spawn("mock", "serve", str(scenario), "--json")
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    text = ""
    while not text.endswith("}\n"):
        text += next(lines)
    document = json.loads(text)
    assert document["models"] == ["mine"]
    body = {"model": "mine", "messages": [{"role": "user", "content": "Why?"}], "stream": True}
    request = urllib.request.Request(
        f"{document['url']}/chat/completions", data=json.dumps(body).encode()
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert b"The" in response.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_a_bad_scenario_is_refused_with_its_line(ttc: Ttc, home: Path) -> None:
    (home / "bad.yaml").write_text("deployments:\n  - id: a\n    fault: []\n", encoding="utf-8")
    done = ttc("mock", "serve", "bad.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: bad.yaml:3: deployments[0].fault: unknown key\n")


def test_a_scenario_that_is_not_there_is_refused(ttc: Ttc) -> None:
    done = ttc("mock", "serve", "none.yaml")
    assert done.code == 2
    assert done.err.startswith("error: none.yaml: cannot be read")


def test_what_is_missing_for_serving_is_named(
    ttc: Ttc, scenario: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_name: str) -> None: ...

    monkeypatch.setattr("tt_compute.cli.mock.find_spec", nothing)
    done = ttc("mock", "serve", str(scenario))
    assert done.code == 2
    assert 'pip install "tt-compute[openai]"' in done.err
