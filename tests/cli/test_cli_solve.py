"""``ttc solve`` and ``ttc plan`` when all goes well, and when the run does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]
Write = Callable[..., Path]

ASK = ("6 * 7 = ?", "--deployment", "mock")


# --- solve ---------------------------------------------------------------------------------------


def test_solve_prints_the_answer_and_the_receipt(ttc: Ttc) -> None:
    done = ttc("solve", *ASK, "--seed", "1")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0].split() == ["Answer", "42"]
    assert any(line.split() == ["Receipt", "predicted", "actual"] for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_solve_with_json_prints_the_result_and_nothing_else(ttc: Ttc) -> None:
    done = ttc("solve", *ASK, "--seed", "1", "--json")
    assert done.code == 0
    assert done.err == ""
    assert done.document["answer"] == "42"
    assert done.document["receipt"]["seed"] == 1
    assert "error" not in done.document


def test_both_forms_tell_of_the_same_run(ttc: Ttc) -> None:
    document = ttc("solve", *ASK, "--seed", "1", "--json").document
    text = ttc("solve", *ASK, "--seed", "1").out
    assert f"{document['receipt']['samples_drawn']} samples" in text


def test_every_option_reaches_the_plan(ttc: Ttc) -> None:
    options = {
        "--quality": ("quality", 0.5),
        "--max-cost-usd": ("max_cost_usd", 1.5),
        "--max-latency-s": ("max_latency_s", 30.0),
        "--max-energy-j": ("max_energy_j", 99.0),
        "--max-samples": ("max_samples", 7),
        "--locality": ("locality", "local"),
        "--prefer": ("prefer", "cost"),
    }
    line = [word for name, (_, value) in options.items() for word in (name, str(value))]
    document = ttc("plan", *ASK, *line, "--json").document
    assert document["objective"] == dict(options.values())


def test_the_command_lines_objective_stands_on_the_configurations(
    ttc: Ttc, scripted: Write
) -> None:
    scripted(top={"objective": {"max_samples": 5, "quality": 0.4}})
    objective = ttc("plan", "6 * 7 = ?", "--quality", "0.5", "--json").document["objective"]
    assert (objective["quality"], objective["max_samples"]) == (0.5, 5)


def test_what_is_pinned_runs(ttc: Ttc) -> None:
    vote = ("--strategy", "majority", "--stop", "beta:0.9", "--temperature", "0.5")
    document = ttc("solve", *ASK, *vote, "--json").document
    assert (document["plan"]["strategy"], document["plan"]["stop_rule"]) == ("majority", "beta:0.9")
    limited = ttc("solve", *ASK, "--strategy", "single", "--max-tokens", "2", "--json").document
    assert [sample["finish_reason"] for sample in limited["samples"]] == ["length"]
    judged = ttc("solve", *ASK, "--verifier", "exact=42", "--json").document
    assert judged["receipt"]["stop_reason"] == "verifier"
    scored = ("--verifier", "exact=42", "--stop", "threshold:0.5")
    document = ttc("solve", *ASK, *scored, "--json").document
    assert document["plan"]["stop_rule"] == "threshold:0.5"
    assert document["receipt"]["stop_reason"] == "settled"
    assert "score was good enough" in ttc("solve", *ASK, *scored).out
    windows = ttc("solve", *ASK, "--stop", "esc:3", "--json").document
    assert windows["plan"]["stop_rule"] == "esc:3"
    assert windows["receipt"]["stop_posterior"] is None
    system = ttc("solve", *ASK, "--strategy", "single", "--system", "Be brief.", "--json").document
    assert system["receipt"]["input_tokens"] > 5
    named = ttc("solve", *ASK, "--task", "open", "--json").document
    assert named["task"] == "open"


def test_a_verifier_of_ones_own_is_found_beside_the_caller(ttc: Ttc, home: Path) -> None:
    """What it prints does not get between the lines of the document."""
    (home / "own_judge.py").write_text(
        "print('imported')\ndef judge(prompt, text):\n    print('judging')\n    return '42' in text\n",
        encoding="utf-8",
    )
    done = ttc("solve", *ASK, "--verifier", "own_judge:judge", "--json")
    assert done.document["receipt"]["stop_reason"] == "verifier"
    assert "judging" in done.err


def test_a_prompt_comes_from_standard_input_or_a_file(
    ttc: Ttc, home: Path, scripted: Write
) -> None:
    scripted(rules=[{"pattern": "^Größe", "answers": ["The answer is 7."]}])
    (home / "prompt.txt").write_bytes("Größe 3 + 4?\n".encode())
    assert ttc("solve", "-", "--json", stdin="Größe 3 + 4?".encode()).document["answer"] == "7"
    assert ttc("solve", "--file", "prompt.txt", "--json").document["answer"] == "7"


def test_no_answer_is_no_failure(ttc: Ttc, scripted: Write) -> None:
    scripted(answers=["I do not know."])
    done = ttc("solve", "6 * 7 = ?", "--json")
    assert (done.code, done.document["answer"]) == (0, None)
    assert "no sample held an answer" in done.document["warnings"][0]
    told = ttc("solve", "6 * 7 = ?")
    assert "none found" in told.out
    assert "warning: no sample held an answer" in told.err


def test_a_text_of_several_lines_can_be_copied(ttc: Ttc, scripted: Write) -> None:
    """Nothing is put before its lines, and none is wrapped."""
    text = f"First line\n    indented\n{'x' * 300}"
    scripted(answers=[text])
    assert f"\n{text}\n" in ttc("solve", "Write it.", "--strategy", "single").out


def test_the_text_of_an_open_prompt_is_shown_beside_a_short_answer(
    ttc: Ttc, scripted: Write
) -> None:
    """What was asked for is the text; the answer is what the samples voted by."""
    scripted(answers=["The capital of Kenya is Nairobi."])
    assert "The capital of Kenya is Nairobi." in ttc("solve", "Which capital has Kenya?").out


# --- failing runs --------------------------------------------------------------------------------


def test_a_backend_that_fails_ends_with_4(ttc: Ttc, scripted: Write) -> None:
    scripted(faults=[{"kind": "oom"}])
    done = ttc("solve", "6 * 7 = ?", "--json")
    assert done.code == 4
    assert done.document["error"]["type"] == "OutOfMemory"
    assert done.document["receipt"]["stop_reason"] == "failed"
    assert "error: " in done.err
    told = ttc("solve", "6 * 7 = ?")
    assert (told.code, told.err.count("error: ")) == (4, 1)


def test_a_deadline_without_an_answer_ends_with_4(ttc: Ttc, scripted: Write) -> None:
    scripted(faults=[{"kind": "stall"}])
    done = ttc("solve", "6 * 7 = ?", "--max-latency-s", "0.3", "--json")
    assert (done.code, done.document["error"]["type"]) == (4, "DeadlineExceeded")
    assert "hint: " in done.err


def test_under_strict_an_objective_out_of_reach_ends_with_3(ttc: Ttc) -> None:
    line = (*ASK, "--quality", "0.999", "--max-samples", "2", "--strict", "--json")
    solved, planned = ttc("solve", *line), ttc("plan", *line)
    assert (solved.code, planned.code) == (3, 3)
    assert (
        solved.document["error"]["type"] == planned.document["error"]["type"] == "InfeasibleError"
    )
    assert planned.document["chosen"] is None
    assert planned.document["candidates"]
    assert "infeasible: quality: 0.999 wanted" in planned.err


def test_without_strict_the_nearest_plan_runs_with_a_warning(ttc: Ttc) -> None:
    done = ttc("solve", *ASK, "--quality", "0.999", "--max-samples", "2")
    assert done.code == 0
    assert "warning: no plan meets the objective" in done.err
    assert "quality: 0.999 wanted" in done.err


def test_an_unexpected_error_is_told_without_a_traceback(
    ttc: Ttc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours, or of somebody's backend, is still a line and a document."""

    def broken(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("tt_compute.cli.ask.Client", broken)
    done = ttc("solve", *ASK, "--json")
    assert done.code == 4
    assert "KeyError" in done.document["error"]["message"]
    assert "fault in the program" in done.err


def test_debug_shows_the_traceback_and_keeps_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tt_compute.cli.main import main

    with pytest.raises(SystemExit) as end:
        main(["solve", "", "--debug"])
    assert end.value.code == 2
    assert "Traceback" in capsys.readouterr().err


# --- plan ----------------------------------------------------------------------------------------


def table_of(out: str) -> list[str]:
    lines = out.splitlines()
    return lines[: next(place for place, line in enumerate(lines) if line.startswith("→ chosen"))]


@pytest.mark.parametrize("deployment", ["mock", "mock/strong"])
def test_plan_fits_into_80_columns_and_cuts_no_id(ttc: Ttc, deployment: str) -> None:
    table = table_of(ttc("plan", "6 * 7 = ?", "--deployment", deployment).out)
    assert max(map(len, table)) <= 80
    assert table[1] == deployment


def test_plan_marks_the_chosen_and_shows_the_baseline(ttc: Ttc) -> None:
    """One sample is what every other plan is measured by, also where others beat it in all."""
    rows = [line.split() for line in table_of(ttc("plan", *ASK).out)[2:]]
    assert [row[:2] for row in rows if row[0] == "→"] == [["→", "majority"]]
    assert [row[:2] for row in rows if row[0] == "single"] == [["single", "1"]]


def test_plan_marks_what_misses_the_objective(ttc: Ttc) -> None:
    """Not by colour alone."""
    out = ttc("plan", *ASK, "--quality", "0.8").out
    marks = {line.split()[0] for line in out.splitlines() if "single" in line or "majority" in line}
    assert "x" in marks
    assert "x misses the objective" in out


def test_plan_tells_what_was_rejected_and_why(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_text("deployments: [mock, mock/strong]\n", encoding="utf-8")
    done = ttc("plan", "6 * 7 = ?", "--locality", "local")
    assert "rejected  mock/strong: " in done.out


def test_plan_with_json_is_the_plan(ttc: Ttc) -> None:
    done = ttc("plan", *ASK, "--json")
    assert done.code == 0
    assert done.document["chosen"] in done.document["candidates"]
    assert "error" not in done.document


def test_plan_keeps_no_receipt(ttc: Ttc) -> None:
    ttc("plan", *ASK)
    assert ttc("store", "info", "--json").document["receipts"] == 0
    ttc("solve", *ASK)
    assert ttc("store", "info", "--json").document["receipts"] == 1


# --- what a model may not do ---------------------------------------------------------------------

HOSTILE = "\x1b[31mred\x1b[0m \x07\x9b2J [red]markup[/red] [link=http://x]x[/link] :skull: \u202e42"


@pytest.mark.parametrize("prompt", ["Write it.", "6 * 7 = ?"])
def test_a_models_text_cannot_drive_the_terminal(ttc: Ttc, scripted: Write, prompt: str) -> None:
    """Control characters are made visible, and markup stays what it is: text."""
    scripted(answers=[HOSTILE, f"The answer is {HOSTILE}"])
    done = ttc("solve", prompt)
    shown = done.out + done.err
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown)
    if prompt == "Write it.":
        assert "[red]markup[/red]" in shown
        assert ":skull:" in shown
    assert ttc("solve", prompt, "--json").document["samples"]


def test_names_from_files_are_no_markup(ttc: Ttc, home: Path) -> None:
    (home / "[red]folder").mkdir()
    done = ttc("init", "[red]folder/ttc.yaml")
    assert done.out == "wrote [red]folder/ttc.yaml\n"
    done = ttc("config", "show", "--config", "[red]folder/ttc.yaml")
    assert "[red]folder/ttc.yaml" in done.out


# --- strategies that name their deployments --------------------------------------------------------


def test_a_plan_says_where_all_samples_of_a_panel_are_drawn(ttc: Ttc) -> None:
    done = ttc("plan", ASK[0], "--strategy", "panel=mock,mock/strong")
    assert "mock, mock/strong" in done.out.splitlines()


@pytest.mark.parametrize(
    ("strategy", "who"),
    [("mixture=mock,mock/strong", "mixture=mock,mock/strong is at"), ("usc", "usc on mock is at")],
)
def test_what_is_not_known_is_what_the_strategy_comes_to(ttc: Ttc, strategy: str, who: str) -> None:
    """The models' own abilities are stated."""
    done = ttc("plan", ASK[0], "--strategy", strategy, "--deployment", "mock")
    assert f"How good {who} math tasks is not known" in done.out


@pytest.mark.parametrize(
    ("samples", "how"), [("1", "as planned"), ("2", "one answer was made of the others")]
)
def test_an_answer_is_made_of_others_only_where_there_are_others(
    ttc: Ttc, samples: str, how: str
) -> None:
    strategy = ("--strategy", "mixture=mock,mock/strong", "--max-samples", samples)
    assert how in ttc("solve", ASK[0], *strategy, "--seed", "1").out
