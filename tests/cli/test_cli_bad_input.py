"""One bad value for every option and argument: a line that says what to do, code 2, no document."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]

ASK = ("6 * 7 = ?", "--deployment", "mock")


def refused(done: Any, *words: str) -> None:
    assert done.code == 2
    assert done.out == ""
    for word in words:
        assert word in done.err
    assert "fault in the program" not in done.err


BAD_VALUES = [
    ("--task", "maths", "math"),
    ("--quality", "good", "good"),
    ("--quality", "0", "quality"),
    ("--quality", "1", "quality"),
    ("--quality", "nan", "quality"),
    ("--max-cost-usd", "-1", "max_cost_usd"),
    ("--max-cost-usd", "free", "free"),
    ("--max-latency-s", "0", "max_latency_s"),
    ("--max-latency-s", "inf", "max_latency_s"),
    ("--max-latency-s", "soon", "soon"),
    ("--max-energy-j", "nan", "max_energy_j"),
    ("--max-samples", "0", "max_samples"),
    ("--max-samples", "1.5", "1.5"),
    ("--max-samples", "9" * 30, "max_samples"),
    ("--locality", "mars", "local"),
    ("--prefer", "beauty", "quality"),
    ("--strategy", "majorty", "majority"),
    ("--strategy", "best_of_n", "verifier"),
    ("--stop", "betta", "beta"),
    ("--stop", "beta:2", "between 0.5 and 1"),
    ("--stop", "beta:x", "threshold"),
    ("--ahead", "1.5", "between 0 and 1"),
    ("--ahead", "-0.1", "between 0 and 1"),
    ("--ahead", "nan", "between 0 and 1"),
    ("--ahead", "far", "far"),
    ("--verifier", "exakt", "exact=ANSWER"),
    ("--verifier", "exact", "right answer"),
    ("--verifier", "no_such_module:f", "no_such_module"),
    ("--verifier", "os:no_such_function", "no_such_function"),
    ("--seed", "x", "x"),
    ("--seed", "9" * 30, "seed"),
    ("--temperature", "-1", "temperature"),
    ("--temperature", "nan", "temperature"),
    ("--temperature", "hot", "hot"),
    ("--max-tokens", "0", "max_tokens"),
    ("--max-tokens", "many", "many"),
    ("--deployment", "moc", "mock"),
    ("--system", "half \udcff", "surrogate"),
    ("--config", "no-such.yaml", "no-such.yaml"),
    ("--config", ".", "directory"),
]


@pytest.mark.parametrize("command", ["solve", "plan"])
@pytest.mark.parametrize(("option", "value", "word"), BAD_VALUES)
def test_a_bad_value_is_refused(ttc: Ttc, command: str, option: str, value: str, word: str) -> None:
    """By ``plan`` too: it would else recommend what cannot be run."""
    refused(ttc(command, *ASK, option, value, "--json"), word)


@pytest.mark.parametrize(
    "line",
    [
        ("--strategy", "single", "--stop", "beta"),
        ("--strategy", "majority", "--verifier", "exact=42"),
        ("--stop", "beta", "--verifier", "exact=42"),
        ("--ahead", "0.5", "--strategy", "single"),
        ("--ahead", "0.5", "--strategy", "cascade"),
        ("--ahead", "0.5", "--weight", "logprob"),
        ("--ahead", "0.5", "--verifier", "exact=42"),
        ("--ahead", "0.5", "--stop", "threshold:0.5"),
        ("--ahead", "0.5", "--temperature", "0"),
        ("--file", "prompt.txt"),
    ],
)
def test_contradictions_are_refused(ttc: Ttc, home: Path, line: tuple[str, ...]) -> None:
    (home / "prompt.txt").write_text("6 * 7 = ?", encoding="utf-8")
    refused(ttc("solve", *ASK, *line, "--json"))


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ((), "Usage"),
        (("solve",), "give one prompt"),
        (("solve", ""), "empty"),
        (("solve", " \n"), "empty"),
        (("solve", "one", "two"), "two"),
        (("solve", "bytes \udcff"), "surrogate"),
        (("solve", "--file", "no-such.txt"), "No such file"),
        (("solve", "--file", "."), "Is a directory"),
        (("solve", "--no-such-option", "x"), "--no-such-option"),
        (("solv", "x"), "solv"),
        (("profiles", "show", "no-such-profile"), "no-such-profile"),
        (("profiles", "show"), "ID"),
        (("models", "pull", "no-such-model"), "no-such-model"),
        (("models", "pull", "smollm2-135m-instruct", "--format", "zip"), "zip"),
        (("store", "purge", "--older-than-days", "-1"), "-1"),
        (("store", "purge", "--older-than-days", "nan", "--yes"), "nan"),
        (("init", "no-such-folder/ttc.yaml"), "No such file"),
        (("init", "."), "directory"),
        (("config", "show", "--config", "no-such.yaml"), "no-such.yaml"),
        (("backends", "extra"), "extra"),
        (("doctor", "--config", "no-such.yaml"), "no-such.yaml"),
    ],
)
def test_bad_usage_is_refused(ttc: Ttc, line: tuple[str, ...], word: str) -> None:
    refused(ttc(*line), word)


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"", "empty"), (b"caf\xe9", "not UTF-8"), (b"x" * (16 * 2**20 + 1), "larger than")],
    ids=["empty", "latin-1", "too large"],
)
def test_a_bad_standard_input_is_refused(ttc: Ttc, data: bytes, word: str) -> None:
    refused(ttc("solve", "-", "--deployment", "mock", stdin=data), word)


def test_a_bad_prompt_file_is_refused(ttc: Ttc, home: Path) -> None:
    (home / "latin.txt").write_bytes(b"caf\xe9")
    refused(ttc("solve", "--file", "latin.txt", "--deployment", "mock"), "not UTF-8")
    endless = Path("/dev/zero")
    if endless.exists():
        refused(ttc("solve", "--file", str(endless), "--deployment", "mock"), "larger than")


def test_a_prompt_beyond_the_context_is_refused(ttc: Ttc) -> None:
    """A large one, in a moment: nothing that reads it is quadratic."""
    refused(ttc("solve", "-", "--deployment", "mock", stdin=b"6 * 7 = ? " * 1_000_000), "context")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deployments: []\n", ("ttc.yaml:1", "empty")),
        ("deployments: [moc]\n", ("ttc.yaml:1", "mock")),
        ("deployments: [mock, mock]\n", ("ttc.yaml:1", "twice")),
        ("deploymens: [mock]\n", ("ttc.yaml:1", "deployments")),
        ("objective: {quality: good}\n", ("ttc.yaml:1", "objective.quality")),
        ("objective:\n  quality: 7\n", ("ttc.yaml:2", "objective.quality")),
        ("version: 2\n", ("ttc.yaml:1", "version")),
        ("a: [\n", ("ttc.yaml",)),
        ("[1, 2]\n", ("ttc.yaml",)),
        ("profiles: [./no-such-folder]\n", ("ttc.yaml:1", "no-such-folder")),
    ],
)
@pytest.mark.parametrize("command", [("config", "show"), ("solve", "6 * 7 = ?")])
def test_a_bad_configuration_is_refused_with_its_line(
    ttc: Ttc, home: Path, text: str, words: tuple[str, ...], command: tuple[str, ...]
) -> None:
    (home / "ttc.yaml").write_text(text, encoding="utf-8")
    refused(ttc(*command, "--json"), *words)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("{no_such_option: 1}", "options.no_such_option"),
        ("{latency: {ttft_s: soon}}", "options.latency.ttft_s"),
        ("{answers: [{text: x, probability: 2}]}", "options.answers"),
    ],
)
def test_a_bad_option_of_a_deployment_is_refused_with_its_line(
    ttc: Ttc, home: Path, options: str, path: str
) -> None:
    text = (
        "deployments:\n  - id: scripted\n    backend: mock\n    model: mock\n    hardware: mock\n"
        f"    options: {options}\n"
    )
    (home / "ttc.yaml").write_text(text, encoding="utf-8")
    refused(ttc("solve", "6 * 7 = ?", "--json"), "ttc.yaml:6", path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="rights do not bind this user")
def test_a_file_without_rights_is_refused(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_text("deployments: [mock]\n", encoding="utf-8")
    (home / "ttc.yaml").chmod(0)
    refused(ttc("config", "show"), "ttc.yaml")


def test_a_configuration_of_another_encoding_is_refused(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_bytes(b"# caf\xe9\n")
    refused(ttc("config", "show"), "ttc.yaml")


@pytest.mark.parametrize("home", ["~nobody-of-this-name", "x" * 300])
@pytest.mark.parametrize("variable", ["TTC_CONFIG", "TTC_DATA_DIR", "TTC_CACHE_DIR"])
def test_a_place_that_cannot_be_is_no_fault_of_ours(
    ttc: Ttc, monkeypatch: pytest.MonkeyPatch, variable: str, home: str
) -> None:
    """A home that is not there, a name that no system takes: they are told where something is to be found there."""
    monkeypatch.setenv(variable, f"{home}/x")
    done = ttc("config", "show")
    assert "fault in the program" not in done.err
    assert done.code == (2 if variable == "TTC_CONFIG" else 0)


@pytest.mark.parametrize("folder", ["~nobody-of-this-name", "x" * 300])
def test_folders_of_profiles_that_cannot_be_are_refused_with_their_line(
    ttc: Ttc, home: Path, folder: str
) -> None:
    (home / "ttc.yaml").write_text(f"profiles:\n  - {folder}\n", encoding="utf-8")
    refused(ttc("config", "show"), "ttc.yaml:2: profiles[0]: there is no folder")


def test_what_the_system_refuses_is_told_with_its_name(ttc: Ttc) -> None:
    done = ttc("profiles", "validate", "x" * 300)
    assert done.code == 4
    assert done.err == f"error: {'x' * 300}: File name too long\n"


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no such device")
def test_a_key_file_without_end_is_refused(ttc: Ttc, home: Path) -> None:
    deployment = "{id: a, backend: openai, model: mock, hardware: mock, auth: {file: /dev/zero}}"
    (home / "ttc.yaml").write_text(f"deployments: [{deployment}]\n", encoding="utf-8")
    refused(ttc("solve", "6 * 7 = ?"), "the key file /dev/zero is larger than 65536 bytes")
