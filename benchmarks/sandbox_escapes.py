"""Programs that try to get out of the sandbox: how many are held, how soon they are dead, and who notices.

    python benchmarks/sandbox_escapes.py --rounds 5 --output docs/figures/sandbox_escapes.md

The programs are those of the tests (``tests/verify/hostile``), run as root and as an ordinary user. Each round runs in a
process of its own; there an event loop is late for a timer now and then: alone, beside processes that merely compute,
and beside the programs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import runpy
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from report import conditions, markdown, write
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.launch import find_launch
from tt_compute.verify.sandbox.types import Program, Ran

ROOT = Path(__file__).resolve().parents[1]
CASES = ROOT / "tests" / "verify" / "sandbox_cases.py"
USER = 64998
TICK_S = 0.002
EACH_S = 5.0
AIM_MS = 100.0
HOW = (
    "*Dead after its limit*: of the programs that only the wall limit ends, the time between the limit and their end. "
    "*Timers late*: p99 of how late a timer of 2 ms is in an event loop that does nothing else: alone, beside as many "
    "processes that merely compute, and beside the programs; medians of the rounds, and of their ratios."
)


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round found."""

    held: list[str]
    complaints: dict[str, str]
    over_ms: list[float]
    """Between the wall limit and the end of each program that it ended."""
    alone_ms: float
    """p99 of how late a timer is with nothing beside it."""
    work_ms: float
    """Beside as many processes that merely compute."""
    beside_ms: float
    """Beside the programs."""
    took_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="write the report here too")
    parser.add_argument(
        "--one", action="store_true", help="run one round here and print it as JSON"
    )
    options = parser.parse_args()
    if options.one:
        sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(one_round())))
        return
    found = {name: [run() for _ in range(options.rounds)] for name, run in variants().items()}
    themes = {name: one.theme for name, one in runpy.run_path(str(CASES))["HOSTILE"].items()}
    write(options.output, "\n\n".join(report(options.rounds, found, themes)))


def variants() -> dict[str, Callable[[], Round]]:
    """Who starts the sandbox: whoever this is, and, where that is root, somebody who is not."""
    if os.geteuid() != 0:
        return {"an ordinary user": lambda: round_as(None, sys.executable)}
    return {
        "root": lambda: round_as(None, sys.executable),
        "an ordinary user": lambda: round_as(USER, "/usr/bin/python3"),
    }


def round_as(user: int | None, python: str) -> Round:
    packages = Path(msgspec.__file__).parents[1]
    done = subprocess.run(
        [python, "-B", __file__, "--one"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"},
        cwd="/",
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        check=True,
        stdout=subprocess.PIPE,
    )
    return msgspec.json.decode(done.stdout, type=Round)


async def one_round() -> Round:
    cases = runpy.run_path(str(CASES))
    hostile: Callable[[str], Program] = cases["hostile"]
    complaint: Callable[[str, tuple[Ran, ...]], str] = cases["complaint"]
    sandbox = BubblewrapSandbox()
    complaints: dict[str, str] = {}
    over_ms: list[float] = []

    async def run_one(name: str) -> None:
        program = hostile(name)
        ran = await sandbox.run(program)
        complaints[name] = complaint(name, ran)
        over_ms.extend(
            (one.wall_s - program.limits.wall_s) * 1e3 for one in ran if one.ended == "wall"
        )

    try:
        await sandbox.ready()
        alone = await lateness(asyncio.create_task(asyncio.sleep(EACH_S)))
        work = await lateness(asyncio.create_task(compute()))
        started = time.perf_counter()
        everything = asyncio.gather(*map(run_one, cases["HOSTILE"]))
        beside = await lateness(everything)
        took_s = time.perf_counter() - started
    finally:
        sandbox.close()
    return Round(
        held=[name for name, said in complaints.items() if not said],
        complaints={name: said for name, said in complaints.items() if said},
        over_ms=over_ms,
        alone_ms=alone,
        work_ms=work,
        beside_ms=beside,
        took_s=took_s,
    )


async def compute() -> None:
    """Keep as many cores busy as the sandboxes do, for a while."""
    command = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(command) for _ in range(min(4, os.cpu_count() or 1))]
    await asyncio.sleep(EACH_S)
    for process in busy:
        process.kill()
        process.wait()


async def lateness(meanwhile: asyncio.Future[Any]) -> float:
    """p99, in milliseconds, of how late a timer of this loop is until the other thing is done."""
    late: list[float] = []
    while not meanwhile.done():
        due = time.perf_counter() + TICK_S
        await asyncio.sleep(TICK_S)
        late.append((time.perf_counter() - due) * 1e3)
    await meanwhile
    return sorted(late)[int(0.99 * len(late))]


def report(rounds: int, found: dict[str, list[Round]], themes: dict[str, str]) -> list[str]:
    command = [find_launch().command[0], "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    missed = [
        f"- {variant}: {name}: {said.splitlines()[0]}"
        for variant, every in found.items()
        for one in every
        for name, said in one.complaints.items()
    ]
    title = f"`python benchmarks/sandbox_escapes.py --rounds {rounds}`: {conditions()}, {version}."
    what = (
        f"{len(themes)} programs, {rounds} rounds each, as many at once as there are cores. Held is one that could do "
        "nothing of what it tried, was refused in the way that it must be, ended as it must and passed no test."
    )
    parts = [f"# Programs that try to get out\n\n{title}\n\n{what}", by_variant(found), HOW]
    parts.append(by_theme(found, themes))
    return [*parts, "Not held:", "\n".join(missed)] if missed else parts


def by_variant(found: dict[str, list[Round]]) -> str:
    rows: list[list[str]] = []
    for variant, every in found.items():
        over_ms = [late for one in every for late in one.over_ms]
        tried = sum(len(one.held) + len(one.complaints) for one in every)
        late = [
            statistics.median(getattr(one, name) for one in every)
            for name in ("alone_ms", "work_ms", "beside_ms")
        ]
        rows.append(
            [
                variant,
                f"{sum(len(one.held) for one in every)}/{tried}",
                f"{statistics.median(over_ms):.1f}",
                f"{max(over_ms):.1f}",
                f"{sum(one > AIM_MS for one in over_ms)}/{len(over_ms)}",
                *(f"{one:.1f}" for one in late),
                f"{statistics.median(one.beside_ms / one.alone_ms for one in every):.1f}",
                f"{statistics.median(one.beside_ms / one.work_ms for one in every):.1f}",
            ]
        )
    header = ["the sandbox is started by", "held", "dead after its limit, median ms", "worst ms"]
    header += [
        f"later than {AIM_MS:.0f} ms",
        "timers late alone, p99 ms",
        "beside plain work",
        "beside the programs",
    ]
    return markdown([*header, "over alone", "over plain work"], rows)


def by_theme(found: dict[str, list[Round]], themes: dict[str, str]) -> str:
    held = Counter(themes[name] for every in found.values() for one in every for name in one.held)
    runs = sum(map(len, found.values()))
    number = Counter(themes.values())
    rows = [[theme, many, f"{held[theme]}/{many * runs}"] for theme, many in number.items()]
    return markdown(["what they try", "programs", "held"], rows)


if __name__ == "__main__":
    main()
