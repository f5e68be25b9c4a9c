"""What the store keeps of log-probabilities, and whom they are credited to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tt_compute.planning.observations import Observation
from tt_compute.results import Result, Tally
from tt_compute.store.database import Database

OpenDatabase = Callable[..., Database]
MakeResult = Callable[..., Result]

KEY = ("model of local/tiny", "math")


def with_logprobs(result: Result, *logprobs: float | None) -> Result:
    """The same run, sample k with the mean log-probability ``logprobs[k]``."""
    samples = tuple(
        msgspec.structs.replace(sample, mean_logprob=logprob)
        for sample, logprob in zip(result.samples, logprobs, strict=True)
    )
    return msgspec.structs.replace(result, samples=samples)


def learned(database: Database, result: Result, *, correct: bool | None) -> Observation:
    database.record(result, prompt="p", mock=False)
    if correct is not None:
        database.feedback(result.id, correct=correct)
    return database.estimates(mock=False).observations[KEY][0]


@pytest.mark.parametrize("correct", [True, False])
def test_an_answers_own_samples_are_credited_with_their_mean(
    open_database: OpenDatabase, make_result: MakeResult, correct: bool
) -> None:
    result = with_logprobs(make_result("r", ("42", "7", "42", None)), -0.25, -4.0, -0.75, -8.0)
    found = learned(open_database(), result, correct=correct)
    own = -0.5
    assert found.right_logprob == (own if correct else None)
    assert found.wrong_logprob == (None if correct else own)


def test_of_votes_that_nobody_judged_they_tell_nothing(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    result = with_logprobs(make_result("r", ("42", "42")), -0.25, -0.75)
    found = learned(open_database(), result, correct=None)
    assert (found.right_logprob, found.wrong_logprob) == (None, None)


def test_what_is_not_known_or_not_finite_is_left_out(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    some = with_logprobs(make_result("r", ("42", "42")), -0.25, None)
    assert learned(database, some, correct=True).right_logprob == -0.25
    for name, logprob in (("a", None), ("b", float("-inf")), ("c", -1e300)):
        database.record(with_logprobs(make_result(name), logprob), prompt="p", mock=False)
        database.feedback(name, correct=True)
        assert database.estimates(mock=False).observations[KEY][0].right_logprob is None
    mixed = with_logprobs(make_result("d", ("42", "42")), -0.25, float("-inf"))
    assert learned(database, mixed, correct=True).right_logprob == -0.25


def test_a_verifiers_accepted_and_refused_samples_are_kept_apart(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    judged = Tally(accepted=1, refused=2, abstained=1, verdicts={0: False, 1: False, 3: True})
    result = make_result("r", ("7", "8", None, "42"), tally=judged)
    found = learned(database, with_logprobs(result, -1.0, -3.0, -9.0, -0.5), correct=None)
    assert (found.right_logprob, found.wrong_logprob) == (-0.5, -2.0)
    database.feedback("r", correct=False)
    (found,) = database.estimates(mock=False).observations[KEY]
    assert (found.right_logprob, found.wrong_logprob) == (None, None)


def test_they_are_handed_on(open_database: OpenDatabase, make_result: MakeResult) -> None:
    database = open_database()
    learned(database, with_logprobs(make_result("r"), -0.25), correct=True)
    (model,) = database.evidence(mock=False).models
    assert model.observations[0].right_logprob == -0.25
