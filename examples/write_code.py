"""Writes a function and hands it out only if it passes your tests: python examples/write_code.py TASK TESTS.json.

Samples are drawn until one passes every test, or the budget is spent. What a model wrote runs in the sandbox.
TESTS.json: {"tests": [{"call": "add", "args": [2, 3], "expected": 5}]}
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import tt_compute as tt


def write(client: tt.Client, task: str, tests: Path, samples: int) -> str | None:
    """The program, or None if none of the samples passed."""
    result = client.solve(
        task,
        verifier=f"code={tests}",
        objective=tt.Objective(max_samples=samples),
    )
    passed = result.tally.accepted
    drawn = result.receipt.samples_drawn
    print(f"{passed} of {drawn} programs passed all tests", file=sys.stderr)
    return None if result.answer is None or not passed else result.answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Code that passes its tests.")
    parser.add_argument("task", help='such as "Write a function add(a, b) in Python."')
    parser.add_argument("tests", type=Path, help="JSON, or a .py file with assertions")
    parser.add_argument("--samples", type=int, default=16, help="most programs to try")
    parser.add_argument("--config", help="a ttc.yaml; default: the one that is found")
    options = parser.parse_args()
    with tt.Client(options.config) as client:
        program = write(client, options.task, options.tests, options.samples)
    if program is None:
        sys.exit("none of the programs passed all tests")
    print(program)


if __name__ == "__main__":
    main()
