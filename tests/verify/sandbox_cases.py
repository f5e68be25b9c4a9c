"""Programs that mean harm, and what must become of each; run on every way to build a sandbox.

They stand in ``hostile/*.txt``, each under a line ``### name | how it may end | how it may be refused``.
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import anyio
import msgspec

from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.seccomp import numbers_for
from tt_compute.verify.sandbox.types import Case, Limits, Program, Ran

__all__ = ["HOSTILE", "Hostile", "complaint", "hostile"]

NUMBERS = numbers_for(platform.machine()) if sys.platform == "linux" else {}
PRELUDE = f"""
import ctypes, errno, os, sys

NUMBERS = {NUMBERS!r}
libc = ctypes.CDLL(None, use_errno=True)
kept = []

def checked(result):
    if result == -1:
        raise OSError(ctypes.get_errno(), 'refused')
    return result

def pointer(data):
    kept.append(ctypes.create_string_buffer(data, len(data)))
    return ctypes.addressof(kept[-1])

def syscall(name, *arguments):
    return checked(libc.syscall(*map(ctypes.c_long, (NUMBERS[name], *arguments))))

def outcome(attempt):
    try:
        attempt()
    except OSError as error:
        return 'refused ' + errno.errorcode.get(error.errno, type(error).__name__)
    except (MemoryError, OverflowError, RecursionError, RuntimeError, ValueError) as error:
        return 'refused ' + type(error).__name__
    return 'done it'

def tries(*attempts):
    '''Nothing of it may be possible.'''
    for one in dict.fromkeys([outcome(attempt) for attempt in attempts]):
        print(one, flush=True)

def endless(attempt):
    '''It may not be possible for ever.'''
    for _ in range(1000):
        if (said := outcome(attempt)) != 'done it':
            break
    print(said, flush=True)

"""
"""What every program can use: it says "done it" of each attempt that was let through, else how it was refused."""
_HEADER = re.compile(
    r"^### (?P<name>[^|]+) \| (?P<ended>[a-z ]+) \| (?P<refused>[^|\n]+?)( \| (?P<anywhere>anywhere))?\n",
    re.MULTILINE,
)
_BROKEN = re.compile(r"(NameError|SyntaxError|ImportError|ModuleNotFoundError|TypeError)\b")
"""Of a program that did not do what it is here for."""


class Hostile(msgspec.Struct, frozen=True, kw_only=True):
    """A program that means harm."""

    theme: str
    source: str
    ended: tuple[str, ...]
    """How it may end."""
    refused: frozenset[str]
    """How its attempts may be refused; none when it makes none that could be."""
    anywhere: bool
    """Outside of a sandbox it is let, and does no harm even as root: it leaves nothing but in its own folder,
    and reaches no process but itself."""


def _read() -> dict[str, Hostile]:
    found: dict[str, Hostile] = {}
    for file in sorted(Path(__file__).with_name("hostile").glob("*.txt")):
        text = file.read_text(encoding="utf-8")
        headers = list(_HEADER.finditer(text))
        ends = [header.start() for header in headers[1:]] + [len(text)]
        for header, end in zip(headers, ends, strict=True):
            found[header["name"]] = Hostile(
                theme=file.stem,
                source=text[header.end() : end],
                ended=tuple(header["ended"].split()),
                refused=frozenset(header["refused"].replace("-", "").split()),
                anywhere=header["anywhere"] is not None,
            )
    return found


HOSTILE = _read()
_LIMITS = Limits(
    wall_s=15, cpu_s=1, memory_bytes=256 << 20, threads=8, output_bytes=65536, total_s=40
)
WALL_S = 0.4
"""Of the programs that it ends; every other one has the time that a busy machine may take."""


def hostile(name: str) -> Program:
    """The program, as a script and, unless it takes its time, with a check behind it that nothing passes."""
    one = HOSTILE[name]
    limits = msgspec.structs.replace(_LIMITS, wall_s=WALL_S) if "wall" in one.ended else _LIMITS
    slow = not {"wall", "cpu"}.isdisjoint(one.ended)
    cases = (Case(),) if slow else (Case(), Case(check="assert False"))
    return Program(source=PRELUDE + one.source, cases=cases, limits=limits)


def complaint(name: str, ran: tuple[Ran, ...]) -> str:
    """What it could do, or why it proves nothing; empty when it is held."""
    one = HOSTILE[name]
    for case in ran:
        said = case.stdout + case.stderr
        refused = set(re.findall(r"^refused (\w+)", case.stdout, re.MULTILINE))
        if "done it" in said:
            return f"it was let: {said}"
        if case.checked:
            return "it passed a test that nothing passes"
        if case.ended not in one.ended:
            return f"it ended by {case.ended}: {said}"
        if not refused <= one.refused or bool(refused) != bool(one.refused):
            return f"it was refused by {sorted(refused)}: {said}"
        if _BROKEN.search(case.stderr):
            return f"it did not do what it is here for: {case.stderr}"
    return ""


async def _try_all() -> int:
    """How many are held."""
    sandbox = BubblewrapSandbox(size=2)
    found: list[str] = []

    async def try_one(name: str) -> None:
        if said := complaint(name, await sandbox.run(hostile(name))):
            sys.stderr.write(f"{name}: {said}\n")
        else:
            found.append(name)

    try:
        async with anyio.create_task_group() as group:
            for name in HOSTILE:
                group.start_soon(try_one, name)
    finally:
        sandbox.close()
    return len(found)


if __name__ == "__main__":
    print(anyio.run(_try_all), "held")  # noqa: T201 - what the test reads
