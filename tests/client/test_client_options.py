"""What a caller may say, and what is refused rather than ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tt_compute.client import Client
from tt_compute.config import Config
from tt_compute.errors import (
    InvalidRequestError,
    TTComputeError,
    UnknownNameError,
    UnsupportedError,
)
from tt_compute.planning.types import Objective
from tt_compute.types import JsonSchemaFormat, SamplingParams

Connect = Callable[..., Client]


@pytest.fixture
def client(connect: Connect) -> Client:
    return connect()


@pytest.mark.parametrize(
    ("option", "name", "hint"),
    [
        ({"deployment": "scriptde"}, "scriptde", "scripted"),
        ({"strategy": "majorty"}, "majorty", "majority"),
        ({"stop": "betta"}, "betta", "beta"),
        ({"verifier": "exakt"}, "exakt", "exact=ANSWER"),
        ({"task": "maths"}, "maths", "math"),
    ],
)
def test_an_unknown_name_is_refused_with_a_way_out(
    client: Client, option: dict[str, Any], name: str, hint: str
) -> None:
    with pytest.raises(UnknownNameError, match=name) as caught:
        client.plan("6 * 7 = ?", **option)
    assert hint in str(caught.value.hint)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ({"max_latency_s": 3}, "objective=Objective(max_latency_s=...)"),
        ({"top_p": 0.9}, "sampling=SamplingParams(top_p=...)"),
        ({"strategie": "single"}, "strategy"),
        ({"zzz": 1}, "objective, system, task"),
    ],
)
def test_an_unknown_option_is_refused_with_its_place(
    client: Client, option: dict[str, Any], hint: str
) -> None:
    """Python would pass a misspelt keyword on to where nobody looks for it."""
    with pytest.raises(InvalidRequestError, match="no option") as caught:
        client.solve("6 * 7 = ?", **option)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "option",
    [
        {"objective": {"quality": 0.9}},
        {"sampling": {"seed": 1}},
        {"seed": "1"},
        {"max_tokens": 1.5},
        {"system": 5},
        {"strict": "yes"},
        {"response_format": {"type": "object"}},
    ],
)
def test_a_value_of_the_wrong_type_is_refused(client: Client, option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(InvalidRequestError, match=f"option '{name}' must be"):
        client.plan("6 * 7 = ?", **option)


def test_none_is_as_good_as_leaving_an_option_out(client: Client) -> None:
    names: dict[str, Any] = dict.fromkeys(
        ("objective", "system", "task", "deployment", "strategy", "stop", "verifier", "sampling")
    )
    more: dict[str, Any] = dict.fromkeys(
        ("seed", "temperature", "max_tokens", "response_format", "strict")
    )
    assert client.plan("6 * 7 = ?", **names, **more).chosen == client.plan("6 * 7 = ?").chosen


@pytest.mark.parametrize(
    "option",
    [
        {"temperature": -0.1},
        {"temperature": 5.1},
        {"temperature": float("nan")},
        {"max_tokens": 0},
        {"seed": 2**63},
        {"sampling": SamplingParams(top_p=0.0)},
        {"sampling": SamplingParams(top_k=0)},
        {"sampling": SamplingParams(logprobs=-1)},
        {"sampling": SamplingParams(stop=("",))},
    ],
)
def test_a_value_out_of_range_is_refused_before_the_plan(
    client: Client, option: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError):
        client.plan("6 * 7 = ?", **option)


@pytest.mark.parametrize(
    "option",
    [
        {"strategy": "single", "stop": "beta"},
        {"strategy": "best_of_n", "stop": "beta"},
        {"strategy": "majority", "stop": "threshold"},
        {"stop": "threshold"},
        {"strategy": "single", "verifier": "exact=42"},
        {"strategy": "majority", "verifier": "exact=42"},
        {"stop": "beta", "verifier": "exact=42"},
        {"strategy": "best_of_n"},
        {"seed": 1, "sampling": SamplingParams(seed=1)},
        {"temperature": 0.0, "sampling": SamplingParams(temperature=1.0)},
    ],
)
def test_options_of_which_one_would_be_ignored_are_refused(
    client: Client, option: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError):
        client.plan("6 * 7 = ?", **option)


def test_what_is_pinned_is_what_runs(client: Client) -> None:
    plan = client.plan("6 * 7 = ?", strategy="majority", stop="beta:0.99", deployment="scripted")
    assert {candidate.stop_rule for candidate in plan.candidates} == {"beta:0.99"}
    sampling = SamplingParams(top_p=0.5, stop=("\n",))
    chosen = client.plan("6 * 7 = ?", sampling=sampling, temperature=0.3, max_tokens=77).chosen
    assert chosen is not None
    assert chosen.sampling.top_p == 0.5
    assert chosen.sampling.stop == ("\n",)
    assert (chosen.sampling.temperature, chosen.sampling.max_tokens) == (0.3, 77)


def test_an_ability_that_is_missing_fails_at_plan_time(client: Client) -> None:
    schema = JsonSchemaFormat(schema={"type": "object"})
    with pytest.raises(UnsupportedError, match="JSON schemas"):
        client.plan("6 * 7 = ?", response_format=schema)


def test_a_schema_makes_the_task_json(connect: Connect) -> None:
    client = connect(answers=['{"n": 42}'], capabilities={"json_schema": True})
    result = client.solve("6 * 7 = ?", response_format=JsonSchemaFormat(schema={"type": "object"}))
    assert result.task == "json"
    assert result.answer is not None


def test_a_shipped_deployment_can_be_pinned_beside_the_configurations(client: Client) -> None:
    """One that the configuration does not name, by its id in the library."""
    plan = client.plan("6 * 7 = ?", deployment="mock/strong")
    assert {candidate.deployment for candidate in plan.candidates} == {"mock/strong"}


def test_the_configurations_objective_holds_where_none_is_given(connect: Connect) -> None:
    client = connect(top={"objective": {"max_samples": 3}})
    assert client.plan("6 * 7 = ?").objective == Objective(max_samples=3)
    own = Objective(max_samples=5)
    assert client.plan("6 * 7 = ?", objective=own).objective == own


def test_planning_runs_nothing(connect: Connect) -> None:
    """A deployment whose every sample fails can be planned on."""
    assert connect(faults=[{"kind": "oom"}]).plan("6 * 7 = ?").chosen is not None


@pytest.mark.parametrize("prompt", [b"bytes", 5, None, [5], {"role": "user"}, "half \ud800"])
def test_what_is_no_prompt_is_refused(client: Client, prompt: Any) -> None:
    with pytest.raises(InvalidRequestError):
        client.plan(prompt)


def test_a_key_in_the_environment_shows_nowhere(environ: dict[str, str]) -> None:
    """Neither in a plan or result, nor in an error, a repr or the settings."""
    key = "sk-verysecretkey1234567890"
    environ = {**environ, "MOCK_KEY": key}
    scripted: dict[str, Any] = {
        "id": "scripted",
        "backend": "mock",
        "model": "mock",
        "hardware": "mock",
        "auth": {"env": "MOCK_KEY"},
        "options": {"faults": [{"kind": "oom", "pattern": "poison"}]},
    }
    config = Config.from_mapping({"deployments": [scripted]}, environ=environ)
    with Client(config, environ=environ) as client:
        seen = [
            repr(config),
            repr(config.settings()),
            repr(client.plan("6 * 7 = ?")),
            repr(client.solve("6 * 7 = ?")),
            repr(vars(client)),
        ]
        with pytest.raises(TTComputeError) as caught:
            client.solve("poison 6 * 7 = ?")
        seen.append(repr(caught.value) + str(caught.value.hint) + repr(vars(caught.value)))
    assert not [text for text in seen if key in text]
