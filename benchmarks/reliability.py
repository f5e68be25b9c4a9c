"""What becomes of requests when services fail, limit and bill: the plan R2 to R13 and S1 to S3, with peers.

    python benchmarks/reliability.py --output docs/figures/reliability.md

Everything runs over sockets to faithful local servers that misbehave by seed. Peers run the same scenario in the
same process, fewer times where they are slow; the table says how often. Which promise each row is:
docs/dispatch.md.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import reliability_faults as faults
import reliability_load as load
from clouds import KEY
from report import conditions, markdown, write

Row = list[object]
Measure = Callable[[int], Awaitable[list[Row]]]
ROWS: dict[str, Measure] = {
    "R2": faults.amplification,
    "R3": faults.overshoot,
    "R4": faults.retry_after,
    "R5": faults.cut_streams,
    "R6": faults.cancelled_upstream,
    "R7": faults.pool_after_cancels,
    "R9": faults.money,
    "R10": load.limits,
    "R11": load.breaker,
    "R12": load.hedging,
    "R13": load.overload,
    "S": faults.secrets,
}
PACKAGES = ("aiohttp", "groq", "litellm")


async def run(names: list[str], runs: int) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        started = time.perf_counter()
        rows += await ROWS[name](runs)
        sys.stderr.write(f"{name}: {time.perf_counter() - started:.0f} s\n")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="of each scenario")
    parser.add_argument("--only", default="", help="rows, by commas")
    parser.add_argument("--output", type=Path, help="write the report here too")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(ROWS)
    rows = asyncio.run(run(names, options.runs))
    assert KEY not in str(rows)
    found = [f"{name} {version}" for name in PACKAGES if (version := installed(name))]
    report = "\n\n".join(
        (
            "# What becomes of requests when services fail",
            f"`python benchmarks/reliability.py --runs {options.runs}`: {conditions()}, {', '.join(found)}.",
            markdown(["row", "promise", "who", "runs", "found"], rows),
        )
    )
    write(options.output, report)


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
