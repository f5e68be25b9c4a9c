"""The backends of one client: each deployment's is made at first use and closed once."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio

from tt_compute.backend import Backend, Loadable
from tt_compute.registry import Registry, parse_options
from tt_compute.supervision import supervisor
from tt_compute.types import BackendEnv, DeploymentSpec

__all__ = ["BackendPool"]


class BackendPool:
    """Makes backends on demand; two requests that want the same one make it once.

    Args:
        registry: Where backends are found by name.
        env: What the core lends to every backend.
    """

    def __init__(self, registry: Registry, env: BackendEnv) -> None:
        self._registry = registry
        self._env = env
        self._backends: dict[str, Backend] = {}
        self._loadables: dict[str, Loadable] = {}
        self._lock = anyio.Lock()

    async def get(self, spec: DeploymentSpec) -> Backend:
        """The backend of ``spec``, made now if need be.

        Raises:
            BackendUnavailable: Its library is missing or too old.
            ConfigError: ``options`` hold what the backend does not know.
            TTComputeError: Whoever supervises this process does not let it be used.
        """
        watching = supervisor()
        if watching is not None:
            watching.admit(spec)
        backend = self._backends.get(spec.id)
        if backend is not None:
            return backend
        async with self._lock:
            backend = self._backends.get(spec.id)
            if backend is None:
                backend = await self._make(spec)
                self._backends[spec.id] = backend
                # Found once: to look a protocol up takes longer than all else that is asked before a plan.
                self._loadables.update(_loadable(spec.id, backend))
        return backend

    async def _make(self, spec: DeploymentSpec) -> Backend:
        async def create() -> Backend:
            kind = self._registry.load(spec.backend)
            parse_options(kind, spec)
            return await kind.create(spec, self._env)

        watching = supervisor()
        return await (create() if watching is None else watching.make(spec, self._env, create))

    def loaded(self, spec: DeploymentSpec) -> bool | None:
        """Whether the weights of ``spec`` are loaded; None where its backend does not say, or is not made yet."""
        found = self._loadables.get(spec.id)
        return None if found is None else found.loaded

    async def aclose(self) -> None:
        """Close every backend that was made; may be called twice."""
        with anyio.CancelScope(shield=True):
            # The stack closes all of them, also behind one that fails to close.
            async with AsyncExitStack() as stack:
                self._loadables.clear()
                while self._backends:
                    _, backend = self._backends.popitem()
                    stack.push_async_callback(backend.aclose)


def _loadable(deployment: str, backend: object) -> dict[str, Loadable]:
    return {deployment: backend} if isinstance(backend, Loadable) else {}
