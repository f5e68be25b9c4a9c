"""Bytes to values: however they are cut, whoever sent them."""

from __future__ import annotations

import itertools
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import ServerError
from tt_compute.types import Sample, Usage
from tt_compute_backends.wire.decode import Answer, decode_answer, usage_of
from tt_compute_backends.wire.meter import TokenMeter
from tt_compute_backends.wire.row import Row
from tt_compute_backends.wire.sse import MAX_LINE_BYTES, EventParser

STREAM = b': hello\r\n\r\ndata: {"a": 1}\r\n\r\nevent: x\ndata: two\ndata: lines\n\ndata:[DONE]\n\n'


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_do_not_depend_on_where_the_bytes_were_cut(cuts: list[int]) -> None:
    parser, found, edges = EventParser(), list[bytes](), [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        found += parser.feed(STREAM[start:end])
    assert found == [b'{"a": 1}', b"two\nlines", b"[DONE]"]


def test_the_last_event_needs_no_empty_line() -> None:
    parser = EventParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.end() == [b"[DONE]"]


def test_a_line_without_an_end_is_refused() -> None:
    parser = EventParser()
    parser.feed(b"x" * MAX_LINE_BYTES)
    with pytest.raises(ServerError, match="line of over"):
        parser.feed(b"x")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_error(data: bytes) -> None:
    with suppress(ServerError):
        decode_answer(data)


def test_html_is_called_html() -> None:
    with pytest.raises(ServerError, match="HTML") as caught:
        decode_answer(b"<!doctype html><title>502</title>")
    assert caught.value.hint is not None


def test_an_answer_nested_beyond_all_bounds_is_one_of_the_services_errors() -> None:
    """So that the sample is drawn elsewhere."""
    with pytest.raises(ServerError, match="the answer is no JSON"):
        decode_answer(b'{"x": ' + b"[" * 100_000)


def test_the_message_of_a_wrong_field_says_where() -> None:
    with pytest.raises(ServerError, match=r"choices\[0\]\.index"):
        decode_answer(b'{"choices": [{"index": "one"}]}')


def answer(**fields: object) -> Answer:
    return decode_answer(msgspec.json.encode(fields))


COUNTS = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_time": 0.01,
}


@pytest.mark.parametrize(
    "fields",
    [
        {"usage": COUNTS},
        {"x_groq": {"id": "r", "usage": COUNTS}},
        {"usage": {}, "x_groq": {"usage": COUNTS}},
    ],
)
def test_usage_is_found_wherever_it_stands(fields: dict[str, object]) -> None:
    found = answer(**fields)
    assert usage_of(found) == Usage(input_tokens=10, cached_tokens=4, output_tokens=5)
    assert found.times is not None
    assert found.times.completion_time == 0.01


def test_no_usage_is_unknown_not_zero() -> None:
    assert usage_of(answer(id="x", choices=[])) is None
    assert usage_of(answer(usage={"prompt_tokens": 3})) is None


def test_more_cached_than_prompt_tokens_are_not_believed() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_cache_hit_tokens": 99}
    assert usage_of(answer(usage=usage)) == Usage(input_tokens=3, cached_tokens=3, output_tokens=1)


def test_content_in_parts_and_reasoning_by_either_name() -> None:
    made = answer(
        choices=[
            {
                "delta": {
                    "content": [{"type": "text", "text": "a"}, {"type": "image"}],
                    "reasoning_content": "r",
                }
            },
            {"delta": {"content": None, "reasoning": "q"}},
        ]
    )
    assert made.choices is not None
    pieces = [choice.delta for choice in made.choices]
    assert [(piece.text, piece.thought) for piece in pieces if piece is not None] == [
        ("a", "r"),
        ("", "q"),
    ]


# --- what nobody counted ------------------------------------------------------------------------------


@given(st.integers(1, 400), st.floats(0.01, 10))
def test_a_left_stream_is_booked_above_what_was_seen_and_not_far_above(
    pieces: int, streamed_s: float
) -> None:
    """Once the service has counted a stream of one token a piece: at most what it makes in a round trip, and two."""
    meter = TokenMeter()
    meter.learn(prompt_bytes=100, prompt_tokens=25, pieces=50, tokens=50)
    bound = meter.output_tokens(
        pieces=pieces,
        text_bytes=pieces * 5,
        streamed_s=streamed_s,
        round_trip_s=0.05,
        max_tokens=None,
    )
    assert pieces < bound <= pieces + min(pieces, pieces / streamed_s * 0.05) + 2


def test_it_never_passes_what_was_allowed() -> None:
    bound = TokenMeter().output_tokens(
        pieces=90, text_bytes=900, streamed_s=0.1, round_trip_s=0.1, max_tokens=100
    )
    assert bound == 100


def test_several_tokens_a_piece_are_learnt() -> None:
    meter = TokenMeter()
    meter.learn(prompt_bytes=40, prompt_tokens=10, pieces=10, tokens=40)
    assert (
        meter.output_tokens(
            pieces=5, text_bytes=1, streamed_s=1e9, round_trip_s=0.1, max_tokens=None
        )
        >= 20
    )
    assert meter.prompt_tokens(400) == 100


def test_calls_of_a_whole_answer_have_no_index_and_stay_apart() -> None:
    """As Groq and OpenAI send them."""
    calls = [
        {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
        for name in "ab"
    ]
    made = answer(
        choices=[{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]
    )
    assert made.choices is not None
    choice = made.choices[0]
    assert choice.message is not None
    row = Row(0, 0.0)
    row.take(choice, choice.message, 1.0)
    ended = row.finished(
        usage=Usage(), now=2.0, times=(None, None, None), rate_limits=(), request_id=None
    )
    assert isinstance(ended, Sample)
    assert [(call.id, call.name, call.arguments) for call in ended.tool_calls] == [
        ("a", "a", "{}"),
        ("b", "b", "{}"),
    ]
