"""Backends by name: found through entry points, imported only when one is used.

A backend is whatever an installed distribution registers in the group ``tt_compute.backends``; the ones
that come with tt_compute walk through the same door. Listing reads metadata only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, cast

import msgspec

from tt_compute.backend import Backend
from tt_compute.errors import BackendConflict, BackendUnavailable, ConfigError, UnknownNameError
from tt_compute.types import API_VERSION, DeploymentSpec, Probe

__all__ = ["GROUP", "Registration", "Registry", "converters", "option_error", "parse_options"]

GROUP = "tt_compute.backends"
"""The entry-point group; an entry is ``name = "module:Class"``."""

CONVERTERS = "tt_compute.converters"
"""The entry-point group; an entry is ``format = "module:function"``."""

MEMBERS = ("name", "api_version", "Options", "probe", "create", "models", "open", "aclose")
"""What a class must have to be taken for a backend."""


class Registration(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """One distribution's claim to a backend name, read without importing it."""

    name: str
    distribution: str
    """Name and version of the distribution; ``an unnamed distribution`` where metadata has none."""
    target: str
    """``module:Class``."""


class Registry:
    """Looks backends up.

    Args:
        entries: The entry points to use; None = those of the installed distributions, read at first
            use and kept.
    """

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self._given = None if entries is None else tuple(entries)
        self._read: dict[str, dict[Registration, EntryPoint]] | None = None

    def names(self) -> tuple[str, ...]:
        """Names of all registered backends, sorted; imports none of them."""
        return tuple(self._claims())

    def describe(self) -> tuple[Registration, ...]:
        """Every registration, also of names that are claimed twice; imports none of them."""
        return tuple(claim for claims in self._claims().values() for claim in claims)

    def probe(self, name: str) -> Probe:
        """Tell whether a backend could run here; imports its adapter, never its heavy library.

        A backend that cannot even be imported is not available, for the reason given.

        Raises:
            UnknownNameError: No distribution registers the name.
        """
        try:
            backend = self.load(name)
        except (BackendUnavailable, BackendConflict) as exc:
            return Probe(available=False, reason=exc.message, install=exc.hint or "")
        try:
            return backend.probe()
        except Exception as exc:  # noqa: BLE001 - one plugin's fault must not hide the others
            return Probe(available=False, reason=f"its probe failed: {_describe(exc)}")

    def load(self, name: str) -> type[Backend]:
        """Import a backend's adapter and return its class.

        Raises:
            UnknownNameError: No distribution registers the name.
            BackendConflict: More than one does.
            BackendUnavailable: It cannot be imported, is no backend, or speaks another version of the
                protocol.
        """
        registration, entry = self._only_claim(name)
        try:
            backend = entry.load()
        except Exception as exc:
            # The module is somebody else's code: importing it can raise anything, not only ImportError.
            raise BackendUnavailable(
                f"backend {name!r} of {registration.distribution} cannot be imported: {_describe(exc)}",
                backend=name,
                hint=_mending(name, registration, entry, exc),
            ) from exc
        _check_shape(backend, registration)
        _check_version(backend, registration)
        return cast("type[Backend]", backend)

    def _only_claim(self, name: str) -> tuple[Registration, EntryPoint]:
        claims = self._claims().get(name)
        if claims is None:
            raise UnknownNameError(
                f"there is no backend {name!r}", hint=_suggest(name, self.names(), "backends")
            )
        if len(claims) > 1:
            owners = " and ".join(f"{claim.distribution} ({claim.target})" for claim in claims)
            raise BackendConflict(
                f"backend {name!r} is registered by {owners}",
                backend=name,
                hint="uninstall all but one of them",
            )
        return next(iter(claims.items()))

    def _claims(self) -> dict[str, dict[Registration, EntryPoint]]:
        if self._read is None:
            entries = entry_points(group=GROUP) if self._given is None else self._given
            by_claim = _by_registration(entries)
            claims: dict[str, dict[Registration, EntryPoint]] = {}
            for registration in sorted(by_claim):
                claims.setdefault(registration.name, {})[registration] = by_claim[registration]
            self._read = claims
        return self._read


def converters() -> dict[str, EntryPoint]:
    """What makes weights of another format, by that format; imports none of them.

    Each is a function without arguments that returns a ``tt_compute.types.Converter``, or raises
    BackendUnavailable where a library is missing.
    """
    return {entry.name: entry for entry in entry_points(group=CONVERTERS)}


def parse_options(backend: type[Backend], spec: DeploymentSpec) -> Any:
    """The deployment's ``options:`` as the backend's own struct.

    Raises:
        ConfigError: An unknown key or a value of the wrong kind, with file, line and path.
    """
    options = spec.deployment.options
    known = [field.encode_name for field in msgspec.structs.fields(backend.Options)]
    for key in options:
        if key not in known:
            raise option_error(
                spec,
                key,
                f"backend {spec.backend!r} has no such option",
                hint=_suggest(key, known, "options"),
            )
    try:
        return msgspec.convert(options, backend.Options)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at `$.")
        raise option_error(spec, path.rstrip("`"), message) from exc


def option_error(
    spec: DeploymentSpec, path: str, message: str, *, hint: str | None = None
) -> ConfigError:
    """The error for one option of a deployment.

    Args:
        spec: The deployment.
        path: Where inside ``options``, such as ``faults[0].kind``; empty for the whole of it.
        message: What is wrong there.
        hint: What to do about it.
    """
    full = f"options.{path}" if path else "options"
    place = spec.place(full)
    return ConfigError(message, file=place.file, line=place.line, path=full, hint=hint)


def _by_registration(entries: Iterable[EntryPoint]) -> dict[Registration, EntryPoint]:
    # Metadata is parsed anew at each look, 2 ms of ours; most entries have one distribution.
    owners: dict[Distribution | None, str] = {None: "an unnamed distribution"}
    found: dict[Registration, EntryPoint] = {}
    for entry in entries:
        owner = owners.get(entry.dist)
        if owner is None:
            assert entry.dist is not None, "None is there from the start"
            owner = owners[entry.dist] = f"{entry.dist.name} {entry.dist.version}"
        claim = Registration(name=entry.name, distribution=owner, target=entry.value)
        found[claim] = entry
    return found


def _mending(name: str, registration: Registration, entry: EntryPoint, exc: Exception) -> str:
    """What to install: the extra that is called as the backend, where a module is missing."""
    if isinstance(exc, ModuleNotFoundError) and entry.dist is not None:
        extras = entry.dist.metadata.get_all("Provides-Extra") or ()
        if name in extras:
            return f'pip install "{entry.dist.name}[{name}]"'
    return f"reinstall or update {registration.distribution}"


def _check_shape(backend: object, registration: Registration) -> None:
    missing = [member for member in MEMBERS if not hasattr(backend, member)]
    if missing or not isinstance(backend, type):
        lacks = f"lacks {', '.join(missing)}" if missing else "is not a class"
        raise BackendUnavailable(
            f"backend {registration.name!r} of {registration.distribution}: "
            f"{registration.target} {lacks}",
            backend=registration.name,
            hint="see tt_compute.backend.Backend for what a backend must have",
        )


def _check_version(backend: Any, registration: Registration) -> None:
    if backend.api_version != API_VERSION:
        raise BackendUnavailable(
            f"backend {registration.name!r} of {registration.distribution} is written for version "
            f"{backend.api_version} of the backend protocol, this tt_compute speaks {API_VERSION}",
            backend=registration.name,
            hint=f"update {registration.distribution} or tt-compute",
        )


def _suggest(name: str, known: Sequence[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    start = f"did you mean {near[0]!r}? " if near else ""
    return f"{start}{what}: {', '.join(known) or 'none'}"


def _describe(exc: Exception) -> str:
    text = str(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
