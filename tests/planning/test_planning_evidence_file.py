"""Evidence as a file: what was written comes back, and what no store wrote is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tt_compute.errors import UsageError
from tt_compute.planning.estimates import LengthEvidence, SpeedEvidence
from tt_compute.planning.evidence_file import (
    DeploymentEvidence,
    Evidence,
    ModelEvidence,
    load_evidence,
    save_evidence,
)
from tt_compute.planning.observations import Observation

EVIDENCE = Evidence(
    origin="0123",
    exported_at=5.5,
    mock=False,
    models=(
        ModelEvidence(
            model="m",
            task="math",
            weights="w",
            observations=(Observation(right=2, wrong=(3, 1), refused=1, abstained=1, weight=0.5),),
            greedy=(Observation(right=1, prompt_tokens=9, right_logprob=-0.25),),
            lengths=(LengthEvidence(n=3.5, mean=10.0, p95=20.0, prompt_tokens=8),),
        ),
    ),
    deployments=(
        DeploymentEvidence(
            deployment="d",
            task="math",
            speeds=(SpeedEvidence(wave=4, tokens_per_s=100.0, n=4.0),),
        ),
    ),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "learned.json"
    save_evidence(EVIDENCE, path)
    return path


def changed(file: Path, path: tuple[str | int, ...], value: object) -> None:
    """Set a value deep in the file."""
    tree: Any = json.loads(file.read_bytes())
    inner = tree
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    file.write_text(json.dumps(tree), encoding="utf-8")


def test_what_was_saved_comes_back(file: Path) -> None:
    assert load_evidence(file) == EVIDENCE


def test_a_file_is_written_whole_or_not_at_all(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        save_evidence(EVIDENCE, tmp_path / "nowhere" / "x.json")
    with pytest.raises(UsageError, match="not a regular file"):
        save_evidence(EVIDENCE, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["learned.json"]


@pytest.mark.parametrize("end", [0, 1, 40, -3])
def test_a_part_of_a_file_is_refused(file: Path, end: int) -> None:
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(UsageError) as caught:
        load_evidence(file)
    assert "export again" in str(caught.value.hint)


QUESTION = ("models", 0, "observations", 0)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), "tt_compute.plan", "no file of evidence"),
        (("version",), 2, "version 2"),
        (("version",), True, "version"),
        (("extra",), 1, "extra"),
        (("origin",), "", "origin"),
        (("mock",), "no", "mock"),
        (("exported_at",), "now", "exported_at"),
        (("models", 0, "task"), "maths", "task"),
        (("models", 0, "weights"), 7, "weights"),
        ((*QUESTION, "right"), -1, "observations[0]"),
        ((*QUESTION, "right"), 1.5, "right"),
        ((*QUESTION, "rigth"), 1, "rigth"),
        ((*QUESTION, "wrong"), [0], "observations[0]"),
        ((*QUESTION, "wrong"), [2**40], "observations[0]"),
        ((*QUESTION, "weight"), 0, "observations[0]"),
        ((*QUESTION, "weight"), 1.5, "observations[0]"),
        ((*QUESTION, "right_logprob"), -1e300, "observations[0]"),
        ((*QUESTION, "wrong_logprob"), "low", "wrong_logprob"),
        (QUESTION, {}, "observations[0]"),
        (("models", 0, "lengths", 0, "n"), 0, "lengths[0]"),
        (("models", 0, "lengths", 0, "mean"), -1, "lengths[0]"),
        (("models", 0, "lengths", 0, "p95"), 1e300, "lengths[0]"),
        (("deployments", 0, "speeds", 0, "wave"), 0, "speeds[0]"),
        (("deployments", 0, "speeds", 0, "tokens_per_s"), 0, "speeds[0]"),
    ],
)
def test_what_no_store_wrote_is_refused_and_named(
    file: Path, path: tuple[str | int, ...], value: object, words: str
) -> None:
    changed(file, path, value)
    with pytest.raises(UsageError) as caught:
        load_evidence(file)
    assert words in caught.value.message
    assert str(file) in caught.value.message
    assert caught.value.hint is not None


def test_a_key_that_stands_twice_is_refused(file: Path) -> None:
    file.write_text(file.read_text().replace('"mock": false', '"mock": false, "mock": true'))
    with pytest.raises(UsageError, match="twice"):
        load_evidence(file)
