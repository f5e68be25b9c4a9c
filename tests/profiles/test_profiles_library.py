"""Profiles: facts in both forms, errors with file, line and path, references, overrides, duplicates."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tt_compute.errors import ConfigError, UnknownNameError
from tt_compute.profiles.library import ProfileLibrary, shipped_root
from tt_compute.profiles.validation import validate

DEPLOYMENT = """\
kind: deployment
id: my/one
backend: mock
model: mock
hardware: mock
"""


def write(root: Path, text: str, name: str = "deployments/one.yaml") -> Path:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_the_shipped_profiles_are_valid() -> None:
    library = ProfileLibrary()
    findings = validate(library.roots, library=library, today=date(2026, 11, 27))
    assert (findings.errors, findings.warnings) == ((), ())
    assert {"mock", "local/smollm2-135m-openvino"} <= set(library.ids("deployment"))


def test_profiles_are_found_in_a_wheel_and_in_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "site" / "tt_compute"
    (package / "_profiles").mkdir(parents=True)
    assert Path(shipped_root(package)) == package / "_profiles"
    checkout = tmp_path / "checkout" / "tt_compute"
    checkout.mkdir(parents=True)
    (checkout.parent / "profiles").mkdir()
    assert Path(shipped_root(checkout)) == checkout.parent / "profiles"


def test_a_fact_is_a_number_or_a_number_with_its_source(tmp_path: Path) -> None:
    speed = """\
speed:
  ttft_s: {value: {p50: 0.3, p95: 0.9}, source: a page, as_of: 2026-11-21, status: vendor}
  decode_tokens_per_s: 3.35e2
"""
    write(tmp_path, DEPLOYMENT + speed)
    found = ProfileLibrary([tmp_path]).resolve("my/one").deployment.speed
    assert (found.ttft_s.p50, found.ttft_s.p95, found.ttft_s.status) == (0.3, 0.9, "vendor")
    assert (found.decode_tokens_per_s.value, found.decode_tokens_per_s.source) == (335.0, None)


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ("price:\n  usd_per_mtok:\n    input: cheap\n", 8, "price.usd_per_mtok.input"),
        ("price:\n  usd_per_mtok: {input: -1}\n", 7, "price.usd_per_mtok.input"),
        ("price:\n  usd_per_hour: true\n", 7, "price.usd_per_hour"),
        ("speed: {ttft_s: {p50: 2, p95: 1}}\n", 6, "speed.ttft_s"),
        ("speed:\n  decode_tokens_per_s: {value: 1, as_of: yesterday}\n", 7, "speed"),
        ("speed: {ttft_prompt_tokens: 20.5}\n", 6, "speed.ttft_prompt_tokens"),
        ("speed: {ttft_prompt_tokens: {value: 0}}\n", 6, "speed.ttft_prompt_tokens"),
        ("limits: {max_concurrency: 2.5}\n", 6, "limits.max_concurrency"),
        ("limts: {max_concurrency: 2}\n", 6, "limts"),
        ("auth: {env: gsk_abcdefghijklmnopqrstuvwxyz0123456789}\n", 6, "auth.env"),
        ("placement: {process: thread}\n", 6, "placement.process"),
    ],
)
def test_a_fault_is_told_with_file_line_and_path(
    tmp_path: Path, text: str, line: int, path: str
) -> None:
    file = write(tmp_path, DEPLOYMENT + text)
    with pytest.raises(ConfigError) as caught:
        ProfileLibrary([tmp_path]).resolve("my/one")
    assert caught.value.line == line
    assert caught.value.path.startswith(path)
    assert str(caught.value).startswith(f"{file}:{line}: {path}")
    assert "gsk_" not in str(caught.value), "a key must not be echoed"


def test_a_bandwidth_in_gigabytes_is_refused(tmp_path: Path) -> None:
    """A wrong unit would make every prediction wrong by 10^9."""
    text = "kind: hardware\nid: gpu\nmemory: {bandwidth_bytes_per_s: 3350}\n"
    write(tmp_path, text, "hardware/gpu.yaml")
    with pytest.raises(ConfigError, match="bytes"):
        ProfileLibrary([tmp_path]).hardware("gpu")


@pytest.mark.parametrize("key", ["model", "hardware"])
def test_a_missing_reference_is_told_with_its_place(tmp_path: Path, key: str) -> None:
    text = DEPLOYMENT.replace(f"{key}: mock", f"{key}: mok")
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=f"one.yaml:[45]: {key}") as caught:
        ProfileLibrary([tmp_path]).resolve("my/one")
    assert caught.value.hint is not None
    assert "mock" in caught.value.hint


def test_an_id_that_two_files_state_is_an_error_naming_both(tmp_path: Path) -> None:
    write(tmp_path, DEPLOYMENT)
    write(tmp_path, DEPLOYMENT, "deployments/two.yaml")
    with pytest.raises(ConfigError) as caught:
        ProfileLibrary([tmp_path]).resolve("my/one")
    assert "one.yaml" in str(caught.value)
    assert "two.yaml" in str(caught.value)


def test_an_unknown_id_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        ProfileLibrary().resolve("local/smollm2-135m-openvin")
    assert "local/smollm2-135m-openvino" in str(caught.value.hint)


def test_an_override_changes_what_it_names_and_nothing_else() -> None:
    library = ProfileLibrary()
    changed = library.resolve(
        {"id": "mock/strong", "override": {"id": "dear", "price": {"usd_per_mtok": {"output": 9}}}}
    )
    price = changed.deployment.price.usd_per_mtok
    assert price is not None
    assert (changed.id, price.output.value, price.input.value) == ("dear", 9, 0.5)


def test_local_weights_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path, DEPLOYMENT + "source: {path: ../weights/m.gguf}\n")
    path = ProfileLibrary([tmp_path]).resolve("my/one").deployment.source.path
    assert path is not None
    assert Path(path).resolve() == (tmp_path / "weights" / "m.gguf").resolve()


def test_validation_tells_every_fault_and_old_facts(tmp_path: Path) -> None:
    write(tmp_path, DEPLOYMENT + "price: {usd_per_hour: -1}\nlimits: {max_concurrency: x}\n")
    old = "price: {usd_per_hour: {value: 1, as_of: 2020-01-01}}\n"
    write(tmp_path, DEPLOYMENT.replace("my/one", "my/old") + old, "deployments/old.yaml")
    findings = validate([tmp_path], library=ProfileLibrary(), today=date(2026, 11, 26))
    assert len(findings.errors) == 2
    assert [warning for warning in findings.warnings if "old.yaml" in warning]
