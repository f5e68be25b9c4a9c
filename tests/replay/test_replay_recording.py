"""The format of recordings: what a line holds, and that every fault is told with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_compute.errors import UsageError
from tt_compute.replay.recording import load_recordings

Write = Callable[..., Path]

GOOD: dict[str, Any] = {"question_id": "q", "gold": "42", "samples": ["42", None]}


def test_a_line_may_hold_more_than_is_read(written: Write) -> None:
    """Other keys are ignored, blank lines skipped, numbers are answers too."""
    (first, second) = load_recordings(
        written({**GOOD, "responses": ["a", "b"]}, "", {**GOOD, "samples": [1, 2.5], "gold": 1})
    )
    assert first.samples == ("42", None)
    assert second.samples == (1, 2.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": []}, "`samples` is empty"),
        ({"samples": None}, "samples"),
        ({"samples": [["42"]]}, "samples"),
        ({"gold": None}, "neither `gold` nor `correct`"),
        ({"question_id": None}, "question_id"),
        ({"correct": [1]}, "`correct` has 1 entries for 2 samples"),
        ({"correct": [1, 2]}, "other than 0 and 1"),
        ({"correct": [1, "no"]}, "correct"),
        ({"tokens": [5]}, "`tokens` has 1 entries"),
        ({"tokens": [5, -1]}, "tokens"),
        ({"tokens": [5, 10**10]}, "<= 1000000000"),
        ({"tokens": [5, None]}, "tokens"),
        ({"logprob": [0.1]}, "`logprob`"),
        ({"reward": [0.1]}, "`reward`"),
    ],
)
def test_a_faulty_line_is_told_with_file_and_line(
    written: Write, change: dict[str, Any], words: str
) -> None:
    file = written(GOOD, "", {**GOOD, **change})
    with pytest.raises(UsageError) as refusal:
        load_recordings(file)
    assert refusal.value.message.startswith(f"{file}:3: ")
    assert words in refusal.value.message


DEEP = '{"x": ' + "[" * 100_000


@pytest.mark.parametrize("line", ["{", "[]", "42", DEEP, '{"samples": ["\\ud8"]}', "caf\u00e9"])
def test_what_is_no_question_is_refused(written: Write, line: str) -> None:
    file = written(line)
    with pytest.raises(UsageError, match=r"samples\.jsonl:1: "):
        load_recordings(file)


def test_bytes_that_are_no_utf_8_are_refused_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.jsonl"
    file.write_bytes(b'{"question_id": "caf\xe9", "gold": "1", "samples": ["1"]}\n')
    with pytest.raises(UsageError, match=r"latin\.jsonl:1: "):
        load_recordings(file)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tt_compute.replay.recording._MAX_LINE_BYTES", 1000)
    file = tmp_path / "long.jsonl"
    file.write_bytes(b"\0" * 10_000)
    with pytest.raises(UsageError, match=r"long\.jsonl:1: longer than 1000 bytes"):
        load_recordings(file)


def test_a_file_without_questions_is_refused(written: Write, tmp_path: Path) -> None:
    for file in (written(""), tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(UsageError):
            load_recordings(file)


def test_a_line_that_stands_there_twice_is_refused_and_a_question_that_does_is_not(
    written: Write,
) -> None:
    """A question may be recorded with several seeds."""
    other = {**GOOD, "seed": 1}
    assert len(load_recordings(written(GOOD, other))) == 2
    with pytest.raises(UsageError, match=r":4: all of it, question 'q', stands in line 1 already"):
        load_recordings(written(GOOD, other, "", GOOD))


def test_a_mark_of_the_byte_order_is_no_fault(tmp_path: Path) -> None:
    """Editors on Windows begin files with one."""
    file = tmp_path / "marked.jsonl"
    line = b'{"question_id": "q", "gold": "1", "samples": ["1"]}\r\n'
    file.write_bytes(b"\xef\xbb\xbf" + line)
    assert len(load_recordings(file)) == 1
    file.write_bytes(line + b"\xef\xbb\xbf" + line)
    with pytest.raises(UsageError, match=r":2: "):
        load_recordings(file)
