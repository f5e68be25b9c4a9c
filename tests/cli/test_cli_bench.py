"""``ttc bench``, on mocks: what it prints, what it refuses, what it writes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tt_compute.config import Config
from tt_compute.types import Probe

Ttc = Callable[..., Any]
Write = Callable[..., Path]

QUICK = ("bench", "--waves", "1,4", "--rounds", "1")
STEADY = {"answers": ["The answer is 42."], "latency": {"tokens_per_s": 2000}}
"""Enough time for a rate, and no more."""


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# --- what it prints ------------------------------------------------------------------------------


def test_people_see_a_line_for_each_width(ttc: Ttc, scripted: Write) -> None:
    scripted(**STEADY)
    done = ttc(*QUICK)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "scripted"
    assert lines[1].split() == ["samples", "tokens/s", "low-high", "TTFT", "TPOT", "length"]
    assert [line.split()[0] for line in lines[2:4]] == ["1", "4"]
    assert "energy      unknown; the model does not run on this machine" in lines
    assert max(map(len, lines)) <= 80


def test_programs_get_one_document_of_all_deployments(ttc: Ttc, home: Path) -> None:
    """Without ``--deployment``, those of the configuration, in its order."""
    second = {"id": "second", "backend": "mock", "model": "mock", "hardware": "mock"}
    (home / "ttc.yaml").write_text(json.dumps({"deployments": [second, "mock"]}), encoding="utf-8")
    document = ttc(*QUICK, "--json").document
    assert [report["deployment"] for report in document["deployments"]] == ["second", "mock"]
    assert [wave["width"] for wave in document["deployments"][0]["waves"]] == [1, 4]
    only = ttc(*QUICK, "--json", "--deployment", "mock").document
    assert [report["deployment"] for report in only["deployments"]] == ["mock"]


def test_what_was_measured_before_a_failure_is_printed(ttc: Ttc, scripted: Write) -> None:
    """The fourth sample of the second width fails."""
    scripted(faults=[{"kind": "oom", "samples": [3]}])
    done = ttc(*QUICK, "--json", "--save", "kept")
    assert done.code == 4
    assert done.document["error"]["type"] == "OutOfMemory"
    (report,) = done.document["deployments"]
    assert [wave["width"] for wave in report["waves"]] == [1]
    assert report["late_first_token_s"] is None
    told = ttc(*QUICK)
    assert told.code == 4
    assert told.out.splitlines()[2].split()[0] == "1"
    assert "error: " in told.err


def test_what_was_measured_before_a_refusal_is_printed(ttc: Ttc, home: Path) -> None:
    """The shortest prompt of the second deployment turns out longer than it was asked to be."""
    small = {"id": "small", "backend": "mock", "model": "mock", "hardware": "mock"}
    limited = {**small, "limits": {"max_context_tokens": 27}}
    (home / "ttc.yaml").write_text(json.dumps({"deployments": ["mock", limited]}), encoding="utf-8")
    done = ttc(*QUICK, "--prompt-tokens", "16", "--new-tokens", "10", "--json")
    assert done.code == 2
    assert done.document["error"]["type"] == "ContextLengthError"
    assert [len(report["waves"]) for report in done.document["deployments"]] == [2, 0]


# --- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waves", "reason"),
    [
        ("a", "no list of numbers"),
        ("", "no list of numbers"),
        ("1,,4", "no list of numbers"),
        ("1.5", "no list of numbers"),
        ("0,1", "from 1 to 256"),
        ("-1", "from 1 to 256"),
        ("257", "from 1 to 256"),
        ("4,1", "must rise"),
        ("1,4,4", "must rise"),
    ],
)
def test_widths_that_make_no_sense_are_refused(ttc: Ttc, waves: str, reason: str) -> None:
    done = ttc("bench", f"--waves={waves}")
    assert (done.code, done.out) == (2, "")
    assert reason in done.err


@pytest.mark.parametrize("option", ["--rounds=0", "--new-tokens=1", "--prompt-tokens=3"])
def test_numbers_out_of_range_are_refused(ttc: Ttc, option: str) -> None:
    assert ttc("bench", option).code == 2


def test_an_unknown_deployment_is_refused(ttc: Ttc) -> None:
    done = ttc("bench", "--deployment", "moc")
    assert (done.code, done.out) == (2, "")
    assert "mock" in done.err


def test_what_exceeds_the_context_is_refused_before_anything_runs(ttc: Ttc, home: Path) -> None:
    deployment = {"id": "small", "backend": "mock", "model": "mock", "hardware": "mock"}
    limited = {**deployment, "limits": {"max_context_tokens": 300}}
    (home / "ttc.yaml").write_text(json.dumps({"deployments": [limited]}), encoding="utf-8")
    done = ttc("bench")
    assert (done.code, done.out) == (2, "")
    assert "328 tokens exceed the context of small, 300 tokens" in done.err
    assert ttc(*QUICK, "--new-tokens", "50").code == 0


def test_a_backend_that_is_missing_is_named_before_anything_runs(
    ttc: Ttc, scripted: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_registry: object, _name: str) -> Probe:
        return Probe(available=False, reason="no such library", install="pip install 'x[y]'")

    scripted()
    monkeypatch.setattr("tt_compute.registry.Registry.probe", missing)
    done = ttc(*QUICK, "--json")
    assert (done.code, done.out) == (2, "")
    assert "no such library" in done.err
    assert "pip install 'x[y]'" in done.err


def test_options_that_the_backend_does_not_know_are_refused_before_anything_runs(
    ttc: Ttc, home: Path
) -> None:
    wrong = {"id": "wrong", "backend": "mock", "model": "mock", "hardware": "mock"}
    entries = ["mock", {**wrong, "options": {"no_such_option": 1}}]
    (home / "ttc.yaml").write_text(json.dumps({"deployments": entries}), encoding="utf-8")
    done = ttc(*QUICK, "--json")
    assert (done.code, done.out) == (2, "")
    assert "ttc.yaml:1" in done.err


def test_money_is_spent_only_when_told_to(ttc: Ttc) -> None:
    """The error says how much it would be."""
    refused = ttc(*QUICK, "--deployment", "mock/strong", "--json")
    assert (refused.code, refused.out) == (2, "")
    assert "would draw 12 samples, up to 3776 tokens of input and 788 of output" in refused.err
    assert "0.0035 USD" in refused.err
    assert "--yes" in refused.err


def test_money_is_spent_when_told_to(ttc: Ttc, home: Path) -> None:
    elsewhere = {"id": "far", "device": "mock", "local": False}
    deployment = {"id": "far", "backend": "mock", "model": "mock", "hardware": elsewhere}
    (home / "ttc.yaml").write_text(json.dumps({"deployments": [deployment]}), encoding="utf-8")
    refused = ttc(*QUICK)
    assert refused.code == 2
    assert "no price by the token is known" in refused.err
    assert ttc(*QUICK, "--yes").code == 0


def test_a_plot_without_its_library_is_refused_before_anything_runs(
    ttc: Ttc, scripted: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> object:
        return None if name == "matplotlib" else find_spec(name, package)

    scripted()
    monkeypatch.setattr("tt_compute.plotting.find_spec", without)
    done = ttc(*QUICK, "--plot", "bench.png")
    assert (done.code, done.out) == (2, "")
    assert 'pip install "tt-compute[plot]"' in done.err
    assert files(home) == {"ttc.yaml"}


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    ttc: Ttc, scripted: Write, home: Path
) -> None:
    pytest.importorskip("matplotlib")
    scripted()
    done = ttc(*QUICK, "--plot", "no-such-folder/bench.png")
    assert (done.code, done.out) == (2, "")
    assert "no-such-folder" in done.err
    (home / "a-file").write_text("")
    done = ttc(*QUICK, "--save", "a-file")
    assert (done.code, done.out) == (2, "")
    assert "a-file cannot be made" in done.err


# --- what it writes ------------------------------------------------------------------------------


def test_nothing_is_written_unless_asked(ttc: Ttc, scripted: Write, home: Path) -> None:
    scripted()
    before = files(home.parent)
    assert ttc(*QUICK).code == 0
    assert files(home.parent) == before


def test_save_keeps_it_beside_the_configuration(ttc: Ttc, home: Path) -> None:
    (home / "own").mkdir()
    (home / "own" / "ttc.yaml").write_text("deployments: [mock]\n", encoding="utf-8")
    done = ttc(*QUICK, "--config", "own/ttc.yaml", "--save", "--json")
    assert done.code == 0
    kept = home / "own" / "bench"
    assert files(kept) == {"mock.json", "mock.yaml"}
    assert [str(Path("own/bench") / name) in done.err for name in sorted(files(kept))] == [True] * 2
    report = json.loads((kept / "mock.json").read_text(encoding="utf-8"))
    assert [report] == done.document["deployments"]


def test_save_without_a_configuration_keeps_it_where_the_users_own_would_be(
    ttc: Ttc, home: Path
) -> None:
    assert ttc(*QUICK, "--deployment", "mock", "--save").code == 0
    kept = home.parent / "config" / "tt_compute" / "bench"
    assert files(kept) == {"mock.json", "mock.yaml"}


def test_what_was_saved_is_what_plans_rest_on(ttc: Ttc, scripted: Write, home: Path) -> None:
    """The profile of the mock says 10000 tokens/s; this one makes 2000."""
    (home / "ttc.yaml").write_text(
        json.dumps({"deployments": [{"id": "mock", "override": {"options": STEADY}}]}),
        encoding="utf-8",
    )
    assert ttc(*QUICK, "--save", "kept").code == 0
    (spec,) = Config.load(home / "kept" / "mock.yaml").deployments
    fact = spec.deployment.speed.decode_tokens_per_s
    assert (fact.value, fact.source, fact.status) == (2000, "ttc bench", "measured")
    assert ttc("plan", "6 * 7 = ?", "--config", "kept/mock.yaml").code == 0


def test_a_plot_is_drawn(ttc: Ttc, scripted: Write, home: Path) -> None:
    pytest.importorskip("matplotlib")
    scripted()
    done = ttc(*QUICK, "--plot", "bench.png")
    assert (done.code, done.err) == (0, "wrote bench.png\n")
    assert (home / "bench.png").read_bytes().startswith(b"\x89PNG")
