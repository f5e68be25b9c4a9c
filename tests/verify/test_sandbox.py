"""Programs that nobody trusts: what they can do, what they cannot, and that nothing of them stays."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from tt_compute.errors import InvalidRequestError, UnknownNameError, VerifierError
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.launch import Launch, find_launch
from tt_compute.verify.sandbox.plugins import GROUP, get_sandbox
from tt_compute.verify.sandbox.runtime import find_runtime
from tt_compute.verify.sandbox.seccomp import filter_for
from tt_compute.verify.sandbox.selftest import PROBES, probe_program, refuse_leaks
from tt_compute.verify.sandbox.types import Case, Limits, Program, Ran

ROOT = Path(__file__).resolve().parents[2]
NOT_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="is about Linux")


def run(sandbox: BubblewrapSandbox, source: str, *cases: Case, **limits: Any) -> tuple[Ran, ...]:
    program = Program(source=source, cases=cases or (Case(),), limits=Limits(**limits))

    async def go() -> tuple[Ran, ...]:
        return await sandbox.run(program)

    return anyio.run(go)


def descendants() -> set[int]:
    """Processes that this one has started, whatever they are."""
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            found.add(int(entry.parent.name))
    return found


def test_a_program_sees_its_input_and_is_seen_by_its_output(sandbox: BubblewrapSandbox) -> None:
    source = "import sys\nprint(int(input()) + 1)\nprint('note', file=sys.stderr)\nsys.exit(3)"
    one, two = run(sandbox, source, Case(stdin="41\n"), Case(stdin="1\n"))
    assert (one.ended, one.exit_code, one.stdout, one.stderr) == ("exit", 3, "42\n", "note\n")
    assert two.stdout == "2\n"


def test_input_larger_than_a_pipe_arrives_whole(sandbox: BubblewrapSandbox) -> None:
    (ran,) = run(sandbox, "import sys; print(len(sys.stdin.read()))", Case(stdin="é" * 300_000))
    assert ran.stdout == "300000\n"


def test_a_call_gives_its_value_and_a_check_its_end(sandbox: BubblewrapSandbox) -> None:
    source = "class Solution:\n    def add(self, a, b): return {'sum': (a + b, {2, 1})}"
    ran = run(
        sandbox,
        source,
        Case(call="Solution().add", args=(1, 2)),
        Case(check="assert Solution().add(1, 2)['sum'][0] == 3"),
        Case(check="assert Solution().add(1, 2)['sum'][0] == 4"),
        Case(call="Solution", args=()),
        Case(call="no_such_name"),
    )
    assert [one.value for one in ran] == ['{"sum": [3, [1, 2]]}', None, None, None, None]
    assert [one.checked for one in ran] == [True, True, False, False, False]
    assert "AssertionError" in ran[2].stderr


def test_a_main_block_runs_in_a_script_and_not_for_a_call(sandbox: BubblewrapSandbox) -> None:
    source = "def one(): return 1\nif __name__ == '__main__': print('main')"
    script, call = run(sandbox, source, Case(), Case(call="one"))
    assert (script.stdout, call.stdout) == ("main\n", "")


@pytest.mark.parametrize(
    "source",
    [
        "import os\ndef f(): os._exit(0)",
        "import sys\ndef f(): sys.exit(0)",
        "def f(): raise SystemExit",
        "import os\nos._exit(0)",
    ],
)
def test_a_program_that_ends_before_its_test_has_not_passed_it(
    sandbox: BubblewrapSandbox, source: str
) -> None:
    for case in (Case(check="f()"), Case(call="f")):
        (ran,) = run(sandbox, source, case)
        assert not ran.checked
        assert ran.value is None


def test_threads_and_the_standard_library_work(sandbox: BubblewrapSandbox) -> None:
    source = (
        "import asyncio, dataclasses, decimal, re, threading\n"
        "async def two(): return 2\n"
        "def late(): print(asyncio.run(two()))\n"
        "threading.Thread(target=late).start()\n"
    )
    (ran,) = run(sandbox, source)
    assert ran.stdout == "2\n", ran.stderr


def test_runs_share_nothing_but_their_program(sandbox: BubblewrapSandbox) -> None:
    source = "import builtins\nprint(getattr(builtins, 'left', None))\nbuiltins.left = 1"
    assert [one.stdout for one in run(sandbox, source, Case(), Case())] == ["None\n"] * 2
    assert run(sandbox, source)[0].stdout == "None\n"


def test_a_program_does_not_find_what_the_other_runs_are_given(sandbox: BubblewrapSandbox) -> None:
    """Neither in the frames below it, nor in the modules, nor among all objects."""
    source = (
        "import gc, sys\n"
        "frame, seen = sys._getframe(), []\n"
        "while frame: seen.append(repr(frame.f_locals)); frame = frame.f_back\n"
        "seen += [repr(vars(one)) for one in list(sys.modules.values()) if hasattr(one, '__dict__')]\n"
        "seen += [repr(one) for one in gc.get_objects() if type(one) in (dict, list, tuple)]\n"
        "for word in ('nwo sti', 'yranac'): print(any(word[::-1] in one for one in seen))\n"
    )
    other = Case(stdin="canary", check="canary", args=("canary",))
    ran = run(sandbox, source, other, Case(stdin="its own"), other)
    assert ran[1].stdout == "True\nFalse\n", ran[1].stderr


@pytest.mark.parametrize(
    "source",
    [
        "import builtins\nbuiltins.abs = lambda x: 0",
        "import builtins\nbuiltins.exec = lambda *_: None",
        (
            "import sys\n"
            "def trace(frame, event, argument):\n"
            "    if event == 'line' and frame.f_lineno == 2: frame.f_lineno = 3\n"
            "    return trace\n"
            "sys.settrace(trace)"
        ),
    ],
    ids=["a builtin", "exec", "the order of its lines"],
)
def test_what_a_program_replaces_does_not_run_its_test(
    sandbox: BubblewrapSandbox, source: str
) -> None:
    (ran,) = run(sandbox, source, Case(check="pass\nassert abs(-1) == 0\npass"))
    assert not ran.checked


def test_devices_work_as_programs_expect(sandbox: BubblewrapSandbox) -> None:
    source = (
        "import os\nopen('/dev/null', 'w').write('x')\n"
        "print(len(open('/dev/urandom', 'rb').read(8)), open('/dev/zero', 'rb').read(1), os.urandom(0))"
    )
    (ran,) = run(sandbox, source)
    assert ran.stdout == "8 b'\\x00' b''\n", ran.stderr


def test_a_program_may_limit_and_place_itself(sandbox: BubblewrapSandbox) -> None:
    source = (
        "import os, resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 64))\n"
        "os.sched_setaffinity(0, os.sched_getaffinity(0))\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    (ran,) = run(sandbox, source)
    assert ran.stdout == "(32, 64)\n", ran.stderr


def test_when_the_time_for_all_runs_is_over_the_rest_do_not_begin(
    sandbox: BubblewrapSandbox,
) -> None:
    ran = run(sandbox, "import time; time.sleep(60)", *[Case()] * 4, wall_s=0.2, total_s=0.3)
    assert [one.ended for one in ran] == ["wall", "wall", "not_run", "not_run"]


def test_the_time_of_a_run_begins_when_it_is_confined(sandbox: BubblewrapSandbox) -> None:
    """A limit shorter than what comes before the program is the program's limit all the same, and no failure."""
    ran = run(sandbox, "import time; time.sleep(60)", *[Case()] * 3, wall_s=0.0001)
    assert [one.ended for one in ran] == ["wall"] * 3


def test_every_probe_is_refused(sandbox: BubblewrapSandbox) -> None:
    async def go() -> tuple[Ran, ...]:
        return await sandbox.run(probe_program())

    refuse_leaks(anyio.run(go))


@pytest.mark.parametrize("number", range(len(PROBES) + 1))
def test_one_probe_that_is_not_refused_is_enough_to_run_nothing(number: int) -> None:
    ran = [Ran(ended="exit", checked=True)] * (len(PROBES) + 1)
    refuse_leaks(ran)
    ran[number] = Ran(ended="exit", checked=False, stderr="Traceback\nAssertionError: was allowed")
    with pytest.raises(VerifierError, match="was allowed"):
        refuse_leaks(ran)


def test_cancelling_ends_the_program_at_once_and_leaves_nothing(
    sandbox: BubblewrapSandbox,
) -> None:
    sandbox.close()
    before = descendants()

    async def cancel_in_the_middle() -> None:
        source, limits = "import time; time.sleep(3600)", Limits(wall_s=3600, total_s=3600)
        program = Program(source=source, cases=(Case(),), limits=limits)
        async with anyio.create_task_group() as group:
            group.start_soon(sandbox.run, program)
            while not sandbox.running:  # noqa: ASYNC110 - a thread changes it
                await anyio.sleep(0.005)
            group.cancel_scope.cancel()
        with anyio.fail_after(20):
            while sandbox.running:  # noqa: ASYNC110 - a thread changes it
                await anyio.sleep(0.005)

    anyio.run(cancel_in_the_middle)
    sandbox.close()
    assert descendants() == before


def test_closing_ends_a_program_that_runs_with_an_error_and_no_verdict(
    sandbox: BubblewrapSandbox,
) -> None:
    async def close_in_the_middle() -> None:
        program = Program(source="import time; time.sleep(3600)", cases=(Case(),))
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with pytest.raises(VerifierError, match="died"):
                    await sandbox.run(program)

            group.start_soon(wait)
            while not sandbox.running:  # noqa: ASYNC110 - a thread changes it
                await anyio.sleep(0.005)
            await anyio.to_thread.run_sync(sandbox.close)

    anyio.run(close_in_the_middle)
    assert run(sandbox, "print(1)")[0].stdout == "1\n"


def test_a_sandbox_that_is_killed_from_outside_is_an_error_and_no_verdict(
    sandbox: BubblewrapSandbox,
) -> None:
    async def kill_in_the_middle() -> None:
        program = Program(source="import time; time.sleep(3600)", cases=(Case(),))
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with pytest.raises(VerifierError, match="died"):
                    await sandbox.run(program)

            group.start_soon(wait)
            while not sandbox.running:  # noqa: ASYNC110 - a thread changes it
                await anyio.sleep(0.005)
            for pid in sandbox.running:
                os.kill(pid, 9)

    anyio.run(kill_in_the_middle)


def test_many_programs_at_once_each_get_their_own_answer(sandbox: BubblewrapSandbox) -> None:
    found: dict[int, str] = {}

    async def ask(number: int) -> None:
        program = Program(source=f"print({number})", cases=(Case(),))
        found[number] = (await sandbox.run(program))[0].stdout

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(ask, number)

    anyio.run(ask_all)
    assert found == {number: f"{number}\n" for number in range(20)}


def test_it_is_used_from_the_loop_of_another_thread(sandbox: BubblewrapSandbox) -> None:
    async def elsewhere() -> tuple[Ran, ...]:
        return await anyio.to_thread.run_sync(run, sandbox, "print(2)")

    assert anyio.run(elsewhere)[0].stdout == "2\n"


@NOT_LINUX
def test_a_sandbox_ends_with_the_process_that_started_it(sandbox: BubblewrapSandbox) -> None:
    """Killed outright, so that no code of its own could tidy up."""
    code = (
        "import anyio, os\n"
        "from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox\n"
        "sandbox = BubblewrapSandbox(size=1)\n"
        "anyio.run(sandbox.ready)\n"
        "while not sandbox.waiting: pass\n"
        "print(*sandbox.waiting, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    pid = int(done.stdout)

    async def wait_until_gone() -> None:
        with anyio.fail_after(20):
            while _lives(pid):  # noqa: ASYNC110 - the kernel changes it
                await anyio.sleep(0.01)

    anyio.run(wait_until_gone)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@NOT_LINUX
def test_without_bubblewrap_nothing_is_run_and_the_hint_says_what_to_install(
    tmp_path: Path,
) -> None:
    with pytest.raises(VerifierError, match="not installed") as caught:
        find_launch(str(tmp_path))
    assert "apt install bubblewrap" in (caught.value.hint or "")


@NOT_LINUX
def test_a_bubblewrap_that_may_make_no_namespace_is_refused_with_its_own_words(
    tmp_path: Path,
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    launch = Launch(command=(str(fake),), user=None)
    refused = BubblewrapSandbox(size=1, launch=launch)
    with pytest.raises(VerifierError, match="No permissions to create a new namespace") as caught:
        run(refused, "print(1)")
    assert "user namespaces" in (caught.value.hint or "")
    refused.close()


@NOT_LINUX
def test_a_launcher_that_isolates_nothing_fails_the_self_test() -> None:
    """The worker itself, without bubblewrap: it would run programs, and must not be let."""
    worker = ROOT / "tt_compute" / "verify" / "sandbox" / "worker.py"
    # Process 1 of a namespace is what the worker must be; ``unshare`` makes it that and nothing more.
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    inner = (str(find_runtime().python), "-I", "-S", "-c", worker.read_text())
    command = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", *inner)
    open_door = BubblewrapSandbox(size=1, launch=Launch(command=command, user=None))
    with pytest.raises(VerifierError, match=r"does not hold|did not start"):
        run(open_door, "print(1)")
    open_door.close()


def test_a_machine_without_a_table_of_system_calls_is_refused() -> None:
    with pytest.raises(VerifierError, match="riscv64"):
        filter_for("riscv64")
    assert len(filter_for("x86_64")) % 8 == len(filter_for("aarch64")) % 8 == 0


@pytest.mark.parametrize(
    "limits",
    [{"wall_s": 0}, {"memory_bytes": -1}, {"threads": 10**6}, {"cpu_s": float("nan")}],
    ids=str,
)
def test_limits_that_allow_nothing_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(limits))):
        Limits(**limits)


def test_sandboxes_that_nobody_needs_do_not_go_on_waiting(sandbox: BubblewrapSandbox) -> None:
    idle = BubblewrapSandbox(size=1, idle_s=0.05)
    assert run(idle, "print(1)")[0].stdout == "1\n"

    async def wait_until_gone() -> None:
        with anyio.fail_after(20):
            while idle.waiting:  # noqa: ASYNC110 - a thread changes it
                await anyio.sleep(0.01)

    anyio.run(wait_until_gone)
    assert run(idle, "print(2)")[0].stdout == "2\n"
    idle.close()


class _Other:
    name = "other"

    async def ready(self) -> None: ...

    async def run(self, program: Program) -> tuple[Ran, ...]:
        return tuple(Ran(ended="exit") for _ in program.cases)

    def close(self) -> None: ...


def _broken() -> None:
    raise RuntimeError("no key")


def test_another_sandbox_is_found_by_its_entry_point_and_checked() -> None:
    entries = [
        EntryPoint(name, f"{__name__}:{value}", GROUP)
        for name, value in (("other", "_Other"), ("broken", "_broken"), ("odd", "dict"))
    ]
    sys.modules[__name__] = sys.modules.get(__name__) or ModuleType(__name__)
    vars(sys.modules[__name__]).update(_Other=_Other, _broken=_broken, dict=dict)
    assert get_sandbox("other", entries).name == "other"
    with pytest.raises(VerifierError, match="no key"):
        get_sandbox("broken", entries)
    with pytest.raises(VerifierError, match="lacks name"):
        get_sandbox("odd", entries)


def test_an_unknown_sandbox_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError) as caught:
        get_sandbox("docker", entries=())
    assert "bubblewrap" in (caught.value.hint or "")
