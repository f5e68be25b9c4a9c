"""Weights converted to another format: once, in a process of their own, cached by what they were made from."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tt_compute.errors import ModelLoadError
from tt_compute.modelstore.cache import sha256_of
from tt_compute.modelstore.transfer import (
    ProgressCallback,
    SourceFailed,
    largest_file_bytes,
    run_child,
)
from tt_compute.types import Converter

__all__ = ["ConversionCache"]

_MANIFEST = "manifest.json"
_READ_SUFFIXES = (".gguf", ".json", ".jinja", ".safetensors")
"""Of the files in a folder that a converter may read."""


class _Manifest(msgspec.Struct, frozen=True):
    """What was made, to see whether it is still whole."""

    converter: Converter
    source: str
    bytes: dict[str, int]
    """By file name."""


class _Known(msgspec.Struct, frozen=True):
    """A digest that was computed before, and how the file looked then."""

    sha256: str
    bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, kw_only=True)
class ConversionCache:
    """Where converted folders lie.

    Args:
        root: Of this cache; made when the first one comes.
        progress: Told what is going on, from a worker thread.
        environ: For the converters.
    """

    root: Path
    progress: ProgressCallback
    environ: Mapping[str, str]

    def place(self, source: Path, converter: Converter, check: Callable[[], None]) -> Path:
        """The folder that ``converter`` makes of ``source``, by the content of both; need not exist yet."""
        return self.place_of(self._digest(source, check), converter)

    def place_of(self, source_sha256: str, converter: Converter) -> Path:
        """The same for a file whose digest is known."""
        digest = hashlib.sha256(msgspec.json.encode([source_sha256, converter]))
        return self.root / digest.hexdigest()[:16]

    def whole(self, folder: Path) -> bool:
        """Whether the folder is there with all that was made."""
        try:
            manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=_Manifest)
            return all(
                (folder / name).stat().st_size == size for name, size in manifest.bytes.items()
            )
        except (OSError, msgspec.DecodeError):
            return False

    def make(
        self, source: Path, converter: Converter, folder: Path, check: Callable[[], None]
    ) -> Path:
        """Convert, under the lock of the caller; the folder appears whole or not at all.

        Raises:
            ModelLoadError: The converter failed; the message is the last it said.
            OSError: The cache cannot be written.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=self.root))
        try:
            made = scratch / "made"
            made.mkdir()
            self._run(source, converter, scratch, check)
            sizes = {path.name: path.stat().st_size for path in made.iterdir()}
            manifest = _Manifest(converter, str(source), sizes)
            (made / _MANIFEST).write_bytes(msgspec.json.encode(manifest))
            made.replace(folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return folder

    def _run(
        self, source: Path, converter: Converter, scratch: Path, check: Callable[[], None]
    ) -> None:
        made = scratch / "made"
        command = [
            sys.executable,
            "-m",
            converter.module,
            str(source),
            str(made),
            *converter.arguments,
        ]
        try:
            run_child(
                command,
                environ={**self.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                logs=scratch,
                check_cancelled=check,
                on_poll=lambda: self.progress(
                    f"convert to {converter.format}", largest_file_bytes(made), None
                ),
            )
        except SourceFailed as error:
            raise ModelLoadError(
                f"{source} could not be converted to {converter.format}: {error}"
            ) from error

    def _digest(self, source: Path, check: Callable[[], None]) -> str:
        if source.is_file():
            return self._file_digest(source, check)
        names = sorted(path.name for path in source.iterdir() if path.name.endswith(_READ_SUFFIXES))
        parts = [(name, self._file_digest(source / name, check)) for name in names]
        return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()

    def _file_digest(self, path: Path, check: Callable[[], None]) -> str:
        """Computed once; a file that looks as it did then is not read again."""
        stat = path.stat()
        place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        memo = self.root / "digests" / f"{place}.json"
        for known in _read_known(memo):
            if (known.bytes, known.mtime_ns, known.inode) == (
                stat.st_size,
                stat.st_mtime_ns,
                stat.st_ino,
            ):
                return known.sha256
        digest = sha256_of(path, stat.st_size, self.progress, check)
        memo.parent.mkdir(parents=True, exist_ok=True)
        known = _Known(digest, stat.st_size, stat.st_mtime_ns, stat.st_ino)
        # Several threads may come here at once, for one file too.
        scratch = memo.with_name(f"{memo.name}.{os.getpid()}.{threading.get_ident()}")
        scratch.write_bytes(msgspec.json.encode(known))
        scratch.replace(memo)
        return digest


def _read_known(memo: Path) -> Iterator[_Known]:
    try:
        yield msgspec.json.decode(memo.read_bytes(), type=_Known)
    except (OSError, msgspec.DecodeError):
        return
