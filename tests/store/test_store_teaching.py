"""What was learned can be handed on, taken in and forgotten; receipts stay as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tt_compute.errors import StoreError
from tt_compute.planning.estimates import Estimates, LeftOut, LengthEvidence, Version
from tt_compute.planning.evidence_file import Evidence, ModelEvidence
from tt_compute.planning.observations import Observation
from tt_compute.results import Result
from tt_compute.store.database import Database

OpenDatabase = Callable[..., Database]
MakeResult = Callable[..., Result]

MODEL = "model of local/tiny"
KEY = (MODEL, "math")


@pytest.fixture
def database(open_database: OpenDatabase, make_result: MakeResult) -> Database:
    """Two judged runs."""
    opened = open_database()
    for number in range(2):
        add(opened, make_result(f"r{number}"))
    return opened


def add(database: Database, result: Result, *, mock: bool = False) -> None:
    database.record(result, prompt="p", mock=mock)
    database.feedback(result.id, correct=True)


def forget(database: Database, **which: str) -> tuple[int, int]:
    everything = {"model": None, "deployment": None, "task": None}
    return database.forget(mock=False, **{**everything, **which})


def elsewhere(**changes: object) -> Evidence:
    """Of another store: one wrong answer, and lengths."""
    model = ModelEvidence(
        model=MODEL,
        task="math",
        observations=(Observation(wrong=(1,)),),
        lengths=(LengthEvidence(n=4.0, mean=30.0, p95=50.0),),
    )
    return Evidence(
        origin="elsewhere",
        exported_at=1.0,
        mock=False,
        models=(msgspec.structs.replace(model, **changes),),
        deployments=(),
    )


# --- forgetting ------------------------------------------------------------------------------------


def test_what_is_forgotten_teaches_nothing_and_its_receipts_stay(database: Database) -> None:
    assert forget(database) == (2, 0)
    assert database.estimates(mock=False) == Estimates()
    assert database.info().receipts == 2
    assert len(database.runs(since=0.0, deployment=None, mock=False)) == 2
    assert database.history(mock=False).forgotten == 2


def test_runs_after_it_teach_again(database: Database, make_result: MakeResult) -> None:
    forget(database)
    add(database, make_result("later"))
    assert database.estimates(mock=False).observations[KEY] == (Observation(right=1),)
    assert forget(database) == (1, 0)
    assert database.estimates(mock=False) == Estimates()


@pytest.mark.parametrize(
    ("which", "runs"),
    [
        ({"model": MODEL}, 2),
        ({"deployment": "local/tiny"}, 2),
        ({"task": "math"}, 2),
        ({"model": MODEL, "task": "math", "deployment": "local/tiny"}, 2),
        ({"model": "another"}, 0),
        ({"deployment": "another"}, 0),
        ({"task": "code"}, 0),
        ({"model": MODEL, "task": "code"}, 0),
    ],
)
def test_only_what_was_named_is_forgotten(
    database: Database, which: dict[str, str], runs: int
) -> None:
    before = database.estimates(mock=False)
    assert forget(database, **which) == (runs, 0)
    assert database.estimates(mock=False) == (Estimates() if runs else before)


def test_of_a_run_of_two_models_only_the_named_one_is_forgotten(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    both = ("local/tiny", "local/large")
    add(database, make_result("r", ("42", "42"), deployments=both))
    assert forget(database, model="model of local/large") == (1, 0)
    assert set(database.estimates(mock=False).observations) == {KEY}
    assert set(database.estimates(mock=False).lengths) == {KEY}


def test_mock_runs_are_not_forgotten_with_real_ones(
    database: Database, make_result: MakeResult
) -> None:
    add(database, make_result("m"), mock=True)
    forget(database)
    assert database.estimates(mock=True).observations[KEY] == (Observation(right=1),)
    assert database.history(mock=True).forgotten == 0


def test_forgetting_again_keeps_one_row(database: Database, path: Path) -> None:
    for _ in range(3):
        forget(database, task="math")
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT * FROM forgotten").fetchall()
    connection.close()
    assert len(rows) == 1


# --- handing on ------------------------------------------------------------------------------------


def test_what_one_store_exports_teaches_another_the_same(
    database: Database, tmp_path: Path, path: Path, open_database: OpenDatabase
) -> None:
    before, evidence = database.estimates(mock=False), database.evidence(mock=False)
    database.close()
    path.rename(tmp_path / "other")
    fresh = open_database()
    assert fresh.take_in(evidence) == 2
    after = fresh.estimates(mock=False)
    assert after == msgspec.structs.replace(before, speeds={})
    assert before.speeds


def test_an_export_holds_no_prompt_and_no_answer(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database(keep_text=True)
    result = make_result("r", ("CANARY",), answer="CANARY", text="CANARY")
    database.record(result, prompt="CANARY", mock=False)
    assert b"CANARY" not in msgspec.json.encode(database.evidence(mock=False))


def test_an_export_tells_weights_apart(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    for name, weights in (("a", "w1"), ("b", "w2"), ("c", None)):
        add(database, make_result(name, weights=weights))
    models = database.evidence(mock=False).models
    assert {one.weights: len(one.observations) for one in models} == {"w1": 1, "w2": 1, None: 1}
    now = {"local/tiny": Version(weights="w2")}
    models = database.evidence(mock=False, versions=now).models
    assert {one.weights for one in models} == {"w2", None}


def test_what_was_imported_is_not_exported_again(database: Database) -> None:
    """Else two machines that exchange files would count each question twice."""
    before = database.evidence(mock=False)
    database.take_in(elsewhere())
    assert database.evidence(mock=False) == before


# --- taking in -------------------------------------------------------------------------------------


def test_an_import_counts_as_older_than_all_own_questions(database: Database) -> None:
    database.take_in(elsewhere())
    *own, imported = database.estimates(mock=False).observations[KEY]
    assert own[0].weight == 1.0
    assert imported.wrong == (1,)
    assert imported.weight < min(one.weight for one in own)


def test_lengths_are_taken_in_and_speeds_are_not(database: Database) -> None:
    before = database.estimates(mock=False)
    database.take_in(elsewhere())
    after = database.estimates(mock=False)
    *_own, imported = after.lengths[KEY]
    assert (imported.mean, imported.p95) == (30.0, 50.0)
    assert after.speeds == before.speeds


def test_a_newer_import_of_the_same_store_replaces_the_older(database: Database) -> None:
    for _ in range(2):
        database.take_in(elsewhere())
    assert len(database.estimates(mock=False).observations[KEY]) == 3
    (told,) = database.history(mock=False).imports
    assert (told.origin, told.questions, told.models) == ("elsewhere", 1, (MODEL,))
    assert told.imported_at == 1_700_000_000.0


def test_its_own_evidence_is_refused(database: Database) -> None:
    with pytest.raises(StoreError, match="comes from this store"):
        database.take_in(database.evidence(mock=False))


@pytest.mark.parametrize(
    ("weights", "now", "used"),
    [
        ("w1", "w1", True),
        ("w1", "w2", False),
        (None, "w2", True),
        ("w1", None, True),
    ],
)
def test_an_import_of_other_weights_is_kept_and_not_used(
    database: Database, weights: str | None, now: str | None, used: bool
) -> None:
    database.take_in(elsewhere(weights=weights))
    versions = {"local/tiny": Version(weights=now)}
    found = database.estimates(mock=False, versions=versions).observations[KEY]
    assert (len(found) == 3) is used
    (told,) = database.history(mock=False, versions=versions).imports
    assert told.used is used


def test_forgetting_drops_what_was_imported_of_it(database: Database) -> None:
    database.take_in(elsewhere())
    assert forget(database, model="another") == (0, 0)
    assert forget(database, deployment="local/tiny") == (2, 0)
    assert len(database.history(mock=False).imports) == 1
    assert forget(database, model=MODEL) == (0, 1)
    assert database.history(mock=False).imports == ()


def test_a_purge_leaves_what_was_imported(database: Database) -> None:
    """It is about receipts, and an import has none."""
    database.take_in(elsewhere())
    database.purge(older_than_s=None)
    assert len(database.estimates(mock=False).observations[KEY]) == 1


# --- what was left out -----------------------------------------------------------------------------


def test_runs_of_another_version_are_counted(
    open_database: OpenDatabase, make_result: MakeResult
) -> None:
    database = open_database()
    versions = [("w1", "r1"), ("w1", "r2"), ("w2", "r2"), ("w2", "r2"), (None, None)]
    for number, (weights, runtime) in enumerate(versions):
        add(database, make_result(f"r{number}", weights=weights, runtime=runtime))
    now = {"local/tiny": Version(weights="w2", runtime="r2")}
    assert database.history(mock=False, versions=now).left_out == (
        LeftOut(deployment="local/tiny", weights=2, runtime=1),
    )
    assert database.history(mock=False).left_out == ()
