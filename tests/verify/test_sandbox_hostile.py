"""Programs that mean harm: each is held, by whoever starts the sandbox, and none proves nothing."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.types import Program, Ran

CASES = Path(__file__).with_name("sandbox_cases.py")
ROOT = Path(__file__).resolve().parents[2]
_FOUND = runpy.run_path(str(CASES))
HOSTILE: dict[str, Any] = _FOUND["HOSTILE"]
PRELUDE: str = _FOUND["PRELUDE"]
hostile: Callable[[str], Program] = _FOUND["hostile"]
complaint: Callable[[str, tuple[Ran, ...]], str] = _FOUND["complaint"]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="is about Linux")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_gets_nowhere(
    sandbox: BubblewrapSandbox, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "canary")

    async def go() -> tuple[Ran, ...]:
        return await sandbox.run(hostile(name))

    assert complaint(name, anyio.run(go)) == ""


@pytest.mark.parametrize("name", [name for name, one in HOSTILE.items() if one.anywhere])
def test_outside_of_a_sandbox_the_same_program_is_let(name: str, tmp_path: Path) -> None:
    """What is refused inside is refused by the sandbox, and not for a mistake in the program."""
    inherited = os.open(os.devnull, os.O_RDONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + HOSTILE[name].source],
            cwd=tmp_path,
            env={"MY_SECRET": "canary"},
            stdin=subprocess.PIPE,
            pass_fds=(inherited,),
            start_new_session=True,
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(inherited)
    assert "done it" in done.stdout, (done.stdout, done.stderr)


@pytest.mark.parametrize("name", HOSTILE)
def test_every_hostile_program_is_python(name: str) -> None:
    compile(PRELUDE + HOSTILE[name].source, name, "exec")


def test_there_are_many_hostile_programs_and_no_two_alike() -> None:
    assert len(HOSTILE) >= 100
    assert max(Counter(one.source for one in HOSTILE.values()).values()) == 1
    # What is refused nowhere must end by a limit, a signal, or in a test that it does not pass.
    unrefused = {name for name, one in HOSTILE.items() if not one.refused and "exit" in one.ended}
    assert {HOSTILE[name].theme for name in unrefused} <= {"lies", "resources"}


@pytest.mark.parametrize(
    ("name", "changes", "why"),
    [
        ("reads the accounts", {"stdout": "done it\n"}, "let"),
        ("reads the accounts", {"stdout": ""}, "refused by"),
        ("reads the accounts", {"stdout": "refused EIO\n"}, "refused by"),
        ("reads the accounts", {"stderr": "NameError: name 'x' is not defined"}, "here for"),
        ("reads the accounts", {"ended": "wall"}, "ended by"),
        ("ends as one that passed", {"stdout": "", "checked": True}, "passed"),
    ],
)
def test_a_program_that_is_let_or_broken_is_not_counted_as_held(
    name: str, changes: dict[str, Any], why: str
) -> None:
    held = Ran(ended="exit", exit_code=0, stdout="refused ENOENT\n")
    assert complaint("reads the accounts", (held,)) == ""
    assert why in complaint(name, (msgspec.structs.replace(held, **changes),))


def test_an_ordinary_user_has_a_sandbox_that_holds_as_well(sandbox: BubblewrapSandbox) -> None:
    """Root starts bubblewrap as nobody; whoever is not root starts it as himself."""
    if os.geteuid() != 0:
        pytest.skip("this user is an ordinary one: every other test shows it")
    packages = Path(msgspec.__file__).parents[1]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}

    def run_as_user(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/usr/bin/python3", "-B", *arguments],
            env=environ,
            cwd="/",
            user=64998,
            group=64998,
            extra_groups=[],
            check=False,
            capture_output=True,
            text=True,
        )

    if not Path("/usr/bin/python3").exists():
        pytest.skip("there is no Python that another user could run")
    if run_as_user("-c", f"import anyio, msgspec; open({str(CASES)!r})").returncode != 0:
        pytest.skip("another user cannot read this environment")
    done = run_as_user(str(CASES))
    assert (done.stdout, done.returncode) == (f"{len(HOSTILE)} held\n", 0), done.stderr
