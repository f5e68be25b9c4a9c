"""What samples teach that a vote drew ahead and ended without, or that were cut off."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

import msgspec
import pytest

from tt_compute.planning.observations import Observation
from tt_compute.results import Result
from tt_compute.store.database import Database
from tt_compute.store.evidence import Length, length_evidence

KEY = ("model of local/tiny", "math")
FREIREICH = (
    (6, True), (6, True), (6, True), (6, False), (7, True), (9, False), (10, True), (10, False), (11, False),
    (13, True), (16, True), (17, False), (19, False), (20, False), (22, True), (23, True), (25, False),
    (32, False), (32, False), (34, False), (35, False),
)  # fmt: skip
"""Weeks of remission under 6-mercaptopurine, and whether they had ended (Freireich et al. 1963), the textbooks'
example of the estimator: S = 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448 from 6, 7, 10, 13, 16, 22, 23 on."""


def test_cut_samples_count_as_kaplan_and_meier_count_them() -> None:
    found = length_evidence(Length(weeks, 1.0, whole=ended) for weeks, ended in FREIREICH)
    survivals = (
        (6, 1.0),
        (1, 0.857),
        (3, 0.807),
        (3, 0.753),
        (3, 0.690),
        (6, 0.627),
        (1, 0.538),
        (12, 0.448),
    )
    assert found.mean == pytest.approx(sum(width * share for width, share in survivals), rel=1e-3)
    assert (found.n, found.p95) == (9, 35)


def test_the_mean_of_samples_is_found_though_the_first_to_end_cuts_off_the_others() -> None:
    """Four are drawn together, the end of one of the first three cuts the rest: the whole ones alone are far too short."""
    rng = random.Random(4)
    lengths: list[Length] = []
    for _ in range(2000):
        drawn = [rng.gammavariate(2.0, 100.0) for _ in range(4)]
        end = sorted(drawn)[rng.randrange(3)]
        lengths += [Length(round(min(one, end)), 1.0, whole=one <= end) for one in drawn]
    found = length_evidence(lengths)
    whole = statistics.fmean(one.tokens for one in lengths if one.whole)
    assert found.mean == pytest.approx(200, rel=0.03)
    assert whole < 150
    assert found.p95 == pytest.approx(474, rel=0.08)


def with_samples(
    result: Result, tokens: tuple[int, ...], cancelled: frozenset[int] = frozenset()
) -> Result:
    samples = tuple(
        msgspec.structs.replace(
            sample,
            output_tokens=count,
            finish_reason="cancelled" if sample.index in cancelled else sample.finish_reason,
        )
        for sample, count in zip(result.samples, tokens, strict=True)
    )
    return msgspec.structs.replace(result, samples=samples)


def test_a_cancelled_sample_is_longer_than_it_came(
    open_database: Callable[..., Database], make_result: Callable[..., Result]
) -> None:
    database = open_database()
    result = with_samples(
        make_result("r", ("42", "42", "42", None)), (100, 100, 200, 150), frozenset({3})
    )
    database.record(result, prompt="p", mock=False)
    (lengths,) = database.estimates(mock=False).lengths[KEY]
    # Half of what survives 100 tokens is whole at 200, and so is what was cut between.
    assert lengths.mean == pytest.approx(0.5 * 100 + 0.5 * 200, rel=0.02)
    assert lengths.n == pytest.approx(3, rel=0.05)


def test_runs_of_cut_samples_alone_teach_no_length(
    open_database: Callable[..., Database], make_result: Callable[..., Result]
) -> None:
    database = open_database()
    result = with_samples(make_result("r", (None, None)), (100, 100), frozenset({0, 1}))
    database.record(result, prompt="p", mock=False)
    assert KEY not in database.estimates(mock=False).lengths


def test_what_was_drawn_for_nothing_abstains_from_nothing(
    open_database: Callable[..., Database], make_result: Callable[..., Result]
) -> None:
    """It had no turn to vote: of samples that end by then those without an answer may be more than their share."""
    result = make_result("r", ("42", "42", "42", None))
    tally = msgspec.structs.replace(result.tally, votes=(3,), abstained=0, uncounted=frozenset({3}))
    database = open_database()
    database.record(msgspec.structs.replace(result, tally=tally), prompt="p", mock=False)
    database.feedback("r", correct=True)
    (observed,) = database.estimates(mock=False).observations[KEY]
    assert isinstance(observed, Observation)
    assert (observed.right, observed.abstained) == (3, 0)
