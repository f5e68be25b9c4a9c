"""``ttc simulate`` at the command line: its document, its picture, and a clear refusal of every bad value."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]

FLEET = ("--deployment", "mock/strong", "--requests", "200")


def test_equal_command_lines_print_equal_documents(ttc: Ttc) -> None:
    first, second, other = (
        ttc("simulate", *FLEET, "--rate", "5", "--seed", seed, "--json") for seed in "778"
    )
    assert first.code == 0, first.err
    assert first.out == second.out
    assert first.document["latency_s"] != other.document["latency_s"]


def test_the_fleet_is_the_configuration_s_unless_it_is_named(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_text("deployments: [mock, mock/strong]\n", encoding="utf-8")
    of_config = ttc("simulate", "--rate", "1", "--requests", "10", "--json").document
    named = ttc("simulate", *FLEET, "--rate", "1", "--json").document
    assert [entry["deployment"] for entry in of_config["fleet"]] == ["mock", "mock/strong"]
    assert [entry["deployment"] for entry in named["fleet"]] == ["mock/strong"]


def test_the_objective_is_the_configuration_s_unless_it_is_given(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_text(
        "deployments: [mock/strong]\nobjective: {max_samples: 1}\n", encoding="utf-8"
    )
    line = ("simulate", "--rate", "1", "--requests", "10", "--task", "math", "--json")
    assert ttc(*line).document["samples_mean"] == 1
    assert ttc(*line, "--max-samples", "8").document["samples_mean"] > 1


def test_copies_sustain_as_many_times_as_much(ttc: Ttc) -> None:
    one = ttc("simulate", *FLEET, "--rate", "1", "--json").document
    three = ttc("simulate", *FLEET, "--rate", "1", "--replicas", "mock/strong=3", "--json").document
    assert three["saturation"]["rate_per_s"] == pytest.approx(3 * one["saturation"]["rate_per_s"])
    assert three["fleet"][0]["replicas"] == 3


def test_a_verifier_is_taken_for_granted_where_the_strategy_needs_one(ttc: Ttc) -> None:
    done = ttc("simulate", *FLEET, "--rate", "1", "--strategy", "best_of_n", "--json")
    assert done.document["plans"][0]["strategy"] == "best_of_n"


def test_a_sweep_needs_no_rate(ttc: Ttc) -> None:
    """Besides its rows it reports on half of what the fleet sustains."""
    document = ttc("simulate", *FLEET, "--sweep", "--json").document
    most = document["saturation"]["rate_per_s"]
    assert document["workload"]["rate_per_s"] == pytest.approx(most / 2)
    assert document["sweep"][-1]["rate_per_s"] == pytest.approx(most)


def test_a_picture_is_drawn(ttc: Ttc, home: Path) -> None:
    picture = home / "sweep.png"
    done = ttc("simulate", *FLEET, "--plot", str(picture))
    assert done.code == 0, done.err
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_people_are_told_the_same(ttc: Ttc, home: Path) -> None:
    (home / "t.jsonl").write_text('{"at_s": 1}\n{"at_s": 1, "input_tokens": 9}\n', encoding="utf-8")
    done = ttc("simulate", "--deployment", "mock/strong", "--trace", "t.jsonl")
    assert done.code == 0, done.err
    for word in ("2 requests", "all at once", "mock/strong", "saturates at", "max_concurrency"):
        assert word in done.out


def test_what_cannot_be_served_is_null_with_the_reason(ttc: Ttc) -> None:
    """Nothing is invented for a deployment whose completion lengths nobody states."""
    done = ttc("simulate", "--deployment", "vllm/llama-3.1-8b-h100", "--rate", "1", "--json")
    assert done.code == 0
    document = done.document
    assert document["unserved"] == document["workload"]["requests"]
    assert document["latency_s"]["p50"] is None
    assert document["cost_usd"] is None
    assert "completion_tokens_mean" in " ".join(document["reasons"])
    assert "completion_tokens_mean" in done.err


def test_an_objective_that_nothing_meets_is_a_warning(ttc: Ttc) -> None:
    done = ttc("simulate", *FLEET, "--rate", "1", "--quality", "0.9999", "--json")
    assert done.document["plans"][0]["feasible"] is False
    assert "no plan meets the objective of 200 requests" in done.err


BAD = {
    "nothing arrives": ((), "--rate"),
    "rate 0": (("--rate", "0"), "rate must be"),
    "rate below 0": (("--rate", "-1"), "rate must be"),
    "rate nan": (("--rate", "nan"), "rate must be"),
    "rate inf": (("--rate", "inf"), "rate must be"),
    "rate text": (("--rate", "fast"), "fast"),
    "requests 0": (("--rate", "1", "--requests", "0"), "requests must be"),
    "requests many": (("--rate", "1", "--requests", "9" * 30), "requests must be"),
    "requests text": (("--rate", "1", "--requests", "many"), "many"),
    "trace absent": (("--trace", "no-such.jsonl"), "No such file"),
    "trace folder": (("--trace", "."), "directory"),
    "trace and rate": (("--trace", "t.jsonl", "--rate", "1"), "a trace has its own rate"),
    "trace and requests": (("--trace", "t.jsonl", "--requests", "1"), "its own requests"),
    "deployment": (("--rate", "1", "--deployment", "moc"), "mock"),
    "deployment twice": (
        ("--rate", "1", "--deployment", "mock", "--deployment", "mock"),
        "--replicas mock=2",
    ),
    "replicas alone": (("--rate", "1", "--replicas", "mock"), "ID=N"),
    "replicas of another": (("--rate", "1", "--replicas", "mock=2"), "the fleet"),
    "replicas 0": (("--rate", "1", "--replicas", "mock/strong=0"), "1 to 1000"),
    "replicas many": (("--rate", "1", "--replicas", f"mock/strong={'9' * 30}"), "1 to 1000"),
    "replicas text": (("--rate", "1", "--replicas", "mock/strong=two"), "1 to 1000"),
    "replicas twice": (
        ("--rate", "1", "--replicas", "mock/strong=1", "--replicas", "mock/strong=2"),
        "twice",
    ),
    "task": (("--rate", "1", "--task", "maths"), "math"),
    "input 0": (("--rate", "1", "--input-tokens", "0"), "input-tokens"),
    "output 0": (("--rate", "1", "--output-tokens", "0"), "output-tokens"),
    "quality": (("--rate", "1", "--quality", "1"), "quality"),
    "cost": (("--rate", "1", "--max-cost-usd", "-1"), "max_cost_usd"),
    "latency": (("--rate", "1", "--max-latency-s", "0"), "max_latency_s"),
    "energy": (("--rate", "1", "--max-energy-j", "nan"), "max_energy_j"),
    "samples": (("--rate", "1", "--max-samples", "0"), "max_samples"),
    "locality": (("--rate", "1", "--locality", "mars"), "local"),
    "prefer": (("--rate", "1", "--prefer", "beauty"), "quality"),
    "strategy": (("--rate", "1", "--strategy", "majorty"), "majority"),
    "stop": (("--rate", "1", "--stop", "betta"), "beta"),
    "stop threshold": (("--rate", "1", "--stop", "beta:2"), "between 0.5 and 1"),
    "seed": (("--rate", "1", "--seed", "x"), "x"),
    "seed below 0": (("--rate", "1", "--seed", "-1"), "seed"),
    "config": (("--rate", "1", "--config", "no-such.yaml"), "no-such.yaml"),
    "plot into no folder": (("--plot", "no/such/folder.png"), "there is no folder no/such"),
    "sweep without an end": (("--sweep", "--deployment", "mock"), "no highest rate"),
}


@pytest.mark.parametrize(("line", "word"), BAD.values(), ids=BAD)
def test_a_bad_value_is_refused(ttc: Ttc, line: tuple[str, ...], word: str) -> None:
    """With a line that says what to do, and no document."""
    named = () if word == "no highest rate" else ("--deployment", "mock/strong")
    done = ttc("simulate", *named, *line, "--json")
    assert done.code == 2
    assert done.out == ""
    assert word in done.err
    assert "fault in the program" not in done.err


BAD_LINES = {
    "not JSON": (b"at 5", "malformed"),
    "a number": (b"5", "object"),
    "no time": (b"{}", "at_s"),
    "time before 0": (b'{"at_s": -1}', "at_s"),
    "time nan": (b'{"at_s": NaN}', "malformed"),
    "time too late": (b'{"at_s": 1e300}', "at_s"),
    "time text": (b'{"at_s": "noon"}', "at_s"),
    "task": (b'{"at_s": 1, "task": "maths"}', "task"),
    "no tokens": (b'{"at_s": 1, "input_tokens": 0}', "input_tokens"),
    "half a token": (b'{"at_s": 1, "output_tokens": 1.5}', "output_tokens"),
    "misspelt": (b'{"at_s": 1, "imput_tokens": 5}', "imput_tokens"),
    "not UTF-8": (b'{"at_s": 1, "task": "\xff"}', "UTF-8"),
    "deep": (b'{"at_s": ' + b"[" * 50_000, "at_s"),
    "long": (b'{"at_s": 1' + b" " * 100_000 + b"}", "longer"),
}


@pytest.mark.parametrize(("text", "word"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_is_refused_with_its_place(ttc: Ttc, home: Path, text: bytes, word: str) -> None:
    (home / "t.jsonl").write_bytes(b'{"at_s": 2}\n\n' + text + b"\n")
    done = ttc("simulate", "--deployment", "mock/strong", "--trace", "t.jsonl", "--json")
    assert done.code == 2
    assert done.out == ""
    assert "t.jsonl:3: " in done.err
    assert word in done.err


def test_a_trace_without_requests_is_refused(ttc: Ttc, home: Path) -> None:
    (home / "t.jsonl").write_text("\n \n", encoding="utf-8")
    done = ttc("simulate", "--deployment", "mock/strong", "--trace", "t.jsonl")
    assert done.code == 2
    assert "there is no request in it" in done.err


def test_a_trace_at_once_cannot_be_swept(ttc: Ttc, home: Path) -> None:
    (home / "t.jsonl").write_text(json.dumps({"at_s": 2}), encoding="utf-8")
    done = ttc("simulate", "--deployment", "mock/strong", "--trace", "t.jsonl", "--sweep")
    assert done.code == 2
    assert "at once have no rate" in done.err
