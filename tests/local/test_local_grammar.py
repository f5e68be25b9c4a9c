"""JSON schemas as masks: whatever the model would rather say, what comes out is valid."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tt_compute.errors import InvalidRequestError
from tt_compute_backends.loop.grammar import Grammars

END = 256
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


class Person(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    age: int
    tags: list[str] = []


def text(schema: Any) -> str:
    return msgspec.json.encode(schema).decode()


@pytest.fixture(scope="module")
def tokenizer(tiny: Any) -> Any:
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def grammars(tokenizer: Any) -> Grammars:
    return Grammars(tokenizer.to_str(), [END], 264)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_model_that_guesses_writes_valid_documents(
    grammars: Grammars, tokenizer: Any, seed: int
) -> None:
    grammars.check(text(SCHEMA))
    matcher = grammars.matcher(text(SCHEMA))
    random = np.random.default_rng(seed)
    made: list[int] = []
    while not matcher.finished and len(made) < 400:
        allowed = matcher.allowed()
        assert allowed.any()
        # Whitespace may go on for ever: a model that guesses would draw it too often.
        tokens = np.flatnonzero(allowed)
        token = int(random.choice(tokens))
        if token == END:
            break
        matcher.accept(token)
        made.append(token)
    if len(made) < 400:
        document = msgspec.json.decode(tokenizer.decode(made), type=Person)
        assert 0 <= document.age <= 120
        assert set(document.tags) <= {"a", "b"}


def test_the_end_is_allowed_only_where_the_document_is_complete(
    grammars: Grammars, tokenizer: Any
) -> None:
    grammars.check(text({"type": "integer"}))
    matcher = grammars.matcher(text({"type": "integer"}))
    assert not matcher.allowed()[END]
    (digit,) = tokenizer.encode("7").ids
    matcher.accept(digit)
    assert matcher.allowed()[END]


def test_tokens_that_the_tokenizer_lacks_are_never_allowed(grammars: Grammars) -> None:
    """The output layer may be wider than the vocabulary."""
    grammars.check(text({}))
    allowed = grammars.matcher(text({})).allowed()
    assert allowed.size == 264
    assert not allowed[260:].any()


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "objct"}, "objct"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"not": {"type": "string"}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"$ref": "#/nowhere"}, "nowhere"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_refused(
    grammars: Grammars, schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        grammars.check(text(schema))


def test_a_refused_schema_spoils_no_other(grammars: Grammars) -> None:
    with pytest.raises(InvalidRequestError):
        grammars.check(text({"type": "objct"}))
    grammars.check(text({"type": "boolean"}))
    assert grammars.matcher(text({"type": "boolean"})).allowed().any()
