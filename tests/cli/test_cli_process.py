"""``ttc`` as a process: signals, pipes, terminals, and what its start costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]
Write = Callable[..., Path]
Spawn = Callable[..., "subprocess.Popen[str]"]

unix = pytest.mark.skipif(os.name == "nt", reason="signals and terminals of Unix")
STALL = [{"kind": "stall"}]
RIGHT = "The answer is 42."


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Code, standard output and standard error; a stream that is no pipe of ours gives nothing."""
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in (err or "")
    return process.returncode, out or "", err or ""


@contextmanager
def terminal(columns: int = 80, rows: int = 24) -> Generator[tuple[int, int]]:
    """Both ends of a pseudo-terminal."""
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        yield ours, theirs
    finally:
        os.close(ours)


def read_until(fd: int, wanted: str | None, seen: str = "") -> str:
    """What a terminal shows up to a word, or to its end."""
    give_up = time.monotonic() + 60
    while wanted is None or wanted not in seen:
        assert time.monotonic() < give_up, seen
        try:
            data = os.read(fd, 65536)
        except OSError:
            # The other end is closed.
            break
        if not data:
            break
        seen += data.decode()
    return seen


def wait_for_the_run(process: subprocess.Popen[str], home: Path) -> None:
    """The store is opened for the plan, right before samples are drawn and long before any ends."""
    store = home.parent / "data_dir" / "store.sqlite3"
    give_up = time.monotonic() + 60
    while not store.exists():
        assert process.poll() is None
        assert time.monotonic() < give_up
        time.sleep(0.01)


def wait_until_it_sleeps(pid: int) -> None:
    """Python overlooks a signal that comes just before a blocking read begins."""
    give_up = time.monotonic() + 60
    while (
        Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "S"
    ):
        assert time.monotonic() < give_up
        time.sleep(0.01)


# --- Ctrl-C --------------------------------------------------------------------------------------


@unix
@pytest.mark.parametrize("times", [1, 5])
def test_an_interrupt_ends_with_130_and_the_best_so_far(
    spawn: Spawn, scripted: Write, times: int
) -> None:
    """All but one sample of the first wave have ended; the vote needs that one.

    A parent that passes the signal on, as ``timeout`` and ``make`` do, makes it no other one.
    """
    scripted(answers=[RIGHT], faults=[{"kind": "stall", "samples": [3]}])
    with terminal() as (ours, theirs):
        process = spawn("solve", "6 * 7 = ?", stderr=theirs)
        os.close(theirs)
        shown = read_until(ours, "1 running")
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        shown = read_until(ours, None, shown)
        code, out, _ = finish(process)
    assert code == 130
    assert out.splitlines()[0].split() == ["Answer", "42"]
    assert "interrupted; this is the best so far" in out
    assert "interrupted" in shown
    assert shown.count("\x1b[?25h") >= shown.count("\x1b[?25l") > 0, "the cursor stays hidden"


@unix
def test_an_interrupt_with_json_prints_the_document(
    spawn: Spawn, scripted: Write, home: Path
) -> None:
    scripted(faults=STALL)
    process = spawn("solve", "6 * 7 = ?", "--json")
    wait_for_the_run(process, home)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    document = json.loads(out)
    assert document["error"]["type"] == "Interrupted"
    assert document.get("answer") is None
    assert err == "interrupted\n"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("command", [("store", "purge", "--json"), ("solve", "-", "--json")])
def test_an_interrupt_while_input_is_awaited_prints_the_document(
    spawn: Spawn, scripted: Write, command: tuple[str, ...]
) -> None:
    scripted()
    with terminal() as (ours, theirs):
        process = spawn(*command, stdin=theirs, stderr=theirs)
        os.close(theirs)
        read_until(ours, "Delete all runs" if command[0] == "store" else "reading the prompt")
        wait_until_it_sleeps(process.pid)
        process.send_signal(signal.SIGINT)
        code, out, _ = finish(process)
    assert (code, json.loads(out)["error"]["type"]) == (130, "Interrupted")


@unix
@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupted_benchmark_prints_what_it_has_measured(
    spawn: Spawn, scripted: Write, *, as_json: bool
) -> None:
    """The fourth sample of the second width never ends."""
    scripted(faults=[{"kind": "stall", "samples": [3]}])
    line = ("bench", "--waves", "1,4", "--rounds", "1", "--save", "kept")
    with terminal() as (ours, theirs):
        process = spawn(*line, *(["--json"] if as_json else []), stderr=theirs)
        os.close(theirs)
        shown = read_until(ours, "waves of 4")
        process.send_signal(signal.SIGINT)
        shown = read_until(ours, None, shown)
        code, out, _ = finish(process)
    assert code == 130
    assert shown.rstrip().endswith("interrupted")
    if as_json:
        document = json.loads(out)
        assert document["error"]["type"] == "Interrupted"
        assert [wave["width"] for wave in document["deployments"][0]["waves"]] == [1]
    else:
        assert [line.split()[0] for line in out.splitlines()[1:3]] == ["samples", "1"]


# --- pipes and streams ---------------------------------------------------------------------------


@unix
@pytest.mark.parametrize("command", [("plan", "6 * 7 = ?", "--json"), ("plan", "6 * 7 = ?")])
def test_a_reader_that_goes_is_no_failure(
    spawn: Spawn, scripted: Write, command: tuple[str, ...]
) -> None:
    """As ``ttc ... | head -1`` does, from the first byte on."""
    scripted()
    ours, theirs = os.pipe()
    os.close(ours)
    process = spawn(*command, stdout=theirs)
    os.close(theirs)
    assert finish(process)[::2] == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [("plan", "6 * 7 = ?", "--json"), ("backends",)])
def test_a_full_disk_is_told_in_a_line(
    spawn: Spawn, scripted: Write, command: tuple[str, ...]
) -> None:
    scripted()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        code, _, err = finish(spawn(*command, stdout=full))
    assert code == 4
    assert err.startswith("error: ")
    assert "No space left" in err
    assert len(err.splitlines()) == 1


@unix
def test_closed_streams_are_no_fault(scripted: Write, home: Path) -> None:
    scripted()
    program = f"{sys.executable} -c 'from tt_compute.cli.main import main; main()'"
    for line, wanted in ((f"{program} solve - <&-", 2), (f"{program} plan 6*7 >&- 2>&-", 0)):
        done = subprocess.run(
            ["sh", "-c", line], cwd=home, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == wanted
        assert "Traceback" not in done.stderr


def test_any_encoding_of_standard_output_will_do(spawn: Spawn, scripted: Write) -> None:
    """What it cannot show is replaced for people, and escaped in the document."""
    scripted(answers=["größer →"])
    env = {"PYTHONIOENCODING": "ascii"}
    code, out, err = finish(spawn("solve", "Write it.", "--strategy", "single", env=env))
    assert (code, err) == (0, "")
    assert "gr??er ?" in out or "gr\\xf6" in out
    assert finish(spawn("plan", "6 * 7 = ?", env=env))[0] == 0
    code, out, _ = finish(spawn("solve", "Write it.", "--json", env=env))
    assert (code, json.loads(out)["samples"][0]["text"]) == (0, "größer →")


# --- terminals -----------------------------------------------------------------------------------


def on_a_terminal(spawn: Spawn, *arguments: str, env: dict[str, str] | None = None) -> str:
    """All that is shown where both streams are one terminal of 80 columns."""
    with terminal() as (ours, theirs):
        process = spawn(*arguments, stdout=theirs, stderr=theirs, env=env or {"TERM": "xterm"})
        os.close(theirs)
        shown = read_until(ours, None)
        assert finish(process)[0] == 0
    assert "Traceback" not in shown
    return shown


@unix
def test_a_terminal_sees_the_plan_and_the_samples(spawn: Spawn, scripted: Write) -> None:
    """In this order; and the samples stay when the answer comes."""
    scripted(answers=[RIGHT], latency={"ttft_s": 0.3})
    shown = on_a_terminal(spawn, "solve", "6 * 7 = ?")
    places = [shown.index(word) for word in ("Plan", "running", "Receipt")]
    assert places == sorted(places)
    assert shown.index("#0") < shown.index("Receipt")
    assert shown.count("\x1b[?25h") >= shown.count("\x1b[?25l") > 0


@unix
def test_one_samples_text_is_shown_while_it_is_made(spawn: Spawn, scripted: Write) -> None:
    scripted(
        answers=["One two three four five six seven eight."],
        latency={"ttft_s": 0.3, "tokens_per_s": 10},
    )
    shown = on_a_terminal(spawn, "solve", "Write it.", "--strategy", "single")
    first = shown.index("One two")
    assert "eight" not in shown[first : first + 200]


@unix
@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1", "TERM": "xterm"}])
def test_no_colours_where_none_are_wanted(
    spawn: Spawn, scripted: Write, env: dict[str, str]
) -> None:
    scripted(answers=[RIGHT])
    shown = on_a_terminal(spawn, "solve", "6 * 7 = ?", env=env)
    assert "42" in shown
    assert "\x1b[32m" not in shown
    assert "\x1b[1;32m" not in shown


@unix
def test_the_plan_is_readable_on_80_columns(spawn: Spawn, home: Path) -> None:
    """No id is cut, and no row of figures is broken."""
    (home / "ttc.yaml").write_text(
        "deployments: [local/smollm2-135m-openvino, mock/strong]\n", encoding="utf-8"
    )
    line = ("plan", "6 * 7 = ?", "--ahead", "1")
    shown = on_a_terminal(spawn, *line, env={"NO_COLOR": "1", "TERM": "dumb"})
    assert "…" not in shown
    lines = shown.replace("\r", "").splitlines()
    assert any(line.startswith("local/smollm2-135m-openvino") for line in lines)
    assert "mock/strong" in lines
    rows = [line.split() for line in lines if line.startswith("→ ")]
    assert rows
    assert all(len(line) <= 80 for line in lines)


# --- what its start costs ------------------------------------------------------------------------


def test_help_imports_little(home: Path) -> None:
    """A command's libraries load when it runs; ``ttc --help`` needs its parser only."""
    program = (
        "import sys\nfrom tt_compute.cli.main import main\nmain(['--help'])\n"
        "print(*(name for name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    foreign = loaded - set(sys.stdlib_module_names) - {"tt_compute", "click", "colorama"}
    assert not foreign & {"rich", "msgspec", "anyio", "yaml", "openvino", "math_verify"}
    assert "asyncio" not in loaded
