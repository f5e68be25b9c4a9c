"""What a backend needs to be made in a test: a deployment and an environment, without files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from tt_compute.clock import SystemClock
from tt_compute.errors import AuthenticationError, ModelNotFound
from tt_compute.profiles.schema import Auth, DeploymentProfile, HardwareProfile, ModelProfile
from tt_compute.types import BackendEnv, Clock, Converter, DeploymentSpec, ModelStore, Secrets

__all__ = ["backend_env", "deployment_spec"]


def deployment_spec(
    backend: str,
    *,
    options: Mapping[str, object] | None = None,
    max_context_tokens: int | None = 4096,
) -> DeploymentSpec:
    """A deployment of a model called ``mock`` on a backend, with everything else left out.

    Args:
        backend: Name of the backend.
        options: Its ``options:``.
        max_context_tokens: Of the model; None = unknown.
    """
    model = ModelProfile(id="mock", max_context_tokens=max_context_tokens)
    hardware = HardwareProfile(id="mock", device="mock")
    deployment = DeploymentProfile(
        id=f"test/{backend}",
        backend=backend,
        model=model.id,
        hardware=hardware.id,
        options=dict(options or {}),
    )
    return DeploymentSpec(deployment=deployment, model=model, hardware=hardware)


def backend_env(
    *,
    clock: Clock | None = None,
    keys: Mapping[str, str] | None = None,
    models: ModelStore | None = None,
) -> BackendEnv:
    """What the core would lend to a backend.

    Args:
        clock: None = the system's.
        keys: Secrets by the name of their variable.
        models: None = a store that holds nothing.
    """
    return _Env(
        clock=SystemClock() if clock is None else clock,
        secrets=_Keys(dict(keys or {})),
        models=_NoModels() if models is None else models,
    )


class _Env(msgspec.Struct, frozen=True, kw_only=True):
    clock: Clock
    secrets: Secrets
    models: ModelStore


class _Keys:
    def __init__(self, keys: dict[str, str]) -> None:
        self._keys = keys

    def get(self, auth: Auth) -> str | None:
        if auth.env is None:
            return None
        if auth.env not in self._keys:
            raise AuthenticationError(f"the test gives no key {auth.env}")
        return self._keys[auth.env]


class _NoModels:
    async def locate(self, spec: DeploymentSpec, format: str) -> Path:  # noqa: A002 - the protocol's word
        raise ModelNotFound(
            f"the test has no {format} file of {spec.model.id}", backend=spec.backend
        )

    async def convert(self, source: Path, converter: Converter) -> Path:
        raise ModelNotFound(f"the test converts nothing, {source} to {converter.format} neither")
