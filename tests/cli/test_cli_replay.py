"""``ttc replay`` and ``ttc record``: documents, tables, files, and one bad value for every option."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_compute.stopping import STOP_RULES

Ttc = Callable[..., Any]
Write = Callable[..., Path]

FIGURES = {
    "accuracy",
    "accuracy_ci95",
    "samples_mean",
    "output_tokens_mean",
    "cancelled_tokens_mean",
    "waves_mean",
    "latency_tokens_mean",
    "latency_s_mean",
    "cost_usd_mean",
    "abstained",
}


@pytest.fixture(autouse=True)
def samples(home: Path) -> None:
    """Two questions: ``samples.jsonl`` with answers, ``questions.jsonl`` without."""
    lines = [
        {"question_id": "p", "model": "m", "gold": "a", "samples": ["a"] * 7 + ["b"]},
        {"question_id": "q", "model": "m", "gold": "a", "samples": ["a", "b"] * 4},
    ]
    text = "".join(json.dumps({**line, "tokens": [10] * 8}) + "\n" for line in lines)
    (home / "samples.jsonl").write_text(text, encoding="utf-8")
    questions = [{"question": f"What is {number} times 7?", "gold": "42"} for number in (6, 7)]
    (home / "questions.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in questions), encoding="utf-8"
    )


def test_the_document_has_these_keys_and_no_others(ttc: Ttc) -> None:
    """Scripts rely on them; every baseline has those of the policy."""
    document = ttc("replay", "samples.jsonl", "--json", "--seed", "1").document
    assert document.keys() == {"questions", "baselines", *FIGURES}
    assert document["baselines"].keys() == {"single", "fixed_n", "oracle"}
    assert all(figures.keys() == FIGURES for figures in document["baselines"].values())
    assert document["questions"] == 2
    assert document["baselines"]["fixed_n"]["samples_mean"] == 8
    assert document["baselines"]["single"]["accuracy"] == pytest.approx(11 / 16)
    assert document["baselines"]["oracle"]["accuracy"] == 1
    assert document["latency_s_mean"] is None


def test_the_same_seed_gives_the_same_document(ttc: Ttc) -> None:
    first, again = (ttc("replay", "samples.jsonl", "--json", "--seed", "3").out for _ in range(2))
    assert first == again


def test_a_question_in_several_lines_is_told(ttc: Ttc, home: Path) -> None:
    """It may be recorded with several seeds, or twice by mistake."""
    file = home / "samples.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines()
    again = json.dumps({**json.loads(lines[0]), "seed": 1})
    file.write_text("\n".join([*lines, again]), encoding="utf-8")
    done = ttc("replay", "samples.jsonl")
    assert (done.code, done.err) == (
        0,
        "warning: 1 question in several lines each: all of them count\n",
    )


def test_a_deployment_tells_seconds_and_dollars(ttc: Ttc) -> None:
    document = ttc("replay", "samples.jsonl", "--json", "--deployment", "mock").document
    assert document["latency_s_mean"] > 0
    assert document["cost_usd_mean"] == 0


def test_the_table_holds_the_policy_and_its_baselines(ttc: Ttc) -> None:
    done = ttc("replay", "samples.jsonl", "--stop", "beta:0.9", "--shuffles", "3")
    assert done.code == 0
    names = [line.split("  ")[0] for line in done.out.splitlines()[2:]]
    assert names == ["majority, beta:0.9", "single", "fixed 8", "oracle"]


@pytest.mark.parametrize(
    ("verifier", "waves"), [("exact", None), ("reward:0.5", None), ("reward", 1)]
)
def test_best_of_n_draws_one_by_one_where_one_can_end_it(
    ttc: Ttc, home: Path, verifier: str, waves: int | None
) -> None:
    """Where no sample can be accepted, the whole budget is one wave."""
    line = {"question_id": "p", "gold": "a", "samples": ["b", "b", "b"], "reward": [0, 0.1, 0]}
    (home / "samples.jsonl").write_text(json.dumps(line), encoding="utf-8")
    arguments = ("--strategy", "best_of_n", "--verifier", verifier, "--json")
    document = ttc("replay", "samples.jsonl", *arguments).document
    assert document["samples_mean"] == 3
    assert document["waves_mean"] == (waves or 3)


def test_a_stop_rule_of_scores_ends_a_contest(ttc: Ttc, home: Path) -> None:
    """Sample by sample, though the verifier by itself would accept none."""
    line = {"question_id": "p", "gold": "a", "samples": ["b", "a", "b"], "reward": [0.6, 0.8, 0]}
    (home / "samples.jsonl").write_text(json.dumps(line), encoding="utf-8")
    arguments = ("--strategy", "best_of_n", "--verifier", "reward", "--shuffles", "9", "--json")
    document = ttc("replay", "samples.jsonl", *arguments, "--stop", "threshold:0.5").document
    assert document["samples_mean"] < 3
    assert document["waves_mean"] == document["samples_mean"]


def test_a_sweep_of_every_rule_holds_every_rule(ttc: Ttc) -> None:
    document = ttc("replay", "samples.jsonl", "--sweep", "--json").document
    assert {row["stop_rule"] for row in document["sweep"]} == {None, *STOP_RULES}


def test_a_sweep_is_a_table_a_document_and_a_picture(ttc: Ttc, home: Path) -> None:
    """Every budget with every rule that was named, beside votes without one."""
    rules = ("--stop", "beta", "--stop", "beta:0.9", "--ahead", "1")
    arguments = ("replay", "samples.jsonl", "--sweep", *rules)
    document = ttc(*arguments, "--json", "--plot", "sweep.png").document
    assert [(row["stop_rule"], row["budget"]) for row in document["sweep"]] == [
        (rule, budget)
        for rule, budgets in ((None, (1, 2, 4, 8)), ("beta", (2, 4, 8)), ("beta:0.9", (2, 4, 8)))
        for budget in budgets
    ]
    assert {"strategy", "wave", "pareto", *FIGURES} <= document["sweep"][0].keys()
    assert any(row["pareto"] for row in document["sweep"])
    assert (home / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert len(ttc(*arguments).out.splitlines()) == 13


def test_a_fit_can_be_planned_with(ttc: Ttc, home: Path) -> None:
    """The profile goes into a folder of profiles, and a deployment takes it."""
    (home / "mine" / "models").mkdir(parents=True)
    done = ttc("replay", "samples.jsonl", "--fit", "mine/models/m.yaml", "--deployment", "mock")
    assert done.code == 0
    assert "wrote" in done.err
    (home / "ttc.yaml").write_text(
        "profiles: [./mine]\ndeployments: [{id: mock, override: {model: mock-fitted}}]\n",
        encoding="utf-8",
    )
    plan = ttc("plan", "6 * 7 = ?", "--strategy", "single", "--task", "math", "--json").document
    assert plan["chosen"]["predicted"]["quality"] == pytest.approx(11 / 16, abs=1e-4)


def test_a_fit_of_several_models_is_refused(ttc: Ttc, home: Path) -> None:
    with (home / "samples.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"question_id": "r", "model": "n", "gold": "a", "samples": ["a"]}\n')
    done = ttc("replay", "samples.jsonl", "--budget", "1", "--fit", "m.yaml", "--json")
    assert done.code == 2
    assert "one model" in done.err
    assert done.out == ""
    assert not (home / "m.yaml").exists()


def test_what_is_recorded_can_be_replayed(ttc: Ttc, scripted: Write) -> None:
    """And is skipped when it is there."""
    scripted(answers=["The answer is 42."])
    arguments = ("record", "new.jsonl", "--questions", "questions.jsonl", "--samples", "4")
    first = ttc(*arguments, "--deployment", "scripted", "--json").document
    assert (first["recorded"], first["skipped"], first["samples"]) == (2, 0, 8)
    assert ttc(*arguments, "--deployment", "scripted").code == 2
    again = ttc(*arguments, "--deployment", "scripted", "--resume", "--json").document
    assert (again["recorded"], again["skipped"]) == (0, 2)
    document = ttc("replay", "new.jsonl", "--json").document
    assert (document["accuracy"], document["samples_mean"]) == (0.5 * 2, 3)


def test_a_recording_that_fails_says_so(ttc: Ttc, scripted: Write, home: Path) -> None:
    """The questions that were complete are there, and it can go on."""
    fault = {"kind": "malformed", "pattern": "7 times", "rate": 1.0}
    scripted(answers=["The answer is 42."], faults=[fault])
    arguments = ("record", "new.jsonl", "--questions", "questions.jsonl", "--samples", "4")
    done = ttc(*arguments, "--deployment", "scripted", "--json")
    assert done.code == 4
    assert "--resume" in done.document["error"]["hint"]
    assert len((home / "new.jsonl").read_text(encoding="utf-8").splitlines()) == 1


REPLAY = ("replay", "samples.jsonl")
RECORD = (
    "record",
    "new.jsonl",
    "--questions",
    "questions.jsonl",
    "--deployment",
    "mock",
    "--samples",
    "2",
)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (("replay",), "FILE"),
        (("replay", "none.jsonl"), "No such file"),
        (("replay", "."), "."),
        ((*REPLAY, "--strategy", "majorty"), "majority"),
        ((*REPLAY, "--strategy", "mbr"), "reads texts"),
        ((*REPLAY, "--strategy", "knockout"), "reads texts"),
        ((*REPLAY, "--stop", "betta"), "beta"),
        ((*REPLAY, "--stop", "beta:2"), "between 0.5 and 1"),
        ((*REPLAY, "--stop", "beta", "--stop", "beta:0.9"), "--sweep"),
        ((*REPLAY, "--stop", "beta", "--strategy", "single"), "holds none"),
        ((*REPLAY, "--stop", "threshold:0.5"), "best_of_n"),
        ((*REPLAY, "--stop", "lead:2.5"), "whole number"),
        ((*REPLAY, "--stop", "lead", "--strategy", "best_of_n"), "holds none"),
        ((*REPLAY, "--stop", "pandora:-1", "--strategy", "best_of_n"), "above 0"),
        ((*REPLAY, "--verifier", "exact"), "best_of_n"),
        ((*REPLAY, "--weight", "logprob", "--verifier", "exact"), "asks none"),
        ((*REPLAY, "--weight", "logprobs"), "did you mean 'logprob'"),
        ((*REPLAY, "--weight", "logprob:0"), "temperature above 0"),
        ((*REPLAY, "--weight", "tail"), "recordings hold nothing"),
        ((*REPLAY, "--weight", "logprob"), "no `logprob`"),
        ((*REPLAY, "--weight", "verifier", "--strategy", "best_of_n"), "holds none"),
        ((*REPLAY, "--weight", "logprob", "--stop", "beta"), "counts votes"),
        ((*REPLAY, "--weight", "verifier", "--stop", "certain"), "no upper bound"),
        ((*REPLAY, "--strategy", "best_of_n", "--verifier", "exakt"), "reward"),
        ((*REPLAY, "--strategy", "best_of_n", "--verifier", "reward:x"), "no reward"),
        ((*REPLAY, "--strategy", "best_of_n", "--verifier", "reward:nan"), "no reward"),
        ((*REPLAY, "--strategy", "best_of_n", "--verifier", "reward"), "no `reward`"),
        ((*REPLAY, "--ahead", "2"), "0<=x<=1"),
        ((*REPLAY, "--ahead", "nan"), "0<=x<=1"),
        ((*REPLAY, "--ahead", "0.5", "--strategy", "best_of_n"), "count alike"),
        ((*REPLAY, "--ahead", "0.5", "--weight", "verifier"), "count alike"),
        ((*REPLAY, "--budget", "0"), "0"),
        ((*REPLAY, "--budget", "9"), "--budget 8"),
        ((*REPLAY, "--wave", "0"), "deficit"),
        ((*REPLAY, "--wave", "wide"), "deficit"),
        ((*REPLAY, "--seed", "x"), "x"),
        ((*REPLAY, "--shuffles", "0"), "0"),
        ((*REPLAY, "--equal", "roughly"), "exact"),
        ((*REPLAY, "--deployment", "moc"), "mock"),
        ((*REPLAY, "--prompt-tokens", "-1"), "-1"),
        ((*REPLAY, "--plot", "p.png"), "--sweep"),
        ((*REPLAY, "--sweep", "--plot", "none/p.png"), "no folder"),
        ((*REPLAY, "--fit", "none/f.yaml"), "no folder"),
        ((*REPLAY, "--fit", "."), "."),
        ((*REPLAY, "--task", "maths"), "math"),
        ((*REPLAY, "--config", "none.yaml", "--deployment", "mock"), "none.yaml"),
        (("record", "new.jsonl"), "--questions"),
        (("record", "samples.jsonl", *RECORD[2:]), "--resume"),
        (("record", "samples.jsonl", *RECORD[2:], "--resume"), "recorded from"),
        (("record", "none/new.jsonl", *RECORD[2:]), "no folder"),
        ((*RECORD, "--questions", "none.jsonl"), "human-eval[:N]"),
        ((*RECORD, "--questions", "human-eval:0"), "human"),
        ((*RECORD, "--questions", "samples.jsonl"), "samples.jsonl:1"),
        ((*RECORD, "--questions", "reasoning-gym:x:1"), "reasoning"),
        ((*RECORD, "--deployment", "moc"), "mock"),
        ((*RECORD, "--samples", "0"), "0"),
        ((*RECORD, "--task", "maths"), "math"),
        ((*RECORD, "--temperature", "9"), "temperature"),
        ((*RECORD, "--temperature", "nan"), "temperature"),
        ((*RECORD, "--max-tokens", "0"), "max_tokens"),
        ((*RECORD, "--seed", "x"), "x"),
        ((*RECORD, "--system", "half \udcff"), "surrogate"),
        ((*RECORD, "--concurrency", "0"), "0"),
        ((*RECORD, "--config", "none.yaml"), "none.yaml"),
    ],
)
def test_bad_usage_is_refused(ttc: Ttc, home: Path, line: tuple[str, ...], word: str) -> None:
    """With a line that says what to do, code 2, no document, and nothing written."""
    before = sorted(path.name for path in home.iterdir())
    done = ttc(*line, "--json")
    assert done.code == 2
    assert done.out == ""
    assert word in done.err
    assert "fault in the program" not in done.err
    assert sorted(path.name for path in home.iterdir()) == before
