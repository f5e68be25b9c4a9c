"""A sandbox that is killed from outside while it checks a right program: an error each time, and never a verdict.

    python benchmarks/sandbox_kills.py --output docs/figures/sandbox_kills.md

A program that adds two numbers right, after a moment, is checked again and again, and at a random time its sandbox
is killed. Where the kill comes too late the check has ended with the right value; whatever else came back would be
a right program judged wrong because its sandbox died.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Literal

from report import conditions, markdown, write
from tt_compute.errors import VerifierError
from tt_compute.verify.sandbox.bubblewrap import BubblewrapSandbox
from tt_compute.verify.sandbox.launch import find_launch
from tt_compute.verify.sandbox.types import Case, Program

SEED = 5
LONGEST_S = 0.06
"""Until the kill; the program takes about half of it."""
PROGRAM = Program(
    source="import time\ndef add(a, b):\n    time.sleep(0.02)\n    return a + b\n",
    cases=(Case(call="add", args=(2, 3)),),
)
Became = Literal["error", "right, the kill came too late", "another verdict"]


async def kill_once(sandbox: BubblewrapSandbox, after_s: float) -> Became:
    check = asyncio.create_task(sandbox.run(PROGRAM))
    while not sandbox.running and not check.done():
        await asyncio.sleep(0)
    await asyncio.sleep(after_s)
    for pid in sandbox.running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    try:
        (ran,) = await check
    except VerifierError:
        return "error"
    return "right, the kill came too late" if ran.value == "5" else "another verdict"


async def kills(number: int) -> Counter[Became]:
    rng = random.Random(SEED)
    sandbox = BubblewrapSandbox()
    try:
        await sandbox.ready()
        return Counter([await kill_once(sandbox, rng.uniform(0, LONGEST_S)) for _ in range(number)])
    finally:
        sandbox.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=2600)
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    found = asyncio.run(kills(options.kills))
    command = [find_launch().command[0], "--version"]
    version = subprocess.run(command, capture_output=True, text=True, check=True)
    became: tuple[Became, ...] = ("error", "right, the kill came too late", "another verdict")
    parts = (
        "# A sandbox that is killed",
        f"`python benchmarks/sandbox_kills.py --kills {options.kills}`: {conditions()}, {version.stdout.strip()}.",
        f"A right program of 20 ms, its sandbox killed at a random time within {1000 * LONGEST_S:.0f} ms.",
        markdown(["what became of the check", "times"], [[name, found[name]] for name in became]),
    )
    write(options.output, "\n\n".join(parts))


if __name__ == "__main__":
    main()
