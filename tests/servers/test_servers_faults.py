"""Every fault, in the bytes that a client gets."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
import pytest

from raw_client import (
    ASKED,
    STREAMED,
    Answer,
    ask,
    events,
    parsed,
    quiet,
    request_bytes,
    talking,
    until,
)
from ttc_servers import ChatServer, Fault, Kind, closed_port
from ttc_servers.faults import PLAN, RETRY_AFTER, by_name, by_rate, named, scripted

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("body", [ASKED, STREAMED], ids=["whole", "stream"])
SERVICES: Any = ("groq", "cerebras", "openai")


class Sleeps:
    """Takes no time, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await asyncio.sleep(0)


async def under(name: str, body: dict[str, Any], service: Any = "openai") -> Answer:
    """The answer to one request that has the fault, as far as it comes."""
    async with ChatServer(service, faults=scripted([named(name)])) as server:
        return await ask(server, body)


def texts(answer: Answer) -> list[str]:
    """The words of a stream."""
    found = [chunk["choices"][0]["delta"] for chunk in events(answer) if chunk != "[DONE]"]
    return [delta["content"] for delta in found if delta.get("content")]


# --- no answer -------------------------------------------------------------------------------------


async def test_refuse_nobody_listens() -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", closed_port())


@BOTH
async def test_reset_before_head_is_a_reset_without_a_byte(body: dict[str, Any]) -> None:
    faults = scripted([named("reset_before_head")])
    async with ChatServer(faults=faults) as server, talking(server.port) as (reader, writer):
        writer.write(request_bytes(server, body))
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        await until(lambda: server.seen[0].ended == "broken")


@BOTH
async def test_reset_after_head_is_a_reset_after_it(body: dict[str, Any]) -> None:
    faults = scripted([named("reset_after_head")])
    async with ChatServer(faults=faults) as server, talking(server.port) as (reader, writer):
        writer.write(request_bytes(server, body))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


@BOTH
async def test_silent_takes_the_request_and_says_nothing(body: dict[str, Any]) -> None:
    async with ChatServer(faults=scripted([named("silent")])) as server:
        async with talking(server.port) as (reader, writer):
            writer.write(request_bytes(server, body))
            await until(lambda: bool(server.seen))
            assert await quiet(reader)
        await until(lambda: server.seen[0].ended == "left_before_head")


@BOTH
async def test_slow_head_comes_late_and_is_whole(body: dict[str, Any]) -> None:
    sleeps = Sleeps()
    async with ChatServer(faults=scripted([named("slow_head@5")]), sleep=sleeps) as server:
        answer = await ask(server, body)
    assert sleeps.asked == [5.0]
    assert (answer.status, answer.whole) == (200, True)


# --- half an answer --------------------------------------------------------------------------------


async def test_drip_of_a_stream_is_a_byte_a_second() -> None:
    """From the token on where it begins; no event is lost."""
    sleeps = Sleeps()
    async with ChatServer(faults=scripted([named("drip")]), sleep=sleeps) as server:
        answer = await ask(server, STREAMED)
        well = await ask(server, STREAMED)
    assert set(sleeps.asked) == {1.0}
    dripped = sum(
        len(f"data: {msgspec.json.encode(one).decode()}\n\n") for one in events(answer)[4:6]
    )
    assert len(sleeps.asked) == dripped
    assert answer.whole
    assert len(texts(answer)) == len(texts(well)) == 5


async def test_drip_of_a_whole_answer_is_a_byte_a_second() -> None:
    sleeps = Sleeps()
    async with ChatServer(faults=scripted([named("drip@2")]), sleep=sleeps) as server:
        answer = await ask(server, ASKED)
    assert sleeps.asked == [2.0] * len(answer.body)
    assert "choices" in answer.document


async def test_stall_of_a_stream_comes_after_so_many_tokens() -> None:
    async with ChatServer(faults=scripted([named("stall@2")])) as server:
        async with talking(server.port) as (reader, writer):
            writer.write(request_bytes(server, STREAMED))
            for _ in range(3):
                await reader.readuntil(b"\n\n\r\n")
            assert await quiet(reader)
            assert server.seen[0].ended == "live"
        await until(lambda: server.seen[0].ended == "left_mid_stream")
    assert server.billed[0].completion_tokens == 2


async def test_stall_of_a_whole_answer_comes_in_its_middle() -> None:
    async with ChatServer(faults=scripted([named("stall")])) as server:
        async with talking(server.port) as (reader, writer):
            writer.write(request_bytes(server, ASKED))
            top = await reader.readuntil(b"\r\n\r\n")
            half = int(top.partition(b"content-length: ")[2].split(b"\r\n")[0]) // 2
            await reader.readexactly(half)
            assert await quiet(reader)
        await until(lambda: server.seen[0].ended == "left_mid_stream")


async def test_cut_of_a_stream_closes_it_without_the_last_chunk() -> None:
    answer = await under("cut@3", STREAMED)
    assert len(texts(answer)) == 3
    assert "[DONE]" not in events(answer)
    assert not answer.whole


async def test_cut_of_a_whole_answer_closes_it_in_its_middle() -> None:
    answer = await under("cut", ASKED)
    assert len(answer.body) == int(answer.headers["content-length"]) // 2
    assert not answer.whole


async def test_no_done_ends_well_but_for_the_word() -> None:
    answer = await under("no_done", STREAMED)
    assert events(answer)[-1]["choices"][0]["finish_reason"] == "length"
    assert answer.whole


async def test_no_finish_is_half_an_answer_that_ends_well() -> None:
    answer = await under("no_finish@2", STREAMED)
    assert (len(texts(answer)), answer.whole) == (2, True)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in events(answer))
    whole = await under("no_finish", ASKED)
    assert whole.document["choices"][0]["finish_reason"] is None


# --- an answer that is none ------------------------------------------------------------------------


async def test_malformed_is_an_event_that_is_no_json() -> None:
    answer = await under("malformed@2", STREAMED)
    lines = answer.body.decode().split("\n\n")
    assert lines[3] == 'data: {"choices": [{"delta": '
    assert lines[-2] == "data: [DONE]"
    assert answer.whole


async def test_malformed_of_a_whole_answer_is_as_long_as_it_says() -> None:
    answer = await under("malformed", ASKED)
    assert answer.whole
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answer.body)


@BOTH
async def test_error_in_200_is_an_error_under_a_good_status(body: dict[str, Any]) -> None:
    answer = await under("error_in_200", body)
    assert answer.status == 200
    assert answer.document == {"error": {"message": "forced", "code": 502}}


@BOTH
async def test_empty_object_is_nothing_under_a_good_status(body: dict[str, Any]) -> None:
    answer = await under("empty_object", body)
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize("service", SERVICES)
async def test_an_error_event_ends_a_stream(service: Any) -> None:
    answer = await under("error_event@2", STREAMED, service)
    last = events(answer)[-1]
    assert last["error"]["message"] == "forced in stream"
    assert last.get("status_code") == (503 if service == "cerebras" else None)
    assert answer.whole


# --- statuses --------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("status", [402, 429, 498, 500, 502, 503, 529])
async def test_a_status_comes_with_the_services_own_body(
    service: Any, status: int, body: dict[str, Any]
) -> None:
    answer = await under(f"status@{status}", body, service)
    assert answer.status == status
    error = answer.document if service == "cerebras" else answer.document["error"]
    assert f"forced {status}" in error["message"]
    assert error["type"]


async def test_groq_calls_a_full_flex_tier_by_its_code() -> None:
    error = (await under("status@498", ASKED, "groq")).document["error"]
    assert error["code"] == "capacity_exceeded"


async def test_a_body_may_say_another_status() -> None:
    fault = Fault(kind=Kind.STATUS, status=400, said_status=429)
    async with ChatServer("cerebras", faults=scripted([fault])) as server:
        answer = await ask(server)
    assert (answer.status, answer.document["status_code"]) == (400, 429)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("none", None),
        ("seconds", ("retry-after", "7")),
        ("date", ("retry-after", "Wed, 18 May 2033 03:33:20 GMT")),
        ("milliseconds", ("retry-after-ms", "250")),
        ("90", ("retry-after", "90")),
        ("-1", ("retry-after", "-1")),
        ("1e9", ("retry-after", "1e9")),
    ],
)
async def test_a_429_says_when_to_come_back_in_any_way(
    name: str, header: tuple[str, str] | None
) -> None:
    async with ChatServer("groq", faults=scripted([RETRY_AFTER[name]])) as server:
        answer = await ask(server)
    assert answer.status == 429
    found = [one for one in answer.headers.items() if one[0].startswith("retry-after")]
    assert found == ([] if header is None else [header])


@BOTH
async def test_html_is_a_page_of_something_in_between(body: dict[str, Any]) -> None:
    answer = await under("html@502", body)
    assert (answer.status, answer.headers["content-type"]) == (502, "text/html")
    assert answer.body.startswith(b"<html>")


@BOTH
async def test_redirect_points_to_another_host(body: dict[str, Any]) -> None:
    answer = await under("redirect@http://127.0.0.2:9/v1", body)
    assert (answer.status, answer.headers["location"]) == (307, "http://127.0.0.2:9/v1")


# --- lies and floods -------------------------------------------------------------------------------


@pytest.mark.parametrize("service", SERVICES)
async def test_wrong_usage_counts_nothing(service: Any) -> None:
    whole = await under("wrong_usage", ASKED, service)
    assert whole.document["usage"]["completion_tokens"] == 0
    asked = {**STREAMED, "stream_options": {"include_usage": True}}
    chunks = [one for one in events(await under("wrong_usage", asked, service)) if one != "[DONE]"]
    told = [chunk.get("usage") or chunk.get("x_groq", {}).get("usage") for chunk in chunks]
    assert {one["completion_tokens"] for one in told if one} == {0}


@pytest.mark.parametrize("service", SERVICES)
async def test_no_usage_says_nothing_of_it(service: Any) -> None:
    assert b'"usage"' not in (await under("no_usage", ASKED, service)).body
    asked = {**STREAMED, "stream_options": {"include_usage": True}}
    assert b'"usage"' not in (await under("no_usage", asked, service)).body


async def test_duplicate_is_one_event_twice() -> None:
    said = texts(await under("duplicate@2", STREAMED))
    assert len(said) == 6
    assert said[2] == said[3]


@BOTH
async def test_an_endless_line_never_ends_and_does_not_pile_up(body: dict[str, Any]) -> None:
    """A client that reads nothing more holds it up."""
    async with ChatServer(faults=scripted([named("endless_line")]), sleep=Sleeps()) as server:
        async with talking(server.port) as (reader, writer):
            writer.write(request_bytes(server, body))
            await reader.readuntil(b"\r\n\r\n")
            start = await reader.readexactly(3_000_000)
            assert b"\n" not in start.replace(b"\r\n", b"")
        await until(lambda: server.seen[0].ended == "broken")


@BOTH
async def test_gzip_is_small_on_the_wire_and_large_unpacked(body: dict[str, Any]) -> None:
    answer = await under("gzip", body)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < 10_000
    assert len(gzip.decompress(answer.body)) == 5_000_000


# --- who has which ---------------------------------------------------------------------------------


async def test_faults_come_by_number_by_model_or_by_rate() -> None:
    async with ChatServer(faults=scripted([None, named("status@503")])) as server:
        assert [(await ask(server)).status for _ in range(3)] == [200, 503, 200]
    async with ChatServer(faults=by_name()) as server:
        models = ("plain", "fault:status@529", "fault:cut@1")
        answers = [await ask(server, {**STREAMED, "model": model}) for model in models]
    assert [answer.status for answer in answers] == [200, 529, 200]
    assert [answer.whole for answer in answers] == [True, True, False]
    assert answers[2].body.count(b"data: ") == 2


def test_faults_by_rate_are_the_same_for_the_same_seed() -> None:
    def hit(rate: float, seed: int) -> list[bool]:
        choose = by_rate(named("cut"), rate, seed)
        return [choose(number, {}) is not None for number in range(200)]

    assert hit(0.3, 7) == hit(0.3, 7)
    assert hit(0.3, 7) != hit(0.3, 8)
    assert 0.2 < sum(hit(0.3, 7)) / 200 < 0.4


def test_a_fault_is_named_with_its_measure_and_headers() -> None:
    assert named("cut@5") == Fault(kind=Kind.CUT, after_tokens=5)
    assert named("drip") == Fault(kind=Kind.DRIP, seconds=1.0)
    assert named("status@429+retry-after=7+x-a=b") == Fault(
        kind=Kind.STATUS, status=429, headers={"retry-after": "7", "x-a": "b"}
    )
    for wrong in ("cutt", "cut@x", ""):
        with pytest.raises(ValueError, match=r"cutt|`int`|is not a valid Kind"):
            named(wrong)


def test_the_plan_has_every_kind_but_those_that_go_beyond_it() -> None:
    beyond = {Kind.NO_FINISH, Kind.NO_USAGE, Kind.ERROR_EVENT}
    assert {fault.kind for fault in PLAN.values()} == set(Kind) - beyond


def test_a_reply_that_breaks_off_is_told_from_a_whole_one() -> None:
    """The tests' own client: otherwise a cut would pass unseen."""
    chunk = b"3\r\nabc\r\n"
    top = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert not parsed(top + chunk).whole
    assert parsed(top + chunk + b"0\r\n\r\n").whole
