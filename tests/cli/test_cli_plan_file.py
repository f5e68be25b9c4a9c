"""``ttc plan --save``, ``--load`` and ``ttc solve --load``; and what a plan shows of its margins."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]
ASKED = "What is 6 times 7?"


@pytest.fixture(autouse=True)
def config(home: Path) -> Path:
    file = home / "ttc.yaml"
    file.write_text("deployments: [mock, mock/strong]\n", encoding="utf-8")
    return file


@pytest.fixture
def saved(ttc: Ttc, home: Path) -> Path:
    done = ttc("plan", ASKED, "--quality", "0.7", "--prefer", "latency", "--save", "plan.json")
    assert done.code == 0, done.err
    return home / "plan.json"


def refused(done: Any, *words: str) -> None:
    assert done.code == 2
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert "hint:" in done.err
    assert "fault in the program" not in done.err


# --- keeping and running ---------------------------------------------------------------------------


def test_save_says_where_and_leaves_the_document_alone(ttc: Ttc, home: Path) -> None:
    done = ttc("plan", ASKED, "--save", "plan.json", "--json")
    assert done.err == "wrote plan.json\n"
    file = json.loads((home / "plan.json").read_bytes())
    assert (file["format"], file["version"]) == ("tt_compute.plan", 1)
    assert file["chosen"].pop("sampling")["max_tokens"]
    assert file["chosen"].pop("then") is None
    assert file["chosen"].pop("weight") is None
    assert file["chosen"].pop("members") == []
    assert file["chosen"].pop("ahead") == 1
    assert file["chosen"] == done.document["chosen"]


def test_load_without_a_prompt_shows_the_same_again(ttc: Ttc, saved: Path, config: Path) -> None:
    """Also where nothing of it exists any more."""
    shown = ttc("plan", ASKED, "--quality", "0.7", "--prefer", "latency").out
    document = ttc("plan", "--load", "plan.json", "--json").document
    config.write_text("deployments: []\n", encoding="utf-8")
    done = ttc("plan", "--load", "plan.json")
    assert done.out == shown
    assert done.err == ""
    assert document["chosen"] in document["candidates"]


def test_solve_runs_the_plan(ttc: Ttc, saved: Path) -> None:
    """With its prediction on the receipt."""
    chosen = ttc("plan", "--load", "plan.json", "--json").document["chosen"]
    done = ttc("solve", "What is 7 times 6?", "--load", "plan.json", "--json")
    assert done.code == 0
    assert done.document["plan"] == chosen
    assert done.document["receipt"]["predicted"] == chosen["predicted"]
    assert ttc("solve", ASKED).out != ""


def test_a_plan_keeps_its_seed(ttc: Ttc) -> None:
    ttc("plan", ASKED, "--seed", "11", "--save", "plan.json")
    runs = [ttc("solve", ASKED, "--load", "plan.json", "--json").document for _ in range(2)]
    assert [run["receipt"]["seed"] for run in runs] == [11, 11]
    assert runs[0]["samples"] == runs[1]["samples"]


def test_a_seed_a_system_prompt_and_a_file_go_with_a_plan(
    ttc: Ttc, saved: Path, home: Path
) -> None:
    (home / "prompt.txt").write_text(ASKED, encoding="utf-8")
    line = ("--file", "prompt.txt", "--system", "Be brief.", "--seed", "0", "--load", "plan.json")
    assert ttc("solve", *line, "--json").document["receipt"]["seed"] == 0


def test_a_verifier_is_passed_again(ttc: Ttc) -> None:
    ttc("plan", ASKED, "--verifier", "exact=42", "--save", "plan.json")
    refused(ttc("solve", ASKED, "--load", "plan.json", "--json"), "needs a verifier")
    done = ttc("solve", ASKED, "--load", "plan.json", "--verifier", "exact=42", "--json")
    assert done.document["plan"]["strategy"] == "best_of_n"


def test_what_has_changed_is_warned_of(ttc: Ttc, saved: Path, config: Path) -> None:
    override = {"id": "mock", "override": {"price": {"usd_per_hour": 2}}}
    config.write_text(json.dumps({"deployments": [override, "mock/strong"]}), encoding="utf-8")
    words = "price.usd_per_hour was 0 and is 2"
    for line in (("plan", ASKED), ("solve", ASKED), ("solve", ASKED, "--json")):
        done = ttc(*line, "--load", "plan.json")
        assert done.code == 0
        assert words in done.err
    assert any(words in warning for warning in done.document["warnings"])


def test_the_file_holds_no_secret(ttc: Ttc, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor where it is sent, nor the prompt."""
    monkeypatch.setenv("MY_KEY", "gsk_0123456789abcdefghijklmnop")
    service = {
        "id": "mine",
        "backend": "mock",
        "model": "mock",
        "hardware": "mock",
        "auth": {"env": "MY_KEY"},
        "endpoint": {"base_url": "http://localhost:9/hunter2"},
        "options": {"answers": ["private words"]},
    }
    (home / "ttc.yaml").write_text(json.dumps({"deployments": [service]}), encoding="utf-8")
    assert ttc("plan", ASKED, "--system", "Mind me.", "--save", "plan.json").code == 0
    text = (home / "plan.json").read_text(encoding="utf-8")
    for secret in ("gsk_", "MY_KEY", "hunter2", "localhost", "private", "6 times", "Mind me"):
        assert secret not in text


def test_a_plan_that_chose_nothing_is_not_saved(ttc: Ttc, home: Path) -> None:
    done = ttc("plan", ASKED, "--quality", "0.99999", "--strict", "--save", "plan.json", "--json")
    assert done.code == 3
    assert done.document["error"]["type"] == "InfeasibleError"
    assert not (home / "plan.json").exists()


# --- bad input -------------------------------------------------------------------------------------

DECIDED = [
    ("--task", "math"),
    ("--quality", "0.9"),
    ("--max-cost-usd", "0"),
    ("--max-latency-s", "10"),
    ("--max-energy-j", "1"),
    ("--max-samples", "8"),
    ("--locality", "any"),
    ("--prefer", "cost"),
    ("--strategy", "majority"),
    ("--stop", "beta"),
    ("--temperature", "0"),
    ("--max-tokens", "64"),
    ("--deployment", "mock"),
    ("--strict",),
]


@pytest.mark.parametrize("command", ["solve", "plan"])
@pytest.mark.parametrize("line", DECIDED, ids=lambda line: line[0])
def test_what_the_plan_has_decided_cannot_be_said(
    ttc: Ttc, saved: Path, command: str, line: tuple[str, ...]
) -> None:
    refused(ttc(command, ASKED, "--load", "plan.json", *line, "--json"), line[0], "--load")


@pytest.mark.parametrize(
    "line",
    [
        ("--system", "x"),
        ("--verifier", "exact=42"),
        ("--seed", "0"),
    ],
)
def test_without_a_prompt_what_goes_with_one_is_refused(
    ttc: Ttc, saved: Path, line: tuple[str, ...]
) -> None:
    refused(ttc("plan", "--load", "plan.json", *line), line[0], "without a prompt")


def test_contradictions_are_refused(ttc: Ttc, saved: Path) -> None:
    refused(ttc("plan", "--load", "plan.json", "--save", "b.json"), "--save and --load")
    refused(ttc("solve", "--load", "plan.json"), "give one prompt")
    refused(ttc("solve", ASKED, "--load", "plan.json", "--verifier", "exact=42"), "asks none")
    ttc("plan", ASKED, "--seed", "1", "--save", "plan.json")
    refused(ttc("solve", ASKED, "--load", "plan.json", "--seed", "2"), "the plan has a seed")


@pytest.mark.parametrize("command", [("solve", ASKED), ("plan", ASKED), ("plan",)])
@pytest.mark.parametrize(
    ("data", "word"),
    [
        (None, "No such file"),
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"\x00\xff", "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"{}", "is no plan"),
        (b'{"format": "tt_compute.plan", "version": 2}', "version 2"),
        (b'{"format": "tt_compute.plan", "version": 1}', "is missing"),
        (b'{"format": "tt_compute.plan", "version": 1, "\x1b[31m": 1}', "damaged"),
    ],
)
def test_a_bad_file_is_refused(
    ttc: Ttc, home: Path, command: tuple[str, ...], data: bytes | None, word: str
) -> None:
    if data is not None:
        (home / "bad.json").write_bytes(data)
    refused(ttc(*command, "--load", "bad.json", "--json"), "bad.json", word)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("wave", 99, "chosen.wave"),
        ("stop_rule", "betta", "chosen.stop_rule"),
        ("max_samples", 0, "chosen.max_samples"),
        ("deploymint", "mock", "chosen.deploymint: unknown key"),
        ("sampling", {}, "chosen.sampling.temperature"),
        ("model\x1b[31m", "x", "unknown key"),
    ],
)
def test_an_impossible_value_is_refused_with_its_place(
    ttc: Ttc, saved: Path, key: str, value: object, word: str
) -> None:
    document = json.loads(saved.read_bytes())
    document["chosen"][key] = value
    saved.write_text(json.dumps(document), encoding="utf-8")
    refused(ttc("solve", ASKED, "--load", "plan.json"), "plan.json: ", word, "plan again")


@pytest.mark.parametrize("path", [".", "none/plan.json", "pipe"])
def test_a_place_that_cannot_be_written_is_refused(ttc: Ttc, home: Path, path: str) -> None:
    os.mkfifo(home / "pipe")
    refused(ttc("plan", ASKED, "--save", path, "--json"), path)


@pytest.mark.parametrize("command", ["solve", "plan"])
@pytest.mark.parametrize(
    ("deployment", "word"),
    [
        ({"id": "renamed"}, "'mine' does not exist any more"),
        ({"model": {"id": "another"}}, "its model 'mock' became 'another'"),
        ({"backend": "groq"}, "its backend 'mock' became 'groq'"),
        ({"limits": {"max_context_tokens": 65}}, "do not fit into the context"),
    ],
)
def test_a_plan_that_no_longer_holds_is_refused(
    ttc: Ttc, home: Path, config: Path, command: str, deployment: dict[str, Any], word: str
) -> None:
    """With the file, the reason, and what to do."""
    mine = {"id": "mine", "backend": "mock", "model": "mock", "hardware": "mock"}
    config.write_text(json.dumps({"deployments": [mine]}), encoding="utf-8")
    assert ttc("plan", ASKED, "--save", "plan.json").code == 0
    config.write_text(json.dumps({"deployments": [{**mine, **deployment}]}), encoding="utf-8")
    done = ttc(command, ASKED, "--load", "plan.json", "--json")
    refused(done, "plan.json: ", word, "plan again")


# --- margins ---------------------------------------------------------------------------------------


def test_margins_stand_below_the_table_and_in_the_document(ttc: Ttc) -> None:
    line = (
        *("plan", ASKED, "--max-latency-s", "2", "--deployment", "mock/strong"),
        *("--stop", "beta", "--ahead", "1"),
    )
    out = ttc(*line).out
    assert "One second more: mock/strong, majority of up to 4" in out
    assert "One cent more" not in out
    (margin,) = ttc(*line, "--json").document["margins"]
    assert margin["give"] == {"latency_s": 1.0}
    assert margin["gain"]["quality"] == pytest.approx(0.072, abs=1e-3)
    assert margin["candidate"]["max_samples"] == 4


def test_where_nothing_is_to_be_gained_nothing_is_said(ttc: Ttc) -> None:
    done = ttc("plan", ASKED, "--deployment", "mock")
    assert " more: " not in done.out
    assert ttc("plan", ASKED, "--deployment", "mock", "--json").document["margins"] == []


def test_the_table_is_said_to_be_the_frontier(ttc: Ttc) -> None:
    line = ("plan", ASKED, "--deployment", "mock", "--ahead", "1")
    assert "Shown is the frontier: 4 candidates" in ttc(*line).out
