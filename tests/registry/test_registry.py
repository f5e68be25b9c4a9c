"""Backends are found by name, imported only when used, and refused with a reason."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tt_compute.backend import Backend
from tt_compute.errors import BackendConflict, BackendUnavailable, ConfigError, UnknownNameError
from tt_compute.registry import GROUP, Registry, parse_options
from tt_compute.testing.environment import deployment_spec
from tt_compute.types import DeploymentSpec
from tt_compute_backends.mock import MockBackend


def _entry(folder: Path, distribution: str, name: str, target: str, *extras: str) -> EntryPoint:
    """An entry point that belongs to a distribution, which has these extras."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        + "".join(f"Provides-Extra: {extra}\n" for extra in extras),
        encoding="utf-8",
    )
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {target}\n", encoding="utf-8")
    return next(iter(Distribution.at(info).entry_points))


def _registry(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, *extras: str) -> Registry:
    """A registry of one plugin ``odd``, whose module has the given source."""
    (folder / "odd_plugin.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "odd_plugin", raising=False)
    return Registry([_entry(folder, "odd", "odd", "odd_plugin:Odd", *extras)])


def test_the_built_in_backends_come_through_entry_points() -> None:
    """The mock and OpenVINO are registered like anybody else's backend."""
    assert {"mock", "openvino"} <= set(Registry().names())
    assert Registry().load("mock") is MockBackend


def test_listing_imports_no_backend() -> None:
    """Names and descriptions come from metadata: no adapter and no heavy library is imported."""
    program = (
        "import sys\n"
        "from tt_compute.registry import Registry\n"
        "registry = Registry()\n"
        "assert registry.names() and registry.describe()\n"
        "print([name for name in sys.modules if name.startswith('tt_compute_backends')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_probing_openvino_imports_no_heavy_library() -> None:
    """A probe imports the adapter alone; the runtime is found by its metadata."""
    program = (
        "import sys\n"
        "from tt_compute.registry import Registry\n"
        "Registry().probe('openvino')\n"
        "print([name for name in ('openvino', 'openvino_genai', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_suggests_the_nearest() -> None:
    """The hint names what was probably meant, and all that there is."""
    with pytest.raises(UnknownNameError, match="there is no backend 'mok'") as caught:
        Registry().load("mok")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean 'mock'? backends: cerebras, groq, mock,")
    with pytest.raises(UnknownNameError):
        Registry().probe("mok")


def test_an_unknown_name_with_nothing_registered_says_so() -> None:
    """An empty registry lists nothing and suggests nothing."""
    registry = Registry([])
    assert registry.names() == ()
    with pytest.raises(UnknownNameError) as caught:
        registry.load("mock")
    assert caught.value.hint == "backends: none"


def test_two_claims_to_one_name_are_a_conflict(tmp_path: Path) -> None:
    """Both distributions and both classes are named, in load and in probe; neither is imported."""
    registry = Registry(
        [
            _entry(tmp_path, "one", "twice", "no_such_module:A"),
            _entry(tmp_path, "two", "twice", "no_such_module:B"),
        ]
    )
    assert registry.names() == ("twice",)
    with pytest.raises(BackendConflict) as caught:
        registry.load("twice")
    assert "one 1.0 (no_such_module:A) and two 1.0 (no_such_module:B)" in caught.value.message
    assert registry.probe("twice").reason == caught.value.message


def test_one_claim_read_twice_is_no_conflict(tmp_path: Path) -> None:
    """The same distribution found at two places of the path is one claim."""
    entry = _entry(tmp_path, "one", "mock", "tt_compute_backends.mock:MockBackend")
    assert Registry([entry, entry]).load("mock") is MockBackend


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import libodd", "ModuleNotFoundError: No module named 'libodd'"),
        ("raise RuntimeError('driver too old')", "RuntimeError: driver too old"),
        ("raise KeyError", "KeyError"),
        ("def broken(:", "SyntaxError"),
        ("Even = 1", "has no attribute 'Odd'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_unavailable(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an import raises becomes one error with the reason and the distribution."""
    registry = _registry(monkeypatch, tmp_path, source)
    with pytest.raises(BackendUnavailable) as caught:
        registry.load("odd")
    assert "backend 'odd' of odd 1.0 cannot be imported" in caught.value.message
    assert reason in caught.value.message
    assert caught.value.hint == "reinstall or update odd 1.0"
    assert reason in registry.probe("odd").reason


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("import libodd", 'pip install "odd[odd]"'),
        ("raise RuntimeError('driver too old')", "reinstall or update odd 1.0"),
    ],
)
def test_a_missing_module_is_installed_by_the_extra_of_the_backends_name(
    source: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the distribution has one; another fault is not mended by it. A probe says so too."""
    registry = _registry(monkeypatch, tmp_path, source, "even", "odd")
    with pytest.raises(BackendUnavailable) as caught:
        registry.load("odd")
    assert caught.value.hint == hint
    assert registry.probe("odd").install == hint


COMPLETE = """
class Odd:
    name = "odd"
    api_version = {version}
    Options = type
    probe = create = models = open = aclose = classmethod(lambda cls: {probe})
"""


def test_another_version_of_the_protocol_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error holds both numbers."""
    registry = _registry(monkeypatch, tmp_path, COMPLETE.format(version=7, probe=None))
    with pytest.raises(BackendUnavailable, match=r"written for version 7 .* speaks 1"):
        registry.load("odd")


@pytest.mark.parametrize(
    ("source", "lack"),
    [
        ("class Odd:\n    name = 'odd'\n    api_version = 1", "lacks Options, probe, create"),
        ("Odd = 3", "lacks name, api_version"),
        (COMPLETE.format(version=1, probe=None) + "\nOdd = Odd()", "is not a class"),
    ],
)
def test_what_is_no_backend_is_refused(
    source: str, lack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target without the members of a backend is refused with what it lacks."""
    registry = _registry(monkeypatch, tmp_path, source)
    with pytest.raises(BackendUnavailable, match=lack):
        registry.load("odd")


def test_a_probe_that_raises_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin whose own probe fails is unavailable; the caller's listing goes on."""
    registry = _registry(monkeypatch, tmp_path, COMPLETE.format(version=1, probe="1 / 0"))
    probe = registry.probe("odd")
    assert not probe.available
    assert probe.reason == "its probe failed: ZeroDivisionError: division by zero"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """Nested options."""

    rate: float = 1.0


class OddOptions(msgspec.Struct, kw_only=True):
    """Options of a backend that forgot to forbid unknown fields."""

    rows: int = 4
    faults: tuple[Inner, ...] = ()


class Odd(MockBackend):
    """A backend with other options."""

    Options = OddOptions  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType,reportIncompatibleVariableOverride] - only its fields matter here


ODD: Any = Odd


def _spec(options: dict[str, object]) -> DeploymentSpec:
    return msgspec.structs.replace(
        deployment_spec("odd", options=options),
        file="deployments/odd.yaml",
        lines={
            "options": 3,
            "options.rows": 4,
            "options.row": 5,
            "options.faults": 6,
            "options.faults[1]": 8,
            "options.faults[1].rate": 9,
        },
    )


def _parse(backend: type[Backend], options: dict[str, object]) -> OddOptions:
    parsed: OddOptions = parse_options(backend, _spec(options))
    return parsed


def test_options_become_the_struct_of_the_backend() -> None:
    """Values are converted, defaults filled in."""
    assert _parse(ODD, {}) == OddOptions()
    options = _parse(ODD, {"rows": 2, "faults": [{"rate": 1}]})
    assert options == OddOptions(rows=2, faults=(Inner(rate=1.0),))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"row": 2},
            ["deployments/odd.yaml:5: options.row: backend 'odd' has no such option"],
        ),
        (
            {"rows": "many"},
            ["deployments/odd.yaml:4: options.rows: Expected `int`, got `str`"],
        ),
        (
            {"faults": [{}, {"rate": "often"}]},
            ["deployments/odd.yaml:9: options.faults[1].rate: Expected `float`, got `str`"],
        ),
        (
            {"faults": [{}, {"rat": 1}]},
            ["deployments/odd.yaml:8: options.faults[1]: ", "unknown field `rat`"],
        ),
        (
            {"faults": 3},
            ["deployments/odd.yaml:6: options.faults: Expected `array`, got `int`"],
        ),
    ],
)
def test_bad_options_are_refused_with_their_place(
    options: dict[str, object], words: Sequence[str]
) -> None:
    """File, line and path lead the message, down to the nearest node whose line is known."""
    with pytest.raises(ConfigError) as caught:
        parse_options(ODD, _spec(options))
    for word in words:
        assert word in caught.value.message


def test_an_unknown_option_suggests_the_nearest() -> None:
    """A misspelt key is answered with the one that was meant."""
    with pytest.raises(ConfigError) as caught:
        parse_options(ODD, _spec({"row": 2}))
    assert caught.value.hint == "did you mean 'rows'? options: rows, faults"


def test_options_given_in_code_are_refused_by_path() -> None:
    """Without a file the path alone is the place."""
    with pytest.raises(ConfigError, match=r"^options\.row: backend 'odd' has no such option"):
        parse_options(ODD, deployment_spec("odd", options={"row": 2}))
