"""What a deployment runs now, in words that change when it does: what was learned of another is not its own."""

from __future__ import annotations

import hashlib

import msgspec

from tt_compute.planning.estimates import Version
from tt_compute.profiles.schema import DeploymentSpec

__all__ = ["version_of"]

_DIGEST_BYTES = 4


def version_of(spec: DeploymentSpec, library_version: str | None) -> Version:
    """The version of a deployment.

    Args:
        spec: The deployment.
        library_version: Of its backend's library, as the probe found it; None = unknown.
    """
    return Version(weights=_weights(spec), runtime=_runtime(spec, library_version))


def _weights(spec: DeploymentSpec) -> str:
    """The weights' digest, their path, or the name that a service has for them."""
    if spec.is_remote:
        return spec.remote_model
    path = spec.deployment.source.path
    if path is not None or not spec.model.weights:
        return path or spec.model.id
    return spec.model.weights[0].sha256[: 2 * _DIGEST_BYTES] or spec.model.weights[0].file


def _runtime(spec: DeploymentSpec, library_version: str | None) -> str:
    deployment = spec.deployment
    where = msgspec.json.encode(
        [deployment.options, deployment.placement, deployment.endpoint], order="sorted"
    )
    digest = hashlib.blake2b(where, digest_size=_DIGEST_BYTES).hexdigest()
    return f"{spec.backend} {library_version or 'unknown'} {digest}"
