"""What a client keeps of its runs, what it learns from feedback, and that it does without a store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import StoreError, UnknownNameError
from tt_compute.planning.types import Plan
from tt_compute.registry import GROUP
from tt_compute.setup import RUNS_BETWEEN_ESTIMATES, STORE_FILE
from tt_compute.types import Reliability

Connect = Callable[..., Client]

BORROWED: dict[str, Any] = {
    "model": {
        "id": "a-real-model",
        "abilities": {
            "math": {
                "success_rate": 0.6,
                "concentration": 4,
                "wrong_agreement": 0.5,
                "abstain_rate": 0.1,
                "completion_tokens_mean": 5,
                "completion_tokens_p95": 5,
            }
        },
    },
    "hardware": {"id": "a-real-machine", "device": "cpu", "local": True},
}
"""A mock under a real model's name."""
REAL: dict[str, Any] = {**BORROWED, "backend": "real"}


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend whose samples count as a real model's; behind it, the mock's script."""
    scripted = EntryPoint("real", "tt_compute_backends.mock:MockBackend", GROUP)

    def registered(*, group: str) -> list[EntryPoint]:
        return [*entry_points(group=group), scripted]

    monkeypatch.setattr("tt_compute.registry.entry_points", registered)


def quality(plan: Plan) -> float:
    """Of one sample."""
    (single,) = [one for one in plan.candidates if one.strategy == "single"]
    assert single.predicted.quality is not None
    return single.predicted.quality


def rows(environ: dict[str, str], table: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(Path(environ["TTC_DATA_DIR"]) / STORE_FILE) as connection:
        found: list[tuple[Any, ...]] = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return found


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("correct", [True, False])
def test_feedback_moves_the_next_plan(connect: Connect, correct: bool) -> None:
    client = connect(deployment=REAL)
    before = quality(client.plan("6 * 7 = ?"))
    for _ in range(5):
        result = client.solve("6 * 7 = ?", strategy="single")
        client.feedback(result.id, correct=correct)
    after = quality(client.plan("6 * 7 = ?"))
    assert after > before if correct else after < before


@pytest.mark.usefixtures("real")
def test_confidence_learns_what_log_probabilities_are_worth(connect: Connect) -> None:
    """Of a model that is right where it is sure of its words, answers differ in confidence by how sure it was."""
    client = connect(answers=["The answer is 42."], deployment=REAL)

    def solve(seed: int) -> tuple[str, float, float]:
        result = client.solve("6 * 7 = ?", strategy="single", temperature=0.8, seed=seed)
        (sample,) = result.samples
        assert sample.mean_logprob is not None
        assert result.confidence is not None
        return result.id, sample.mean_logprob, result.confidence

    taught = [solve(seed) for seed in range(30)]
    assert len({confidence for _, _, confidence in taught}) == 1
    middle = sorted(logprob for _, logprob, _ in taught)[15]
    for name, logprob, _ in taught:
        client.feedback(name, correct=logprob > middle)
    seen = sorted((logprob, confidence) for _, logprob, confidence in map(solve, range(30)))
    assert seen[0][1] < 0.35
    assert seen[-1][1] > 0.65
    assert [confidence for _, confidence in seen] == sorted(confidence for _, confidence in seen)
    (ability,) = client.estimates().abilities
    assert ability.logprobs.answers == 30
    assert (ability.logprobs.slope or 0) > 0
    assert ability.greedy_logprobs.answers == 0


@pytest.mark.usefixtures("real")
def test_what_was_learned_outlives_the_client(connect: Connect) -> None:
    first = connect(deployment=REAL)
    before = quality(first.plan("6 * 7 = ?"))
    first.feedback(first.solve("6 * 7 = ?", strategy="single").id, correct=True)
    first.close()
    assert quality(connect(deployment=REAL).plan("6 * 7 = ?")) > before


@pytest.mark.parametrize("deployment", [{}, BORROWED])
def test_mock_runs_teach_nothing(connect: Connect, deployment: dict[str, Any]) -> None:
    """A scripted answer says nothing about any model, also under a real one's name."""
    client = connect(deployment=deployment)
    before = client.plan("6 * 7 = ?").candidates
    for _ in range(5):
        client.feedback(client.solve("6 * 7 = ?").id, correct=False)
    assert client.plan("6 * 7 = ?").candidates == before


def test_feedback_on_an_unknown_result_is_an_error(connect: Connect) -> None:
    with pytest.raises(StoreError, match="no result 'nonesuch'"):
        connect().feedback("nonesuch", correct=True)


def test_a_run_is_kept_without_its_texts(connect: Connect, environ: dict[str, str]) -> None:
    connect(answers=["A very secret answer 42"]).solve("A very secret question 6 * 7?")
    kept = repr([rows(environ, table) for table in ("receipts", "samples", "texts")])
    assert len(rows(environ, "receipts")) == 1
    assert "secret" not in kept


def test_texts_are_kept_when_asked_for(connect: Connect, environ: dict[str, str]) -> None:
    connect(top={"store": {"keep_text": True}}).solve("What are 6 * 7?")
    assert "What are 6 * 7?" in repr(rows(environ, "texts"))


def test_without_a_store_runs_go_on_and_leave_nothing(
    connect: Connect, environ: dict[str, str]
) -> None:
    """The user wanted none: that is no reason for a warning."""
    client = connect(top={"store": {"enabled": False}})
    result = client.solve("6 * 7 = ?")
    assert result.answer is not None
    assert result.warnings == ()
    assert not Path(environ["TTC_DATA_DIR"]).exists()
    with pytest.raises(StoreError, match="there is no store"):
        client.feedback(result.id, correct=True)


def test_a_store_that_cannot_be_used_is_a_warning_of_the_first_result(
    connect: Connect, environ: dict[str, str]
) -> None:
    """Told once; the answers are worth more than their receipts."""
    Path(environ["TTC_DATA_DIR"]).write_text("a file where the folder should be", encoding="utf-8")
    client = connect()
    first, second = client.solve("6 * 7 = ?"), client.solve("6 * 7 = ?")
    assert [warning for warning in first.warnings if warning.startswith("no store")]
    assert first.answer is not None
    assert second.answer is not None
    assert not [warning for warning in second.warnings if "store" in warning]


def test_a_damaged_store_is_set_aside_with_a_warning(
    connect: Connect, environ: dict[str, str]
) -> None:
    folder = Path(environ["TTC_DATA_DIR"])
    folder.mkdir()
    (folder / STORE_FILE).write_bytes(b"this is no database" * 1000)
    result = connect().solve("6 * 7 = ?")
    assert any(STORE_FILE in warning for warning in result.warnings)
    assert len(rows(environ, "receipts")) == 1


def test_two_clients_share_one_store(connect: Connect, environ: dict[str, str]) -> None:
    first, second = connect(), connect()
    result = first.solve("6 * 7 = ?")
    second.feedback(result.id, correct=True)
    second.solve("6 * 7 = ?")
    assert len(rows(environ, "receipts")) == 2


def test_the_settings_of_the_environment_are_the_clients_own(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """``environ`` replaces the process's environment: nothing is written where that would put it."""
    (tmp_path / "ttc.yaml").write_text("deployments: [mock]", encoding="utf-8")
    with Client(tmp_path / "ttc.yaml", environ=environ) as client:
        client.solve("6 * 7 = ?")
        assert client.config.data_dir == Path(environ["TTC_DATA_DIR"])
    assert (Path(environ["TTC_DATA_DIR"]) / STORE_FILE).is_file()
    assert Config.load(tmp_path / "ttc.yaml", environ=environ).deployments == client_deployments(
        tmp_path, environ
    )


def client_deployments(folder: Path, environ: dict[str, str]) -> object:
    with Client(str(folder / "ttc.yaml"), environ=environ) as client:
        return client.config.deployments


class AcceptsAll:
    """A verifier of the user's own."""

    def __init__(self, reliability: Reliability) -> None:
        self.reliability = reliability

    def __call__(self, _prompt: str, _text: str) -> bool:
        return True


@pytest.mark.usefixtures("real")
def test_only_an_exact_verifier_teaches(connect: Connect) -> None:
    """Verdicts move the ability of varied samples; those of a verifier that may err do not."""
    client = connect(deployment=REAL)

    def plan() -> Plan:
        return client.plan("6 * 7 = ?", strategy="single", temperature=0.8)

    def run(verifier: AcceptsAll) -> None:
        for _ in range(RUNS_BETWEEN_ESTIMATES):
            client.solve("6 * 7 = ?", verifier=verifier)

    before = quality(plan())
    run(AcceptsAll(Reliability(false_positive_rate=0.5)))
    assert quality(plan()) == before
    run(AcceptsAll(Reliability()))
    assert quality(plan()) > before


# --- what was learned, laid open -------------------------------------------------------------------


@pytest.mark.usefixtures("real")
def test_estimates_are_those_of_the_plans(connect: Connect) -> None:
    client = connect(deployment=REAL)
    before = quality(client.plan("6 * 7 = ?"))
    for _ in range(5):
        client.feedback(client.solve("6 * 7 = ?", strategy="single").id, correct=True)
    (ability,) = client.estimates().abilities
    assert (ability.model, ability.task) == ("a-real-model", "math")
    assert ability.greedy_questions == 5
    assert ability.greedy_success_rate.learned == pytest.approx(
        quality(client.plan("6 * 7 = ?")), abs=1e-6
    )
    assert ability.success_rate.stated == pytest.approx(before)
    assert client.estimates(model="a-real-model").abilities == (ability,)


def test_estimates_of_mocks_are_shown_apart(connect: Connect) -> None:
    client = connect()
    client.feedback(client.solve("6 * 7 = ?").id, correct=True)
    assert client.estimates().abilities == ()
    assert len(client.estimates(mock=True, deployment="scripted").abilities) == 1


def test_estimates_need_a_store_and_known_names(connect: Connect) -> None:
    with pytest.raises(StoreError, match="no store"):
        connect(top={"store": {"enabled": False}}).estimates()
    client = connect()
    with pytest.raises(UnknownNameError, match="nonesuch"):
        client.estimates(model="nonesuch")
    with pytest.raises(UnknownNameError, match="nonesuch"):
        client.estimates(deployment="nonesuch")
