"""Rows beside each other: whatever comes and goes, each draws what it would alone."""

from __future__ import annotations

import importlib
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute_backends.detokenize import TokenTable
from tt_compute_backends.engine.runtime import RowParams, RowStep
from tt_compute_backends.loop.batch import Batch, Memory
from tt_compute_backends.loop.rows import LoopRow

END = 7
TABLE = TokenTable([f"t{token} ".encode() for token in range(50)], [END])
PROMPT = tuple(range(20, 45))


class Bench:
    """A batch on the fake model, with all that came of each row."""

    def __init__(
        self,
        *,
        device_tokens: int = 10**9,
        budget_tokens: int = 10**9,
        piece_tokens: int = 8,
        max_rows: int = 16,
        share_beginnings: bool = True,
        endless: bool = True,
    ) -> None:
        self.end_tokens: set[int] = set() if endless else {END}
        self.forward: Any = importlib.import_module("fake_forward").FakeForward(device_tokens)
        self.batch: Batch[Any] = Batch(
            self.forward,
            Memory(
                max_rows=max_rows,
                max_tokens=10_000,
                budget_bytes=budget_tokens * 10,
                piece_tokens=piece_tokens,
                share_beginnings=share_beginnings,
            ),
        )
        self.text: defaultdict[int, str] = defaultdict(str)
        self.steps: defaultdict[int, list[RowStep]] = defaultdict(list)
        self.finish: dict[int, str] = {}
        self.numbers = 0

    def add(self, prompt: tuple[int, ...] = PROMPT, *, max_tokens: int = 20, seed: int = 1) -> int:
        number = self.numbers
        self.numbers += 1
        held = self.batch.prompts.holds(prompt)
        state = self.batch.prompts.enter(prompt)
        params = RowParams(
            max_tokens=max_tokens,
            seed=seed,
            temperature=1.0,
            top_p=0.95,
            top_k=None,
            stop=(),
            logprobs=0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            json_schema=None,
        )
        row = LoopRow(
            number,
            state,
            found_computed=held and state.finished,
            params=params,
            table=TABLE,
            end_tokens=self.end_tokens,
            matcher=None,
        )
        self.batch.add(row)
        return number

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            for step in self.batch.step():
                assert step.row not in self.finish, "a row that had ended"
                self.text[step.row] += step.text
                self.steps[step.row].append(step)
                if step.finish is not None:
                    self.finish[step.row] = step.finish

    def run(self, limit: int = 400) -> None:
        for _ in range(limit):
            if len(self.finish) == self.numbers:
                return
            self.step()
        pytest.fail("the rows did not end")


def alone(prompt: tuple[int, ...], seed: int, max_tokens: int = 20, *, endless: bool = True) -> str:
    bench = Bench(piece_tokens=1000, endless=endless)
    row = bench.add(prompt, seed=seed, max_tokens=max_tokens)
    bench.run()
    return bench.text[row]


def test_a_prompt_is_computed_once_in_pieces_for_all_its_rows() -> None:
    bench = Bench(piece_tokens=8)
    for seed in range(5):
        bench.add(seed=seed)
    bench.run()
    assert bench.forward.prefilled == [(8, 0), (8, 8), (8, 16), (1, 24)]


def test_rows_of_one_prompt_run_in_one_batch() -> None:
    bench = Bench(piece_tokens=1000)
    for seed in range(5):
        bench.add(seed=seed, max_tokens=3)
    bench.run()
    assert bench.forward.widths[0] == 5


def test_a_late_row_finds_its_prompt_computed_and_says_so() -> None:
    bench = Bench()
    first = bench.add()
    bench.step(6)
    computed = list(bench.forward.prefilled)
    late = bench.add(seed=2)
    bench.run()
    assert bench.forward.prefilled == computed
    assert bench.steps[first][0].cached_tokens == 0
    assert bench.steps[late][0].cached_tokens == len(PROMPT)


def test_a_prompt_with_a_known_beginning_starts_from_it() -> None:
    bench = Bench(piece_tokens=1000)
    bench.add()
    bench.run()
    longer = (*PROMPT, 1, 2, 3)
    row = bench.add(longer)
    bench.run()
    assert bench.forward.prefilled == [(25, 0), (3, 25)]
    assert bench.steps[row][0].cached_tokens == len(PROMPT)
    assert bench.text[row] == alone(longer, 1)


def test_beginnings_are_not_shared_where_that_is_unwanted() -> None:
    bench = Bench(piece_tokens=1000, share_beginnings=False)
    bench.add()
    bench.run()
    bench.add((*PROMPT, 1))
    bench.run()
    assert bench.forward.prefilled == [(25, 0), (26, 0)]


def test_running_rows_go_on_between_the_pieces_of_a_newcomer() -> None:
    bench = Bench(piece_tokens=4)
    running = bench.add(max_tokens=100, seed=3)
    bench.step(8)
    bench.add((*range(1, 41),))
    before = len(bench.steps[running])
    bench.step(5)
    assert len(bench.steps[running]) == before + 5


def test_a_cancelled_row_gives_no_more_steps_and_the_others_go_on() -> None:
    bench = Bench()
    numbers = [bench.add(seed=seed) for seed in range(4)]
    bench.step(8)
    bench.batch.remove(numbers[1])
    said = len(bench.steps[numbers[1]])
    bench.finish[numbers[1]] = "cancelled"
    bench.run()
    assert len(bench.steps[numbers[1]]) == said
    for seed, number in enumerate(numbers):
        if number != numbers[1]:
            assert bench.text[number] == alone(PROMPT, seed)


def test_a_row_cancelled_while_its_prompt_is_computed_leaves_nothing() -> None:
    bench = Bench(piece_tokens=4)
    number = bench.add()
    bench.step()
    bench.batch.remove(number)
    bench.finish[number] = "cancelled"
    assert bench.batch.step() == []
    assert bench.batch.prompts.bytes == 0


def test_the_step_narrows_as_rows_end() -> None:
    bench = Bench(piece_tokens=1000)
    bench.add(seed=1, max_tokens=2)
    bench.add(seed=2, max_tokens=4)
    bench.run()
    assert bench.forward.widths == [2, 1, 1]


def test_rows_that_exceed_the_budget_are_shed_the_newest_first_and_the_others_end_well() -> None:
    bench = Bench(budget_tokens=900, piece_tokens=1000)
    numbers = [bench.add(seed=seed, max_tokens=200) for seed in (11, 12, 13)]
    bench.run()
    endings = [bench.finish[number] for number in numbers]
    assert endings[0] != "oom"
    assert endings[-1] == "oom"
    assert bench.text[numbers[0]] == alone(PROMPT, 11, max_tokens=200)


def test_a_device_that_runs_out_costs_the_newest_row_only() -> None:
    bench = Bench(device_tokens=300, piece_tokens=1000)
    numbers = [bench.add(seed=seed, max_tokens=300) for seed in (11, 12)]
    bench.run()
    assert bench.finish[numbers[1]] == "oom"
    assert bench.text[numbers[0]].startswith(alone(PROMPT, 11, max_tokens=100))


def test_an_end_token_ends_a_row_and_is_no_text() -> None:
    bench = Bench(endless=False)
    numbers = [bench.add(seed=seed, max_tokens=500) for seed in range(8)]
    bench.run()
    for number in numbers:
        assert bench.finish[number] == "stop"
        assert f"t{END} " not in bench.text[number]
        assert len(bench.steps[number]) == bench.text[number].count(" ") + 1


def test_there_is_room_until_the_budget_is_full() -> None:
    bench = Bench(budget_tokens=1000)
    assert bench.batch.has_room(PROMPT)
    for seed in range(4):
        bench.add(seed=seed)
    assert not bench.batch.has_room(PROMPT)
    assert not Bench(budget_tokens=40).batch.has_room(PROMPT)


def test_clearing_frees_everything_and_the_batch_works_again() -> None:
    bench = Bench()
    bench.add()
    bench.step(6)
    bench.batch.clear()
    assert bench.batch.prompts.bytes == 0
    bench.finish[0] = "lost"
    row = bench.add(seed=9)
    bench.run()
    assert bench.text[row] == alone(PROMPT, 9)


def test_unused_prompts_are_dropped_beyond_what_is_kept() -> None:
    """An eighth of the budget is kept for prompts that may come again, the latest used first."""
    bench = Bench(budget_tokens=8 * 60, piece_tokens=1000)
    prompts = [tuple(range(start, start + 25)) for start in (0, 10, 20)]
    for prompt in prompts:
        bench.add(prompt, max_tokens=1)
        bench.run()
    assert [bench.batch.prompts.holds(prompt) for prompt in prompts] == [False, True, True]


@settings(max_examples=60, deadline=None)
@given(
    actions=st.lists(
        st.tuples(st.sampled_from(("add", "step", "cancel")), st.integers(0, 5)), max_size=60
    ),
    piece_tokens=st.integers(1, 30),
)
def test_whatever_comes_and_goes_every_row_draws_what_it_would_alone(
    actions: list[tuple[str, int]], piece_tokens: int
) -> None:
    bench = Bench(piece_tokens=piece_tokens, endless=False)
    asked: dict[int, tuple[tuple[int, ...], int]] = {}
    cancelled: set[int] = set()
    for action, value in actions:
        if action == "add" and len(bench.finish) + 16 > bench.numbers:
            prompt = (*PROMPT[: 20 + value % 3], value % 2, 3)
            asked[bench.add(prompt, seed=value, max_tokens=12)] = (prompt, value)
        elif action == "cancel" and value < bench.numbers and value not in bench.finish:
            bench.batch.remove(value)
            bench.finish[value] = "cancelled"
            cancelled.add(value)
        else:
            bench.step()
    bench.run()
    for number, (prompt, seed) in asked.items():
        whole = alone(prompt, seed, max_tokens=12, endless=False)
        if number in cancelled:
            assert whole.startswith(bench.text[number])
        else:
            assert bench.text[number] == whole
