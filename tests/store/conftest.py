"""Results to be recorded, and a store on a wall clock that tests own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tt_compute.planning.types import Candidate, Objective, Plan, Prediction
from tt_compute.results import Receipt, Result, SampleRecord, Tally
from tt_compute.store.database import Database
from tt_compute.store.limits import Limits


class WallClock:
    """Unix seconds that only move when told."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


def candidate(deployment: str, model: str, wave: int) -> Candidate:
    return Candidate(
        deployment=deployment,
        backend="openvino",
        model=model,
        strategy="majority",
        stop_rule="beta",
        max_samples=16,
        wave=wave,
        feasible=True,
        violates=(),
        predicted=Prediction(quality=0.5, latency_p50_s=1.0, samples_mean=6.0),
    )


def build_result(
    result_id: str,
    answers: tuple[str | None, ...] = ("42",),
    *,
    answer: str | None = "42",
    deployments: tuple[str, ...] = ("local/tiny",),
    output_tokens: tuple[int, ...] | None = None,
    first_token_s: float | None = 0.5,
    latency_s: float = 2.5,
    lasted_s: tuple[float, ...] | None = None,
    wave: int = 4,
    text: str = "The answer is 42.",
    tally: Tally | None = None,
    weights: str | None = None,
    runtime: str | None = None,
) -> Result:
    """A run whose samples gave ``answers``; sample k ran at ``deployments[k]``, else at the first.

    It lasted ``lasted_s[k]`` seconds after its first token, by default as long as the run.
    """
    tokens = output_tokens or (10,) * len(answers)
    samples = tuple(
        SampleRecord(
            index=index,
            deployment=deployments[index] if index < len(deployments) else deployments[0],
            answer=found,
            text=text,
            finish_reason="stop",
            output_tokens=tokens[index],
        )
        for index, found in enumerate(answers)
    )
    whole_s = (latency_s - (first_token_s or 0.0),) * len(answers)
    candidates = tuple(candidate(name, f"model of {name}", wave) for name in deployments)
    receipt = Receipt(
        samples_drawn=len(answers),
        samples_finished=len(answers),
        samples_cancelled=0,
        samples_failed=0,
        stop_reason="settled",
        stop_posterior=0.97,
        input_tokens=20,
        cached_tokens=0,
        output_tokens=sum(tokens),
        cancelled_tokens=0,
        verifier_tokens=0,
        cost_usd=None,
        energy_j=3.5,
        latency_s=latency_s,
        first_token_s=first_token_s,
        seed=7,
        attempts=(),
        predicted=candidates[0].predicted,
    )
    plan = Plan(
        chosen=candidates[0],
        candidates=candidates,
        rejected=(),
        objective=Objective(),
        task="math",
        elapsed_us=100.0,
        setup_us=0.0,
    )
    return Result(
        id=result_id,
        answer=answer,
        text=text,
        confidence=None,
        task="math",
        plan=plan,
        samples=samples,
        receipt=receipt,
        tally=msgspec.structs.replace(
            tally or voted(answers, answer),
            decoding_s=None if first_token_s is None else sum(lasted_s or whole_s),
        ),
        weights=weights,
        runtime=runtime,
    )


def voted(answers: tuple[str | None, ...], answer: str | None) -> Tally:
    """A vote of these answers."""
    counts = Counter(found for found in answers if found is not None)
    ranked = sorted(counts, key=lambda found: (found != answer, -counts[found]))
    return Tally(
        votes=tuple(counts[found] for found in ranked), abstained=len(answers) - counts.total()
    )


@pytest.fixture
def make_result() -> Callable[..., Result]:
    return build_result


@pytest.fixture
def wall_clock() -> WallClock:
    return WallClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.sqlite3"


@pytest.fixture
def open_database(path: Path, wall_clock: WallClock) -> Callable[..., Database]:
    """Opens the store at ``path``; as many as wanted, like so many processes."""

    def build(
        *,
        keep_text: bool = False,
        max_age_s: float | None = None,
        max_bytes: int | None = None,
    ) -> Database:
        database = Database(
            path,
            keep_text=keep_text,
            limits=Limits(max_age_s=max_age_s, max_bytes=max_bytes),
            wall_clock=wall_clock,
        )
        database.open()
        return database

    return build
