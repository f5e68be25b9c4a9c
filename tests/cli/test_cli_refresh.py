"""``ttc profiles refresh``: what it writes, shows, warns of and leaves alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tt_compute.refreshed import FILE_NAME, read_refreshed
from tt_compute_backends.wire import catalogue
from ttc_servers import KEY, ChatServer, Listed, closed_port
from ttc_servers.thread import in_thread

INPUT, OUTPUT = "price.usd_per_mtok.input", "price.usd_per_mtok.output"


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts servers; their key is in TEST_KEY."""
    monkeypatch.setenv("TEST_KEY", KEY)
    with ExitStack() as stack:

        def start(service: Any, **options: Any) -> ChatServer:
            return stack.enter_context(in_thread(lambda: ChatServer(service, **options)))

        yield start


def entry(name: str, url: str, server: str = "sambanova", **more: Any) -> dict[str, Any]:
    """A deployment of 1 and 2 USD per million tokens."""
    return {
        "id": name,
        "backend": "openai",
        "model": "gpt-oss-120b",
        "remote_model": "model-a",
        "hardware": "sambanova-rdu-cloud",
        "endpoint": {"base_url": url},
        "auth": {"env": "TEST_KEY"},
        "options": {"server": server},
        **more,
    }


def write(home: Path, *entries: Any, profiles: tuple[dict[str, Any], ...] = ()) -> Path:
    """A configuration of these entries and, as profiles of the user's own, of those."""
    folder = home / "my" / "deployments"
    folder.mkdir(parents=True, exist_ok=True)
    for number, profile in enumerate(profiles):
        text = json.dumps({"kind": "deployment", **profile})
        (folder / f"{number}.yaml").write_text(text, encoding="utf-8")
    listed = [*entries, *(profile["id"] for profile in profiles)]
    config = {"profiles": ["./my"], "deployments": listed}
    (home / "ttc.yaml").write_text(json.dumps(config), encoding="utf-8")
    return home / FILE_NAME


def priced(prompt: float, completion: float) -> dict[str, Any]:
    return {"price": {"usd_per_mtok": {"input": prompt, "output": completion}}}


def outcomes(done: Any) -> dict[str, Any]:
    return {one["deployment"]: one for one in done.document["deployments"]}


# --- what it does ------------------------------------------------------------------------------------


def test_it_writes_what_the_service_says_and_plans_reckon_with_it(
    ttc: Any, home: Path, services: Any
) -> None:
    server = services("sambanova")
    file = write(home, profiles=(entry("cloud", server.base_url, **priced(0.2, 0.59)),))
    done = ttc("profiles", "refresh", "--json")
    assert done.code == 0, done.err
    assert Path(done.document["file"]).resolve() == file.resolve()
    found = {one["fact"]: one for one in outcomes(done)["cloud"]["facts"]}
    assert found[INPUT] == {"fact": INPUT, "old": 0.2, "new": 0.22, "in_force": 0.22, "kept": None}
    assert (found[OUTPUT]["old"], found[OUTPUT]["new"]) == (0.59, 0.59)
    kept = read_refreshed(home).deployments["cloud"].price.usd_per_mtok.input
    assert kept.value == 0.22
    assert kept.source == f"{server.base_url}/models"
    assert kept.as_of == datetime.now(UTC).date().isoformat()
    assert kept.status == "vendor"
    shown = ttc("config", "show", "--json").document["settings"]
    name = f"deployments.cloud.{INPUT}"
    assert [(one["value"], one["origin"]) for one in shown if one["name"] == name] == [
        (0.22, f"{FILE_NAME}:7")
    ]


def test_profiles_are_never_edited(ttc: Any, home: Path, services: Any) -> None:
    server = services("sambanova")
    write(home, profiles=(entry("cloud", server.base_url),))
    before = {file: file.read_bytes() for file in (home / "my").rglob("*.yaml")}
    assert ttc("profiles", "refresh").code == 0
    assert {file: file.read_bytes() for file in (home / "my").rglob("*.yaml")} == before


def test_text_for_people_says_what_changed_and_what_did_not(
    ttc: Any, home: Path, services: Any
) -> None:
    server = services("sambanova")
    limits = {"max_output_tokens": 4096, "max_context_tokens": 1000}
    cloud = entry("cloud", server.base_url, **priced(0.2, 0.59), limits=limits)
    write(home, {"id": "cloud", "override": {"limits": {"max_context_tokens": 2000}}})
    (home / "my" / "deployments" / "0.yaml").write_text(json.dumps(cloud), encoding="utf-8")
    done = ttc("profiles", "refresh")
    assert done.code == 0, done.err
    rows = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in done.out.splitlines()
        if line[:2] == "  "
    }
    assert rows[INPUT] == "0.2 0.22"
    assert rows[OUTPUT] == "0.59 0.59 unchanged"
    own, less = "not taken: ttc.yaml states its own", "not taken: the profile asks for less"
    assert rows["limits.max_context_tokens"] == f"2000 131072 {own}"
    assert rows["limits.max_output_tokens"] == f"4096 131072 {less}"


def test_a_second_time_nothing_changes(ttc: Any, home: Path, services: Any) -> None:
    server = services("sambanova")
    file = write(home, profiles=(entry("cloud", server.base_url),))
    ttc("profiles", "refresh")
    before = file.read_bytes()
    again = outcomes(ttc("profiles", "refresh", "--json"))["cloud"]["facts"]
    assert all(one["old"] == one["new"] == one["in_force"] for one in again)
    assert file.read_bytes() == before


def test_a_dry_run_writes_nothing(ttc: Any, home: Path, services: Any) -> None:
    server = services("sambanova")
    file = write(home, profiles=(entry("cloud", server.base_url),))
    done = ttc("profiles", "refresh", "--dry-run", "--json")
    assert done.code == 0
    assert done.document["file"] is None
    assert outcomes(done)["cloud"]["facts"]
    assert not file.exists()


def test_a_price_that_leaps_is_a_warning_and_one_that_moves_is_none(
    ttc: Any, home: Path, services: Any
) -> None:
    """Beyond twice, below half, from and to nothing."""
    server = services("sambanova")
    prices = {"leaps": (0.05, 2.0), "moves": (0.12, 1.0), "was-free": (0, 0.59)}
    write(
        home,
        profiles=tuple(
            entry(name, server.base_url, **priced(*pair)) for name, pair in prices.items()
        ),
    )
    done = ttc("profiles", "refresh", "--json")
    assert done.code == 0
    found = {name: one["warnings"] for name, one in outcomes(done).items()}
    assert found == {
        "leaps": [f"{INPUT} went from 0.05 to 0.22", f"{OUTPUT} went from 2 to 0.59"],
        "moves": [],
        "was-free": [f"{INPUT} went from 0 to 0.22"],
    }
    text = ttc("profiles", "refresh", "--deployment", "leaps", "--dry-run")
    assert "went from" not in text.err


def test_a_model_that_will_be_withdrawn_is_a_warning(ttc: Any, home: Path, services: Any) -> None:
    server = services("cerebras", listed=Listed(fields={"deprecated": True}))
    write(home, entry("cloud", server.base_url, "cerebras"))
    done = ttc("profiles", "refresh")
    assert done.code == 0
    assert "warning: cloud: the service calls the model deprecated" in done.err


def test_a_service_that_tells_no_price_says_so(ttc: Any, home: Path, services: Any) -> None:
    server = services("groq")
    write(home, entry("cloud", server.base_url, "groq", **priced(1, 2)))
    done = ttc("profiles", "refresh")
    assert done.code == 0
    assert "no price is told" in done.out
    assert "131072" in done.out


def test_what_runs_here_is_skipped(ttc: Any, home: Path, scripted: Any) -> None:
    scripted()
    done = ttc("profiles", "refresh", "--json")
    assert done.code == 0
    assert outcomes(done)["scripted"]["reason"] == "it runs on this machine"
    assert done.document["file"] is None
    assert not (home / FILE_NAME).exists()


def test_a_backend_without_a_list_is_skipped(ttc: Any, home: Path) -> None:
    far = {"id": "far", "device": "mock", "local": False}
    write(home, {"id": "far", "backend": "mock", "model": "mock", "hardware": far})
    done = ttc("profiles", "refresh")
    assert done.code == 0
    assert "skipped, the backend 'mock' reads no list of models" in done.out


def test_only_the_named_ones_are_asked_each_once(ttc: Any, home: Path, services: Any) -> None:
    first, second = services("sambanova"), services("sambanova")
    write(home, entry("one", first.base_url), entry("two", second.base_url))
    done = ttc("profiles", "refresh", "--deployment", "two", "--deployment", "two", "--json")
    assert done.code == 0
    assert list(outcomes(done)) == ["two"]
    assert (len(first.requests), len(second.requests)) == (0, 1)


# --- what goes wrong ---------------------------------------------------------------------------------

WRONG: dict[str, tuple[Listed, str]] = {
    "refused": (Listed(status=401), "answered 401"),
    "no such path": (Listed(status=404), "answered 404"),
    "broken": (Listed(status=500), "answered 500"),
    "html": (Listed(body=b"<html>Sign in</html>"), "it is no list of models"),
    "empty": (Listed(body=b""), "it is no list of models"),
    "type": (Listed(fields={"pricing": {"prompt": [1]}}), "expected USD per token, got a list"),
    "negative": (Listed(fields={"pricing": {"prompt": "-1"}}), "a price of at least 0, got '-1'"),
    "unit": (Listed(fields={"pricing": {"prompt": "0.22"}}), "2.20e+5 USD per million tokens"),
    "context": (Listed(fields={"context_length": "long"}), "expected tokens, got 'long'"),
    "vanished": (Listed(body=b'{"data": []}'), "the service does not list 'model-a'"),
    "silent": (Listed(silent=True), "no list of models within 0.05 s"),
}


@pytest.mark.parametrize(("listed", "said"), WRONG.values(), ids=WRONG)
def test_what_goes_wrong_for_one_keeps_its_facts_and_the_others_go_on(
    ttc: Any, home: Path, services: Any, monkeypatch: pytest.MonkeyPatch, listed: Listed, said: str
) -> None:
    bad, good = services("sambanova"), services("sambanova")
    write(home, entry("bad", bad.base_url), entry("good", good.base_url))
    assert ttc("profiles", "refresh").code == 0
    before = read_refreshed(home).deployments["bad"]
    if listed.silent:
        monkeypatch.setattr(catalogue, "PATIENCE_S", 0.05)
        good.listed = Listed(status=404)
    else:
        good.listed = Listed(fields={"pricing": {"prompt": "0.0000003", "completion": "0.0000006"}})
    bad.listed = listed
    done = ttc("profiles", "refresh", "--json")
    assert done.code == 4
    found = outcomes(done)
    assert found["bad"]["state"] == "failed"
    assert said in found["bad"]["error"]["message"]
    after = read_refreshed(home).deployments
    assert after["bad"] == before
    if not listed.silent:
        assert found["good"]["state"] == "refreshed"
        assert after["good"].price.usd_per_mtok.input.value == 0.3
    assert KEY not in done.out + done.err
    text = ttc("profiles", "refresh")
    assert text.code == 4
    assert "bad: failed" in text.out
    assert f"error: bad: {found['bad']['error']['message']}" in text.err


def test_nobody_there_and_no_key_are_told(
    ttc: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(
        home,
        entry("nobody", f"http://127.0.0.1:{closed_port()}/v1"),
        entry("keyless", "http://127.0.0.1:1/v1", auth={"env": "NO_SUCH_KEY"}),
    )
    monkeypatch.setenv("TEST_KEY", KEY)
    done = ttc("profiles", "refresh", "--json")
    assert done.code == 4
    found = {name: one["error"]["type"] for name, one in outcomes(done).items()}
    assert found == {"nobody": "ConnectionFailed", "keyless": "AuthenticationError"}
    assert not file.exists()


def test_bad_usage_asks_nobody(ttc: Any, home: Path, services: Any) -> None:
    server = services("sambanova")
    file = write(home, entry("cloud", server.base_url))
    for arguments in (
        ("--deployment", "nobody"),
        ("--deployment", "cloud", "--deployment", "nobody"),
        ("--deployment", ""),
        ("--deployment",),
        ("--dry-run=yes",),
        ("cloud",),
        ("--config", "nowhere.yaml"),
    ):
        done = ttc("profiles", "refresh", *arguments)
        assert done.code == 2, arguments
        assert done.out == ""
    assert server.requests == []
    assert not file.exists()


def test_a_damaged_file_stops_everything_that_would_read_it(
    ttc: Any, home: Path, services: Any
) -> None:
    """With its place, before anything is asked; what is damaged stays as it is."""
    server = services("sambanova")
    file = write(home, entry("cloud", server.base_url))
    file.write_text("deployments: [1]\n", encoding="utf-8")
    for arguments in (("profiles", "refresh"), ("plan", "hi"), ("config", "show")):
        done = ttc(*arguments)
        assert done.code == 2
        assert f"{FILE_NAME}:1" in done.err
    assert file.read_text(encoding="utf-8") == "deployments: [1]\n"
    assert server.requests == []


def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    ttc: Any, home: Path, services: Any
) -> None:
    server = services("sambanova")
    write(home, entry("cloud", server.base_url))
    (home / "refreshed.tmp").mkdir()
    done = ttc("profiles", "refresh")
    assert done.code == 2
    assert f"{FILE_NAME} cannot be written" in done.err
