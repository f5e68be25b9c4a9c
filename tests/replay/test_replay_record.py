"""Recording: whole lines only, and going on where it ended."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from tt_compute.client import AsyncClient
from tt_compute.config import Config
from tt_compute.errors import InvalidRequestError, TTComputeError, UsageError
from tt_compute.replay.asked import Asked
from tt_compute.replay.questions import load_questions
from tt_compute.replay.record import Recorder, Settings, kept
from tt_compute.replay.recording import load_recordings
from tt_compute.testing.time import VirtualClock
from tt_compute.types import SamplingParams

pytestmark = pytest.mark.anyio

Write = Callable[..., Path]
ASKED = [
    Asked(question=f"What is {number} times 7?", gold=str(number * 7), question_id=str(number))
    for number in range(1, 5)
]


def settings(**changes: Any) -> Settings:
    known: dict[str, Any] = {
        "deployment": "scripted",
        "model": "mock",
        "samples": 3,
        "sampling": SamplingParams(),
        "seed": 0,
        "task": "math",
        "concurrency": 2,
    }
    return Settings(**{**known, **changes})


def client(tmp_path: Path, **options: Any) -> AsyncClient:
    deployment = {
        "id": "scripted",
        "backend": "mock",
        "model": "mock",
        "hardware": "mock",
        "options": options,
    }
    config = Config.from_mapping(
        {"deployments": [deployment], "store": {"enabled": False}},
        environ={"TTC_DATA_DIR": str(tmp_path / "data")},
    )
    return AsyncClient(config, clock=VirtualClock())


def nobody(_: Asked) -> None: ...


async def recorded(
    tmp_path: Path, file: Path, given: Settings, asked: list[Asked], **options: Any
) -> Recorder:
    done = kept(file, given, resume=True)
    left = [(place, one) for place, one in enumerate(asked) if str(one.question_id) not in done]
    async with client(tmp_path, **options) as opened:
        recorder = Recorder(opened, given, file, nobody)
        await recorder.run(left)
    return recorder


async def test_a_line_holds_what_a_replay_needs(tmp_path: Path) -> None:
    """Answers in their canonical form, verdicts, tokens, and none where there is no answer."""
    file = tmp_path / "s.jsonl"
    script = ["The answer is 14.0", "I do not know", "The answer is 15."]
    await recorded(tmp_path, file, settings(), ASKED[1:2], script=script)
    (found,) = load_recordings(file)
    assert found.samples == ("14", None, "15")
    assert found.correct == (1, 0, 0)
    assert found.gold == "14"
    assert found.tokens is not None
    assert all(found.tokens)
    assert (found.model, found.question_id) == ("mock", "2")


async def test_it_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Complete questions are skipped, a torn line is dropped, one with too few samples is drawn anew."""
    file = tmp_path / "s.jsonl"
    await recorded(tmp_path, file, settings(), ASKED[:2])
    await recorded(tmp_path, file, settings(samples=2), ASKED[2:3])
    before = file.read_text(encoding="utf-8").splitlines()
    with file.open("a", encoding="utf-8") as torn:
        torn.write('{"question_id": "4", "samp')
    recorder = await recorded(tmp_path, file, settings(), ASKED)
    assert recorder.recorded == 2
    after = file.read_text(encoding="utf-8").splitlines()
    assert after[:2] == before[:2]
    assert sorted(str(one.question_id) for one in load_recordings(file)) == ["1", "2", "3", "4"]
    assert {len(one.samples) for one in load_recordings(file)} == {3}


async def test_what_is_recorded_does_not_depend_on_where_it_was_interrupted(
    tmp_path: Path,
) -> None:
    """A question's seed is made of its place among all."""
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    await recorded(tmp_path, whole, settings(), ASKED)
    await recorded(tmp_path, parts, settings(), ASKED[:1])
    await recorded(tmp_path, parts, settings(), ASKED)
    assert sorted(whole.read_text().splitlines()) == sorted(parts.read_text().splitlines())


async def test_a_cancelled_recording_leaves_whole_lines(tmp_path: Path) -> None:
    """As Ctrl-C does it: what is in flight is dropped, what is written is valid."""
    file = tmp_path / "s.jsonl"
    told: list[Asked] = []
    async with client(tmp_path, latency={"ttft_s": 1, "tokens_per_s": 1}) as opened:
        with anyio.CancelScope() as scope:

            def stop(asked: Asked) -> None:
                told.append(asked)
                scope.cancel()

            recorder = Recorder(opened, settings(concurrency=1), file, stop)
            await recorder.run(list(enumerate(ASKED)))
    assert len(told) == 1
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["question_id"] for line in lines] == ["1"]


async def test_a_question_with_a_failed_sample_is_not_written(tmp_path: Path) -> None:
    """The others are; what failed is told."""
    file = tmp_path / "s.jsonl"
    fault = {"kind": "malformed", "pattern": "2 times", "rate": 1.0}
    recorder = await recorded(tmp_path, file, settings(), ASKED, faults=[fault])
    assert [name for name, _ in recorder.failures] == ["2"]
    assert sorted(str(one.question_id) for one in load_recordings(file)) == ["1", "3", "4"]


async def test_a_disk_that_takes_a_part_of_a_line_ends_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next line would follow half of one, and the file be of no use."""
    file = tmp_path / "s.jsonl"
    write = os.write

    def nearly_full(opened: int, data: bytes) -> int:
        if file.stat().st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(opened, data[:20])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", nearly_full)
        with pytest.raises(TTComputeError, match=r"s\.jsonl cannot be written: No space") as caught:
            await recorded(tmp_path, file, settings(), ASKED)
    assert caught.value.exit_code == 4
    await recorded(tmp_path, file, settings(), ASKED)
    assert len(load_recordings(file)) == len(ASKED)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
async def test_a_link_stays_one_when_its_file_is_resumed(tmp_path: Path) -> None:
    file, link = tmp_path / "s.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(file)
    await recorded(tmp_path, link, settings(), ASKED[:1])
    await recorded(tmp_path, link, settings(), ASKED)
    assert link.is_symlink()
    assert len(load_recordings(file)) == len(ASKED)


def test_a_file_that_is_there_is_not_touched_unasked(written: Write) -> None:
    """Neither is one with samples of another deployment, or with a broken line that has an end."""
    file = written("{}")
    with pytest.raises(UsageError, match="is there"):
        kept(file, settings(), resume=False)
    other = {"question_id": "q", "gold": "1", "samples": ["1"], "deployment": "other"}
    for line, words in ((other, "recorded from 'other'"), ("{", ":1: ")):
        file = written(line)
        before = file.read_bytes()
        with pytest.raises(UsageError, match=words):
            kept(file, settings(), resume=True)
        assert file.read_bytes() == before


async def test_a_file_that_holds_a_question_twice_is_not_gone_on_with(tmp_path: Path) -> None:
    """It would count twice; one that is there twice and not complete is drawn again anyway."""
    file = tmp_path / "s.jsonl"
    await recorded(tmp_path, file, settings(), ASKED[:2])
    whole = file.read_bytes()
    file.write_bytes(whole + whole.splitlines(keepends=True)[1])
    before = file.read_bytes()
    with pytest.raises(UsageError, match=r"s\.jsonl:3: the question '2' stands in line 2 already"):
        kept(file, settings(), resume=True)
    assert file.read_bytes() == before
    assert kept(file, settings(samples=4), resume=True) == set()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
@pytest.mark.parametrize("resume", [False, True])
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, resume: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="no plain file"):
        kept(pipe, settings(), resume=resume)


def test_a_text_of_somebody_elses_is_no_torn_line(tmp_path: Path) -> None:
    """It has no newline at its end either."""
    file = tmp_path / "notes.txt"
    for text in (b"do not lose this", b'{"mine": 1'):
        file.write_bytes(text)
        with pytest.raises(UsageError, match=r"notes\.txt:1: "):
            kept(file, settings(), resume=True)
        assert file.read_bytes() == text
    for torn in (b'{"data', b'{"dataset":"x","samp', b"\0\0\0"):
        file.write_bytes(torn)
        assert kept(file, settings(), resume=True) == set()
        assert file.read_bytes() == b""


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="this system has no links")
def test_what_cannot_be_written_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    """And the look at it makes no file."""
    loop, dangling = tmp_path / "loop", tmp_path / "dangling"
    loop.symlink_to("loop")
    dangling.symlink_to("none")
    for file in (loop, tmp_path / ("x" * 300), tmp_path / "no" / "s.jsonl"):
        with pytest.raises(UsageError, match="cannot be written"):
            kept(file, settings(), resume=False)
    assert kept(dangling, settings(), resume=False) == set()
    assert {path.name for path in tmp_path.iterdir()} == {"loop", "dangling"}


async def test_a_gold_answer_that_cannot_be_read_is_refused_beforehand(tmp_path: Path) -> None:
    """Nothing is drawn."""
    bad = Asked(question="What is 1 + 1?", gold="...", question_id="bad")
    with pytest.raises(InvalidRequestError, match="question 'bad'"):
        await recorded(tmp_path, tmp_path / "s.jsonl", settings(), [*ASKED, bad])
    assert not (tmp_path / "s.jsonl").exists()


def test_questions_are_named_by_their_line(written: Write) -> None:
    """Unless they say otherwise; the data set is the file."""
    file = written(
        {"question": "a?", "gold": 1},
        "",
        {"question": "b?", "gold": "2", "question_id": "x", "dataset": "d", "other": 1},
        name="qs.jsonl",
    )
    found = load_questions(str(file), 0)
    assert [(one.question_id, one.dataset) for one in found] == [("1", "qs"), ("x", "d")]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"question": "a?"}'], r":1: .*gold"),
        (['{"question": " ", "gold": "1"}'], r":1: .*empty"),
        (['{"question": "a?", "gold": "1"}', "no"], r":2: "),
        (['{"question": "a?", "gold": "1", "question_id": "x"}'] * 2, r":2: .*twice"),
        (['{"question": "a?", "gold": "1", "tests": "f()"}'], r":1: .*either"),
        (['{"question": "a?", "tests": ""}'], r":1: .*empty"),
        (['{"question": "a?", "tests": []}'], r":1: .*empty"),
        (['{"question": "a?", "tests": [{"stdout": "1", "assert": "f()"}]}'], r":1: .*either"),
        (['{"question": "a?", "tests": [{"call": "f"}]}'], r":1: .*expected"),
        (['{"question": "a?", "tests": 5}'], r":1: .*tests"),
        (['{"question": "a?", "gold": "1", "x": ' + "[" * 100_000], r":1: .*recursion"),
        ([], "no question"),
    ],
)
def test_faulty_questions_are_refused_with_their_line(
    written: Write, lines: list[str], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        load_questions(str(written(*lines)), 0)
