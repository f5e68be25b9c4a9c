"""Ctrl-C: once or several times, at whatever moment, it ends a command with 130 and leaves whole files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tt_compute.cli.interrupts import ECHO_S, Interrupts, interrupted

Write = Callable[..., Path]
Spawn = Callable[..., "subprocess.Popen[str]"]
unix = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

QUESTIONS = "".join(
    json.dumps({"question": f"What is {k} + 1?", "gold": str(k + 1), "question_id": k}) + "\n"
    for k in range(40)
)
RECORDED = json.dumps(
    {
        "dataset": "sums",
        "question_id": 1,
        "question": "What is 1 + 1?",
        "model": "mock",
        "samples": ["2", "3"],
        "correct": [1, 0],
        "tokens": [5, 5],
    }
)
COMMANDS = {
    "solve": ("solve", "6 * 7 = ?"),
    "record": (
        "record",
        "drawn.jsonl",
        "--questions",
        "questions.jsonl",
        "--deployment",
        "scripted",
        "--samples",
        "2",
    ),
    "calibrate": ("calibrate",),
    "simulate": ("simulate", "--deployment", "mock/strong", "--rate", "1"),
    "replay": ("replay", "recorded.jsonl"),
    "serve": ("mock", "serve", "scenario.yaml"),
}
BURST = """
import os, signal, sys

def burst():
    for _ in range(5):
        os.kill(os.getpid(), signal.SIGINT)
"""
RUN = "from tt_compute.cli.main import main\nmain()\n"


@pytest.fixture(autouse=True)
def files(home: Path, scripted: Write) -> None:
    scripted(answers=["The answer is 42."])
    (home / "questions.jsonl").write_text(QUESTIONS, encoding="utf-8")
    (home / "recorded.jsonl").write_text(f"{RECORDED}\n", encoding="utf-8")
    (home / "scenario.yaml").write_text("deployments:\n  - id: mine\n", encoding="utf-8")


@pytest.fixture
def program(home: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line after code that interrupts it somewhere: code, standard output and standard error."""

    def run(code: str, *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", BURST + code + RUN, *arguments],
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


Program = Callable[..., tuple[int, str, str]]


def size(file: Path) -> int:
    """Bytes; 0 where it is not there."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def at_import(module: str) -> str:
    """Interrupts when a module begins to be imported."""
    return f"""
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            burst()

sys.meta_path.insert(0, Finder())
"""


# --- what each of them means ---------------------------------------------------------------------


class Told(Exception):
    """The process would have ended here."""


def ends() -> None:
    raise Told


@pytest.fixture
def now() -> list[float]:
    return [100.0]


@pytest.fixture
def interrupts(now: list[float]) -> Interrupts:
    return Interrupts(lambda: now[0], ends)


def test_the_first_ends_the_command_its_echo_is_nothing_and_a_later_one_ends_the_process(
    interrupts: Interrupts, now: list[float]
) -> None:
    assert not interrupts.seen
    with pytest.raises(KeyboardInterrupt):
        interrupts.arrived()
    assert interrupts.seen
    now[0] += ECHO_S
    interrupts.arrived()
    now[0] += 0.01
    with pytest.raises(Told):
        interrupts.arrived()


def test_one_that_is_held_comes_at_the_end_of_what_must_not_be_cut_off(
    interrupts: Interrupts,
) -> None:
    done: list[int] = []

    def work() -> None:
        with interrupts.held(), interrupts.held():
            interrupts.arrived()
            done.append(1)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1]


def test_a_later_one_ends_the_process_though_the_first_is_held(
    interrupts: Interrupts, now: list[float]
) -> None:
    """What must not be cut off may hang, as a pipe that nobody reads."""
    with interrupts.meaning(lambda: None), interrupts.held():
        interrupts.arrived()
        now[0] += 2 * ECHO_S
        with pytest.raises(Told):
            interrupts.arrived()


def test_who_says_what_it_means_gets_one_that_was_held_too(interrupts: Interrupts) -> None:
    told: list[str] = []
    with interrupts.held():
        interrupts.arrived()
        with interrupts.meaning(lambda: told.append("inner")):
            assert told == ["inner"]
    assert told == ["inner"]


def test_a_meaning_ends_with_its_block(interrupts: Interrupts) -> None:
    told: list[str] = []
    with interrupts.meaning(lambda: told.append("inner")):
        pass
    with pytest.raises(KeyboardInterrupt):
        interrupts.arrived()
    assert told == []


def test_what_it_means_by_itself() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted()


@unix
def test_in_a_process_of_somebody_elses_the_handler_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts().watched(to_the_end=False):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


# --- at whatever moment --------------------------------------------------------------------------


@unix
@pytest.mark.parametrize("module", ["click", "msgspec", "anyio._backends._asyncio"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_an_interrupt_while_modules_are_imported(
    program: Program, command: tuple[str, ...], module: str
) -> None:
    """The entry, then the command, then the loop; a simulation, which has none, comes to its end."""
    code, out, err = program(at_import(module), *command)
    if command[0] == "simulate" and module.startswith("anyio"):
        assert code == 0
    else:
        assert (code, out, err) == (130, "", "interrupted\n")


@unix
@pytest.mark.parametrize("gap_s", [0, 0.02])
def test_an_interrupted_recording_is_whole(
    spawn: Spawn, home: Path, scripted: Write, gap_s: float
) -> None:
    scripted(answers=["The answer is 42."], latency={"ttft_s": 0.2})
    file = home / "drawn.jsonl"
    process = spawn(*COMMANDS["record"], "--concurrency", "2")
    give_up = time.monotonic() + 60
    while not size(file):
        assert process.poll() is None
        assert time.monotonic() < give_up
    for _ in range(8):
        process.send_signal(signal.SIGINT)
        # A key that is hit again and again, until the process has ended.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=gap_s)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    lines = file.read_bytes().splitlines(keepends=True)
    assert 0 < len(lines) < 40
    assert all(line.endswith(b"\n") and json.loads(line)["samples"] for line in lines)


REPLACED = """
import pathlib
replace = pathlib.Path.replace

def replaced(self, target):
    burst()
    return replace(self, target)

pathlib.Path.replace = replaced
"""


@unix
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("plan", "6 * 7 = ?", "--save", "plan.json"), "plan.json"),
        (COMMANDS["calibrate"], "calibrated.yaml"),
        (("replay", "recorded.jsonl", "--fit", "profile.yaml"), "profile.yaml"),
    ],
    ids=["plan", "calibrate", "replay"],
)
def test_an_interrupt_while_a_file_is_written(
    program: Program, home: Path, command: tuple[str, ...], file: str
) -> None:
    before = {path.name for path in home.iterdir()}
    code, _, err = program(REPLACED, *command)
    assert code == 130
    assert err.splitlines()[-1] == "interrupted"
    assert (home / file).stat().st_size
    assert {path.name for path in home.iterdir()} - before == {file}


@unix
def test_an_interrupt_while_the_document_is_printed(program: Program) -> None:
    printing = (
        "import click\necho = click.echo\nclick.echo = lambda *a, **b: (burst(), echo(*a, **b))\n"
    )
    code, out, err = program(printing, "plan", "6 * 7 = ?", "--json")
    assert (code, err) == (130, "interrupted\n")
    assert json.loads(out)["chosen"]["deployment"] == "scripted"


@unix
@pytest.mark.parametrize("command", ["--version", "backends"])
def test_an_interrupt_when_all_is_done_but_the_process(program: Program, command: str) -> None:
    """Its exit functions: the first interrupt ends it then and there."""
    late = (
        "import atexit, tt_compute.cli.commands as commands\n"
        "run = commands.run\n"
        "commands.run = lambda given: (atexit.register(burst), run(given))[1]\n"
    )
    code, out, err = program(late, command)
    assert (code, err) == (130, "interrupted\n")
    assert out


@unix
def test_an_interrupt_that_a_finaliser_swallows_comes_again(program: Program) -> None:
    """Python can only print it, with a traceback."""
    swallowing = """
import time, tt_compute.simulation.simulation as simulation

class Object:
    def __del__(self):
        burst()

def run(self):
    Object()
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        pass

simulation.Simulation.run = run
"""
    code, out, err = program(swallowing, *COMMANDS["simulate"])
    assert (code, out, err) == (130, "", "interrupted\n")


@unix
def test_what_a_library_makes_of_an_interrupt_is_no_fault_of_ours(program: Program) -> None:
    """A native module that is cut off in its import raises ``ImportError``."""
    turned = """
import tt_compute.simulation.simulation as simulation

def run(self):
    try:
        burst()
    except KeyboardInterrupt:
        raise ImportError("initialization failed")

simulation.Simulation.run = run
"""
    assert program(turned, *COMMANDS["simulate"]) == (130, "", "interrupted\n")


@unix
def test_a_background_job_of_a_shell_ignores_it(program: Program) -> None:
    ignored = "signal.signal(signal.SIGINT, signal.SIG_IGN)\nburst()\n" + at_import("msgspec")
    code, out, err = program(ignored, "backends")
    assert (code, err) == (0, "")
    assert out
