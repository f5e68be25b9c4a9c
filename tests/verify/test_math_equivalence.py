"""When two mathematical answers are the same one, and what happens when finding out goes wrong."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tt_compute.errors import VerifierError
from tt_compute.sync import BackgroundLoop
from tt_compute.verify.base import Answer
from tt_compute.verify.math_process import MathProcess
from tt_compute.verify.math_task import MathTask

needs_math_verify = pytest.mark.skipif(
    not MathProcess().installed, reason="math-verify is not installed"
)

# Says that it is ready, then does what each test wants at the first question.
_READY = "import sys, time; print('{\"ready\": true}', flush=True); sys.stdin.readline(); "


def _child(then: str) -> tuple[str, ...]:
    return (sys.executable, "-c", _READY + then)


HANGS = _child("time.sleep(600)")
DIES = _child("sys.exit(3)")
BABBLES = _child("print('Traceback', flush=True)")


@pytest.fixture(scope="module")
def process() -> Iterator[MathProcess]:
    """One real child for all tests that only ask; a loaded machine may be slow to parse."""
    process = MathProcess(timeout_s=60)
    yield process
    process.close()


def _answer(task: MathTask, text: str) -> Answer:
    answer = task.read(text)
    assert answer is not None
    return answer


def _both_ways(process: MathProcess, first: str, second: str) -> set[bool]:
    task = MathTask(process)
    one, other = _answer(task, first), _answer(task, second)

    async def ask() -> set[bool]:
        return {await task.equivalent(one, other), await task.equivalent(other, one)}

    verdicts = anyio.run(ask)
    assert task.warnings == []
    return verdicts


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1,000", "1000", True),
        ("3.5", r"\frac{7}{2}", True),
        ("10%", "0.1", True),
        ("50%", "50", True),
        ("50", "0.5", False),
        ("12.5%", "1/8", True),
        ("1/3", "0.333", False),
        ("1/3", "0.33333333", False),
        ("x = 5", "5", True),
        (r"\text{Evelyn}", "evelyn", True),
        (r"\text{Evelyn}", r"\text{Anna}", False),
        (r"\text{Evelyn}", "5", False),
    ],
)
def test_numbers_and_words_are_compared_without_a_child(
    first: str, second: str, same: bool
) -> None:
    """The verdicts are those of math-verify, except that a rounded fraction stays unequal."""
    process = MathProcess(installed=False)
    assert _both_ways(process, first, second) == {same}
    assert process.pid is None


@needs_math_verify
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (r"3\sqrt{13}", r"\sqrt{117}", True),
        (r"3\sqrt{13}", r"\sqrt{118}", False),
        (r"\sqrt{4}", "2", True),
        (r"\left(3, \dfrac{\pi}{2}\right)", r"(3, \frac{\pi}{2})", True),
        ("(1, 2)", "(2, 1)", False),
        ("{1, 2}", "{2, 1}", True),
        ("1, -2", "-2, 1", True),
        ("1, -2", "1", False),
        ("x + 1", "1 + x", True),
        ("2(x+1)", "2x + 2", True),
        ("x > 3", r"(3, \infty)", True),
        ("3x + y = 7", "7", False),
        ("5xy", "5", False),
        (r"\frac{\pi}{2}", "pi/2", True),
    ],
)
def test_expressions_are_compared_symmetrically_by_math_verify(
    process: MathProcess, first: str, second: str, same: bool
) -> None:
    assert _both_ways(process, first, second) == {same}


@needs_math_verify
def test_one_child_serves_every_question_and_ends_with_close() -> None:
    process = MathProcess(timeout_s=60)

    async def ask() -> set[int | None]:
        seen: set[int | None] = set()
        for _ in range(3):
            assert await process.equal(r"\sqrt{4}", "2")
            seen.add(process.pid)
        return seen

    assert process.pid is None
    (pid,) = anyio.run(ask)
    assert pid is not None
    process.close()
    process.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert anyio.run(process.parses, "x")
    process.close()


@needs_math_verify
def test_a_killed_child_is_replaced() -> None:
    process = MathProcess(timeout_s=60)
    assert anyio.run(process.equal, r"\sqrt{4}", "2")
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert anyio.run(process.equal, r"\sqrt{4}", "2")
    assert process.pid != first
    process.close()


@needs_math_verify
def test_an_expression_that_never_ends_is_stopped_and_the_next_question_is_answered() -> None:
    """9^(9^(9^9)) keeps sympy busy for ever."""
    process = MathProcess(timeout_s=1.0)
    with pytest.raises(VerifierError, match="longer than 1 s"):
        anyio.run(process.equal, "9^{9^{9^{9}}}", "9^{9^{9^{8}}}")
    assert process.pid is None
    process = MathProcess(timeout_s=60)
    assert anyio.run(process.equal, r"\frac{1}{2}", "0.5")
    process.close()


@needs_math_verify
def test_it_works_on_the_loop_of_another_thread(process: MathProcess) -> None:
    """The blocking client runs the loop outside the main thread, where math-verify's own alarm fails."""
    loop = BackgroundLoop()
    try:
        assert loop.run(process.equal(r"\sqrt{4}", "2"))
    finally:
        loop.close()


@needs_math_verify
def test_questions_of_several_runs_do_not_mix(process: MathProcess) -> None:
    verdicts: dict[int, bool] = {}

    async def ask(number: int) -> None:
        verdicts[number] = await process.equal(rf"\sqrt{{{number * number}}}", str(number % 4))

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(ask, number)

    anyio.run(ask_all)
    assert verdicts == {number: number < 4 for number in range(8)}


@needs_math_verify
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_starts_a_child_of_its_own_and_leaves_the_parents_alone(
    process: MathProcess,
) -> None:
    assert anyio.run(process.equal, r"\sqrt{4}", "2")
    parents = process.pid
    lock = process._lock  # pyright: ignore[reportPrivateUsage] - a fork may come at any moment
    lock.acquire()  # as if a question were being asked on another thread
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        # Nothing of the test run may go on in the copy, whatever happens in it.
        code = 1
        try:
            same = anyio.run(process.equal, r"\sqrt{9}", "3")
            code = 0 if same and process.pid != parents else 2
            process.close()
        finally:
            os._exit(code)
    lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert anyio.run(process.equal, r"\sqrt{16}", "4")
    assert process.pid == parents


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (HANGS, "longer than"),
        (DIES, "died"),
        (BABBLES, "died"),
        ((sys.executable, "-c", "pass"), "did not start"),
        ((str(Path("no") / "such" / "program"),), "did not start"),
    ],
)
def test_a_lost_child_is_an_error_for_a_verifier_and_a_no_with_one_warning_for_a_vote(
    command: tuple[str, ...], message: str
) -> None:
    process = MathProcess(timeout_s=0.2, command=command, installed=True)
    task = MathTask(process)
    first, second = _answer(task, r"\sqrt{2}"), _answer(task, r"\sqrt{3}")
    with pytest.raises(VerifierError, match=message):
        anyio.run(task.compare, first, second)
    assert process.pid is None
    for _ in range(2):
        assert anyio.run(task.equivalent, first, second) is False
    assert len(task.warnings) == 1
    assert "counted as different" in task.warnings[0]


def test_an_expression_that_lost_the_child_is_not_tried_again(tmp_path: Path) -> None:
    """Each try would cost the whole time limit, once for every other answer of the vote."""
    starts = tmp_path / "starts"
    then = f"open({str(starts)!r}, 'a').write('x'); time.sleep(600)"
    process = MathProcess(timeout_s=0.2, command=_child(then), installed=True)
    task = MathTask(process)
    hanging = _answer(task, r"\sqrt{2}")
    for other in (r"\sqrt{3}", r"\sqrt{5}", r"\sqrt{7}"):
        assert anyio.run(task.equivalent, hanging, _answer(task, other)) is False
    assert starts.read_text() == "x"


def test_a_cancelled_question_frees_the_child_at_once_for_the_next_one(tmp_path: Path) -> None:
    """Otherwise the next run would wait out the time limit behind a question that nobody asks."""
    asked = tmp_path / "asked"
    then = (
        f"import os; again = os.path.exists({str(asked)!r}); open({str(asked)!r}, 'w').close(); "
        "again or time.sleep(600); print('{\"value\": true}', flush=True)"
    )
    process = MathProcess(timeout_s=60, command=_child(then), installed=True)

    async def cancel_in_the_middle() -> bool:
        async with anyio.create_task_group() as group:
            group.start_soon(process.parses, "x")
            while not asked.exists():  # noqa: ASYNC110 - another process makes the file
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        with anyio.fail_after(20):
            return await process.parses("x")

    assert anyio.run(cancel_in_the_middle)
    process.close()


def test_without_math_verify_expressions_abstain_with_one_warning() -> None:
    task = MathTask(MathProcess(installed=False))
    assert task.extract(r"\boxed{\sqrt{2}}, roughly 1.41", truncated=False) is None
    assert task.extract(r"\boxed{\pi}", truncated=False) is None
    number = task.extract(r"\boxed{\frac{7}{2}}", truncated=False)
    assert number is not None
    assert number.key == "7/2"
    (warning,) = task.warnings
    assert 'pip install "tt-compute[math]"' in warning


@needs_math_verify
def test_the_child_sees_no_secret_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("SOME_API_KEY", "hunter2")
    then = f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))"
    process = MathProcess(timeout_s=30, command=_child(then), installed=True)
    with pytest.raises(VerifierError):
        anyio.run(process.parses, "x")
    assert "PATH" in seen.read_text()
    assert "hunter2" not in seen.read_text()
