"""A cloud that was recorded once is replayed without it, and nothing that is secret is kept of it."""

from __future__ import annotations

from pathlib import Path

import tt_compute as tt
from tt_compute.dispatch_setup import LIMITS_FILE
from tt_compute.supervision import supervised
from tt_compute.testing.cassette import Recorder, Replayer
from tt_compute.testing.snapshot import plan_snapshot
from tt_compute.testing.trial import Trial
from ttc_servers import ChatServer
from ttc_servers.chat import KEY
from ttc_servers.script import Script
from ttc_servers.thread import in_thread

QUESTION = "What is 6 times 7?"


def solve(url: str, deck: Recorder | Replayer, key: str, data: Path) -> tt.Result:
    environ = {"TEST_KEY": key, "TTC_DATA_DIR": str(data)}
    config = tt.Config.from_mapping(
        {
            "deployments": [
                {
                    "id": "cloud",
                    "backend": "groq",
                    "model": "gpt-oss-20b",
                    "remote_model": "model-a",
                    "hardware": "groq-lpu-cloud",
                    "limits": {"requests_per_minute": 100},
                    "price": {"usd_per_mtok": {"input": 1, "output": 2}},
                    "endpoint": {"base_url": url},
                    "auth": {"env": "TEST_KEY"},
                }
            ],
        },
        environ=environ,
    )
    trial = Trial(name="cloud", live=isinstance(deck, Recorder), allowed=(), how="")
    trial.deck = deck
    with supervised(trial), tt.Client(config, environ=environ) as client:
        wanted = tt.Objective(max_samples=3)
        result = client.solve(QUESTION, strategy="majority", objective=wanted)
    deck.finish()
    return result


def test_a_cloud_is_recorded_and_replayed(tmp_path: Path) -> None:
    """The replay has the samples, tokens and price of the recording; it needs neither server nor key."""
    file = tmp_path / "cassette.json"
    script = Script(texts=("The answer is 42.", "The answer is 41.", "The answer is 42."))
    with in_thread(lambda: ChatServer("groq", script=script)) as server:
        recorded = solve(server.base_url, Recorder(file), KEY, tmp_path / "data")
        url = server.base_url
    replayed = solve(url, Replayer(file), "", tmp_path / "replay")
    assert recorded.answer == replayed.answer == "42"
    assert replayed.samples == recorded.samples
    assert replayed.receipt.cost_usd == recorded.receipt.cost_usd
    text = file.read_text(encoding="utf-8")
    for secret in (KEY, url, url.partition("://")[2], "rate_limits", "request_id", "header"):
        assert secret not in text, secret


def test_a_replay_leaves_the_users_store_and_limits_alone(tmp_path: Path) -> None:
    """A recording counts against the limits, which are real; it teaches nothing, or its replay would plan otherwise."""
    file, data = tmp_path / "cassette.json", tmp_path / "data"
    script = Script(texts=("The answer is 42.",) * 3)
    with in_thread(lambda: ChatServer("groq", script=script)) as server:
        recorded = solve(server.base_url, Recorder(file), KEY, data)
        url = server.base_url
    assert {path.name.partition("-")[0] for path in data.iterdir()} == {LIMITS_FILE}
    replayed = solve(url, Replayer(file), "", tmp_path / "replay")
    assert not (tmp_path / "replay").exists()
    assert plan_snapshot(replayed.plan) == plan_snapshot(recorded.plan)
