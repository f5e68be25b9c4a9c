"""``ttc.yaml``: where it is found, what it may say, and where each value comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tt_compute.config import FILE_NAME, Config, starter_text
from tt_compute.errors import ConfigError


def save(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE_NAME
    file.write_text(text, encoding="utf-8")
    return file


def ids(config: Config) -> list[str]:
    return [spec.id for spec in config.deployments]


def test_it_is_looked_for_in_order(tmp_path: Path) -> None:
    """The argument, TTC_CONFIG, the working folder, the user's folder, nothing."""
    home = {"XDG_CONFIG_HOME": str(tmp_path / "home")}
    user = save(tmp_path / "home" / "tt_compute", "deployments: [mock]")
    here = save(tmp_path / "here", "deployments: [mock/strong]")
    named = save(tmp_path / "named", "deployments: [mock, mock/strong]")
    empty = tmp_path / "empty"
    empty.mkdir()

    def found(path: Path | None, environ: dict[str, str], folder: Path) -> Path | None:
        return Config.load(path, environ={**home, **environ}, folder=folder).file

    assert found(named, {"TTC_CONFIG": str(here)}, here.parent) == named
    assert found(None, {"TTC_CONFIG": str(named)}, here.parent) == named
    assert found(None, {}, here.parent) == here
    assert found(None, {}, empty) == user
    assert Config.load(environ={"XDG_CONFIG_HOME": str(empty)}, folder=empty).file is None


@pytest.mark.parametrize("text", ["version: 1\n", "objective: {quality: 0.5}\n"])
def test_without_deployments_it_is_the_embedded_one(tmp_path: Path, text: str) -> None:
    assert ids(Config.load(save(tmp_path, text))) == ["local/smollm2-135m-openvino"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("version: 2\n", 1),
        ("deployments: []\n", 1),
        ("deployments:\n  - mock\n  - mock\n", 3),
        ("deployments:\n  - no-such\n", 2),
        ("deployments:\n  - {id: mock, override: {limits: {max_concurrency: none}}}\n", 2),
        ("profiles: [./nowhere]\n", 1),
        ("objective:\n  quality: 2\n", 2),
        ("objective:\n  max_samples: 0\n", 2),
        ("objective: {prefer: luck}\n", 1),
        ("objective: {qualty: 0.5}\n", 1),
        ("store: {keep_text: maybe}\n", 1),
        ("stoer: {}\n", 1),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    file = save(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        Config.load(file)
    assert str(caught.value).startswith(f"{file}:{line}:")


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gone"):
        Config.load(tmp_path / "gone.yaml")


def test_each_value_tells_where_it_comes_from(tmp_path: Path) -> None:
    file = save(tmp_path, "objective:\n  quality: 0.9\n")
    config = Config.load(file, environ={"TTC_DATA_DIR": str(tmp_path / "data")})
    origins = {setting.name: (setting.value, setting.origin) for setting in config.settings()}
    assert origins["objective.quality"] == (0.9, f"{file}:2")
    assert origins["objective.max_samples"] == (16, "default")
    assert origins["data_dir"] == (str(tmp_path / "data"), "environment TTC_DATA_DIR")


def test_a_folder_of_profiles_is_relative_to_the_file(tmp_path: Path) -> None:
    profile = "kind: deployment\nid: mine\nbackend: mock\nmodel: mock\nhardware: mock\n"
    (tmp_path / "my" / "deployments").mkdir(parents=True)
    (tmp_path / "my" / "deployments" / "mine.yaml").write_text(profile, encoding="utf-8")
    file = save(tmp_path, "profiles: [./my]\ndeployments: [mine, mock]\n")
    assert ids(Config.load(file)) == ["mine", "mock"]


def test_the_starter_loads_and_says_what_the_default_says(tmp_path: Path) -> None:
    starter, default = Config.load(save(tmp_path, starter_text())), Config.from_mapping({})
    assert ids(starter) == ids(default)
    assert (starter.objective, starter.store) == (default.objective, default.store)
