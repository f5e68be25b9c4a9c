"""Which JSON document a sample holds."""

from __future__ import annotations

import pytest

from tt_compute.types import JsonSchemaFormat
from tt_compute.verify.json_task import JsonTask

FOUND = [
    ('{"b": 1, "a": [1, 2]}', '{"a":[1,2],"b":1}'),
    ('  {"a": 1.0}\n', '{"a":1}'),
    ('Here it is:\n```json\n{"a": 1}\n```\nDone.', '{"a":1}'),
    ('```\n{"a": 1}\n```\nor better\n```json\n{"a": 2}\n```', '{"a":2}'),
    ('```json\n{"a": 1}', '{"a":1}'),
    ('The object is {"a": {"b": "}"}} as you see.', '{"a":{"b":"}"}}'),
    ('As in [1], the object is {"a": 1}.', '{"a":1}'),
    ('The object is {"a": 1}, see [1].', '{"a":1}'),
    ('Use {name} for {"a": 1}', '{"a":1}'),
    ("[3, 1, 2]", "[3,1,2]"),
    ('"text"', '"text"'),
    ("true", "true"),
    ('{"a": "\u00e9"}', '{"a":"\\u00e9"}'),
]
NOT_FOUND = [
    "",
    "none",
    '{"a": 1,}',
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"a": 1, "a": 2}',
    "{'a': 1}",
    '{"a": {"b": 1}, "c":',
    '{"a": {"b": 1}, c: 2}',
    "[" * 100_000,
    '{"a":' * 100_000,
    "9" * 10_000,
]


@pytest.mark.parametrize(("text", "key"), FOUND)
def test_one_document_is_found_and_put_into_one_form(text: str, key: str) -> None:
    answer = JsonTask().extract(text, truncated=False)
    assert answer is not None
    assert answer.key == key


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_is_not_one_whole_document_abstains(text: str) -> None:
    """A piece inside a broken document is no answer either."""
    assert JsonTask().extract(text, truncated=False) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"a": 1} and th', '{"a":1}'),
        ('```json\n{"a": 1}\n```\nBut', '{"a":1}'),
        ('{"a": {"b": 1}, "c"', None),
        ("12", None),
        ('"abc"', None),
    ],
)
def test_a_cut_text_counts_only_with_a_closed_document(text: str, key: str | None) -> None:
    answer = JsonTask().extract(text, truncated=True)
    assert (answer and answer.key) == key


@pytest.mark.parametrize(
    ("wanted", "key"), [("array", "[1]"), ("object", '{"a":1}'), ("string", None)]
)
def test_the_type_that_was_asked_for_tells_the_answer_from_other_documents(
    wanted: str, key: str | None
) -> None:
    task = JsonTask(JsonSchemaFormat(schema={"type": wanted}))
    answer = task.extract('First {"a": 1}, then [1].', truncated=False)
    assert (answer and answer.key) == key


@pytest.mark.parametrize(
    ("text", "wanted"), [("true", "integer"), ("true", "number"), ("1.5", "integer")]
)
def test_a_boolean_is_no_number_and_a_fraction_no_integer(text: str, wanted: str) -> None:
    task = JsonTask(JsonSchemaFormat(schema={"type": wanted}))
    assert task.extract(text, truncated=False) is None
