"""A live prompt at a service: every sample is a request of its own, or one of the ``n`` of a request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Literal

import msgspec

from tt_compute.backend import second_consumer
from tt_compute.errors import (
    BackendError,
    ConnectionFailed,
    GenerationClosed,
    ServerError,
)
from tt_compute.types import Clock, Event, GenerateRequest, Usage
from tt_compute_backends.wire.decode import Answer, XGroq, decode_answer, usage_of
from tt_compute_backends.wire.failures import from_event, from_response
from tt_compute_backends.wire.headers import rate_limits
from tt_compute_backends.wire.meter import TokenMeter
from tt_compute_backends.wire.request import Body, one_sample
from tt_compute_backends.wire.row import Row
from tt_compute_backends.wire.services import Service
from tt_compute_backends.wire.sse import DONE, EventParser
from tt_compute_backends.wire.transport import (
    MAX_ERROR_BYTES,
    MAX_RESPONSE_BYTES,
    Response,
    Transport,
    read_all,
)

__all__ = ["Place", "WireGeneration"]

_OK = 200


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go; the same for all generations of a deployment."""

    transport: Transport
    service: Service
    clock: Clock
    wall: Callable[[], float]
    """Seconds since the epoch, for dates in headers."""
    meter: TokenMeter
    where: str
    """Deployment and host, for messages."""
    key: str | None
    """Scrubbed from what the service says."""
    stream: bool
    native_n: bool
    requests_window_s: float

    def __repr__(self) -> str:
        return f"Place({self.where})"


class WireGeneration:
    """Satisfies ``tt_compute.backend.Generation``.

    Args:
        request: Checked.
        body: What its samples have in common.
        prompt_bytes: Of its messages.
        max_tokens: Of one sample; None = unknown.
        place: Where to.
        told: Given every event; None = they are iterated.
    """

    def __init__(
        self,
        request: GenerateRequest,
        body: Body,
        *,
        prompt_bytes: int,
        max_tokens: int | None,
        place: Place,
        told: Callable[[Event], None] | None = None,
    ) -> None:
        self._told = told
        self._request = request
        self._body = body
        self._prompt_bytes = prompt_bytes
        self._prompt_tokens: int | None = None
        self._max_tokens = max_tokens
        self._place = place
        self._rows: dict[int, Row] = {}
        self._owner: dict[int, _Attempt] = {}
        self._drawn = 0
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._closed = False

    def draw(self, n: int = 1) -> range:
        if self._closed:
            raise GenerationClosed("the generation's scope was left")
        indices = range(self._drawn, self._drawn + n)
        self._drawn += n
        now = self._place.clock.now()
        for index in indices:
            self._rows[index] = Row(index, now)
        groups = [indices] if self._place.native_n else [range(k, k + 1) for k in indices]
        for group in groups:
            self._start(_Attempt([self._rows[index] for index in group]))
        self._watch_deadline()
        return indices

    def cancel(self, index: int | None = None) -> None:
        for one in list(self._rows) if index is None else [index]:
            self._stop(one, "cancelled")

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._waiter is not None:
            raise second_consumer()
        while not self._events:
            if not self._rows:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    @property
    def idle(self) -> bool:
        """Whether closing it has nothing to wait for."""
        return not self._tasks

    async def close(self) -> None:
        """Cancel everything and wait until every connection is let go."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if not self._rows and not self._tasks:
            return
        self.cancel()
        pending = list(self._tasks)
        if pending:
            await asyncio.wait(pending)

    # --- one request -----------------------------------------------------------------------------

    def _start(self, attempt: _Attempt) -> None:
        for row in attempt.rows:
            self._owner[row.index] = attempt
        attempt.task = asyncio.get_running_loop().create_task(self._run(attempt))
        self._tasks.add(attempt.task)
        attempt.task.add_done_callback(partial(self._on_done, attempt))

    def _on_done(self, attempt: _Attempt, task: asyncio.Task[None]) -> None:
        """A bug, ours or an SDK's, costs the samples of its request and is not passed over."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            message = f"{self._place.where}: the request could not be made ({type(error).__name__})"
            failure = ServerError(message, hint="look at options.extra_body of the deployment")
            failure.__cause__ = error
            self._fail(attempt, failure)

    async def _run(self, attempt: _Attempt) -> None:
        attempt.started = True
        place, first = self._place, attempt.rows[0]
        body = one_sample(
            self._body, self._request.sampling, place.service, first.index, len(attempt.rows)
        )
        try:
            attempt.sent_at = place.clock.now()
            async with place.transport.send(body, stream=place.stream) as response:
                if response.status != _OK:
                    raise from_response(
                        response.status,
                        response.headers,
                        await _error_body(response),
                        where=place.where,
                        key=place.key,
                        clock=place.wall,
                    )
                answer = await self._read(attempt, response)
                self._finish(attempt, answer, response)
        except asyncio.CancelledError:
            for row in attempt.live():
                reason = row.cancelled or "cancelled"
                self._end(row.stopped(reason, self._bound(row, attempt), place.clock.now()))
        except BackendError as error:
            self._fail(attempt, error)

    async def _read(self, attempt: _Attempt, response: Response) -> Answer:
        """The last event, or the whole answer; rows hold the texts."""
        if "text/event-stream" in response.headers.get("content-type", ""):
            return await self._read_stream(attempt, response)
        answer = decode_answer(await read_all(response))
        self._check(answer)
        now = self._place.clock.now()
        for choice in answer.choices or ():
            row = attempt.row(choice.index)
            if row is not None and choice.message is not None:
                row.take(choice, choice.message, now)
                # A whole answer says nothing of when its first token was there.
                row.first_at, row.pieces = None, 0
                row.finish = choice.finish_reason or row.finish or "stop"
        if any(row.finish is None for row in attempt.live()):
            raise ConnectionFailed(f"{self._place.where} sent an answer without the sample")
        return answer

    async def _read_stream(self, attempt: _Attempt, response: Response) -> Answer:
        parser, merged, size = EventParser(), Answer(), 0
        done = False
        async for chunk in response.chunks():
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                raise ConnectionFailed(f"{self._place.where} streams without an end")
            for data in parser.feed(chunk):
                if data == DONE:
                    done = True
                else:
                    merged = self._take(attempt, decode_answer(data), merged)
            if done:
                break
        for data in parser.end():
            done = done or data == DONE
            if data != DONE:
                merged = self._take(attempt, decode_answer(data), merged)
        if not done and any(row.finish is None for row in attempt.live()):
            raise ConnectionFailed(f"{self._place.where}: the stream ended before the sample did")
        if all(not row.pieces and row.finish is None for row in attempt.live()):
            raise ConnectionFailed(f"{self._place.where}: the stream held no sample")
        return merged

    def _take(self, attempt: _Attempt, answer: Answer, merged: Answer) -> Answer:
        """Enter one event; returns what is known of usage and timing by now."""
        self._check(answer)
        choices = answer.choices
        if choices:
            now, show = self._place.clock.now(), self._request.deltas
            for choice in choices:
                row = attempt.row(choice.index)
                if row is None or choice.delta is None:
                    continue
                delta = row.take(choice, choice.delta, now)
                if delta is not None and show != "none":
                    self._put(delta)
        if answer.usage is None and answer.x_groq is None and answer.time_info is None:
            return merged
        return Answer(
            id=answer.id or merged.id,
            usage=answer.usage or merged.usage,
            x_groq=_newer(answer, merged),
            time_info=answer.time_info or merged.time_info,
        )

    def _check(self, answer: Answer) -> None:
        error = answer.error
        if error is None and answer.x_groq is not None:
            error = answer.x_groq.error
        if error is not None:
            raise from_event(
                error,
                where=self._place.where,
                key=self._place.key,
                status_code=answer.status_code,
            )
        if answer.choices is None and answer.usage is None and answer.id is None:
            raise ConnectionFailed(f"{self._place.where} sent an empty answer")

    # --- how rows end ----------------------------------------------------------------------------

    def _finish(self, attempt: _Attempt, answer: Answer, response: Response) -> None:
        place, rows = self._place, attempt.live()
        now, counted = place.clock.now(), usage_of(answer)
        limits = rate_limits(
            response.headers, now=place.wall(), requests_window_s=place.requests_window_s
        )
        if counted is not None:
            self._prompt_tokens = counted.input_tokens or self._prompt_tokens
            place.meter.learn(
                prompt_bytes=self._prompt_bytes,
                prompt_tokens=counted.input_tokens,
                pieces=sum(row.pieces for row in attempt.rows),
                tokens=counted.output_tokens,
            )
        times = answer.times
        service_s = (
            (None, None, None)
            if times is None
            else (times.queue_time, times.prompt_time, times.completion_time)
        )
        for row, usage in zip(rows, self._shares(attempt, rows, counted), strict=True):
            self._end(
                row.finished(
                    usage=usage,
                    now=now,
                    times=service_s,
                    rate_limits=limits,
                    request_id=answer.request_id,
                )
            )

    def _shares(self, attempt: _Attempt, rows: list[Row], counted: Usage | None) -> list[Usage]:
        """What each row took of the request; a service that says 0 for a text is not believed."""
        believed = counted is not None and (
            counted.output_tokens > 0 or not any(row.text_bytes for row in attempt.rows)
        )
        if counted is None or not believed:
            return [self._bound(row, attempt) for row in rows]
        if len(attempt.rows) == 1:
            return [counted] * len(rows)
        whole = sum(row.text_bytes + 1 for row in attempt.rows)
        left, shares = counted.output_tokens, list[Usage]()
        for row in rows:
            part = round(counted.output_tokens * (row.text_bytes + 1) / whole)
            part = left if row is attempt.rows[-1] else min(part, left)
            left -= part
            leads = row is attempt.rows[0]
            shares.append(
                Usage(
                    input_tokens=counted.input_tokens if leads else 0,
                    cached_tokens=counted.cached_tokens if leads else 0,
                    output_tokens=part,
                )
            )
        return shares

    def _bound(self, row: Row, attempt: _Attempt) -> Usage:
        """What may be billed for a row that the service did not count."""
        if attempt.sent_at is None:
            return Usage()
        now = self._place.clock.now()
        prompt = self._prompt_tokens
        if prompt is None:
            prompt = self._place.meter.prompt_tokens(self._prompt_bytes)
        return Usage(
            input_tokens=prompt if row is attempt.rows[0] else 0,
            output_tokens=self._place.meter.output_tokens(
                pieces=row.pieces,
                text_bytes=row.text_bytes,
                streamed_s=0.0 if row.first_at is None else now - row.first_at,
                round_trip_s=self._place.transport.round_trip_s,
                max_tokens=self._max_tokens,
            ),
            estimated=True,
        )

    def _fail(self, attempt: _Attempt, error: BackendError) -> None:
        began = any(row.pieces for row in attempt.rows)
        for row in attempt.live():
            self._end(row.failed(error, self._bound(row, attempt) if began else Usage()))

    def _stop(self, index: int, reason: Literal["cancelled", "deadline"]) -> None:
        row = self._rows.get(index)
        if row is None or row.cancelled is not None:
            return
        row.cancelled = reason
        attempt = self._owner[index]
        if not attempt.started:
            self._end(row.stopped(reason, Usage(), self._place.clock.now()))
        elif len(attempt.live()) > 1:
            # The others of the request go on; this one is given up here, and billed whole.
            self._end(row.stopped(reason, self._bound(row, attempt), self._place.clock.now()))
        if attempt.task is not None and not any(r.cancelled is None for r in attempt.live()):
            attempt.task.cancel()

    def _end(self, event: Event) -> None:
        row = self._rows.pop(event.index)
        row.ended = True
        del self._owner[event.index]
        self._put(event)

    def _put(self, event: Event) -> None:
        if self._told is not None:
            self._told(event)
            return
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the deadline ----------------------------------------------------------------------------

    def _watch_deadline(self) -> None:
        if self._request.deadline is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().create_task(
                self._end_at(self._request.deadline)
            )

    async def _end_at(self, deadline: float) -> None:
        with suppress(asyncio.CancelledError):
            await self._place.clock.sleep(max(0.0, deadline - self._place.clock.now()))
            for index in list(self._rows):
                self._stop(index, "deadline")
            self._timer = None


class _Attempt:
    """One request and the rows that it makes."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.task: asyncio.Task[None] | None = None
        self.started = False
        self.sent_at: float | None = None

    def row(self, choice: int) -> Row | None:
        """The row of a choice; None when it has ended, or was never asked for."""
        if not 0 <= choice < len(self.rows) or self.rows[choice].ended:
            return None
        return self.rows[choice]

    def live(self) -> list[Row]:
        return [row for row in self.rows if not row.ended]


async def _error_body(response: Response) -> bytes:
    """As much as there is of it, up to a bound; a broken one is worth no other error."""
    try:
        return await read_all(response, MAX_ERROR_BYTES)
    except BackendError:
        return b""


def _newer(answer: Answer, merged: Answer) -> XGroq | None:
    """Groq names the request in the first and last event, and counts in the last alone."""
    if answer.x_groq is None or (answer.x_groq.usage is None and merged.x_groq is not None):
        return merged.x_groq
    return answer.x_groq
