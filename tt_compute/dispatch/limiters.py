"""The limiters of all accounts that a client uses; deployments of one account and model share one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from tt_compute.conditions import Axis, stated_limits
from tt_compute.dispatch.limiter import Limiter
from tt_compute.dispatch.window import Window
from tt_compute.types import DeploymentSpec

__all__ = ["Limiters", "account_key"]


class Limiters:
    """Of this process alone.

    Args:
        now: Seconds on the clock that all windows are on.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._by_account: dict[str, Limiter] = {}

    def of(self, spec: DeploymentSpec) -> Limiter:
        """The limiter of the deployment's account."""
        key = account_key(spec)
        if key not in self._by_account:
            self._by_account[key] = Limiter(
                {
                    (axis, window_s): self.window(key, axis, window_s, amount)
                    for axis, window_s, amount in stated_limits(spec.deployment.limits)
                }
            )
        return self._by_account[key]

    def close(self) -> None:
        """Give back what was taken for nothing; may be called twice."""

    def window(self, account: str, axis: Axis, window_s: float, amount: float) -> Window:
        """A window of an account."""
        del account, axis
        return Window(amount, window_s)


def account_key(spec: DeploymentSpec) -> str:
    """Names an account's use of a model, without its key: where the key lies stands for it."""
    deployment = spec.deployment
    parts = (
        spec.backend,
        deployment.endpoint.base_url or "",
        deployment.auth.env or "",
        deployment.auth.file or "",
        spec.remote_model,
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
