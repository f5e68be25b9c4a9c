"""What backends said in one run is said again in every later one, and nothing else is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]

MODULE = """
import pytest
import tt_compute as tt

CONFIG = tt.Config.from_mapping({
    "deployments": [{"id": "words", "backend": "ngram", "model": "mock", "hardware": "mock",
                     "options": {}}],
    "store": {"enabled": False},
})

def test_it(ttc_cassette):
    with tt.Client(CONFIG) as client:
        %s
"""
ASK = """samples = client.generate("Tell me a story.", deployment="words", n=2)
        print("TOLD", [sample.text for sample in samples])"""
FILE = Path("ttc_cassettes/test_it/test_it.json")


@pytest.fixture(autouse=True)
def installed(install: Callable[[str], Path]) -> Path:
    """Somebody else's backend, where the test can take it away again."""
    return install("tt-ngram")


def told(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("TOLD")]


def test_a_recording_is_replayed_without_the_backend(run: Run, installed: Path) -> None:
    """The replay says the same, also where the backend is not even installed."""
    recorded = run(MODULE % ASK, "--ttc-live", "--ttc-record=once", "-rP")
    recorded.assert_outcomes(passed=1)
    shutil.rmtree(installed)
    replayed = run(MODULE % ASK, "-rP")
    replayed.assert_outcomes(passed=1)
    assert told(replayed) == told(recorded) != []


def test_votes_and_streams_are_replayed_event_by_event(run: Run) -> None:
    """Deltas come in the order in which they came, and a vote takes the course it took."""
    module = MODULE % (
        """with client.stream("Tell me a story.", strategy="single") as stream:
            events = [str(event) for event in stream if not isinstance(event, tt.Progress)]
        vote = client.solve("Tell me a joke.", strategy="majority", objective=tt.Objective(max_samples=4))
        print("TOLD", events, vote.samples, vote.receipt.stop_reason)
        assert len(events) > 3"""
    )
    recorded = run(module, "--ttc-live", "--ttc-record=once", "-rP")
    recorded.assert_outcomes(passed=1)
    assert told(run(module, "-rP")) == told(recorded) != []


def test_recording_needs_leave_to_ask_real_backends(run: Run) -> None:
    """``--ttc-record`` alone costs nothing."""
    result = run(MODULE % ASK, "--ttc-record=once")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*'ngram' is not a mock", "*hint: *run pytest --ttc-live beside --ttc-record"]
    )
    assert not FILE.exists()


def test_a_refused_recording_says_what_it_needs_also_when_the_error_is_caught(run: Run) -> None:
    """Not what a test without a cassette would need."""
    caught = "with pytest.raises(tt.TTComputeError): client.warm('words')"
    result = run(MODULE % caught, "--ttc-record=once")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["hint: *run pytest --ttc-live beside --ttc-record"])


def test_without_a_recording_nothing_is_replayed(run: Run) -> None:
    """The default records nothing and asks nobody."""
    result = run(MODULE % ASK, "--ttc-live")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*there is no cassette *test_it.json*", "*hint: *--ttc-live --ttc-record=once"]
    )


def test_once_keeps_what_is_there_and_rewrite_does_not(run: Run) -> None:
    """``once`` replays where there is a file, so that it asks for what it holds."""
    run(MODULE % ASK, "--ttc-live", "--ttc-record=once").assert_outcomes(passed=1)
    other = MODULE % ASK.replace("story", "joke")
    run(other, "--ttc-live", "--ttc-record=once").assert_outcomes(failed=1)
    run(other, "--ttc-live", "--ttc-record=rewrite").assert_outcomes(passed=1)
    run(other).assert_outcomes(passed=1)


def test_another_prompt_fails_with_the_difference(run: Run) -> None:
    """Also where the program answers the error with an apology."""
    run(MODULE % ASK, "--ttc-live", "--ttc-record=once").assert_outcomes(passed=1)
    caught = 'with pytest.raises(tt.TTComputeError): client.generate("Tell me a joke.", deployment="words")'
    result = run(MODULE % caught)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*a prompt to words is not in *test_it.json*",
            "*-*Tell me a story.*",
            "*+*Tell me a joke.*",
            "*not asked again: a prompt to words*",
        ]
    )


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (1, "*words: 2 samples of a prompt were recorded, and 1 of them were not drawn*"),
        (3, "*words: 2 samples of a prompt were recorded, and a further one was drawn*"),
    ],
)
def test_other_numbers_of_samples_fail(run: Run, n: int, message: str) -> None:
    """Neither is a sample made up, nor one forgotten."""
    run(MODULE % ASK, "--ttc-live", "--ttc-record=once").assert_outcomes(passed=1)
    result = run(MODULE % ASK.replace("n=2", f"n={n}"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([message])


def test_a_prompt_that_is_not_asked_again_fails(run: Run) -> None:
    """What a test does not do any more is not left in its cassette."""
    run(MODULE % ASK, "--ttc-live", "--ttc-record=once").assert_outcomes(passed=1)
    result = run(MODULE % "pass")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not asked again: a prompt to words", '*"Tell me a story."*'])


def test_a_failed_test_records_nothing(run: Run) -> None:
    """Half a run is no recording; one that is there stays."""
    failing = f"{ASK}\n        assert False"
    run(MODULE % failing, "--ttc-live", "--ttc-record=once").assert_outcomes(failed=1)
    assert not FILE.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"interactions": [', '"interactions": ', "*test_it.json is damaged: *"),
        (
            '"format": "tt_compute.cassette"',
            '"format": 1',
            "*is no cassette that pytest --ttc-record wrote*",
        ),
        ('"version": 1', '"version": 2', "*cassette of version 2*"),
        ('"sample": {', '"smaple": {', "*is damaged: *smaple*"),
        ('"finish_reason": "', '"finish_reason": "x', "*is damaged: *finish_reason*"),
        (
            '"drawn": ',
            '"drawn": -',
            "*test_it.json:* is damaged: expected at least 0, got -*interactions*drawn*",
        ),
        ('"index": 0', '"index": 9', "*is damaged: *of sample 9, which was not drawn*"),
        (
            '"index": 0',
            '"index": 1',
            "*is damaged: *of sample 1, which was not drawn or had ended*",
        ),
        (
            '"output_tokens": ',
            '"output_tokens": -',
            "*test_it.json:[1-9]* is damaged: *`usage.output_tokens` is -*",
        ),
        ('"output_tokens": ', '"output_tokens": 9999999999', "*output_tokens` is 9999999999*"),
        (
            '"output_tokens": ',
            '"cached_tokens": 999, "output_tokens": ',
            "*`usage.cached_tokens` is 999, *",
        ),
        ('"timing": {', '"timing": {"queue_s": -1,', "*`timing.queue_s` is -1*"),
        ('"models": [', '"models": [], "x": [', "*is damaged: *"),
    ],
)
def test_a_damaged_file_is_refused(run: Run, old: str, new: str, message: str) -> None:
    """With what is wrong with it, not with a trace of ours."""
    run(MODULE % ASK, "--ttc-live", "--ttc-record=once").assert_outcomes(passed=1)
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    FILE.write_text(text.replace(old, new), encoding="utf-8")
    result = run(MODULE % ASK)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])


def test_a_cassette_holds_neither_keys_nor_headers(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that holds the deployment's key is not written down."""
    monkeypatch.setenv("NGRAM_KEY", "ngram-0123456789")
    keyed = MODULE.replace('"options"', '"auth": {"env": "NGRAM_KEY"}, "options"')
    run(keyed % ASK, "--ttc-live", "--ttc-record=once").assert_outcomes(passed=1)
    text = FILE.read_text(encoding="utf-8")
    assert "ngram-0123456789" not in text
    assert set(json.loads(text)["interactions"][0]) == {"deployment", "request", "drawn", "events"}
    leaking = keyed % ASK.replace("a story.", "ngram-0123456789.")
    result = run(leaking, "--ttc-live", "--ttc-record=rewrite")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was not written: a key of one of its deployments*"])
    assert FILE.read_text(encoding="utf-8") == text
