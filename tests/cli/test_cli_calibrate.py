"""``ttc calibrate`` and ``ttc report``: what they write, where, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tt_compute.calibrated import FILE_NAME, load_calibrated


def test_it_writes_beside_the_configuration_and_plans_read_it(
    ttc: Any, scripted: Any, home: Path
) -> None:
    """A mock of 100 tokens/s whose profile says nothing of its speed."""
    scripted(completion_tokens=20, latency={"ttft_s": 0.01, "tokens_per_s": 2000})
    done = ttc("calibrate", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert Path(document["file"]).resolve() == (home / FILE_NAME).resolve()
    (deployment,) = document["deployments"]
    decode = next(one for one in deployment["quantities"] if one["quantity"].startswith("decode"))
    assert abs(decode["error_after"]) < 0.01
    measured = load_calibrated(home)["scripted"].speed.decode_tokens_per_s
    assert measured.value is not None
    assert measured.status == "measured"
    assert ttc("plan", "What is 6 times 7?", "--json").code == 0


def test_a_dry_run_writes_nothing(ttc: Any, scripted: Any, home: Path) -> None:
    scripted()
    done = ttc("calibrate", "--dry-run")
    assert done.code == 0
    assert "predicted before" in done.out
    assert not (home / FILE_NAME).exists()


def test_what_others_measured_before_stays(ttc: Any, scripted: Any, home: Path) -> None:
    scripted()
    other = "version: 1\ndeployments:\n  other: {speed: {load_s: 3}}\n"
    (home / FILE_NAME).write_text(other, encoding="utf-8")
    assert ttc("calibrate").code == 0
    assert load_calibrated(home).keys() == {"other", "scripted"}


def test_a_service_is_not_asked_without_yes(
    ttc: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk_x")
    (home / "ttc.yaml").write_text("deployments: [groq/gpt-oss-20b]\n", encoding="utf-8")
    done = ttc("calibrate")
    assert done.code == 2
    assert "is not local" in done.err
    assert "USD" in done.err
    assert not (home / FILE_NAME).exists()


def test_an_unknown_deployment_is_refused(ttc: Any, home: Path) -> None:
    assert ttc("calibrate", "--deployment", "nobody").code == 2
    assert ttc("report", "--deployment", "nobody").code in {0, 2}


def test_a_damaged_file_stops_everything_that_would_read_it(
    ttc: Any, scripted: Any, home: Path
) -> None:
    """With its place, before anything runs."""
    scripted()
    (home / FILE_NAME).write_text("deployments: [1]\n", encoding="utf-8")
    for arguments in (("calibrate",), ("solve", "hi"), ("config", "show")):
        done = ttc(*arguments)
        assert done.code == 2
        assert f"{FILE_NAME}:1" in done.err


def test_a_report_of_nothing_says_so(ttc: Any, scripted: Any) -> None:
    scripted()
    done = ttc("report", "--mock")
    assert done.code == 0
    assert "no runs" in done.out


def test_a_report_holds_predictions_against_runs_and_draws_them(
    ttc: Any, scripted: Any, home: Path
) -> None:
    scripted()
    for seed in range(6):
        assert ttc("solve", "What is 6 times 7?", f"--seed={seed}").code == 0
    picture = home / "report.png"
    done = ttc("report", "--mock", "--plot", str(picture))
    assert done.code == 0, done.err
    assert "scripted, math: 6 runs, 0 judged" in done.out
    assert "samples" in done.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert ttc("report", "--plot", str(home / "no" / "x.png")).code == 2
    assert ttc("report", "--since-days", "-1").code == 2


@pytest.mark.parametrize("name", ["calibrate", "bench"])
def test_a_deployment_that_draws_no_samples_is_left_out_unless_it_is_named(
    ttc: Any, scripted: Any, name: str
) -> None:
    quick = [] if name == "calibrate" else ["--waves", "1", "--rounds", "1", "--new-tokens", "4"]
    scripted(capabilities={"generates": False})
    done = ttc(name, *quick)
    assert "scripted is left out" in done.err
    named = ttc(name, *quick, "--deployment", "scripted")
    assert named.code == 2
    assert "no samples" in named.err
