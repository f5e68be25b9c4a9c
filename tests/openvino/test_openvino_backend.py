"""The backend class: what it tells before anything heavy is imported, and what it asks the engine to load."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tt_compute.errors import BackendUnavailable, ConfigError, GenerationClosed, ModelNotFound
from tt_compute.profiles.library import ProfileLibrary
from tt_compute.testing import backend_env
from tt_compute.types import DeploymentSpec, GenerateRequest, Message
from tt_compute_backends.openvino import OpenVinoBackend

INSTALL = 'pip install "tt-compute[openvino]"'


def _spec(**override: Any) -> DeploymentSpec:
    entry = {"id": "local/smollm2-135m-openvino", "override": {"id": "test/openvino", **override}}
    return ProfileLibrary().resolve(entry)


def _create(**override: Any) -> OpenVinoBackend:
    return anyio.run(OpenVinoBackend.create, _spec(**override), backend_env())


def _load_request(**override: Any) -> Any:
    backend: Any = _create(**override)
    return backend._load_request("/models/x.gguf")


def test_the_module_and_its_probe_import_nothing_heavy() -> None:
    """Listing backends must cost nothing."""
    code = (
        "import sys; from tt_compute_backends.openvino import OpenVinoBackend as B; B.probe();"
        "print([m for m in ('openvino', 'openvino_genai', 'numpy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("version", "available"),
    [("2025.4.1", False), ("2026.3.9.0", False), ("2026.4.0.0", True), ("2027.0", True)],
)
def test_an_old_library_is_told_from_a_good_one(
    version: str, available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions compare as numbers; the old one's error names it and the line that mends it."""

    def found(_name: str) -> str:
        return version

    monkeypatch.setattr(importlib.metadata, "version", found)
    probe = OpenVinoBackend.probe()
    assert (probe.available, probe.version) == (available, version)
    if not available:
        assert version in probe.reason
        assert probe.install == INSTALL
        with pytest.raises(BackendUnavailable) as caught:
            _create()
        assert caught.value.hint == INSTALL


def test_a_missing_library_is_one_error_with_the_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``create`` says what ``probe`` says."""

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert OpenVinoBackend.probe().install == INSTALL
    with pytest.raises(BackendUnavailable, match="not installed"):
        _create()


@pytest.mark.parametrize(
    ("override", "path"),
    [
        ({"options": {"reproducable": True}}, "options.reproducable"),
        ({"options": {"kv_cache_precision": "int4"}}, "options.kv_cache_precision"),
        ({"options": {"batched_tokens": 0}}, "options.batched_tokens"),
        ({"options": {"reproducible": True, "kv_cache_precision": "u8"}}, "options"),
        ({"placement": {"devices": ["CPU", "GPU"]}}, "placement.devices"),
        ({"placement": {"tensor_parallel": 2}}, "placement.tensor_parallel"),
    ],
)
def test_a_deployment_it_cannot_follow_is_refused_with_its_place(
    override: dict[str, Any], path: str
) -> None:
    """At ``create``, not at the first request."""
    with pytest.raises(ConfigError) as caught:
        _create(**override)
    assert caught.value.path == path


def test_defaults_of_the_load_request() -> None:
    """CPU, 32 rows, every usable core, the context of the profile."""
    load = _load_request()
    assert (load.device, load.max_rows, load.max_context_tokens) == ("CPU", 32, 8192)
    assert load.threads >= 1
    assert load.chat_template is None


def test_the_placement_reaches_the_engine() -> None:
    """Device names are OpenVINO's, in capitals; rows never exceed the tokens of a step."""
    placement = {"devices": ["gpu"], "threads": 3, "max_sequences": 64, "memory_bytes": 1 << 28}
    load = _load_request(placement=placement, options={"batched_tokens": 48})
    assert (load.device, load.threads, load.memory_bytes) == ("GPU", 3, 1 << 28)
    assert load.max_rows == 48


def test_the_exact_mode_runs_one_row_and_says_so() -> None:
    """Its capabilities promise neither sharing nor batching, whatever the placement wants."""
    override = {"options": {"reproducible": True}, "placement": {"max_sequences": 16}}
    (model,) = anyio.run(_create(**override).models)
    assert _load_request(**override).max_rows == 1
    assert model.capabilities.seed == "exact"
    assert not model.capabilities.prefix_sharing
    assert not model.capabilities.continuous_batching
    (usual,) = anyio.run(_create().models)
    assert usual.capabilities.seed == "schedule"


def test_a_model_that_cannot_be_had_fails_the_open_and_leaves_nothing(tmp_path: Path) -> None:
    """The store's error comes out as it is."""
    request = GenerateRequest(messages=(Message(role="user", content="Hi"),))

    async def main() -> None:
        backend = await OpenVinoBackend.create(_spec(), backend_env())
        with pytest.raises(ModelNotFound):
            async with backend.open(request):
                pass
        await backend.aclose()

    anyio.run(main)


def test_after_aclose_nothing_opens_and_aclose_may_be_repeated() -> None:
    """A closed backend does not come back to life."""

    async def main() -> None:
        backend = await OpenVinoBackend.create(_spec(), backend_env())
        await backend.aclose()
        await backend.aclose()
        with pytest.raises(GenerationClosed):
            await backend.warm()

    anyio.run(main)
