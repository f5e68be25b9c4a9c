"""A cassette: what backends said in a live run, kept in a file and said again in every later one."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from tt_compute.backend import Backend
from tt_compute.errors import AuthenticationError
from tt_compute.testing.cassette_backend import RecordingBackend, ReplayingBackend
from tt_compute.testing.cassette_file import (
    REWRITE,
    CassetteError,
    Interaction,
    Played,
    Recorded,
    asked,
    read_cassette,
    write_cassette,
)
from tt_compute.testing.lines import Json, dump
from tt_compute.types import BackendEnv, DeploymentSpec, GenerateRequest, Probe

__all__ = ["Recorder", "Replayer", "open_cassette"]


def open_cassette(path: Path, record: str) -> Recorder | Replayer:
    """A cassette that records or replays.

    Args:
        path: Its file.
        record: ``none`` = replay; ``once`` = record where there is no file yet; ``rewrite`` = record.

    Raises:
        CassetteError: There is no file to replay, or it cannot be used.
    """
    if record == "rewrite" or (record == "once" and not path.exists()):
        return Recorder(path)
    if not path.exists():
        raise CassetteError(
            f"there is no cassette {path}", hint="record it: pytest --ttc-live --ttc-record=once"
        )
    return Replayer(path)


class Recorder:
    """Keeps what the backends of a test do. Satisfies ``tt_compute.testing.trial.Deck``.

    Args:
        path: File that ``finish`` writes.
    """

    replays = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._deployments: dict[str, Played] = {}
        self._interactions: list[Interaction] = []
        self._keys: set[str] = set()

    def probe(self, backend: str) -> Probe | None:
        """None: they are asked."""
        del backend
        return None

    async def make(
        self, spec: DeploymentSpec, env: BackendEnv, create: Callable[[], Awaitable[Backend]]
    ) -> Backend:
        """The backend, with a recorder around it."""
        try:
            key = env.secrets.get(spec.deployment.auth)
        except AuthenticationError:
            # Whether the backend needs it is the backend's to say.
            key = None
        if key:
            self._keys.add(key)
        backend = await create()
        models = tuple(await backend.models())
        self._deployments[spec.id] = Played(backend=spec.backend, models=models)
        recording = RecordingBackend(backend, spec.id, self._interactions)
        # An instance is all that is used of it: `probe` and `create` are of classes.
        return cast("Backend", recording)

    def finish(self) -> None:
        """Write the file.

        Raises:
            CassetteError: Nothing was asked, or the file cannot be written.
        """
        if not self._interactions:
            raise CassetteError(
                f"nothing was asked, so that {self.path} would be empty",
                hint="leave ttc_cassette out of the test",
            )
        recorded = Recorded(deployments=self._deployments, interactions=self._interactions)
        write_cassette(self.path, recorded, self._keys)


class Replayer:
    """Says again what was recorded. Satisfies ``tt_compute.testing.trial.Deck``.

    Every recorded interaction is used once, by a request that is equal but for seed, deadline and tags; of equal
    ones the first that is left.

    Args:
        path: File to read.

    Raises:
        CassetteError: It cannot be used.
    """

    replays = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._recorded = read_cassette(path)
        self._left = list(self._recorded.interactions)
        self._complaints: list[str] = []

    def probe(self, backend: str) -> Probe | None:
        """What is replayed is there, whatever is installed."""
        if any(played.backend == backend for played in self._recorded.deployments.values()):
            return Probe(available=True)
        return None

    async def make(
        self, spec: DeploymentSpec, env: BackendEnv, create: Callable[[], Awaitable[Backend]]
    ) -> Backend:
        """A backend that replays.

        Raises:
            CassetteError: The deployment was not there when it was recorded.
        """
        del env, create
        played = self._recorded.deployments.get(spec.id)
        if played is None:
            known = ", ".join(self._recorded.deployments)
            raise self._missing(f"deployment {spec.id!r} is not in {self.path}; there are: {known}")
        replaying = ReplayingBackend(
            played.models, partial(self._find, spec.id), self._complaints.append
        )
        # As for a recorder.
        return cast("Backend", replaying)

    def finish(self) -> None:
        """Check that what was recorded was used, all of it.

        Raises:
            CassetteError: It was not, or something was asked that is not in it.
        """
        unused = [
            f"not asked again: a prompt to {one.deployment}\n{_indented(_text(one.request))}"
            for one in self._left
        ]
        if self._complaints or unused:
            problems = "\n".join([*self._complaints, *unused])
            raise CassetteError(f"{self.path} does not fit the test:\n{problems}", hint=REWRITE)

    def _find(self, deployment: str, request: GenerateRequest) -> Interaction:
        wanted = asked(request)
        for place, one in enumerate(self._left):
            if one.deployment == deployment and _text(one.request) == _text(wanted):
                return self._left.pop(place)
        recorded = [one.request for one in self._left if one.deployment == deployment]
        raise self._missing(
            f"a prompt to {deployment} is not in {self.path}\n{_difference(recorded, wanted)}"
        )

    def _missing(self, message: str) -> CassetteError:
        self._complaints.append(message)
        return CassetteError(message, hint=REWRITE)


def _text(request: dict[str, object]) -> str:
    return dump(cast("Json", request))


def _difference(recorded: Sequence[dict[str, object]], wanted: dict[str, object]) -> str:
    """The request beside the one of the recording that is most like it."""
    text = _text(wanted)
    likeness = difflib.SequenceMatcher(b=text)

    def like(request: dict[str, object]) -> float:
        likeness.set_seq1(_text(request))
        return likeness.ratio()

    nearest = max(recorded, key=like, default=None)
    if nearest is None:
        return f"nothing that was recorded there is left; asked is\n{_indented(text)}"
    lines: Iterable[str] = difflib.unified_diff(
        _text(nearest).splitlines(), text.splitlines(), "recorded", "asked", lineterm="", n=99
    )
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines()).rstrip("\n")
