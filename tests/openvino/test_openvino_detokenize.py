"""Text comes out whole: every character once, none half, none past a stop string."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute_backends.detokenize import RowText, TokenTable

BYTES = TokenTable.of_vocabulary(
    {bytes([value]): value for value in range(256)} | {b"<end>": 256}, [256]
)


def _first_complete(text: str, stops: tuple[str, ...]) -> int | None:
    """Brute force: read a character at a time and stop at the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        starts = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if starts:
            return min(starts)
    return None


@given(
    text=st.text(alphabet="abc€🇩", max_size=30),
    stops=st.lists(st.text(alphabet="abc€", min_size=1, max_size=4), max_size=4).map(tuple),
    cuts=st.lists(st.integers(0, 120), max_size=10),
)
def test_text_does_not_depend_on_how_tokens_are_grouped(
    text: str, stops: tuple[str, ...], cuts: list[int]
) -> None:
    """Grouped in any way, the text is cut exactly where reading it letter by letter would cut it."""
    data = text.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    row = RowText(BYTES, stops)
    out = "".join(row.feed(data[start:end]) for start, end in pairwise(edges))
    cut = _first_complete(text, stops)
    if cut is None:
        assert out + row.finish() == text
        assert not row.stopped
    else:
        assert out == text[:cut]
        assert row.stopped
        assert not row.finish()
        assert not row.feed(b"more")


@given(text=st.text(max_size=20), stop=st.text(min_size=1, max_size=4))
def test_what_is_let_out_is_never_taken_back(text: str, stop: str) -> None:
    """Text is held only while it may become the stop string."""
    row = RowText(BYTES, (stop,))
    out = ""
    for value in text.encode(errors="surrogatepass"):
        out += row.feed([value])
        if not row.stopped:
            held = row._held  # pyright: ignore[reportPrivateUsage] - what is held is the rule
            assert stop.startswith(held)
            assert held != stop


def test_a_character_comes_out_when_it_is_complete() -> None:
    """The bytes of an emoji are held until the last of them."""
    row = RowText(BYTES)
    data = "🙂".encode()
    assert [row.feed([value]) for value in data] == ["", "", "", "🙂"]


def test_an_unfinished_character_at_the_end_is_shown_as_such() -> None:
    """It becomes U+FFFD, not nothing."""
    row = RowText(BYTES)
    assert row.feed("a🙂".encode()[:-1]) == "a"
    assert row.finish() == "\ufffd"


def test_control_tokens_add_no_text_but_have_a_name() -> None:
    """The end-of-turn token is not part of the answer."""
    row = RowText(BYTES)
    assert row.feed([97, 256]) + row.finish() == "a"
    assert BYTES.name(256) == "<end>"
    assert BYTES.name(0xF0) == "\ufffd"


SAMPLES = [
    "👩‍👩‍👧‍👦 family, 👍🏽 skin, 🏳️‍🌈 flag",
    "🇩🇪🇯🇵🇫🇷",
    "大家好，世界！これは日本語です。한국어",
    "naïve café – “quotes” … €5",
    "مرحبا שלום Ελλάδα Привет",
    "tab\tnew\nline  spaces\r\n\x00null",
]


@pytest.mark.model
@pytest.mark.parametrize("text", SAMPLES)
def test_the_real_vocabulary_gives_back_what_was_encoded(
    text: str, loaded_runtime: Any, ask: Callable[..., Any]
) -> None:
    """Token by token, with the embedded model's own vocabulary, the text comes back exactly."""
    prompt = loaded_runtime.prepare(ask("x", prefix=text))
    table = loaded_runtime._loaded()._table
    row = RowText(table)
    rebuilt = "".join(row.feed([token]) for token in prompt.token_ids) + row.finish()
    assert rebuilt.endswith(text)
    assert "\ufffd" not in rebuilt
