"""``refreshed.yaml``: what takes its place in a configuration, and before whom it stands back."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tt_compute.calibrated import FILE_NAME as CALIBRATED
from tt_compute.calibrated import Calibrated, calibrated_text
from tt_compute.config import Config
from tt_compute.errors import ConfigError, UsageError
from tt_compute.overlay import OverlayFile, write_overlay
from tt_compute.profiles.schema import DeploymentProfile, Fact, Speed
from tt_compute.refreshed import (
    FILE_NAME,
    Refreshed,
    from_offer,
    in_force,
    read_refreshed,
    refreshed_text,
)
from tt_compute.types import Offer

CLOUD = "cerebras/gpt-oss-120b"
TODAY = date(2027, 1, 5)
URL = "https://api.cerebras.ai/public/v1/models"
INPUT, OUTPUT = "price.usd_per_mtok.input", "price.usd_per_mtok.output"


def save(
    folder: Path, deployments: str = f"[{CLOUD}]", *, today: date = TODAY, **offered: Any
) -> None:
    """A configuration, and what a service said on that day beside it."""
    (folder / "ttc.yaml").write_text(f"deployments: {deployments}\n", encoding="utf-8")
    said = from_offer(Offer(url=URL, **offered), today)
    write_overlay(folder / FILE_NAME, refreshed_text({CLOUD: said}), OverlayFile[Refreshed])


def loaded(folder: Path, **options: Any) -> Config:
    return Config.load(folder / "ttc.yaml", environ={}, **options)


def deployment(folder: Path, **options: Any) -> DeploymentProfile:
    return loaded(folder, **options).spec(CLOUD).deployment


def price(folder: Path, path: str) -> float | None:
    return in_force(loaded(folder).spec(CLOUD), path).value


def test_it_takes_the_place_of_the_profile_with_its_source(tmp_path: Path) -> None:
    save(tmp_path, input_usd_per_mtok=0.25, max_context_tokens=65_536, requests_per_minute=30)
    found = deployment(tmp_path)
    assert found.price.usd_per_mtok is not None
    wanted = Fact(value=0.25, source=URL, as_of="2027-01-05", status="vendor")
    assert found.price.usd_per_mtok.input == wanted
    assert found.limits.max_context_tokens == 65_536
    assert type(found.limits.max_context_tokens) is int
    assert found.limits.requests_per_minute == 30


def test_what_is_not_told_stays_the_profiles(tmp_path: Path) -> None:
    save(tmp_path, input_usd_per_mtok=0.25)
    assert price(tmp_path, OUTPUT) == 0.75
    assert deployment(tmp_path).limits.max_concurrency == 64


def test_it_can_be_left_out(tmp_path: Path) -> None:
    save(tmp_path, input_usd_per_mtok=0.25)
    found = deployment(tmp_path, refreshed=False)
    assert found.price.usd_per_mtok is not None
    assert found.price.usd_per_mtok.input.value == 0.35


def test_a_deployment_that_is_not_configured_has_it_too(tmp_path: Path) -> None:
    save(tmp_path, "[mock]", input_usd_per_mtok=0.25)
    assert price(tmp_path, INPUT) == 0.25


def test_an_override_of_the_user_wins_value_by_value(tmp_path: Path) -> None:
    entry = f"[{{id: {CLOUD}, override: {{price: {{usd_per_mtok: {{input: 9}}}}}}}}]"
    save(tmp_path, entry, input_usd_per_mtok=0.25, output_usd_per_mtok=0.5)
    assert price(tmp_path, INPUT) == 9
    assert price(tmp_path, OUTPUT) == 0.5


def test_an_unknown_that_the_user_states_stays_unknown(tmp_path: Path) -> None:
    entry = f"[{{id: {CLOUD}, override: {{price: null}}}}]"
    save(tmp_path, entry, input_usd_per_mtok=0.25)
    assert price(tmp_path, INPUT) is None


def test_an_inline_value_of_the_user_wins(tmp_path: Path) -> None:
    entry = (
        f"[{{id: {CLOUD}, backend: mock, model: mock, hardware: mock,"
        " price: {usd_per_mtok: {input: {value: 9}}}, limits: {requests_per_minute: 7}}]"
    )
    save(
        tmp_path,
        entry,
        input_usd_per_mtok=0.25,
        output_usd_per_mtok=0.5,
        requests_per_minute=30,
        tokens_per_minute=1000,
    )
    assert price(tmp_path, INPUT) == 9
    assert price(tmp_path, OUTPUT) == 0.5
    limits = deployment(tmp_path).limits
    assert (limits.requests_per_minute, limits.tokens_per_minute) == (7, 1000)


def test_a_profile_of_the_users_own_folder_is_a_profile(tmp_path: Path) -> None:
    """It is refreshed as the shipped ones are; what is to stay stands in ttc.yaml."""
    folder = tmp_path / "my" / "deployments"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "kind: deployment\nid: mine\nbackend: mock\nmodel: mock\nhardware: mock\n"
        "price: {usd_per_mtok: {input: 9}}\n",
        encoding="utf-8",
    )
    said = from_offer(Offer(url=URL, input_usd_per_mtok=0.25), TODAY)
    (tmp_path / FILE_NAME).write_text(refreshed_text({"mine": said}), encoding="utf-8")
    (tmp_path / "ttc.yaml").write_text("profiles: [./my]\ndeployments: [mine]\n", encoding="utf-8")
    assert in_force(loaded(tmp_path).deployments[0], INPUT).value == 0.25


def test_a_profile_whose_price_is_newer_is_believed(tmp_path: Path) -> None:
    """An update of the package may bring prices that were read after the last refresh."""
    save(tmp_path, today=date(2026, 1, 1), input_usd_per_mtok=0.25)
    assert price(tmp_path, INPUT) == 0.35


def test_what_is_paid_by_the_hour_gets_no_price_per_token(tmp_path: Path) -> None:
    entry = (
        f"[{{id: {CLOUD}, backend: mock, model: mock, hardware: mock, price: {{usd_per_hour: 2}}}}]"
    )
    save(tmp_path, entry, input_usd_per_mtok=0.25)
    assert deployment(tmp_path).price.usd_per_mtok is None


@pytest.mark.parametrize(("offered", "used"), [(40_960, 16_384), (8192, 8192)])
def test_the_longest_answer_is_shortened_and_never_lengthened(
    tmp_path: Path, offered: int, used: int
) -> None:
    """Who asks for less than the service would give does so on purpose: some reserve all of it."""
    save(tmp_path, max_output_tokens=offered)
    assert deployment(tmp_path).limits.max_output_tokens == used


def test_each_value_is_shown_with_its_line(tmp_path: Path) -> None:
    """Those that count, of both files; not those that ttc.yaml outranks."""
    entry = f"[{{id: {CLOUD}, override: {{limits: {{max_context_tokens: 1000}}}}}}]"
    save(tmp_path, entry, input_usd_per_mtok=0.25, max_context_tokens=65_536)
    fast = Calibrated(
        speed=Speed(decode_tokens_per_s_by_wave={"4": Fact(value=90.0)}),
        bandwidth_bytes_per_s=Fact(value=4e10),
    )
    (tmp_path / CALIBRATED).write_text(calibrated_text({CLOUD: fast}), encoding="utf-8")
    shown = {one.name: (one.value, one.origin) for one in loaded(tmp_path).settings()}
    root = f"deployments.{CLOUD}"
    overlaid = {name: value for name, value in shown.items() if name.startswith(root)}
    refreshed, calibrated = tmp_path / FILE_NAME, tmp_path / CALIBRATED
    assert f"{root}.limits.max_context_tokens" not in overlaid
    assert overlaid == {
        f"{root}.{INPUT}": (0.25, f"{refreshed}:7"),
        f"{root}.speed.decode_tokens_per_s_by_wave.4": (90.0, f"{calibrated}:7"),
        f"{root}.hardware.memory.bandwidth_bytes_per_s": (4e10, f"{calibrated}:8"),
    }


def test_a_count_is_shown_as_one(tmp_path: Path) -> None:
    save(tmp_path, max_context_tokens=65_536)
    (shown,) = (one.value for one in loaded(tmp_path).settings() if "max_context" in one.name)
    assert repr(shown) == "65536"


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    """Every figure in full, and a source with any characters."""
    offer = Offer(
        url='https://h/"q"/é😀/v1/models',
        input_usd_per_mtok=0.123456789,
        cached_input_usd_per_mtok=0.0,
        output_usd_per_mtok=999.999,
        max_context_tokens=1_048_576,
        max_output_tokens=1,
        requests_per_minute=0.5,
        tokens_per_minute=123_456_789,
    )
    said = from_offer(offer, TODAY)
    write_overlay(tmp_path / FILE_NAME, refreshed_text({CLOUD: said}), OverlayFile[Refreshed])
    assert read_refreshed(tmp_path).deployments == {CLOUD: said}


@pytest.mark.parametrize(
    "offered",
    [
        {"input_usd_per_mtok": -1.0},
        {"output_usd_per_mtok": 1e-7},
        {"max_context_tokens": 0},
        {"requests_per_minute": 0.0},
        {"cached_input_usd_per_mtok": float("nan")},
    ],
)
def test_what_no_profile_could_say_is_refused(offered: Any) -> None:
    """Also from a backend that does not check it."""
    with pytest.raises(ConfigError):
        from_offer(Offer(url=URL, **offered), TODAY)


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("price: {usd_per_mtok: {input: -1}}", "price.usd_per_mtok.input"),
        ("price: {usd_per_mtok: {input: 1e-7}}", "price.usd_per_mtok.input"),
        ("price: {usd_per_hour: 1}", "price.usd_per_hour"),
        ("limits: {max_context_tokens: 1.5}", "limits.max_context_tokens"),
        ("limits: {max_concurrency: 4}", "limits.max_concurrency"),
        ("speed: {load_s: 1}", "speed"),
        ("price: {usd_per_mtok: {input: {value: 1, as_of: soon}}}", "as_of"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, said: str, place: str) -> None:
    save(tmp_path)
    (tmp_path / FILE_NAME).write_text(f"deployments:\n  x:\n    {said}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path)
    assert f"{FILE_NAME}:3: deployments.x" in str(caught.value)
    assert place in str(caught.value)


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    """Text that could not be read again is never put there."""
    save(tmp_path, input_usd_per_mtok=0.25)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(ConfigError):
        write_overlay(tmp_path / FILE_NAME, "deployments: [1]\n", OverlayFile[Refreshed])
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write_overlay(tmp_path / "file" / FILE_NAME, refreshed_text({}), OverlayFile[Refreshed])
    assert (tmp_path / FILE_NAME).read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))
