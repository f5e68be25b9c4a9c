"""How a deployment stands at the moment: what a plan must add to its latencies, or why it must go elsewhere."""

from __future__ import annotations

import math

import msgspec

__all__ = ["READY", "Condition"]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Of one deployment, now."""

    wait_s: float = 0.0
    """Until an attempt may go; infinite = not within reason."""
    why: str = ""
    """It must wait."""
    load_s: float = 0.0
    """Until its model is loaded; 0 = it is, or nobody knows how long that takes."""

    @property
    def delay_s(self) -> float:
        """Before the prompt is looked at; loading goes on while a limit rests."""
        return max(self.wait_s, self.load_s)

    @property
    def closed(self) -> bool:
        return math.isinf(self.wait_s)

    def told(self, deployment: str) -> str:
        """One sentence on what predictions hold because of it; empty when nothing."""
        if self.closed or not self.delay_s:
            return ""
        if self.wait_s > self.load_s:
            return f"Latencies at {deployment} include {self.wait_s:.3g} s of waiting: {self.why}."
        return f"Latencies at {deployment} include {self.load_s:.3g} s to load its model."


READY = Condition()
