"""The example programs do what they say, on mocks; one of them on the real embedded model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))
MOST_LINES = 60


def mock(deployment: str, hardware: object = "mock", **options: object) -> dict[str, object]:
    return {
        "id": deployment,
        "backend": "mock",
        "model": "mock",
        "hardware": hardware,
        "price": {"usd_per_mtok": {"input": 0.1, "output": 0.4}},
        "options": options,
    }


def config(folder: Path, *deployments: dict[str, object]) -> Path:
    """JSON is YAML."""
    file = folder / "ttc.yaml"
    file.write_text(json.dumps({"deployments": deployments}), encoding="utf-8")
    return file


def run(
    program: str, *arguments: object, folder: Path, given: str = ""
) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TTC_DATA_DIR": str(folder / "data")}
    environ.pop("TTC_CONFIG", None)
    command = [sys.executable, str(ROOT / "examples" / program), *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_a_program_is_short_and_explains_itself(program: Path, tmp_path: Path) -> None:
    assert len(program.read_text(encoding="utf-8").splitlines()) < MOST_LINES
    done = run(program.name, "--help", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ttc.yaml" in done.stdout


def test_there_are_five() -> None:
    assert len(PROGRAMS) == 5


def test_the_math_helper_answers_every_question(tmp_path: Path) -> None:
    file = config(tmp_path, mock("m", answers=["The answer is 42."]))
    questions = ("What is 6 times 7?", "What is 40 plus 2?")
    done = run("math_helper.py", *questions, "--config", file, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for question in questions:
        assert f"{question} 42 (sure: " in done.stdout


def test_the_math_helper_says_when_the_target_is_not_reached(tmp_path: Path) -> None:
    file = config(tmp_path, mock("m", answers=["I am not sure."]))
    done = run(
        "math_helper.py", "What is 6 times 7?", "--quality", 0.9999, "--config", file,
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "I do not know." in done.stdout


def program(body: str) -> str:
    return f"```python\ndef add(a, b):\n    return {body}\n```"


TESTS = {"tests": [{"call": "add", "args": [2, 3], "expected": 5}]}


needs_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed"
)
CODES: list[ParameterSet] = [
    pytest.param([program("a * b"), program("a + b")], 0, "return a + b", id="one-passes"),
    pytest.param([program("a * b"), program("a - b")], 1, "", id="none-passes"),
]


@needs_sandbox
@pytest.mark.parametrize(("script", "code", "shown"), CODES)
def test_code_is_handed_out_only_if_it_passes(
    script: list[str], code: int, shown: str, tmp_path: Path
) -> None:
    file = config(tmp_path, mock("m", script=script))
    (tmp_path / "tests.json").write_text(json.dumps(TESTS), encoding="utf-8")
    done = run(
        "write_code.py", "Write a function add(a, b) in Python.", "tests.json", "--samples", 2,
        "--config", file, folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert shown in done.stdout
    assert bool(done.stdout) == (code == 0)


def test_what_the_votes_do_not_settle_is_left_to_a_human(tmp_path: Path) -> None:
    rules = [
        {"pattern": "charged", "answers": ["The answer is A."]},
        {"pattern": "hm", "script": ["The answer is A.", "The answer is B."] * 8},
    ]
    file = config(tmp_path, mock("m", rules=rules, answers=["I am not sure."]))
    given = "I was charged twice.\n\nhm\n...\n"
    done = run("classify.py", "billing,technical", "--config", file, folder=tmp_path, given=given)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "billing\tI was charged twice.\nHUMAN\thm\nHUMAN\t...\n"


LOCAL_SAYS = {
    "sure": ["The answer is 42."],
    "unsure": ["The answer is 42.", "The answer is 41.", "The answer is 24.", "I do not know."],
}


@pytest.mark.parametrize(
    ("local", "options", "place"),
    [
        ("sure", (), "local"),
        ("unsure", (), "cloud"),
        ("unsure", ("--private",), "local"),
    ],
)
def test_a_cloud_is_asked_only_where_it_may_and_must(
    local: str, options: tuple[str, ...], place: str, tmp_path: Path
) -> None:
    cloud = {"id": "far", "device": "mock", "local": False}
    strong = mock("cloud", cloud, answers=["The answer is 42."])
    strong["model"] = {
        "id": "strong",
        "max_context_tokens": 8192,
        "abilities": {"math": {"success_rate": 0.97, "concentration": 50,
                               "completion_tokens_mean": 20, "completion_tokens_p95": 40}},
    }  # fmt: skip
    file = config(tmp_path, mock("local", script=LOCAL_SAYS[local] * 16), strong)
    done = run("local_first.py", "What is 6 times 7?", *options, "--config", file, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"(from {place}, $" in done.stdout


def test_a_batch_keeps_its_budget_and_one_failure_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    rules: list[dict[str, object]] = [{"pattern": "broken", "script": []}]
    file = config(tmp_path, mock("m", rules=rules, answers=["The answer is 42."]))
    prompts = ["What is 6 times 7?", "What is broken times 7?", "What is 40 plus 2?"]
    lines = [json.dumps({"id": str(i), "prompt": prompt}) for i, prompt in enumerate(prompts)]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = run(
        "nightly.py", "questions.jsonl", "--max-samples", 24, "--config", file, folder=tmp_path
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [
        {"id": "0", "answer": "42"},
        {"id": "1", "answer": None},
        {"id": "2", "answer": "42"},
    ]
    samples = int(done.stderr.split(" samples")[0].rsplit(" ", 1)[1])
    assert 2 <= samples <= 24


@pytest.mark.model
def test_the_math_helper_asks_the_embedded_model(embedded_model: Path, tmp_path: Path) -> None:
    assert embedded_model.is_file()
    done = run("math_helper.py", "What is 3 times 8?", "--quality", 0.5, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("What is 3 times 8? ")
