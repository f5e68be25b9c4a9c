"""What is kept of a run, for how long, and what it teaches."""

from __future__ import annotations

import sqlite3
import stat
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import StoreError
from tt_compute.planning.estimates import Estimates, SpeedEvidence, Version
from tt_compute.planning.observations import Observation
from tt_compute.results import Result, Tally
from tt_compute.store import evidence
from tt_compute.store.database import Database
from tt_compute.store.rows import prompt_hash

OpenDatabase = Callable[..., Database]
MakeResult = Callable[..., Result]

MODEL = "model of local/tiny"


class Clock(Protocol):
    """The part of the fixture these tests use."""

    now_s: float


def all_bytes(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file())


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_neither_prompt_nor_answer_stands_in_the_file_by_default(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    result = make_result("r1", ("CANARYANSWER",), answer="CANARYANSWER", text="so it is CANARYTEXT")
    database.record(result, prompt="what is CANARYPROMPT?", mock=False)
    before_close = all_bytes(path)
    database.close()
    assert b"r1" in before_close
    for content in (before_close, all_bytes(path)):
        assert b"CANARY" not in content


def test_kept_texts_are_gone_from_the_bytes_after_a_purge(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database(keep_text=True)
    database.record(make_result("r1", text="CANARYTEXT"), prompt="CANARYPROMPT", mock=False)
    assert rows(path, "SELECT prompt, text FROM texts") == [("CANARYPROMPT", "CANARYTEXT")]
    assert database.purge(older_than_s=None) == 1
    assert b"CANARY" not in all_bytes(path)


def test_a_prompts_hash_repeats_in_one_store_and_differs_in_the_next() -> None:
    first, second = bytes(32), bytes(31) + b"\x01"
    assert prompt_hash("what?", first) == prompt_hash("what?", first)
    assert prompt_hash("what?", first) != prompt_hash("what!", first)
    assert prompt_hash("what?", first) != prompt_hash("what?", second)
    assert len(prompt_hash("\ud800", first)) == 16


def test_every_store_hashes_under_a_key_of_its_own(
    path: Path, open_database: OpenDatabase, tmp_path: Path, make_result: MakeResult
) -> None:
    hashes: list[list[tuple[object, ...]]] = []
    for number in range(2):
        database = open_database()
        database.record(make_result("r1"), prompt="the same", mock=False)
        database.close()
        hashes.append(rows(path, "SELECT prompt_hash FROM receipts"))
        path.rename(tmp_path / f"{number}")
    assert hashes[0] != hashes[1]


def test_only_the_user_may_read_it(path: Path, open_database: OpenDatabase) -> None:
    open_database()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("store.sqlite3*")}
    assert modes == {0o600}


def test_unknown_numbers_are_null_and_known_ones_are_kept(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    open_database().record(make_result("r1"), prompt="p", mock=False)
    query = (
        "SELECT cost_usd, energy_j, predicted_quality, predicted_cost_usd, created_at,"
        " decode_tokens, decode_s FROM receipts"
    )
    assert rows(path, query) == [(None, 3.5, 0.5, None, 1_700_000_000.0, 9, 2.0)]


def test_feedback_is_repeatable_and_the_last_word_counts(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("r1"), prompt="p", mock=False)
    right, wrong = Observation(right=1), Observation(wrong=(1,))
    for correct, taught in ((True, right), (True, right), (False, wrong)):
        database.feedback("r1", correct=correct)
        assert database.estimates(mock=False).observations[MODEL, "math"] == (taught,)


def test_feedback_on_an_unknown_result_says_which_and_what_to_do(
    open_database: OpenDatabase,
) -> None:
    with pytest.raises(StoreError, match="'nope'") as caught:
        open_database().feedback("nope", correct=True)
    assert caught.value.hint is not None


def test_a_result_is_entered_once(open_database: OpenDatabase, make_result: MakeResult) -> None:
    database = open_database()
    database.record(make_result("r1"), prompt="p", mock=False)
    with pytest.raises(StoreError):
        database.record(make_result("r1"), prompt="p", mock=False)
    assert database.info().receipts == 1


def test_mock_runs_and_real_runs_teach_apart(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("m1"), prompt="p", mock=True)
    database.feedback("m1", correct=True)
    assert database.estimates(mock=False) == Estimates()
    mock = database.estimates(mock=True)
    assert (set(mock.observations), set(mock.lengths), set(mock.speeds)) == (
        *({(MODEL, "math")}, {(MODEL, "math")}),
        {("local/tiny", "math")},
    )
    assert database.info().mock_receipts == 1


def test_a_right_answer_credits_the_samples_that_gave_it(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("r1", ("42", "42", "7", None)), prompt="p", mock=False)
    database.feedback("r1", correct=True)
    found = database.estimates(mock=False).observations[MODEL, "math"]
    assert found == (Observation(right=2, wrong=(1,), abstained=1),)


def test_a_wrong_answer_leaves_the_outvoted_ones_open(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("r1", ("42",) * 9 + ("7",)), prompt="p", mock=False)
    database.feedback("r1", correct=False)
    found = database.estimates(mock=False).observations[MODEL, "math"]
    assert found == (Observation(wrong=(9,), unsure=(1,)),)


def test_votes_that_nobody_judged_count_little_and_a_single_one_nothing(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("r1", ("42", "42", "7")), prompt="p", mock=False)
    database.record(make_result("r2"), prompt="p", mock=False)
    found = database.estimates(mock=False).observations[MODEL, "math"]
    assert found == (Observation(unsure=(2, 1), weight=0.1),)


def test_a_verifiers_verdicts_teach_and_feedback_overrules_them(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    judged = Tally(accepted=1, refused=3, abstained=1)
    database.record(make_result("r1", ("42",) * 5, tally=judged), prompt="p", mock=False)
    found = database.estimates(mock=False).observations[MODEL, "math"]
    assert found == (Observation(right=1, refused=3, abstained=1),)
    database.feedback("r1", correct=False)
    found = database.estimates(mock=False).observations[MODEL, "math"]
    assert found == (Observation(refused=4, abstained=1),)


def test_greedy_samples_teach_apart(open_database: OpenDatabase, make_result: MakeResult) -> None:
    database = open_database()
    greedy = Tally(votes=(1,), greedy=True)
    database.record(make_result("r1", tally=greedy), prompt="p", mock=False)
    database.feedback("r1", correct=True)
    found = database.estimates(mock=False)
    assert found.greedy == {(MODEL, "math"): (Observation(right=1),)}
    assert not found.observations


def test_a_run_over_two_models_teaches_of_each_and_nothing_of_speed(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    result = make_result("r1", ("7", "42"), deployments=("small", "large"))
    database.record(result, prompt="p", mock=False)
    database.feedback("r1", correct=True)
    found = database.estimates(mock=False)
    assert found.observations["model of small", "math"] == (Observation(refused=1),)
    assert found.observations["model of large", "math"] == (Observation(right=1),)
    assert not found.speeds


def test_older_runs_count_less(open_database: OpenDatabase, make_result: MakeResult) -> None:
    """Half after 250 questions; the newest comes first."""
    database = open_database()
    for number in range(251):
        database.record(make_result(f"r{number}"), prompt="p", mock=False)
        database.feedback(f"r{number}", correct=number > 0)
    found = database.estimates(mock=False).observations[MODEL, "math"]
    assert found[0] == Observation(right=1)
    assert found[-1].wrong == (1,)
    assert found[-1].weight == pytest.approx(0.5)


def test_runs_of_another_version_teach_nothing(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    """Other weights say nothing of ability and length, another runtime nothing of speed."""
    database = open_database()
    result = make_result("r1", ("42", "42"), weights="old", runtime="openvino 1")
    database.record(result, prompt="p", mock=False)
    database.feedback("r1", correct=True)

    def taught(weights: str | None, runtime: str | None) -> tuple[bool, bool, bool]:
        now = {"local/tiny": Version(weights=weights, runtime=runtime)}
        found = database.estimates(mock=False, versions=now)
        return bool(found.observations), bool(found.lengths), bool(found.speeds)

    assert taught("old", "openvino 1") == taught(None, None) == (True, True, True)
    assert taught("new", "openvino 1") == (False, False, True)
    assert taught("old", "openvino 2") == (True, True, False)


def test_speed_is_that_of_a_typical_run_by_wave(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    """One run on a busy machine, however long it took, does not move it."""
    database = open_database()
    four = ("42",) * 4
    runs = (
        make_result("a", output_tokens=(101,)),
        make_result("b", four, output_tokens=(51,) * 4),
        make_result("c", four, output_tokens=(51,) * 4, latency_s=200.5),
        make_result("d", four, output_tokens=(51,) * 4),
        make_result("e", first_token_s=None),
    )
    for result in runs:
        database.record(result, prompt="p", mock=False)
    alone, wide = database.estimates(mock=False).speeds["local/tiny", "math"]
    assert alone == SpeedEvidence(wave=1, tokens_per_s=50, n=1)
    assert (wide.wave, wide.tokens_per_s) == (4, 100)
    assert wide.n == pytest.approx(12, rel=0.02)


def test_speed_is_that_of_the_samples_that_were_in_flight(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    """Two of four samples ran while the other two had ended: three in flight on average, not a wave of four.

    Ten seconds for 396 tokens after the first ones of the wave; each step makes three.
    """
    database = open_database()
    four = ("42",) * 4
    lasted = (5.0, 5.0, 10.0, 10.0)
    result = make_result("a", four, output_tokens=(100,) * 4, latency_s=10.5, lasted_s=lasted)
    database.record(result, prompt="p", mock=False)
    (seen,) = database.estimates(mock=False).speeds["local/tiny", "math"]
    assert seen.wave == 3
    assert seen.tokens_per_s == pytest.approx(396 / 10)


def test_a_samples_first_token_is_none_of_its_decoding(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    """Four samples one after the other, each of 5 tokens: the first after half a second, the others in one."""
    database = open_database()
    one_by_one: dict[str, Any] = {"wave": 1, "latency_s": 6.0, "lasted_s": (1.0,) * 4}
    result = make_result("a", ("42",) * 4, output_tokens=(5,) * 4, **one_by_one)
    database.record(result, prompt="p", mock=False)
    (seen,) = database.estimates(mock=False).speeds["local/tiny", "math"]
    assert seen.wave == 1
    assert seen.tokens_per_s == pytest.approx(4)


def test_a_run_with_a_sample_whose_tokens_nobody_counted_tells_no_speed(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    result = make_result("a", ("42",) * 4, output_tokens=(51, 51, 0, 51))
    database.record(result, prompt="p", mock=False)
    assert not database.estimates(mock=False).speeds


def test_a_run_whose_samples_do_not_tell_when_they_began_tells_no_speed(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    result = make_result("a", ("42",) * 4, output_tokens=(51,) * 4)
    untold = msgspec.structs.replace(result.tally, decoding_s=None)
    database.record(msgspec.structs.replace(result, tally=untold), prompt="p", mock=False)
    assert not database.estimates(mock=False).speeds


@given(st.lists(st.integers(0, 500), min_size=1, max_size=60))
def test_lengths_match_a_plain_count(lengths: list[int]) -> None:
    found = evidence.length_evidence(
        evidence.Length(tokens, float(count), whole=True)
        for tokens, count in Counter(lengths).items()
    )
    ordered = sorted(lengths)
    rank = next(k for k in range(1, len(ordered) + 1) if 100 * k >= 95 * len(ordered))
    assert found.n == len(lengths)
    assert found.mean == pytest.approx(sum(lengths) / len(lengths))
    assert found.p95 == ordered[rank - 1]


def test_runs_older_than_the_limit_are_deleted_at_the_next_record(
    wall_clock: Clock, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database(max_age_s=100.0)
    database.record(make_result("old"), prompt="p", mock=False)
    wall_clock.now_s += 101
    database.record(make_result("new"), prompt="p", mock=False)
    info = database.info()
    assert (info.receipts, info.samples, info.oldest_at) == (1, 1, wall_clock.now_s)


def test_runs_older_than_the_limit_are_deleted_at_opening(
    wall_clock: Clock, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    open_database().record(make_result("old"), prompt="p", mock=False)
    wall_clock.now_s += 101
    assert open_database(max_age_s=100.0).info().receipts == 0


def test_the_file_stays_within_its_size_and_the_newest_runs_stay(
    path: Path, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    limit = 200_000
    database = open_database(max_bytes=limit)
    for number in range(150):
        result = make_result(f"{number:03}", ("42",) * 16)
        database.record(result, prompt="p", mock=False)
    database.close()
    assert path.stat().st_size <= limit
    kept = [row[0] for row in rows(path, "SELECT id FROM receipts ORDER BY id")]
    assert 0 < len(kept) < 150
    assert kept == [f"{number:03}" for number in range(150 - len(kept), 150)]


def test_a_smaller_limit_is_met_at_opening(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    for number in range(100):
        database.record(make_result(f"{number}", ("42",) * 16), prompt="p", mock=False)
    database.close()
    assert open_database(max_bytes=100_000).info().bytes <= 100_000


def test_purge_by_age_leaves_the_newer_runs(
    wall_clock: Clock, open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    database.record(make_result("old"), prompt="p", mock=False)
    wall_clock.now_s += 50
    database.record(make_result("new"), prompt="p", mock=False)
    assert database.purge(older_than_s=10.0) == 1
    assert database.info().oldest_at == wall_clock.now_s


def test_an_empty_store_tells_so(path: Path, open_database: OpenDatabase) -> None:
    database = open_database()
    info = database.info()
    assert (info.path, info.receipts, info.oldest_at, info.keeps_text) == (
        *(str(path), 0, None, False),
    )
    assert database.estimates(mock=False) == Estimates()
