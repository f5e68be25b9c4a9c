"""The conformance kit finds what it is there to find: each flaw breaks the rule that forbids it."""

from __future__ import annotations

import asyncio
import itertools
import operator
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest

from tt_compute.backend import Generation
from tt_compute.testing.conformance import ConformanceError, check_backend
from tt_compute.testing.environment import backend_env, deployment_spec
from tt_compute.testing.subject import Subject
from tt_compute.testing.time import VirtualClock
from tt_compute.types import (
    BackendError,
    Capabilities,
    Delta,
    Event,
    Failed,
    GenerateRequest,
    Message,
    Sample,
    SamplingParams,
    ServerError,
    Usage,
)
from tt_compute_backends import mock, mock_replies
from tt_compute_backends.mock import MockBackend
from tt_compute_backends.mock_generation import MockGeneration
from tt_compute_backends.mock_replies import ReplyMaker
from tt_compute_backends.mock_reply import Arrival, Reply

pytestmark = pytest.mark.anyio

OPTIONS: dict[str, object] = {
    "completion_tokens": {"p50": 60, "p95": 90},
    "latency": {"ttft_s": 0.3, "tokens_per_s": {"p50": 40, "p95": 80}},
    "faults": [
        {"kind": "server_error", "samples": [1], "pattern": "half", "after_tokens": 3},
        {"kind": "engine_died", "samples": [2], "pattern": "die", "after_tokens": 5},
    ],
}


def _long(text: str) -> GenerateRequest:
    return GenerateRequest(
        messages=(Message(role="user", content=text),),
        sampling=SamplingParams(max_tokens=48),
        deltas="text",
    )


@asynccontextmanager
async def _subject(backend: type[MockBackend] = MockBackend) -> AsyncGenerator[Subject, None]:
    clock = VirtualClock()
    spec = deployment_spec("mock", options=OPTIONS, max_context_tokens=512)
    yield Subject(
        backend=await backend.create(spec, backend_env(clock=clock)),
        clock=clock,
        prompt=(Message(role="user", content="How many legs do seven spiders have?"),),
        failing=_long("half of it fails"),
        lost=_long("die in the middle"),
    )


class EndsTwice(MockGeneration):
    async def __anext__(self) -> Event:
        event = await super().__anext__()
        if isinstance(event, Sample) and event.usage.input_tokens < 1000:
            usage = Usage(input_tokens=1000)
            self._events.appendleft(msgspec.structs.replace(event, usage=usage))
        return event


class ForgetsTheLast(MockGeneration):
    async def __anext__(self) -> Event:
        event = await super().__anext__()
        while not isinstance(event, Delta) and event.index == 2:
            event = await super().__anext__()
        return event


class DrawsOnItsOwn(MockGeneration):
    def __aiter__(self) -> MockGeneration:
        if not self._drawn:
            self.draw(1)
        return super().__aiter__()


class NumbersFromOne(MockGeneration):
    def draw(self, n: int = 1) -> range:
        indices = super().draw(n)
        return range(indices.start + 1, indices.stop + 1)


class CancelsAll(MockGeneration):
    def cancel(self, index: int | None = None) -> None:
        super().cancel(None if index is None or index < self._drawn else index)


class CancelsNothing(MockGeneration):
    def cancel(self, index: int | None = None) -> None:
        pass


class CancelsOnlyAll(MockGeneration):
    def cancel(self, index: int | None = None) -> None:
        if index is None:
            super().cancel()


class DropsPartialText(MockGeneration):
    async def __anext__(self) -> Event:
        event = await super().__anext__()
        if isinstance(event, Sample) and event.finish_reason in {"cancelled", "deadline"}:
            return msgspec.structs.replace(event, text="")
        return event


class ForgetsCancelledTokens(MockGeneration):
    async def __anext__(self) -> Event:
        event = await super().__anext__()
        if isinstance(event, Sample) and event.finish_reason == "cancelled":
            return msgspec.structs.replace(event, usage=Usage())
        return event


class KnowsNoDeadline(MockGeneration):
    async def __anext__(self) -> Event:
        self._deadline = float("inf")
        return await super().__anext__()


class DrawsForEver(MockGeneration):
    def close(self) -> None:
        self.cancel()


class LosesWhatLeavingEnded(MockGeneration):
    def close(self) -> None:
        super().close()
        self._events.clear()


class ServesTwoConsumers(MockGeneration):
    async def __anext__(self) -> Event:
        self._consuming = False
        return await super().__anext__()


class RaisesOnOneFailure(MockGeneration):
    async def __anext__(self) -> Event:
        event = await super().__anext__()
        if isinstance(event, Failed):
            raise event.error
        return event


class StopsWhenLost(MockGeneration):
    async def __anext__(self) -> Event:
        try:
            return await super().__anext__()
        except BackendError as exc:
            raise StopAsyncIteration from exc


class HangsWhenLost(MockGeneration):
    async def __anext__(self) -> Event:
        try:
            return await super().__anext__()
        except BackendError:
            await asyncio.Event().wait()
            raise


class StreamsUnasked(MockGeneration):
    def draw(self, n: int = 1) -> range:
        self._stream = True
        return super().draw(n)


class StreamsOtherText(MockGeneration):
    async def __anext__(self) -> Event:
        event = await super().__anext__()
        return msgspec.structs.replace(event, text="x") if isinstance(event, Delta) else event


class BooksEveryPrompt(MockGeneration):
    def draw(self, n: int = 1) -> range:
        self._share_prefill = False
        return super().draw(n)


class KeepsItself(MockGeneration):
    kept: list[MockGeneration] = []  # noqa: RUF012 - the leak

    def close(self) -> None:
        super().close()
        self.kept.append(self)


class LeavesATask(MockGeneration):
    tasks: set[asyncio.Task[None]] = set()  # noqa: RUF012 - the leak

    def close(self) -> None:
        super().close()
        self.tasks.add(asyncio.create_task(asyncio.sleep(3600)))


FLAWED_GENERATIONS: list[tuple[type[MockGeneration], str]] = [
    (EndsTwice, "every_sample_ends_once"),
    (ForgetsTheLast, "every_sample_ends_once"),
    (DrawsOnItsOwn, "open_draws_nothing"),
    (NumbersFromOne, "draw_numbers_the_samples"),
    (CancelsAll, "cancel_spares_the_others"),
    (CancelsNothing, "cancel_spares_the_others"),
    (CancelsNothing, "cancel_all_ends_every_sample"),
    (CancelsOnlyAll, "cancel_spares_the_others"),
    (CancelsAll, "cancel_is_idempotent"),
    (CancelsAll, "cancel_before_the_start_costs_nothing"),
    (DropsPartialText, "cancel_keeps_the_partial_text"),
    (DropsPartialText, "deadline_ends_every_live_sample"),
    (ForgetsCancelledTokens, "cancel_keeps_the_partial_text"),
    (KnowsNoDeadline, "a_passed_deadline_ends_every_sample"),
    (KnowsNoDeadline, "deadline_ends_every_live_sample"),
    (DrawsForEver, "nothing_is_drawn_after_the_scope"),
    (LosesWhatLeavingEnded, "leaving_the_scope_ends_everything"),
    (ServesTwoConsumers, "refuses_a_second_consumer"),
    (RaisesOnOneFailure, "one_failure_spares_the_others"),
    (StopsWhenLost, "a_lost_engine_fails_every_sample"),
    (StreamsUnasked, "no_deltas_unless_asked"),
    (StreamsOtherText, "deltas_make_the_text"),
    (BooksEveryPrompt, "usage_adds_up"),
    (KeepsItself, "leaves_nothing_behind"),
    (LeavesATask, "leaves_nothing_behind"),
]


@pytest.mark.parametrize(
    ("flaw", "rule"), FLAWED_GENERATIONS, ids=lambda part: getattr(part, "__name__", part)
)
async def test_a_flawed_generation_breaks_the_rule(
    flaw: type[MockGeneration], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generation with the flaw breaks the rule."""
    monkeypatch.setattr(mock, "MockGeneration", flaw)
    try:
        with pytest.raises(ConformanceError) as caught:
            await check_backend(_subject, rules=[rule])
    finally:
        for task in LeavesATask.tasks:
            task.cancel()
        LeavesATask.tasks.clear()
        KeepsItself.kept.clear()
    assert list(caught.value.report.failed) == [rule]


async def test_a_hang_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that does not end is broken; the kit does not hang with it."""
    monkeypatch.setattr(mock, "MockGeneration", HangsWhenLost)
    with pytest.raises(ConformanceError, match="did not end within"):
        await check_backend(_subject, rules=["a_lost_engine_fails_every_sample"], timeout_s=0.2)


def _reply(change: Callable[[ReplyMaker, int, Reply], Reply]) -> type[ReplyMaker]:
    class Changed(ReplyMaker):
        def make(self, index: int, arrival: Arrival) -> Reply:
            return change(self, index, super().make(index, arrival))

    return Changed


DICE = random.SystemRandom()


def _unseeded(maker: ReplyMaker, index: int, reply: Reply) -> Reply:
    pieces = list(reply.pieces)
    DICE.shuffle(pieces)
    return msgspec.structs.replace(reply, pieces=tuple(pieces))


def _numbered(counter: itertools.count[int], maker: ReplyMaker, index: int, reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, pieces=(f"call {next(counter)}", *reply.pieces[1:]))


def _one_token_late(maker: ReplyMaker, index: int, reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, pieces=(*reply.pieces[:-1], " late"))


def _too_long(maker: ReplyMaker, index: int, reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, pieces=(*reply.pieces, " one more"))


def _always_same(maker: ReplyMaker, index: int, reply: Reply) -> Reply:
    return ReplyMaker.make(maker, 0, Arrival(number=0, at_s=0.0))


def _without_logprobs(maker: ReplyMaker, index: int, reply: Reply) -> Reply:
    return msgspec.structs.replace(reply, logprobs=())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_unseeded, "keeps_its_seed_contract"),
        (partial(_numbered, itertools.count()), "keeps_its_seed_contract"),
        (_always_same, "other_seeds_and_indices_differ"),
        (_one_token_late, "stop_strings_cut_exactly"),
        (_too_long, "max_tokens_is_kept"),
        (_without_logprobs, "tells_logprobs"),
    ],
)
async def test_a_flawed_reply_breaks_the_rule(
    change: Callable[[ReplyMaker, int, Reply], Reply], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples that do not keep what sampling parameters and capabilities promise break the rule."""
    monkeypatch.setattr(mock, "ReplyMaker", _reply(change))
    with pytest.raises(ConformanceError) as caught:
        await check_backend(_subject, rules=[rule])
    assert list(caught.value.report.failed) == [rule]


async def test_neighbouring_seeds_that_share_samples_break_the_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Adding the index to the seed, as engines do, is found out."""
    monkeypatch.setattr(mock_replies, "sample_seed", operator.add)
    with pytest.raises(ConformanceError, match="neighbouring seeds share samples"):
        await check_backend(_subject, rules=["other_seeds_and_indices_differ"])


def _accepts_everything(request: GenerateRequest, capabilities: Capabilities) -> None:
    pass


def _wrong_refusal(request: GenerateRequest, capabilities: Capabilities) -> None:
    if not request.messages:
        raise ServerError("what a service makes of it")


@pytest.mark.parametrize("check", [_accepts_everything, _wrong_refusal])
@pytest.mark.parametrize(
    "rule",
    [
        "refuses_prompts_that_are_no_prompts",
        "refuses_bad_sampling",
        "refuses_abilities_it_lacks",
    ],
)
async def test_a_request_that_should_be_refused_breaks_the_rule(
    check: Callable[[GenerateRequest, Capabilities], None],
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Accepting a bad request breaks the rule, and so does an error of the wrong kind."""
    monkeypatch.setattr(mock, "check_request", check)
    with pytest.raises(ConformanceError) as caught:
        await check_backend(_subject, rules=[rule])
    assert list(caught.value.report.failed) == [rule]


class Unlimited(MockBackend):
    def _check_context(self, input_tokens: int, max_tokens: int | None) -> None:
        pass


class WrapsErrors(MockBackend):
    @asynccontextmanager
    async def open(self, request: GenerateRequest) -> AsyncGenerator[Generation, None]:
        async with super().open(request) as generation:
            try:
                yield generation
            except ValueError as exc:
                raise ExceptionGroup("in a task group", [exc]) from exc


class ClosesOnce(MockBackend):
    async def aclose(self) -> None:
        if self._closed:
            raise RuntimeError("closed twice")
        await super().aclose()


class WrongVersion(MockBackend):
    api_version = 99


@pytest.mark.parametrize(
    ("backend", "rule"),
    [
        (Unlimited, "refuses_what_exceeds_the_context"),
        (WrapsErrors, "errors_leave_the_scope_unchanged"),
        (ClosesOnce, "closes_twice"),
        (WrongVersion, "describes_itself"),
    ],
)
async def test_a_flawed_backend_breaks_the_rule(backend: type[MockBackend], rule: str) -> None:
    """A backend with the flaw breaks the rule."""
    with pytest.raises(ConformanceError) as caught:
        await check_backend(partial(_subject, backend), rules=[rule])
    assert list(caught.value.report.failed) == [rule]


async def test_the_error_tells_of_every_rule_what_became_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken ones with how they are broken and what they state, passed over ones with the reason."""
    monkeypatch.setattr(mock, "MockGeneration", NumbersFromOne)
    rules = ["open_draws_nothing", "draw_numbers_the_samples", "keeps_json_schemas"]
    with pytest.raises(ConformanceError) as caught:
        await check_backend(_subject, rules=rules)
    report = caught.value.report
    assert report.passed == ("open_draws_nothing",)
    assert report.skipped == {"keeps_json_schemas": "JSON schemas are not claimed"}
    assert "1 of 3 rules are broken" in str(caught.value)
    text = str(caught.value)
    assert "FAIL draw_numbers_the_samples: draw(2), draw(), draw(3) returned" in text
    assert "Draws return consecutive ranges from 0 on" in text
    assert "skip keeps_json_schemas: JSON schemas are not claimed" in text
    assert "pass open_draws_nothing" in text


async def test_a_good_backend_passes_all_rules() -> None:
    """The report of a backend that keeps the protocol names no failure."""
    report = await check_backend(_subject)
    assert report.failed == {}
    assert list(report.skipped) == ["keeps_json_schemas"]
