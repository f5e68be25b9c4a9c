"""A dispatcher as a configuration says."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Final

from tt_compute.conditions import Axis
from tt_compute.config import Config
from tt_compute.dispatch.backends import BackendPool
from tt_compute.dispatch.dispatcher import Dispatcher
from tt_compute.dispatch.limiters import Limiters
from tt_compute.dispatch.shared_window import SharedUse, SharedWindow
from tt_compute.dispatch.spend import Cap, SpendGuard
from tt_compute.dispatch.window import Window
from tt_compute.dispatch_settings import DispatchSettings
from tt_compute.supervision import supervisor
from tt_compute.types import Clock

__all__ = ["LIMITS_FILE", "SharedLimiters", "make_dispatcher"]

LIMITS_FILE: Final = "limits.sqlite3"
_DAY_S: Final = 86_400.0


class SharedLimiters(Limiters):
    """Of all processes of this user.

    Args:
        file: Where they meet.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(time.time)
        self._use = SharedUse(file)
        self._windows: list[SharedWindow] = []

    def window(self, account: str, axis: Axis, window_s: float, amount: float) -> Window:
        return self.shared(f"{account}:{axis}:{window_s:g}", amount, window_s)

    def shared(
        self, name: str, amount: float, window_s: float, *, leases: bool = True
    ) -> SharedWindow:
        """A window by its name in the file."""
        made = SharedWindow(amount, window_s, use=self._use, name=name, leases=leases)
        self._windows.append(made)
        return made

    def close(self) -> None:
        for window in self._windows:
            window.flush()
        self._use.close()


def make_dispatcher(backends: BackendPool, clock: Clock, config: Config) -> Dispatcher:
    """The dispatcher of a client; files are opened when they are first needed."""
    settings = config.dispatch
    watching = supervisor()
    shared = settings.share_limits and (watching is None or watching.shares_limits)
    limiters = SharedLimiters(config.data_dir / LIMITS_FILE) if shared else Limiters(clock.now)
    seed = None if watching is None else watching.seed()
    return Dispatcher(
        backends,
        clock,
        settings=settings,
        limiters=limiters,
        caps=SpendGuard(_caps(settings, limiters)),
        rng=random.Random(seed),  # noqa: S311 - spreads load, guards nothing
    )


def _caps(settings: DispatchSettings, limiters: Limiters) -> tuple[Cap, ...]:
    caps: list[Cap] = []
    if settings.max_usd is not None:
        caps.append(Cap("of this client", settings.max_usd))
    if settings.max_usd_per_day is not None:
        usd = settings.max_usd_per_day
        window = Window(usd, _DAY_S)
        if isinstance(limiters, SharedLimiters):
            window = limiters.shared("usd", usd, _DAY_S, leases=False)
        caps.append(Cap("of 24 hours", usd, window, limiters.now))
    return tuple(caps)
