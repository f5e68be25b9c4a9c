"""Short statements of open tasks are reduced to what they say, so that they can vote together."""

from __future__ import annotations

import pytest

from tt_compute.verify.open_task import OpenTask


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Nairobi", "nairobi"),
        ("The capital of Kenya is Nairobi.", "nairobi"),
        ("Kenya's capital city is **Nairobi**.", "nairobi"),
        ("Capital city of Cuba: Havana", "havana"),
        ("The capital of the Netherlands is Amsterdam", "amsterdam"),
        ("It was the Beatles.", "beatles"),
        ("The sky is blue because air scatters short waves.", None),
        ("Paris is lovely. Rome is old.", None),
        ("The largest planet is Jupiter, then Saturn.", None),
    ],
)
def test_a_lone_short_statement_is_its_complement(text: str, key: str | None) -> None:
    """Anything longer or of two sentences stays the whole text."""
    answer = OpenTask().extract(text, truncated=False)
    assert answer is not None
    expected = key if key is not None else text.casefold().rstrip(".")
    assert answer.key == expected


def test_a_cut_statement_is_no_answer() -> None:
    assert OpenTask().extract("The capital of Kenya is Nai", truncated=True) is None
