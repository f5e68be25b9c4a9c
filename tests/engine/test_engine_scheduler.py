"""The rules of the scheduler, step by step on the fake runtime, with time that only the test moves."""

from __future__ import annotations

import importlib
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.types import (
    Delta,
    FinishReason,
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    Sample,
    SamplingParams,
    Usage,
    sample_seed,
)
from tt_compute_backends.engine.messages import (
    Cancel,
    Close,
    Closed,
    Draw,
    Events,
    Open,
    Opened,
    Refused,
    Reply,
    WireFailed,
)
from tt_compute_backends.engine.runtime import LoadRequest, Prompt
from tt_compute_backends.engine.sampling import row_params
from tt_compute_backends.engine.scheduler import Scheduler

MakeLoad = Callable[..., LoadRequest]
SEED = 7


class Bench:
    """A scheduler on the fake runtime, with all it ever said."""

    def __init__(self, load: LoadRequest) -> None:
        self.time = 0.0
        self.runtime: Any = importlib.import_module("fake_runtime").FakeRuntime()
        share: bool = self.runtime.load(load).capabilities.prefix_sharing
        self.scheduler = Scheduler(
            self.runtime, max_rows=load.max_rows, share_prefill=share, now=lambda: self.time
        )
        self.said: list[Reply] = []
        self.deltas: dict[int, list[Delta]] = defaultdict(list)
        self.samples: dict[int, dict[int, Sample]] = defaultdict(dict)
        self.failures: dict[int, dict[int, WireFailed]] = defaultdict(dict)
        self.drawn: Counter[int] = Counter()
        self.opened = 0

    def open(
        self,
        prompt: str,
        *,
        deltas: Literal["none", "text", "logprobs"] = "none",
        seconds_left: float | None = None,
        sampling: SamplingParams | None = None,
    ) -> int:
        number = self.opened
        self.opened += 1
        request = GenerateRequest(
            messages=(Message(role="user", content=f"name=p{number} {prompt}"),),
            sampling=sampling or SamplingParams(),
            deltas=deltas,
        )
        self.scheduler.handle(
            Open(
                generation=number,
                request=request,
                seed=str(SEED),
                sent_s=self.time,
                seconds_left=seconds_left,
            )
        )
        self.collect()
        return number

    def draw(self, number: int, n: int = 1) -> None:
        first = self.drawn[number]
        self.drawn[number] += n
        self.scheduler.handle(Draw(generation=number, first=first, n=n, sent_s=self.time))

    def cancel(self, number: int, index: int | None = None) -> None:
        self.scheduler.handle(Cancel(generation=number, index=index))
        self.collect()

    def close(self, number: int) -> None:
        self.scheduler.handle(Close(generation=number))
        self.collect()

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.scheduler.advance()
            self.collect()

    def run(self) -> None:
        while self.scheduler.busy:
            self.step()

    def collect(self) -> None:
        replies = self.scheduler.take_replies()
        self.said += replies
        for reply in replies:
            if isinstance(reply, Events):
                self._file(reply)

    def live(self, number: int) -> int:
        """Rows of a prompt in the runtime."""
        names = [row.settings["name"] for row in self.runtime.rows.values()]
        return names.count(f"p{number}")

    def reasons(self, number: int) -> dict[int, FinishReason]:
        return {index: sample.finish_reason for index, sample in self.samples[number].items()}

    def _file(self, events: Events) -> None:
        for delta in events.deltas:
            assert delta.index not in self.samples[events.generation], "a delta after the end"
            self.deltas[events.generation].append(delta)
        for sample in events.samples:
            self._file_end(events.generation, sample.index)
            self.samples[events.generation][sample.index] = sample
        for failure in events.failures:
            self._file_end(events.generation, failure.index)
            self.failures[events.generation][failure.index] = failure

    def _file_end(self, number: int, index: int) -> None:
        assert index not in self.samples[number], "two ends"
        assert index not in self.failures[number], "two ends"


# --- admission -----------------------------------------------------------------------------------


def test_draw_only_queues(fake_load: MakeLoad) -> None:
    """Draw does not touch the runtime; the next step does."""
    bench = Bench(fake_load())
    number = bench.open("length=3")
    bench.draw(number, 2)
    assert bench.runtime.journal == []
    bench.step()
    assert bench.runtime.journal == [("add", 0), ("step", 1)]


def test_rows_of_all_prompts_together_stay_under_the_cap(fake_load: MakeLoad) -> None:
    """No more than ``max_rows`` rows are in the runtime, whoever asked for them."""
    bench = Bench(fake_load(max_rows=4))
    for n in (1, 7, 5):
        bench.draw(bench.open("length=3"), n)
    bench.run()
    assert bench.runtime.most_rows == 4
    assert [len(bench.samples[number]) for number in range(3)] == [1, 7, 5]


def test_a_cancelled_row_counts_until_the_runtime_has_freed_it(fake_load: MakeLoad) -> None:
    """A cancelled row's place is given away only after the next step."""
    bench = Bench(fake_load(max_rows=2))
    number = bench.open("")
    bench.draw(number, 3)
    bench.step(2)
    bench.cancel(number, 0)
    bench.step()
    assert bench.live(number) == 1
    bench.step()
    assert bench.live(number) == 2
    assert bench.runtime.most_rows == 2


def test_the_first_row_of_a_prompt_leads(fake_load: MakeLoad) -> None:
    """The other rows wait until the leader has its first token, and then all start at once."""
    bench = Bench(fake_load())
    number = bench.open("prefill=3")
    bench.draw(number, 4)
    bench.step(3)
    assert bench.live(number) == 1
    bench.step()
    assert bench.live(number) == 4


def test_a_later_draw_needs_no_leader(fake_load: MakeLoad) -> None:
    """Once computed, a prompt is not led again, even when none of its rows is left."""
    bench = Bench(fake_load())
    number = bench.open("length=2")
    bench.draw(number, 1)
    bench.run()
    bench.draw(number, 3)
    bench.step()
    assert bench.live(number) == 3


def test_the_next_row_leads_when_the_leader_is_cancelled_in_its_prefill(
    fake_load: MakeLoad,
) -> None:
    """A leader that ends before its first token hands the lead to one row, not to all."""
    bench = Bench(fake_load())
    number = bench.open("prefill=3 length=9")
    bench.draw(number, 3)
    bench.step()
    bench.cancel(number, 0)
    bench.step(2)
    assert bench.live(number) == 1
    bench.step(2)
    assert bench.live(number) == 2


def test_the_next_row_leads_when_the_leader_runs_out_of_memory(fake_load: MakeLoad) -> None:
    """Each row leads in turn when none of them can be prefilled."""
    bench = Bench(fake_load())
    number = bench.open("oom=0")
    bench.draw(number, 3)
    bench.step()
    assert [*bench.failures[number]] == [0]
    bench.run()
    assert [*bench.failures[number]] == [0, 1, 2]


def test_nobody_leads_where_prefill_is_not_shared(fake_load: MakeLoad) -> None:
    """Without prefix sharing all rows start at once."""
    bench = Bench(fake_load(share=False))
    number = bench.open("prefill=3")
    bench.draw(number, 4)
    bench.step()
    assert bench.live(number) == 4


def test_a_leader_holds_up_no_other_prompt(fake_load: MakeLoad) -> None:
    """While one prompt is being led, free rows go to the others."""
    bench = Bench(fake_load())
    slow, quick = bench.open("prefill=50"), bench.open("")
    bench.draw(slow, 4)
    bench.draw(quick, 4)
    bench.step(2)
    assert (bench.live(slow), bench.live(quick)) == (1, 3)


def test_a_newcomer_gets_the_first_row_that_ends(fake_load: MakeLoad) -> None:
    """A request for one sample is not queued behind the rest of a large one."""
    bench = Bench(fake_load(max_rows=4))
    crowd = bench.open("length=9")
    bench.draw(crowd, 40)
    bench.step(3)
    newcomer = bench.open("length=2")
    bench.draw(newcomer)
    bench.step(6)
    assert len(bench.samples[crowd]) == 1
    assert bench.live(newcomer) == 0
    bench.step()
    assert bench.live(newcomer) == 1


def test_a_row_without_memory_waits_for_one_that_ends(fake_load: MakeLoad) -> None:
    bench = Bench(fake_load(max_rows=8, room=2))
    number = bench.open("length=3")
    bench.draw(number, 5)
    bench.run()
    assert bench.runtime.most_rows == 2
    assert [bench.samples[number][i].finish_reason for i in range(5)] == ["stop"] * 5


def test_a_row_is_tried_though_memory_is_short_when_nothing_runs(fake_load: MakeLoad) -> None:
    """So that one that can never fit fails with the runtime's reason instead of waiting for ever."""
    bench = Bench(fake_load(room=0))
    number = bench.open("refuse-add")
    bench.draw(number)
    bench.run()
    assert "no room" in bench.failures[number][0].error.message


def test_free_rows_are_shared_evenly_between_requests(fake_load: MakeLoad) -> None:
    """However many samples each request wants, they end up with equal numbers of rows."""
    bench = Bench(fake_load(max_rows=6))
    numbers = [bench.open("length=4") for _ in range(3)]
    for number, n in zip(numbers, (60, 12, 12), strict=True):
        bench.draw(number, n)
    bench.step(10)
    assert [bench.live(number) for number in numbers] == [2, 2, 2]


def test_a_request_with_few_rows_leaves_the_rest_to_others(fake_load: MakeLoad) -> None:
    """Rows that one request does not want go to those that do."""
    bench = Bench(fake_load(max_rows=6))
    small, large = bench.open("length=90"), bench.open("length=90")
    bench.draw(large, 60)
    bench.draw(small, 1)
    bench.step(3)
    assert (bench.live(small), bench.live(large)) == (1, 5)


def test_among_equals_the_one_that_waited_longest_is_served(fake_load: MakeLoad) -> None:
    """On one row, a request with work left takes turns with newcomers, so that neither starves."""
    bench = Bench(fake_load(max_rows=1))
    old = bench.open("length=1")
    bench.draw(old, 50)
    bench.step()
    early = [bench.open("length=1") for _ in range(2)]
    for number in early:
        bench.draw(number)
    bench.step()
    late = bench.open("length=1")
    bench.draw(late)
    served: list[int] = []
    for _ in range(4):
        before = {number: len(bench.samples[number]) for number in (old, *early, late)}
        bench.step()
        served += [n for n, count in before.items() if len(bench.samples[n]) > count]
    assert served == [*early, old, late]


# --- ends ----------------------------------------------------------------------------------------


def test_cancelling_one_sample_leaves_the_others(fake_load: MakeLoad) -> None:
    """Its sample comes before the next step, with its partial text; the rest goes on."""
    bench = Bench(fake_load())
    number = bench.open("length=5")
    bench.draw(number, 3)
    bench.step(3)
    bench.cancel(number, 1)
    sample = bench.samples[number][1]
    seed = sample_seed(SEED, 1)
    assert sample.finish_reason == "cancelled"
    assert sample.text == f"{seed}:0 {seed}:1 "
    assert sample.usage.output_tokens == 2
    bench.run()
    assert bench.reasons(number) == {0: "stop", 1: "cancelled", 2: "stop"}


def test_cancelling_all_ends_live_and_queued(fake_load: MakeLoad) -> None:
    """Every sample that was asked for ends; a later draw works as before."""
    bench = Bench(fake_load(max_rows=2))
    number = bench.open("length=3")
    bench.draw(number, 5)
    bench.step(2)
    bench.cancel(number)
    assert set(bench.reasons(number).values()) == {"cancelled"}
    assert len(bench.samples[number]) == 5
    bench.draw(number)
    bench.run()
    assert bench.reasons(number)[5] == "stop"


def test_a_sample_that_never_started_is_empty(fake_load: MakeLoad) -> None:
    """It costs nothing and has no first token."""
    bench = Bench(fake_load(max_rows=1))
    number = bench.open("")
    bench.draw(number, 2)
    bench.step()
    bench.cancel(number, 1)
    sample = bench.samples[number][1]
    assert (sample.finish_reason, sample.text, sample.usage) == ("cancelled", "", Usage())
    assert sample.timing.first_token_s is None


def test_cancel_is_idempotent_and_ignores_what_it_does_not_know(fake_load: MakeLoad) -> None:
    """Twice, an unknown index, an unknown generation: nothing happens."""
    bench = Bench(fake_load())
    number = bench.open("")
    bench.draw(number, 2)
    bench.step(2)
    for index in (0, 0, 99):
        bench.cancel(number, index)
    bench.cancel(77)
    assert bench.reasons(number) == {0: "cancelled"}
    assert [entry for entry in bench.runtime.journal if entry[0] == "cancel"] == [("cancel", 0)]


def test_a_sample_that_was_complete_keeps_its_reason(fake_load: MakeLoad) -> None:
    """A cancel that comes after the last token changes nothing."""
    bench = Bench(fake_load())
    number = bench.open("length=2")
    bench.draw(number)
    bench.step(2)
    bench.cancel(number, 0)
    bench.run()
    assert bench.reasons(number) == {0: "stop"}


def test_a_cancel_before_the_last_step_wins(fake_load: MakeLoad) -> None:
    """One step before its last token a sample ends as cancelled, without that token."""
    bench = Bench(fake_load())
    number = bench.open("length=2")
    bench.draw(number)
    bench.step()
    bench.cancel(number, 0)
    bench.run()
    assert bench.samples[number][0].finish_reason == "cancelled"
    assert bench.samples[number][0].usage.output_tokens == 1


def test_the_runtime_gets_a_step_to_free_the_last_cancelled_row(fake_load: MakeLoad) -> None:
    """After everything was cancelled one more step runs, then the engine is idle."""
    bench = Bench(fake_load())
    number = bench.open("")
    bench.draw(number)
    bench.step()
    bench.cancel(number)
    assert bench.scheduler.busy
    bench.step()
    assert not bench.scheduler.busy
    assert bench.runtime.freed == set()


def test_the_deadline_ends_live_and_queued_within_a_step(fake_load: MakeLoad) -> None:
    """At the deadline every sample of that request ends, partial text kept; others go on."""
    bench = Bench(fake_load(max_rows=3))
    other = bench.open("length=8")
    bench.draw(other)
    late = bench.open("", seconds_left=2.0)
    bench.draw(late, 3)
    bench.step(2)
    bench.time = 1.999
    bench.step()
    assert bench.samples[late] == {}
    bench.time = 2.0
    bench.step()
    assert bench.reasons(late) == {0: "deadline", 1: "deadline", 2: "deadline"}
    assert [bench.samples[late][index].usage.output_tokens for index in range(3)] == [3, 2, 0]
    assert bench.samples[late][0].text != ""
    bench.draw(late)
    bench.run()
    assert bench.reasons(late)[3] == "deadline"
    assert bench.reasons(other) == {0: "stop"}


def test_the_deadline_counts_from_when_the_command_was_sent(fake_load: MakeLoad) -> None:
    """Time that a command spent on its way is taken off."""
    bench = Bench(fake_load())
    bench.time = 10.0
    request = GenerateRequest(messages=(Message(role="user", content="x name=p0"),))
    command = Open(generation=0, request=request, seed="1", sent_s=4.0, seconds_left=6.0)
    bench.scheduler.handle(command)
    bench.draw(0)
    bench.step()
    assert bench.reasons(0) == {0: "deadline"}


def test_max_tokens_ends_with_length(fake_load: MakeLoad) -> None:
    """The runtime's own reason reaches the sample."""
    bench = Bench(fake_load())
    number = bench.open("", sampling=SamplingParams(max_tokens=3))
    bench.draw(number)
    bench.run()
    assert bench.reasons(number) == {0: "length"}
    assert bench.samples[number][0].usage.output_tokens == 3


def test_closing_ends_everything_before_it_is_acknowledged(fake_load: MakeLoad) -> None:
    """The samples' events precede ``Closed``, and the prompt is forgotten."""
    bench = Bench(fake_load(max_rows=1))
    number = bench.open("")
    bench.draw(number, 2)
    bench.step()
    bench.close(number)
    events, closed = bench.said[-2:]
    assert isinstance(events, Events)
    assert [sample.finish_reason for sample in events.samples] == ["cancelled", "cancelled"]
    assert closed == Closed(generation=number)
    bench.draw(number)
    bench.cancel(number)
    bench.run()
    assert bench.said[-1] == closed


# --- failures ------------------------------------------------------------------------------------


def test_a_failed_step_costs_every_sample_and_the_engine_goes_on(fake_load: MakeLoad) -> None:
    """Live and queued samples of all prompts fail with their text, the runtime is reset, and works."""
    bench = Bench(fake_load(max_rows=2))
    bad = bench.open("raise=2")
    good = bench.open("length=5")
    bench.draw(bad)
    bench.draw(good, 3)
    bench.step(3)
    assert set(bench.failures[bad]) == {0}
    assert set(bench.failures[good]) == {0, 1, 2}
    failure = bench.failures[good][0]
    assert failure.error.kind == "ServerError"
    assert "RuntimeError: the batch blew up" in failure.error.message
    assert failure.text.count(":") == failure.usage.output_tokens == 2
    assert bench.failures[good][2].usage == Usage()
    assert bench.runtime.resets == 1
    bench.draw(good, 3)
    bench.step()
    assert bench.live(good) == 1, "what had been computed is gone, so a row leads again"
    bench.run()
    assert bench.reasons(good) == {3: "stop", 4: "stop", 5: "stop"}


def test_a_runtime_that_cannot_be_reset_ends_the_engine(fake_load: MakeLoad) -> None:
    """The failures are handed over, then the error goes up."""
    bench = Bench(fake_load(broken_reset=True))
    number = bench.open("raise=1")
    bench.draw(number, 2)
    bench.step()
    with pytest.raises(RuntimeError, match="cannot be mended"):
        bench.step()
    bench.collect()
    assert set(bench.failures[number]) == {0, 1}


def test_out_of_memory_costs_one_sample(fake_load: MakeLoad) -> None:
    """It fails as ``OutOfMemory`` with its text and usage, and its neighbours finish."""
    bench = Bench(fake_load())
    poor, rich = bench.open("oom=2"), bench.open("length=4")
    bench.draw(poor)
    bench.draw(rich)
    bench.run()
    failure = bench.failures[poor][0]
    assert failure.error.kind == "OutOfMemory"
    assert failure.usage == Usage(input_tokens=2, output_tokens=2)
    assert bench.reasons(rich) == {0: "stop"}


def test_a_row_the_runtime_refuses_costs_one_sample(fake_load: MakeLoad) -> None:
    """An exception from ``add`` fails that sample only."""
    bench = Bench(fake_load())
    bad, good = bench.open("refuse-add"), bench.open("length=2")
    bench.draw(bad, 2)
    bench.draw(good)
    bench.run()
    assert set(bench.failures[bad]) == {0, 1}
    assert "no room for the row" in bench.failures[bad][0].error.message
    assert bench.reasons(good) == {0: "stop"}


@pytest.mark.parametrize(
    ("word", "kind", "hint"),
    [
        pytest.param("refuse", "InvalidRequestError", "ask otherwise", id="typed"),
        pytest.param("refuse-badly", "ServerError", None, id="foreign"),
    ],
)
def test_a_prompt_the_runtime_refuses_is_not_opened(
    fake_load: MakeLoad, word: str, kind: str, hint: str | None
) -> None:
    """The refusal names the error; nothing else is disturbed."""
    bench = Bench(fake_load())
    good = bench.open("length=2")
    bench.draw(good)
    bad = bench.open(word)
    refused = bench.said[-1]
    assert isinstance(refused, Refused)
    assert (refused.generation, refused.error.kind, refused.error.hint) == (bad, kind, hint)
    bench.draw(bad)
    bench.run()
    assert bench.samples[bad] == {}
    assert bench.reasons(good) == {0: "stop"}


# --- what a sample says --------------------------------------------------------------------------


def test_the_prompt_is_booked_once(fake_load: MakeLoad) -> None:
    """Where prefill is shared, the inputs of all samples add up to the prompt."""
    bench = Bench(fake_load())
    number = bench.open("a b c d length=2")
    assert bench.said == [Opened(generation=number, prompt_tokens=6)]
    bench.draw(number, 3)
    bench.run()
    bench.draw(number, 2)
    bench.run()
    usages = [bench.samples[number][index].usage for index in range(5)]
    assert usages[0] == Usage(input_tokens=6, output_tokens=2)
    assert usages[1:] == [Usage(output_tokens=2)] * 4


def test_what_was_not_found_cached_is_booked_on_the_sample_that_computed_it(
    fake_load: MakeLoad,
) -> None:
    """With blocks of 4 and a prompt of 6, each later row computes 2 tokens itself."""
    bench = Bench(fake_load(block=4))
    number = bench.open("a b c d length=2")
    bench.draw(number, 3)
    bench.run()
    inputs = [bench.samples[number][index].usage.input_tokens for index in range(3)]
    assert inputs == [6, 2, 2]


def test_without_sharing_every_sample_pays_its_prompt(fake_load: MakeLoad) -> None:
    """Each row really computed it."""
    bench = Bench(fake_load(share=False))
    number = bench.open("a b c d length=2")
    bench.draw(number, 2)
    bench.run()
    assert [bench.samples[number][index].usage.input_tokens for index in range(2)] == [6, 6]


def test_a_prompt_cached_by_an_earlier_request_is_booked_as_cached(fake_load: MakeLoad) -> None:
    """The first sample carries the whole prompt and says which part was cached."""
    bench = Bench(fake_load())
    first = bench.open("a b length=2")
    bench.draw(first)
    bench.run()
    bench.opened = 0
    bench.close(first)
    again = bench.open("a b length=2")
    bench.samples.clear()
    bench.drawn.clear()
    bench.draw(again, 2)
    bench.run()
    usages = [bench.samples[again][index].usage for index in range(2)]
    assert usages == [
        Usage(input_tokens=4, cached_tokens=4, output_tokens=2),
        Usage(output_tokens=2),
    ]


def test_a_prefill_that_was_cut_short_is_assumed_whole(fake_load: MakeLoad) -> None:
    """A leader cancelled in its prefill carries the prompt; the next one pays what it did not find."""
    bench = Bench(fake_load())
    number = bench.open("a b prefill=3 length=2")
    bench.draw(number, 2)
    bench.step()
    bench.cancel(number, 0)
    bench.run()
    assert bench.samples[number][0].usage == Usage(input_tokens=5)
    assert bench.samples[number][1].usage == Usage(input_tokens=4, output_tokens=2)


@pytest.mark.parametrize(("share", "tokens"), [(True, 0), (False, 5)])
def test_a_later_prefill_that_was_cut_short_costs_what_it_can_have_computed(
    fake_load: MakeLoad, share: bool, tokens: int
) -> None:
    """Where the prompt was cached that is next to nothing, where nothing is shared all of it."""
    bench = Bench(fake_load(share=share))
    number = bench.open("prefill=3 tail=2 a b")
    bench.draw(number)
    bench.step(4)
    bench.draw(number)
    bench.step()
    bench.cancel(number, 1)
    assert bench.samples[number][1].usage == Usage(input_tokens=tokens)


@pytest.mark.parametrize("deltas", ["none", "text", "logprobs"])
def test_deltas_only_as_asked(
    fake_load: MakeLoad, deltas: Literal["none", "text", "logprobs"]
) -> None:
    """``none`` makes none, ``text`` no logprobs; the sample holds the whole in any case."""
    bench = Bench(fake_load())
    number = bench.open("length=3", deltas=deltas, sampling=SamplingParams(logprobs=1))
    bench.draw(number)
    bench.run()
    sample = bench.samples[number][0]
    made = bench.deltas[number]
    assert len(made) == (0 if deltas == "none" else 3)
    assert "".join(delta.text for delta in made) == ("" if deltas == "none" else sample.text)
    assert [len(delta.logprobs) for delta in made] == [deltas == "logprobs"] * len(made)
    assert [token.logprob for token in sample.logprobs] == [0.0, -1.0, -2.0]


def test_no_logprobs_unless_asked(fake_load: MakeLoad) -> None:
    """A sample carries none by default."""
    bench = Bench(fake_load())
    number = bench.open("length=3")
    bench.draw(number)
    bench.run()
    assert bench.samples[number][0].logprobs == ()


def test_timing_counts_from_the_draw(fake_load: MakeLoad) -> None:
    """Time in the queue and on the way is part of both figures."""
    bench = Bench(fake_load(max_rows=1))
    number = bench.open("length=2")
    bench.time = 1.0
    bench.draw(number, 2)
    bench.time = 3.0
    bench.step()
    bench.time = 4.0
    bench.step()
    bench.time = 6.0
    bench.step(2)
    timings = [bench.samples[number][index].timing for index in range(2)]
    assert [(timing.first_token_s, timing.total_s) for timing in timings] == [
        (2.0, 3.0),
        (5.0, 5.0),
    ]


def test_each_sample_has_a_seed_of_its_own(fake_load: MakeLoad) -> None:
    """Sample k is drawn with the k-th seed of the request's, whenever it is drawn."""
    bench = Bench(fake_load())
    number = bench.open("length=1")
    bench.draw(number, 2)
    bench.run()
    bench.draw(number)
    bench.run()
    seeds = [int(bench.samples[number][index].text.split(":")[0]) for index in range(3)]
    assert seeds == [sample_seed(SEED, index) for index in range(3)]


def test_what_a_request_leaves_open_takes_the_default() -> None:
    """Temperature 0.7, top_p 0.95, no top_k, no penalties, no schema."""
    request = GenerateRequest(messages=(Message(role="user", content="x"),))
    params = row_params(request, Prompt(token_ids=(1,), max_tokens=9), 3, 2)
    assert (params.temperature, params.top_p, params.top_k) == (0.7, 0.95, None)
    assert (params.presence_penalty, params.frequency_penalty) == (0.0, 0.0)
    assert (params.max_tokens, params.seed, params.json_schema) == (9, sample_seed(3, 2), None)


def test_what_a_request_says_is_kept() -> None:
    """A temperature of 0 is not taken for an open one, and the schema travels as JSON."""
    request = GenerateRequest(
        messages=(Message(role="user", content="x"),),
        sampling=SamplingParams(temperature=0.0, top_p=0.5, top_k=3, presence_penalty=1.0),
        response_format=JsonSchemaFormat(schema={"type": "object"}),
    )
    params = row_params(request, Prompt(token_ids=(1,), max_tokens=9), 3, 2)
    assert (params.temperature, params.top_p, params.top_k) == (0.0, 0.5, 3)
    assert (params.presence_penalty, params.json_schema) == (1.0, '{"type":"object"}')


# --- everything at once --------------------------------------------------------------------------

PROMPTS = ["length=1", "length=4 prefill=3", "oom=2", "oom=0", "raise=3", "refuse-add", "length=9"]
ACTION = st.one_of(
    st.tuples(st.just("open"), st.sampled_from(PROMPTS)),
    st.tuples(st.just("draw"), st.tuples(st.integers(0, 4), st.integers(0, 6))),
    st.tuples(st.just("cancel"), st.tuples(st.integers(0, 4), st.none() | st.integers(0, 8))),
    st.tuples(st.just("close"), st.integers(0, 4)),
    st.tuples(st.just("step"), st.integers(1, 3)),
)


def perform(bench: Bench, action: tuple[str, Any], closed: set[int]) -> None:
    match action:
        case ("open", prompt):
            deltas: Literal["text", "none"] = "text" if bench.opened % 2 else "none"
            bench.open(prompt, deltas=deltas)
        case ("draw", (number, n)) if number < bench.opened and number not in closed:
            bench.draw(number, n)
        case ("cancel", (number, index)):
            bench.cancel(number, index)
        case ("close", number):
            bench.close(number)
            closed.add(number)
        case ("step", times):
            bench.step(times)
        case _:
            pass


@settings(max_examples=300, deadline=None)
@given(
    actions=st.lists(ACTION, max_size=40),
    max_rows=st.integers(1, 5),
    share=st.booleans(),
)
def test_whatever_happens_every_sample_ends_once(
    actions: list[tuple[str, Any]], max_rows: int, share: bool
) -> None:
    """Any order of commands and steps: one end for each index, the cap holds, texts add up."""
    load = LoadRequest(
        runtime="fake_runtime:FakeRuntime",
        model_path="m",
        device="CPU",
        threads=None,
        max_rows=max_rows,
        memory_bytes=None,
        max_context_tokens=None,
        chat_template=None,
        options={"share": share},
    )
    bench = Bench(load)
    closed: set[int] = set()
    for action in actions:
        perform(bench, action, closed)
    bench.run()
    assert bench.runtime.most_rows <= max_rows
    assert bench.runtime.rows == {}
    for number in range(bench.opened):
        ends = {*bench.samples[number], *bench.failures[number]}
        assert ends == set(range(bench.drawn[number]))
        for index, sample in bench.samples[number].items():
            assert sample.text.count(":") == sample.usage.output_tokens
            if number % 2:
                parts = [delta.text for delta in bench.deltas[number] if delta.index == index]
                assert "".join(parts) == sample.text
