"""The YAML edge: what is read, and that everything else is refused at once, with its place."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import ConfigError
from tt_compute.profiles.yaml import MAX_BYTES, load_yaml, parse_yaml

MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}, *a{k - 1}]}}\n" for k in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3.35e12", 3.35e12),
        ("1e12", 1e12),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("12", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("no", "no"),
        ("on", "on"),
        ("2026-11-21", "2026-11-21"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("'12'", "12"),
        ('"null"', "null"),
        ("~", None),
        ("null", None),
        ("true", True),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    """YAML 1.2: a number is a number, ``no`` is a word, a date is text."""
    tree: Any = parse_yaml(f"key: {text}").tree
    assert tree == {"key": value}
    assert type(tree["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: &x 2", 2),
        ("a: 1\nb: *x", 2),
        ("a: 1\n<<: {b: 1}", 2),
        ("a: !!python/object:os.system x", 1),
        ("a: !local x", 1),
        ("a: 1\nb: 2\na: 3", 3),
        ("a: {x: 1,\n x: 2}", 2),
        ("a: .nan", 1),
        ("a: 1\nb: -.inf", 2),
        ("a: 1e999", 1),
        ("a: 1\n---\nb: 2", 2),
        ("? [1, 2]\n: 3", 1),
        ("1: a\n2: b", None),
        ("a:\n\t- b", 2),
        ("a: \0", 1),
        ("a: [1, 2", 1),
        ("", 1),
        (MERGE_BOMB, 1),
    ],
)
def test_what_is_refused_has_its_line(text: str, line: int | None) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, file="x.yaml")
    assert caught.value.file == "x.yaml"
    if line is not None:
        assert caught.value.line == line


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    """100,000 levels crash PyYAML's composer; the event stream is left at the limit."""
    with pytest.raises(ConfigError):
        parse_yaml(opening * 100_000)


def test_many_nodes_are_refused_in_little_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError):
            parse_yaml("- 1\n" * 250_000)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(100 * 1024 * 1024)
    with pytest.raises(ConfigError, match=str(MAX_BYTES)):
        load_yaml(file)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_yaml(tmp_path / name)


def test_bytes_that_are_no_text_are_refused_with_their_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(b"a: 1\nb: \xff\xfe")
    assert caught.value.line == 2


KEYS = st.text("abcdefghij_", min_size=1, max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text("abc äé#:'\"{}[],&*!|>%@-\n\t", max_size=20)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=5))
def test_json_is_read_as_what_it_says(tree: dict[str, Any]) -> None:
    """JSON is YAML; what no configuration holds, such as control characters, is an error of ours."""
    try:
        assert parse_yaml(json.dumps(tree, ensure_ascii=False)).tree == tree
    except ConfigError:
        assert not all(c.isprintable() for c in str(tree))


@given(st.binary(max_size=400) | st.text(max_size=400))
def test_anything_else_is_an_error_of_ours(data: bytes | str) -> None:
    """No input raises anything but ``ConfigError``."""
    with contextlib.suppress(ConfigError):
        parse_yaml(data)
