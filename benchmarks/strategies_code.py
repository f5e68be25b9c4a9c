"""The section of programs and puzzles: HumanEval in the sandbox, the game of 24 by exact arithmetic."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec

import game24
from report import conditions, markdown, percent
from tt_compute.replay.human_eval import Problem, load_problems
from tt_compute.replay.lab import pass_at
from tt_compute.verify.code_decoys import decoy
from tt_compute.verify.code_tests import CodeTest
from tt_compute.verify.sandbox.launch import find_launch
from tt_compute.verify.sandbox.plugins import get_sandbox
from tt_compute.verify.sandbox.types import Limits, Program, Sandbox

__all__ = ["TITLE", "section"]

TITLE = "Programs and puzzles"
BUDGETS = (1, 2, 5, 10, 20, 50, 100)
LIMITS = Limits(wall_s=5, cpu_s=1, total_s=3600)
PACK = 25
MUTATED = "    return None\n"
"""A body that no problem accepts, in place of the right one."""


async def section(data: Path) -> str:
    command = [find_launch().command[0], "--version"]
    done = await anyio.run_process(command)
    title = f"{conditions('human-eval')}, {done.stdout.decode().strip()}."
    return "\n\n".join([title, await human_eval(data), game_of_24(data)])


# --- HumanEval -----------------------------------------------------------------------------------


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """One problem's samples."""

    recorded: tuple[bool, ...]
    ours: tuple[bool, ...]


async def human_eval(data: Path) -> str:
    problems = {problem.task_id: problem for problem in load_problems()}
    lines = list(_lines(data / "humaneval_codegen16b_k100.jsonl"))
    sandbox = get_sandbox()
    try:
        await sandbox.ready()
        right = [await _passes(one, [one.canonical_solution], sandbox) for one in problems.values()]
        wrong = [await _passes(one, [MUTATED], sandbox) for one in problems.values()]
        started = time.perf_counter()
        passed = [
            await _passes(problems[line["question_id"]], line["programs"], sandbox)
            for line in lines
        ]
        took_s = time.perf_counter() - started
        deceivers = [
            await _deceivers(problems[line["question_id"]], line["programs"], found, sandbox)
            for line, found in zip(lines, passed, strict=True)
        ]
        alone = await _one_by_one(problems[lines[0]["question_id"]], lines[0]["programs"], sandbox)
    finally:
        sandbox.close()
    verdicts = [
        _verdicts(line["samples"], line["correct"], found)
        for line, found in zip(lines, passed, strict=True)
    ]
    programs = sum(map(len, passed))
    return "\n\n".join(
        [
            f"### HumanEval, {lines[0]['model']}, unit tests in the sandbox",
            (
                f"The wheel's own solutions: {sum(map(sum, right))} of {len(problems)} pass. With `return None` "
                f"as their body: {sum(map(sum, wrong))} pass. The {programs} different programs of {len(lines)} "
                f"problems were run in {took_s:.0f} s, {programs / took_s:.0f} checks/s: {PACK} programs, each in a "
                f"process of its own, to a sandbox. In a sandbox each, as the verifier `code` runs them, it is "
                f"{alone:.0f} checks/s. Other work ran on the machine."
            ),
            (
                f"Of the {sum(map(sum, passed))} that pass {sum(deceivers)} pass a decoy of their test, too, which the "
                f"verifier `code` takes for deceit."
            ),
            _agreement(verdicts),
            _estimator(),
            _pass_table(verdicts),
        ]
    )


async def _deceivers(
    problem: Problem, bodies: Sequence[str], passed: Sequence[bool], sandbox: Sandbox
) -> int:
    """How many of the right ones pass where something else is expected."""
    check = decoy(problem.check)
    assert check is not None, "every test can be read"
    right = [body for body, passes in zip(bodies, passed, strict=True) if passes]
    return sum(await _passes(problem, right, sandbox, check))


async def _passes(
    problem: Problem, bodies: Sequence[str], sandbox: Sandbox, check: str | None = None
) -> list[bool]:
    """Whether each body is right. Each is a case, which has a process, with all of the program as its check."""
    after = problem.check if check is None else check
    tests = [CodeTest(check=f"{problem.prompt}{body}\n{after}") for body in bodies]
    found = [False] * len(tests)

    async def run(places: Sequence[int]) -> None:
        cases = tuple(tests[place].case() for place in places)
        ran = await sandbox.run(Program(source="", cases=cases, limits=LIMITS))
        for place, one in zip(places, ran, strict=True):
            found[place] = tests[place].passed(one)

    async with anyio.create_task_group() as group:
        for start in range(0, len(tests), PACK):
            group.start_soon(run, range(start, min(start + PACK, len(tests))))
    return found


async def _one_by_one(problem: Problem, bodies: Sequence[str], sandbox: Sandbox) -> float:
    """Checks/s of programs that each have a sandbox of their own."""
    started = time.perf_counter()
    async with anyio.create_task_group() as group:
        for body in bodies:
            case = CodeTest(check=problem.check).case()
            program = Program(source=problem.prompt + body, cases=(case,), limits=LIMITS)
            group.start_soon(sandbox.run, program)
    return len(bodies) / (time.perf_counter() - started)


def _verdicts(places: Sequence[int], recorded: Sequence[int], found: Sequence[bool]) -> Verdicts:
    """Of the samples, each of which is a place among the different programs."""
    return Verdicts(
        recorded=tuple(map(bool, recorded)), ours=tuple(found[place] for place in places)
    )


def _agreement(verdicts: Sequence[Verdicts]) -> str:
    pairs = [pair for one in verdicts for pair in zip(one.recorded, one.ours, strict=True)]
    same = sum(recorded == ours for recorded, ours in pairs)
    more = sum(ours and not recorded for recorded, ours in pairs)
    return (
        f"Of {len(pairs)} samples {same} have the verdict that was recorded; {more} pass here and were recorded "
        f"as wrong, {len(pairs) - same - more} the other way. The recording allowed 0.6 s for a program, to "
        f"which its provenance puts a few false negatives; here it is {LIMITS.cpu_s:g} s of processor time."
    )


def _estimator() -> str:
    """Held against all subsets, so that the figures below rest on something that was checked."""
    worst = 0.0
    for n, right in itertools.product(range(1, 9), range(9)):
        if right > n:
            continue
        samples = [place < right for place in range(n)]
        for k in range(1, n + 1):
            subsets = [any(chosen) for chosen in itertools.combinations(samples, k)]
            worst = max(worst, abs(pass_at(samples, k) - statistics.fmean(subsets)))
    return (
        "pass@k is the unbiased estimator 1 - C(n - c, k) / C(n, k); enumerating all subsets of up to 8 samples "
        f"gives the same within {worst:.0e}."
    )


def _pass_table(verdicts: Sequence[Verdicts]) -> str:
    header = ["", *(f"pass@{k}, %" for k in BUDGETS)]
    rows: list[list[object]] = [
        [
            name,
            *(f"{100 * statistics.fmean(pass_at(one, k) for one in samples):.2f}" for k in BUDGETS),
        ]
        for name, samples in (
            ("run here", [one.ours for one in verdicts]),
            ("recorded", [one.recorded for one in verdicts]),
        )
    ]
    return markdown(header, rows)


# --- the game of 24 ------------------------------------------------------------------------------


def game_of_24(data: Path) -> str:
    lines = list(_lines(data / "game24_gpt4_k100.jsonl"))
    traces = list(_lines(data / "game24_gpt4_tot_bfs_trace.jsonl"))
    puzzles = {line["question_id"]: line["question"] for line in lines}
    rows: list[list[object]] = []
    same = judged = 0
    for prompt in ("standard", "cot"):
        mine = [line for line in lines if line["prompt"] == prompt]
        right = [[_solves(line["question"], text) for text in line["samples"]] for line in mine]
        for line, found in zip(mine, right, strict=True):
            judged += len(found)
            same += sum(
                ours == bool(told) for ours, told in zip(found, line["correct"], strict=True)
            )
        per_sample = statistics.fmean(
            line["completion_tokens_total"] / len(line["samples"]) for line in mine
        )
        rows += [_best_of(f"best of n, {prompt} prompt", k, right, per_sample) for k in BUDGETS]
    answers = [
        [_solves(puzzles[trace["question_id"]], text) for text in trace["final"]]
        for trace in traces
    ]
    for trace, found in zip(traces, answers, strict=True):
        judged += len(found)
        same += sum(ours == bool(told) for ours, told in zip(found, trace["correct"], strict=True))
    tokens = statistics.fmean(trace["completion_tokens"] for trace in traces)
    solved = sum(map(any, answers))
    rows.append(
        ["tree search, breadth 5 (recorded)", 5, percent(solved, len(answers)), f"{tokens:.0f}"]
    )
    return "\n\n".join(
        [
            f"### Game of 24, {lines[0]['model']}, judged by exact arithmetic",
            (
                f"{len(traces)} puzzles. Each answer is computed in fractions and must use the four numbers once: "
                f"{same} of {judged} verdicts are the recorded ones. A verifier that is exact takes the right sample "
                "where there is one, so a puzzle is solved when any of n is right: the mean over all choices of n out "
                "of the 100 that were recorded; tokens are those of all n, without the prompts."
            ),
            markdown(["strategy", "answers", "puzzles solved, %", "completion tokens"], rows),
        ]
    )


def _best_of(name: str, k: int, right: Sequence[Sequence[bool]], tokens: float) -> list[object]:
    solved = statistics.fmean(pass_at(one, k) for one in right)
    return [name, k, percent(round(len(right) * solved), len(right)), f"{k * tokens:.0f}"]


def _solves(question: str, text: str) -> bool:
    return game24.solves([int(number) for number in question.split()], text)


def _lines(file: Path) -> Iterator[Any]:
    with file.open(encoding="utf-8") as opened:
        yield from map(json.loads, opened)
