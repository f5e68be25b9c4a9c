"""What the mock's samples hold: tokens, cuts, lengths, logprobs, and what is booked for them."""

from __future__ import annotations

import math

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.backend import Backend, Loadable
from tt_compute.errors import ContextLengthError, EngineDied, GenerationClosed
from tt_compute.registry import Registry
from tt_compute.testing import VirtualClock, backend_env, deployment_spec
from tt_compute.testing.mock_options import Latency, MockOptions
from tt_compute.types import Delta, Failed, GenerateRequest, Message, Sample, SamplingParams
from tt_compute_backends.mock_replies import ReplyMaker
from tt_compute_backends.mock_reply import Arrival
from tt_compute_backends.mock_text import tokenize

pytestmark = pytest.mark.anyio

PROMPT = (Message(role="user", content="What is 6 times 7?"),)
PROMPT_TOKENS = 6
SLOW = {"ttft_s": 1.0, "tokens_per_s": 1.0}


def request(sampling: SamplingParams | None = None) -> GenerateRequest:
    return GenerateRequest(messages=PROMPT, sampling=sampling or SamplingParams(seed=1))


async def make(clock: VirtualClock, context: int | None = 4096, **options: object) -> Backend:
    spec = deployment_spec("mock", options=options, max_context_tokens=context)
    return await Registry().load("mock").create(spec, backend_env(clock=clock))


async def samples(
    n: int = 1,
    sampling: SamplingParams | None = None,
    context: int | None = 4096,
    **options: object,
) -> list[Sample]:
    backend = await make(VirtualClock(), context, **options)
    async with backend.open(request(sampling)) as generation:
        generation.draw(n)
        ended = [event async for event in generation]
    assert all(isinstance(event, Sample) for event in ended)
    return [event for event in ended if isinstance(event, Sample)]


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    """No character is lost or made up by the mock's tokens, and none of them is empty."""
    tokens = tokenize(text)
    assert "".join(tokens) == text
    assert all(tokens)


@settings(max_examples=500)
@given(
    text=st.text(alphabet="ab c.", min_size=1),
    stop=st.lists(st.text(alphabet="ab c.", min_size=1, max_size=3), max_size=3),
    max_tokens=st.none() | st.integers(1, 8),
)
def test_a_sample_is_cut_where_a_naive_model_would_stop(
    text: str, stop: list[str], max_tokens: int | None
) -> None:
    """Token by token: end at the first stop string that appears, or at the limit."""
    sampling = SamplingParams(stop=tuple(stop))
    maker = ReplyMaker(
        GenerateRequest(messages=PROMPT, sampling=sampling),
        MockOptions(answers=(text,)),
        max_tokens=max_tokens,
        deployment="test",
    )
    reply = maker.make(0, Arrival(number=0, at_s=0.0))

    tokens = tokenize(text)
    made, expected, reason = "", text, "stop"
    count = len(tokens)
    for number, token in enumerate(tokens, start=1):
        made += token
        if any(word in made for word in stop):
            expected, count = made[: min(made.find(word) for word in stop if word in made)], number
            break
        if number == max_tokens and number < len(tokens):
            expected, reason, count = made, "length", number
            break
    assert "".join(reply.pieces) == expected
    assert reply.finish_reason == reason
    assert len(reply.pieces) == count


async def test_greedy_samples_are_the_likeliest_answer() -> None:
    """At temperature 0 every sample is the answer with the highest probability."""
    options = [{"text": "rare", "probability": 0.3}, {"text": "common", "probability": 0.7}]
    greedy = SamplingParams(temperature=0.0)
    assert {sample.text for sample in await samples(8, greedy, answers=options)} == {"common"}


async def test_answers_without_a_probability_share_the_rest() -> None:
    """Two answers beside one of probability 1 never come; without it they come half and half."""
    options = [{"text": "all", "probability": 1.0}, "a", "b"]
    assert {sample.text for sample in await samples(50, answers=options)} == {"all"}
    texts = [sample.text for sample in await samples(400, answers=["a", "b"])]
    assert 150 < texts.count("a") < 250


async def test_thinking_fills_up_to_the_length_and_ends_with_the_answer() -> None:
    """``completion_tokens`` is the length of the whole sample; a longer answer stands as it is."""
    (sample,) = await samples(answers=["The answer is 42."], completion_tokens=30)
    assert sample.usage.output_tokens == 30
    assert sample.text.endswith("\nThe answer is 42.")
    (sample,) = await samples(answers=["The answer is 42."], completion_tokens=3)
    assert sample.text == "The answer is 42."


async def test_of_a_length_beyond_all_limits_only_the_limit_is_made() -> None:
    (sample,) = await samples(answers=["The answer is 42."], completion_tokens=1e15)
    assert (sample.finish_reason, sample.usage.output_tokens) == ("length", 4090)


async def test_lengths_have_the_quantiles_they_were_given() -> None:
    """Half of the samples stay below the median, one in twenty passes the 95th percentile."""
    drawn = await samples(1000, answers=["x"], completion_tokens={"p50": 100, "p95": 200})
    lengths = [sample.usage.output_tokens for sample in drawn]
    assert 450 < sum(length < 100 for length in lengths) < 550
    assert 25 < sum(length > 200 for length in lengths) < 75


async def test_the_context_cuts_a_sample_that_has_no_limit() -> None:
    """Without ``max_tokens`` a sample ends with ``length`` where the context does."""
    (sample,) = await samples(context=PROMPT_TOKENS + 3, answers=["one two three four five"])
    assert (sample.text, sample.finish_reason) == ("one two three", "length")


async def test_what_fits_the_context_exactly_is_accepted() -> None:
    """The context holds prompt and completion; one token more is refused."""
    fits = SamplingParams(max_tokens=4)
    await samples(1, fits, PROMPT_TOKENS + 4)
    with pytest.raises(ContextLengthError, match="6 prompt tokens and 4 more exceed"):
        await samples(1, fits, PROMPT_TOKENS + 3)


async def test_the_prompt_is_booked_on_the_first_sample() -> None:
    """With a shared prefill once, without on every sample."""
    booked = [sample.usage.input_tokens for sample in await samples(3)]
    assert booked == [PROMPT_TOKENS, 0, 0]
    unshared = await samples(3, capabilities={"prefix_sharing": False})
    assert [sample.usage.input_tokens for sample in unshared] == [PROMPT_TOKENS] * 3


async def test_a_refused_sample_is_billed_nothing() -> None:
    """A rate limit before the first token costs no token; the next sample leads the prefill."""
    fault = {"kind": "rate_limit", "samples": [0]}
    backend = await make(VirtualClock(), faults=[fault])
    async with backend.open(request()) as generation:
        generation.draw(2)
        ended = {event.index: event async for event in generation}
    refused, good = ended[0], ended[1]
    assert isinstance(refused, Failed)
    assert (refused.usage.input_tokens, refused.usage.output_tokens) == (0, 0)
    assert isinstance(good, Sample)
    assert good.usage.input_tokens == PROMPT_TOKENS


async def test_faults_strike_at_their_rate() -> None:
    """A rate of a quarter strikes about a quarter of the samples, the same ones every time."""

    async def struck() -> list[int]:
        fault = {"kind": "server_error", "rate": 0.25}
        backend = await make(VirtualClock(), faults=[fault])
        async with backend.open(request()) as generation:
            generation.draw(400)
            return [event.index async for event in generation if isinstance(event, Failed)]

    first = await struck()
    assert 60 < len(first) < 140
    assert await struck() == first


async def test_faults_strike_only_the_prompts_they_name() -> None:
    """A fault with a pattern leaves other prompts alone."""
    assert await samples(3, faults=[{"kind": "oom", "pattern": "weather"}])


async def test_logprobs_are_those_of_a_distribution() -> None:
    """Alternatives hold the token itself, likeliest first, and no more than the whole probability."""
    sampling = SamplingParams(logprobs=4, seed=1)
    for sample in await samples(20, sampling):
        for token in sample.logprobs:
            values = [logprob for _, logprob in token.top]
            assert (token.token, token.logprob) in token.top
            assert values == sorted(values, reverse=True)
            assert len(token.top) == 4
            assert sum(map(math.exp, values)) <= 1 + 1e-9


async def test_a_late_consumer_gets_adjacent_tokens_as_one_delta() -> None:
    """What was made while nobody read comes in one piece; on time, each token comes alone."""
    clock = VirtualClock()
    backend = await make(clock, answers=["one two three four"], latency=SLOW)
    asked = GenerateRequest(messages=PROMPT, deltas="text")
    async with backend.open(asked) as generation:
        generation.draw(1)
        first = await anext(aiter(generation))
        await clock.sleep(2.5)
        rest = [event async for event in generation]
    deltas = [event.text for event in [first, *rest] if isinstance(event, Delta)]
    assert deltas == ["one", " two three", " four"]


async def test_samples_go_on_while_nobody_reads() -> None:
    """A cancel finds what was made by then, whether or not anybody was waiting for it."""
    clock = VirtualClock()
    backend = await make(clock, answers=["one two three four"], latency=SLOW)
    async with backend.open(request()) as generation:
        generation.draw(1)
        await clock.sleep(2.5)
        generation.cancel()
        (sample,) = [event async for event in generation]
    assert isinstance(sample, Sample)
    assert (sample.text, sample.finish_reason) == ("one two", "cancelled")
    assert sample.usage.output_tokens == 2
    assert (sample.timing.first_token_s, sample.timing.total_s) == (1.0, 2.5)


async def test_a_draw_wakes_a_waiting_consumer() -> None:
    """A sample drawn by another task that ends before what the consumer waits for comes first."""
    clock = VirtualClock()
    rule = {"pattern": ".", "script": ["one two three four five six", "one"]}
    backend = await make(clock, rules=[rule], latency=SLOW)
    async with backend.open(request()) as generation:
        generation.draw(1)

        async def draw_later() -> None:
            await clock.sleep(2.0)
            generation.draw(1)

        order: list[tuple[int, float]] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(draw_later)
            order.extend([(event.index, clock.now()) async for event in generation])
    assert order == [(1, 3.0), (0, 6.0)]


async def test_a_draw_from_a_dead_engine_fails_at_once() -> None:
    """Every later sample of a lost generation fails with the error that lost it."""
    fault = {"kind": "engine_died", "samples": [0], "after_tokens": 1}
    backend = await make(VirtualClock(), faults=[fault])
    async with backend.open(request()) as generation:
        generation.draw(1)
        for index in range(2):
            events = aiter(generation)
            assert isinstance(await anext(events), Failed)
            with pytest.raises(EngineDied):
                await anext(events)
            assert generation.draw(1) == range(index + 1, index + 2)


async def test_closing_the_backend_ends_what_is_open() -> None:
    """Open generations are over and no new one can be opened."""
    backend = await make(VirtualClock(), latency=SLOW)
    async with backend.open(request()) as generation:
        generation.draw(2)
        await backend.aclose()
        ended = [event async for event in generation]
        with pytest.raises(GenerationClosed):
            generation.draw(1)
    assert [event.finish_reason for event in ended if isinstance(event, Sample)] == [
        "cancelled",
        "cancelled",
    ]
    with pytest.raises(GenerationClosed):
        async with backend.open(request()):
            pass


async def test_an_instant_sample_can_be_cancelled_before_anybody_waits() -> None:
    """Drawing only queues: without a consumer an instant sample has not begun, and costs nothing."""
    clock = VirtualClock()
    backend = await make(clock, answers=["one two"])
    async with backend.open(request()) as generation:
        generation.draw(1)
        await clock.sleep(1.0)
        generation.cancel(0)
        (sample,) = [event async for event in generation]
    assert isinstance(sample, Sample)
    assert (sample.finish_reason, sample.text) == ("cancelled", "")
    assert (sample.usage.input_tokens, sample.usage.output_tokens) == (0, 0)


async def test_a_late_consumer_hears_of_the_ends_in_their_order() -> None:
    """Samples that ended while nobody read come in the order in which they ended."""
    clock = VirtualClock()
    backend = await make(clock, script=["one two three", "one two", "one"], latency=SLOW)
    async with backend.open(request()) as generation:
        generation.draw(3)
        await clock.sleep(10.0)
        ended = [event.index async for event in generation]
    assert ended == [2, 1, 0]


async def test_a_late_consumer_finds_what_was_made_by_the_deadline() -> None:
    """A sample that would have ended after the deadline did not, however late one looks."""
    clock = VirtualClock()
    backend = await make(clock, script=["one two three", "one"], latency=SLOW)
    async with backend.open(GenerateRequest(messages=PROMPT, deadline=2.5)) as generation:
        generation.draw(2)
        await clock.sleep(10.0)
        late = {event.index: event async for event in generation}
    cut, whole = late[0], late[1]
    assert isinstance(cut, Sample)
    assert (cut.text, cut.finish_reason, cut.timing.total_s) == ("one two", "deadline", 2.5)
    assert isinstance(whole, Sample)
    assert whole.finish_reason == "stop"


async def test_leaving_a_lost_generation_gives_its_failures_and_stops() -> None:
    """After the scope nobody is to be told again that the engine died."""
    clock = VirtualClock()
    fault = {"kind": "engine_died", "samples": [0], "after_tokens": 1}
    backend = await make(clock, faults=[fault], latency=SLOW)
    async with backend.open(request()) as generation:
        generation.draw(2)
        await clock.sleep(5.0)
    left = [type(event) async for event in generation]
    assert left == [Failed, Failed]


async def test_an_instant_mock_lets_other_tasks_run() -> None:
    """Reading from a mock that never waits gives way to others all the same."""
    backend = await make(VirtualClock())
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    async with backend.open(request()) as generation, anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        generation.draw(1)
        assert isinstance(await anext(aiter(generation)), Sample)
        assert ran == ["other"]


async def test_a_sample_shorter_than_the_fault_is_struck_at_its_end() -> None:
    """``after_tokens`` beyond the last token means the end, not later."""
    clock = VirtualClock()
    fault = {"kind": "connection", "after_tokens": 10}
    backend = await make(clock, answers=["one two"], faults=[fault], latency=SLOW)
    async with backend.open(request()) as generation:
        generation.draw(1)
        (failed,) = [event async for event in generation]
    assert isinstance(failed, Failed)
    assert (failed.text, clock.now()) == ("one two", 2.0)


async def test_the_deployment_caps_the_output() -> None:
    """``limits.max_output_tokens`` ends a sample with ``length`` like ``max_tokens`` does."""
    spec = deployment_spec("mock", options={"answers": ["one two three"]})
    limits = msgspec.structs.replace(spec.deployment.limits, max_output_tokens=2)
    capped = msgspec.structs.replace(
        spec, deployment=msgspec.structs.replace(spec.deployment, limits=limits)
    )
    backend = await Registry().load("mock").create(capped, backend_env(clock=VirtualClock()))
    async with backend.open(request()) as generation:
        generation.draw(1)
        (sample,) = [event async for event in generation]
    assert isinstance(sample, Sample)
    assert (sample.text, sample.finish_reason) == ("one two", "length")


async def test_a_cold_mock_loads_once_before_its_first_request() -> None:
    clock = VirtualClock()
    backend = await make(clock, latency={"load_s": 20.0, **SLOW})
    assert isinstance(backend, Loadable)
    assert not backend.loaded
    for began in (20, 20):
        async with backend.open(request()):
            assert clock.now() == began
    assert backend.loaded


async def test_a_mock_that_loads_nothing_is_warm() -> None:
    backend = await make(VirtualClock())
    assert isinstance(backend, Loadable)
    assert backend.loaded


def test_a_negative_load_time_is_refused() -> None:
    with pytest.raises(ValueError, match="load_s"):
        Latency(load_s=-1.0)
