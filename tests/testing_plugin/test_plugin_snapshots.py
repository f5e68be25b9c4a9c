"""Plans beside tests: the same decision gives the same text, another one shows its difference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

import tt_compute as tt
from tt_compute.testing import Scenario, VirtualClock, plan_snapshot
from tt_compute.testing.beside import file_beside

Run = Callable[..., pytest.RunResult]


class Node(NamedTuple):
    """As much of a test as is asked for."""

    path: Path
    nodeid: str


MODULE = """
def test_it(ttc_mock, ttc_client, ttc_snapshot):
    ttc_mock(id="m%d")
    ttc_snapshot(ttc_client.plan("What is 3 plus 4?", strategy="single"))
    ttc_snapshot(ttc_client.plan("What is 3 plus 4?", strategy="majority"), "vote")
"""
FOLDER = Path("ttc_snapshots/test_it")


def plan() -> tt.Plan:
    config = Scenario.from_mapping({"deployments": [{"id": "a"}]}).ready(environ={})
    with tt.Client(config, clock=VirtualClock(), environ={}) as client:
        return client.plan("What is 3 plus 4?")


def test_a_snapshot_is_the_plan_without_time() -> None:
    """Two plannings of one request give one text, which holds the decision as the JSON contract does."""
    first = plan()
    later = msgspec.structs.replace(first, elapsed_us=first.elapsed_us + 7, setup_us=9.0)
    assert plan_snapshot(first) == plan_snapshot(later)
    document = json.loads(plan_snapshot(first))
    assert set(first.to_dict()) - set(document) == {"elapsed_us", "setup_us"}
    assert document["chosen"]["deployment"] == "a"


def test_figures_that_differ_in_the_seventh_digit_are_equal() -> None:
    """Machines do not agree on the last digits of a sum."""
    first = plan()
    chosen = first.chosen
    assert chosen is not None

    def with_quality(quality: float) -> str:
        predicted = msgspec.structs.replace(chosen.predicted, quality=quality)
        changed = msgspec.structs.replace(chosen, predicted=predicted)
        return plan_snapshot(msgspec.structs.replace(first, chosen=changed))

    assert with_quality(0.9) == with_quality(0.9 + 1e-9)
    assert with_quality(0.9) != with_quality(0.90001)


def test_plans_are_compared_with_the_files_beside_the_test(run: Run) -> None:
    """Written on request only; then equal plans pass and others fail with their difference."""
    missing = run(MODULE % 1)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(
        ["*there is no *test_it.json yet; write it: pytest --ttc-snapshot=update"]
    )
    run(MODULE % 1, "--ttc-snapshot=update").assert_outcomes(passed=1)
    assert {file.name for file in FOLDER.iterdir()} == {"test_it.json", "test_it.vote.json"}
    run(MODULE % 1).assert_outcomes(passed=1)
    changed = run(MODULE % 2)
    changed.assert_outcomes(failed=1)
    changed.stdout.fnmatch_lines(
        ["*the plan is not the one in *", '*-*"deployment": "m1"*', '*+*"deployment": "m2"*']
    )
    run(MODULE % 2, "--ttc-snapshot=update").assert_outcomes(passed=1)
    run(MODULE % 2).assert_outcomes(passed=1)


def test_two_plans_of_one_name_are_refused(run: Run) -> None:
    """The second would be compared with the first one's file."""
    result = run((MODULE % 1).replace(', "vote"', ""), "--ttc-snapshot=update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_it.json was compared with a plan already*"])


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("test_it", "test_it.json"),
        ("TestAll::test_it", "TestAll.test_it.json"),
        ("test_it[a-1.5]", "test_it-a-1.5.json"),
    ],
)
def test_files_are_called_as_their_tests(name: str, file: str) -> None:
    """So that a reader finds them."""
    node = Node(path=Path("tests/test_choice.py"), nodeid=f"tests/test_choice.py::{name}")
    assert file_beside(node, "kept") == Path("tests/kept/test_choice") / file


def test_names_that_files_cannot_have_stay_apart() -> None:
    """``a/b`` and ``a b`` are two tests, and so are two long ones that begin alike."""
    names = [f"test_it[{one}]" for one in ("a/b", "a b", "a?b", "x" * 300 + "1", "x" * 300 + "2")]
    nodes = [Node(path=Path("test_it.py"), nodeid=f"test_it.py::{name}") for name in names]
    files = [file_beside(node, "kept").name for node in nodes]
    assert len(set(files)) == len(files)
    assert max(map(len, files)) < 150
    assert all(char.isalnum() or char in "._-" for name in files for char in name)
