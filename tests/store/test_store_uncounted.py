"""Samples that a vote drew ahead and ended without teach nothing of the model."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from tt_compute.planning.observations import Observation
from tt_compute.results import Result
from tt_compute.store.database import Database

KEY = ("model of local/tiny", "math")


def test_what_was_drawn_for_nothing_teaches_neither_length_nor_abstention(
    open_database: Callable[..., Database], make_result: Callable[..., Result]
) -> None:
    """Of samples that end by then the short ones end first: their lengths would be too small."""
    result = make_result("r", ("42", "42", "42", None))
    samples = tuple(
        msgspec.structs.replace(sample, output_tokens=tokens)
        for sample, tokens in zip(result.samples, (100, 110, 120, 5), strict=True)
    )
    tally = msgspec.structs.replace(result.tally, votes=(3,), abstained=0, uncounted=frozenset({3}))
    database = open_database()
    database.record(
        msgspec.structs.replace(result, samples=samples, tally=tally), prompt="p", mock=False
    )
    database.feedback("r", correct=True)
    found = database.estimates(mock=False)
    (lengths,) = found.lengths[KEY]
    assert lengths.n == pytest.approx(3, rel=0.05)
    assert lengths.mean == pytest.approx(110, rel=0.01)
    (observed,) = found.observations[KEY]
    assert isinstance(observed, Observation)
    assert (observed.right, observed.abstained) == (3, 0)
