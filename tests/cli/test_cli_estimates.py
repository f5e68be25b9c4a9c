"""``ttc estimates``: what was learned, shown, handed on, taken in and forgotten."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tt_compute as tt

Ttc = Callable[..., Any]


@pytest.fixture(autouse=True)
def config(home: Path) -> Path:
    file = home / "ttc.yaml"
    file.write_text("deployments: [mock, mock/strong]\n", encoding="utf-8")
    return file


@pytest.fixture
def judged(config: Path) -> None:
    """Four runs, each of which was right."""
    with tt.Client() as client:
        for number in range(4):
            prompt = f"What is 6 times {number}?"
            result = client.solve(prompt, deployment="mock", strategy="single", temperature=0.8)
            client.feedback(result.id, correct=True)


def refused(done: Any, *words: str) -> None:
    assert done.code == 2
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert "fault in the program" not in done.err


@pytest.mark.usefixtures("judged")
def test_show_tells_stated_and_learned(ttc: Ttc) -> None:
    document = ttc("estimates", "show", "--mock", "--json").document
    (ability,) = document["abilities"]
    assert (ability["model"], ability["task"], ability["questions"]) == ("mock", "math", 4)
    assert 3.9 < ability["questions_weight"] <= 4
    rate = ability["success_rate"]
    assert rate["stated"] == 0.6
    assert rate["learned"] not in (None, 0.6)
    assert document["speeds"][0]["deployment"] == "mock"
    assert document["speeds"][0]["predicted"] is not None
    shown = ttc("estimates", "show", "--mock").out
    assert "mock, math: 4 questions" in shown
    assert f"{rate['stated']:.1%}" in shown
    assert f"{rate['learned']:.1%}" in shown
    answers = ability["logprobs"]["answers"]
    assert ability["logprobs"] == {"answers": answers, "centre": None, "slope": None}
    assert f"log-probabilities of {answers} judged answers: nothing yet" in shown


def test_show_tells_what_log_probabilities_are_worth(ttc: Ttc) -> None:
    with tt.Client() as client:
        for seed in range(30):
            result = client.solve(
                "What is 6 times 7?",
                deployment="mock",
                strategy="single",
                temperature=0.8,
                seed=seed,
            )
            client.feedback(result.id, correct=(result.samples[0].mean_logprob or 0) > -0.5)
    (ability,) = ttc("estimates", "show", "--mock", "--json").document["abilities"]
    found = ability["logprobs"]
    assert 20 <= found["answers"] <= 30
    assert found["slope"] > 0
    told = (
        f"{found['slope'] / 10:+.2g} of log-odds for a tenth of a nat above {found['centre']:.3f}"
    )
    assert told in ttc("estimates", "show", "--mock").out


def test_show_of_nothing_says_what_teaches(ttc: Ttc) -> None:
    assert "nothing was learned" in ttc("estimates", "show").out


@pytest.mark.usefixtures("judged")
def test_show_keeps_to_what_was_asked_for(ttc: Ttc) -> None:
    for option in (("--deployment", "mock"), ("--model", "mock")):
        document = ttc("estimates", "show", "--mock", "--json", *option).document
        assert document["abilities"]
        assert document["speeds"]
    for option in (("--deployment", "mock/strong"), ("--model", "mock-strong")):
        document = ttc("estimates", "show", "--mock", "--json", *option).document
        assert document["abilities"] == document["speeds"] == []


@pytest.mark.usefixtures("judged")
def test_mock_runs_are_shown_only_when_asked_for(ttc: Ttc) -> None:
    assert ttc("estimates", "show", "--json").document["abilities"] == []


@pytest.mark.usefixtures("judged")
def test_what_was_exported_can_be_taken_in_elsewhere(
    ttc: Ttc, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ttc("estimates", "export", "learned.json", "--mock")
    assert (done.code, done.out) == (0, "wrote learned.json: 4 questions\n")
    here = ttc("estimates", "show", "--mock", "--json").document["abilities"]
    monkeypatch.setenv("TTC_DATA_DIR", str(home / "elsewhere"))
    done = ttc("estimates", "import", "learned.json", "--json")
    assert done.document["questions"] == 4
    there = ttc("estimates", "show", "--mock", "--json").document
    assert there["abilities"] == here
    assert there["speeds"] == []
    assert there["imports"][0]["origin"] == done.document["origin"]
    assert "imported on" in ttc("estimates", "show", "--mock").out


@pytest.mark.usefixtures("judged")
def test_its_own_export_is_not_taken_in(ttc: Ttc) -> None:
    ttc("estimates", "export", "learned.json", "--mock")
    done = ttc("estimates", "import", "learned.json", "--json")
    assert done.code == 4
    assert "comes from this store" in done.document["error"]["message"]


@pytest.mark.usefixtures("judged")
def test_reset_forgets_and_keeps_the_receipts(ttc: Ttc) -> None:
    done = ttc("estimates", "reset", "--mock", "--task", "math", "--yes", "--json")
    assert done.document == {"runs": 4, "imports": 0}
    document = ttc("estimates", "show", "--mock", "--json").document
    assert document["abilities"] == document["speeds"] == []
    assert document["forgotten"] == 4
    assert "forgotten: 4 runs" in ttc("estimates", "show", "--mock").out
    assert ttc("store", "info", "--json").document["receipts"] == 4


@pytest.mark.usefixtures("judged")
def test_reset_without_a_terminal_needs_yes(ttc: Ttc) -> None:
    refused(ttc("estimates", "reset", "--mock", stdin=b"y\n"), "--yes")
    assert ttc("estimates", "show", "--mock", "--json").document["forgotten"] == 0


@pytest.mark.usefixtures("judged")
@pytest.mark.parametrize(("reply", "forgotten"), [(b"n\n", 0), (b"y\n", 4), (b"", 0)])
def test_reset_asks_at_a_terminal(
    ttc: Ttc, monkeypatch: pytest.MonkeyPatch, reply: bytes, forgotten: int
) -> None:
    import io

    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(io, "TextIOWrapper", Terminal)
    done = ttc("estimates", "reset", "--mock", stdin=reply)
    assert done.code == (0 if forgotten else 130)
    assert "everything" in done.err
    assert sys.stdin.isatty()
    assert ttc("estimates", "show", "--mock", "--json").document["forgotten"] == forgotten


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("show", "--model", "mok"), ("mok", "mock")),
        (("show", "--deployment", "mok"), ("mok", "mock")),
        (("export",), ("FILE",)),
        (("export", "nowhere/learned.json"), ("cannot be written",)),
        (("export", "."), ("directory",)),
        (("import", "nothing.json"), ("nothing.json", "cannot be read")),
        (("import", "ttc.yaml"), ("damaged",)),
        (("reset", "--task", "maths", "--yes"), ("maths",)),
        (("reset", "everything", "--yes"), ("everything",)),
    ],
)
def test_bad_input_is_refused(ttc: Ttc, line: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(ttc("estimates", *line, "--json"), *words)


@pytest.mark.parametrize("action", [("show",), ("export", "x.json"), ("reset", "--yes")])
def test_without_a_store_there_is_nothing_to_show(
    ttc: Ttc, config: Path, home: Path, action: tuple[str, ...]
) -> None:
    config.write_text("deployments: [mock]\nstore: {enabled: false}\n", encoding="utf-8")
    done = ttc("estimates", *action, "--json")
    assert done.code == 4
    assert "there is no store" in done.document["error"]["message"]
    assert not (home / "x.json").exists()


def test_a_bad_file_changes_nothing(ttc: Ttc, home: Path) -> None:
    """Also where only its last part is wrong."""
    assert ttc("estimates", "export", "learned.json", "--mock").code == 0
    tree = json.loads((home / "learned.json").read_bytes())
    good = {"model": "m", "task": "math", "observations": [{"right": 1}]}
    tree |= {"origin": "other", "models": [good, {"model": "m", "task": "math", "lengths": [{}]}]}
    (home / "learned.json").write_text(json.dumps(tree), encoding="utf-8")
    refused(ttc("estimates", "import", "learned.json", "--json"), "lengths")
    assert ttc("estimates", "show", "--mock", "--json").document["imports"] == []
