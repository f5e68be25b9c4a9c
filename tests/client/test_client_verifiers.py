"""Verifiers by name, as a client's requests use them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import InvalidRequestError, UnknownNameError, VerifierError
from tt_compute.planning.types import Objective

NEEDS_SANDBOX = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)
PROGRAM = "```python\ndef add(a, b):\n    return a {} b\n```"


def deployment(name: str, script: list[str], **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "backend": "mock",
        "model": "mock",
        "hardware": "mock",
        "options": {"rules": [{"pattern": ".", "script": script}]},
        **more,
    }


@pytest.fixture
def connect(environ: dict[str, str]) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(samples: list[str], judge: list[str] = ["VERDICT: CORRECT"], **more: Any) -> Client:  # noqa: B006 - is only read
        mapping = {
            "deployments": [
                deployment("scripted", samples),
                deployment(
                    "grader", judge, price={"usd_per_mtok": {"input": 1000, "output": 1000}}
                ),
            ]
        }
        config = Config.from_mapping(mapping, environ=environ)
        clients.append(Client(config, environ={**environ, **more}))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def solve(client: Client, verifier: Any, prompt: str = "6 * 7 = ?", **options: Any) -> Any:
    return client.solve(prompt, verifier=verifier, deployment="scripted", **options)


def test_a_verifier_of_one_kind_of_task_decides_what_the_task_is(
    connect: Callable[..., Client],
) -> None:
    result = solve(connect(["It is 41.", "It is 42.1."]), "numeric=42,0.5", "Which number is it?")
    assert (result.task, result.answer, result.receipt.stop_reason) == ("math", "42.1", "verifier")
    with pytest.raises(InvalidRequestError, match="numeric"):
        solve(connect(["42"]), "numeric=42", task="open")


def test_a_judge_is_asked_and_its_tokens_and_cost_are_on_the_receipt(
    connect: Callable[..., Client],
) -> None:
    client = connect(["It is 41.", "It is 42."], ["VERDICT: INCORRECT", "VERDICT: CORRECT"])
    result = solve(client, "judge=grader", objective=Objective(max_samples=2))
    assert result.receipt.verifier_tokens > 0
    assert result.receipt.cost_usd == pytest.approx(result.receipt.verifier_tokens * 1e-3)
    assert result.receipt.samples_drawn <= 2


def test_a_judge_that_gives_no_verdict_was_paid_for_all_the_same(
    connect: Callable[..., Client],
) -> None:
    client = connect(["It is 42."] * 2, ["Hard to say."])
    with pytest.raises(VerifierError, match="no verdict") as caught:
        solve(client, "judge=grader", objective=Objective(max_samples=1))
    partial: Any = caught.value.partial
    assert partial.receipt.verifier_tokens > 0
    assert partial.receipt.cost_usd > 0


def test_what_a_judge_of_unknown_reliability_picks_is_of_unknown_quality(
    connect: Callable[..., Client],
) -> None:
    client = connect(["It is 42."])
    unknown = client.plan("6 * 7 = ?", verifier="judge=grader", deployment="scripted")
    known = client.plan("6 * 7 = ?", verifier="judge=grader,0.9,0.1", deployment="scripted")
    assert unknown.chosen is not None
    assert known.chosen is not None
    assert unknown.chosen.predicted.quality is None
    assert known.chosen.predicted.quality is not None


def test_only_a_judge_that_is_known_to_be_exact_teaches(connect: Callable[..., Client]) -> None:
    result = solve(connect(["It is 42."]), "judge=grader")
    assert (result.tally.accepted, result.tally.refused, result.tally.verdicts) == (0, 0, {})
    result = solve(connect(["It is 42.1."]), "numeric=42,0.5")
    assert (result.tally.accepted, result.tally.refused) == (1, 0)
    assert set(result.tally.verdicts.values()) == {True}


def test_a_judge_that_does_not_exist_is_refused_before_anything_is_drawn(
    connect: Callable[..., Client],
) -> None:
    with pytest.raises(UnknownNameError, match="nobody"):
        solve(connect(["42"]), "judge=nobody")


def test_prompts_that_must_stay_local_go_to_no_judge_elsewhere(
    environ: dict[str, str],
) -> None:
    with Client(
        Config.from_mapping({"deployments": [deployment("scripted", ["42"])]}, environ=environ),
        environ=environ,
    ) as client:
        objective = Objective(locality="local")
        with pytest.raises(InvalidRequestError, match="not local"):
            client.plan("6 * 7 = ?", verifier="judge=groq/gpt-oss-120b", objective=objective)


@NEEDS_SANDBOX
def test_the_first_program_that_passes_its_tests_is_the_answer(
    connect: Callable[..., Client], tmp_path: Path
) -> None:
    tests = tmp_path / "tests.json"
    tests.write_text(json.dumps({"tests": [{"call": "add", "args": [2, 3], "expected": 5}]}))
    client = connect([PROGRAM.format("-"), PROGRAM.format("+")])
    result = solve(client, f"code={tests}", "Add two numbers.", objective=Objective(max_samples=2))
    assert (result.task, result.receipt.stop_reason) == ("code", "verifier")
    assert result.answer == "def add(a, b):\n    return a + b"


def test_where_no_program_can_be_run_nothing_is_drawn(
    connect: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = tmp_path / "tests.py"
    tests.write_text("assert add(1, 1) == 2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VerifierError, match="bubblewrap") as caught:
        solve(connect([PROGRAM.format("+")]), f"code={tests}", "Add two numbers.")
    assert caught.value.partial is None


def test_the_environment_names_another_sandbox(
    connect: Callable[..., Client], tmp_path: Path
) -> None:
    tests = tmp_path / "tests.py"
    tests.write_text("assert add(1, 1) == 2")
    client = connect([PROGRAM.format("+")], TTC_SANDBOX="none-such")
    with pytest.raises(UnknownNameError, match="none-such"):
        solve(client, f"code={tests}", "Add two numbers.")
