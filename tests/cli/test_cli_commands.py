"""The other commands: each with ``--json`` and for people, and the help of all."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Ttc = Callable[..., Any]
Write = Callable[..., Path]

COMMANDS = [
    "solve",
    "plan",
    "backends",
    "profiles list",
    "profiles show",
    "profiles schema",
    "profiles validate",
    "models list",
    "models pull",
    "bench",
    "doctor",
    "init",
    "config show",
    "store info",
    "store purge",
    "estimates show",
    "estimates export",
    "estimates import",
    "estimates reset",
]
QUIET = [
    "backends",
    "profiles list",
    "profiles show mock",
    "profiles schema model",
    "profiles schema model --path",
    "profiles validate",
    "models list",
    "bench --deployment mock --waves 1,2 --rounds 1",
    "doctor",
    "config show",
    "store info",
    "store purge --yes",
    "estimates show",
    "estimates export learned.json",
    "estimates reset --yes",
]
"""Commands that change nothing outside the test's folder and need nothing."""


@pytest.fixture
def mock_config(home: Path) -> None:
    (home / "ttc.yaml").write_text("deployments: [mock]\n", encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_shows_an_example(ttc: Ttc, command: str) -> None:
    done = ttc(*command.split(), "--help")
    assert done.code == 0
    assert f"  Example:\n    ttc {command}" in done.out
    for option in ("--json", "--config", "--debug"):
        assert option in done.out


@pytest.mark.parametrize("command", ["", "profiles", "models", "config", "store", "estimates"])
def test_every_groups_help_lists_its_commands(ttc: Ttc, command: str) -> None:
    done = ttc(*command.split(), "--help")
    assert done.code == 0
    names = {one.split()[0] if not command else one.split()[-1] for one in COMMANDS}
    own = {one.split()[-1] for one in COMMANDS if one.startswith(f"{command} ")}
    for name in own or names:
        assert f"  {name} " in done.out


def test_the_list_of_commands_is_complete_and_nothing_in_it_is_cut(ttc: Ttc) -> None:
    from tt_compute.cli.commands import cli

    out = ttc("--help").out
    for name in cli.list_commands(None):  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - not used
        assert f"  {name} " in out
    assert "..." not in out.partition("Commands:")[2]


def test_version_is_the_distributions(ttc: Ttc) -> None:
    from importlib.metadata import version

    assert ttc("--version").out == f"ttc, version {version('tt-compute')}\n"


@pytest.mark.usefixtures("mock_config")
@pytest.mark.parametrize("command", QUIET)
def test_every_command_answers_in_both_forms(ttc: Ttc, command: str) -> None:
    told = ttc(*command.split())
    assert (told.code, told.err) == (0, "")
    assert told.out.strip()
    done = ttc(*command.split(), "--json")
    assert (done.code, done.err) == (0, "")
    assert done.document


@pytest.mark.usefixtures("mock_config")
def test_backends_tells_which_are_there(ttc: Ttc) -> None:
    rows = {row["name"]: row for row in ttc("backends", "--json").document["backends"]}
    assert {"mock", "openvino"} <= set(rows)
    keys = {"name", "distribution", "available", "reason", "install", "version"}
    assert all(set(row) == keys for row in rows.values())
    assert rows["mock"]["available"] is True


def test_a_backend_that_is_missing_has_its_reason_and_install_line(
    ttc: Ttc, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tt_compute.registry import Registry
    from tt_compute.types import Probe

    def missing(_registry: Registry, _name: str) -> Probe:
        return Probe(available=False, reason="no such library", install="pip install 'x[y]'")

    monkeypatch.setattr(Registry, "probe", missing)
    out = ttc("backends").out
    assert "no such library" in out
    assert "pip install 'x[y]'" in out


def test_profiles_list_names_what_scripts_rely_on(ttc: Ttc) -> None:
    rows = ttc("profiles", "list", "--json").document["profiles"]
    listed = {(row["kind"], row["id"]) for row in rows}
    assert {
        ("hardware", "mock"),
        ("model", "mock"),
        ("model", "smollm2-135m-instruct"),
        ("deployment", "mock"),
        ("deployment", "local/smollm2-135m-openvino"),
    } <= listed
    assert all(Path(row["file"]).is_file() for row in rows)


def test_profiles_show_resolves_a_deployment(ttc: Ttc) -> None:
    document = ttc("profiles", "show", "local/smollm2-135m-openvino", "--json").document
    assert document["model"]["id"] == "smollm2-135m-instruct"
    assert json.loads(ttc("profiles", "show", "local/smollm2-135m-openvino").out) == document


def test_profiles_validate_tells_every_fault_with_its_line(ttc: Ttc, home: Path) -> None:
    folder = home / "own" / "models"
    folder.mkdir(parents=True)
    (folder / "a.yaml").write_text("id: a\nlayers: many\nno_such_key: 1\n", encoding="utf-8")
    done = ttc("profiles", "validate", "own", "--json")
    assert done.code == 2
    messages = [error["message"] for error in done.document["errors"]]
    assert any("a.yaml:2: layers" in message for message in messages)
    assert any("no_such_key" in message for message in messages)
    told = ttc("profiles", "validate", "own")
    assert (told.code, told.err.count("error: ")) == (2, len(messages))
    assert told.out == f"1 file, {len(messages)} errors\n"
    missing = ttc("profiles", "validate", "no-such-folder")
    assert (missing.code, missing.out) == (2, "1 file, 1 error\n")
    assert "no-such-folder" in missing.err


def test_doctor_says_what_is_wrong_and_ends_with_4(ttc: Ttc, scripted: Write) -> None:
    scripted(no_such_option=1)
    done = ttc("doctor", "--json")
    assert (done.code, done.document["ok"]) == (4, False)
    (finding,) = [check for check in done.document["checks"] if check["ok"] is False]
    assert "no such option" in finding["detail"]


@pytest.mark.usefixtures("mock_config")
def test_doctor_does_not_claim_what_it_did_not_check(ttc: Ttc) -> None:
    done = ttc("doctor", "--json")
    assert (done.code, done.document["ok"]) == (0, True)
    assert [check["name"] for check in done.document["checks"] if check["ok"] is None] == ["speed"]


# --- the configuration ---------------------------------------------------------------------------


def test_init_then_show_then_plan(ttc: Ttc, home: Path) -> None:
    """The file that ``init`` writes loads as it is and says what the default says."""
    before = {row["name"]: row for row in ttc("config", "show", "--json").document["settings"]}
    done = ttc("init", "--json")
    assert (done.code, done.document) == (0, {"path": "ttc.yaml"})
    after = {row["name"]: row for row in ttc("config", "show", "--json").document["settings"]}
    assert after["config"]["value"] == "ttc.yaml"
    assert after["deployments"]["origin"].startswith("ttc.yaml:")
    names = [name for name in before if name.startswith(("objective", "store", "deploy"))]
    assert [before[name]["value"] for name in names] == [after[name]["value"] for name in names]
    assert ttc("plan", "6 * 7 = ?", "--deployment", "mock").code == 0
    assert (home / "ttc.yaml").read_text(encoding="utf-8").count("#") > 5


def test_init_replaces_nothing_unless_told(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_text("deployments: [mock]\n", encoding="utf-8")
    done = ttc("init")
    assert (done.code, done.out) == (2, "")
    assert "--force" in done.err
    assert (home / "ttc.yaml").read_text(encoding="utf-8") == "deployments: [mock]\n"
    assert ttc("init", "--force").code == 0
    assert "version: 1" in (home / "ttc.yaml").read_text(encoding="utf-8")


def test_the_configuration_is_found_in_the_documented_order(
    ttc: Ttc, scripted: Write, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--config``, then ``TTC_CONFIG``, then ``./ttc.yaml``, then the user's folder."""

    def in_force() -> str:
        rows = ttc("config", "show", "--json").document["settings"]
        value: str = next(row["value"] for row in rows if row["name"] == "config")
        return value

    users = home.parent / "config" / "tt_compute" / "ttc.yaml"
    users.parent.mkdir(parents=True)
    users.write_text("deployments: [mock]\n", encoding="utf-8")
    assert in_force() == str(users)
    scripted("ttc.yaml")
    assert in_force() == "ttc.yaml"
    monkeypatch.setenv("TTC_CONFIG", str(scripted("named.yaml")))
    assert in_force() == str(home / "named.yaml")
    scripted("given.yaml", answers=["The answer is 7."])
    line = ("--config", "given.yaml", "--json")
    assert ttc("solve", "3 + 4 = ?", *line).document["answer"] == "7"


def test_config_show_tells_where_each_value_comes_from(ttc: Ttc, scripted: Write) -> None:
    scripted(top={"objective": {"max_samples": 5}})
    rows = {row["name"]: row for row in ttc("config", "show", "--json").document["settings"]}
    assert rows["objective.max_samples"]["value"] == 5
    assert rows["objective.max_samples"]["origin"].startswith("ttc.yaml:")
    assert rows["objective.quality"] == {
        "name": "objective.quality",
        "value": None,
        "origin": "default",
    }
    assert rows["data_dir"]["origin"] == "environment TTC_DATA_DIR"


def test_no_output_ever_holds_a_key(ttc: Ttc, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is printed, logged or reported of a deployment that has one."""
    key = "sk-verysecretkey1234567890"
    monkeypatch.setenv("MOCK_KEY", key)
    config = {
        "deployments": [
            {
                "id": "scripted",
                "backend": "mock",
                "model": "mock",
                "hardware": "mock",
                "auth": {"env": "MOCK_KEY"},
                "options": {"faults": [{"kind": "oom", "pattern": "poison"}]},
            }
        ]
    }
    (home / "ttc.yaml").write_text(json.dumps(config), encoding="utf-8")
    lines = [*QUIET, "solve '6 * 7?' --json -vv", "solve 'poison 6 * 7?' -vv", "plan '6 * 7?'"]
    for line in lines:
        done = ttc(*shlex.split(line))
        assert key not in done.out + done.err


# --- the store -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("mock_config")
def test_the_store_counts_and_forgets(ttc: Ttc) -> None:
    for _ in range(2):
        ttc("solve", "6 * 7 = ?")
    info = ttc("store", "info", "--json").document
    assert (info["receipts"], info["mock_receipts"], info["texts"]) == (2, 2, 0)
    old = ttc("store", "purge", "--older-than-days", "1", "--yes", "--json")
    assert old.document == {"deleted": 0}
    assert ttc("store", "purge", "--yes").out == "deleted 2 runs\n"
    assert ttc("store", "info", "--json").document["receipts"] == 0


@pytest.mark.usefixtures("mock_config")
def test_purge_asks_first(ttc: Ttc) -> None:
    """The question goes to standard error; without an answer nothing is deleted."""
    ttc("solve", "6 * 7 = ?")
    refused = ttc("store", "purge", stdin=b"n\n")
    assert (refused.code, refused.out) == (130, "")
    assert "Delete all runs" in refused.err
    assert ttc("store", "info", "--json").document["receipts"] == 1
    assert ttc("store", "purge", "--json", stdin=b"y\n").document == {"deleted": 1}


def test_without_a_store_its_commands_say_so(ttc: Ttc, home: Path) -> None:
    (home / "ttc.yaml").write_text("store: {enabled: false}\n", encoding="utf-8")
    done = ttc("store", "info", "--json")
    assert (done.code, done.document["error"]["type"]) == (4, "StoreError")
    assert "enabled" in done.err


def test_a_time_that_no_calendar_has_is_told_in_seconds() -> None:
    """A clock that went wrong stamps a run with one."""
    from tt_compute.cli.house import told

    assert told("newest_at", 1e12) == "1e+12 s after 1970"
    assert told("newest_at", 0.0) == "1970-01-01 00:00:00+00:00"
