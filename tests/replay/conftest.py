"""Recordings made in a test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_compute.replay.answers import Equality, Question, read_questions
from tt_compute.replay.recording import Recording, load_recordings
from tt_compute.verify.math_process import MathProcess

Read = Callable[..., Any]


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines to a file: texts as they are, mappings as JSON."""

    def write(*lines: str | dict[str, Any], name: str = "samples.jsonl") -> Path:
        file = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        return file

    return write


@pytest.fixture
def read(written: Callable[..., Path]) -> Read:
    """Questions of the given lines; ``question_id`` and ``gold`` need not be stated."""

    async def make(*lines: dict[str, Any], equality: Equality = "exact") -> list[Question]:
        known = [{"question_id": place, "gold": "a", **line} for place, line in enumerate(lines)]
        recordings: list[Recording] = load_recordings(written(*known))
        process = MathProcess(installed=False)
        return (await read_questions(recordings, equality, process))[0]

    return make
