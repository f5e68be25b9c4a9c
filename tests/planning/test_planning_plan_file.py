"""A plan as a file: what is saved comes back, and what is damaged or impossible is refused."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tt_compute.errors import PlanError
from tt_compute.planning.plan_file import check_plan, load_plan, save_plan
from tt_compute.planning.types import Candidate, Objective, Plan, Prediction, Premise, Rejection
from tt_compute.types import SamplingParams

MOST = 64
NUMBERS = st.floats(0, 1e12, allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


SAMPLING = st.builds(
    SamplingParams,
    temperature=st.floats(0.01, 5),
    top_p=maybe(st.floats(0.01, 1)),
    top_k=maybe(st.integers(1, 100)),
    max_tokens=st.integers(1, 100_000),
    stop=st.lists(TEXTS.filter(bool), max_size=3).map(tuple),
    seed=maybe(st.integers(-(2**63) + 1, 2**63 - 1)),
    logprobs=st.integers(0, 20),
    presence_penalty=maybe(st.floats(-2, 2)),
    frequency_penalty=maybe(st.floats(-2, 2)),
)
PREDICTIONS = st.builds(
    Prediction,
    quality=maybe(st.floats(0, 1)),
    latency_p50_s=maybe(NUMBERS),
    latency_p95_s=maybe(NUMBERS),
    cost_usd=maybe(NUMBERS),
    energy_j=maybe(NUMBERS),
    samples_mean=maybe(NUMBERS),
)


_RULES: dict[str, list[str | None]] = {
    "single": [None],
    "majority": ["beta", "beta:0.99", "esc:4", "ppr:0.05,5"],
    "best_of_n": [None, "threshold:0.85", "pandora"],
}


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    strategy = draw(st.sampled_from(["single", "majority", "best_of_n"]))
    budget = 1 if strategy == "single" else draw(st.integers(1, MOST))
    violates = draw(st.lists(st.sampled_from(["quality", "cost_usd: unknown"]), max_size=2))
    return Candidate(
        deployment=draw(TEXTS),
        backend=draw(TEXTS),
        model=draw(TEXTS),
        strategy=strategy,
        stop_rule=draw(st.sampled_from(_RULES[strategy])),
        max_samples=budget,
        wave=draw(st.integers(1, budget)),
        feasible=not violates,
        violates=tuple(violates),
        predicted=draw(PREDICTIONS),
        sampling=draw(SAMPLING),
        ahead=draw(st.floats(0, 1)) if strategy == "majority" else 1.0,
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    weighed = tuple(draw(st.lists(candidates(), min_size=1, max_size=4)))
    premises = st.builds(
        Premise,
        deployment=TEXTS,
        hardware=TEXTS,
        weights=maybe(TEXTS),
        runtime=maybe(TEXTS),
        figures=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    )
    return Plan(
        chosen=draw(st.sampled_from(weighed)),
        candidates=weighed,
        rejected=tuple(draw(st.lists(st.builds(Rejection, deployment=TEXTS, reason=TEXTS)))),
        objective=draw(
            st.builds(
                Objective,
                quality=maybe(st.floats(0.01, 0.99)),
                max_cost_usd=maybe(NUMBERS),
                max_latency_s=maybe(st.floats(0.001, 1e6)),
                max_samples=st.just(MOST),
                locality=st.sampled_from(["any", "local"]),
                prefer=st.sampled_from(["quality", "cost", "latency", "energy"]),
            )
        ),
        task=draw(st.sampled_from(["math", "choice", "code", "json", "open"])),
        elapsed_us=draw(NUMBERS),
        setup_us=draw(NUMBERS),
        advice=draw(TEXTS),
        premises=tuple(draw(st.lists(premises, max_size=3))),
    )


@given(plans())
def test_what_is_saved_is_what_is_loaded(plan: Plan) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "plan.json"
        save_plan(plan, file)
        assert load_plan(file) == plan


VOTE = Candidate(
    deployment="d",
    backend="b",
    model="m",
    strategy="majority",
    stop_rule="beta",
    max_samples=8,
    wave=4,
    feasible=True,
    violates=(),
    predicted=Prediction(quality=0.9, cost_usd=0.001),
    sampling=SamplingParams(temperature=0.8, top_p=0.95, max_tokens=64),
)
PLAN = Plan(
    chosen=VOTE,
    candidates=(VOTE,),
    rejected=(),
    objective=Objective(),
    task="math",
    elapsed_us=1.0,
    setup_us=2.0,
)
Damage = Callable[[dict[str, Any]], object]


def with_candidate(**changes: Any) -> Plan:
    other = msgspec.structs.replace(VOTE, **changes)
    return msgspec.structs.replace(PLAN, chosen=other, candidates=(other,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    save_plan(PLAN, path)
    return path


def refusal(file: Path) -> PlanError:
    with pytest.raises(PlanError) as caught:
        load_plan(file)
    assert str(file) in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value


def test_a_file_that_stood_before_is_replaced_and_nothing_else_is_left(file: Path) -> None:
    save_plan(with_candidate(wave=2), file)
    chosen = load_plan(file).chosen
    assert chosen is not None
    assert chosen.wave == 2
    assert [path.name for path in file.parent.iterdir()] == ["plan.json"]


def test_a_failed_save_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PlanError, match="No space left"):
        save_plan(with_candidate(wave=2), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["plan.json"]


def test_a_link_is_followed(file: Path) -> None:
    link = file.with_name("link.json")
    link.symlink_to(file)
    save_plan(with_candidate(wave=2), link)
    assert link.is_symlink()
    assert load_plan(file) == load_plan(link)


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A pipe stands for /dev/null and its like, which a test must not put at risk."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(PlanError, match="not a regular file"):
        save_plan(PLAN, pipe)
    assert pipe.is_fifo()


def test_a_plan_of_a_version_that_is_in_use_loads(tmp_path: Path) -> None:
    """Keys that came later have defaults; what stands here was written by the first version."""
    candidate: dict[str, Any] = {
        "deployment": "mock",
        "backend": "mock",
        "model": "mock",
        "strategy": "single",
        "stop_rule": None,
        "max_samples": 1,
        "wave": 1,
        "feasible": True,
        "violates": [],
        "predicted": {"quality": 0.6},
        "sampling": {"temperature": 0.0, "max_tokens": 64},
    }
    document: dict[str, Any] = {
        "format": "tt_compute.plan",
        "version": 1,
        "task": "math",
        "objective": {},
        "chosen": candidate,
        "candidates": [candidate],
        "rejected": [],
        "advice": "",
        "elapsed_us": 1.0,
        "setup_us": 2,
        "premises": [],
    }
    file = tmp_path / "old.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    chosen = load_plan(file).chosen
    assert chosen is not None
    assert chosen.sampling == SamplingParams(temperature=0, max_tokens=64)


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b"9" * 5000,
    ],
)
def test_damaged_json_is_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert "damaged" in refusal(file).message


def test_a_key_that_stands_twice_is_refused(file: Path) -> None:
    """One of the two would else win unseen."""
    text = file.read_text(encoding="utf-8").replace('"wave": 4', '"wave": 4, "wave": 8', 1)
    file.write_text(text, encoding="utf-8")
    assert "'wave' stands twice" in refusal(file).message


@pytest.mark.parametrize("cut", [0.1, 0.5, 0.99])
def test_a_file_that_was_cut_is_refused(file: Path, cut: float) -> None:
    data = file.read_bytes().rstrip()
    file.write_bytes(data[: int(len(data) * cut)])
    assert "damaged" in refusal(file).message


@pytest.mark.parametrize("text", ["7", "[]", "{}", '{"format": "x", "version": 1}', "null"])
def test_other_json_is_refused(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
    assert "is no plan" in refusal(file).message


@pytest.mark.parametrize("version", [0, 2, "1", None, True, 1.5])
def test_another_version_is_refused(file: Path, version: object) -> None:
    document = {**json.loads(file.read_bytes()), "version": version}
    file.write_text(json.dumps(document), encoding="utf-8")
    assert "this tt_compute reads 1" in refusal(file).message


def without(*path: str) -> Damage:
    def damage(document: dict[str, Any]) -> None:
        node = document
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return damage


def set_in(*path: str | int, to: object) -> Damage:
    def damage(document: dict[str, Any]) -> None:
        node: Any = document
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = to

    return damage


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (set_in("colour", to=1), "colour: unknown key"),
        (set_in("chosen", "waves", to=1), "chosen.waves: unknown key"),
        (set_in("chosen", "sampling", "topp", to=1), "chosen.sampling.topp: unknown key"),
        (set_in("objective", "speed", to=1), "objective.speed: unknown key"),
        (set_in("chosen", to=None), "chosen: expected mapping"),
        (set_in("chosen", "wave", to="4"), "chosen.wave: expected integer"),
        (set_in("chosen", "feasible", to=1), "chosen.feasible: expected true or false"),
        (set_in("candidates", to={}), "candidates: expected list"),
        (set_in("candidates", 0, "predicted", "quality", to="good"), "candidates[0].predicted"),
        (set_in("task", to="maths"), "task: expected one of"),
        (set_in("objective", "quality", to=2), "objective: quality must lie"),
        (set_in("objective", "prefer", to="beauty"), "objective.prefer: expected one of"),
        (without("chosen"), "`chosen` is missing"),
        (without("chosen", "wave"), "`wave` is missing"),
        (without("chosen", "sampling"), "sampling.temperature"),
        (set_in("chosen", "wave", to=9), "chosen.wave: expected 1 to max_samples"),
    ],
)
def test_a_wrong_key_or_value_is_refused_with_its_place(
    file: Path, damage: Damage, words: str
) -> None:
    document = json.loads(file.read_bytes())
    damage(document)
    file.write_text(json.dumps(document), encoding="utf-8")
    assert words in refusal(file).message


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (msgspec.structs.replace(PLAN, chosen=None), "chosen: nothing was chosen"),
        (msgspec.structs.replace(PLAN, candidates=()), "chosen: is none of the candidates"),
        (msgspec.structs.replace(PLAN, elapsed_us=float("nan")), "elapsed_us"),
        (with_candidate(wave=9), "chosen.wave: expected 1 to max_samples, which is 8, got 9"),
        (with_candidate(wave=0), "chosen.wave"),
        (with_candidate(max_samples=0), "chosen.max_samples"),
        (with_candidate(max_samples=5000), "chosen.max_samples: expected 1 to 4096"),
        (with_candidate(max_samples=17), "17 is more than the objective's 16"),
        (with_candidate(strategy="best_of_n"), "holds no vote that 'beta' could end"),
        (with_candidate(stop_rule="threshold"), "holds no vote that 'threshold' could end"),
        (with_candidate(strategy="best_of_n", stop_rule="pandora:0"), "a price above 0"),
        (with_candidate(strategy="single", stop_rule=None), "draws 1 sample, not 8"),
        (with_candidate(stop_rule=None), "chosen.stop_rule: a vote needs one"),
        (with_candidate(stop_rule="betta"), "chosen.stop_rule: there is no stop rule 'betta'"),
        (with_candidate(stop_rule="beta:2"), "between 0.5 and 1"),
        (with_candidate(feasible=False), "does not go with `violates`"),
        (with_candidate(violates=("quality",)), "does not go with `violates`"),
        (with_candidate(predicted=Prediction(quality=1.1)), "predicted.quality"),
        (with_candidate(predicted=Prediction(cost_usd=-1)), "predicted.cost_usd"),
        (with_candidate(predicted=Prediction(energy_j=float("inf"))), "predicted.energy_j"),
        (with_candidate(sampling=SamplingParams(temperature=1)), "sampling.max_tokens"),
        (with_candidate(sampling=SamplingParams(max_tokens=9)), "sampling.temperature"),
        (with_candidate(sampling=SamplingParams(temperature=9, max_tokens=9)), "temperature must"),
        (with_candidate(sampling=SamplingParams(temperature=0, max_tokens=9)), "nothing to vote"),
    ],
)
def test_what_no_plan_says_is_neither_saved_nor_run(tmp_path: Path, plan: Plan, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        check_plan(plan)
    assert words in caught.value.message
    with pytest.raises(PlanError):
        save_plan(plan, tmp_path / "plan.json")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.json").message
    assert "directory" in refusal(tmp_path).message
    with pytest.raises(PlanError, match="cannot be written"):
        save_plan(PLAN, tmp_path / "none" / "plan.json")
