"""One file's place in the cache: found by its digest, checked once, replaced whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from tt_compute.errors import ConfigError
from tt_compute.modelstore.transfer import ProgressCallback, SourceFailed
from tt_compute.profiles.schema import ModelFile

__all__ = ["CacheEntry", "FileState", "sha256_of"]

FileState = Literal["absent", "present", "damaged"]

_CHUNK_BYTES = 1 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Seal(msgspec.Struct, frozen=True):
    """How the file looked when its digest was found right; a change of any field means hashing again."""

    sha256: str
    bytes: int
    mtime_ns: int
    inode: int


class CacheEntry:
    """Where a profile's file lies, whether or not it is there.

    Args:
        root: The cache's folder of models.
        file: What the profile says of it.

    Raises:
        ConfigError: The profile's file name or digest could lead out of the cache.
    """

    def __init__(self, root: Path, file: ModelFile) -> None:
        if Path(file.file).name != file.file or file.file in {"", ".", ".."} or "\\" in file.file:
            raise ConfigError(f"a model's file must be a plain name, got {file.file!r}")
        if _DIGEST.fullmatch(file.sha256) is None:
            raise ConfigError(
                f"sha256 of {file.file} must be 64 lower-case hex digits, got {file.sha256!r}"
            )
        self.file = file
        self.folder: Path = root / file.sha256[:16]
        self.path: Path = self.folder / file.file
        self.lock_path: Path = self.folder / "lock"
        self.partial: Path = self.folder / "partial"
        self._seal_path = self.folder / f"{file.file}.seal"

    def state(self, progress: ProgressCallback, check_cancelled: Callable[[], None]) -> FileState:
        """Whether the right file is there; hashes it once and remembers."""
        try:
            seen = self._look()
        except FileNotFoundError:
            return "absent"
        if seen.bytes != self.file.bytes:
            return "damaged"
        if self._read_seal() == seen:
            return "present"
        if sha256_of(self.path, self.file.bytes, progress, check_cancelled) != self.file.sha256:
            return "damaged"
        self._write_seal(seen)
        return "present"

    def set_aside(self) -> Path:
        """Move a damaged file out of the way, over an older one, and return where it went."""
        aside = self.path.with_name(f"{self.path.name}.damaged")
        self.path.replace(aside)
        return aside

    def adopt(
        self, fetched: Path, progress: ProgressCallback, check_cancelled: Callable[[], None]
    ) -> None:
        """Make ``fetched`` the entry's file if it is the right one, else remove it.

        Raises:
            SourceFailed: Its size or digest is another one.
        """
        size = fetched.stat().st_size
        digest = sha256_of(fetched, size, progress, check_cancelled)
        if size != self.file.bytes or digest != self.file.sha256:
            fetched.unlink()
            raise SourceFailed(
                f"delivered another file: {size} bytes with sha256 {digest}, "
                f"expected {self.file.bytes} bytes with {self.file.sha256}"
            )
        _sync(fetched)
        fetched.replace(self.path)
        _sync(self.folder)
        self._write_seal(self._look())

    def _look(self) -> _Seal:
        stat = self.path.stat()
        return _Seal(self.file.sha256, stat.st_size, stat.st_mtime_ns, stat.st_ino)

    def _read_seal(self) -> _Seal | None:
        try:
            return msgspec.json.decode(self._seal_path.read_bytes(), type=_Seal)
        except (OSError, msgspec.DecodeError):
            return None

    def _write_seal(self, seal: _Seal) -> None:
        # Two processes may check at once: each writes its own file and the last one stays.
        scratch = self._seal_path.with_name(f"{self._seal_path.name}.{os.getpid()}")
        try:
            scratch.write_bytes(msgspec.json.encode(seal))
            scratch.replace(self._seal_path)
        except OSError:
            # A cache that is only readable works; it is hashed again by every process.
            return


def sha256_of(
    path: Path, total: int, progress: ProgressCallback, check_cancelled: Callable[[], None]
) -> str:
    """Digest of a file's content, in hex."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            check_cancelled()
            digest.update(chunk)
            done += len(chunk)
            progress("check", done, total)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    """Flush a file, or a folder where the system can."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
