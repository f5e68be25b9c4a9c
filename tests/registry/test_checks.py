"""What is wrong with a request is told before a model sees it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tt_compute.checks import check_request
from tt_compute.errors import InvalidRequestError, TTComputeError, UnsupportedError
from tt_compute.types import (
    Capabilities,
    GenerateRequest,
    JsonSchemaFormat,
    Message,
    SamplingParams,
    Tool,
    ToolCall,
)

ALL = Capabilities(max_logprobs=1, stop=True, json_schema=True, continue_assistant=True)
HI = (Message(role="user", content="Hi"),)


def _request(messages: tuple[Message, ...] = HI, **fields: Any) -> GenerateRequest:
    return GenerateRequest(messages=messages, **fields)


def _nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "object"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingParams(),
        SamplingParams(temperature=0.0, top_p=1.0, top_k=1, max_tokens=1, logprobs=1),
        SamplingParams(temperature=5.0, presence_penalty=-2.0, frequency_penalty=2.0),
        SamplingParams(stop=("\n",) * 16),
    ],
)
def test_the_edges_of_every_range_are_inside(sampling: SamplingParams) -> None:
    """Limits are inclusive."""
    check_request(_request(sampling=sampling), ALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.01),
        ("temperature", 5.01),
        ("temperature", float("nan")),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("top_k", 0),
        ("max_tokens", 0),
        ("logprobs", -1),
        ("presence_penalty", 2.01),
        ("frequency_penalty", float("-inf")),
        ("stop", ("a", "")),
        ("stop", ("a",) * 17),
        ("stop", ("\udc80",)),
    ],
)
def test_values_out_of_range_are_named(field: str, value: object) -> None:
    """The message begins with the parameter, so that the caller finds it."""
    sampling = msgspec.structs.replace(SamplingParams(), **{field: value})
    with pytest.raises(InvalidRequestError) as caught:
        check_request(_request(sampling=sampling), ALL)
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ((), "no messages"),
        ((Message(role="user", content=" \n"),), "empty"),
        ((Message(role="user", content="a\ud800b"),), "message 0: .* at 1"),
    ],
)
def test_empty_and_unencodable_prompts_are_refused(
    messages: tuple[Message, ...], message: str
) -> None:
    """A half surrogate pair is not a character, and its place is told."""
    with pytest.raises(InvalidRequestError, match=message):
        check_request(_request(messages), ALL)


def test_only_an_assistant_message_can_be_continued() -> None:
    """And it may be empty, which is the same as a new turn."""
    opened = (*HI, Message(role="assistant", content=""))
    check_request(_request(opened, continue_assistant=True), ALL)
    with pytest.raises(InvalidRequestError, match="continue_assistant"):
        check_request(_request(continue_assistant=True), ALL)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": SamplingParams(logprobs=2)},
        {"tools": (Tool(name="f"),)},
        {
            "messages": (
                *HI,
                Message(
                    role="assistant",
                    content="",
                    tool_calls=(ToolCall(id="1", name="f", arguments=""),),
                ),
                Message(role="user", content="go on"),
            )
        },
        {"messages": (*HI, Message(role="tool", content="42", tool_call_id="1"))},
    ],
)
def test_an_ability_that_is_missing_is_an_error(fields: dict[str, Any]) -> None:
    """More logprobs than there are, and tools, are refused rather than dropped."""
    with pytest.raises(UnsupportedError):
        check_request(_request(**fields), ALL)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": SamplingParams(stop=("a",))},
        {"response_format": JsonSchemaFormat(schema={})},
        {
            "messages": (*HI, Message(role="assistant", content="a")),
            "continue_assistant": True,
        },
    ],
)
def test_capabilities_decide(fields: dict[str, Any]) -> None:
    """The same request passes where the ability is there and fails where it is not."""
    check_request(_request(**fields), ALL)
    with pytest.raises(UnsupportedError):
        check_request(_request(**fields), Capabilities())


@pytest.mark.parametrize(
    "schema",
    [
        _nested(100_000),
        {"enum": list(range(20_000))},
        {"$ref": "https://example.org/schema"},
        {"properties": {"a": {"$ref": "other.json#/x"}}},
    ],
    ids=["deep", "large", "remote", "file"],
)
def test_a_schema_that_would_overflow_or_be_ignored_is_refused(schema: dict[str, object]) -> None:
    """Depth and size are bounded, and a reference must lead inside the schema."""
    with pytest.raises(InvalidRequestError, match="JSON schema"):
        check_request(_request(response_format=JsonSchemaFormat(schema=schema)), ALL)


def test_an_ordinary_schema_passes() -> None:
    """References inside, and a property that is called $ref, are fine."""
    schema: dict[str, object] = {
        "$defs": {"n": {"type": "integer"}},
        "properties": {"a": {"$ref": "#/$defs/n"}, "$ref": {"type": "string"}},
    }
    check_request(_request(response_format=JsonSchemaFormat(schema=schema)), ALL)


def test_errors_are_usage_errors() -> None:
    """They are the caller's to mend, so the CLI exits 2."""
    with pytest.raises(TTComputeError) as caught:
        check_request(_request(()), ALL)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tools": 5}, r"Expected `array`, got `int` - at `\$.tools`"),
        ({"tools": "lookup"}, r"Expected `array`, got `str` - at `\$.tools`"),
        ({"tools": None}, r"got `null` - at `\$.tools`"),
        ({"tools": ({"name": "lookup"},)}, r"Expected `Tool`, got `dict` - at `\$.tools\[0\]`"),
        ({"tools": (Tool(name=5),)}, r"got `int` - at `\$.tools\[0\].name`"),  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - what is refused
        ({"tool_choice": 5}, r"at `\$.tool_choice`"),
        ({"messages": "Hi"}, r"at `\$.messages`"),
        ({"messages": ({"role": "user", "content": "Hi"},)}, r"Expected `Message`, got `dict`"),
        (
            {"messages": (Message(role="boss", content="Hi"),)},  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - what is refused
            r"'boss' - at `\$.messages\[0\].role`",
        ),
        ({"sampling": None}, r"at `\$.sampling`"),
        ({"sampling": {"temperature": 1.0}}, r"Expected `SamplingParams`, got `dict`"),
        ({"response_format": {"schema": {}}}, r"Expected `JsonSchemaFormat`, got `dict`"),
        ({"deltas": "all"}, r"'all' - at `\$.deltas`"),
        ({"deadline": "soon"}, r"at `\$.deadline`"),
        ({"tags": object()}, r"type object is unsupported"),
    ],
)
def test_what_a_type_checker_would_have_found_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    """With its place and what it must be; not every caller has a type checker."""
    request = _request(**fields)
    with pytest.raises(InvalidRequestError, match=words):
        check_request(request, ALL)


def test_a_model_that_draws_no_samples_is_told_before_all_else() -> None:
    with pytest.raises(UnsupportedError, match="no samples"):
        check_request(_request(messages=()), Capabilities(generates=False))
